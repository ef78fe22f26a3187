"""What to do next: how good the fine-tune is, how sure that is, and which category to work on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pytest_jarvis.comparisons import MeanEstimate, estimate_mean
from pytest_jarvis.contrasts import Scores, Target, upper_tail
from pytest_jarvis.statistics import Decision

AdviceCode = Literal["EFFICACE", "MODERE", "INSUFFISANT"]
"""A gain above 10 %, from 5 to 10 %, below 5 %."""

EFFECTIVE_GAIN: Final = 0.10
MODERATE_GAIN: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How good the fine-tune looks, and how good it is shown to be."""

    code: AdviceCode
    """By the gain seen."""
    proven: bool
    """The interval says at least as much (for INSUFFISANT: lies under 5 %)."""
    proven_code: AdviceCode | None
    """What the interval does show: above 10 %, at least 5 %, below 5 %, or nothing."""
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakestCategory:
    """The category in which the fine-tuned arm scores lowest."""

    category: str
    estimate: MeanEstimate
    others_mean: float
    """Mean over the prompts of all other categories."""
    shown: bool
    """The category is below the others by more than noise explains."""


def advise(decision: Decision) -> Advice:
    """Give back the level of the gain seen, and the level that the judged interval shows."""
    code = _level_seen(decision)
    proven = _level_proven(decision)
    return Advice(code=code, proven=code == proven, proven_code=proven, gain=decision.gain)


def _level_seen(decision: Decision) -> AdviceCode:
    """Give back the level of the point estimate; any score over a base of 0 is a gain without bounds."""
    if decision.gain is None:
        return "EFFICACE" if decision.finetuned_mean > 0 else "INSUFFISANT"
    gain = round(decision.gain, 12)  # 0.55 / 0.5 - 1 is not above 10 %
    return "EFFICACE" if gain > EFFECTIVE_GAIN else "MODERE" if gain >= MODERATE_GAIN else "INSUFFISANT"


def _level_proven(decision: Decision) -> AdviceCode | None:
    """Give back the level that is shown, by the interval or, where there is none, by the verdict and its bar."""
    interval = decision.judged_interval
    if interval is not None:
        lower, upper = round(interval[0], 12), round(interval[1], 12)
    elif decision.verdict == "PASS":
        lower, upper = (math.inf if decision.base_mean == 0 else decision.min_gain), math.inf
    elif decision.verdict == "FAIL":
        lower, upper = -1.0, -1.0 if decision.ground == "nothing_to_compare" else decision.min_gain
    else:
        return None
    if lower >= MODERATE_GAIN:
        return "EFFICACE" if lower > EFFECTIVE_GAIN else "MODERE"
    return "INSUFFISANT" if upper <= MODERATE_GAIN else None


def find_weakest_category(
    finetuned: Mapping[str, Scores], *, alpha: float = 0.05, target: Target = "these"
) -> WeakestCategory | None:
    """Give back the category (one of at least two, else None) with the lowest mean over its prompts.

    It is shown to be the weakest when the one-sided test of Welch (1947) against the prompts of all other categories
    rejects at `alpha` divided by the number of categories (Bonferroni: the lowest was picked after the fact).
    ValueError for scores that cannot be used.
    """
    if len(finetuned) < 2:
        return None
    estimates = {name: estimate_mean(scores, alpha=alpha, target=target) for name, scores in finetuned.items()}
    weakest = min(estimates, key=lambda name: estimates[name].mean)
    rest = [prompt for name, scores in finetuned.items() if name != weakest for prompt in scores]
    others = estimate_mean(rest, alpha=alpha, target=target)
    return WeakestCategory(
        category=weakest,
        estimate=estimates[weakest],
        others_mean=others.mean,
        shown=_is_below(estimates[weakest], others, alpha / len(finetuned)),
    )


def _is_below(low: MeanEstimate, high: MeanEstimate, alpha: float) -> bool:
    """Say whether one independent mean is below another by more than noise explains."""
    if low.standard_error is None or high.standard_error is None:
        return False
    parts = [(one.standard_error**2, one.df) for one in (low, high) if one.standard_error and one.df]
    variance = math.fsum(part for part, _ in parts)
    if variance == 0:
        return low.mean < high.mean
    df = variance**2 / math.fsum(part**2 / own for part, own in parts)
    return upper_tail((high.mean - low.mean) / math.sqrt(variance), df) <= alpha
