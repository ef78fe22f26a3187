"""The level of a gain, how sure it is, and the weakest category."""

import random
from dataclasses import replace

import pytest

from pytest_jarvis.report.analysis.advice import Advice, advise, find_weakest_category
from pytest_jarvis.stats.decision import decide

Row = list[float]


def arm(seed: int, level: float, *, noise: float = 0.05, prompts: int = 10) -> list[Row]:
    source = random.Random(seed)  # noqa: S311 - simulated scores
    return [[min(1.0, max(0.0, source.gauss(level, noise))) for _ in range(4)] for _ in range(prompts)]


@pytest.mark.parametrize(
    ("base", "finetuned", "expected"),
    [
        (arm(1, 0.3), arm(2, 0.5), ("EFFICACE", True, "EFFICACE")),
        (arm(1, 0.3) * 4, arm(7, 0.34) * 4, ("EFFICACE", False, "MODERE")),
        (arm(1, 0.4, noise=0.2), arm(9, 0.5, noise=0.2), ("EFFICACE", False, None)),
        (arm(1, 0.3), arm(2, 0.25), ("INSUFFISANT", True, "INSUFFISANT")),
        ([[0.5]], [[0.9]], ("EFFICACE", False, None)),
    ],
    ids=["large and sure", "at least moderate", "in the noise", "small for sure", "one response of one prompt"],
)
def test_a_gain_has_a_level_and_a_level_that_it_is_shown_to_reach(base, finetuned, expected) -> None:
    advice = advise(decide(base, finetuned))
    assert (advice.code, advice.proven, advice.proven_code) == expected


@pytest.mark.parametrize(
    ("score", "code"), [(0.55, "MODERE"), (0.551, "EFFICACE"), (0.525, "MODERE"), (0.5249, "INSUFFISANT")]
)
def test_the_levels_part_at_5_and_10_percent(score: float, code: str) -> None:
    advice = advise(decide([[0.5]], [[score]], deterministic=True))
    assert (advice.code, advice.proven) == (code, True)


def test_the_interval_for_new_prompts_counts_when_they_are_the_target() -> None:
    base = [[0.1, 0.11] * 6, [0.2, 0.22] * 6, [0.3, 0.31] * 6]
    finetuned = [[0.1, 0.12] * 6, [0.2, 0.21] * 6, [0.6, 0.61] * 6]
    assert advise(decide(base, finetuned)).proven
    assert not advise(decide(base, finetuned, target="new")).proven


def test_a_score_over_a_base_of_zero_is_a_gain_without_bounds() -> None:
    assert advise(decide([[0.0] * 4] * 10, arm(2, 0.4))) == Advice(
        code="EFFICACE", proven=True, proven_code="EFFICACE", gain=None
    )


def test_zero_against_zero_is_insufficient() -> None:
    zeros = [[0.0, 0.0]]
    greedy, sampled = decide(zeros, zeros, deterministic=True), decide(zeros, zeros)
    assert advise(greedy) == Advice(code="INSUFFISANT", proven=True, proven_code="INSUFFISANT", gain=None)
    assert advise(sampled) == Advice(code="INSUFFISANT", proven=False, proven_code=None, gain=None)


def test_a_pass_without_an_interval_shows_its_bar() -> None:
    decision = decide([[0.0, 0.05], [0.0, 0.0]], [[0.5, 0.6], [0.4, 0.45]])
    assert (decision.verdict, decision.gain_these) == ("PASS", None)
    assert advise(decision).proven_code == "MODERE"
    assert advise(decide([[0.0, 0.05], [0.0, 0.0]], [[0.5, 0.6], [0.4, 0.45]], min_gain=0.2)).proven_code == "EFFICACE"


def test_a_fail_without_an_interval_shows_its_bar() -> None:
    decision = replace(decide(arm(1, 0.3), arm(2, 0.25)), gain_these=None)
    assert "FAIL" == decision.verdict
    assert advise(decision).proven_code == "INSUFFISANT"


def test_the_weakest_category_has_the_lowest_mean() -> None:
    weakest = find_weakest_category({"a": arm(1, 0.6), "b": arm(2, 0.3), "c": arm(3, 0.5)}, "deeds")
    assert weakest is not None
    assert (weakest.category, weakest.shown) == ("b", True)
    assert weakest.others_mean == pytest.approx(0.55, abs=0.02)
    assert weakest.estimate.mean == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ([[0.4, 0.4]], [[0.5, 0.5]], True),
        ([[0.5, 0.5]], [[0.5, 0.5]], False),
        ([[0.1]], [[0.5]], False),
        (arm(3, 0.5, noise=0.1), arm(1, 0.5, noise=0.1), False),
    ],
    ids=["without noise", "equal", "one response", "within the noise"],
)
def test_the_weakest_category_is_shown_where_it_is_lower_by_more_than_noise(first, second, shown: bool) -> None:
    weakest = find_weakest_category({"a": first, "b": second}, "deeds")
    assert weakest is not None
    assert (weakest.category, weakest.shown) == ("a", shown)


def test_one_category_is_not_the_weakest() -> None:
    assert find_weakest_category({"a": [[0.1]]}, "deeds") is None
