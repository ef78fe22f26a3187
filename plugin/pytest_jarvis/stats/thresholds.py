"""Thresholds, judged one by one: value, verdict and why. The content of `thresholds.json`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pytest_jarvis.stats.contrasts import (
    Contrast,
    Scores,
    Verdict,
    contrast_new_prompts,
    contrast_same_draws,
    contrast_these_prompts,
    judge_claim,
    read_scores,
)
from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.types import GatePlan, Policy

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
    "done_share",
    "done_gain",
    "no_drop",
]
"""metric_gain, metric_mean: of a metric in `metric_bars` (`Threshold.metric`), in its own unit. done_share, done_gain:
of the deeds, as shares. no_drop: of a metric, missed only where a drop is proven."""
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
    "no_drop_proven",
    "gate_off",
    "run_not_judged",
]
"""proven, disproven, undecided: by the interval (`lower`, `upper`, missing with `alpha` on each side).
seen, not_seen: by the value alone, with policy `point` or because it is a count.
nothing_to_compare: both arms score 0. out_of_reach: no score in [0, 1] is `bar` above the base (`base_mean`).
not_measured: no value. no_interval: a value without an estimate of its noise. no_drop_proven: of `no_drop`.
gate_off: policy `off`. run_not_judged: the run, or the responses of this adapter, cannot be judged.
"""

_WHY_OF: Final[Mapping[Verdict, WhyCode]] = {"PASS": "proven", "FAIL": "disproven", "INCONCLUSIVE": "undecided"}
_AT_MOST: Final[frozenset[ThresholdName]] = frozenset({"failure_share", "latency_ratio"})
"""Upper bounds; all others are lower bounds, save where a bar has a direction."""
_OF_METRIC: Final[frozenset[ThresholdName]] = frozenset({"metric_gain", "metric_mean", "no_drop"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One threshold, judged."""

    name: ThresholdName
    adapter: str | None
    """None for a threshold on the whole run; `base` for one on the base alone."""
    category: str | None = None
    metric: str | None = None
    """Of a threshold in `metric_bars`, or of `no_drop`."""
    value: float | None
    bar: float
    direction: Direction
    verdict: ThresholdVerdict
    meets: bool | None
    """Whether the value meets `bar`, whatever is proven; None without a value."""
    why: WhyCode
    values: Mapping[str, float] = field(default_factory=dict)
    responses: int | None = None
    """Most responses of a prompt in an arm when it was judged."""


Measure = Literal["gain", "change", "ratio", "mean", "no_drop"]
"""Judged figure: the relative gain, the difference or the ratio of the arms, the adapter's mean; or the difference, of
which it counts only whether it is proven to miss the bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A threshold to judge at each look: a figure of a metric and its least, or largest, value."""

    name: ThresholdName
    metric: str
    measure: Measure
    bar: float
    direction: Direction = "at_least"
    category: str | None = None
    """The prompts it is about; all when None."""
    highest: float = math.inf
    """Largest possible value of the metric; all are at least 0 where it is finite."""
    is_optional: bool = False
    """Left out where the metric was not measured."""
    is_beside: bool = False
    """Judged and shown, and not part of the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedBar:
    """A bar after a look."""

    threshold: Threshold
    proof: Verdict | None = None
    """What the test says, whatever the policy; None without a test."""
    p_pass: float = 1.0
    p_fail: float = 1.0
    is_open: bool = False
    """Whether more responses may settle it."""
    decision: Decision | None = None
    """Of a relative gain."""

    @property
    def is_settled(self) -> bool:
        """Whether later looks keep it; that no drop is proven yet does not last."""
        return self.proof == "FAIL" or (self.proof == "PASS" and self.threshold.name != "no_drop")


def judge_bar(bar: Bar, adapter: str, pair: tuple[Scores, Scores] | None, *, alpha: float, plan: GatePlan) -> JudgedBar:
    """Judge a bar as `judge_claim`, each side at `alpha`, a mean by the adapter's scores alone; None: not measured."""
    metric = bar.metric if bar.name in _OF_METRIC else None
    missing = replace(
        _missing(bar.name, adapter, bar.bar, plan.policy, category=bar.category), metric=metric, direction=bar.direction
    )
    if pair is None or not pair[1]:
        return JudgedBar(threshold=missing)
    missing = replace(missing, responses=max(len(prompt) for table in pair for prompt in table))
    if bar.measure == "gain":
        shared, greedy = plan.shared_noise, plan.deterministic
        decision = decide(*pair, min_gain=bar.bar, alpha=alpha, shared_noise=shared, deterministic=greedy)
        tested = decision.ground != "out_of_reach" and decision.p_pass is not None and decision.p_fail is not None
        return JudgedBar(
            threshold=replace(
                judge_gain(bar.name, adapter, decision, bar=bar.bar, policy=plan.policy), responses=missing.responses
            ),
            proof=decision.verdict,
            p_pass=decision.p_pass if tested and decision.p_pass is not None else 1.0,
            p_fail=decision.p_fail if tested and decision.p_fail is not None else 1.0,
            is_open=decision.verdict == "INCONCLUSIVE" and decision.ground != "out_of_reach",
            decision=decision,
        )
    tuned = read_scores(pair[1], "finetuned")
    base = tuned if bar.measure == "mean" else read_scores(pair[0], "base")
    means = contrast_same_draws(tuned, base)
    if bar.measure == "ratio" and means.second <= 0:
        return JudgedBar(threshold=missing)
    contrast: Contrast | None = means
    if not plan.deterministic or any(min(prompt) < max(prompt) for prompt in (*tuned, *base)):
        these = contrast_these_prompts(tuned, base, shared_noise=plan.shared_noise)
        contrast = these or contrast_new_prompts(tuned, base)
    return _judge_figure(bar, missing, means, contrast, alpha=alpha, policy=plan.policy)


