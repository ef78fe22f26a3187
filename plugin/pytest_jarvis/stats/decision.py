"""`decide`: test whether the adapter's gain is at least `min_gain`, with a stated error rate."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, final, get_args

from pytest_jarvis.stats.contrasts import (
    Claim,
    Contrast,
    Interval,
    Scores,
    Table,
    Target,
    Verdict,
    check_alpha,
    check_same_prompts,
    contrast_new_prompts,
    contrast_same_draws,
    contrast_these_prompts,
    critical_value,
    judge_claim,
    mean_over_prompts,
    read_scores,
)

Ground = Literal["test", "literal", "identical", "nothing_to_compare", "out_of_reach", "no_variance"]
"""What a verdict rests on: Student's t; the point estimates, without noise; draws that are all the same, which prove
what no unseen response could undo; two arms at 0 (FAIL without noise, else INCONCLUSIVE); a base too high for the gain
to exist in [0, 1] (INCONCLUSIVE, more responses will not help); one response of one prompt (INCONCLUSIVE)."""

CautionCode = Literal[
    "new_prompts_instead",
    "identical_replicates",
    "varied_though_deterministic",
    "no_spread",
    "one_prompt",
    "unequal_replicates",
    "low_base_unequal_replicates",
    "relative_gain_not_estimable",
    "targets_differ",
    "looks_differ",
]
"""Limits of a decision that its reader must know:

new_prompts_instead: `prompts` prompts have fewer than 2 replicates, so the claim is tested on new prompts of the kind.
identical_replicates: all replicates of a prompt scored the same though decoding is not declared deterministic.
varied_though_deterministic: decoding was declared deterministic but replicates differ; their noise is used.
no_spread: one response per prompt and the same contrast on all prompts; the point estimates decide.
one_prompt: new prompts cannot be judged.
unequal_replicates: prompts have from `lowest` to `highest` responses.
low_base_unequal_replicates: also, the base mean (`base_mean`) is under 0.05, where the error rate is not kept.
relative_gain_not_estimable: the base mean (`base_mean`) is about 0; read the absolute gain.
targets_differ: the claim is proven for one target and not for the other.
looks_differ: responses of one look have something in common (`p_value`), so that the stated error is not kept.
"""

LOW_BASE_MEAN = 0.05  # Below it, unequal replicates do not keep the stated error rate (simulated).
_SPAN = (0.0, 1.0)  # The possible scores.
_POWER = 0.8
_MOST_NEEDED = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One caution, with its figures."""

    code: CautionCode
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict on "the gain is at least `min_gain`" and its grounds. Gains are fractions: 0.05 is 5 %.

    Every interval misses with probability at most `alpha` on each side. Where the judged target's gain interval exists,
    PASS means that its lower end is at least `min_gain`.
    """

    verdict: Verdict
    ground: Ground
    target: Target
    """Judged target; "new" although "these" was asked for when there are too few replicates."""
    min_gain: float
    alpha: float
    prompts: int
    replicates: tuple[int, int]
    """Fewest and most responses of a prompt in an arm."""
    base_mean: float
    finetuned_mean: float
    gain: float | None
    """Ratio of the means over prompts, less 1; None over a base of 0."""
    gain_these: Interval | None
    """Fieller interval of the gain on these prompts; None where it is unbounded or cannot be estimated."""
    gain_new: Interval | None
    """The same on new prompts of the kind."""
    absolute_gain: float
    absolute_these: Interval | None
    absolute_new: Interval | None
    p_pass: float | None
    """One-sided p-value: probability of this contrast or a higher one if the gain were exactly `min_gain`."""
    p_fail: float | None
    """The same for this contrast or a lower one."""
    df: float | None
    standard_error: float | None
    """Of the contrast `finetuned - (1 + min_gain) * base`, in points of score."""
    verdict_new: Verdict | None
    """The same test on new prompts of the kind; None with one prompt."""
    detectable_gain: float | None
    """Minimum detectable gain at a power of 80 % with this many responses (MDE80)."""
    within_variance: float | None
    """w2: mean over prompts of the variance of one draw of the contrast; None without 2 replicates everywhere."""
    between_variance: float | None
    """b2: variance over prompts of the contrast, less the part due to decoding."""
    decoding_share: float | None
    """Share of decoding in the variance of a prompt's mean contrast."""
    responses_to_settle: int | None
    """When inconclusive on these prompts: responses per prompt and arm for a power of 80 % at the observed gain."""
    prompts_to_settle: int | None
    """When inconclusive on new prompts: prompts, with as many responses each, for the same power."""
    cautions: tuple[Caution, ...]

    @property
    def judged_interval(self) -> Interval | None:
        """The interval of the gain for the judged target."""
        return self.gain_these if self.target == "these" else self.gain_new

    @property
    def judged_absolute(self) -> Interval | None:
        """The interval of the absolute gain for the judged target."""
        return self.absolute_these if self.target == "these" else self.absolute_new


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """The test of one target."""

    test: Claim
    gain: Interval | None
    absolute: Interval
    reach: float  # Standard errors for `alpha` and a power of 80 %: the contrast detected.


