"""The decision without some prompts: the others' responses, at the same bar and error rate."""

from __future__ import annotations

import dataclasses

from pytest_jarvis.report.analysis.metrics import pair_values
from pytest_jarvis.run.build_report import decide_without
from pytest_jarvis.stats.decision import decide
from pytest_jarvis.types import GatePlan


def test_the_prompts_left_are_decided_on_as_if_they_were_all(make_report) -> None:
    report = make_report(gains={"jarvis": 0.4, "autre": 0.1}, categories=2)
    left_out = {row.prompt_id for row in report.results if row.category == "categorie_1"}
    found = decide_without(left_out, report.results, report.decisions, GatePlan())
    assert list(found) == ["jarvis", "autre"]
    for name, decision in found.items():
        kept = [row for row in report.of_adapter(name) if row.prompt_id not in left_out]
        pairs = [pair_values(row, "jarvis_relevance") for row in kept]
        alpha = report.decisions[name].alpha
        assert decision == decide([one for one, _ in pairs], [other for _, other in pairs], alpha=alpha)
        assert (10, 20) == (decision.prompts, report.decisions[name].prompts)


def test_an_adapter_settled_early_is_judged_on_the_responses_of_then(make_report) -> None:
    report = make_report(categories=1)
    early = dataclasses.replace(report.decisions["jarvis"], replicates=(2, 2))
    (decision,) = decide_without({"c0-0000"}, report.results, {"jarvis": early}, GatePlan()).values()
    assert ((2, 2), 9) == (decision.replicates, decision.prompts)


def test_without_a_prompt_left_there_is_no_decision(make_report) -> None:
    report = make_report(categories=1)
    everything = {row.prompt_id for row in report.results}
    assert {} == decide_without(everything, report.results, report.decisions, GatePlan())
