"""Regression tests: the candidate's scores against those of its baseline, overall and by category."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from pytest_jarvis.stats.contrasts import Interval, Scores
from pytest_jarvis.stats.estimates import Difference, compare
from pytest_jarvis.stats.sequential import holm
from pytest_jarvis.types import Storage

REGRESSION_ALPHA: Final = 0.01  # Error rate of a false alarm against a baseline.
OVERALL: Final = ""
"""Name of the test over all prompts; no category has it."""

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
stored_not_judged: so is the stored run.
other_kind: one of the two is an A/A run, or only one was answered by a script.
other_dictionary: the relevance counts other terms, or another share of them as 1.
no_common_prompt: no prompt has the same id and text in both.
not_measured: one of the two has no relevance.
"""
Direction = Literal["rise", "drop"]
Choice = Literal["named", "baseline", "newest"]
"""How the stored run was selected: named on the command line, the baseline, or the newest comparable report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTest:
    """A test of "the candidate did not get worse" over all prompts or one category."""

    category: str
    """Empty over all prompts."""
    prompts: int
    difference: Difference
    """new - stored of the candidate, its interval at the test's level by Holm."""
    proven_drop: bool
    metric: str = "jarvis_relevance"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeShift:
    """The change of a metric over all prompts or one category."""

    category: str
    """Empty over all prompts."""
    prompts: int
    difference: Difference
    """new - stored, its interval at `alpha`."""
    corrected: Interval | None
    """The interval at the level by Holm: it excludes 0 wherever a direction is `proven`."""
    proven: Direction | None
    """None where noise may explain the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """A setting in which two runs differ."""

    name: str
    """The setting, with dots: `generation.temperature`, `versions.torch`."""
    stored: str | Storage
    new: str | Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOverlap:
    """The prompts of two runs, matched by id and text."""

    common: tuple[str, ...]
    only_stored: tuple[str, ...]
    only_new: tuple[str, ...]
    changed: tuple[str, ...]
    """The same id with another text: not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """The baseline of a regression test."""

    report: str
    sha256: str
    timestamp: str
    commit: str | None
    adapter: str
    chosen: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionOutcome:
    """The result of a regression test, and its effect on the exit status."""

    verdict: RegressionVerdict
    exit_failed: bool
    obstacles: tuple[Obstacle, ...]
    """Why it is not judged."""
    asked: str
    """The value of `--jarvis-compare`."""
    alpha: float
    """Family-wise error rate of the tests."""
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
    scopes: Mapping[tuple[str, str], tuple[Scores, Scores]], *, alpha: float = REGRESSION_ALPHA, paired: bool = False
) -> tuple[ScopeTest, ...]:
    """Return a test of each scope, a metric and `OVERALL` or a category, on the same prompts stored and new.

    Holm's procedure over all scopes, so that a drop is claimed wrongly in at most `alpha` of runs. `paired`: both runs
    were drawn with the same noise, replicate by replicate; else they count as independent. ValueError as `compare`.
    """
    p_values = [compare(stored, new, alpha=alpha, shared_noise=paired).p_less for stored, new in scopes.values()]
    steps = holm([1.0 if p is None else p for p in p_values], alpha)
    return tuple(
        ScopeTest(
            category=category,
            prompts=len(stored),
            difference=compare(stored, new, alpha=step.alpha, shared_noise=paired),
            proven_drop=step.rejected,
            metric=metric,
        )
        for ((metric, category), (stored, new)), step in zip(scopes.items(), steps, strict=True)
    )


def find_shifts(
    scopes: Mapping[str, tuple[Scores, Scores]], *, alpha: float = REGRESSION_ALPHA
) -> tuple[ScopeShift, ...]:
    """Return the change of each scope, `OVERALL` or a category, from its scores stored and new.

    Holm's procedure over the scopes for drops and again for rises, each at `alpha`: among scopes that did not move, a
    drop is claimed in at most `alpha` of runs, and so is a rise.
    """
    seen = [compare(stored, new, alpha=alpha, shared_noise=False) for stored, new in scopes.values()]
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
                corrected=compare(stored, new, alpha=step.alpha, shared_noise=False).interval,
                proven=way if step.rejected and difference.difference else None,
            )
        )
    return tuple(shifts)


def settle(outcome: RegressionOutcome, *, fail: bool, strict: bool) -> RegressionOutcome:
    """Return the outcome with its verdict: a proven drop exits 1 with `fail`, an unjudged run with `strict` as well."""
    if outcome.obstacles:
        return replace(outcome, verdict="NOT_JUDGED", exit_failed=fail and strict)
    return replace(outcome, verdict="DROP", exit_failed=fail) if outcome.drops else replace(outcome, verdict="NO_DROP")
