"""Insights: everything that outputs show and a report does not hold: estimates, changes, flips, warnings, failures.

Values without words. Nothing here is judged; the gate has done that.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_args

from pytest_jarvis.metrics.registry import BUILT_IN, DEEDS, RELEVANCE, TOOL_ROUTING, list_specs
from pytest_jarvis.metrics.tool_choice import RIGHT, Routing, RoutingReason
from pytest_jarvis.report.analysis.advice import (
    Advice,
    ArmDiagnostics,
    DiagnosticWarning,
    WeakestCategory,
    advise,
    describe_arms,
    find_weakest_category,
    warn_about,
)
from pytest_jarvis.report.analysis.changes import (
    Flips,
    PromptChange,
    find_changes,
    find_flips,
    pick_improvements,
    pick_weaknesses,
)
from pytest_jarvis.report.analysis.metrics import MetricComparison, compare_rows, pair_values
from pytest_jarvis.report.schema import Averages, CategoryAverages, Report, ResultRow
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.ranking import Ranking, rank_arms
from pytest_jarvis.stats.sequential import look_alpha
from pytest_jarvis.types import BASE_ARM, TWIN_ARM, Note

_ROUNDING: Final = 1e-9

NO_TOOL: Final = ""
"""Stands for "no tool" in a confusion matrix."""

REASON_MARK: Final = "?"
"""Prefix of a reason that stands in the matrix for want of a single known tool. No tool's name has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """The tools chosen where one tool was expected, by arm."""

    expected: str
    """A tool, or `NO_TOOL`."""
    prompts: int
    base: Mapping[str, int]
    """Choice (a tool, `NO_TOOL`, or `REASON_MARK` and a reason) -> number of responses."""
    finetuned: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingInsight:
    """Tool choice of one adapter against the base: the detail of the metric `tool_routing`."""

    reasons: Mapping[RoutingReason, tuple[int, int]]
    """Number of responses of the base and of the adapter by reason, right ones first, then by number."""
    confusions: tuple[Confusion, ...]
    """By expected tool, in the order of the prompts, no tool last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryInsight:
    """One category, base against one adapter."""

    category: str
    label: str
    averages: Averages
    metrics: Mapping[str, MetricComparison]
    """By metric with a column or a section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInsight:
    """One adapter against the base."""

    name: str
    averages: Averages
    decision: Decision | None
    """None where nothing was measured, and for the twin of an A/A run; then so is all that depends on it."""
    advice: Advice | None
    """None where nothing was judged, or another bar contradicts a good one."""
    metrics: Mapping[str, MetricComparison]
    """Built-in metrics of responses by name; absent if not measured in both arms."""
    categories: tuple[CategoryInsight, ...]
    weakest: WeakestCategory | None
    changes: tuple[PromptChange, ...]
    """Of every prompt measured in both arms, in the plan's order."""
    improvements: tuple[PromptChange, ...]
    """The largest rises, largest first."""
    weaknesses: tuple[PromptChange, ...]
    """The lowest changes that are no improvements, lowest first; some may be small rises."""
    regressions: tuple[PromptChange, ...]
    """Proven drops, largest first."""
    flips: tuple[Flips, ...]
    base_responses: ArmDiagnostics
    finetuned_responses: ArmDiagnostics
    warnings: tuple[DiagnosticWarning, ...]
    decoding_share: float | None
    """As in the decision."""
    routing: RoutingInsight | None = None
    """None where tool choice was not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """Number of failed responses of an arm at a stage, and the most frequent reason."""

    arm: str
    stage: str
    responses: int
    reason: Note
    """The most frequent one; of equals, the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """The insights of a report."""

    adapters: tuple[AdapterInsight, ...]
    """In the order they were named, the candidate first."""
    ranking: Ranking | None
    """The base and the adapters; None with one adapter, or without a prompt measured in all arms."""
    failures: tuple[FailureCount, ...]
    responses_planned: int

    @property
    def candidate(self) -> AdapterInsight:
        """The adapter named first."""
        return self.adapters[0]

    def of_adapter(self, name: str) -> AdapterInsight:
        """Return one adapter's; KeyError for a name that is not in the report."""
        for insight in self.adapters:
            if insight.name == name:
                return insight
        raise KeyError(name)


def insights(report: Report) -> Insights:
    """Return the insights, pure and for any report, at the decision's level; those of categories are uncorrected."""
    arms = (BASE_ARM, *report.metadata.adapters)
    return Insights(
        adapters=tuple(_of_adapter(report, name) for name in report.metadata.adapters),
        ranking=rank_adapters(report),
        failures=_count_failures(report, arms),
        responses_planned=_count_planned(report, len(arms)),
    )


