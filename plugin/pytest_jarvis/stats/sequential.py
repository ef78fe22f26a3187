"""Sequential looks (Pocock) and several adapters (Holm): stop a run early at the stated error rate."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pytest_jarvis.stats.contrasts import Scores, check_alpha, contrast_these_prompts
from pytest_jarvis.stats.decision import Caution, Decision
from pytest_jarvis.stats.thresholds import Bar, JudgedBar, Threshold, judge_bar
from pytest_jarvis.types import LOOKS, GatePlan

_NODES = 201
_LOWEST = 9.0
LOOKS_ALPHA = 0.01  # Error rate of the warning that looks differ.


@dataclass(frozen=True, slots=True, kw_only=True)
class HolmStep:
    """Result of Holm's procedure for one hypothesis."""

    rejected: bool
    alpha: float
    """Its share of the error; for hypotheses never reached, the share at which the procedure stopped."""


Pairs = Mapping[Bar, tuple[Scores, Scores]]
"""The bars of an adapter, with the scores of base and adapter; a bar whose metric was not measured has no prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The bars after one look."""

    judged: Mapping[str, Mapping[Bar, JudgedBar]]
    """By adapter, in the order given; what earlier looks settled is unchanged."""
    undecided: tuple[str, ...]
    """Adapters that another look could settle."""
    next_look: int | None
    """Responses per prompt and arm to generate up to; None when the run stops."""

    @property
    def decisions(self) -> dict[str, Decision]:
        """The decision on the relevance gain of each adapter with a pair."""
        bars = ((name, bar, one) for name, found in self.judged.items() for bar, one in found.items())
        return {name: one.decision for name, bar, one in bars if bar.name == "relevance_gain" and one.decision}

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The other bars of the gate, by adapter."""
        bars = (item for found in self.judged.values() for item in found.items())
        return tuple(one.threshold for bar, one in bars if bar.name != "relevance_gain")


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
    share = alpha
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        if going:
            share = alpha / (len(p_values) - rank)
            going = p_values[index] <= (critical(share) if critical else share)
        steps[index] = HolmStep(rejected=going, alpha=share)
    return tuple(steps[index] for index in range(len(p_values)))


def judge_look(arms: Mapping[str, Pairs], *, plan: GatePlan, index: int = 0, earlier: Look | None = None) -> Look:
    """Judge the bars of every adapter with the responses generated up to look `index` (from 0).

    Each is judged at the level that Pocock and Holm give its adapter, so its interval agrees with its verdict; bars of
    one kind, `no_drop` and `category_floor`, share it. An adapter passes with all its bars, so its p-value is the
    highest of theirs; it fails with any, so there it is the lowest. Holm's procedure runs over the passes and the fails
    apart; where the first adapter must pass, it is tested alone at the whole level, and the others among themselves. It
    continues over looks: what an earlier look settled stands, and leaves more of `alpha` to the others. An adapter
    stays open until one bar fails or none is open. ValueError as `decide`, and for a look that does not exist.
    """
    looks = plan.looks
    if not 0 <= index < len(looks):
        raise ValueError(f"look {index} does not exist; there are {len(looks)}, from 0")
    judged: dict[str, dict[Bar, JudgedBar]] = {}
    stands: dict[str, dict[Bar, JudgedBar]] = {}
    for name, pairs in arms.items():
        known = {} if earlier is None else earlier.judged[name]
        is_over = earlier is not None and name not in earlier.undecided
        stands[name] = {bar: one for bar, one in known.items() if is_over or one.is_settled}
        found = {
            bar: stands[name].get(bar) or judge_bar(bar, name, pair, alpha=plan.alpha, plan=plan)
            for bar, pair in pairs.items()
        }
        judged[name] = {
            bar: one for bar, one in found.items() if one.threshold.value is not None or not bar.is_optional
        }
    shares = _shares(judged, stands, plan)
    for name, found in judged.items():
        for bar in found.keys() - stands[name].keys():
            level = look_alpha(shares[name] / _count_kin(bar, found), looks)
            found[bar] = judge_bar(bar, name, arms[name][bar], alpha=level, plan=plan)
        _warn_of_looks(arms[name], found, plan, index)
    over = {name for name, found in judged.items() if found.keys() <= stands[name].keys()}
    undecided = tuple(name for name, found in judged.items() if name not in over and _is_undecided(found))
    last = index + 1 == len(looks)
    return Look(judged=judged, undecided=undecided, next_look=None if last or not undecided else looks[index + 1])


def _warn_of_looks(pairs: Pairs, found: dict[Bar, JudgedBar], plan: GatePlan, index: int) -> None:
    """Add a caution to the decision on a gain when the looks differ by more than decoding explains (1 % error)."""
    for bar, one in found.items():
        if one.decision is None or one.threshold.responses != plan.looks[index] or one.decision.target != "these":
            continue
        p_value = compare_looks(*pairs[bar], 1 + bar.bar, plan.looks[: index + 1], shared_noise=plan.shared_noise)
        if p_value is not None and p_value <= LOOKS_ALPHA:
            caution = Caution(code="looks_differ", values={"p_value": p_value})
            cautions = (*(known for known in one.decision.cautions if known.code != "looks_differ"), caution)
            found[bar] = replace(one, decision=replace(one.decision, cautions=cautions))


def compare_looks(
    base: Scores, finetuned: Scores, ratio: float, looks: Sequence[int], *, shared_noise: bool
) -> float | None:
    """Return the p-value of an F test that the looks' means differ by decoding alone; None where it needs more."""
    from scipy.special import fdtrc

    parts = []
    for start, end in zip((0, *looks), looks, strict=False):
        tables = [tuple(tuple(prompt[start:end]) for prompt in arm) for arm in (finetuned, base)]
        contrast = contrast_these_prompts(*tables, shared_noise=shared_noise) if all(map(all, tables)) else None
        df = None if contrast is None else contrast.df(ratio)
        if contrast is None or df is None:
            return None
        parts.append((contrast.estimate(ratio), contrast.variance(ratio), df))
    if len(parts) < 2:
        return None
    weights = [1 / variance for _, variance, _ in parts]
    centre = math.fsum(weight * mean for weight, (mean, _, _) in zip(weights, parts, strict=True)) / math.fsum(weights)
    spread = math.fsum(weight * (mean - centre) ** 2 for weight, (mean, _, _) in zip(weights, parts, strict=True))
    free = len(parts) - 1
    return float(fdtrc(free, math.fsum(df for _, _, df in parts), spread / free))


