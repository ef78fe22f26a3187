"""Comparison of two saved runs: differences of settings, metrics and prompts, and the regression test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from pytest_jarvis.metrics.registry import DEEDS, RELEVANCE, MetricSpec, list_specs
from pytest_jarvis.report.analysis.metrics import all_specs, metric_names
from pytest_jarvis.report.comparability import compare_prompts, obstacles_between, pair_adapters, setting_changes
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
from pytest_jarvis.types import BASE_ARM

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
    """Return the differences between a stored and a new run over their shared prompts.

    Each interval misses with probability `alpha` on each side; the runs count as independent. ValueError as
    `pair_adapters`.
    """
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
    """Return whether the candidate of `new` is proven worse than in `stored`, overall or in a category.

    `run` describes the stored run; without one nothing is judged.
    """
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