def _count_planned(report: Report, arms: int) -> int:
    """Return how many responses were planned; of answers made elsewhere, those that there are and those that lack."""
    if report.provenance.answers is None:
        return report.statistics.planned_tests * report.metadata.samples_per_prompt * arms
    found = {(row.prompt_id, one.arm, one.replicate) for row in report.results for one in row.samples}
    return len(found) + sum(failure.stage != "score" for failure in report.failures)


def _of_adapter(report: Report, name: str) -> AdapterInsight:
    rows = [row for row in report.of_adapter(name) if row.measured]
    # The twin has no gain to decide on.
    is_twin = name == TWIN_ARM
    shared = report.metadata.plan.shared_noise and not is_twin
    decision = None if is_twin else report.decisions.get(name)
    alpha = decision.alpha if decision else report.metadata.plan.alpha
    statistics = report.by_adapter[name]
    changes = find_changes(report, rows, shared_noise=shared)
    improvements = pick_improvements(changes)
    base, tuned = describe_arms(rows)
    gain = decision.absolute_gain if decision else 0.0
    metrics = _compare(rows, BUILT_IN, alpha, shared_noise=shared)
    if RELEVANCE in metrics:
        metrics[RELEVANCE] = _as_decided(metrics[RELEVANCE], decision)
    return AdapterInsight(
        name=name,
        averages=statistics.statistics,
        decision=decision,
        advice=_advise(report, name, decision),
        metrics=metrics,
        categories=tuple(
            _category(rows, key, item, alpha, shared_noise=shared) for key, item in statistics.by_category.items()
        ),
        weakest=_weakest(rows, list(statistics.by_category), alpha, gain) if not is_twin else None,
        changes=changes,
        improvements=improvements,
        weaknesses=pick_weaknesses(changes, improvements),
        regressions=tuple(sorted((one for one in changes if one.proven_worse), key=lambda one: one.change)),
        flips=tuple(
            flips
            for criterion in (DEEDS if DEEDS in metrics else "expected_tool", "all_keywords")
            if (flips := find_flips(rows, criterion, alpha, shared_noise=shared)) is not None
        ),
        base_responses=base,
        finetuned_responses=tuned,
        warnings=warn_about(base, tuned, gain),
        decoding_share=decision.decoding_share if decision else None,
        routing=routing_insight(rows) if TOOL_ROUTING in metrics else None,
    )


def _advise(report: Report, name: str, decision: Decision | None) -> Advice | None:
    """Return the level of an adapter's gain; None where nothing was judged, or another bar contradicts a good one."""
    gate = report.gate
    own = {one.name: one.verdict for one in gate.adapters}.get(name)
    if decision is None or gate.verdict in {"NOT_JUDGED", "OFF"} or own == "NOT_JUDGED":
        return None
    found = advise(decision)
    refused = own == "FAIL" or any(reason.code == "measure_blind" for reason in gate.reasons)
    return None if refused and found.code != "INSUFFISANT" else found


def _as_decided(metric: MetricComparison, decision: Decision | None) -> MetricComparison:
    """Return the comparison with the decision's own interval of the gain: readers see one, not two."""
    if decision is None or decision.gain is None or metric.ratio.value is None:
        return metric
    interval = decision.gain_these if metric.ratio.target == "these" else decision.gain_new
    if interval is None or abs(metric.ratio.value - 1 - decision.gain) > _ROUNDING:
        return metric
    return replace(metric, ratio=replace(metric.ratio, interval=(interval[0] + 1, interval[1] + 1)))


def _category(
    rows: Sequence[ResultRow], name: str, item: CategoryAverages, alpha: float, *, shared_noise: bool
) -> CategoryInsight:
    own = [row for row in rows if row.category == name]
    names = [spec.name for spec in list_specs("column", "section")]
    return CategoryInsight(
        category=name,
        label=item.label,
        averages=item.averages,
        metrics=_compare(own, names, alpha, shared_noise=shared_noise),
    )


def _compare(
    rows: Sequence[ResultRow], names: Iterable[str], alpha: float, *, shared_noise: bool
) -> dict[str, MetricComparison]:
    found = {
        name: compare_rows(rows, name, alpha, shared_noise=shared_noise)
        for name in names
        if BUILT_IN[name].spec.per == "response"
    }
    return {name: one for name, one in found.items() if one is not None}


def _weakest(rows: Sequence[ResultRow], categories: Sequence[str], alpha: float, gain: float) -> WeakestCategory | None:
    """Return the category to work on first, by deeds or relevance; without a gain, only one shown to be weak."""
    metric = DEEDS if any(pair_values(row, DEEDS)[1] for row in rows) else RELEVANCE
    scores = {
        name: [tuned for row in rows if row.category == name and (tuned := pair_values(row, metric)[1])]
        for name in categories
    }
    found = find_weakest_category({name: own for name, own in scores.items() if own}, metric, alpha=alpha)
    is_lower = found is not None and found.estimate.mean < found.others_mean
    return found if found and is_lower and (found.shown or gain > 0) else None