def _judge_figure(
    bar: Bar, missing: Threshold, means: Contrast, contrast: Contrast | None, *, alpha: float, policy: Policy
) -> JudgedBar:
    """Judge a figure that was measured; without a `contrast`, its noise is unknown."""
    ratio, offset = {"mean": (0.0, bar.bar), "ratio": (bar.bar, 0.0)}.get(bar.measure, (1.0, bar.bar))
    value = means.first / means.second if bar.measure == "ratio" else means.estimate(ratio)
    sign = 1 if bar.direction == "at_least" else -1
    meets = sign * value >= sign * bar.bar
    proof: Verdict | None = None
    p_values, interval = (1.0, 1.0), None
    if contrast is not None:
        claim = judge_claim(contrast, ratio, offset, alpha, (0.0, bar.highest) if bar.highest < math.inf else None)
        p_values = (claim.p_pass, claim.p_fail) if sign > 0 else (claim.p_fail, claim.p_pass)
        if claim.df is None and claim.excess == 0 and 0.0 in p_values:
            p_values = (0.0, 1.0)  # at the bar, and without noise: both directions are met
        proof = "PASS" if p_values[0] <= alpha else "FAIL" if p_values[1] <= alpha else "INCONCLUSIVE"
        interval = (claim.interval[0] + offset, claim.interval[1] + offset)
        if bar.measure == "mean" and bar.highest < math.inf:
            interval = (max(interval[0], 0.0), min(interval[1], bar.highest))
        if bar.measure == "ratio":
            interval = (value, value) if claim.df is None else contrast.ratio_interval(max(claim.criticals))
    verdict, why = _settle(policy, proof, meets=meets)
    if bar.measure == "no_drop" and policy != "off":
        meets = proof != "FAIL"
        verdict, why = ("PASS", "no_drop_proven") if meets else ("FAIL", "disproven")
    values = {} if interval is None else {"lower": interval[0], "upper": interval[1], "alpha": alpha}
    return JudgedBar(
        threshold=replace(missing, value=value, verdict=verdict, meets=meets, why=why, values=values),
        proof=proof,
        p_pass=p_values[0],
        p_fail=p_values[1],
        is_open=bar.measure != "no_drop" and proof in {None, "INCONCLUSIVE"},
    )


def judge_gain(
    name: ThresholdName, adapter: str, decision: Decision | None, *, bar: float, policy: Policy
) -> Threshold:
    """Judge a relative gain by its decision (whose `min_gain` is `bar`); None when it was not measured."""
    missing = _missing(name, adapter, bar, policy)
    if decision is None:
        return missing
    # Over a base of 0 any score is an unlimited gain.
    meets = decision.finetuned_mean > 0 if decision.gain is None else decision.gain >= decision.min_gain
    ends = decision.judged_interval
    values = {} if ends is None else {"lower": ends[0], "upper": ends[1], "alpha": decision.alpha}
    verdict, why = _settle(policy, decision.verdict if decision.ground != "no_variance" else None, meets=meets)
    if policy != "off" and decision.ground == "out_of_reach":
        verdict, why, values = "NOT_JUDGED", "out_of_reach", {"base_mean": decision.base_mean}
    elif policy != "off" and decision.ground == "nothing_to_compare":
        verdict = "FAIL" if policy == "point" else decision.verdict
        why, values = "nothing_to_compare", {}
    return replace(missing, value=decision.gain, verdict=verdict, meets=meets, why=why, values=values)


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
