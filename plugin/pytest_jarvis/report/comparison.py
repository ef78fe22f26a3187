"""Comparison of two saved runs: whether they may be compared, what differs between them, the regression test."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import msgspec

from pytest_jarvis.metrics.registry import DEEDS, RELEVANCE, MetricSpec, list_specs
from pytest_jarvis.report.analysis.metrics import all_specs, metric_names
from pytest_jarvis.report.schema import Report, ResultRow, Sample
from pytest_jarvis.stats.ranking import find_worse_prompts
from pytest_jarvis.stats.regression import (
    OVERALL,
    REGRESSION_ALPHA,
    Obstacle,
    PromptOverlap,
    RegressionOutcome,
    ScopeShift,
    SettingChange,
    StoredRun,
    find_drops,
    find_shifts,
    settle,
)
from pytest_jarvis.types import BASE_ARM, TWIN_ARM, Storage

_NOT_JUDGED: Final = frozenset(
    {"nothing_measured", "interrupted", "partial_selection", "failures", "missing_pairs", "altered"}
)
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
    """Return the pairs of adapters: those `named` (ValueError for an unknown name), the same names, or in order."""
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


Table = list[tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDifference(ScopeShift):
    """The difference of a metric, new - stored, over the prompts that have it in both runs."""

    metric: str
    of_base: bool
    """Whether it is the base's; else it is the adapter's, or that of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDifference:
    """One prompt in both runs: the adapter's scores (stored, new), and how many texts differ."""

    prompt_id: str
    category: str
    prompt: str
    figures: Mapping[str, tuple[float | None, float | None]]
    """By metric with a column."""
    texts: int
    """Replicates that both runs have."""
    texts_changed: int
    p_worse: float | None
    """Set when the relevance dropped by more than noise explains (Holm over the prompts): its one-sided p-value."""
    stored_response: str | None
    new_response: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmComparison:
    """One adapter of the stored run against one of the new run."""

    stored_adapter: str
    new_adapter: str
    metrics: tuple[MetricDifference, ...]
    prompts: tuple[PromptDifference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """The comparison of a run with a stored one."""

    alpha: float
    overlap: PromptOverlap
    obstacles: tuple[Obstacle, ...]
    """Why the regression test does not apply."""
    changes: tuple[SettingChange, ...]
    arms: tuple[ArmComparison, ...]


def compare_runs(
    stored: Report, new: Report, named: Mapping[str, str] | None = None, *, alpha: float = REGRESSION_ALPHA
) -> RunComparison:
    """Return what differs on shared prompts, at `alpha` a side, the runs independent; ValueError as `pair_adapters`."""
    overlap = compare_prompts(stored, new)
    pairs = pair_adapters(stored, new, named)
    return RunComparison(
        alpha=alpha,
        overlap=overlap,
        obstacles=obstacles_between(stored, new),
        changes=setting_changes(stored, new, pairs),
        arms=tuple(_compare_arm(stored, new, pair, overlap.common, alpha) for pair in pairs),
    )


def judge_regression(
    new: Report, stored: Report | None, run: StoredRun | None, *, asked: str, fail: bool, strict: bool
) -> RegressionOutcome:
    """Return whether the candidate is proven worse than in `stored`, described by `run`; unjudged without one."""
    candidate = new.metadata.lora_adapter
    outcome = RegressionOutcome(
        verdict="NOT_JUDGED",
        exit_failed=False,
        obstacles=("nothing_stored",),
        asked=asked,
        alpha=REGRESSION_ALPHA,
        stored=run,
        adapter=candidate,
        tests=(),
        overlap=None,
        changes=(),
    )
    if stored is None or run is None:
        return settle(outcome, fail=fail, strict=strict)
    overlap, obstacles = compare_prompts(stored, new), list(obstacles_between(stored, new))
    rows = _rows_of_both(stored, new, (run.adapter, candidate), overlap.common)
    scopes = {(metric, scope): pair for metric in (RELEVANCE, DEEDS) for scope, pair in _scopes(*rows, metric).items()}
    if not scopes and "no_common_prompt" not in obstacles:
        obstacles.append("not_measured")
    changes = setting_changes(stored, new, [(run.adapter, candidate)])
    # With one seed and the same settings, replicate j of a prompt is drawn with the same noise in both runs.
    paired = all(change.name == "responses" or change.name.startswith("adapter.") for change in changes)
    changed = replace(
        outcome,
        obstacles=tuple(obstacles),
        # Scores that count other terms have no difference.
        tests=() if "other_dictionary" in obstacles else find_drops(scopes, alpha=outcome.alpha, paired=paired),
        overlap=overlap,
        changes=changes,
    )
    return settle(changed, fail=fail, strict=strict)


def _rows_of_both(
    stored: Report, new: Report, pair: tuple[str, str], prompts: Iterable[str]
) -> tuple[dict[str, ResultRow], dict[str, ResultRow]]:
    """Return the rows of two adapters by prompt, for prompts that have both."""
    wanted = set(prompts)
    before, after = (
        {row.prompt_id: row for row in report.of_adapter(adapter) if row.prompt_id in wanted}
        for report, adapter in zip((stored, new), pair, strict=True)
    )
    return (
        {name: row for name, row in before.items() if name in after},
        {name: row for name, row in after.items() if name in before},
    )


def _values(row: ResultRow, arm: str, metric: str) -> tuple[float, ...]:
    return tuple(value for sample in row.of_arm(arm) if (value := sample.score(metric)) is not None)


def _tables(
    before: Mapping[str, ResultRow], after: Mapping[str, ResultRow], metric: str, *, of_base: bool = False
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the scores of one arm in both runs, by prompt, for prompts that have them in both."""
    found = {}
    for name, row in after.items():
        pair = tuple(_values(one, BASE_ARM if of_base else one.adapter, metric) for one in (before[name], row))
        means = (before[name].figure(metric).finetuned, row.figure(metric).finetuned)
        if all(pair):
            found[name] = (pair[0], pair[1])
        elif not of_base and means[0] is not None and means[1] is not None:
            # One of the runs has only the prompt's mean.
            found[name] = ((means[0],), (means[1],))
    return found


def _scopes(
    before: Mapping[str, ResultRow], after: Mapping[str, ResultRow], metric: str
) -> dict[str, tuple[Table, Table]]:
    scopes: dict[str, tuple[Table, Table]] = {}
    for name, (stored, new) in _tables(before, after, metric).items():
        for scope in (OVERALL, after[name].category):
            both = scopes.setdefault(scope, ([], []))
            both[0].append(stored)
            both[1].append(new)
    return {OVERALL: scopes[OVERALL]} if len(scopes) == 2 else scopes


def _compare_arm(
    stored: Report, new: Report, pair: tuple[str, str], common: Sequence[str], alpha: float
) -> ArmComparison:
    before, after = _rows_of_both(stored, new, pair, common)
    deterministic = all(run.provenance.generation.is_greedy for run in (stored, new))
    return ArmComparison(
        stored_adapter=pair[0],
        new_adapter=pair[1],
        metrics=tuple(_metrics(_common_lines(stored, new), before, after, alpha)),
        prompts=tuple(_prompts(before, after, alpha, deterministic=deterministic)),
    )


def _metrics(
    specs: Iterable[MetricSpec], before: Mapping[str, ResultRow], after: Mapping[str, ResultRow], alpha: float
) -> Iterator[MetricDifference]:
    columns = list_specs("column", per="response")
    asked = [*((spec, False) for spec in list_specs("column", "section")), *((spec, True) for spec in columns)]
    categories = dict.fromkeys(row.category for row in after.values())
    for spec, of_base in (*asked, *((spec, False) for spec in specs)):
        table = _tables(before, after, spec.name, of_base=of_base)
        scopes: dict[str, tuple[Table, Table]] = {}
        for scope in (OVERALL, *categories) if len(categories) > 1 else (OVERALL,):
            both = [pair for name, pair in table.items() if scope in {OVERALL, after[name].category}]
            if both:
                scopes[scope] = ([stored for stored, _ in both], [new for _, new in both])
        for shift in find_shifts(scopes, alpha=alpha):
            own = {one.name: getattr(shift, one.name) for one in fields(shift)}
            yield MetricDifference(metric=spec.name, of_base=of_base, **own)


def _common_lines(stored: Report, new: Report) -> tuple[MetricSpec, ...]:
    both = metric_names(stored.results) & metric_names(new.results)
    shown = {spec.name for spec in list_specs("column", "section")}
    return tuple(spec for name, spec in sorted(all_specs(new).items()) if name in both - shown)


def _prompts(
    before: Mapping[str, ResultRow], after: Mapping[str, ResultRow], alpha: float, *, deterministic: bool
) -> Iterator[PromptDifference]:
    scored = _tables(before, after, RELEVANCE)
    worse = (
        find_worse_prompts(
            [stored for stored, _ in scored.values()],
            [new for _, new in scored.values()],
            list(scored),
            alpha=alpha,
            shared_noise=False,
            deterministic=deterministic,
        )
        if scored
        else ()
    )
    p_values = {prompt.prompt_id: prompt.p_value for prompt in worse}
    for name, row in after.items():
        stored = before[name]
        texts = [(one.text, other.text) for one, other in _same_replicates(stored, row)]
        yield PromptDifference(
            prompt_id=name,
            category=row.category,
            prompt=row.prompt,
            figures={
                spec.name: (stored.figure(spec.name).finetuned, row.figure(spec.name).finetuned)
                for spec in list_specs("column")
            },
            texts=len(texts),
            texts_changed=sum(one != other for one, other in texts),
            p_worse=p_values.get(name),
            stored_response=stored.finetuned_response,
            new_response=row.finetuned_response,
        )


def _same_replicates(stored: ResultRow, new: ResultRow) -> Iterator[tuple[Sample, Sample]]:
    before = {sample.replicate: sample for sample in stored.of_arm(stored.adapter)}
    for sample in new.of_arm(new.adapter):
        if sample.replicate in before:
            yield before[sample.replicate], sample
