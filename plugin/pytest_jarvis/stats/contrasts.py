"""Contrasts of two arms' means, `first - ratio * second`, with their standard errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

Scores = Sequence[Sequence[float]]
"""One sequence per prompt, one score per replicate; the replicates of a prompt may differ in number."""
Table = tuple[tuple[float, ...], ...]
"""Checked scores."""
Target = Literal["these", "new"]
"""Population of a claim: these prompts, or new prompts of the kind."""
Interval = tuple[float, float]
"""Lower and upper end."""
Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]

_ROUNDING = 1e-12  # Relative size under which a difference, or a variance, is a rounding error.


def read_scores(scores: Scores, name: str, *, highest: float = math.inf, lowest: float = -math.inf) -> Table:
    """Return the scores as tuples; ValueError, about `name`, for none or one not finite in [lowest, highest]."""
    table = tuple(tuple(float(score) for score in prompt) for prompt in scores)
    if not table:
        raise ValueError(f"{name}: no prompt; at least one is needed")
    for number, prompt in enumerate(table):
        if not prompt:
            raise ValueError(
                f"{name}: prompt {number} has no score; leave a prompt that was not measured out of both arms"
            )
        for replicate, score in enumerate(prompt):
            where = f"{name}: prompt {number}, replicate {replicate}"
            if not math.isfinite(score):
                raise ValueError(f"{where}: {score} is not a finite number")
            if not lowest <= score <= highest:
                raise ValueError(f"{where}: {score} is outside [{lowest:g}, {highest:g}]")
    return table


def check_same_prompts(first: Table, second: Table, names: tuple[str, str]) -> None:
    """Raise ValueError when the arms differ in their number of prompts."""
    if len(first) != len(second):
        raise ValueError(
            f"{names[0]} holds {len(first)} prompts and {names[1]} {len(second)}; both arms must hold the same prompts"
        )


def check_alpha(alpha: float) -> None:
    """Raise ValueError unless `alpha` is the error rate of a one-sided test."""
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}; expected a number between 0 and 0.5, both excluded")


def pair_replicates(
    first: Mapping[int, float], second: Mapping[int, float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Order one prompt's scores, by replicate number, so that the shared replicates come first and in step."""
    shared = sorted(first.keys() & second.keys())

    def ordered(scores: Mapping[int, float]) -> tuple[float, ...]:
        return tuple(scores[number] for number in chain(shared, sorted(scores.keys() - set(shared))))

    return ordered(first), ordered(second)


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value, summed exactly, so that their order does not matter."""
    return math.fsum(values) / len(values)


def mean_over_prompts(table: Table) -> float:
    """Return the mean over prompts of each prompt's mean over its replicates."""
    return mean([mean(prompt) for prompt in table])


def covariance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the unbiased covariance of two samples of the same size, at least 2; exactly 0 when one is constant."""
    if min(first) == max(first) or min(second) == max(second):
        return 0.0
    centre_first, centre_second = mean(first), mean(second)
    products = [(x - centre_first) * (y - centre_second) for x, y in zip(first, second, strict=True)]
    return math.fsum(products) / (len(first) - 1)


Thirds = tuple[float, float, float, float]
"""Third cumulants of two variables x and y: of xxx, xxy, xyy and yyy."""
_NO_SKEW: Thirds = (0.0, 0.0, 0.0, 0.0)


def third_cumulants(first: Sequence[float], second: Sequence[float]) -> Thirds:
    """Return the unbiased third cumulants of two samples of the same size; 0 for fewer than 3 values."""
    size = len(first)
    if size < 3:
        return _NO_SKEW
    centre_first, centre_second = mean(first), mean(second)
    ones, others = [x - centre_first for x in first], [y - centre_second for y in second]
    factor = size / ((size - 1) * (size - 2))

    def third(*samples: Sequence[float]) -> float:
        return factor * math.fsum(map(math.prod, zip(*samples, strict=True)))

    return (third(ones, ones, ones), third(ones, ones, others), third(ones, others, others), third(*[others] * 3))


def upper_tail(statistic: float, df: float) -> float:
    """Return P(T > statistic) for Student's t with `df` degrees of freedom (not necessarily an integer)."""
    from scipy.special import stdtr

    return float(stdtr(df, -statistic))


