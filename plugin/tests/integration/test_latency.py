"""`pytest -m latence`: both arms at batch size 1, left out of every other run."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def timed_project(project):
    """Return the project with the benchmark's own test of latency, and what runs it with pytest-benchmark."""
    shutil.copy(ROOT / "tests" / "test_latence.py", project.folder)

    def run(*arguments: str) -> pytest.RunResult:
        more = ("-p", "no:hypothesispytest", "--jarvis-engine", "scripted", "--benchmark-storage", "store")
        return project.pytester.runpytest_inprocess(*more, *arguments)

    return project, run


def test_both_arms_are_timed_when_they_are_asked_for_and_runs_compare(timed_project) -> None:
    project, run = timed_project
    run("-m", "latence", "--benchmark-autosave").assert_outcomes(passed=2, deselected=3)
    (saved,) = (project.folder / "store").rglob("*.json")
    benchmarks = json.loads(saved.read_text(encoding="utf-8"))["benchmarks"]
    assert {"test_latence[base]", "test_latence[lora]"} == {one["name"] for one in benchmarks}
    for one in benchmarks:
        assert 21 == one["stats"]["rounds"] == one["extra_info"]["responses"]
        assert {"first_token_p50_ms", "first_token_p95_ms", "response_p95_ms", "tokens_per_s_p50"} <= set(
            one["extra_info"]
        )
    compared = run("-m", "latence", "--benchmark-compare")
    compared.assert_outcomes(passed=2, deselected=3)
    compared.stdout.fnmatch_lines(["*base*premier token*", "*lora*premier token*", "*test_latence?base? (0001_*"])


def test_it_is_no_part_of_a_plain_run_nor_of_its_verdict(timed_project) -> None:
    project, run = timed_project
    run("--jarvis-report-dir", "out", "--benchmark-disable").assert_outcomes(passed=3, deselected=2)
    assert project.report().metadata.full_selection
    assert project.report().gate.verdict == "PASS"
