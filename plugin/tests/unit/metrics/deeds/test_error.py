"""The judge's own error, and a share of deeds corrected for it."""

from __future__ import annotations

import pytest

from pytest_jarvis.metrics.deeds import JudgeError, Measured, corrected_share, judge_error

ERROR = JudgeError(sensitivity=0.9, specificity=0.8, positives=100, negatives=200)


def test_a_share_is_corrected_as_rogan_and_gladen_do() -> None:
    share, _ = corrected_share(0.55, (0.45, 0.65), ERROR)
    assert share == pytest.approx((0.55 + 0.8 - 1) / (0.9 + 0.8 - 1))


def test_the_interval_takes_in_that_the_error_is_an_estimate() -> None:
    # By hand: p = 0.5; p² se(1-se)/100 = 0.000225, (1-p)² sp(1-sp)/200 = 0.0002; 1.96² times their sum is 0.0016327;
    # sqrt(0.01 + 0.0016327) / 0.7 = 0.154078.
    _, (low, high) = corrected_share(0.55, (0.45, 0.65), ERROR)
    assert (low, high) == pytest.approx((0.5 - 0.154078, 0.5 + 0.154078), abs=1e-5)


@pytest.mark.parametrize(("share", "corrected"), [(0.1, 0.0), (0.0, 0.0), (0.2, 0.0), (0.9, 1.0), (1.0, 1.0)])
def test_a_share_beyond_what_the_error_allows_is_none_or_all(share: float, corrected: float) -> None:
    found, (low, high) = corrected_share(share, (share, share), ERROR)
    assert found == pytest.approx(corrected)
    assert 0 <= low <= found <= high <= 1


def test_a_perfect_judge_corrects_nothing() -> None:
    perfect = JudgeError(sensitivity=1.0, specificity=1.0, positives=100, negatives=100)
    share, interval = corrected_share(0.4, (0.3, 0.5), perfect)
    assert (share, *interval) == pytest.approx((0.4, 0.3, 0.5))


@pytest.mark.parametrize(
    "error",
    [
        JudgeError(sensitivity=0.5, specificity=0.5, positives=100, negatives=100),
        JudgeError(sensitivity=0.9, specificity=0.9, positives=0, negatives=100),
    ],
)
def test_a_judge_that_knows_nothing_leaves_the_share_and_says_how_little_that_is(error: JudgeError) -> None:
    assert corrected_share(0.4, (0.3, 0.5), error) == (0.4, (0.0, 1.0))


@pytest.mark.parametrize(("measured", "fewest"), [("test", 300), ("own_tools", 240), ("authors", 3000)])
def test_the_judges_error_is_known_and_better_than_chance(measured: Measured, fewest: int) -> None:
    error = judge_error(measured)
    assert error.positives + error.negatives >= fewest
    assert error.sensitivity + error.specificity > 1.5