def critical_value(alpha: float, df: float) -> float:
    """Return the 1 - alpha quantile of Student's t with `df` degrees of freedom."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, alpha))


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One independent part of the variance of `first - ratio * second`, estimated with `df` degrees of freedom."""

    first: float
    second: float
    both: float
    """The covariance of the two."""
    df: float
    thirds: Thirds = _NO_SKEW
    """The third cumulants of the two."""

    def at(self, ratio: float) -> float:
        """Return the variance at this ratio; exactly 0 when only rounding is left of it."""
        ends = self.first + ratio * ratio * self.second
        variance = ends - 2 * ratio * self.both
        return variance if variance > _ROUNDING * ends else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The means of two arms and the variance of any `first - ratio * second`."""

    first: float
    second: float
    components: tuple[Component, ...]
    one_draw: Component | None = None
    """Mean over prompts of the variance of one pair of responses; None when that cannot be estimated."""
    draws: int = 0
    """Independent draws behind it; 0 where there is no noise at all."""

    def estimate(self, ratio: float) -> float:
        """Return `first - ratio * second`; exactly 0 when only rounding is left of it."""
        difference = self.first - ratio * self.second
        return 0.0 if abs(difference) <= _ROUNDING * max(abs(self.first), abs(ratio * self.second)) else difference

    def variance(self, ratio: float) -> float:
        """Return the squared standard error of `estimate(ratio)`."""
        return math.fsum(part.at(ratio) for part in self.components)

    def skewness(self, ratio: float) -> float:
        """Return the estimated skewness of `estimate(ratio)`, 0 without variance."""
        variance = self.variance(ratio)
        if variance == 0:
            return 0.0
        thirds = [math.fsum(part.thirds[place] for part in self.components) for place in range(4)]
        third = thirds[0] - 3 * ratio * thirds[1] + 3 * ratio**2 * thirds[2] - ratio**3 * thirds[3]
        return third / variance / math.sqrt(variance)

    def unseen_share(self, ratio: float, alpha: float) -> float:
        """Return the largest share of responses that all draws miss with probability `alpha / 2`.

        Half of the error, because other tests err as well. 0 without noise, and on new prompts that differ, of which
        there are too few to show anything beyond it.
        """
        if not self.draws or (self.one_draw is None and self.df(ratio) is not None):
            return 0.0
        return float(1 - (alpha / 2) ** (1 / self.draws))

    def standard_error(self, ratio: float) -> float:
        """Return the standard error of `estimate(ratio)`."""
        return math.sqrt(self.variance(ratio))

    def df(self, ratio: float) -> float | None:
        """Return the degrees of freedom (Welch 1947, Satterthwaite 1946); None when the variance is 0."""
        parts = [(part.at(ratio), part.df) for part in self.components]
        total = math.fsum(variance for variance, _ in parts)
        if total == 0:
            return None
        # Shares first: squares of tiny variances would underflow.
        return 1 / math.fsum((variance / total) ** 2 / df for variance, df in parts if variance > 0)

    def interval(self, ratio: float, alpha: float) -> Interval:
        """Return the interval of `first - ratio * second`, missing with probability `alpha` on each side."""
        estimate, df = self.estimate(ratio), self.df(ratio)
        if df is None:
            return (estimate, estimate)
        reach = critical_value(alpha, df) * self.standard_error(ratio)
        return (estimate - reach, estimate + reach)

    def ratio_interval(self, critical: float) -> Interval | None:
        """Return the r with `|first - r * second| <= critical * standard_error(r)` (Fieller 1954); None: unbounded."""
        square = critical * critical
        lead = self.second**2 - square * math.fsum(part.second for part in self.components)
        if self.second <= 0 or lead <= 1e-9 * self.second**2:
            return None
        middle = self.first * self.second - square * math.fsum(part.both for part in self.components)
        last = self.first**2 - square * math.fsum(part.first for part in self.components)
        root = math.sqrt(max(0.0, middle * middle - lead * last))
        return ((middle - root) / lead, (middle + root) / lead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The tests of "`first - ratio * second` is at least `offset`", and the interval that agrees with them."""

    excess: float
    """`first - ratio * second - offset`."""
    p_pass: float
    """One-sided p-value: probability of this excess or a higher one if the true one were 0."""
    p_fail: float
    df: float | None
    """None without noise: the point estimates decide."""
    standard_error: float
    criticals: tuple[float, float]
    """Standard errors from 0 at which the claim is proven, and at which it is disproven."""
    interval: Interval
    """Of `excess`, missing with probability `alpha` on each side; it agrees with the verdict."""
    draws_needed: float
    """Draws that would show that nothing unseen undoes what is seen; 0 where that is not asked."""
    verdict: Verdict


