"""How often does the gate err? The shipped test and looks on simulated scores, as Markdown tables.

    python benchmarks/gate_error_rates.py [--runs 8000] [--seed 0] [--only ordinary|hard|policies]

Scores are drawn for thousands of runs at once, and the test is written here a second time on whole arrays;
`benchmarks/tests/test_error_rates.py` holds it equal to `pytest_jarvis.decide` and `judge_look` run by run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_jarvis.stats.ranking import find_worse_prompts
from pytest_jarvis.stats.sequential import LOOKS, look_alpha

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, Array, Array, int], tuple[Array, Array]]
"""(generator, base means, fine-tuned means, replicates) -> scores of both arms, shape (runs, prompts, replicates)."""

TERMS: Final = 13
CHUNK: Final = 500
NULL_GAINS: Final = (0.0, 0.03, 0.05)
TRUE_GAINS: Final = (0.08, 0.10, 0.20, 0.30, 0.50)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One way scores may be noisy, and the level of the base."""

    name: str
    draw: Draw
    level: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the looks said in many runs, as shares, and responses drawn per prompt and arm."""

    passed: float
    failed: float
    mean_replicates: float


def _sizes(means: Array, replicates: int) -> tuple[int, ...]:
    return (*means.shape, replicates)


def draw_beta(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw smooth scores, independent arms."""
    return _beta(source, base, replicates, 12.0), _beta(source, finetuned, replicates, 12.0)


def _beta(source: np.random.Generator, means: Array, replicates: int, concentration: float | Array) -> Array:
    size = _sizes(means, replicates)
    spread = np.broadcast_to(concentration, means.shape)
    return source.beta((means * spread)[..., None], ((1 - means) * spread)[..., None], size)


