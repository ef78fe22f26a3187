"""One verdict and an exit status for the whole run."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.stats.gate import Counts, judge_run
from pytest_jarvis.stats.thresholds import Bar, judge_bar, judge_gain
from pytest_jarvis.types import GatePlan, Require

BASE = [[0.30, 0.34, 0.28, 0.32], [0.22, 0.25, 0.20, 0.21]]
PASS = decide(BASE * 4, [[0.50, 0.55, 0.48, 0.51], [0.42, 0.45, 0.44, 0.40]] * 4)
FAIL = decide(BASE * 4, [[0.20, 0.24, 0.18, 0.22], [0.12, 0.15, 0.10, 0.11]] * 4)
OVER = decide(BASE, [[0.20, 0.55, 0.30, 0.40], [0.10, 0.45, 0.25, 0.34]])
UNDER = decide(BASE, [[0.18, 0.45, 0.28, 0.38], [0.10, 0.35, 0.22, 0.22]])
OUT_OF_REACH = decide([[0.96, 0.98]], [[1.0, 1.0]])
DECISIONS = {"PASS": PASS, "FAIL": FAIL, "OVER": OVER, "UNDER": UNDER, "OUT": OUT_OF_REACH}

ABSOLUTE = Bar(name="absolute_gain", metric="jarvis_relevance", measure="change", bar=0.1, highest=1.0)
SLOWER = Bar(name="latency_ratio", metric="seconds", measure="ratio", bar=2.0, direction="at_most")

FULL = Counts(prompts_planned=30, prompts_selected=30, prompts_measured=30, responses_planned=240, responses_failed=0)
PARTIAL = replace(FULL, prompts_selected=10, prompts_measured=10)


def codes(outcome_reasons: object) -> list[str]:
    return [reason.code for reason in outcome_reasons]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("decision", "inconclusive", "verdict", "exit_failed", "reasons"),
    [
        (PASS, "fail", "PASS", False, []),
        (FAIL, "fail", "FAIL", True, []),
        (FAIL, "warn", "FAIL", True, []),
        (OVER, "fail", "INCONCLUSIVE", True, []),
        (OVER, "warn", "INCONCLUSIVE", False, ["tolerated"]),
        (UNDER, "fail", "INCONCLUSIVE", True, ["seen_under_bar"]),
        (UNDER, "warn", "INCONCLUSIVE", True, ["seen_under_bar"]),
        (OUT_OF_REACH, "warn", "NOT_JUDGED", True, ["seen_under_bar"]),
    ],
)
def test_a_full_run_is_judged_by_its_candidate(
    decision: Decision, inconclusive: Literal["fail", "warn"], verdict: str, exit_failed: bool, reasons: list[str]
) -> None:
    outcome = judge_run({"jarvis": decision}, FULL, GatePlan(inconclusive=inconclusive))
    assert (outcome.verdict, outcome.exit_failed, codes(outcome.reasons)) == (verdict, exit_failed, reasons)


@pytest.mark.parametrize(
    ("decision", "verdict", "exit_failed"),
    [(PASS, "PASS", False), (OVER, "PASS", False), (UNDER, "FAIL", True), (FAIL, "FAIL", True)],
)
def test_the_plain_rule_looks_at_the_value_alone(decision: Decision, verdict: str, exit_failed: bool) -> None:
    outcome = judge_run({"jarvis": decision}, FULL, GatePlan(policy="point"))
    assert (outcome.verdict, outcome.exit_failed) == (verdict, exit_failed)


@pytest.mark.parametrize("facts", [FULL, PARTIAL])
def test_a_gate_that_is_off_never_fails_a_run_that_measured(facts: Counts) -> None:
    outcome = judge_run({"jarvis": FAIL}, facts, GatePlan(policy="off", strict=True))
    assert (outcome.verdict, outcome.exit_failed) == ("OFF", False)
    assert {threshold.why for threshold in outcome.thresholds} == {"gate_off"}


@pytest.mark.parametrize("rules", [GatePlan(), GatePlan(policy="off"), GatePlan(policy="point", inconclusive="warn")])
@pytest.mark.parametrize("decision", [None, PASS])
def test_nothing_measured_is_never_green(rules: GatePlan, decision: Decision | None) -> None:
    outcome = judge_run({"jarvis": decision}, replace(FULL, prompts_measured=0), rules)
    assert (outcome.verdict, outcome.exit_failed) == ("NOT_JUDGED", True)
    assert codes(outcome.reasons)[0] == "nothing_measured"


def test_no_adapter_at_all_is_nothing_measured() -> None:
    empty = Counts(prompts_planned=0, prompts_selected=0, prompts_measured=0, responses_planned=0, responses_failed=0)
    outcome = judge_run({}, empty, GatePlan())
    assert (outcome.verdict, outcome.exit_failed, codes(outcome.reasons)) == ("NOT_JUDGED", True, ["nothing_measured"])


OBSTACLES = [
    (replace(FULL, interrupted=True), "interrupted", {}),
    (PARTIAL, "partial_selection", {"selected": 10, "planned": 30}),
    (replace(FULL, responses_failed=24), "failures", {"failed": 24, "planned": 240, "share": 0.1, "allowed": 0.05}),
    (replace(FULL, prompts_measured=29), "missing_pairs", {"missing": 1, "selected": 30, "responses": 0}),
    (replace(FULL, responses_missing=7), "missing_pairs", {"missing": 0, "selected": 30, "responses": 7}),
    (replace(FULL, prompts_changed=True), "prompts_changed", {}),
]


@pytest.mark.parametrize(("facts", "code", "values"), OBSTACLES)
def test_a_run_that_is_not_whole_is_not_judged_and_says_why(facts: Counts, code: str, values: dict[str, float]) -> None:
    outcome = judge_run({"jarvis": PASS}, facts, GatePlan())
    meant = code in {"interrupted", "partial_selection"}
    assert (outcome.verdict, outcome.exit_failed) == ("NOT_JUDGED", not meant)
    assert (outcome.reasons[0].code, outcome.reasons[0].values) == (code, values)
    assert codes(outcome.reasons[1:]) == ([] if meant else ["unjudged"])
    assert outcome.thresholds[1].why == "run_not_judged"


@pytest.mark.parametrize("plan", [GatePlan(unjudged="warn"), GatePlan(inconclusive="warn")])
def test_a_run_that_is_not_judged_is_tolerated_when_the_plan_says_so(plan: GatePlan) -> None:
    for facts, code, _ in OBSTACLES[2:]:
        outcome = judge_run({"jarvis": PASS}, facts, plan)
        assert ("NOT_JUDGED", False, [code, "tolerated"]) == (
            outcome.verdict,
            outcome.exit_failed,
            codes(outcome.reasons),
        )


@pytest.mark.parametrize(("facts", "code", "values"), OBSTACLES)
def test_a_run_that_is_not_whole_fails_when_strict(facts: Counts, code: str, values: dict[str, float]) -> None:
    outcome = judge_run({"jarvis": PASS}, facts, GatePlan(strict=True))
    assert (outcome.verdict, outcome.exit_failed) == ("NOT_JUDGED", True)
    assert codes(outcome.reasons) == [code, "strict"]


def test_a_selection_is_not_failed_for_what_it_shows() -> None:
    assert not judge_run({"jarvis": FAIL}, PARTIAL, GatePlan()).exit_failed


def test_a_full_run_with_failures_fails_when_what_was_seen_is_under_the_bar() -> None:
    outcome = judge_run({"jarvis": UNDER}, replace(FULL, responses_failed=1), GatePlan(max_failure_share=0.0))
    assert (outcome.verdict, outcome.exit_failed) == ("NOT_JUDGED", True)
    assert codes(outcome.reasons) == ["failures", "seen_under_bar"]


def test_failures_within_the_allowed_share_are_judged() -> None:
    outcome = judge_run({"jarvis": PASS}, replace(FULL, responses_failed=12), GatePlan())
    assert outcome.verdict == "PASS"
    assert (outcome.thresholds[0].name, outcome.thresholds[0].verdict) == ("failure_share", "PASS")


def test_failures_above_the_allowed_share_fail_their_own_bar_only() -> None:
    outcome = judge_run({"jarvis": PASS}, replace(FULL, responses_failed=24), GatePlan())
    assert (outcome.thresholds[0].verdict, outcome.adapters[0].verdict) == ("FAIL", "NOT_JUDGED")


@pytest.mark.parametrize(
    ("names", "require", "verdict", "exit_failed"),
    [
        (["PASS", "FAIL"], "first", "PASS", False),
        (["FAIL", "PASS"], "first", "FAIL", True),
        (["FAIL", "PASS"], "any", "PASS", False),
        (["FAIL", "OVER"], "any", "INCONCLUSIVE", True),
        (["FAIL", "OUT"], "any", "NOT_JUDGED", True),
        (["PASS", "FAIL"], "all", "FAIL", True),
        (["PASS", "OVER"], "all", "INCONCLUSIVE", True),
        (["OVER", "OUT"], "all", "NOT_JUDGED", True),
        (["PASS", "PASS"], "all", "PASS", False),
    ],
)
def test_several_adapters_count_as_required(
    names: list[str], require: Require, verdict: str, exit_failed: bool
) -> None:
    decisions = {f"v{number}": DECISIONS[name] for number, name in enumerate(names)}
    outcome = judge_run(decisions, FULL, GatePlan(require=require))
    assert (outcome.verdict, outcome.exit_failed) == (verdict, exit_failed)


@pytest.mark.parametrize(("require", "exit_failed"), [("any", False), ("all", True), ("first", False)])
def test_an_inconclusive_run_is_let_through_only_when_what_was_seen_meets_the_bar(
    require: Require, exit_failed: bool
) -> None:
    outcome = judge_run({"a": OVER, "b": UNDER}, FULL, GatePlan(require=require, inconclusive="warn"))
    assert (outcome.verdict, outcome.exit_failed) == ("INCONCLUSIVE", exit_failed)


def test_an_adapter_that_was_not_measured_is_not_judged_beside_one_that_was() -> None:
    outcome = judge_run({"a": PASS, "b": None}, FULL, GatePlan(require="all"))
    assert [(adapter.name, adapter.verdict) for adapter in outcome.adapters] == [("a", "PASS"), ("b", "NOT_JUDGED")]


KEYWORDS = judge_gain("keyword_gain", "jarvis", None, bar=0.05, policy="proven")
"""A bar that was asked for and has no value."""


@pytest.mark.parametrize(
    ("decision", "inconclusive", "verdict", "exit_failed", "reasons"),
    [
        (PASS, "fail", "NOT_JUDGED", True, ["bar_not_measured"]),
        (PASS, "warn", "NOT_JUDGED", False, ["bar_not_measured", "tolerated"]),
        (OVER, "fail", "NOT_JUDGED", True, ["bar_not_measured"]),
        (OVER, "warn", "NOT_JUDGED", False, ["bar_not_measured", "tolerated"]),
        (UNDER, "warn", "NOT_JUDGED", True, ["bar_not_measured", "seen_under_bar"]),
        (None, "fail", "NOT_JUDGED", True, ["bar_not_measured"]),
        (FAIL, "warn", "FAIL", True, []),
    ],
)
def test_a_bar_that_was_not_measured_fails_the_run_unless_it_is_let_through(
    decision: Decision | None,
    inconclusive: Literal["fail", "warn"],
    verdict: str,
    exit_failed: bool,
    reasons: list[str],
) -> None:
    outcome = judge_run({"jarvis": decision}, FULL, GatePlan(inconclusive=inconclusive), [KEYWORDS])
    assert (verdict, exit_failed, reasons) == (outcome.verdict, outcome.exit_failed, codes(outcome.reasons))


def test_a_bar_that_was_not_measured_is_not_let_through_when_strict() -> None:
    outcome = judge_run({"jarvis": PASS}, FULL, GatePlan(inconclusive="warn", strict=True), [KEYWORDS])
    assert (True, ["bar_not_measured", "strict"]) == (outcome.exit_failed, codes(outcome.reasons))


def test_a_bar_that_was_not_measured_is_not_what_keeps_a_selection_from_being_judged() -> None:
    outcome = judge_run({"jarvis": PASS}, PARTIAL, GatePlan(), [KEYWORDS])
    assert (False, ["partial_selection"]) == (outcome.exit_failed, codes(outcome.reasons))


def test_a_bar_that_an_adapter_which_need_not_pass_lacks_changes_nothing() -> None:
    outcome = judge_run({"other": PASS, "jarvis": PASS}, FULL, GatePlan(), [KEYWORDS])
    assert ("PASS", False, []) == (outcome.verdict, outcome.exit_failed, codes(outcome.reasons))


def test_a_bar_without_an_estimate_of_its_noise_leaves_the_run_inconclusive() -> None:
    bar = judge_bar(ABSOLUTE, "jarvis", ([[0.1]], [[0.9]]), alpha=0.05, plan=GatePlan()).threshold
    outcome = judge_run({"jarvis": PASS}, FULL, GatePlan(), [bar])
    assert ("INCONCLUSIVE", True) == (outcome.verdict, outcome.exit_failed)


def test_a_gate_that_is_off_passes_a_run_without_the_relevance() -> None:
    outcome = judge_run({"jarvis": None}, FULL, GatePlan(policy="off"))
    assert ("OFF", False, []) == (outcome.verdict, outcome.exit_failed, codes(outcome.reasons))


def with_failures(base: int, first: int, second: int) -> Counts:
    """Return a full run of two adapters with so many failures of 100 in each arm."""
    by_arm = {"base": (base, 100), "a": (first, 100), "b": (second, 100)}
    return replace(FULL, responses_planned=300, responses_failed=base + first + second, failures_by_arm=by_arm)


@pytest.mark.parametrize(
    ("failed", "require", "verdict", "exit_failed", "reasons"),
    [
        ((0, 0, 0), "all", "PASS", False, []),
        ((0, 0, 90), "first", "PASS", False, []),
        ((0, 0, 90), "any", "PASS", False, []),
        ((0, 0, 90), "all", "NOT_JUDGED", True, ["failures", "unjudged"]),
        ((0, 90, 90), "any", "NOT_JUDGED", True, ["failures", "unjudged"]),
        ((0, 6, 0), "first", "NOT_JUDGED", True, ["failures", "unjudged"]),
        ((6, 0, 0), "first", "NOT_JUDGED", True, ["failures", "unjudged"]),
        ((6, 0, 0), "any", "NOT_JUDGED", True, ["failures", "unjudged"]),
        ((5, 5, 5), "all", "PASS", False, []),
    ],
)
def test_an_arm_answers_for_its_own_failures_and_those_of_the_base(
    failed: tuple[int, int, int], require: Require, verdict: str, exit_failed: bool, reasons: list[str]
) -> None:
    rules = GatePlan(require=require)
    outcome = judge_run({"a": PASS, "b": PASS}, with_failures(*failed), rules)
    assert (verdict, exit_failed, reasons) == (outcome.verdict, outcome.exit_failed, codes(outcome.reasons))


@pytest.mark.parametrize(
    ("measured", "require", "verdict", "reasons"),
    [
        ((30, 0), "first", "PASS", []),
        ((30, 0), "any", "PASS", []),
        ((30, 0), "all", "NOT_JUDGED", ["nothing_measured", "missing_pairs"]),
        ((30, 29), "all", "NOT_JUDGED", ["missing_pairs", "unjudged"]),
        ((30, 29), "any", "PASS", []),
        ((29, 30), "first", "NOT_JUDGED", ["missing_pairs", "unjudged"]),
        ((29, 29), "any", "NOT_JUDGED", ["missing_pairs", "unjudged"]),
        ((0, 30), "first", "NOT_JUDGED", ["nothing_measured", "missing_pairs"]),
    ],
)
def test_an_adapter_answers_for_its_own_pairs(
    measured: tuple[int, int], require: Require, verdict: str, reasons: list[str]
) -> None:
    facts = replace(FULL, prompts_measured=min(measured), measured_by_adapter=dict(zip("ab", measured, strict=True)))
    outcome = judge_run({"a": PASS, "b": PASS}, facts, GatePlan(require=require))
    assert (verdict, reasons) == (outcome.verdict, codes(outcome.reasons))


def test_an_adapter_without_all_its_pairs_is_not_judged_beside_one_that_is() -> None:
    facts = replace(FULL, measured_by_adapter={"a": 30, "b": 29})
    outcome = judge_run({"a": PASS, "b": PASS}, facts, GatePlan())
    assert ["PASS", "NOT_JUDGED"] == [adapter.verdict for adapter in outcome.adapters]


def test_failures_are_told_of_the_worst_arm() -> None:
    outcome = judge_run({"a": PASS, "b": PASS}, with_failures(10, 20, 90), GatePlan())
    assert [{"failed": 20, "planned": 100, "share": 0.2, "allowed": 0.05}] == [
        dict(one.values) for one in outcome.reasons[:1]
    ]


def test_each_arm_has_a_bar_on_its_failures() -> None:
    outcome = judge_run({"a": PASS, "b": PASS}, with_failures(0, 0, 90), GatePlan())
    assert [("base", "PASS"), ("a", "PASS"), ("b", "FAIL")] == [
        (bar.adapter, bar.verdict) for bar in outcome.thresholds if bar.name == "failure_share"
    ]


def test_an_adapter_that_fails_too_often_is_not_judged_beside_one_that_is() -> None:
    outcome = judge_run({"a": PASS, "b": PASS}, with_failures(0, 0, 90), GatePlan())
    assert ["PASS", "NOT_JUDGED"] == [adapter.verdict for adapter in outcome.adapters]


def test_no_adapter_that_passes_beside_one_that_failed_too_often_is_not_green() -> None:
    rules = GatePlan(require="any")
    outcome = judge_run({"a": FAIL, "b": PASS}, with_failures(0, 0, 90), rules)
    assert ("NOT_JUDGED", True, ["failures"]) == (outcome.verdict, outcome.exit_failed, codes(outcome.reasons))


def test_failures_of_an_arm_do_not_count_when_the_gate_is_off() -> None:
    outcome = judge_run({"a": PASS, "b": PASS}, with_failures(90, 90, 90), GatePlan(policy="off"))
    assert ("OFF", False) == (outcome.verdict, outcome.exit_failed)


def test_a_further_bar_of_an_adapter_counts_for_that_adapter() -> None:
    slow = judge_bar(SLOWER, "b", ([[1.0, 1.1]], [[9.0, 9.1]]), alpha=0.05, plan=GatePlan()).threshold
    outcome = judge_run({"a": PASS, "b": PASS}, FULL, GatePlan(require="all"), [slow])
    assert [adapter.verdict for adapter in outcome.adapters] == ["PASS", "FAIL"]
    assert outcome.verdict == "FAIL"
    assert judge_run({"a": PASS, "b": PASS}, FULL, GatePlan(require="first"), [slow]).verdict == "PASS"


kinds = st.sampled_from(sorted(DECISIONS))


@given(
    names=st.lists(kinds, min_size=1, max_size=3),
    require=st.sampled_from(["first", "any", "all"]),
    policy=st.sampled_from(["proven", "point"]),
    inconclusive=st.sampled_from(["fail", "warn"]),
    strict=st.booleans(),
    facts=st.sampled_from([FULL, replace(FULL, responses_failed=100), replace(FULL, prompts_changed=True)]),
)
def test_a_candidate_seen_under_the_bar_never_exits_0(
    *,
    names: list[str],
    require: Require,
    policy: Literal["proven", "point"],
    inconclusive: Literal["fail", "warn"],
    strict: bool,
    facts: Counts,
) -> None:
    decisions = {str(number): DECISIONS[name] for number, name in enumerate(names)}
    rules = GatePlan(policy=policy, inconclusive=inconclusive, strict=strict, require=require)
    under = [name in {"FAIL", "UNDER", "OUT"} for name in names]
    hopeless = {"first": under[0], "any": all(under), "all": any(under)}[require]
    if hopeless:
        assert judge_run(decisions, facts, rules).exit_failed


@pytest.mark.parametrize("inconclusive", ["fail", "warn"])
def test_an_adapter_whose_answers_score_as_much_at_other_prompts_is_never_green(
    inconclusive: Literal["fail", "warn"],
) -> None:
    outcome = judge_run({"jarvis": PASS}, FULL, GatePlan(inconclusive=inconclusive), blind=["jarvis"])
    assert ("INCONCLUSIVE", True, ["measure_blind"]) == (outcome.verdict, outcome.exit_failed, codes(outcome.reasons))


def test_a_blind_adapter_beside_one_that_passes_costs_nothing_where_one_is_enough() -> None:
    outcome = judge_run({"a": PASS, "b": PASS}, FULL, GatePlan(require="any"), blind=["a"])
    assert ("PASS", False, []) == (outcome.verdict, outcome.exit_failed, codes(outcome.reasons))


def test_a_blind_adapter_that_fails_has_failed() -> None:
    outcome = judge_run({"jarvis": FAIL}, FULL, GatePlan(), blind=["jarvis"])
    assert ("FAIL", []) == (outcome.verdict, codes(outcome.reasons))


@pytest.mark.parametrize(
    ("decision", "deeds", "reasons"),
    [(PASS, -0.1, ["measures_disagree"]), (PASS, 0.1, []), (FAIL, 0.6, ["measures_disagree"]), (FAIL, -0.1, [])],
)
def test_relevance_and_deeds_that_disagree_are_said(decision: Decision, deeds: float, reasons: list[str]) -> None:
    guard = Bar(name="no_drop", metric="deeds", measure="no_drop", bar=0.0, highest=1.0)
    base, tuned = [[0.3, 0.3]] * 30, [[0.3 + deeds, 0.3 + deeds]] * 30
    judged = judge_bar(guard, "jarvis", (base, tuned), alpha=0.05, plan=GatePlan()).threshold
    outcome = judge_run({"jarvis": decision}, FULL, GatePlan(), [judged])
    assert reasons == [code for code in codes(outcome.reasons) if code == "measures_disagree"]
