"""Sequential looks (Pocock) and several adapters (Holm): stop a run early at the stated error rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pytest_jarvis.stats.contrasts import Scores, check_alpha
from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.types import LOOKS, GatePlan

_NODES = 201
_LOWEST = 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HolmStep:
    """Result of Holm's procedure for one hypothesis."""

    rejected: bool
    alpha: float
    """Its level; for hypotheses never reached, the level at which the procedure stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The decisions after one look."""

    decisions: Mapping[str, Decision]
    """By adapter, in the order given; those of earlier looks unchanged."""
    undecided: tuple[str, ...]
    """Adapters that another look could settle."""
    next_look: int | None
    """Responses per prompt and arm to generate up to; None when the run stops."""

    @property
    def settled(self) -> dict[str, Decision]:
        """The final decisions, an argument of the next look."""
        return {name: decision for name, decision in self.decisions.items() if name not in self.undecided}


@lru_cache(maxsize=64)
def look_alpha(alpha: float, looks: tuple[int, ...] = LOOKS) -> float:
    """Return the one-sided level of each look at which all looks together err with probability `alpha`.

    Pocock (1977) for looks of any sizes, by the recursion of Armitage, McPherson and Rowe (1969), rounded to three
    significant digits: 0.0218 for 0.05 in looks of 4, 8 and 16. ValueError when the looks do not increase.
    """
    check_alpha(alpha)
    if not looks or any(later <= earlier for earlier, later in zip((0, *looks), looks, strict=False)):
        raise ValueError(f"looks are {looks}; expected numbers of responses that increase from at least 1")
    if len(looks) == 1:
        return alpha
    low, high = alpha / len(looks), alpha
    for _ in range(30):
        middle = (low + high) / 2
        if crossing_probability(middle, looks) > alpha:
            high = middle
        else:
            low = middle
    return float(f"{low:.2e}")


def crossing_probability(level: float, looks: Sequence[int]) -> float:
    """Return the probability that a test at `level` in each look errs in at least one of them.

    The sums at the looks are a Gaussian walk with variances `looks`; its density below the bounds is carried from one
    look to the next by Simpson's rule.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri

    bar = -float(ndtri(level))
    unit = np.linspace(-1, 1, _NODES)
    weights = np.where(np.arange(_NODES) % 2, 4.0, 2.0) / 3 * (unit[1] - unit[0])
    weights[[0, -1]] /= 2
    places = np.zeros(1)
    masses = np.ones(1)
    before = 0
    for size in looks[:-1]:
        low, high = -_LOWEST * math.sqrt(size), bar * math.sqrt(size)
        nodes = (high - low) / 2 * unit + (high + low) / 2
        steps = (nodes[:, None] - places[None, :]) ** 2 / (size - before)
        # Sums, not a matrix product: the threads of a linear algebra library wait for each other on a busy machine.
        density = (np.exp(-steps / 2) * masses).sum(axis=1) / math.sqrt(2 * math.pi * (size - before))
        places, masses, before = nodes, density * weights * (high - low) / 2, size
    below = ndtr((bar * math.sqrt(looks[-1]) - places) / math.sqrt(looks[-1] - before))
    return float(1 - (below * masses).sum())


def holm(
    p_values: Sequence[float], alpha: float, critical: Callable[[float], float] | None = None
) -> tuple[HolmStep, ...]:
    """Return, in the order given, which hypotheses Holm's procedure (1979) rejects at the overall level `alpha`.

    The j-th smallest of m p-values is compared with `critical(alpha / (m - j + 1))`, by default that share itself; the
    first that is higher stops the procedure.
    """
    steps: dict[int, HolmStep] = {}
    going = True
    level = alpha
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        if going:
            share = alpha / (len(p_values) - rank)
            level = critical(share) if critical else share
            going = p_values[index] <= level
        steps[index] = HolmStep(rejected=going, alpha=level)
    return tuple(steps[index] for index in range(len(p_values)))


def judge_look(
    base: Scores | Mapping[str, Scores],
    adapters: Mapping[str, Scores],
    *,
    plan: GatePlan,
    index: int = 0,
    settled: Mapping[str, Decision] | None = None,
    unmeasured: int = 0,
) -> Look:
    """Decide on every adapter with the responses generated up to look `index` (from 0).

    Each decision is that of `decide`, at the level Pocock and Holm give it, so its interval agrees with its verdict.
    Holm's procedure runs over the passes and the fails apart, and continues over looks: what an earlier look settled
    (`settled`) stands, and leaves more of `alpha` to the others. With one look this is Holm alone; with one adapter,
    Pocock alone. `base` is by adapter where responses failed: each takes its pair with it. `unmeasured` adapters were
    asked for and have no pair: they stay among the hypotheses, so that a failure makes no other adapter's test easier.
    ValueError as `decide`, and for a look that does not exist.
    """
    looks = plan.looks
    if not 0 <= index < len(looks):
        raise ValueError(f"look {index} does not exist; there are {len(looks)}, from 0")
    known = dict(settled or {})
    open_names = [name for name in adapters if name not in known]

    def decide_at(name: str, level: float) -> Decision:
        return decide(
            base[name] if isinstance(base, Mapping) else base,
            adapters[name],
            min_gain=plan.min_gain,
            alpha=level,
            shared_noise=plan.shared_noise,
            deterministic=plan.deterministic,
        )

    first = {name: decide_at(name, plan.alpha) for name in open_names}
    levels = _levels(first, known, plan.alpha, lambda share: look_alpha(share, looks), unmeasured)
    decisions = {name: known[name] if name in known else decide_at(name, levels[name]) for name in adapters}
    undecided = tuple(
        name
        for name in open_names
        if decisions[name].verdict == "INCONCLUSIVE" and decisions[name].ground != "out_of_reach"
    )
    last = index + 1 == len(looks)
    return Look(decisions=decisions, undecided=undecided, next_look=None if last or not undecided else looks[index + 1])


def _levels(
    decisions: Mapping[str, Decision],
    settled: Mapping[str, Decision],
    alpha: float,
    critical: Callable[[float], float],
    unmeasured: int,
) -> dict[str, float]:
    """Return the level at which each open adapter is judged: Holm over the passes, and over the fails."""
    open_names = list(decisions)
    failed = sum(decision.verdict == "FAIL" for decision in settled.values())
    passed = sum(decision.verdict == "PASS" for decision in settled.values())
    others = len(settled) - failed - passed + unmeasured
    passes = [_p_value(decisions[name], decisions[name].p_pass) for name in open_names]
    fails = [_p_value(decisions[name], decisions[name].p_fail) for name in open_names]
    # An adapter that failed has not passed: it stays among the hypotheses of the other side, never to be rejected.
    pass_steps = holm([*passes, *[1.0] * (failed + others)], alpha, critical)
    fail_steps = holm([*fails, *[1.0] * (passed + others)], alpha, critical)
    levels = {}
    for name, on_pass, on_fail in zip(open_names, pass_steps, fail_steps, strict=False):
        if on_pass.rejected or on_fail.rejected:
            levels[name] = on_pass.alpha if on_pass.rejected else on_fail.alpha
        else:
            levels[name] = min(on_pass.alpha, on_fail.alpha)
    return levels


def _p_value(decision: Decision, p_value: float | None) -> float:
    """Return the p-value, 1 for a claim that cannot be judged."""
    return 1.0 if p_value is None or decision.ground == "out_of_reach" else p_value
