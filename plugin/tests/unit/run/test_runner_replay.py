"""`run.runner` with a recording: the recorded responses and cosines are scored again, and no more than those."""

from __future__ import annotations

import msgspec
import pytest
from runs import Log
from samples import with_scores

from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.report.schema import Report
from pytest_jarvis.run.replay import Recording, ReplayEngine, read_recording
from pytest_jarvis.run.runner import BenchmarkRun, Plan
from pytest_jarvis.types import AdapterSpec, GatePlan, PromptCase, Tool

TOOL = Tool(name="open_tool", description="", parameters={}, terms=("ouvre", "application", "demandée"))


@pytest.fixture
def report(make_report) -> Report:
    """A report of three prompts whose adapter's responses have the cosines 0.5, 0.6, 0.7 and 0.8."""
    made = make_report(categories=1, prompts=3)
    rows = tuple(
        msgspec.structs.replace(
            row,
            samples=tuple(
                with_scores(one, cosine_similarity=0.5 + one.replicate / 10) if one.arm == "jarvis" else one
                for one in row.samples
            ),
        )
        for row in made.results
    )
    return msgspec.structs.replace(made, results=rows)


def cases_of(report: Report) -> tuple[PromptCase, ...]:
    return tuple(
        PromptCase(prompt_id=row.prompt_id, category=row.category, text=row.prompt, keywords=row.keywords_expected)
        for row in report.results
    )


def replayed(recording: Recording, cases: tuple[PromptCase, ...], looks: tuple[int, ...]) -> BenchmarkRun:
    """Return a run whose responses are those of a recording."""
    plan = Plan(
        cases=cases,
        adapters=(AdapterSpec(name="jarvis", source="x"),),
        gate=GatePlan(looks=looks),
        tools=(TOOL,),
        recording=recording,
    )
    run = BenchmarkRun(plan, load=lambda: ReplayEngine(recording), listener=Log())
    run.generate()
    return run


def test_the_cosines_of_a_replay_are_those_recorded(report) -> None:
    cases = cases_of(report)
    (row,) = replayed(read_recording(report), cases, (4,)).rows(cases[0], NO_METRICS)
    assert [0.5, 0.6, 0.7, 0.8] == [sample.score("cosine_similarity") for sample in row.of_arm("jarvis")]
    assert pytest.approx(0.65) == row.figure("cosine_similarity").finetuned


@pytest.mark.parametrize(("prompts", "look", "kept"), [(3, 4, True), (2, 4, False), (3, 2, False)])
def test_the_mismatched_cosine_is_kept_only_where_the_whole_run_is_scored_again(
    report, prompts: int, look: int, kept: bool
) -> None:
    facts = replayed(read_recording(report), cases_of(report)[:prompts], (look,)).facts()
    assert facts is not None
    assert (report.provenance.mismatched_cosine if kept else None) == facts.mismatched_cosine


def test_the_responses_that_were_reused_then_are_still_marked_so(report) -> None:
    rows = tuple(
        msgspec.structs.replace(
            row, samples=tuple(msgspec.structs.replace(one, reused=one.replicate == 1) for one in row.samples)
        )
        for row in report.results
    )
    report = msgspec.structs.replace(report, results=rows)
    run, cases = replayed(read_recording(report), cases_of(report), (4,)), cases_of(report)
    marks = {(one.arm, one.replicate): one.reused for case in cases for one in run.rows(case, NO_METRICS)[0].samples}
    assert {(arm, number): number == 1 for arm in ("base", "jarvis") for number in range(4)} == marks