def decide(
    base: Scores,
    finetuned: Scores,
    *,
    min_gain: float = 0.05,
    alpha: float = 0.05,
    target: Target = "these",
    shared_noise: bool = True,
    deterministic: bool = False,
) -> Decision:
    """Decide whether the adapter's mean score is at least `1 + min_gain` times the base's.

    `base` and `finetuned` hold one sequence per prompt (same prompts, same order) of one score in [0, 1] per replicate;
    replicates may differ in number. The contrast is D = mean(finetuned) - (1 + min_gain) * mean(base), means over
    prompts of means over replicates. PASS when P(T >= D / SE) <= alpha, FAIL when P(T <= D / SE) <= alpha, with
    Student's t and Satterthwaite's degrees of freedom; else INCONCLUSIVE.

    `target`: "these" prompts (the error is that of decoding; with fewer than 2 replicates "new" is tested), or
    "new" prompts of the kind (the error is the draw of prompts).
    `shared_noise`: replicate j of a prompt has the same noise in both arms; give shared replicates first and in step
    (`pair_replicates`). Valid whatever the correlation, so a wrong True costs only power.
    `deterministic`: decoding is greedy, so one response per prompt is all there is.

    Pure and deterministic; the order of the prompts does not matter. ValueError for scores that are not finite numbers
    in [0, 1], an empty prompt or arm, arms of different sizes, a `min_gain` or `alpha` out of range.
    """
    first, second = _check_input(base, finetuned, min_gain, alpha, target)
    means = contrast_same_draws(first, second)
    these = contrast_these_prompts(first, second, shared_noise=shared_noise)
    if deterministic and all(min(prompt) == max(prompt) for prompt in (*first, *second)):
        these = means
    new = contrast_new_prompts(first, second)
    judged_target: Target = "these" if target == "these" and these is not None else "new"
    claim_these = _test(these, min_gain, alpha) if these else None
    claim_new = _test(new, min_gain, alpha) if new else None
    judged = claim_these if judged_target == "these" else claim_new
    noisy = these is not means
    ground = _ground(means, min_gain, judged, noisy=noisy)
    within, between, decoding_share = _split_variance(these, new, 1 + min_gain, len(first))
    lengths = [len(prompt) for prompt in (*first, *second)]
    responses, prompts = _needed_to_settle(judged, judged_target, ground, within, len(first))
    return Decision(
        verdict=_verdict(ground, judged, noisy=noisy),
        ground=ground,
        target=judged_target,
        min_gain=min_gain,
        alpha=alpha,
        prompts=len(first),
        replicates=(min(lengths), max(lengths)),
        base_mean=means.second,
        finetuned_mean=means.first,
        gain=_gain(means, min_gain),
        gain_these=claim_these and claim_these.gain,
        gain_new=claim_new and claim_new.gain,
        absolute_gain=means.estimate(1),
        absolute_these=claim_these and claim_these.absolute,
        absolute_new=claim_new and claim_new.absolute,
        p_pass=judged and judged.test.p_pass,
        p_fail=judged and judged.test.p_fail,
        df=judged and judged.test.df,
        standard_error=judged and judged.test.standard_error,
        verdict_new=_verdict(ground, claim_new, noisy=noisy) if claim_new else None,
        detectable_gain=min_gain + judged.reach / means.second if judged and means.second > 0 else None,
        within_variance=within,
        between_variance=between,
        decoding_share=decoding_share,
        responses_to_settle=responses,
        prompts_to_settle=prompts,
        cautions=(
            *_cautions_on_scores(first, second, judged_target, target),
            *_cautions_on_noise(claim_these, claim_new, judged_target, deterministic=deterministic),
            *_cautions_on_claim(claim_these, claim_new, judged, ground, means.second),
        ),
    )


