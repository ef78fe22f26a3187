"""Looks, Holm, and both together: which level a decision is taken at, and when the drawing stops."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_jarvis.stats.decision import decide
from pytest_jarvis.stats.sequential import (
    LOOKS,
    HolmStep,
    Look,
    compare_looks,
    crossing_probability,
    holm,
    judge_look,
    look_alpha,
)
from pytest_jarvis.stats.thresholds import Bar
from pytest_jarvis.types import GatePlan

Row = list[float]


def arm(seed: int, level: float, *, replicates: int = 4, noise: float = 0.1) -> list[Row]:
    source = random.Random(seed)  # noqa: S311 - simulated scores
    return [[min(1.0, max(0.0, source.gauss(level, noise))) for _ in range(replicates)] for _ in range(30)]


GAIN = Bar(name="relevance_gain", metric="jarvis_relevance", measure="gain", bar=0.05)


def look_at(
    base: list[Row], adapters: dict[str, list[Row]], plan: GatePlan, index: int = 0, earlier: Look | None = None
) -> Look:
    """Judge the relevance gain alone."""
    return judge_look(
        {name: {GAIN: (base, one)} for name, one in adapters.items()}, plan=plan, index=index, earlier=earlier
    )


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


def test_holm_compares_with_the_level_that_looks_give_each_share() -> None:
    steps = holm([0.006, 0.02], 0.05, look_alpha)
    assert steps == (HolmStep(rejected=True, alpha=0.025), HolmStep(rejected=True, alpha=0.05))


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([], 0.05) == ()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(min_value=0, max_value=1), max_size=6))
def test_holm_rejects_all_that_bonferroni_does_and_nothing_above_the_level(p_values: list[float]) -> None:
    for p_value, step in zip(p_values, holm(p_values, 0.05), strict=True):
        assert step.rejected or p_value > 0.05 / len(p_values)
        assert not step.rejected or p_value <= 0.05


def test_one_adapter_at_the_first_look_is_decided_at_pococks_level() -> None:
    look = look_at(BASE, {"jarvis": BETTER}, plan=GatePlan())
    assert look.decisions == {"jarvis": decide(BASE, BETTER, alpha=0.0218)}
    assert (look.undecided, look.next_look) == ((), None)


def test_an_undecided_adapter_asks_for_the_next_look() -> None:
    look = look_at(BASE, {"jarvis": UNCLEAR}, plan=GatePlan())
    assert (look.undecided, look.next_look) == (("jarvis",), 8)


def test_the_last_look_stops_whatever_it_says() -> None:
    look = look_at(BASE, {"jarvis": UNCLEAR}, plan=GatePlan(), index=2)
    assert (look.undecided, look.next_look) == (("jarvis",), None)


def test_a_fixed_number_of_responses_is_decided_at_the_whole_level() -> None:
    look = look_at(BASE, {"jarvis": UNCLEAR}, plan=GatePlan(looks=(4,)))
    assert look.decisions["jarvis"].alpha == 0.05
    assert look.next_look is None


def test_a_look_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="look 3 does not exist; there are 3, from 0"):
        look_at(BASE, {"jarvis": BETTER}, plan=GatePlan(), index=3)


def test_more_looks_do_not_help_where_the_bar_is_out_of_reach() -> None:
    high = [[0.98, 0.97, 0.99, 0.98]] * 3
    look = look_at(high, {"jarvis": high}, plan=GatePlan())
    assert look.decisions["jarvis"].ground == "out_of_reach"
    assert (look.undecided, look.next_look) == ((), None)


ALL = GatePlan(looks=(4,), require="all")


def test_several_adapters_share_the_error() -> None:
    look = look_at(BASE, {"a": BETTER, "b": UNCLEAR, "c": MUCH_BETTER}, plan=ALL)
    assert {name: decision.verdict for name, decision in look.decisions.items()} == {
        "a": "PASS",
        "b": "INCONCLUSIVE",
        "c": "PASS",
    }
    assert {decision.alpha for decision in look.decisions.values()} == {0.05 / 3, 0.05 / 2}
    # The smallest p-value among the fails is compared with the strictest level, and so is the undecided interval.
    assert look.decisions["b"].alpha == 0.05 / 3
    assert list(look.decisions) == ["a", "b", "c"]
    assert look.undecided == ("b",)


def test_the_adapter_that_must_pass_is_tested_alone_and_the_others_among_themselves() -> None:
    look = look_at(BASE, {"a": BETTER, "b": UNCLEAR, "c": MUCH_BETTER}, plan=GatePlan(looks=(4,)))
    assert [0.05, 0.025, 0.025] == [look.decisions[name].alpha for name in "abc"]


def test_a_fail_is_corrected_among_the_fails() -> None:
    look = look_at(BASE, {"a": WORSE, "b": BETTER}, plan=ALL)
    assert {name: (decision.verdict, decision.alpha) for name, decision in look.decisions.items()} == {
        "a": ("FAIL", 0.025),
        "b": ("PASS", 0.025),
    }


def test_what_an_earlier_look_settled_stands_and_leaves_more_to_the_others() -> None:
    plan = GatePlan(require="any")
    first = look_at(BASE, {"a": BETTER, "b": UNCLEAR}, plan=plan)
    assert first.undecided == ("b",)
    second = look_at(
        arm(0, 0.3, replicates=8), {"a": WORSE, "b": arm(3, 0.45, replicates=8)}, plan=plan, index=1, earlier=first
    )
    assert second.decisions["a"] == first.decisions["a"]
    assert (second.decisions["b"].verdict, second.decisions["b"].alpha) == ("PASS", 0.0218)


def test_a_failed_adapter_stays_among_those_that_have_not_passed() -> None:
    plan = GatePlan(looks=(4, 8), require="all")
    first = look_at(BASE, {"a": WORSE, "b": UNCLEAR}, plan=plan)
    assert first.undecided == ("b",)
    second = look_at(BASE, {"a": BETTER, "b": BETTER}, plan=plan, index=1, earlier=first)
    assert second.decisions["b"].alpha == look_alpha(0.025, (4, 8))


def test_an_adapter_without_any_estimate_of_its_noise_is_never_settled() -> None:
    look = look_at([[0.2]], {"a": [[0.9]]}, plan=GatePlan())
    assert (look.decisions["a"].ground, look.undecided, look.next_look) == ("no_variance", ("a",), 8)


def test_the_plan_reaches_the_decision() -> None:
    plan = GatePlan(min_gain=0.2, alpha=0.1, looks=(4,), shared_noise=False, deterministic=True)
    look = judge_look({"a": {replace(GAIN, bar=0.2): (BASE, BETTER)}}, plan=plan)
    assert look.decisions["a"] == decide(BASE, BETTER, min_gain=0.2, alpha=0.1, shared_noise=False, deterministic=True)


def test_each_adapter_is_judged_beside_the_bases_responses_that_it_has_a_pair_of() -> None:
    alone = look_at(BASE[:9], {"a": BETTER[:9]}, plan=ALL)
    both = judge_look({"a": {GAIN: (BASE[:9], BETTER[:9])}, "b": {GAIN: (BASE, BETTER)}}, plan=ALL)
    assert [both.decisions[name].prompts for name in "ab"] == [9, len(BASE)]
    assert both.decisions["a"].gain == alone.decisions["a"].gain


def test_an_adapter_without_a_pair_makes_no_other_test_easier_and_asks_for_no_look() -> None:
    look = judge_look({"a": {GAIN: (BASE, BETTER)}, "b": {GAIN: ([], [])}}, plan=GatePlan(require="any"))
    assert 0.0104 == look.decisions["a"].alpha
    assert ((), None) == (look.undecided, look.next_look)


SHARE = Bar(name="done_share", metric="tool_routing", measure="mean", bar=0.5, highest=1.0, is_optional=True)
NO_DROP = Bar(name="no_drop", metric="keyword_match", measure="no_drop", bar=0.0, highest=1.0, is_optional=True)
TWO = tuple(Bar(name="no_drop", metric=name, measure="no_drop", bar=0.0, highest=1.0) for name in ("deeds", "keywords"))


def bars(found: dict[Bar, list[Row]], index: int = 0, earlier: Look | None = None) -> Look:
    """Judge bars on scores of one adapter over `BASE`."""
    return judge_look(
        {"a": {bar: (BASE, scores) for bar, scores in found.items()}}, plan=GatePlan(), index=index, earlier=earlier
    )


def test_every_bar_is_judged_at_the_level_of_the_look() -> None:
    look = bars({GAIN: BETTER, SHARE: MUCH_BETTER, NO_DROP: BETTER})
    assert {"done_share": 0.0218, "no_drop": 0.0218} == {one.name: one.values["alpha"] for one in look.thresholds}
    assert 0.0218 == look.decisions["a"].alpha


def test_an_open_bar_asks_for_the_next_look_though_the_gain_is_proven() -> None:
    first = bars({GAIN: BETTER, SHARE: BETTER})
    assert (("a",), 8) == (first.undecided, first.next_look)
    second = bars({GAIN: UNCLEAR, SHARE: MUCH_BETTER}, index=1, earlier=first)
    assert second.decisions == first.decisions
    assert (["PASS"], None) == ([one.verdict for one in second.thresholds], second.next_look)


def test_a_bar_that_fails_ends_the_drawing_whatever_the_others_say() -> None:
    look = bars({GAIN: UNCLEAR, SHARE: UNCLEAR})
    assert ("INCONCLUSIVE", ["FAIL"], None) == (
        look.decisions["a"].verdict,
        [one.verdict for one in look.thresholds],
        look.next_look,
    )


@pytest.mark.parametrize(
    ("tuned", "verdict", "why"),
    [(BETTER, "PASS", "no_drop_proven"), (UNCLEAR, "PASS", "no_drop_proven"), (WORSE, "FAIL", "disproven")],
)
def test_a_guard_fails_by_a_proven_drop_only_and_asks_for_no_look(tuned: list[Row], verdict: str, why: str) -> None:
    look = bars({GAIN: BETTER, NO_DROP: tuned})
    (guard,) = look.thresholds
    assert (verdict, why, verdict == "PASS", None) == (guard.verdict, guard.why, guard.meets, look.next_look)


def test_guards_share_the_error_and_a_drop_may_be_proven_at_a_later_look() -> None:
    first = bars({GAIN: UNCLEAR, **dict.fromkeys(TWO, UNCLEAR)})
    assert [0.0104, 0.0104] == [one.values["alpha"] for one in first.thresholds]
    second = bars({GAIN: BETTER, TWO[0]: UNCLEAR, TWO[1]: WORSE}, index=1, earlier=first)
    assert ["PASS", "FAIL"] == [one.verdict for one in second.thresholds]


def test_a_default_bar_is_left_out_where_its_metric_was_not_measured() -> None:
    look = judge_look({"a": {GAIN: (BASE, BETTER), SHARE: ([], []), NO_DROP: ([], [])}}, plan=GatePlan())
    assert ((), None) == (look.thresholds, look.next_look)


def test_a_gain_beside_is_decided_on_and_does_not_keep_the_drawing_going() -> None:
    beside = replace(GAIN, is_beside=True)
    look = bars({beside: UNCLEAR, SHARE: MUCH_BETTER})
    assert ("INCONCLUSIVE", ()) == (look.decisions["a"].verdict, look.undecided)


def shifted(scores: list[Row], first: float) -> list[Row]:
    """Return the scores with the four of the first look moved."""
    return [[score + first * (number < 4) for number, score in enumerate(row)] for row in scores]


def test_looks_that_share_an_effect_are_said_to_differ() -> None:
    base, tuned = arm(5, 0.3, replicates=8), arm(6, 0.33, replicates=8)
    looks = [look_at(base, {"a": scores}, plan=GatePlan(), index=1) for scores in (tuned, shifted(tuned, 0.15))]
    codes = [[caution.code for caution in look.decisions["a"].cautions] for look in looks]
    assert [False, True] == ["looks_differ" in found for found in codes]


def test_looks_of_one_noise_are_said_to_differ_in_one_run_of_a_hundred() -> None:
    p_values = [
        compare_looks(
            arm(seed, 0.3, replicates=8), arm(seed + 1000, 0.3, replicates=8), 1.05, (4, 8), shared_noise=True
        )
        for seed in range(200)
    ]
    assert 3 <= sum(p is not None and p <= 0.05 for p in p_values) <= 20
    assert compare_looks(BASE, BETTER, 1.05, (4,), shared_noise=True) is None
