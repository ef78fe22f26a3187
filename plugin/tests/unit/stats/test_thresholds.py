"""Each bar: value, verdict and why."""

import pytest

from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.stats.estimates import compare, compare_as_ratio, estimate_mean
from pytest_jarvis.stats.thresholds import (
    Policy,
    judge_estimate,
    judge_failure_share,
    judge_floors,
    judge_gain,
    withhold,
)

BASE = [[0.30, 0.34, 0.28, 0.32], [0.22, 0.25, 0.20, 0.21]]
BETTER = [[0.50, 0.55, 0.48, 0.51], [0.42, 0.45, 0.44, 0.40]]
UNCLEAR = [[0.18, 0.45, 0.28, 0.38], [0.10, 0.35, 0.22, 0.22]]
ZEROS = [[0.0, 0.0], [0.0, 0.0]]

PROVEN = decide(BASE * 4, BETTER * 4)
DISPROVEN = decide(BETTER * 4, BASE * 4)
UNDECIDED = decide(BASE, UNCLEAR)


@pytest.mark.parametrize(
    ("decision", "policy", "verdict", "why"),
    [
        (PROVEN, "proven", "PASS", "proven"),
        (DISPROVEN, "proven", "FAIL", "disproven"),
        (UNDECIDED, "proven", "INCONCLUSIVE", "undecided"),
        (PROVEN, "point", "PASS", "seen"),
        (DISPROVEN, "point", "FAIL", "not_seen"),
        (UNDECIDED, "point", "FAIL", "not_seen"),
        (PROVEN, "off", "NOT_JUDGED", "gate_off"),
        (decide(ZEROS, ZEROS, deterministic=True), "proven", "FAIL", "nothing_to_compare"),
        (decide(ZEROS, ZEROS), "proven", "INCONCLUSIVE", "nothing_to_compare"),
        (decide(ZEROS, ZEROS), "point", "FAIL", "nothing_to_compare"),
        (decide(ZEROS, ZEROS), "off", "NOT_JUDGED", "gate_off"),
        (decide([[0.96, 0.97]], [[1.0, 1.0]]), "proven", "NOT_JUDGED", "out_of_reach"),
        (decide([[0.96, 0.97]], [[1.0, 1.0]]), "off", "NOT_JUDGED", "gate_off"),
        (decide([[0.2]], [[0.9]]), "proven", "INCONCLUSIVE", "no_interval"),
        (decide([[0.2]], [[0.9]]), "point", "PASS", "seen"),
        (decide([[0.2]], [[0.9]], deterministic=True), "proven", "PASS", "proven"),
    ],
)
def test_a_gain_is_judged_as_the_policy_asks(decision: Decision, policy: Policy, verdict: str, why: str) -> None:
    threshold = judge_gain("relevance_gain", "jarvis", decision, bar=0.05, policy=policy)
    assert (threshold.verdict, threshold.why) == (verdict, why)
    assert (threshold.name, threshold.adapter, threshold.bar, threshold.direction) == (
        "relevance_gain",
        "jarvis",
        0.05,
        "at_least",
    )


def test_a_gain_carries_its_interval() -> None:
    assert PROVEN.gain_these is not None
    threshold = judge_gain("keyword_gain", "jarvis", PROVEN, bar=0.05, policy="proven")
    assert threshold.values == {"lower": PROVEN.gain_these[0], "upper": PROVEN.gain_these[1], "alpha": 0.05}
    assert (threshold.value, threshold.meets) == (PROVEN.gain, True)


def test_a_gain_on_new_prompts_carries_their_interval() -> None:
    decision = decide(BASE, BETTER, target="new", alpha=0.2)
    assert decision.gain_new is not None
    threshold = judge_gain("relevance_gain", "jarvis", decision, bar=0.05, policy="proven")
    assert threshold.values["lower"] == decision.gain_new[0]


def test_a_gain_out_of_reach_carries_the_base() -> None:
    threshold = judge_gain("relevance_gain", "j", decide([[0.96, 0.98]], [[1.0, 1.0]]), bar=0.05, policy="proven")
    assert threshold.values == {"base_mean": pytest.approx(0.97)}
    assert threshold.meets is False


@pytest.mark.parametrize(("policy", "why"), [("proven", "not_measured"), ("off", "gate_off")])
def test_what_was_not_measured_is_not_judged(policy: Policy, why: str) -> None:
    for threshold in (
        judge_gain("keyword_gain", "jarvis", None, bar=0.05, policy=policy),
        judge_estimate("absolute_gain", "jarvis", None, bar=0.05, policy=policy),
        judge_estimate("latency_ratio", "jarvis", compare_as_ratio(ZEROS, ZEROS), bar=0.05, policy=policy),
    ):
        assert (threshold.verdict, threshold.why, threshold.value, threshold.meets) == ("NOT_JUDGED", why, None, None)


