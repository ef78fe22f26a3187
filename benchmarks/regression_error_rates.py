"""How often does the regression gate raise a false alarm, and what drops does it find? As a Markdown table.

    python benchmarks/regression_error_rates.py [--runs 8000] [--seed 0]

The noise models and the looks are those of `gate_error_rates.py`; three categories, overall and each of them tested,
Holm over the four. The test is written here a second time on whole arrays; `benchmarks/tests/test_error_rates.py`
holds it equal to `pytest_jarvis.stats.regression.find_drops` run by run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from gate_error_rates import MODELS, Array, Model, assess_these, draw_means, run_looks
from pytest_jarvis.stats.regression import REGRESSION_ALPHA
from pytest_jarvis.stats.sequential import LOOKS, look_alpha

Mask = npt.NDArray[np.bool_]

CHUNK: Final = 250
CATEGORIES: Final = 3
GAIN: Final = 0.2
"""True gain of the candidate over its base, then and now."""
DROPS: Final = (0.1, 0.2, 0.3)


def p_less(stored: Array, new: Array) -> Array:
    """Give back the p-value of « did not drop » of many runs: arrays of shape (runs, prompts, replicates)."""
    from scipy.special import stdtr

    prompts = stored.shape[1]
    parts = [arm.var(axis=2, ddof=1) / arm.shape[2] / prompts**2 for arm in (stored, new)]
    parts = [np.where(part > 1e-18, part, 0.0) for part in parts]
    difference = new.mean(axis=(1, 2)) - stored.mean(axis=(1, 2))
    difference = np.where(np.abs(difference) <= 1e-12, 0.0, difference)
    variance = sum(part.sum(axis=1) for part in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [part / variance[:, None] for part in parts]
        df = 1 / sum(
            (share**2).sum(axis=1) / (arm.shape[2] - 1) for share, arm in zip(shares, (stored, new), strict=True)
        )
        return np.where(variance > 0, stdtr(df, difference / np.sqrt(variance)), (difference >= 0).astype(float))


def alarms(stored: Array, new: Array, categories: int = CATEGORIES) -> Mask:
    """Give back, for each run, whether any drop is called proven: overall and in each of `categories` equal parts."""
    scopes = [slice(None)]
    size = stored.shape[1] // categories
    if categories > 1:
        scopes += [slice(number * size, (number + 1) * size) for number in range(categories)]
    p_values = np.stack([p_less(stored[:, scope], new[:, scope]) for scope in scopes])
    # Holm rejects something exactly when the smallest p-value is under its share.
    return np.asarray(p_values.min(axis=0) <= REGRESSION_ALPHA / len(scopes))


def _by_drawn(stored: Array, new: Array, drawn: tuple[Array, Array]) -> int:
    """Give back the number of alarms where each run stopped at a look of its own."""
    found = 0
    for one in LOOKS:
        for other in LOOKS:
            mask = (drawn[0] == one) & (drawn[1] == other)
            if mask.any():
                found += int(alarms(stored[mask][..., :one], new[mask][..., :other]).sum())
    return found


def measure_fixed(
    model: Model, source: np.random.Generator, runs: int, *, replicates: int, drop: float = 0.0, prompts: int = 30
) -> float:
    """Give back the share of alarms with a fixed number of replicates in both runs, after a true `drop`."""
    found = 0
    for _ in range(runs // CHUNK):
        base, tuned = draw_means(source, model.level, GAIN, CHUNK, prompts, exact=True)
        stored = model.draw(source, base, tuned, replicates)[1]
        new = model.draw(source, base, tuned * (1 - drop), replicates)[1]
        found += int(alarms(stored, new, CATEGORIES if prompts >= 30 else 1).sum())
    return found / (runs // CHUNK * CHUNK)


def measure_looks(
    model: Model, source: np.random.Generator, runs: int, *, accepted_only: bool, whole_baseline: bool = False
) -> float:
    """Give back the share of false alarms where both runs stop at a look.

    `accepted_only`: the baseline is a run that the gate accepted, as a team would set it, and so a little lucky.
    `whole_baseline`: the baseline drew every response at once (`--jarvis-samples 16`).
    """
    alpha = look_alpha(0.05)
    found = counted = 0
    for _ in range(20 * runs // CHUNK):
        base, tuned = draw_means(source, model.level, GAIN, CHUNK, 30, exact=True)
        before, after = (model.draw(source, base, tuned, LOOKS[-1]) for _ in range(2))
        if whole_baseline:
            verdict, drawn = np.where(assess_these(*before).p_pass <= 0.05, 1, 0), np.full(CHUNK, float(LOOKS[-1]))
        else:
            verdict, drawn = run_looks(*before, alpha)
        kept = verdict == 1 if accepted_only else np.ones(CHUNK, dtype=bool)
        _, drawn_after = run_looks(*after, alpha)
        found += _by_drawn(before[1][kept], after[1][kept], (drawn[kept], drawn_after[kept]))
        counted += int(kept.sum())
        if counted >= runs:
            break
    return found / counted


def print_table(runs: int, seed: int, models: Sequence[Model] = MODELS) -> None:
    """Measure everything and print it."""
    source = np.random.default_rng(seed)
    start = time.perf_counter()
    print(
        f"At least {runs} runs a cell, 30 prompts in {CATEGORIES} categories, true gain {GAIN:.0%}, seed {seed}; "
        f"promised: {REGRESSION_ALPHA:.0%}. All figures in %.\n"
    )
    drops = " | ".join(f"found: -{drop:.0%}, k = {k}" for drop in DROPS for k in (4, 16))
    nulls = "k = 4 | k = 16 | 10 prompts, k = 4 | looks | looks, baseline accepted | the same, baseline k = 16"
    print(f"| noise | alarms: {nulls} | {drops} |")
    print("|---" * (7 + 2 * len(DROPS)) + "|")
    for model in models:
        cells = [
            measure_fixed(model, source, runs, replicates=4),
            measure_fixed(model, source, runs, replicates=16),
            measure_fixed(model, source, runs, replicates=4, prompts=10),
            measure_looks(model, source, runs, accepted_only=False),
            measure_looks(model, source, runs, accepted_only=True),
            measure_looks(model, source, runs, accepted_only=True, whole_baseline=True),
        ]
        alarmed = " | ".join(f"{100 * cell:.2f}" for cell in cells)
        found = " | ".join(
            f"{100 * measure_fixed(model, source, runs // 4, replicates=k, drop=drop):.0f}"
            for drop in DROPS
            for k in (4, 16)
        )
        print(f"| {model.name} | {alarmed} | {found} |", flush=True)
    print(f"\nMeasured in {time.perf_counter() - start:.0f} s.")


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=8000, help=f"runs a cell, a multiple of {4 * CHUNK}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print_table(options.runs, options.seed)


if __name__ == "__main__":
    main()
