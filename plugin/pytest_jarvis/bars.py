"""The bars a configuration may set beside the relevance gain, measured on the rows of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_jarvis.changes import Metric, keywords_of, pair_of, relevance_of, seconds_of
from pytest_jarvis.comparisons import compare, compare_as_ratio, estimate_mean
from pytest_jarvis.config import BenchmarkSection
from pytest_jarvis.looks import Question
from pytest_jarvis.report import ResultRow
from pytest_jarvis.statistics import decide
from pytest_jarvis.thresholds import Policy, Threshold, judge_estimate, judge_floors, judge_gain

_Table = list[tuple[float, ...]]


def configured_bars(
    section: BenchmarkSection, adapter: str, rows: Sequence[ResultRow], question: Question, policy: Policy
) -> Iterator[Threshold]:
    """Yield the bars that are set, judged for one adapter: keyword gain, absolute gain, latency ratio, floors.

    `rows` are the adapter's. Each bar errs with probability `question.alpha` on its own.
    """
    alpha, shared = question.alpha, question.shared_noise
    if (percent := section.min_keyword_gain_percent) is not None:
        bar = percent / 100
        base, tuned = _paired(rows, keywords_of)
        decision = None
        if base:
            decision = decide(
                base, tuned, min_gain=bar, alpha=alpha, shared_noise=shared, deterministic=question.deterministic
            )
        yield judge_gain("keyword_gain", adapter, decision, bar=bar, policy=policy)
    if (absolute := section.min_absolute_gain) is not None:
        base, tuned = _paired(rows, relevance_of)
        difference = compare(base, tuned, alpha=alpha, shared_noise=shared) if base else None
        yield judge_estimate("absolute_gain", adapter, difference, bar=absolute, policy=policy)
    if (ratio := section.max_latency_ratio) is not None:
        base, tuned = _paired(rows, seconds_of)
        latency = compare_as_ratio(base, tuned, alpha=alpha, shared_noise=shared) if base else None
        yield judge_estimate("latency_ratio", adapter, latency, bar=ratio, policy=policy)
    if section.category_floors:
        estimates = {}
        for category in section.category_floors:
            _, scores = _paired([row for row in rows if row.category == category], relevance_of)
            if scores:
                estimates[category] = estimate_mean(scores, alpha=alpha)
        yield from judge_floors(adapter, estimates, section.category_floors, alpha=alpha, policy=policy)


def _paired(rows: Sequence[ResultRow], metric: Metric) -> tuple[_Table, _Table]:
    """Return the metric of base and adapter, a sequence per prompt that has it in both."""
    pairs = [pair for row in rows if all(pair := pair_of(row, metric))]
    return [base for base, _ in pairs], [tuned for _, tuned in pairs]
