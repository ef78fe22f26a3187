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
