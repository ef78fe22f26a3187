"""Looks, Holm, and both together: which level a decision is taken at, and when the drawing stops."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_jarvis.stats.decision import decide
from pytest_jarvis.stats.sequential import LOOKS, HolmStep, crossing_probability, holm, judge_look, look_alpha
from pytest_jarvis.types import GatePlan

Row = list[float]


def arm(seed: int, level: float, *, replicates: int = 4, noise: float = 0.1) -> list[Row]:
    source = random.Random(seed)  # noqa: S311 - simulated scores
    return [[min(1.0, max(0.0, source.gauss(level, noise))) for _ in range(replicates)] for _ in range(30)]


BASE = arm(0, 0.3)
BETTER = arm(1, 0.5)
MUCH_BETTER = arm(2, 0.6)
UNCLEAR = arm(3, 0.325)
WORSE = arm(4, 0.2)


@pytest.mark.parametrize(("adapters", "level"), [(1, 0.0218), (2, 0.0104), (3, 0.00677), (4, 0.00501), (5, 0.00396)])
def test_the_level_of_a_look_is_pococks(adapters: int, level: float) -> None:
    assert look_alpha(0.05 / adapters) == level


def test_the_looks_together_err_as_promised_by_the_multivariate_normal() -> None:
    import numpy as np
    from scipy.stats import multivariate_normal, norm

    sizes = np.array(LOOKS)
    correlation = np.sqrt(np.minimum.outer(sizes, sizes) / np.maximum.outer(sizes, sizes))
    below = multivariate_normal(np.zeros(3), correlation, seed=0).cdf(np.full(3, norm.isf(0.0218)))
    assert crossing_probability(0.0218, LOOKS) == pytest.approx(1 - float(below), abs=5e-5)
    assert crossing_probability(0.0218, LOOKS) == pytest.approx(0.05, abs=1e-4)


def test_one_look_is_tested_at_the_whole_level() -> None:
    assert look_alpha(0.05, (8,)) == 0.05
    assert crossing_probability(0.05, (8,)) == pytest.approx(0.05)


@pytest.mark.parametrize("looks", [(), (0, 4), (4, 4), (8, 4)])
def test_looks_that_do_not_increase_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected numbers of responses that increase"):
        look_alpha(0.05, looks)


def test_holm_compares_the_smallest_first_and_stops_at_the_first_miss() -> None:
    assert holm([0.03, 0.001, 0.04], 0.05) == (
        HolmStep(rejected=False, alpha=0.025),
        HolmStep(rejected=True, alpha=0.05 / 3),
        HolmStep(rejected=False, alpha=0.025),
    )


def test_holm_takes_the_level_that_looks_give_each_share() -> None:
    steps = holm([0.006, 0.02], 0.05, look_alpha)
    assert steps == (HolmStep(rejected=True, alpha=0.0104), HolmStep(rejected=True, alpha=0.0218))


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([], 0.05) == ()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(min_value=0, max_value=1), max_size=6))
def test_holm_rejects_all_that_bonferroni_does_and_nothing_above_the_level(p_values: list[float]) -> None:
    for p_value, step in zip(p_values, holm(p_values, 0.05), strict=True):
        assert step.rejected or p_value > 0.05 / len(p_values)
        assert not step.rejected or p_value <= 0.05


def test_one_adapter_at_the_first_look_is_decided_at_pococks_level() -> None:
    look = judge_look(BASE, {"jarvis": BETTER}, plan=GatePlan())
    assert look.decisions == {"jarvis": decide(BASE, BETTER, alpha=0.0218)}
    assert (look.undecided, look.next_look) == ((), None)


def test_an_undecided_adapter_asks_for_the_next_look() -> None:
    look = judge_look(BASE, {"jarvis": UNCLEAR}, plan=GatePlan())
    assert (look.undecided, look.next_look, look.settled) == (("jarvis",), 8, {})


def test_the_last_look_stops_whatever_it_says() -> None:
    look = judge_look(BASE, {"jarvis": UNCLEAR}, plan=GatePlan(), index=2)
    assert (look.undecided, look.next_look) == (("jarvis",), None)


def test_a_fixed_number_of_responses_is_decided_at_the_whole_level() -> None:
    look = judge_look(BASE, {"jarvis": UNCLEAR}, plan=GatePlan(looks=(4,)))
    assert look.decisions["jarvis"].alpha == 0.05
    assert look.next_look is None


def test_a_look_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="look 3 does not exist; there are 3, from 0"):
        judge_look(BASE, {"jarvis": BETTER}, plan=GatePlan(), index=3)


def test_more_looks_do_not_help_where_the_bar_is_out_of_reach() -> None:
    high = [[0.98, 0.97, 0.99, 0.98]] * 3
    look = judge_look(high, {"jarvis": high}, plan=GatePlan())
    assert look.decisions["jarvis"].ground == "out_of_reach"
    assert (look.undecided, look.next_look) == ((), None)


def test_several_adapters_share_the_error() -> None:
    look = judge_look(BASE, {"a": BETTER, "b": UNCLEAR, "c": MUCH_BETTER}, plan=GatePlan(looks=(4,)))
    assert {name: decision.verdict for name, decision in look.decisions.items()} == {
        "a": "PASS",
        "b": "INCONCLUSIVE",
        "c": "PASS",
    }
    assert {decision.alpha for decision in look.decisions.values()} == {0.05 / 3, 0.05 / 2}
    # The smallest p-value among the fails is compared with the strictest level, and so is the undecided interval.
    assert look.decisions["b"].alpha == 0.05 / 3
    assert list(look.decisions) == ["a", "b", "c"]
    assert list(look.settled) == ["a", "c"]


def test_a_fail_is_corrected_among_the_fails() -> None:
    look = judge_look(BASE, {"a": WORSE, "b": BETTER}, plan=GatePlan(looks=(4,)))
    assert {name: (decision.verdict, decision.alpha) for name, decision in look.decisions.items()} == {
        "a": ("FAIL", 0.025),
        "b": ("PASS", 0.025),
    }


def test_what_an_earlier_look_settled_stands_and_leaves_more_to_the_others() -> None:
    first = judge_look(BASE, {"a": BETTER, "b": UNCLEAR}, plan=GatePlan())
    assert first.undecided == ("b",)
    second = judge_look(
        arm(0, 0.3, replicates=8),
        {"a": BETTER, "b": arm(3, 0.45, replicates=8)},
        plan=GatePlan(),
        index=1,
        settled=first.settled,
    )
    assert second.decisions["a"] == first.decisions["a"]
    assert (second.decisions["b"].verdict, second.decisions["b"].alpha) == ("PASS", 0.0218)


def test_a_failed_adapter_stays_among_those_that_have_not_passed() -> None:
    settled = {"a": decide(BASE, WORSE)}
    look = judge_look(BASE, {"a": WORSE, "b": BETTER}, plan=GatePlan(looks=(4,)), settled=settled)
    assert look.decisions["b"].alpha == 0.025


def test_an_adapter_without_any_estimate_of_its_noise_is_never_settled() -> None:
    look = judge_look([[0.2]], {"a": [[0.9]]}, plan=GatePlan())
    assert (look.decisions["a"].ground, look.undecided, look.next_look) == ("no_variance", ("a",), 8)


def test_the_plan_reaches_the_decision() -> None:
    plan = GatePlan(min_gain=0.2, alpha=0.1, looks=(4,), shared_noise=False, deterministic=True)
    look = judge_look(BASE, {"a": BETTER}, plan=plan)
    assert look.decisions["a"] == decide(BASE, BETTER, min_gain=0.2, alpha=0.1, shared_noise=False, deterministic=True)


def test_each_adapter_is_judged_beside_the_bases_responses_that_it_has_a_pair_of() -> None:
    alone = judge_look(BASE[:1], {"a": BETTER[:1]}, plan=GatePlan(looks=(4,)))
    both = judge_look({"a": BASE[:1], "b": BASE}, {"a": BETTER[:1], "b": BETTER}, plan=GatePlan(looks=(4,)))
    assert [both.decisions[name].prompts for name in "ab"] == [1, len(BASE)]
    assert both.decisions["a"].gain == alone.decisions["a"].gain


def test_an_adapter_without_a_pair_makes_no_other_test_easier() -> None:
    alone = judge_look(BASE, {"a": BETTER}, plan=GatePlan(looks=(4,)))
    beside = judge_look(BASE, {"a": BETTER}, plan=GatePlan(looks=(4,)), unmeasured=1)
    assert alone.decisions["a"].alpha == 0.05
    assert beside.decisions["a"].alpha == 0.025
