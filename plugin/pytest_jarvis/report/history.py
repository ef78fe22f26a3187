"""History: saved runs over time, an entry for each adapter, grouped in series of comparable runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_jarvis.metrics.registry import DEEDS
from pytest_jarvis.report.comparison import series_key
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.contrasts import Interval
from pytest_jarvis.stats.gate import GateVerdict
from pytest_jarvis.types import TWIN_ARM, Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One adapter of one run: its gain and its origin."""

    report: str
    sha256: str
    timestamp: str
    commit: str | None
    dirty: bool | None
    base_model: str
    quantization: Storage
    adapter: str
    adapter_sha256: str | None
    prompt_hash: str
    machine: str
    replicates: int
    """Responses per prompt and arm behind the gain; fewer for an adapter that was settled early."""
    prompts: int
    share_done: float | None
    """Share of the adapter's responses that did what was asked."""
    gain: float | None
    interval: Interval | None
    """Of the gain, as the gate judged it."""
    min_gain: float
    verdict: GateVerdict
    """The adapter's own; the run's for its only adapter, or where the run is not judged."""
    is_candidate: bool
    is_real: bool
    is_replay: bool
    is_twin: bool
    is_baseline: bool
    is_altered: bool
    """Whether the report was changed after the run."""
    is_interrupted: bool
    """Whether it stopped early, so that its gain is partial; failures alone are no interruption."""
    is_selection: bool
    """Whether it took a part of the prompts (-k, -m)."""

    @property
    def in_trend(self) -> bool:
        """Whether it is a data point: no replay (it repeats one), no A/A run (it has no gain), no partial run."""
        return self.gain is not None and not (self.is_replay or self.is_twin or self.is_partial or self.is_altered)

    @property
    def is_partial(self) -> bool:
        """Whether its gain covers only a part of the prompts or responses."""
        return self.is_interrupted or self.is_selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Runs with one base, storage, set of prompts and generation settings; oldest first."""

    base_model: str
    quantization: Storage
    prompt_hash: str
    is_real: bool
    differs: tuple[str, ...]
    """Names of `comparison.series_key` that changed since the previous series; empty in the first."""
    entries: tuple[HistoryEntry, ...]
    """Grouped by run."""

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len({entry.report for entry in self.entries})

    @property
    def trends(self) -> dict[str, tuple[HistoryEntry, ...]]:
        """The data points of each adapter, oldest first, by its name; adapters without any are left out."""
        points = [entry for entry in self.entries if entry.in_trend]
        names = dict.fromkeys(entry.adapter for entry in points)
        return {name: tuple(entry for entry in points if entry.adapter == name) for name in names}


def history_entries(
    report: Report, path: str, sha256: str, *, baseline_sha256: str | None = None
) -> tuple[HistoryEntry, ...]:
    """Return the entries of a run, one for each adapter, the candidate's first."""
    metadata, origin = report.metadata, report.provenance
    digests = {one.name: one.sha256 for one in origin.engine.adapters}
    # With one adapter the run's verdict is the adapter's; a run that is not judged has no other.
    own = len(metadata.adapters) > 1 and report.gate.verdict not in {"NOT_JUDGED", "OFF"}
    verdicts: dict[str, GateVerdict] = {one.name: one.verdict for one in report.gate.adapters} if own else {}
    entries = []
    for name in metadata.adapters:
        decision, averages = report.decisions.get(name), report.by_adapter[name].statistics
        entries.append(
            HistoryEntry(
                report=path,
                sha256=sha256,
                timestamp=metadata.timestamp,
                commit=origin.commit,
                dirty=origin.dirty,
                base_model=metadata.base_model,
                quantization=metadata.quantization,
                adapter=name,
                adapter_sha256=digests.get(name),
                prompt_hash=origin.prompt_hash,
                machine=origin.machine.label,
                replicates=metadata.samples_per_prompt if decision is None else decision.replicates[1],
                prompts=averages.total_tests,
                share_done=averages.figure(DEEDS).finetuned,
                gain=averages.relevance_gain if decision is None else decision.gain,
                interval=None if decision is None else decision.judged_interval,
                min_gain=metadata.plan.min_gain,
                verdict=verdicts.get(name, report.gate.verdict),
                is_candidate=name == metadata.lora_adapter,
                is_real=metadata.is_real,
                is_replay=origin.replay is not None,
                is_twin=TWIN_ARM in metadata.adapters,
                is_baseline=sha256 == baseline_sha256,
                is_altered=report.is_altered,
                is_interrupted=_is_interrupted(report),
                is_selection=any(reason.code == "partial_selection" for reason in report.gate.reasons),
            )
        )
    return tuple(entries)


def group_series(runs: Iterable[tuple[Sequence[HistoryEntry], Report]]) -> tuple[Series, ...]:
    """Return the runs grouped by comparability; the newest run's series comes last."""
    found: dict[tuple[tuple[str, str | Storage], ...], list[HistoryEntry]] = {}
    for entries, report in sorted(runs, key=lambda run: (run[0][0].timestamp, run[0][0].report)):
        found.setdefault(series_key(report), []).extend(entries)
    ordered = sorted(found.items(), key=lambda item: item[1][-1].timestamp)
    result: list[Series] = []
    before: dict[str, str | Storage] = {}
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
    """Return whether a run stopped early: by hand, or with responses missing that did not fail."""
    undrawn = any(reason.values.get("responses", 0) for reason in report.gate.reasons if reason.code == "missing_pairs")
    stopped = any(reason.code == "interrupted" for reason in report.gate.reasons)
    return stopped or (not report.complete and (undrawn or not report.failures))
