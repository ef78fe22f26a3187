"""Saved runs over time: a line for each, in series of runs that may be held against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_jarvis.contrasts import Interval
from pytest_jarvis.gate import GateVerdict
from pytest_jarvis.kinship import series_key
from pytest_jarvis.records import TWIN_ARM
from pytest_jarvis.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One run: its candidate's gain, and what is needed to know it again."""

    report: str
    sha256: str
    timestamp: str
    commit: str | None
    dirty: bool | None
    base_model: str
    quantization: str
    adapter: str
    adapter_sha256: str | None
    prompt_hash: str
    machine: str
    replicates: int
    prompts: int
    gain: float | None
    interval: Interval | None
    """Of the gain, on the prompts of the run; as the gate judged it."""
    min_gain: float
    verdict: GateVerdict
    is_real: bool
    is_replay: bool
    is_twin: bool
    is_baseline: bool
    is_interrupted: bool
    """Whether it stopped before its end, so that its gain is of a part; failures alone are no interruption."""

    @property
    def in_trend(self) -> bool:
        """Whether it is a point of its own: a replay repeats another's, an A/A run has no gain, a part is no whole."""
        return self.gain is not None and not (self.is_replay or self.is_twin or self.is_interrupted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Runs of one base, storage, set of prompts and generation settings; oldest first."""

    base_model: str
    quantization: str
    prompt_hash: str
    is_real: bool
    differs: tuple[str, ...]
    """What is another than in the series before: names of `kinship.series_key`; empty in the first."""
    entries: tuple[HistoryEntry, ...]


def history_entry(report: Report, path: str, sha256: str, *, baseline_sha256: str | None = None) -> HistoryEntry:
    """Return the line of a run."""
    metadata, origin = report.metadata, report.provenance
    decision = report.decisions.get(metadata.lora_adapter)
    interval = None
    if decision is not None:
        interval = decision.gain_these if decision.target == "these" else decision.gain_new
    proof = next((one for one in origin.engine.adapters if one.name == metadata.lora_adapter), None)
    return HistoryEntry(
        report=path,
        sha256=sha256,
        timestamp=metadata.timestamp,
        commit=origin.commit,
        dirty=origin.dirty,
        base_model=metadata.base_model,
        quantization=metadata.quantization,
        adapter=metadata.lora_adapter,
        adapter_sha256=None if proof is None else proof.sha256,
        prompt_hash=origin.prompt_hash,
        machine=origin.machine.label,
        replicates=metadata.samples_per_prompt,
        prompts=report.statistics.total_tests,
        gain=report.statistics.relevance_gain if decision is None else decision.gain,
        interval=interval,
        min_gain=metadata.plan.min_gain,
        verdict=report.gate.verdict,
        is_real=metadata.is_real,
        is_replay=origin.replay is not None,
        is_twin=TWIN_ARM in metadata.adapters,
        is_baseline=sha256 == baseline_sha256,
        is_interrupted=_is_interrupted(report),
    )


def series_of(runs: Iterable[tuple[HistoryEntry, Report]]) -> tuple[Series, ...]:
    """Return the runs by what makes them comparable; the series that holds the newest run comes last."""
    found: dict[tuple[tuple[str, str], ...], list[HistoryEntry]] = {}
    for entry, report in sorted(runs, key=lambda run: (run[0].timestamp, run[0].report)):
        found.setdefault(series_key(report), []).append(entry)
    ordered = sorted(found.items(), key=lambda item: item[1][-1].timestamp)
    result: list[Series] = []
    before: dict[str, str] = {}
    for key, entries in ordered:
        now = dict(key)
        differs = tuple(name for name in now if before and now[name] != before.get(name))
        result.append(
            Series(
                base_model=entries[0].base_model,
                quantization=entries[0].quantization,
                prompt_hash=entries[0].prompt_hash,
                is_real=entries[0].is_real,
                differs=differs,
                entries=tuple(entries),
            )
        )
        before = now
    return tuple(result)


def _is_interrupted(report: Report) -> bool:
    """Tell whether a run stopped before its end: something is missing that is no failure."""
    undrawn = any(reason.values.get("responses", 0) for reason in report.gate.reasons if reason.code == "missing_pairs")
    return not report.complete and (undrawn or not report.failures)