def judge_claim(contrast: Contrast, ratio: float, offset: float, alpha: float, span: Interval | None = None) -> Claim:
    """Test `first - ratio * second >= offset`, each side at `alpha`. `span`: the lowest and highest value of a draw.

    The most careful of three tests: Student's t; t with Hall's correction for skewness (1992), because a few collapsed
    or lucky responses bend its tail; and, where `span` is known, that the claim outlives what the draws may have
    missed: `Contrast.unseen_share` of the first arm's responses at the end of `span` that speaks against it. Draws that
    are all the same are judged by the last alone, and without noise the point estimate decides.
    """
    excess = contrast.estimate(ratio) - offset
    excess = 0.0 if abs(excess) <= _ROUNDING * max(abs(contrast.first), abs(offset)) else excess
    error, df = contrast.standard_error(ratio), contrast.df(ratio)
    criticals = (0.0, 0.0)
    p_pass, p_fail = (0.0, 1.0) if excess >= 0 else (1.0, 0.0)
    if df is not None:
        statistic, skewness = excess / error, contrast.skewness(ratio)
        corrected = _straighten(statistic, skewness)
        p_pass = max(upper_tail(statistic, df), upper_tail(corrected, df))
        p_fail = max(upper_tail(-statistic, df), upper_tail(-corrected, df))
        critical = critical_value(alpha, df)
        criticals = (max(critical, _bend(critical, skewness)), max(critical, -_bend(-critical, skewness)))
    lower, upper, draws_needed = excess - criticals[0] * error, excess + criticals[1] * error, 0.0
    unseen = contrast.unseen_share(ratio, alpha)
    if span is not None and unseen:
        worst, best = (excess + end - contrast.first for end in span)
        missed = [_miss(side * excess, side * end) for side, end in ((1, worst), (-1, best))]
        p_pass, p_fail = (
            max(p, min(1.0, 2 * each**contrast.draws)) for p, each in zip((p_pass, p_fail), missed, strict=True)
        )
        # The side that is seen: without a difference, no number of draws is enough.
        seen = missed[excess < 0]
        draws_needed = math.log(alpha / 2) / math.log(seen) if 0 < seen < 1 else 0.0
        lower, upper = min(lower, excess + unseen * (worst - excess)), max(upper, excess + unseen * (best - excess))
    return Claim(
        excess=excess,
        p_pass=p_pass,
        p_fail=p_fail,
        df=df,
        standard_error=error,
        criticals=criticals,
        interval=(lower, upper),
        draws_needed=draws_needed,
        verdict="PASS" if p_pass <= alpha else "FAIL" if p_fail <= alpha else "INCONCLUSIVE",
    )


def _miss(excess: float, worst: float) -> float:
    """Return the chance that a draw misses as many responses with the excess `worst` as would undo `excess` above 0."""
    if excess <= 0:
        return 1.0
    return worst / (worst - excess) if worst < 0 else 0.0


def _straighten(statistic: float, skewness: float) -> float:
    """Return Hall's monotone transform of a t statistic whose numerator has this skewness."""
    return statistic + skewness * (statistic**2 / 3 + 1 / 6) + skewness**2 * statistic**3 / 27