def draw_uneven(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw smooth scores, some prompts thirty times noisier than others."""
    spread = np.exp(source.uniform(np.log(3), np.log(100), base.shape))
    return _beta(source, base, replicates, spread), _beta(source, finetuned, replicates, spread)


def draw_counts(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw counts of terms found, independent arms."""

    def arm(means: Array) -> Array:
        return source.binomial(TERMS, means[..., None], _sizes(means, replicates)) / TERMS

    return arm(base), arm(finetuned)


def draw_shared(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw counts of terms found; both arms see the same noise for seven terms in ten."""
    size = (*base.shape, replicates, TERMS)
    uniforms = source.random(size, dtype=np.float32)
    other = np.where(source.random(size, dtype=np.float32) < 0.7, uniforms, source.random(size, dtype=np.float32))
    return (
        (uniforms < base[..., None, None]).mean(axis=-1, dtype=np.float64),
        (other < finetuned[..., None, None]).mean(axis=-1, dtype=np.float64),
    )


def draw_silent(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw scores of which four in ten are 0."""

    def arm(means: Array) -> Array:
        scores = _beta(source, np.minimum(means / 0.6, 0.98), replicates, 12.0)
        return np.where(source.random(scores.shape) < 0.4, 0.0, scores)

    return arm(base), arm(finetuned)


def draw_reciting(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw scores of which some are 1: a response in twenty recites the list."""

    def arm(means: Array) -> Array:
        share = np.minimum(0.05, means / 2)
        scores = _beta(source, (means - share) / (1 - share), replicates, 12.0)
        return np.where(source.random(scores.shape) < share[..., None], 1.0, scores)

    return arm(base), arm(finetuned)


def draw_all_or_nothing(
    source: np.random.Generator, base: Array, finetuned: Array, replicates: int
) -> tuple[Array, Array]:
    """Draw 0 or 1: the most noise a mean can have."""

    def arm(means: Array) -> Array:
        return (source.random(_sizes(means, replicates)) < means[..., None]).astype(np.float64)

    return arm(base), arm(finetuned)


MODELS: Final = (
    Model(name="smooth", draw=draw_beta),
    Model(name="counts", draw=draw_counts),
    Model(name="counts, shared noise", draw=draw_shared),
    Model(name="counts, low base", draw=draw_counts, level=0.08),
    Model(name="uneven noise", draw=draw_uneven),
    Model(name="four in ten silent", draw=draw_silent),
    Model(name="one in twenty recites", draw=draw_reciting),
    Model(name="all or nothing", draw=draw_all_or_nothing),
)


TIGHT: Final = 400.0
"""Concentration of scores that hardly vary, so that only what is rare makes noise."""


def _collapse(
    source: np.random.Generator, base: Array, finetuned: Array, replicates: int, share: Array
) -> tuple[Array, Array]:
    """Draw tight scores, of which the fine-tuned arm's are 0 with probability `share`, shape (runs, prompts)."""
    scores = _beta(source, np.minimum(finetuned / (1 - share), 0.98), replicates, TIGHT)
    empty = source.random(scores.shape) < share[..., None]
    return _beta(source, base, replicates, TIGHT), np.where(empty, 0.0, scores)


def draw_collapse(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw tight scores; one fine-tuned response in twenty is empty."""
    return _collapse(source, base, finetuned, replicates, np.full(base.shape, 0.05))


def draw_three_collapse(
    source: np.random.Generator, base: Array, finetuned: Array, replicates: int
) -> tuple[Array, Array]:
    """Draw tight scores; on three prompts, 15 % of the fine-tuned responses are empty."""
    share = np.where(np.arange(base.shape[1]) < 3, 0.15, 0.0)
    return _collapse(source, base, finetuned, replicates, np.broadcast_to(share, base.shape))


def draw_jackpots(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw tight scores; 3 % of the fine-tuned responses score 1."""
    share = np.minimum(0.03, finetuned / 2)
    scores = _beta(source, (finetuned - share) / (1 - share), replicates, TIGHT)
    lucky = source.random(scores.shape) < share[..., None]
    return _beta(source, base, replicates, TIGHT), np.where(lucky, 1.0, scores)


def draw_no_variance(
    source: np.random.Generator, base: Array, finetuned: Array, replicates: int
) -> tuple[Array, Array]:
    """Draw scores that are always the same, but for one fine-tuned response in twenty, which is empty."""
    size = _sizes(base, replicates)
    scores = np.broadcast_to(np.minimum(finetuned / 0.95, 1.0)[..., None], size)
    return np.broadcast_to(base[..., None], size).copy(), np.where(source.random(size) < 0.05, 0.0, scores)


def draw_batches(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw smooth scores, of which those of one look and arm share an effect (intraclass correlation 0.1)."""
    look = np.searchsorted(LOOKS, np.arange(replicates), side="right")

    def arm(means: Array) -> Array:
        scores = _beta(source, means, replicates, 12.0)
        effects = source.normal(0, scores.std() / 3, (len(means), 1, len(LOOKS) + 1))
        return np.clip(scores + effects[:, :, look], 0.0, 1.0)

    return arm(base), arm(finetuned)


def _correlate(correlation: float) -> Draw:
    def draw(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
        noise = source.normal(0, 0.2, (2, *_sizes(base, replicates)))
        other = correlation * noise[0] + np.sqrt(1 - correlation**2) * noise[1]
        first, second = (
            np.clip(means[..., None] * (1 + one), 0.0, 1.0) for means, one in ((base, noise[0]), (finetuned, other))
        )
        return first, second

    return draw


def draw_few_values(source: np.random.Generator, base: Array, finetuned: Array, replicates: int) -> tuple[Array, Array]:
    """Draw scores of five values."""
    size = _sizes(base, replicates)
    return source.binomial(4, base[..., None], size) / 4, source.binomial(4, finetuned[..., None], size) / 4


HARD: Final = (
    Model(name="one in twenty collapses", draw=draw_collapse),
    Model(name="collapses on three prompts", draw=draw_three_collapse),
    Model(name="jackpots", draw=draw_jackpots),
    Model(name="no variance but collapses", draw=draw_no_variance),
    Model(name="hits of 5 to 10 %", draw=draw_all_or_nothing, level=0.05),
    Model(name="looks that share an effect", draw=draw_batches),
    Model(name="arms correlated -0.9", draw=_correlate(-0.9)),
    Model(name="arms correlated +0.9", draw=_correlate(0.9)),
    Model(name="base of 0.01", draw=draw_counts, level=0.01),
    Model(name="five values", draw=draw_few_values),
    Model(name="deeds, three in ten done", draw=draw_all_or_nothing, level=0.3),
    Model(name="smooth", draw=draw_beta),
    Model(name="all or nothing", draw=draw_all_or_nothing),
)
SIZES: Final = (2, 5, 10, 30, 100, 300)
"""Numbers of prompts."""
CONTINUED: Final = (4, 8, 16, 32, 64)
"""Looks of a run whose continuation was declared beforehand."""


def draw_means(
    source: np.random.Generator, level: float, gain: float, runs: int, prompts: int, *, exact: bool
) -> tuple[Array, Array]:
    """Draw true means of both arms, shape (runs, prompts): unequal prompts, gains of 0.5 to 1.5 times `gain`.

    `exact`: the gain of the prompts drawn is exactly `gain`; else that of the population they come from is.
    """
    base = np.clip(level * source.gamma(4.0, 0.25, (runs, prompts)), 0.02, 2 * level)
    effect = source.uniform(0.5, 1.5, (runs, prompts))
    if exact:
        effect *= (base.sum(axis=1) / (base * effect).sum(axis=1))[:, None]
    return base, base * (1 + gain * effect)


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The test of many runs: arrays of shape (runs,)."""

    p_pass: Array
    p_fail: Array
    lower: Array
    upper: Array
    """Fieller's interval of the gain; NaN where it is unbounded."""


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """What a test needs of many runs: arrays of shape (runs,)."""

    means: tuple[Array, Array]
    """Of the fine-tuned arm and of the base."""
    variances: list[Array]
    """Squared errors of those means and, between them, their covariance."""
    df: Array
    third: Array
    """The third cumulant of the contrast."""
    draws: int
    has_noise_of_draws: bool
    """Whether the draws are responses, so that those not seen count."""


def assess_these(base: Array, finetuned: Array, min_gain: float = 0.05, alpha: float = 0.05) -> Assessment:
    """Test many runs on these prompts with shared noise: arrays of shape (runs, prompts, replicates)."""
    prompts, replicates = base.shape[1:]
    variances = [
        _covariance(one, other) / replicates / prompts**2
        for one, other in ((finetuned, finetuned), (finetuned, base), (base, base))
    ]
    parts = _variance_at(variances, 1 + min_gain)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = parts.sum(axis=1) ** 2 / (parts**2).sum(axis=1) * (replicates - 1)
    sums = _Sums(
        means=(finetuned.mean(axis=(1, 2)), base.mean(axis=(1, 2))),
        variances=[part.sum(axis=1) for part in variances],
        df=df,
        third=_third(finetuned - (1 + min_gain) * base).sum(axis=1) / replicates**2 / prompts**3,
        draws=prompts * replicates,
        has_noise_of_draws=True,
    )
    return _finish(sums, 1 + min_gain, alpha)


def assess_new(base: Array, finetuned: Array, min_gain: float = 0.05, alpha: float = 0.05) -> Assessment:
    """Test many runs on new prompts of the kind: arrays of shape (runs, prompts, replicates)."""
    ones, others = finetuned.mean(axis=2), base.mean(axis=2)
    prompts = ones.shape[1]
    sums = _Sums(
        means=(ones.mean(axis=1), others.mean(axis=1)),
        variances=[_covariance(*pair) / prompts for pair in ((ones, ones), (ones, others), (others, others))],
        df=np.full(len(base), prompts - 1.0),
        third=_third(ones - (1 + min_gain) * others) / prompts**2,
        draws=prompts,
        has_noise_of_draws=False,
    )
    return _finish(sums, 1 + min_gain, alpha)


def _covariance(one: Array, other: Array) -> Array:
    """Give back the unbiased covariance along the last axis."""
    centred = (one - one.mean(axis=-1, keepdims=True)) * (other - other.mean(axis=-1, keepdims=True))
    return np.asarray(centred.sum(axis=-1) / (one.shape[-1] - 1))


def _third(values: Array) -> Array:
    """Give back the unbiased third cumulant along the last axis; 0 for fewer than 3 values."""
    size = values.shape[-1]
    if size < 3:
        return np.zeros(values.shape[:-1])
    cubes = (values - values.mean(axis=-1, keepdims=True)) ** 3
    return np.asarray(cubes.sum(axis=-1) * size / ((size - 1) * (size - 2)))


def _variance_at(variances: list[Array], ratio: float) -> Array:
    """Give back the variance of `finetuned - ratio * base`; 0 where only rounding is left."""
    ends = variances[0] + ratio**2 * variances[2]
    variance = ends - 2 * ratio * variances[1]
    return np.where(variance > 1e-12 * ends, variance, 0.0)


def _finish(sums: _Sums, ratio: float, alpha: float) -> Assessment:
    """Give back p-values and the interval of the gain: the most careful of t, Hall's t and what was not seen."""
    from scipy.special import stdtr, stdtrit

    (first, second), variances, df = sums.means, sums.variances, sums.df
    contrast = first - ratio * second
    error = np.sqrt(_variance_at(variances, ratio))
    noisy = error > 0
    counts = ~noisy | sums.has_noise_of_draws
    unseen = np.where(counts, 1 - (alpha / 2) ** (1 / sums.draws), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic, skewness = contrast / error, sums.third / error**3
        corrected = statistic + skewness * (statistic**2 / 3 + 1 / 6) + skewness**2 * statistic**3 / 27
        p_pass = np.where(noisy, np.maximum(stdtr(df, -statistic), stdtr(df, -corrected)), 0.0)
        p_fail = np.where(noisy, np.maximum(stdtr(df, statistic), stdtr(df, corrected)), 0.0)
        lost, room = ratio * second, np.maximum(1 - ratio * second, 0.0)
        worst = np.where(contrast > 0, np.minimum(1.0, 2 * (lost / (contrast + lost)) ** sums.draws), 1.0)
        best = np.where(contrast < 0, np.minimum(1.0, 2 * (room / (room - contrast)) ** sums.draws), 1.0)
        p_pass, p_fail = np.maximum(p_pass, counts * worst), np.maximum(p_fail, counts * best)
        critical = -stdtrit(df, alpha)
        ends = []
        for side in (1, -1):
            bent = 3 / skewness * (np.cbrt(1 + skewness * (side * critical - skewness / 6)) - 1)
            bent = np.where(np.abs(skewness) < 1e-6, side * critical, bent)
            square = np.maximum(critical, side * bent) ** 2
            lead = second**2 - square * variances[2]
            middle = first * second - square * variances[1]
            root = np.sqrt(np.maximum(middle**2 - lead * (first**2 - square * variances[0]), 0))
            ends.append(np.where(lead > 1e-9 * second**2, (middle - side * root) / lead - 1, np.nan))
        bounded = ~np.isnan(ends[0] + ends[1])
        low, high = (1 - unseen) * first / second - 1, ((1 - unseen) * first + unseen) / second - 1
        lower = np.where(noisy, np.where(bounded, np.minimum(ends[0], np.where(counts, low, ends[0])), np.nan), low)
        upper = np.where(noisy, np.where(bounded, np.maximum(ends[1], np.where(counts, high, ends[1])), np.nan), high)
    return Assessment(p_pass=p_pass, p_fail=p_fail, lower=lower, upper=upper)


def run_looks(base: Array, finetuned: Array, alpha: float, looks: tuple[int, ...] = LOOKS) -> tuple[Array, Array]:
    """Give back, for each run, the verdict (1 PASS, -1 FAIL, 0 INCONCLUSIVE) and the replicates drawn."""
    verdict = np.zeros(len(base))
    drawn = np.full(len(base), float(looks[-1]))
    open_runs = np.ones(len(base), dtype=bool)
    for look in looks:
        tests = assess_these(base[..., :look], finetuned[..., :look])
        passed, failed = open_runs & (tests.p_pass <= alpha), open_runs & (tests.p_fail <= alpha)
        verdict[passed], verdict[failed] = 1, -1
        drawn[passed | failed] = look
        open_runs &= ~(passed | failed)
    return verdict, drawn


def measure(
    model: Model,
    gain: float,
    source: np.random.Generator,
    runs: int,
    prompts: int = 30,
    *,
    looks: tuple[int, ...] = LOOKS,
) -> Rates:
    """Give back how often the looks pass and fail a fine-tune whose true gain on its prompts is `gain`."""
    alpha = look_alpha(0.05, looks)
    chunk = max(1, CHUNK * 30 // max(30, prompts))
    parts = []
    for _ in range(-(-runs // chunk)):
        means = draw_means(source, model.level, gain, chunk, prompts, exact=True)
        parts.append(run_looks(*model.draw(source, *means, looks[-1]), alpha, looks))
    verdict = np.concatenate([part[0] for part in parts])
    drawn = np.concatenate([part[1] for part in parts])
    return Rates(
        passed=float((verdict == 1).mean()), failed=float((verdict == -1).mean()), mean_replicates=float(drawn.mean())
    )


def measure_coverage(
    model: Model, prompts: int, source: np.random.Generator, runs: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give back the shares of 90 % intervals under and over the true gain (8 replicates): these, then new prompts."""
    gain = 0.2
    misses = np.zeros((2, 2))
    for _ in range(runs // CHUNK):
        means = draw_means(source, model.level, gain, CHUNK, prompts, exact=False)
        scores = model.draw(source, *means, 8)
        of_these = means[1].sum(axis=1) / means[0].sum(axis=1) - 1
        population = np.full(CHUNK, gain)
        for row, (assess, truth) in enumerate(((assess_these, of_these), (assess_new, population))):
            tests = assess(*scores)
            misses[row] += [(tests.upper < truth).mean(), (tests.lower > truth).mean()]
    shares = misses / (runs // CHUNK)
    return ((shares[0, 0], shares[0, 1]), (shares[1, 0], shares[1, 1]))


def measure_usual_rule(model: Model, gain: float, source: np.random.Generator, runs: int) -> float:
    """Give back how often one response per prompt and the plain ratio of means say at least 5 %."""
    means = draw_means(source, model.level, gain, runs, 30, exact=True)
    base, finetuned = model.draw(source, *means, 1)
    return float((finetuned.mean(axis=(1, 2)) >= 1.05 * base.mean(axis=(1, 2))).mean())


def measure_adapters(model: Model, source: np.random.Generator, runs: int, adapters: int = 3) -> float:
    """Give back how often any of several adapters, all of a true gain of 5 % over one base, passes."""
    alpha = look_alpha(0.05 / adapters)
    wrong = 0
    for _ in range(runs // CHUNK):
        means = draw_means(source, model.level, 0.05, CHUNK, 30, exact=True)
        base, first = model.draw(source, *means, LOOKS[-1])
        arms = [first, *(model.draw(source, *means, LOOKS[-1])[1] for _ in range(adapters - 1))]
        wrong += int(np.any([run_looks(base, arm, alpha)[0] == 1 for arm in arms], axis=0).sum())
    return wrong / runs


def measure_worse_prompts(model: Model, source: np.random.Generator, runs: int, replicates: int) -> float:
    """Give back how often a prompt is named as worse where no prompt is (the shipped function, run by run)."""
    means = draw_means(source, model.level, 0.0, runs, 30, exact=True)
    base, finetuned = model.draw(source, *means, replicates)
    ids = [str(number) for number in range(30)]
    return (
        sum(
            bool(find_worse_prompts(one.tolist(), other.tolist(), ids))
            for one, other in zip(base, finetuned, strict=True)
        )
        / runs
    )


def measure_policies(model: Model, source: np.random.Generator, runs: int) -> dict[str, float]:
    """Give back how often each way to go on passes a fine-tune whose true gain is 5 %."""
    alpha, declared = look_alpha(0.05), look_alpha(0.05, CONTINUED)
    counts = dict.fromkeys(("one run", "a new run when undecided", "until green, 3 runs", "declared to 64"), 0)
    counts |= dict.fromkeys(("the first of 5 adapters", "any of the 4 others"), 0)
    for _ in range(runs // CHUNK):
        means = draw_means(source, model.level, 0.05, CHUNK, 30, exact=True)
        verdicts = [run_looks(*model.draw(source, *means, LOOKS[-1]), alpha)[0] for _ in range(3)]
        advised = assess_these(*model.draw(source, *means, 64)).p_pass <= 0.05
        counts["one run"] += int((verdicts[0] == 1).sum())
        counts["a new run when undecided"] += int(((verdicts[0] == 1) | ((verdicts[0] == 0) & advised)).sum())
        counts["until green, 3 runs"] += int(np.any([verdict == 1 for verdict in verdicts], axis=0).sum())
        counts["declared to 64"] += int((run_looks(*model.draw(source, *means, 64), declared, CONTINUED)[0] == 1).sum())
        base, first = model.draw(source, *means, LOOKS[-1])
        counts["the first of 5 adapters"] += int((run_looks(base, first, alpha)[0] == 1).sum())
        # Holm's first step: the least of four p-values is held against a fourth of the error.
        others = [model.draw(source, *means, LOOKS[-1])[1] for _ in range(4)]
        least = look_alpha(0.05 / 4)
        counts["any of the 4 others"] += int(
            np.any([run_looks(base, one, least)[0] == 1 for one in others], axis=0).sum()
        )
    total = runs // CHUNK * CHUNK
    return {name: count / total for name, count in counts.items()}


def print_hard(runs: int, source: np.random.Generator) -> None:
    """Print how often the looks pass and fail a fine-tune at the bar, where it is hard to judge."""
    print(f"\n{runs} runs a cell, true gain 5 %: PASS / FAIL in %, by the number of prompts.\n")
    print(f"| noise | {' | '.join(map(str, SIZES))} |")
    print("|---" * (1 + len(SIZES)) + "|")
    for model in HARD:
        found = [measure(model, 0.05, source, runs, size) for size in SIZES]
        cells = [f"{_percent(rates.passed)} / {_percent(rates.failed)}" for rates in found]
        print(f"| {model.name} | {' | '.join(cells)} |", flush=True)


def print_policies(runs: int, source: np.random.Generator) -> None:
    """Print how often each way to go on passes a fine-tune at the bar."""
    models = [model for model in MODELS if model.name in {"smooth", "counts, shared noise", "all or nothing"}]
    columns = {model.name: measure_policies(model, source, runs) for model in models}
    print(f"\n{runs} runs a cell, true gain 5 %, 30 prompts: PASS in %.\n")
    print(f"| policy | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for policy in next(iter(columns.values())):
        print(f"| {policy} | {' | '.join(_percent(found[policy]) for found in columns.values())} |", flush=True)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def print_ordinary(runs: int, seed: int, source: np.random.Generator) -> None:
    """Print errors, power and coverage in ordinary noise."""
    print(f"{runs} runs a cell, 30 prompts, looks of {LOOKS}, seed {seed}. All figures but mean k in %.\n")
    few = 10
    nulls = " | ".join(f"PASS at {gain:.0%}" for gain in NULL_GAINS)
    trues = " | ".join(f"{gain:.0%}: PASS / FAIL / mean k" for gain in TRUE_GAINS)
    print(f"| noise | usual rule at 0% | {nulls} | PASS at 5%, {few} prompts | {trues} |")
    print("|---" * (3 + len(NULL_GAINS) + len(TRUE_GAINS)) + "|")
    for model in MODELS:
        cells = [_percent(measure_usual_rule(model, 0.0, source, runs))]
        cells += [_percent(measure(model, gain, source, runs).passed) for gain in NULL_GAINS]
        cells.append(_percent(measure(model, 0.05, source, runs, few).passed))
        for gain in TRUE_GAINS:
            rates = measure(model, gain, source, runs)
            cells.append(f"{_percent(rates.passed)} / {_percent(rates.failed)} / {rates.mean_replicates:.1f}")
        print(f"| {model.name} | {' | '.join(cells)} |", flush=True)
    print("\nIntervals of the gain at 90 % (8 responses): true gain above / below the interval.\n")
    print("| noise | these, N = 10 | these, N = 30 | new, N = 10 | new, N = 30 |\n|---|---|---|---|---|")
    for model in MODELS:
        ten, thirty = (measure_coverage(model, prompts, source, runs) for prompts in (10, 30))
        cells = [f"{_percent(under)} / {_percent(over)}" for under, over in (ten[0], thirty[0], ten[1], thirty[1])]
        print(f"| {model.name} | {' | '.join(cells)} |", flush=True)
    print("\n| noise | any of 3 adapters at 5% passes | a prompt named worse, k = 4 | k = 16 |\n|---|---|---|---|")
    for model in MODELS:
        cells = [_percent(measure_adapters(model, source, runs))]
        cells += [_percent(measure_worse_prompts(model, source, runs // 8, replicates)) for replicates in (4, 16)]
        print(f"| {model.name} | {' | '.join(cells)} |", flush=True)


def print_tables(runs: int, seed: int, only: str | None = None) -> None:
    """Measure everything, or one part, and print it."""
    start = time.perf_counter()
    for part, show in (
        ("ordinary", lambda source: print_ordinary(runs, seed, source)),
        ("hard", lambda source: print_hard(runs, source)),
        ("policies", lambda source: print_policies(runs, source)),
    ):
        if only in {None, part}:
            show(np.random.default_rng(seed))
    print(f"\nMeasured in {time.perf_counter() - start:.0f} s.")


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=8000, help=f"runs a cell, a multiple of {CHUNK}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("ordinary", "hard", "policies"), help="one part of the tables")
    options = parser.parse_args()
    print_tables(options.runs, options.seed, options.only)


if __name__ == "__main__":
    main()
