"""The bars a configuration may set beside the relevance gain, measured on the rows of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_jarvis.inputs.config import BenchmarkSection, MetricBar
from pytest_jarvis.metrics.custom import MetricSpec
from pytest_jarvis.report.analysis.changes import Metric, keywords_of, pair_of, relevance_of, routing_of, seconds_of
from pytest_jarvis.report.analysis.custom_metrics import pairs_of, value_of
from pytest_jarvis.report.schema import ResultRow
from pytest_jarvis.stats.decision import decide
from pytest_jarvis.stats.estimates import compare, compare_as_ratio, estimate_mean
from pytest_jarvis.stats.sequential import Question
from pytest_jarvis.stats.thresholds import (
    Direction,
    Policy,
    Threshold,
    judge_estimate,
    judge_floors,
    judge_gain,
    judge_metric,
)

_Table = list[tuple[float, ...]]


def configured_bars(
    section: BenchmarkSection, adapter: str, rows: Sequence[ResultRow], question: Question, policy: Policy
) -> Iterator[Threshold]:
    """Yield the bars that are set, judged for one adapter: gains, latency, choice of the tool, floors.

    `rows` are the adapter's. Each bar errs with probability `question.alpha` on its own.
    """
    alpha, shared = question.alpha, question.shared_noise
    if (percent := section.min_keyword_gain_percent) is not None:
        bar = percent / 100
        base, tuned = paired(rows, keywords_of)
        decision = None
        if base:
            decision = decide(
                base, tuned, min_gain=bar, alpha=alpha, shared_noise=shared, deterministic=question.deterministic
            )
        yield judge_gain("keyword_gain", adapter, decision, bar=bar, policy=policy)
    if (absolute := section.min_absolute_gain) is not None:
        base, tuned = paired(rows, relevance_of)
        difference = compare(base, tuned, alpha=alpha, shared_noise=shared) if base else None
        yield judge_estimate("absolute_gain", adapter, difference, bar=absolute, policy=policy)
    if (ratio := section.max_latency_ratio) is not None:
        base, tuned = paired(rows, seconds_of)
        latency = compare_as_ratio(base, tuned, alpha=alpha, shared_noise=shared) if base else None
        yield judge_estimate("latency_ratio", adapter, latency, bar=ratio, policy=policy)
    yield from _routing_bars(section, adapter, rows, question, policy)
    if section.category_floors:
        estimates = {}
        for category in section.category_floors:
            _, scores = paired([row for row in rows if row.category == category], relevance_of)
            if scores:
                estimates[category] = estimate_mean(scores, alpha=alpha)
        yield from judge_floors(adapter, estimates, section.category_floors, alpha=alpha, policy=policy)


def metric_bars(
    section: BenchmarkSection,
    specs: Sequence[MetricSpec],
    adapter: str,
    rows: Sequence[ResultRow],
    *,
    question: Question,
    policy: Policy,
) -> Iterator[Threshold]:
    """Yield the bars on metrics that others added, judged for one adapter, whose rows are `rows`.

    Each bar errs with probability `question.alpha` on its own. A bar on a metric that is not among `specs` was not
    measured.
    """
    known = {spec.name: spec for spec in specs}
    for name, asked in section.metric_bars.items():
        yield from _bars_of(
            known.get(name, MetricSpec(name=name, label=name)), asked, adapter, rows, question=question, policy=policy
        )


def _bars_of(
    spec: MetricSpec,
    asked: MetricBar,
    adapter: str,
    rows: Sequence[ResultRow],
    *,
    question: Question,
    policy: Policy,
) -> Iterator[Threshold]:
    base, tuned = paired(rows, value_of(spec)) if spec.per == "response" else ([], pairs_of(rows, spec))
    if asked.min_gain is not None:
        change = compare(base, tuned, alpha=question.alpha, shared_noise=question.shared_noise) if base else None
        way: Direction = "at_least" if spec.higher_is_better else "at_most"
        bar = asked.min_gain if spec.higher_is_better else -asked.min_gain
        yield judge_metric("metric_gain", spec.name, adapter, change, bar=bar, direction=way, policy=policy)
    mean = estimate_mean(tuned, alpha=question.alpha) if tuned else None
    if asked.min_mean is not None:
        yield judge_metric(
            "metric_mean", spec.name, adapter, mean, bar=asked.min_mean, direction="at_least", policy=policy
        )
    if asked.max_mean is not None:
        yield judge_metric(
            "metric_mean", spec.name, adapter, mean, bar=asked.max_mean, direction="at_most", policy=policy
        )


def _routing_bars(
    section: BenchmarkSection, adapter: str, rows: Sequence[ResultRow], question: Question, policy: Policy
) -> Iterator[Threshold]:
    """Yield the bars on the choice of the tool: its share of right ones, and how that differs from the base's."""
    if section.min_routing_accuracy is None and section.min_routing_gain is None:
        return
    base, tuned = paired(rows, routing_of)
    alpha = question.alpha
    if (bar := section.min_routing_accuracy) is not None:
        accuracy = estimate_mean(tuned, alpha=alpha) if tuned else None
        yield judge_estimate("routing_accuracy", adapter, accuracy, bar=bar, policy=policy)
    if (bar := section.min_routing_gain) is not None:
        gain = compare(base, tuned, alpha=alpha, shared_noise=question.shared_noise) if base else None
        yield judge_estimate("routing_gain", adapter, gain, bar=bar, policy=policy)


def paired(rows: Sequence[ResultRow], metric: Metric) -> tuple[_Table, _Table]:
    """Return the metric of base and adapter, a sequence per prompt that has it in both."""
    pairs = [pair for row in rows if all(pair := pair_of(row, metric))]
    return [base for base, _ in pairs], [tuned for _, tuned in pairs]
