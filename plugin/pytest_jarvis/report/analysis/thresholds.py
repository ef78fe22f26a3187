"""Thresholds of the configuration beside the relevance gain, judged on the rows of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from pytest_jarvis.inputs.config import BenchmarkSection, MetricBar
from pytest_jarvis.metrics.registry import BUILT_IN, KEYWORDS, RELEVANCE, TOOL_ROUTING, MetricSpec
from pytest_jarvis.report.analysis.metrics import collect_pair_scores, collect_pairs
from pytest_jarvis.report.schema import ResultRow
from pytest_jarvis.stats.decision import decide
from pytest_jarvis.stats.estimates import Difference, MeanEstimate, Ratio, compare, compare_as_ratio, estimate_mean
from pytest_jarvis.stats.thresholds import (
    Direction,
    Threshold,
    ThresholdName,
    judge_estimate,
    judge_floors,
    judge_gain,
    judge_metric,
)
from pytest_jarvis.types import GatePlan

_Measure = Literal["gain", "change", "ratio", "mean"]
"""Judged figure: the relative gain, the difference or the ratio of the arms, or the adapter's mean."""
_BARS: Final[tuple[tuple[ThresholdName, str, _Measure], ...]] = (
    ("keyword_gain", KEYWORDS, "gain"),
    ("absolute_gain", RELEVANCE, "change"),
    ("latency_ratio", "seconds", "ratio"),
    ("routing_accuracy", TOOL_ROUTING, "mean"),
    ("routing_gain", TOOL_ROUTING, "change"),
)


def judge_configured_bars(
    section: BenchmarkSection, adapter: str, rows: Sequence[ResultRow], plan: GatePlan
) -> Iterator[Threshold]:
    """Yield the configured thresholds of one adapter, judged: gains, latency, tool choice, floors.

    `rows` are the adapter's. Each threshold errs with probability `plan.alpha` on its own.
    """
    percent = section.min_keyword_gain_percent
    asked: dict[ThresholdName, float | None] = {
        "keyword_gain": None if percent is None else percent / 100,
        "absolute_gain": section.min_absolute_gain,
        "latency_ratio": section.max_latency_ratio,
        "routing_accuracy": section.min_routing_accuracy,
        "routing_gain": section.min_routing_gain,
    }
    for name, metric, measure in _BARS:
        if (bar := asked[name]) is not None:
            yield _judge(name, metric, measure, adapter, rows, bar=bar, plan=plan)
    if section.category_floors:
        estimates = {}
        for category in section.category_floors:
            own = [row for row in rows if row.category == category]
            _, scores = collect_pairs(own, RELEVANCE)
            if scores:
                estimates[category] = estimate_mean(scores, alpha=plan.alpha)
        yield from judge_floors(adapter, estimates, section.category_floors, alpha=plan.alpha, policy=plan.policy)


def _judge(
    name: ThresholdName,
    metric: str,
    measure: _Measure,
    adapter: str,
    rows: Sequence[ResultRow],
    *,
    bar: float,
    plan: GatePlan,
) -> Threshold:
    base, tuned = collect_pairs(rows, metric)
    alpha, shared = plan.alpha, plan.shared_noise
    if measure == "gain":
        greedy = plan.deterministic
        decision = (
            decide(base, tuned, min_gain=bar, alpha=alpha, shared_noise=shared, deterministic=greedy) if base else None
        )
        return judge_gain(name, adapter, decision, bar=bar, policy=plan.policy)
    estimate: Difference | Ratio | MeanEstimate | None = None
    if base and measure == "change":
        estimate = compare(base, tuned, alpha=alpha, shared_noise=shared)
    elif base and measure == "ratio":
        estimate = compare_as_ratio(base, tuned, alpha=alpha, shared_noise=shared)
    elif base:
        estimate = estimate_mean(tuned, alpha=alpha)
    return judge_estimate(name, adapter, estimate, bar=bar, policy=plan.policy)


def judge_metric_bars(
    section: BenchmarkSection, specs: Sequence[MetricSpec], adapter: str, rows: Sequence[ResultRow], *, plan: GatePlan
) -> Iterator[Threshold]:
    """Yield the thresholds of `metric_bars`, judged for one adapter, whose rows are `rows`.

    Each errs with probability `plan.alpha` on its own. `specs` are the custom metrics; a threshold on a metric that is
    neither among them nor built-in was not measured.
    """
    known = {name: metric.spec for name, metric in BUILT_IN.items()} | {spec.name: spec for spec in specs}
    for name, asked in section.metric_bars.items():
        yield from _bars_of(known.get(name, MetricSpec(name=name, label=name)), asked, adapter, rows, plan=plan)


def _bars_of(
    spec: MetricSpec, asked: MetricBar, adapter: str, rows: Sequence[ResultRow], *, plan: GatePlan
) -> Iterator[Threshold]:
    per_arm = spec.per == "response"
    base, tuned = collect_pairs(rows, spec.name) if per_arm else ([], collect_pair_scores(rows, spec))
    if asked.min_gain is not None:
        change = compare(base, tuned, alpha=plan.alpha, shared_noise=plan.shared_noise) if base else None
        way: Direction = "at_least" if spec.higher_is_better else "at_most"
        bar = asked.min_gain if spec.higher_is_better else -asked.min_gain
        yield judge_metric("metric_gain", spec.name, adapter, change, bar=bar, direction=way, policy=plan.policy)
    mean = estimate_mean(tuned, alpha=plan.alpha) if tuned else None
    if asked.min_mean is not None:
        yield judge_metric(
            "metric_mean", spec.name, adapter, mean, bar=asked.min_mean, direction="at_least", policy=plan.policy
        )
    if asked.max_mean is not None:
        yield judge_metric(
            "metric_mean", spec.name, adapter, mean, bar=asked.max_mean, direction="at_most", policy=plan.policy
        )
