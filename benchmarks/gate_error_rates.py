"""How often does the gate err? The shipped test and looks on simulated scores, as Markdown tables.

    python benchmarks/gate_error_rates.py [--runs 8000] [--seed 0]

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


def run_looks(base: Array, finetuned: Array, alpha: float) -> tuple[Array, Array]:
    """Give back, for each run, the verdict (1 PASS, -1 FAIL, 0 INCONCLUSIVE) and the replicates drawn."""
    verdict = np.zeros(len(base))
    drawn = np.full(len(base), float(LOOKS[-1]))
    open_runs = np.ones(len(base), dtype=bool)
    for look in LOOKS:
        tests = assess_these(base[..., :look], finetuned[..., :look])
        passed, failed = open_runs & (tests.p_pass <= alpha), open_runs & (tests.p_fail <= alpha)
        verdict[passed], verdict[failed] = 1, -1
        drawn[passed | failed] = look
        open_runs &= ~(passed | failed)
    return verdict, drawn


def measure(model: Model, gain: float, source: np.random.Generator, runs: int, prompts: int = 30) -> Rates:
    """Give back how often the looks pass and fail a fine-tune whose true gain on its prompts is `gain`."""
    alpha = look_alpha(0.05)
    parts = []
    for _ in range(runs // CHUNK):
        means = draw_means(source, model.level, gain, CHUNK, prompts, exact=True)
        parts.append(run_looks(*model.draw(source, *means, LOOKS[-1]), alpha))
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


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def print_tables(runs: int, seed: int) -> None:
    """Measure everything and print it."""
    source = np.random.default_rng(seed)
    start = time.perf_counter()
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
    print(f"\nMeasured in {time.perf_counter() - start:.0f} s.")


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=8000, help=f"runs a cell, a multiple of {CHUNK}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print_tables(options.runs, options.seed)


if __name__ == "__main__":
    main()
