"""The gate's options and the exit status they lead to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SAME = "def script(request):\n    return f'ouvre {request.replicate}'"
BETTER = """
def script(request):
    return "ouvre" if request.arm == "base" else "ouvre une application"
"""
NOISY = """
def script(request):
    draw = hash((request.prompt_id, request.replicate, request.arm)) % 3
    return " ".join(["ouvre", "application", "logiciel"][: draw + 1])
"""


def test_a_proven_gain_passes_with_the_fewest_responses(project, scripted_by: Callable[[str], str]) -> None:
    result = project.run("--jarvis-report-dir", "out", engine=scripted_by(BETTER))
    assert result.ret == 0
    assert "PASS" == project.report().gate.verdict
    assert 4 == project.report().metadata.samples_per_prompt
    result.stdout.fnmatch_lines(["*PROUVÉ*", "*ACCEPTÉ*"])


def test_no_gain_exits_one(project, scripted_by: Callable[[str], str]) -> None:
    result = project.run("--jarvis-report-dir", "out", engine=scripted_by(SAME))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3)
    assert project.report().gate.verdict in {"FAIL", "INCONCLUSIVE"}
    assert 0 == project.report().statistics.relevance_gain


def test_without_the_report_option_the_gain_is_not_judged(project, scripted_by: Callable[[str], str]) -> None:
    assert project.run(engine=scripted_by(SAME)).ret == 0


def test_the_gate_can_be_off(project, scripted_by: Callable[[str], str]) -> None:
    assert project.run("--jarvis-report", "--jarvis-gate", "off", engine=scripted_by(SAME)).ret == 0


def test_the_bar_can_be_moved(project, scripted_by: Callable[[str], str]) -> None:
    engine = scripted_by(BETTER)
    assert project.run("--jarvis-report", "--jarvis-gate", "point", "--jarvis-min-gain", "99", engine=engine).ret == 0
    assert (
        project.run("--jarvis-report", "--jarvis-gate", "point", "--jarvis-min-gain", "101 %", engine=engine).ret == 1
    )


def test_an_undecided_gate_draws_all_looks(project, scripted_by: Callable[[str], str]) -> None:
    project.run("--jarvis-report-dir", "out", "--jarvis-min-gain", "0", engine=scripted_by(NOISY))
    assert project.report().metadata.samples_per_prompt == 16 or project.report().gate.verdict in {"PASS", "FAIL"}


def test_a_selection_is_not_judged_and_says_why(project) -> None:
    result = project.run("--jarvis-report-dir", "out", "-k", "questions")
    assert result.ret == 0
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.fnmatch_lines(["*NON JUGÉ*", "*Sélection partielle*sur 3*"])
    assert "NOT_JUDGED" == project.report().gate.verdict


def test_a_selection_fails_when_asked_to_be_strict(project) -> None:
    result = project.run("--jarvis-report", "--jarvis-strict", "-k", "questions")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_nothing_measured_is_never_green(project) -> None:
    project.pytester.makepyfile(
        test_benchmark="def test_handle(base_model):\n    assert base_model.generate('bonjour').text"
    )
    result = project.run("--jarvis-report")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*NON JUGÉ*", "*Rien n'a été mesuré*"])


def test_stopping_at_the_first_failure_is_not_judged(project, scripted_by: Callable[[str], str]) -> None:
    engine = scripted_by(
        """
def script(request):
    if request.prompt_id == "c-1":
        return Failure(prompt_id="c-1", arm=request.arm, replicate=request.replicate, stage="generate", reason="no")
    return "ouvre"
"""
    )
    result = project.run("--jarvis-report-dir", "out", "-x", engine=engine)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    report = project.report()
    assert ("NOT_JUDGED", False) == (report.gate.verdict, report.complete)


def test_scores_and_verdict_are_in_the_junit_file(project, scripted_by: Callable[[str], str]) -> None:
    project.run("--jarvis-report-dir", "out", "--junitxml", "junit.xml", engine=scripted_by(BETTER))
    text = (project.folder / "junit.xml").read_text(encoding="utf-8")
    assert 'name="jarvis.jarvis_relevance_finetuned"' in text
    assert 'name="jarvis.verdict" value="PASS"' in text
