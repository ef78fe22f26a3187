"""Sentences that depend on figures: every case of a kind in one golden file, to be read side by side."""

import dataclasses
from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest
from samples import LOADED

from pytest_jarvis.render.french.explanations import advice_line, explain_decision, settle_sentence
from pytest_jarvis.render.french.saved_runs import conclusion
from pytest_jarvis.render.french.session import memory_of_a_run
from pytest_jarvis.render.french.verdicts import (
    adapters_sentence,
    gate_sentence,
    reason_sentence,
    reason_sentences,
    verdict_line,
)
from pytest_jarvis.report.analysis.advice import advise
from pytest_jarvis.report.comparison import RunComparison, compare_runs
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.stats.gate import AdapterVerdict, GateOutcome, GateVerdict, Reason
from pytest_jarvis.stats.thresholds import ThresholdVerdict
from pytest_jarvis.types import GatePlan

change = msgspec.structs.replace
PLAN = GatePlan(policy="proven", min_gain=0.05, alpha=0.05, looks=(4, 8, 16))
LOW = [[0.2, 0.3, 0.2, 0.3]] * 6
HIGH = [[0.6, 0.5, 0.6, 0.5]] * 6


def listed(cases: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return each case with its sentences under it."""
    return "".join(f"{name}\n{''.join(f'    {one}{chr(10)}' for one in said)}" for name, said in cases)


def outcome(verdict: GateVerdict, *reasons: Reason, **adapters: ThresholdVerdict) -> GateOutcome:
    """Return the outcome of a run with these verdicts of its adapters."""
    judged = tuple(AdapterVerdict(name=name, verdict=one, seen_under_bar=False) for name, one in adapters.items())
    return GateOutcome(verdict=verdict, exit_failed=False, reasons=reasons, adapters=judged, thresholds=())


def test_decisions_in_one_line_and_in_sentences(golden) -> None:
    plain = dataclasses.replace(
        decide([[0.3, 0.4]] * 30, [[0.6, 0.7]] * 30),
        gain=0.5,
        gain_these=(0.4, 0.6),
        gain_new=(0.3, 0.7),
        detectable_gain=0.08,
        decoding_share=0.25,
        verdict="PASS",
        verdict_new="PASS",
    )
    unknown = {"gain_these": None, "detectable_gain": None, "decoding_share": None}
    decisions: dict[str, Decision] = {
        "shown": plain,
        "a bar with a decimal": replace(plain, verdict="FAIL", min_gain=0.025),
        "on new prompts alone": replace(plain, target="new", replicates=(1, 1), **unknown),
        "not estimable": replace(plain, verdict="INCONCLUSIVE", verdict_new=None, **unknown),
        "a pass before the last look": decide(LOW, HIGH),
        "a fail": decide(HIGH, LOW),
        "undecided": replace(decide(LOW, [[0.3, 0.2, 0.4, 0.2]] * 6), verdict="INCONCLUSIVE", responses_to_settle=40),
        "too few prompts": decide([[0.2], [0.3], [0.2]], [[0.3], [0.3], [0.2]]),
        "nothing to compare": decide([[0.0, 0.0]] * 2, [[0.0, 0.0]] * 2),
        "out of reach": decide([[0.99, 0.98]] * 2, [[0.99, 0.99]] * 2),
        "no variance": decide([[0.2]], [[0.3]]),
        "a base of zero": decide([[0.0, 0.0]] * 3, [[0.3, 0.4]] * 3),
    }
    assert golden == listed(
        (name, [verdict_line(one, 16, 0.05), *explain_decision(one, PLAN, "jarvis"), advice_line(advise(one))])
        for name, one in decisions.items()
    )


def test_verdicts_of_the_gate_and_their_reasons(golden) -> None:
    missing = {"missing": 27, "selected": 30, "responses": 0}
    gates = {
        "one": outcome("PASS", v1="PASS"),
        "two, one passed": outcome("PASS", v1="PASS", v2="FAIL"),
        "two, both passed": outcome("PASS", v1="PASS", v2="PASS"),
        "two, one failed": outcome("FAIL", v1="PASS", v2="FAIL"),
        "six failed": outcome("FAIL", a="FAIL", b="FAIL", c="FAIL", d="FAIL", e="FAIL", f="FAIL"),
        "not judged": outcome("NOT_JUDGED", v1="NOT_JUDGED", v2="NOT_JUDGED"),
        "stopped early": outcome(
            "NOT_JUDGED", Reason(code="nothing_measured"), Reason(code="missing_pairs", values=missing)
        ),
    }
    said = [
        (
            name,
            [gate_sentence(gate, GatePlan()), *reason_sentences(gate)]
            + [f"{rule}: {adapters_sentence(gate, rule)}" for rule in ("first", "any", "all", None)],
        )
        for name, gate in gates.items()
    ]
    reasons = [
        Reason(code="failures", values={"failed": 3, "planned": 30, "share": 0.1, "allowed": 0.05}),
        Reason(code="nothing_measured", values={}),
        Reason(code="nothing_measured", values={"others": 30}),
        *(
            Reason(code="missing_pairs", values={"missing": missing, "selected": 30, "responses": responses})
            for missing, responses in ((1, 1), (0, 5), (30, 0))
        ),
    ]
    assert golden == listed([*said, ("reasons", map(reason_sentence, reasons))])


def test_conclusions_of_comparisons(make_report, golden) -> None:
    def said(before: Report, after: Report, **edits: object) -> list[str]:
        found: RunComparison = replace(compare_runs(before, after), **edits)  # type: ignore[arg-type]  # the tests' own
        return conclusion(found, found.arms[0], after)

    low, high = make_report(gains={"jarvis": 0.0}), make_report(gains={"jarvis": 0.9}, seed=2)
    one = {"categories": 1, "prompts": 1, "replicates": 1}
    partial = replace(low.gate, reasons=(Reason(code="partial_selection", values={}),))
    origin = high.provenance
    others = {
        "another temperature": {"generation": change(origin.generation, temperature=0.1)},
        "another timeout": {"generation": change(origin.generation, timeout_s=7.0)},
        "another version": {"versions": {**origin.versions, "torch": "9.9"}},
        "another machine": {"machine": change(origin.machine, processor="autre")},
    }
    same = compare_runs(make_report(gains={"v1": 0.4}), make_report(gains={"v1": 0.4}))
    cases = {
        "a rise": said(low, high),
        "another adapter, lower": said(make_report(gains={"v1": 0.9}), make_report(gains={"v2": 0.0}, seed=2)),
        "another adapter, nothing shown": said(make_report(gains={"v1": 0.4}), make_report(gains={"v2": 0.4}, seed=2)),
        "one response": said(make_report(**one), make_report(**one, seed=3, text="Autre chose.")),
        "the same responses": said(make_report(), make_report()),
        "the same responses of two": said(
            make_report(gains={"v1": 0.4}),
            make_report(gains={"v1": 0.4}),
            arms=(replace(same.arms[0], new_adapter="v2"),),
        ),
        "another dictionary": said(low, high, obstacles=("other_dictionary",)),
        "another kind": said(low, high, obstacles=("other_kind",)),
        "no relevance": said(make_report(metrics=False), make_report(metrics=False)),
        "a part of the prompts": said(change(low, gate=partial), make_report(seed=2)),
        "a base that rose too": said(make_report(base_terms=2.0), make_report(base_terms=9.0, seed=2)),
        "a base that fell": said(
            make_report(base_terms=6.0, gains={"jarvis": 0.0}),
            make_report(base_terms=4.0, gains={"jarvis": 2.0}, seed=2),
        ),
        **{name: said(low, change(high, provenance=change(origin, **one))) for name, one in others.items()},
    }
    assert golden == listed(cases.items())


def test_the_memory_of_a_run(make_report, golden) -> None:
    now = msgspec.structs.replace(LOADED, allocated_bytes=17 * 10**9 + 1, peak_bytes=21 * 10**9)
    engine = msgspec.structs.replace(make_report().provenance.engine, memory=())
    cases = {
        "at load and later": msgspec.structs.replace(engine, memory=(now,), loaded_memory=(LOADED,)),
        "one peak": msgspec.structs.replace(
            engine, memory=(msgspec.structs.replace(now, device="CPU", reserved_bytes=None),)
        ),
        "not read": engine,
    }
    assert golden == listed((name, [memory_of_a_run(one)]) for name, one in cases.items())


STOPPED = GatePlan(looks=(2, 4))
NEAR_ZERO = decide([[0.0, 0.05], [0.0, 0.0]], [[0.5, 0.6], [0.4, 0.45]])


def test_a_drawing_that_another_threshold_stopped_is_not_said_to_be_sure() -> None:
    decision = decide([[0.3, 0.2]] * 3, [[0.3, 0.25]] * 3)
    assert "INCONCLUSIVE" == decision.verdict
    said = " ".join(explain_decision(decision, STOPPED, "jarvis"))
    assert (True, False) == ("un autre seuil l’a décidé" in said, "sûr" in said)


def test_a_gain_over_a_base_near_zero_is_shown_as_a_difference() -> None:
    line = verdict_line(NEAR_ZERO, 4, 0.05)
    assert 2 == line.count("(écart absolu)")
    assert ("PASS", True, False) == (NEAR_ZERO.verdict, "+0,475 [+" in line, "[non estimable]" in line)


def test_what_was_only_seen_is_not_called_proven() -> None:
    line = verdict_line(NEAR_ZERO, 4, 0.05, seen_only=True)
    assert (True, False, False) == ("estimation seule" in line, "PROUVÉ" in line, "montré" in line)


@pytest.mark.parametrize(("responses", "how"), [(20, "benchmark.looks"), (200, "--jarvis-samples 200")])
def test_the_responses_that_would_settle_it_are_those_of_a_new_run(responses: int, how: str) -> None:
    said = settle_sentence(responses)
    assert (True, True) == (how in said, "essai neuf" in said)
