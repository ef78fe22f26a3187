"""`--jarvis-report` and `--jarvis-report-dir`: what is written, where, and what never is."""

from __future__ import annotations

import json

import pytest


def files_of(project) -> set[str]:
    others = ("__pycache__", ".benchmarks")
    return {
        str(path.relative_to(project.folder))
        for path in project.folder.rglob("*")
        if not any(name in path.parts for name in others)
    }


def test_without_the_option_tests_pass_and_nothing_is_written(project) -> None:
    before = files_of(project)
    result = project.run("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)
    assert before == files_of(project)


def test_the_option_writes_a_report_in_a_new_folder_for_each_run(project) -> None:
    assert project.run("--jarvis-report").ret == 0
    assert project.run("--jarvis-report").ret == 0
    assert len(list((project.folder / "reports").glob("*/report.json"))) == 2


def test_the_folder_named_is_the_folder_written(project) -> None:
    assert project.run("--jarvis-report-dir", "out").ret == 0
    assert (project.folder / "out" / "report.json").is_file()
    assert not (project.folder / "reports").exists()


def test_a_folder_that_holds_a_report_is_refused_and_left_as_it_is(project) -> None:
    project.run("--jarvis-report-dir", "out")
    before = (project.folder / "out" / "report.json").read_bytes()
    result = project.run("--jarvis-report-dir", "out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--jarvis-report-dir: out already holds a report; name a new folder*"])
    assert before == (project.folder / "out" / "report.json").read_bytes()


def test_the_report_has_the_keys_that_readers_expect(project) -> None:
    project.run("--jarvis-report-dir", "out")
    report = json.loads((project.folder / "out" / "report.json").read_text(encoding="utf-8"))
    assert {"commandes", "questions"} == set(report["by_category"])
    assert {"keyword_match_base", "jarvis_relevance_finetuned", "cosine_similarity_score"} <= set(report["results"][0])
    assert ["c-1", "c-2", "q-1"] == [row["prompt_id"] for row in report["results"]]
    assert 3 == report["statistics"]["total_tests"]


def test_the_report_reads_back_as_it_was(project) -> None:
    project.run("--jarvis-report-dir", "out", "--jarvis-samples", "2")
    report = project.report()
    assert report.complete
    assert 2 == report.metadata.samples_per_prompt
    assert [("base", 0), ("base", 1), ("jarvis", 0), ("jarvis", 1)] == [
        (sample.arm, sample.replicate) for sample in report.results[0].samples
    ]


def test_a_report_of_the_scripted_engine_says_that_it_is_not_real(project) -> None:
    result = project.run("--jarvis-report-dir", "out")
    assert not project.report().metadata.is_real
    result.stdout.fnmatch_lines(["*moteur factice*"])


def test_collecting_only_writes_nothing_and_loads_nothing(project) -> None:
    before = files_of(project)
    result = project.run("--collect-only", "--jarvis-report", "-q", "-p", "no:cacheprovider")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*test_prompt?commandes-c-1?", "*test_prompt?commandes-c-2?", "*test_prompt?questions-q-1?"]
    )
    assert before == files_of(project)


def test_failures_are_counted_and_are_not_scores_of_zero(project, scripted_by) -> None:
    engine = scripted_by(
        """
def script(request):
    if request.prompt_id == "c-2" and request.arm == "jarvis":
        slow = text_note("too slow")
        return Failure(prompt_id="c-2", arm="jarvis", replicate=request.replicate, stage="timeout", reason=slow)
    return "J'ouvre l'application." if request.arm == "jarvis" else "ouvre"
"""
    )
    result = project.run("--jarvis-report-dir", "out", "--jarvis-samples", "2", engine=engine)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*jarvis: timeout: too slow*"])
    report = project.report()
    assert not report.complete
    assert 2 == len(report.failures) == report.statistics.failed_responses
    assert (2, 3) == (report.statistics.total_tests, report.statistics.planned_tests)
    row = report.results[1]
    assert (None, None) == (row.finetuned_response, row.figure("jarvis_relevance").finetuned)
    assert report.statistics.figure("jarvis_relevance").finetuned == 0.5  # c-1 alone is about opening


def test_an_interrupted_run_leaves_a_partial_report(project, scripted_by) -> None:
    engine = scripted_by(
        """
def script(request):
    if request.prompt_id == "q-1":
        raise KeyboardInterrupt
    return "ouvre"
"""
    )
    # In a process of its own: pytester passes an interruption on.
    result = project.pytester.runpytest_subprocess(
        "--jarvis-report-dir", "out", "--jarvis-samples", "1", "--jarvis-engine", engine
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    report = project.report()
    assert not report.complete
    assert "NOT_JUDGED" == report.gate.verdict
    assert ["c-1", "c-2"] == [row.prompt_id for row in report.results]


def test_a_run_that_is_interrupted_between_looks_is_not_judged(project, scripted_by) -> None:
    engine = scripted_by(
        """
def script(request):
    if request.replicate >= 4:
        raise KeyboardInterrupt
    return "ouvre application" if request.arm == "jarvis" and request.replicate == 1 else "ouvre"
"""
    )
    result = project.pytester.runpytest_subprocess("--jarvis-report-dir", "out", "--jarvis-engine", engine)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    report = project.report()
    assert not report.complete
    assert ("NOT_JUDGED", ["interrupted"]) == (report.gate.verdict, [reason.code for reason in report.gate.reasons])
    assert 3 == len(report.results)
    assert all(4 == len(row.of_arm("jarvis")) for row in report.results)


SENT = """
import os
import signal

def script(request):
    if request.prompt_id == "q-1":
        os.kill(os.getpid(), signal.{name})
    return "ouvre"
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_a_runner_sends_interrupts_a_session_as_ctrl_c_does(project, scripted_by, name: str) -> None:
    options = ("--jarvis-report-dir", "out", "--jarvis-samples", "1")
    # A shell that starts the tests in the background has them ignore SIGINT.
    project.pytester.makeconftest("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)")
    result = project.run_apart(*options, "--jarvis-engine", scripted_by(SENT.replace("{name}", name)))
    assert pytest.ExitCode.INTERRUPTED == result.ret
    assert ("interrupted", False) == (project.report().gate.reasons[0].code, project.report().complete)
    result.stdout.fnmatch_lines(["*interrompue*"])


def test_a_signal_once_the_numbers_are_written_ends_the_session_at_once(project) -> None:
    project.pytester.makeconftest(
        "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def pytest_jarvis_report(report): os.kill(os.getpid(), signal.SIGINT)"
    )
    result = project.run_apart("--jarvis-report-dir", "out", "--jarvis-engine", "scripted")
    assert (pytest.ExitCode.INTERRUPTED, True) == (result.ret, project.report().complete)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("option", ["--setup-plan", "--setup-only"])
def test_a_session_that_runs_no_test_judges_nothing(project, option: str) -> None:
    assert pytest.ExitCode.OK == project.run("--jarvis-report-dir", "out", option).ret
    assert not (project.folder / "out").exists()