def ranked_metric(report: Report) -> str:
    """Return the metric by which arms are ranked."""
    return DEEDS if DEEDS in report.statistics.figures else RELEVANCE


def rank_adapters(report: Report) -> Ranking | None:
    """Rank base and adapters by `ranked_metric`, on the prompts that all have; None with fewer than two adapters.

    With interim looks the sample size depends on the data, so each pair is tested at the Pocock-adjusted level
    (`look_alpha`) of Holm's smallest share, the strictest, for all shares.
    """
    metric = ranked_metric(report)
    found: dict[str, dict[str, dict[int, float]]] = {}
    for row in report.results:
        arms_of_prompt = found.setdefault(row.prompt_id, {})
        for sample in row.samples:
            if (score := sample.score(metric)) is not None:
                arms_of_prompt.setdefault(sample.arm, {})[sample.replicate] = score
    answered = {arm for by_arm in found.values() for arm in by_arm}
    arms = [arm for arm in (BASE_ARM, *report.metadata.adapters) if arm in answered]
    if len(arms) < 3 or BASE_ARM not in answered:
        return None
    scores: dict[str, list[list[float]]] = {arm: [] for arm in arms}
    noise = report.metadata.plan.shared_noise
    for by_arm in found.values():
        shared = sorted(set.intersection(*(set(by_arm.get(arm, {})) for arm in arms)))
        for arm in arms if shared else ():
            scores[arm].append([by_arm[arm][replicate] for replicate in (shared if noise else sorted(by_arm[arm]))])
    alpha = _ranking_alpha(report, len(arms))
    return rank_arms(scores, alpha=alpha, shared_noise=noise) if scores[BASE_ARM] else None


def _ranking_alpha(report: Report, arms: int) -> float:
    plan = report.metadata.plan
    if len(plan.looks) == 1:
        return plan.alpha
    # Tests of both sides of each pair.
    tests = 2 * math.comb(arms, 2)
    return look_alpha(plan.alpha / tests, plan.looks) * tests


def _count_failures(report: Report, arms: Sequence[str]) -> tuple[FailureCount, ...]:
    reasons: dict[tuple[str, str], Counter[Note]] = {}
    for failure in report.failures:
        reasons.setdefault((failure.arm, failure.stage), Counter())[failure.reason] += 1
    order = {arm: place for place, arm in enumerate(arms)}
    return tuple(
        FailureCount(arm=arm, stage=stage, responses=counts.total(), reason=counts.most_common(1)[0][0])
        for (arm, stage), counts in sorted(reasons.items(), key=lambda item: order.get(item[0][0], len(order)))
    )


def routing_insight(rows: Sequence[ResultRow]) -> RoutingInsight:
    """Return the tool choices in the measured rows of one adapter."""
    return RoutingInsight(reasons=_count_reasons(rows), confusions=tuple(_confusions(rows)))


def offers_tools(report: Report) -> bool:
    """Return whether the model was offered tools, so that its calls were judged and not its words."""
    return bool(report.provenance.generation.tools)


def cell_of(routing: Routing) -> str:
    """Return the column of a response in the confusion matrix."""
    if routing.reason in {"right_silence", "no_call"}:
        return NO_TOOL
    if routing.tool is None or routing.reason == "unknown_tool":
        return f"{REASON_MARK}{'tie' if routing.reason == 'unwanted_call' else routing.reason}"
    return routing.tool


def _routings(row: ResultRow, *, of_base: bool) -> Iterator[Routing]:
    for sample in row.samples:
        if sample.routing is not None and (sample.arm != row.adapter) == of_base:
            yield sample.routing


def _count_reasons(rows: Sequence[ResultRow]) -> dict[RoutingReason, tuple[int, int]]:
    base, tuned = (
        Counter(one.reason for row in rows for one in _routings(row, of_base=of_base)) for of_base in (True, False)
    )
    seen: list[RoutingReason] = [reason for reason in get_args(RoutingReason) if reason in base | tuned]
    seen.sort(key=lambda reason: 0 if reason in RIGHT else 1 / (base[reason] + tuned[reason]))
    return {reason: (base[reason], tuned[reason]) for reason in seen}


def _confusions(rows: Sequence[ResultRow]) -> Iterator[Confusion]:
    judged = [row for row in rows if any(sample.routing is not None for sample in row.samples)]
    wanted = dict.fromkeys(_wanted(row) for row in judged)
    for tool in sorted(wanted, key=lambda name: name == NO_TOOL):
        own = [row for row in judged if _wanted(row) == tool]
        base, tuned = (
            Counter(cell_of(one) for row in own for one in _routings(row, of_base=of_base)) for of_base in (True, False)
        )
        yield Confusion(expected=tool, prompts=len(own), base=dict(base), finetuned=dict(tuned))


def _wanted(row: ResultRow) -> str:
    return NO_TOOL if row.no_tool or row.expected_tool is None else row.expected_tool
