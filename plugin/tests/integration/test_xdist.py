"""Under pytest-xdist: workers measure, the controller alone judges and writes."""

from __future__ import annotations

import pytest

from pytest_jarvis.types import Note

WORKERS = ("-n", "2", "--jarvis-report-dir", "out")


@pytest.fixture
def parallel(project):
    """The project, run in processes of their own: pytest-xdist starts its workers so."""

    def run(*arguments: str, cosine: bool = False) -> pytest.RunResult:
        if not cosine:
            # No process but those of one test imports scikit-learn, a second each.
            project.configure(metrics={"cosine": False})
        return project.run_apart(*arguments)

    return run


def test_the_controller_writes_one_whole_report_of_one_count_of_responses_and_says_so(project, parallel) -> None:
    result = parallel(*WORKERS, "--jarvis-engine", "scripted", cosine=True)
    assert result.ret == 0
    result.assert_outcomes(passed=3)
    report = project.report()
    assert report.complete
    assert report.gate.verdict == "PASS"
    assert [row.prompt_id for row in report.results] == ["c-1", "c-2", "q-1"]
    assert None not in {row.figure("cosine_similarity").finetuned for row in report.results}
    assert [path.name for path in project.folder.rglob("report.json")] == ["report.json"]
    assert (8, (8,)) == (report.metadata.samples_per_prompt, report.metadata.plan.looks)
    assert {8} == {len(row.of_arm("base")) for row in report.results}
    result.stdout.fnmatch_lines(["2 processus (pytest-xdist)*8?réponses par prompt et par bras*"])
    assert (
        Note("several_processes", {"workers": 2, "samples": report.metadata.samples_per_prompt})
        in report.provenance.notes
    )


def test_a_selection_is_not_judged_and_options_in_the_environment_count(project, parallel, monkeypatch) -> None:
    options = "--jarvis-report-dir out --jarvis-engine scripted --jarvis-strict --jarvis-min-gain 900"
    monkeypatch.setenv("PYTEST_ADDOPTS", options)
    assert parallel("-n", "2", "-k", "questions").ret == pytest.ExitCode.TESTS_FAILED
    report = project.report()
    assert (True, "NOT_JUDGED") == (report.gate.exit_failed, report.gate.verdict)
    assert report.metadata.plan.min_gain == 9.0


def test_a_model_is_not_loaded_by_more_workers_than_there_are_gpus(project, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    said = project.refused(*WORKERS, engine=None)
    assert "each of 2 workers would load the model, and no GPU is visible" in said
    assert "run without -n, or with -n 1" in said


DEADLY = """
import os

def test_prompt(jarvis_case, jarvis_measure):
    if jarvis_case.prompt_id == "c-1":
        os._exit(3)
    measured = jarvis_measure(jarvis_case)
    assert measured.is_complete, measured.problems
"""


def test_a_worker_that_dies_leaves_failures_and_no_verdict_and_its_test_is_not_run_again(project, parallel) -> None:
    project.pytester.makepyfile(test_benchmark=DEADLY)
    result = parallel(*WORKERS, "--jarvis-engine", "scripted")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, failed=1)
    report = project.report()
    assert (False, "NOT_JUDGED") == (report.complete, report.gate.verdict)
    assert {("c-1", "generate", "worker_died")} == {
        (one.prompt_id, one.stage, one.reason.code) for one in report.failures
    }
    assert {("base", 8), ("jarvis", 8)} == {
        (arm, sum(one.arm == arm for one in report.failures)) for arm in ("base", "jarvis")
    }
    assert {"c-1": False, "c-2": True, "q-1": True} == {row.prompt_id: row.measured for row in report.results}
    result.stdout.fnmatch_lines(
        ["*NON JUG*", "*échec c-1*étape génération*processus qui jouait ce test est mort*"][::-1]
    )


def test_a_model_that_is_not_there_is_one_sentence(parallel) -> None:
    result = parallel("-n", "1", "--jarvis-report-dir", "out", "--jarvis-adapter", "nulle/part")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "nulle/part" in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


ALL_DIE = """
import os

def test_prompt(jarvis_case, jarvis_measure):
    os._exit(3)
"""


def test_when_every_worker_dies_it_is_said(project, parallel) -> None:
    project.pytester.makepyfile(test_benchmark=ALL_DIE)
    result = parallel(*WORKERS, "--jarvis-engine", "scripted", "--max-worker-restart", "0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "INTERNALERROR" not in result.stdout.str()
    result.stdout.fnmatch_lines(["Aucun processus n’a vécu assez pour mesurer un prompt*"])


def test_what_only_workers_see_to_be_wrong_is_one_sentence(project, parallel) -> None:
    project.configure(benchmark={"metric_bars": {"politesse": {"min_mean": 1}}})
    result = parallel(*WORKERS, "--jarvis-engine", "scripted", cosine=True)  # the file above stays
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "INTERNALERROR" not in result.stdout.str()
    result.stderr.fnmatch_lines(["ERROR: *metric_bars*politesse*"])


def test_collecting_only_judges_nothing(project) -> None:
    result = project.run(*WORKERS, "--collect-only")
    assert result.ret == 0
    assert "JARVIS" not in result.stdout.str()
