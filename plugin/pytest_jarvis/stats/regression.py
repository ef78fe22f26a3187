"""Is the candidate worse than it was? Its scores against those of a stored run, overall and by category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from pytest_jarvis.stats.contrasts import Interval, Scores
from pytest_jarvis.stats.estimates import Difference
from pytest_jarvis.stats.ranking import REGRESSION_ALPHA, compare_with_stored
from pytest_jarvis.stats.sequential import holm
from pytest_jarvis.types import Storage

OVERALL: Final = ""
"""The name of the test over all prompts; no category is called so."""

RegressionVerdict = Literal["DROP", "NO_DROP", "NOT_JUDGED"]
Obstacle = Literal[
    "nothing_stored",
    "run_not_judged",
    "stored_not_judged",
    "other_kind",
    "other_dictionary",
    "no_common_prompt",
    "not_measured",
]
"""nothing_stored: there is no baseline and no comparable report.
run_not_judged: this run is a selection, has too many failures, or lacks pairs.
stored_not_judged: the same of the stored run.
other_kind: one of the two is an A/A run, or was answered by a script and the other by a model.
other_dictionary: the relevance counts other terms, or another share of them as 1.
no_common_prompt: no prompt has the same id and text in both.
not_measured: one of the two has no relevance.
"""
Direction = Literal["rise", "drop"]
Choice = Literal["named", "baseline", "newest"]
"""How the stored run was found: named on the command line, the baseline, or the newest comparable report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTest:
    """One test of « the candidate did not get worse », over all prompts or over one category."""

    category: str
    """Empty over all prompts."""
    prompts: int
    difference: Difference
    """new - stored of the candidate's relevance, its interval at the level Holm gave the test."""
    proven_drop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeShift:
    """How a metric moved, over all prompts or over one category."""

    category: str
    """Empty over all prompts."""
    prompts: int
    difference: Difference
    """new - stored, its interval at the level that was asked."""
    corrected: Interval | None
    """The interval at the level that Holm gave the way it moved: 0 is outside it wherever that is `proven`."""
    proven: Direction | None
    """None where noise may explain it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """Something two runs do not have in common."""

    name: str
    """The setting, with dots: `generation.temperature`, `versions.torch`."""
    stored: str | Storage
    new: str | Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOverlap:
    """The prompts of two runs, by id and text."""

    common: tuple[str, ...]
    only_stored: tuple[str, ...]
    only_new: tuple[str, ...]
    changed: tuple[str, ...]
    """The same id with another text: not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """The run that the candidate is held against."""

    report: str
    sha256: str
    timestamp: str
    commit: str | None
    adapter: str
    chosen: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionOutcome:
    """What the comparison with a stored run says, and what it does to the exit status."""

    verdict: RegressionVerdict
    exit_failed: bool
    obstacles: tuple[Obstacle, ...]
    """Why it is not judged."""
    asked: str
    """What `--jarvis-compare` named."""
    alpha: float
    """Probability that any drop is called proven where there is none."""
    stored: StoredRun | None
    adapter: str
    tests: tuple[ScopeTest, ...]
    """Overall first; shown also where the run is not judged."""
    overlap: PromptOverlap | None
    changes: tuple[SettingChange, ...]

    @property
    def drops(self) -> tuple[ScopeTest, ...]:
        """The tests that prove a drop."""
        return tuple(test for test in self.tests if test.proven_drop)


def find_drops(
    scopes: Mapping[str, tuple[Scores, Scores]], *, alpha: float = REGRESSION_ALPHA
) -> tuple[ScopeTest, ...]:
    """Give back a test of each scope (`OVERALL` or a category): its scores stored and new, same prompts in both.

    Holm over all of them, so that one is called a drop where there is none in at most `alpha` of runs. The scores of
    the two runs count as independent: with one seed for both they are alike, and the test errs less than it says.
    ValueError as `compare`.
    """
    p_values = []
    for stored, new in scopes.values():
        p_less = compare_with_stored(stored, new, alpha=alpha).difference.p_less
        p_values.append(1.0 if p_less is None else p_less)
    return tuple(
        ScopeTest(
            category=name,
            prompts=len(stored),
            difference=compare_with_stored(stored, new, alpha=step.alpha).difference,
            proven_drop=step.rejected,
        )
        for (name, (stored, new)), step in zip(scopes.items(), holm(p_values, alpha), strict=True)
    )


def find_shifts(
    scopes: Mapping[str, tuple[Scores, Scores]], *, alpha: float = REGRESSION_ALPHA
) -> tuple[ScopeShift, ...]:
    """Give back how each scope moved: its scores stored and new, same prompts in both, as `find_drops`.

    Holm over the scopes for drops and again for rises, each at `alpha`: of what did not move, one is called a drop in
    at most `alpha` of runs, and one a rise in as many.
    """
    seen = [compare_with_stored(stored, new, alpha=alpha).difference for stored, new in scopes.values()]
    drops = holm([1.0 if one.p_less is None else one.p_less for one in seen], alpha)
    rises = holm([1.0 if one.p_greater is None else one.p_greater for one in seen], alpha)
    shifts = []
    for (name, (stored, new)), difference, drop, rise in zip(scopes.items(), seen, drops, rises, strict=True):
        way: Direction = "drop" if difference.difference < 0 else "rise"
        step = drop if way == "drop" else rise
        shifts.append(
            ScopeShift(
                category=name,
                prompts=len(stored),
                difference=difference,
                corrected=compare_with_stored(stored, new, alpha=step.alpha).difference.interval,
                proven=way if step.rejected and difference.difference else None,
            )
        )
    return tuple(shifts)


def settle(outcome: RegressionOutcome, *, fail: bool, strict: bool) -> RegressionOutcome:
    """Give back the outcome with its verdict and exit status.

    A proven drop fails where `fail` is asked; what cannot be judged fails only under `strict` as well.
    """
    if outcome.obstacles:
        return replace(outcome, verdict="NOT_JUDGED", exit_failed=fail and strict)
    return replace(outcome, verdict="DROP", exit_failed=fail) if outcome.drops else replace(outcome, verdict="NO_DROP")
