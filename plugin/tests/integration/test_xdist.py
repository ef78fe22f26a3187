"""Under pytest-xdist: workers measure, the controller alone judges and writes."""

from __future__ import annotations

import pytest

WORKERS = ("-n", "2", "--jarvis-report-dir", "out")


@pytest.fixture
def parallel(project):
    """The project, run in processes of their own: pytest-xdist starts its workers so."""

    def run(*arguments: str) -> pytest.RunResult:
        return project.pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:benchmark", *arguments)

    return run


def test_the_controller_writes_one_whole_report(project, parallel) -> None:
    result = parallel(*WORKERS, "--jarvis-engine", "scripted")
    assert result.ret == 0
    result.assert_outcomes(passed=3)
    report = project.report()
    assert report.complete
    assert report.gate.verdict == "PASS"
    assert [row.prompt_id for row in report.results] == ["c-1", "c-2", "q-1"]
    assert [path.name for path in project.folder.rglob("report.json")] == ["report.json"]


def test_a_selection_is_not_judged(project, parallel) -> None:
    result = parallel(*WORKERS, "--jarvis-engine", "scripted", "--jarvis-strict", "-k", "questions")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.report().gate.verdict == "NOT_JUDGED"


def test_a_model_is_not_loaded_by_several_workers(parallel) -> None:
    result = parallel(*WORKERS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "each of 2 workers would load the model" in result.stderr.str()


def test_options_in_the_environment_are_judged_too(project, parallel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--jarvis-report-dir out --jarvis-engine scripted --jarvis-min-gain 900")
    assert parallel("-n", "2").ret == pytest.ExitCode.TESTS_FAILED
    assert project.report().gate.exit_failed


def test_a_model_that_is_not_there_is_one_sentence(parallel) -> None:
    result = parallel("-n", "1", "--jarvis-report-dir", "out", "--jarvis-adapter", "nulle/part")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "nulle/part" in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
