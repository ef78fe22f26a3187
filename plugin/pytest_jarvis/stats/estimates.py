"""Mean, difference and ratio of any metric, each with its interval; not judged by the gate alone."""

from dataclasses import dataclass

from pytest_jarvis.stats.contrasts import (
    Contrast,
    Interval,
    Scores,
    Table,
    Target,
    check_alpha,
    check_same_prompts,
    contrast_new_prompts,
    contrast_same_draws,
    contrast_these_prompts,
    critical_value,
    mean_over_prompts,
    read_scores,
    upper_tail,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanEstimate:
    """The mean over prompts of a metric, in its own unit."""

    mean: float
    interval: Interval | None
    """Misses with probability `alpha` on each side; None with one response of one prompt."""
    standard_error: float | None
    df: float | None
    """None without noise, or without an interval."""
    target: Target
    alpha: float
    prompts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`second - first` of a metric, in its own unit: means over the same prompts."""

    first_mean: float
    second_mean: float
    difference: float
    interval: Interval | None
    """Misses with probability `alpha` on each side; None with one response of one prompt."""
    p_greater: float | None
    """One-sided p-value: probability of this difference or a higher one if there were none."""
    p_less: float | None
    standard_error: float | None
    df: float | None
    detectable: float | None
    """Minimum detectable difference at a power of 80 %."""
    target: Target
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`second / first` of a metric that is positive: means over the same prompts."""

    first_mean: float
    second_mean: float
    value: float | None
    """None over a mean of 0."""
    interval: Interval | None
    """Fieller's, missing with probability `alpha` on each side; None where it is unbounded or cannot be estimated."""
    target: Target
    alpha: float


def _contrast(first: Table, second: Table, target: Target, *, shared_noise: bool) -> tuple[Contrast | None, Target]:
    these = contrast_these_prompts(first, second, shared_noise=shared_noise) if target == "these" else None
    return (these, "these") if these else (contrast_new_prompts(first, second), "new")


def _read_both(first: Scores, second: Scores, alpha: float) -> tuple[Table, Table]:
    check_alpha(alpha)
    one, other = read_scores(first, "first"), read_scores(second, "second")
    check_same_prompts(one, other, ("first", "second"))
    return one, other


def estimate_mean(scores: Scores, *, alpha: float = 0.05, target: Target = "these") -> MeanEstimate:
    """Return the mean by Student's t, on new prompts where one has one response; ValueError as `read_scores`."""
    check_alpha(alpha)
    table = read_scores(scores, "scores")
    contrast, used = _contrast(table, table, target, shared_noise=True)
    return MeanEstimate(
        mean=mean_over_prompts(table),
        interval=contrast.interval(0, alpha) if contrast else None,
        standard_error=contrast.standard_error(0) if contrast else None,
        df=contrast.df(0) if contrast else None,
        target=used,
        alpha=alpha,
        prompts=len(table),
    )


def compare(
    first: Scores, second: Scores, *, alpha: float = 0.05, target: Target = "these", shared_noise: bool = True
) -> Difference:
    """Return `second - first` of any metric, with the test of `decide` without `min_gain`; ValueError as `decide`."""
    one, other = _read_both(first, second, alpha)
    contrast, used = _contrast(other, one, target, shared_noise=shared_noise)
    means = contrast_same_draws(other, one)
    estimate = means.estimate(1)
    error, df = (contrast.standard_error(1), contrast.df(1)) if contrast else (None, None)
    p_greater = p_less = reach = None
    if error is not None and df is not None:
        p_greater, p_less = upper_tail(estimate / error, df), upper_tail(-estimate / error, df)
        reach = (critical_value(alpha, df) + critical_value(0.2, df)) * error
    elif contrast:
        p_greater, p_less, reach = float(estimate <= 0), float(estimate >= 0), 0.0
    return Difference(
        first_mean=means.second,
        second_mean=means.first,
        difference=estimate,
        interval=contrast.interval(1, alpha) if contrast else None,
        p_greater=p_greater,
        p_less=p_less,
        standard_error=error,
        df=df,
        detectable=reach,
        target=used,
        alpha=alpha,
    )


def compare_as_ratio(
    first: Scores, second: Scores, *, alpha: float = 0.05, target: Target = "these", shared_noise: bool = True
) -> Ratio:
    """Return `second / first` of a positive metric, by Fieller at the observed ratio; ValueError as `compare`."""
    one, other = _read_both(first, second, alpha)
    contrast, used = _contrast(other, one, target, shared_noise=shared_noise)
    means = contrast_same_draws(other, one)
    value = means.first / means.second if means.second > 0 else None
    interval = None
    if contrast is not None and value is not None:
        df = contrast.df(value)
        interval = (value, value) if df is None else contrast.ratio_interval(critical_value(alpha, df))
    return Ratio(
        first_mean=means.second, second_mean=means.first, value=value, interval=interval, target=used, alpha=alpha
    )