def _bend(corrected: float, skewness: float) -> float:
    """Return the t statistic that `_straighten` makes `corrected`."""
    if abs(skewness) < 1e-6:
        return corrected
    inner = 1 + skewness * (corrected - skewness / 6)
    return 3 / skewness * (math.copysign(abs(inner) ** (1 / 3), inner) - 1)


def contrast_these_prompts(first: Table, second: Table, *, shared_noise: bool) -> Contrast | None:
    """Return the contrast on these prompts, whose only error is that of decoding.

    With `shared_noise`, replicate j of a prompt is one draw for both arms: shared replicates are paired, the others
    independent. Valid whatever the correlation of the pairs.
    None when a prompt has fewer than 2 replicates (with shared noise: pairs).
    """
    scale = len(first) ** 2
    parts: list[Component] = []
    draws: list[tuple[float, float, float]] = []
    for one, other in zip(first, second, strict=True):
        if min(len(one), len(other)) < 2:
            return None
        pairs = min(len(one), len(other)) if shared_noise else 0
        paired_one, paired_other = one[:pairs] or one, other[:pairs] or other
        # An arm beside itself, as for its mean, has one variance.
        variance = covariance(paired_one, paired_one)
        same = paired_other is paired_one
        variances = (variance, variance if same else covariance(paired_other, paired_other))
        both = 0.0 if not pairs else variance if same else covariance(paired_one, paired_other)
        lengths = (len(one), len(other))
        draws.append((*variances, both))
        if pairs:
            parts.append(
                Component(
                    first=pairs * variances[0] / len(one) ** 2 / scale,
                    second=pairs * variances[1] / len(other) ** 2 / scale,
                    both=pairs * both / (len(one) * len(other)) / scale,
                    df=pairs - 1,
                    thirds=_weigh(third_cumulants(paired_one, paired_other), pairs, lengths, len(first)),
                )
            )
        for sample, is_first in ((one, True), (other, False)):
            alone = (len(sample) - pairs) / len(sample) ** 2 * covariance(sample, sample) / scale
            if alone > 0:
                ends = (alone, 0.0) if is_first else (0.0, alone)
                third = third_cumulants(sample, sample)[0]
                thirds = (third, 0.0, 0.0, 0.0) if is_first else (0.0, 0.0, 0.0, third)
                weighed = _weigh(thirds, len(sample) - pairs, lengths, len(first))
                parts.append(Component(first=ends[0], second=ends[1], both=0.0, df=len(sample) - 1, thirds=weighed))
    return Contrast(
        first=mean_over_prompts(first),
        second=mean_over_prompts(second),
        components=tuple(parts),
        one_draw=Component(
            first=mean([draw[0] for draw in draws]),
            second=mean([draw[1] for draw in draws]),
            both=mean([draw[2] for draw in draws]),
            df=math.inf,
        ),
        draws=len(first) * min(map(len, (*first, *second))),
    )


def _weigh(thirds: Thirds, count: int, lengths: tuple[int, int], prompts: int) -> Thirds:
    """Return the third cumulants that `count` draws of a prompt add to the means of both arms, of these lengths."""
    one, other = lengths[0] * prompts, lengths[1] * prompts
    scales = (one**3, one * one * other, one * other * other, other**3)
    first, second, third, fourth = (count * third / scale for third, scale in zip(thirds, scales, strict=True))
    return (first, second, third, fourth)


def contrast_new_prompts(first: Table, second: Table) -> Contrast | None:
    """Return the contrast on new prompts of the kind, whose error is the draw of the prompts; None with one prompt."""
    count = len(first)
    if count < 2:
        return None
    ones, others = [mean(prompt) for prompt in first], [mean(prompt) for prompt in second]
    part = Component(
        first=covariance(ones, ones) / count,
        second=covariance(others, others) / count,
        both=covariance(ones, others) / count,
        df=count - 1,
        thirds=_weigh(third_cumulants(ones, others), count, (1, 1), count),
    )
    return Contrast(first=mean(ones), second=mean(others), components=(part,), draws=count)


def contrast_same_draws(first: Table, second: Table) -> Contrast:
    """Return the contrast of greedy decoding on these prompts, which has no error."""
    return Contrast(first=mean_over_prompts(first), second=mean_over_prompts(second), components=())