def _check_input(base: Scores, finetuned: Scores, min_gain: float, alpha: float, target: Target) -> tuple[Table, Table]:
    """Return the checked scores, the adapter's first."""
    first = read_scores(finetuned, "finetuned", lowest=0, highest=1)
    second = read_scores(base, "base", lowest=0, highest=1)
    check_same_prompts(second, first, ("base", "finetuned"))
    check_alpha(alpha)
    if not -1 <= min_gain < math.inf:
        raise ValueError(f"min_gain is {min_gain}; expected a share of at least -1 (0.05 is 5 %)")
    if target not in get_args(Target):
        raise ValueError(f"target is {target!r}; expected {' or '.join(map(repr, get_args(Target)))}")
    return first, second


def _test(contrast: Contrast, min_gain: float, alpha: float) -> _Claim:
    """Test `first >= (1 + min_gain) * second`."""
    test = judge_claim(contrast, 1 + min_gain, 0.0, alpha, _SPAN)
    same = judge_claim(contrast, 1, 0.0, alpha, _SPAN)
    absolute = same.interval if same.df is None else contrast.interval(1, alpha)
    reach = 0.0
    if test.df is not None:
        reach = sum(critical_value(level, test.df) for level in (alpha, 1 - _POWER)) * test.standard_error
    gains = _gains(contrast, test, min_gain, alpha)
    return _Claim(test=test, gain=gains and _align(test, min_gain, gains), absolute=absolute, reach=reach)


def _gains(contrast: Contrast, test: Claim, min_gain: float, alpha: float) -> Interval | None:
    """Return the gains that no test of `judge_claim` rules out: Fieller's interval, and what the draws may miss."""
    gain, unseen = _gain(contrast, min_gain), contrast.unseen_share(1 + min_gain, alpha)
    if gain is None:
        return None
    low, high = ((1 - unseen) * contrast.first + unseen * end for end in _SPAN)
    lower, upper = (low / contrast.second - 1, high / contrast.second - 1) if unseen else (gain, gain)
    if test.df is None:
        return (lower, upper)
    below, above = (contrast.ratio_interval(critical) for critical in test.criticals)
    return (min(lower, below[0] - 1), max(upper, above[1] - 1)) if below and above else None


def _align(test: Claim, min_gain: float, interval: Interval) -> Interval:
    """Undo rounding that would put an end of the interval on the wrong side of `min_gain` for the verdict."""
    lower, upper = max(interval[0], -1.0), interval[1]
    if test.verdict == "PASS":
        return (max(lower, min_gain), upper)
    lower = min(lower, math.nextafter(min_gain, -math.inf))
    if test.verdict == "FAIL":
        return (lower, min(upper, min_gain))
    return (lower, max(upper, math.nextafter(min_gain, math.inf)))


def _gain(means: Contrast, min_gain: float) -> float | None:
    """Return the ratio of the means less 1; exactly `min_gain` when it differs by rounding only."""
    if means.second == 0:
        return None
    return min_gain if means.estimate(1 + min_gain) == 0 else means.first / means.second - 1


