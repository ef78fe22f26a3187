"""Comparability of two saved runs: shared prompts and adapters, differing settings, obstacles to a judgement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.regression import Obstacle, PromptOverlap, SettingChange
from pytest_jarvis.types import TWIN_ARM, Storage

_NOT_JUDGED: Final = frozenset({"nothing_measured", "interrupted", "partial_selection", "failures", "missing_pairs"})
"""Reasons of a gate that are about the run, not its scores."""
_OWN_NOISE: Final = frozenset({"generation.seed", "generation.timeout_s"})
"""Settings that change texts but not their distribution."""


def compare_prompts(stored: Report, new: Report) -> PromptOverlap:
    """Return which prompts two runs share: the same id and the same text."""
    before = {row.prompt_id: row.prompt for row in stored.results}
    after = {row.prompt_id: row.prompt for row in new.results}
    return PromptOverlap(
        common=tuple(name for name, text in after.items() if before.get(name) == text),
        only_stored=tuple(name for name in before if name not in after),
        only_new=tuple(name for name in after if name not in before),
        changed=tuple(name for name, text in after.items() if name in before and before[name] != text),
    )


def pair_adapters(stored: Report, new: Report, named: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """Return the pairs of adapters to compare, stored and new.

    Those `named`; else those with the same name; else in order. ValueError for a name that a run does not have.
    """
    before, after = list(stored.metadata.adapters), list(new.metadata.adapters)
    if named:
        for names, known in ((named.keys(), before), (named.values(), after)):
            for name in names:
                if name not in known:
                    raise ValueError(f"no adapter '{name}'; there are: {', '.join(known)}")
        return tuple(named.items())
    same = tuple((name, name) for name in before if name in after)
    return same or tuple(zip(before, after, strict=False))


def setting_changes(stored: Report, new: Report, pairs: Iterable[tuple[str, str]]) -> tuple[SettingChange, ...]:
    """Return the settings that may change scores and differ between two runs."""
    before: dict[str, str | Storage] = dict(_settings(stored))
    after: dict[str, str | Storage] = dict(_settings(new))
    digests = [
        {proof.name: (proof.sha256 or "")[:12] for proof in run.provenance.engine.adapters} for run in (stored, new)
    ]
    for one, other in pairs:
        name = f"adapter.{one}" if one == other else f"adapter.{one}.{other}"
        before[name], after[name] = digests[0].get(one, ""), digests[1].get(other, "")
    if "keyword_mode" not in before or "keyword_mode" not in after:
        # Older reports lack it, which is no difference.
        before.pop("keyword_mode", None)
        after.pop("keyword_mode", None)
    return tuple(
        SettingChange(name=name, stored=before.get(name, ""), new=after.get(name, ""))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )


def obstacles_between(stored: Report, new: Report) -> tuple[Obstacle, ...]:
    """Return what keeps a drop from being judged; differing settings do not."""
    found: list[Obstacle] = []
    if _is_not_judged(new):
        found.append("run_not_judged")
    if _is_not_judged(stored):
        found.append("stored_not_judged")
    if (
        stored.metadata.is_real != new.metadata.is_real
        or TWIN_ARM in stored.metadata.adapters
        or TWIN_ARM in new.metadata.adapters
    ):
        found.append("other_kind")
    if _scale(stored) != _scale(new):
        found.append("other_dictionary")
    if not compare_prompts(stored, new).common:
        found.append("no_common_prompt")
    return tuple(found)


def is_comparable(stored: Report, new: Report) -> bool:
    """Return whether a saved run compares with `new`: same model, storage, settings but for the seed, and adapter."""
    generation = [
        {name: value for name, value in _settings(run) if name.startswith("generation.") and name not in _OWN_NOISE}
        for run in (stored, new)
    ]
    return (
        not obstacles_between(stored, new)
        and stored.provenance.replay is None
        and stored.metadata.base_model == new.metadata.base_model
        and stored.metadata.quantization == new.metadata.quantization
        and generation[0] == generation[1]
        and new.metadata.lora_adapter in stored.metadata.adapters
    )


def series_key(report: Report) -> tuple[tuple[str, str | Storage], ...]:
    """Return what two runs must share for their gains to be on one scale, by the names of `SettingChange`."""
    kept = {"base_model", "quantization", "prompts", "dictionary", "relevance_share"}
    return (
        *(
            (name, value)
            for name, value in _settings(report)
            if name in kept or (name.startswith("generation.") and name not in _OWN_NOISE)
        ),
        ("real", str(report.metadata.is_real)),
    )


def _settings(report: Report) -> Iterator[tuple[str, str | Storage]]:
    metadata, origin = report.metadata, report.provenance
    yield "base_model", metadata.base_model
    yield "quantization", metadata.quantization
    yield "engine", metadata.engine
    yield "device", metadata.device
    yield "dtype", origin.engine.compute_dtype
    for name, value in msgspec.structs.asdict(origin.generation).items():
        if name != "batch_size":  # on which no response depends
            yield f"generation.{name}", ", ".join(tool.name for tool in value) if name == "tools" else str(value)
    yield "responses", str(metadata.samples_per_prompt)
    yield "prompts", origin.prompt_hash[:12]
    yield "dictionary", origin.dictionary_hash[:12]
    yield "relevance_share", str(origin.relevance_share)
    if origin.keyword_mode is not None:
        yield "keyword_mode", origin.keyword_mode
    yield "machine", origin.machine.label
    for name, version in origin.versions.items():
        yield f"versions.{name}", version


def _scale(report: Report) -> tuple[str, float]:
    return report.provenance.dictionary_hash, report.provenance.relevance_share


def _is_not_judged(report: Report) -> bool:
    return any(reason.code in _NOT_JUDGED for reason in report.gate.reasons)
