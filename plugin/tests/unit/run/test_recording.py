"""`run.replay` and the replay engine: what a report recorded is given back, and nothing else."""

from __future__ import annotations

import msgspec
import pytest
from samples import with_scores

from pytest_jarvis.report.schema import FailureRow, Report
from pytest_jarvis.run.replay import ReplayEngine, read_recording
from pytest_jarvis.types import TWIN_REPLICATES, Failure, Request, Response, text_note


def engine_of(report: Report) -> ReplayEngine:
    return ReplayEngine(read_recording(report))


def asked(report: Report, arm: str, replicate: int = 0) -> list[Response | Failure]:
    """Return what the replay engine gives back of the report's first prompt."""
    row = report.results[0]
    request = Request(prompt_id=row.prompt_id, text=row.prompt, arm=arm, replicate=replicate)
    return list(engine_of(report).generate([request]))


def test_a_metric_that_raised_is_no_failure_of_the_response(make_report) -> None:
    report = make_report()
    row = report.results[0]
    raised = FailureRow(
        prompt_id=row.prompt_id, category=row.category, arm="base", replicate=0, stage="score", reason=text_note("non")
    )
    report = msgspec.structs.replace(report, failures=(raised,))
    [outcome] = asked(report, "base")
    assert not isinstance(outcome, Failure)


def test_a_stage_of_a_later_version_is_one_of_generation(make_report) -> None:
    report = make_report()
    failed = FailureRow(
        prompt_id="p", category="c", arm="base", replicate=0, stage="telepathy", reason=text_note("non")
    )
    recording = read_recording(msgspec.structs.replace(report, failures=(failed,)))
    outcome = recording.outcomes["p", "base", 0]
    assert isinstance(outcome, Failure)
    assert outcome.stage == "generate"


@pytest.mark.parametrize(("prompt_id", "text"), [("libre", "ouvre chrome"), ("c0-0000", "un autre texte")])
def test_a_prompt_that_was_not_asked_is_a_failure(make_report, prompt_id: str, text: str) -> None:
    request = Request(prompt_id=prompt_id, text=text, arm="base", replicate=0)
    [outcome] = engine_of(make_report()).generate([request])
    assert isinstance(outcome, Failure)
    assert "not_recorded" == outcome.reason.code


def test_the_twin_answers_the_requests_that_are_sent_for_it(make_report) -> None:
    report = make_report(gains={"base_bis": 0.0})
    [outcome] = asked(report, "base", TWIN_REPLICATES + 1)
    assert outcome.key == (report.results[0].prompt_id, "base", TWIN_REPLICATES + 1)


def test_a_report_holds_no_embeddings(make_report) -> None:
    engine = engine_of(make_report())
    assert engine.embed(["a", ""]) == [None, None]


def test_a_replayed_response_is_never_stored_as_one_of_this_run(make_report) -> None:
    engine = engine_of(make_report())
    request = Request(prompt_id="c0-0000", text="ouvre la fenêtre", arm="base", replicate=0)
    assert engine.identity(request, str) is None
    engine.close()


def test_a_run_stopped_in_its_first_look_recorded_that_look(make_report) -> None:
    report = make_report()
    stopped = msgspec.structs.replace(report, metadata=msgspec.structs.replace(report.metadata, samples_per_prompt=0))
    assert read_recording(stopped).replicates == report.metadata.plan.looks[0]


def test_cosines_are_those_of_the_responses_where_the_report_has_them(make_report) -> None:
    report = make_report()
    assert read_recording(report).cosine_detail == "prompts"
    row = report.results[0]
    samples = tuple(
        with_scores(sample, cosine_similarity=0.25) if sample.arm == "jarvis" and sample.replicate == 1 else sample
        for sample in row.samples
    )
    recording = read_recording(
        msgspec.structs.replace(report, results=(msgspec.structs.replace(row, samples=samples), *report.results[1:]))
    )
    assert recording.cosine_detail == "responses"
    assert recording.cosines_of(row.prompt_id, "jarvis", (0, 1)) == {1: 0.25}


def test_a_report_without_any_cosine_says_so(make_report) -> None:
    assert read_recording(make_report(metrics=False)).cosine_detail == "none"


def test_what_the_store_gave_is_known_under_the_name_of_its_arm(make_report) -> None:
    report = make_report(gains={"base_bis": 0.0}, categories=1, prompts=1)
    (row,) = report.results
    mine = msgspec.structs.replace(row.of_arm("base_bis")[1], reused=True)
    marked = msgspec.structs.replace(row, samples=(*row.of_arm("base"), mine))
    recording = read_recording(msgspec.structs.replace(report, results=(marked,)))
    assert {(row.prompt_id, "base_bis", 1)} == recording.reused