def test_any_score_over_a_base_of_zero_meets_a_relative_bar() -> None:
    decisions = decide(ZEROS, BASE), decide(ZEROS, ZEROS), UNDECIDED
    thresholds = [judge_gain("relevance_gain", "jarvis", one, bar=0.05, policy="proven") for one in decisions]
    assert [threshold.meets for threshold in thresholds] == [True, False, False]


def test_an_estimate_without_an_interval_is_inconclusive() -> None:
    threshold = judge_estimate("absolute_gain", "jarvis", compare([[0.1]], [[0.9]]), bar=0.1, policy="proven")
    assert (threshold.verdict, threshold.why, threshold.meets) == ("INCONCLUSIVE", "no_interval", True)


@pytest.mark.parametrize(("bar", "verdict", "why"), [(0.1, "PASS", "seen"), (0.9, "FAIL", "not_seen")])
def test_the_value_seen_decides_when_the_policy_is_point(bar: float, verdict: str, why: str) -> None:
    threshold = judge_estimate("absolute_gain", "jarvis", compare([[0.1]], [[0.9]]), bar=bar, policy="point")
    assert (threshold.verdict, threshold.why, threshold.values) == (verdict, why, {})


CATEGORIES = {"a": estimate_mean(BETTER), "b": estimate_mean(UNCLEAR), "c": estimate_mean(BASE)}


def test_floors_are_judged_with_holms_correction() -> None:
    thresholds = judge_floors("jarvis", CATEGORIES, {"a": 0.3, "b": 0.3, "c": 0.5}, alpha=0.05, policy="proven")
    assert [(threshold.category, threshold.verdict, threshold.why) for threshold in thresholds] == [
        ("a", "PASS", "proven"),
        ("b", "INCONCLUSIVE", "undecided"),
        ("c", "FAIL", "disproven"),
    ]
    assert all(threshold.name == "category_floor" for threshold in thresholds)
    assert thresholds[0].value == CATEGORIES["a"].mean


def test_a_floor_that_alone_would_pass_may_not_pass_among_others() -> None:
    p_value = CATEGORIES["b"].p_at_least(0.19)
    assert p_value is not None
    assert 0.05 / 3 < p_value < 0.05
    (alone,) = judge_floors("jarvis", CATEGORIES, {"b": 0.19}, alpha=0.05, policy="proven")
    among = judge_floors("jarvis", CATEGORIES, {"b": 0.19, "a": 0.9, "c": 0.9}, alpha=0.05, policy="proven")
    assert (alone.verdict, among[0].verdict) == ("PASS", "INCONCLUSIVE")


@pytest.mark.parametrize(
    ("policy", "verdict", "why"), [("point", "FAIL", "not_seen"), ("off", "NOT_JUDGED", "gate_off")]
)
def test_a_floor_is_judged_as_the_policy_asks(policy: Policy, verdict: str, why: str) -> None:
    (threshold,) = judge_floors("jarvis", CATEGORIES, {"b": 0.3}, alpha=0.05, policy=policy)
    assert (threshold.verdict, threshold.why, threshold.meets) == (verdict, why, False)


def test_a_floor_of_a_category_that_was_not_measured_is_not_judged() -> None:
    (threshold,) = judge_floors("jarvis", {}, {"b": 0.3}, alpha=0.05, policy="proven")
    assert (threshold.category, threshold.verdict, threshold.why) == ("b", "NOT_JUDGED", "not_measured")


def test_a_floor_on_one_response_is_inconclusive() -> None:
    (threshold,) = judge_floors("jarvis", {"b": estimate_mean([[0.9]])}, {"b": 0.3}, alpha=0.05, policy="proven")
    assert (threshold.verdict, threshold.why) == ("INCONCLUSIVE", "no_interval")


@pytest.mark.parametrize(("failed", "verdict"), [(5, "PASS"), (6, "FAIL")])
def test_failures_are_counted_and_not_estimated(failed: int, verdict: str) -> None:
    threshold = judge_failure_share(failed, 100, bar=0.05, policy="proven")
    assert (threshold.verdict, threshold.adapter, threshold.direction) == (verdict, None, "at_most")
    assert threshold.values == {"failed": failed, "planned": 100}


def test_failures_of_nothing_are_not_judged() -> None:
    assert judge_failure_share(0, 0, bar=0.05, policy="proven").why == "not_measured"
    assert judge_failure_share(0, 10, bar=0.05, policy="off").why == "gate_off"


def test_what_is_withheld_keeps_its_value() -> None:
    threshold = withhold(judge_gain("relevance_gain", "jarvis", PROVEN, bar=0.05, policy="proven"))
    assert (threshold.verdict, threshold.why, threshold.value) == ("NOT_JUDGED", "run_not_judged", PROVEN.gain)
