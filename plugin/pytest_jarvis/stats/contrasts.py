"""Contrasts of two arms' means, `first - ratio * second`, with their standard errors."""

from __future__ import annotations

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

_ROUNDING = 1e-12
"""Relative size under which a difference, or a variance, is a rounding error."""


def read_scores(scores: Scores, name: str, *, highest: float = math.inf, lowest: float = -math.inf) -> Table:
    """Return the scores as tuples of floats.

    ValueError, about `name`, without a prompt, for a prompt without a score, or for a score that is not a finite number
    in [lowest, highest].
    """
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

    def estimate(self, ratio: float) -> float:
        """Return `first - ratio * second`; exactly 0 when only rounding is left of it."""
        difference = self.first - ratio * self.second
        return 0.0 if abs(difference) <= _ROUNDING * max(abs(self.first), abs(ratio * self.second)) else difference

    def variance(self, ratio: float) -> float:
        """Return the squared standard error of `estimate(ratio)`."""
        return math.fsum(part.at(ratio) for part in self.components)

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
        """Return the ratios r with `|first - r * second| <= critical * standard_error(r)` (Fieller 1954).

        None when the second mean is too close to 0 for them to be bounded.
        """
        square = critical * critical
        lead = self.second**2 - square * math.fsum(part.second for part in self.components)
        if self.second <= 0 or lead <= 1e-9 * self.second**2:
            return None
        middle = self.first * self.second - square * math.fsum(part.both for part in self.components)
        last = self.first**2 - square * math.fsum(part.first for part in self.components)
        root = math.sqrt(max(0.0, middle * middle - lead * last))
        return ((middle - root) / lead, (middle + root) / lead)


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
        draws.append((*variances, both))
        if pairs:
            parts.append(
                Component(
                    first=pairs * variances[0] / len(one) ** 2 / scale,
                    second=pairs * variances[1] / len(other) ** 2 / scale,
                    both=pairs * both / (len(one) * len(other)) / scale,
                    df=pairs - 1,
                )
            )
        for sample, is_first in ((one, True), (other, False)):
            alone = (len(sample) - pairs) / len(sample) ** 2 * covariance(sample, sample) / scale
            if alone > 0:
                ends = (alone, 0.0) if is_first else (0.0, alone)
                parts.append(Component(first=ends[0], second=ends[1], both=0.0, df=len(sample) - 1))
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
    )


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
    )
    return Contrast(first=mean(ones), second=mean(others), components=(part,))


def contrast_same_draws(first: Table, second: Table) -> Contrast:
    """Return the contrast of greedy decoding on these prompts, which has no error."""
    return Contrast(first=mean_over_prompts(first), second=mean_over_prompts(second), components=())
