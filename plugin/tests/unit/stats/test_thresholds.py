"""Each bar: value, verdict and why."""

from dataclasses import replace

import pytest

from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.stats.thresholds import Bar, JudgedBar, Policy, judge_bar, judge_failure_share, judge_gain, withhold
from pytest_jarvis.types import GatePlan

BASE = [[0.30, 0.34, 0.28, 0.32], [0.22, 0.25, 0.20, 0.21]]
BETTER = [[0.50, 0.55, 0.48, 0.51], [0.42, 0.45, 0.44, 0.40]]
UNCLEAR = [[0.18, 0.45, 0.28, 0.38], [0.10, 0.35, 0.22, 0.22]]
ZEROS = [[0.0, 0.0], [0.0, 0.0]]

CHANGE = Bar(name="absolute_gain", metric="jarvis_relevance", measure="change", bar=0.1, highest=1.0)
MEAN = Bar(name="done_share", metric="tool_routing", measure="mean", bar=0.5, highest=1.0)
RATIO = Bar(name="latency_ratio", metric="seconds", measure="ratio", bar=1.5, direction="at_most")
GUARD = Bar(name="no_drop", metric="keyword_match", measure="no_drop", bar=0.0, highest=1.0)


def judged(bar: Bar, base: list[list[float]], tuned: list[list[float]], policy: Policy = "proven") -> JudgedBar:
    return judge_bar(bar, "jarvis", (base, tuned), alpha=0.05, plan=GatePlan(policy=policy))


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
        judged(CHANGE, [], [], policy).threshold,
        judged(RATIO, ZEROS, ZEROS, policy).threshold,
    ):
        assert (threshold.verdict, threshold.why, threshold.value, threshold.meets) == ("NOT_JUDGED", why, None, None)


def test_any_score_over_a_base_of_zero_meets_a_relative_bar() -> None:
    decisions = decide(ZEROS, BASE), decide(ZEROS, ZEROS), UNDECIDED
    thresholds = [judge_gain("relevance_gain", "jarvis", one, bar=0.05, policy="proven") for one in decisions]
    assert [threshold.meets for threshold in thresholds] == [True, False, False]


def test_a_figure_without_an_interval_is_inconclusive() -> None:
    threshold = judged(CHANGE, [[0.1]], [[0.9]]).threshold
    assert (threshold.verdict, threshold.why, threshold.meets) == ("INCONCLUSIVE", "no_interval", True)


@pytest.mark.parametrize(("bar", "verdict", "why"), [(0.1, "PASS", "seen"), (0.9, "FAIL", "not_seen")])
def test_the_value_seen_decides_when_the_policy_is_point(bar: float, verdict: str, why: str) -> None:
    threshold = judged(replace(CHANGE, bar=bar), [[0.1]], [[0.9]], "point").threshold
    assert (threshold.verdict, threshold.why, threshold.values) == (verdict, why, {})


@pytest.mark.parametrize("bar", [CHANGE, RATIO, MEAN, replace(CHANGE, direction="at_most"), replace(MEAN, bar=0.9)])
@pytest.mark.parametrize("tuned", [BETTER, UNCLEAR, BASE])
def test_a_verdict_agrees_with_its_interval(bar: Bar, tuned: list[list[float]]) -> None:
    one = judged(bar, BASE * 4, tuned * 4).threshold
    low, high = one.values["lower"], one.values["upper"]
    sure, never = (low >= one.bar, high < one.bar) if bar.direction == "at_least" else (high <= one.bar, low > one.bar)
    assert (sure, never) == (one.verdict == "PASS", one.verdict == "FAIL")


def test_shares_that_are_all_alike_leave_room_for_what_was_not_seen() -> None:
    all_done = [[1.0] * 4] * 5
    unseen = 1 - 0.025 ** (1 / 20)
    few, many = judged(MEAN, all_done[:1], all_done[:1]), judged(MEAN, all_done, all_done)
    assert ("INCONCLUSIVE", "PASS") == (few.threshold.verdict, many.threshold.verdict)
    assert (pytest.approx(1 - unseen), 1.0) == (many.threshold.values["lower"], many.threshold.values["upper"])


@pytest.mark.parametrize(("bar", "verdict"), [(0.5, "PASS"), (1.0, "PASS"), (1.1, "FAIL")])
def test_without_noise_the_value_decides_on_both_sides(bar: float, verdict: str) -> None:
    plan = GatePlan(deterministic=True)
    least = judge_bar(replace(MEAN, bar=bar), "jarvis", ([[1.0]], [[1.0]]), alpha=0.05, plan=plan)
    assert verdict == least.threshold.verdict
    most = replace(MEAN, bar=bar, direction="at_most")
    assert (1.0 <= bar) == (judge_bar(most, "jarvis", ([[1.0]], [[1.0]]), alpha=0.05, plan=plan).proof == "PASS")


@pytest.mark.parametrize("policy", ["proven", "point"])
def test_a_guard_holds_unless_a_drop_is_proven_by_either_policy(policy: Policy) -> None:
    held, dropped = judged(GUARD, BASE * 4, UNCLEAR * 4, policy), judged(GUARD, BETTER * 4, BASE * 4, policy)
    assert ("PASS", "no_drop_proven", False) == (held.threshold.verdict, held.threshold.why, held.is_open)
    assert ("FAIL", "disproven", False) == (dropped.threshold.verdict, dropped.threshold.why, dropped.threshold.meets)


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