def _ground(means: Contrast, min_gain: float, judged: _Claim | None, *, noisy: bool) -> Ground:
    if means.first == means.second == 0:
        return "nothing_to_compare"
    if (1 + min_gain) * means.second > 1 + 1e-12:
        return "out_of_reach"
    if judged is None:
        return "no_variance"
    return "test" if judged.test.df is not None else "identical" if noisy else "literal"


def _verdict(ground: Ground, claim: _Claim | None, *, noisy: bool) -> Verdict:
    if ground == "nothing_to_compare":
        return "INCONCLUSIVE" if noisy else "FAIL"
    if claim is None or ground == "out_of_reach":
        return "INCONCLUSIVE"
    return claim.test.verdict


def _split_variance(
    these: Contrast | None, new: Contrast | None, ratio: float, prompts: int
) -> tuple[float | None, float | None, float | None]:
    """Return `within_variance`, `between_variance` and `decoding_share` of `Decision`."""
    if these is None:
        return (None, None, None)
    within = these.one_draw.at(ratio) if these.one_draw else 0.0
    if new is None:
        return (within, None, None)
    of_a_mean = prompts * these.variance(ratio)
    between = max(0.0, prompts * new.variance(ratio) - of_a_mean)
    total = of_a_mean + between
    return (within, between, of_a_mean / total if total > 0 else None)


def _needed_to_settle(
    judged: _Claim | None, target: Target, ground: Ground, within: float | None, prompts: int
) -> tuple[int | None, int | None]:
    """Return `responses_to_settle` and `prompts_to_settle` of `Decision`."""
    if ground not in {"test", "identical"} or judged is None or judged.test.verdict != "INCONCLUSIVE":
        return (None, None)
    test = judged.test
    if test.excess == 0:
        return (None, None)
    draws = 0.0
    if test.standard_error:
        variance = prompts * test.standard_error**2 if target == "new" else within or 0.0
        draws = variance * (judged.reach / test.excess / test.standard_error) ** 2
    needed = max(draws, test.draws_needed)
    if target == "these":
        needed /= prompts
    count = math.ceil(needed) if needed <= _MOST_NEEDED else None
    return (None, count) if target == "new" else (count, None)


def _cautions_on_scores(first: Table, second: Table, judged: Target, asked: Target) -> Iterator[Caution]:
    lengths = [len(prompt) for prompt in (*first, *second)]
    if judged != asked:
        single = sum(min(len(one), len(other)) < 2 for one, other in zip(first, second, strict=True))
        yield Caution(code="new_prompts_instead", values={"prompts": single})
    if len(first) == 1:
        yield Caution(code="one_prompt")
    if min(lengths) == max(lengths):
        return
    yield Caution(code="unequal_replicates", values={"lowest": min(lengths), "highest": max(lengths)})
    base_mean = mean_over_prompts(second)
    if base_mean < LOW_BASE_MEAN:
        yield Caution(code="low_base_unequal_replicates", values={"base_mean": base_mean})


def _cautions_on_noise(
    these: _Claim | None, new: _Claim | None, judged: Target, *, deterministic: bool
) -> Iterator[Caution]:
    if these and these.test.df is None and not deterministic:
        yield Caution(code="identical_replicates")
    if these and these.test.df is not None and deterministic:
        yield Caution(code="varied_though_deterministic")
    if new and new.test.df is None and judged == "new":
        yield Caution(code="no_spread")


def _cautions_on_claim(
    these: _Claim | None, new: _Claim | None, judged: _Claim | None, ground: Ground, base_mean: float
) -> Iterator[Caution]:
    if judged and judged.gain is None:
        yield Caution(code="relative_gain_not_estimable", values={"base_mean": base_mean})
    judgeable = ground in {"test", "literal", "identical"}
    if judgeable and these and new and (these.test.verdict == "PASS") != (new.test.verdict == "PASS"):
        yield Caution(code="targets_differ")