def _is_undecided(found: Mapping[Bar, JudgedBar]) -> bool:
    of_gate = [one for bar, one in found.items() if not bar.is_beside]
    return not any(one.proof == "FAIL" for one in of_gate) and any(one.is_open for one in of_gate)


def _count_kin(bar: Bar, found: Mapping[Bar, JudgedBar]) -> int:
    """Return how many bars share the level of this one."""
    return sum(other.name == bar.name for other in found) if bar.name in {"no_drop", "category_floor"} else 1


def _shares(
    judged: Mapping[str, Mapping[Bar, JudgedBar]], stands: Mapping[str, Mapping[Bar, JudgedBar]], plan: GatePlan
) -> dict[str, float]:
    """Return the share of `alpha` at which each adapter is judged: Holm over the passes, and over the fails."""

    def p_values(name: str) -> tuple[float, float]:
        of_gate = {bar: one for bar, one in judged[name].items() if not bar.is_beside}
        settled = {
            bar: {"PASS": (0.0, 1.0), "FAIL": (1.0, 0.0)}.get(one.proof or "") for bar, one in stands[name].items()
        }
        found = [
            settled.get(bar) or (one.p_pass, min(1.0, one.p_fail * _count_kin(bar, of_gate)))
            for bar, one in of_gate.items()
        ]
        passes = [p for bar, (p, _) in zip(of_gate, found, strict=True) if bar.measure != "no_drop"]
        return max(passes, default=1.0), min((p for _, p in found), default=1.0)

    def critical(share: float) -> float:
        return look_alpha(share, plan.looks)

    names = list(judged)
    shares: dict[str, float] = {}
    for group in [names[:1], names[1:]] if plan.require == "first" else [names]:
        sides = zip(*map(p_values, group), strict=True) if group else ()
        steps = [holm(side, plan.alpha, critical) for side in sides]
        for name, on_pass, on_fail in zip(group, *steps, strict=True):
            rejected = [step.alpha for step in (on_pass, on_fail) if step.rejected]
            shares[name] = rejected[0] if rejected else min(on_pass.alpha, on_fail.alpha)
    return shares
