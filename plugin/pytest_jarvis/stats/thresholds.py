"""Thresholds, judged one by one: value, verdict and why. The content of `thresholds.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pytest_jarvis.stats.contrasts import Interval, Verdict
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.estimates import Difference, MeanEstimate, Ratio
from pytest_jarvis.stats.sequential import holm
from pytest_jarvis.types import Policy

ThresholdName = Literal[
    "relevance_gain",
    "absolute_gain",
    "keyword_gain",
    "routing_accuracy",
    "routing_gain",
    "category_floor",
    "failure_share",
    "latency_ratio",
    "metric_gain",
    "metric_mean",
]
"""metric_gain, metric_mean: of a metric in `metric_bars` (`Threshold.metric`), in its own unit."""
ThresholdVerdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT_JUDGED"]
Direction = Literal["at_least", "at_most"]
WhyCode = Literal[
    "proven",
    "disproven",
    "undecided",
    "seen",
    "not_seen",
    "nothing_to_compare",
    "out_of_reach",
    "not_measured",
    "no_interval",
    "gate_off",
    "run_not_judged",
]
"""proven, disproven, undecided: by the interval (`lower`, `upper`, missing with `alpha` on each side).
seen, not_seen: by the value alone, with policy `point` or because it is a count.
nothing_to_compare: both arms score 0. out_of_reach: no score in [0, 1] is `bar` above the base (`base_mean`).
not_measured: no value. no_interval: a value without an estimate of its noise.
gate_off: policy `off`. run_not_judged: the run, or the responses of this adapter, cannot be judged.
"""

_WHY_OF: Final[Mapping[Verdict, WhyCode]] = {"PASS": "proven", "FAIL": "disproven", "INCONCLUSIVE": "undecided"}
_AT_MOST: Final[frozenset[ThresholdName]] = frozenset({"failure_share", "latency_ratio"})
"""Upper bounds; all others are lower bounds, save where `judge_metric` is given a direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One threshold, judged."""

    name: ThresholdName
    adapter: str | None
    """None for a threshold on the whole run; `base` for one on the base alone."""
    category: str | None = None
    metric: str | None = None
    """Of a threshold in `metric_bars`."""
    value: float | None
    bar: float
    direction: Direction
    verdict: ThresholdVerdict
    meets: bool | None
    """Whether the value meets `bar`, whatever is proven; None without a value."""
    why: WhyCode
    values: Mapping[str, float] = field(default_factory=dict)


def judge_gain(
    name: ThresholdName, adapter: str, decision: Decision | None, *, bar: float, policy: Policy
) -> Threshold:
    """Judge a relative gain by its decision (whose `min_gain` is `bar`); None when it was not measured."""
    missing = _missing(name, adapter, bar, policy)
    if decision is None:
        return missing
    # Over a base of 0 any score is an unlimited gain.
    meets = decision.finetuned_mean > 0 if decision.gain is None else decision.gain >= decision.min_gain
    values = _interval_values(decision.judged_interval, decision.alpha)
    verdict, why = _settle(policy, decision.verdict if decision.ground != "no_variance" else None, meets=meets)
    if policy != "off" and decision.ground == "out_of_reach":
        verdict, why, values = "NOT_JUDGED", "out_of_reach", {"base_mean": decision.base_mean}
    elif policy != "off" and decision.ground == "nothing_to_compare":
        verdict = "FAIL" if policy == "point" else decision.verdict
        why, values = "nothing_to_compare", {}
    return replace(missing, value=decision.gain, verdict=verdict, meets=meets, why=why, values=values)


def judge_estimate(
    name: ThresholdName, adapter: str, estimate: Difference | Ratio | MeanEstimate | None, *, bar: float, policy: Policy
) -> Threshold:
    """Judge a difference, a ratio or a mean against `bar`; None when it was not measured."""
    return _judge_estimate(_missing(name, adapter, bar, policy), estimate, policy)


def judge_metric(
    name: Literal["metric_gain", "metric_mean"],
    metric: str,
    adapter: str,
    estimate: Difference | MeanEstimate | None,
    *,
    bar: float,
    direction: Direction,
    policy: Policy,
) -> Threshold:
    """Judge the gain or the mean of a metric, in its own unit; None when it was not measured."""
    missing = replace(_missing(name, adapter, bar, policy), metric=metric, direction=direction)
    return _judge_estimate(missing, estimate, policy)


def _judge_estimate(
    missing: Threshold, estimate: Difference | Ratio | MeanEstimate | None, policy: Policy
) -> Threshold:
    value = _value_of(estimate)
    if estimate is None or value is None:
        return missing
    sign = 1 if missing.direction == "at_least" else -1
    proof: Verdict | None = None
    if estimate.interval is not None:
        low, high = sorted(sign * end for end in estimate.interval)
        proof = "PASS" if low >= sign * missing.bar else "FAIL" if high < sign * missing.bar else "INCONCLUSIVE"
    meets = sign * value >= sign * missing.bar
    verdict, why = _settle(policy, proof, meets=meets)
    values = _interval_values(estimate.interval, estimate.alpha)
    return replace(missing, value=value, verdict=verdict, meets=meets, why=why, values=values)


def _value_of(estimate: Difference | Ratio | MeanEstimate | None) -> float | None:
    if isinstance(estimate, Ratio):
        return estimate.value
    if isinstance(estimate, Difference):
        return estimate.difference
    return estimate.mean if estimate else None


def judge_floors(
    adapter: str, estimates: Mapping[str, MeanEstimate], floors: Mapping[str, float], *, alpha: float, policy: Policy
) -> tuple[Threshold, ...]:
    """Judge the mean score of each category that has a floor, with Holm's procedure at `alpha` over the floors.

    A floor whose category has no estimate was not measured.
    """
    known = {category: estimates[category] for category in floors if category in estimates}
    at_least = [estimate.p_at_least(floors[category]) for category, estimate in known.items()]
    passes = holm([1.0 if p is None else p for p in at_least], alpha)
    fails = holm([1.0 if p is None else 1 - p for p in at_least], alpha)
    proofs: dict[str, Verdict | None] = {}
    for category, p_value, on_pass, on_fail in zip(known, at_least, passes, fails, strict=True):
        proof: Verdict = "PASS" if on_pass.rejected else "FAIL" if on_fail.rejected else "INCONCLUSIVE"
        proofs[category] = None if p_value is None else proof
    found = []
    for category, bar in floors.items():
        threshold = _missing("category_floor", adapter, bar, policy, category=category)
        if category in known:
            estimate = known[category]
            meets = estimate.mean >= bar
            verdict, why = _settle(policy, proofs[category], meets=meets)
            values = _interval_values(estimate.interval, estimate.alpha)
            threshold = replace(threshold, value=estimate.mean, verdict=verdict, meets=meets, why=why, values=values)
        found.append(threshold)
    return tuple(found)


def judge_failure_share(failed: int, planned: int, *, bar: float, policy: Policy, arm: str | None = None) -> Threshold:
    """Judge the share of planned responses, of one arm or of the run, that failed; a count, so without noise."""
    threshold = _missing("failure_share", arm, bar, policy)
    if planned == 0:
        return threshold
    meets = failed / planned <= bar
    verdict, why = _settle("off" if policy == "off" else "point", None, meets=meets)
    values = {"failed": failed, "planned": planned}
    return replace(threshold, value=failed / planned, verdict=verdict, meets=meets, why=why, values=values)


def withhold(threshold: Threshold) -> Threshold:
    """Return the threshold of a run that cannot be judged: it keeps its value and loses its verdict."""
    return replace(threshold, verdict="NOT_JUDGED", why="run_not_judged")


def _settle(policy: Policy, proof: Verdict | None, *, meets: bool) -> tuple[ThresholdVerdict, WhyCode]:
    """Return the verdict by a policy, from what is proven (None: nothing can be) and from the value."""
    if policy == "off":
        return ("NOT_JUDGED", "gate_off")
    if policy == "point":
        return ("PASS", "seen") if meets else ("FAIL", "not_seen")
    return ("INCONCLUSIVE", "no_interval") if proof is None else (proof, _WHY_OF[proof])


def _missing(
    name: ThresholdName, adapter: str | None, bar: float, policy: Policy, *, category: str | None = None
) -> Threshold:
    """Return a threshold without a value."""
    return Threshold(
        name=name,
        adapter=adapter,
        category=category,
        value=None,
        bar=bar,
        direction="at_most" if name in _AT_MOST else "at_least",
        verdict="NOT_JUDGED",
        meets=None,
        why="gate_off" if policy == "off" else "not_measured",
    )


def _interval_values(interval: Interval | None, alpha: float) -> dict[str, float]:
    return {} if interval is None else {"lower": interval[0], "upper": interval[1], "alpha": alpha}
