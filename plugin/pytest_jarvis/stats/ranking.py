"""Statistics that the gate does not judge: ranking of arms, noise floor, prompts that got worse."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pytest_jarvis.stats.contrasts import (
    Scores,
    Table,
    Target,
    check_alpha,
    check_same_prompts,
    contrast_same_draws,
    contrast_these_prompts,
    critical_value,
    mean,
    read_scores,
    upper_tail,
)
from pytest_jarvis.stats.estimates import Difference, MeanEstimate, compare, estimate_mean
from pytest_jarvis.stats.sequential import holm


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedArm:
    """One place of a ranking."""

    name: str
    estimate: MeanEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two arms of a ranking."""

    better: str
    worse: str
    difference: Difference
    """better - worse, its interval at the pair's level by Holm: it excludes 0 wherever `shown`."""
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The arms by descending mean, and the differences of all pairs."""

    arms: tuple[RankedArm, ...]
    pairs: tuple[Pair, ...]
    alpha: float
    """Family-wise error rate of the pairwise tests, for a fixed sample size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """Difference of a metric between the base and its twin: how large it is by chance."""

    difference: Difference
    floor: float | None
    """Without an effect, the difference is at most this with probability 1 - 2 alpha."""
    relative_floor: float | None
    """The floor as a share of the mean of both; None over a mean of 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorsePrompt:
    """A prompt whose score dropped by more than noise explains."""

    prompt_id: str
    base_mean: float
    finetuned_mean: float
    difference: float
    p_value: float
    """One-sided, before the correction for the number of prompts."""


def rank_arms(
    arms: Mapping[str, Scores], *, alpha: float = 0.05, target: Target = "these", shared_noise: bool = True
) -> Ranking:
    """Return the arms by descending mean; differences are shown by Holm over two-sided p-values, as `compare`."""
    estimates = {name: estimate_mean(scores, alpha=alpha, target=target) for name, scores in arms.items()}
    order = sorted(arms, key=lambda name: -estimates[name].mean)
    pairs = list(combinations(order, 2))

    def between(pair: tuple[str, str], level: float) -> Difference:
        return compare(arms[pair[1]], arms[pair[0]], alpha=level, target=target, shared_noise=shared_noise)

    p_values = [between(pair, alpha).p_greater for pair in pairs]
    steps = holm([1.0 if p is None else min(1.0, 2 * p) for p in p_values], alpha)
    return Ranking(
        arms=tuple(RankedArm(name=name, estimate=estimates[name]) for name in order),
        pairs=tuple(
            Pair(better=pair[0], worse=pair[1], difference=between(pair, step.alpha / 2), shown=step.rejected)
            for pair, step in zip(pairs, steps, strict=True)
        ),
        alpha=alpha,
    )


def noise_floor(first: Scores, second: Scores, *, alpha: float = 0.05) -> NoiseFloor:
    """Return how far two runs of one arm, with independent noise, differ on these prompts; scores as for `compare`."""
    difference = compare(first, second, alpha=alpha, shared_noise=False)
    floor = None
    if difference.standard_error is not None:
        df = difference.df
        floor = 0.0 if df is None else critical_value(alpha, df) * difference.standard_error
    level = (difference.first_mean + difference.second_mean) / 2
    return NoiseFloor(
        difference=difference, floor=floor, relative_floor=None if floor is None or level <= 0 else floor / level
    )


def find_worse_prompts(
    base: Scores,
    finetuned: Scores,
    prompt_ids: Sequence[str],
    *,
    alpha: float = 0.05,
    shared_noise: bool = True,
    deterministic: bool = False,
) -> tuple[WorsePrompt, ...]:
    """Return the prompts whose score dropped by more than noise explains, the largest drop first.

    A paired t test per prompt (Welch's without shared noise) with Holm's correction over all prompts: a wrong prompt is
    named in at most `alpha` of runs. With few replicates a prompt's own variance can be small by chance, so the largest
    of three is used: its own, the mean over prompts, and that mean scaled to the prompt's level (noise that grows with
    the score). Nothing can be shown with one response everywhere, unless decoding is `deterministic`. ValueError for
    scores that cannot be used, or ids that are not one per prompt.
    """
    check_alpha(alpha)
    first = read_scores(finetuned, "finetuned")
    second = read_scores(base, "base")
    check_same_prompts(second, first, ("base", "finetuned"))
    if len(prompt_ids) != len(first):
        raise ValueError(f"{len(prompt_ids)} prompt ids for {len(first)} prompts; expected one each")
    noise = _Noise() if deterministic else _pooled_noise(first, second, shared_noise=shared_noise)
    if noise is None:
        return ()
    found = []
    for prompt_id, one, other in zip(prompt_ids, first, second, strict=True):
        means = contrast_same_draws((one,), (other,))
        found.append(
            WorsePrompt(
                prompt_id=prompt_id,
                base_mean=means.second,
                finetuned_mean=means.first,
                difference=means.estimate(1),
                p_value=_p_worse(one, other, noise, shared_noise=shared_noise),
            )
        )
    steps = holm([prompt.p_value for prompt in found], alpha)
    shown = [prompt for prompt, step in zip(found, steps, strict=True) if step.rejected]
    return tuple(sorted(shown, key=lambda prompt: prompt.difference))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """Variance of one draw of `finetuned - base`, over all prompts."""

    variance: float = 0.0
    relative: float = 0.0
    """The same per square of a prompt's level (the higher of its two means), where noise grows with the score."""
    df: float = math.inf


def _level(one: Sequence[float], other: Sequence[float]) -> float:
    return max(mean(one), mean(other))


def _pooled_noise(first: Table, second: Table, *, shared_noise: bool) -> _Noise | None:
    """Return the noise pooled over prompts; None with one response everywhere."""
    weighted, squares, total = [], [], 0
    for one, other in zip(first, second, strict=True):
        contrast = contrast_these_prompts((one,), (other,), shared_noise=shared_noise)
        if contrast and contrast.one_draw:
            df = min(len(one), len(other)) - 1
            weighted.append(df * contrast.one_draw.at(1))
            squares.append(df * _level(one, other) ** 2)
            total += df
    if not total:
        return None
    variance, level = math.fsum(weighted) / total, math.fsum(squares) / total
    return _Noise(variance=variance, relative=variance / level if level else 0.0, df=total)


def _p_worse(one: tuple[float, ...], other: tuple[float, ...], noise: _Noise, *, shared_noise: bool) -> float:
    """Return the p-value of "this prompt's score did not drop"."""
    expected = max(noise.variance, noise.relative * _level(one, other) ** 2)
    variance, df = expected / min(len(one), len(other)), noise.df
    contrast = contrast_these_prompts((one,), (other,), shared_noise=shared_noise)
    own_df = contrast.df(1) if contrast else None
    if contrast and own_df is not None and contrast.variance(1) > variance:
        variance, df = contrast.variance(1), own_df
    drop = -contrast_same_draws((one,), (other,)).estimate(1)
    if variance == 0:
        return 0.0 if drop > 0 else 1.0
    return upper_tail(drop / math.sqrt(variance), df)
