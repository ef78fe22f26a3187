"""The level of a gain, how sure it is, and the weakest category."""

import random

import pytest

from pytest_jarvis.report.analysis.advice import Advice, advise, find_weakest_category
from pytest_jarvis.stats.decision import decide

Row = list[float]


def arm(seed: int, level: float, *, noise: float = 0.05, prompts: int = 10) -> list[Row]:
    source = random.Random(seed)  # noqa: S311 - simulated scores
    return [[min(1.0, max(0.0, source.gauss(level, noise))) for _ in range(4)] for _ in range(prompts)]


def test_a_large_and_sure_gain_is_effective_and_proven() -> None:
    advice = advise(decide(arm(1, 0.3), arm(2, 0.5)))
    assert (advice.code, advice.proven, advice.proven_code) == ("EFFICACE", True, "EFFICACE")


def test_a_large_gain_may_be_shown_to_be_at_least_moderate_only() -> None:
    advice = advise(decide(arm(1, 0.3), arm(7, 0.34)))
    assert (advice.code, advice.proven, advice.proven_code) == ("EFFICACE", False, "MODERE")


def test_a_large_gain_in_the_noise_is_not_proven() -> None:
    advice = advise(decide(arm(1, 0.4, noise=0.2), arm(9, 0.5, noise=0.2)))
    assert (advice.code, advice.proven, advice.proven_code) == ("EFFICACE", False, None)


def test_a_small_gain_for_sure_is_insufficient_and_proven() -> None:
    advice = advise(decide(arm(1, 0.3), arm(2, 0.25)))
    assert (advice.code, advice.proven, advice.proven_code) == ("INSUFFISANT", True, "INSUFFISANT")


@pytest.mark.parametrize(
    ("score", "code"), [(0.55, "MODERE"), (0.551, "EFFICACE"), (0.525, "MODERE"), (0.5249, "INSUFFISANT")]
)
def test_the_levels_part_at_5_and_10_percent(score: float, code: str) -> None:
    advice = advise(decide([[0.5]], [[score]], deterministic=True))
    assert (advice.code, advice.proven) == (code, True)


def test_the_interval_for_new_prompts_counts_when_they_are_the_target() -> None:
    base, finetuned = [[0.1, 0.11], [0.2, 0.22], [0.3, 0.31]], [[0.1, 0.12], [0.2, 0.21], [0.6, 0.61]]
    assert advise(decide(base, finetuned)).proven
    assert not advise(decide(base, finetuned, target="new")).proven


def test_a_score_over_a_base_of_zero_is_a_gain_without_bounds() -> None:
    assert advise(decide([[0.0] * 4] * 10, arm(2, 0.4))) == Advice(
        code="EFFICACE", proven=True, proven_code="EFFICACE", gain=None
    )


def test_zero_against_zero_is_insufficient() -> None:
    zeros = [[0.0, 0.0]]
    assert advise(decide(zeros, zeros)) == Advice(code="INSUFFISANT", proven=True, proven_code="INSUFFISANT", gain=None)


def test_a_pass_without_an_interval_shows_its_bar() -> None:
    decision = decide([[0.0, 0.05], [0.0, 0.0]], [[0.5, 0.6], [0.4, 0.45]])
    assert (decision.verdict, decision.gain_these) == ("PASS", None)
    assert advise(decision).proven_code == "MODERE"
    assert advise(decide([[0.0, 0.05], [0.0, 0.0]], [[0.5, 0.6], [0.4, 0.45]], min_gain=0.2)).proven_code == "EFFICACE"


def test_a_fail_without_an_interval_shows_its_bar() -> None:
    decision = decide([[0.1, 0.4], [0.1, 0.4]], [[0.0, 0.3], [0.0, 0.3]])
    assert (decision.verdict, decision.gain_these) == ("FAIL", None)
    assert advise(decision).proven_code == "INSUFFISANT"


def test_one_response_of_one_prompt_proves_no_level() -> None:
    advice = advise(decide([[0.5]], [[0.9]]))
    assert (advice.code, advice.proven_code) == ("EFFICACE", None)


def test_the_weakest_category_has_the_lowest_mean() -> None:
    weakest = find_weakest_category({"a": arm(1, 0.6), "b": arm(2, 0.3), "c": arm(3, 0.5)})
    assert weakest is not None
    assert (weakest.category, weakest.shown) == ("b", True)
    assert weakest.others_mean == pytest.approx(0.55, abs=0.02)
    assert weakest.estimate.mean == pytest.approx(0.3, abs=0.02)


def test_the_weakest_category_is_not_shown_within_the_noise() -> None:
    weakest = find_weakest_category({"a": arm(1, 0.5, noise=0.1), "b": arm(3, 0.5, noise=0.1)})
    assert weakest is not None
    assert not weakest.shown


@pytest.mark.parametrize(("score", "shown"), [(0.4, True), (0.5, False)])
def test_without_noise_the_lowest_is_the_lowest(score: float, shown: bool) -> None:
    weakest = find_weakest_category({"a": [[score, score]], "b": [[0.5, 0.5]]})
    assert weakest is not None
    assert weakest.shown is shown


def test_one_response_of_one_prompt_shows_no_weakness() -> None:
    weakest = find_weakest_category({"a": [[0.1]], "b": [[0.5]]})
    assert weakest is not None
    assert (weakest.category, weakest.shown) == ("a", False)


def test_one_category_is_not_the_weakest() -> None:
    assert find_weakest_category({"a": [[0.1]]}) is None
