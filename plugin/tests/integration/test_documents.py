"""The examples of the documents, as they stand there, in an empty project and in a fresh installation."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_jarvis import load_report
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```(?:toml|python|json)\n(?:#|//) (?P<file>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(document: str) -> dict[str, str]:
    """Return the blocks of a document that begin with the name of their file."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return {match["file"]: match["text"] for match in BLOCK.finditer(text)}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def checkout(project):
    """Return the project with the shipped prompts, the test file of your-repository.md and the blocks of adding.md."""
    files = examples("adding.md")
    (project.folder / "test_benchmark.py").unlink()
    shutil.rmtree(project.prompts)
    shutil.copytree(packaged_prompts(), project.prompts)
    with (project.prompts / "tools.toml").open("a", encoding="utf-8") as tools:
        tools.write(f"\n{files.pop('jarvis_prompts/tools.toml')}")
    write(project.folder, {**files, **examples("your-repository.md")})
    return project


def test_the_example_of_a_category_is_a_category_and_its_tool_is_known(checkout) -> None:
    prompts = load_prompts(checkout.prompts)
    category = next(category for category in prompts.categories if category.name == "domotique")
    assert ("Domotique", ["dom-01", "dom-02"]) == (category.label, [case.prompt_id for case in category.cases])
    checkout.run("-k", "domotique", "--jarvis-report-dir", "out").assert_outcomes(passed=2, deselected=30)
    assert ["dom-01", "dom-02"] == [row.prompt_id for row in checkout.report().results]


def test_the_example_of_a_tool_is_named_by_responses(checkout) -> None:
    checkout.run("-k", "dom-01", "--jarvis-report-dir", "out")
    (row,) = checkout.report().results
    assert row.expected_tool == "light_tool"
    assert {"light_tool"} == {name for sample in row.of_arm("base") for name in sample.tools_named}


def test_the_examples_of_metrics_and_bars_are_measured_and_judged(checkout) -> None:
    checkout.run("--jarvis-report-dir", "out").assert_outcomes(passed=32)
    report = checkout.report()
    metrics = {name: metric.by_adapter["jarvis"].overall for name, metric in report.metrics.items()}
    assert {"politesse": "Politesse", "bavardage": "Mots en plus"} == {
        name: metric.spec.label for name, metric in report.metrics.items()
    }
    # The scripted engine is never polite, and its adapter always says six words more; ten prompts are misheard.
    assert (22, 10 * 2 * 4, 0.0) == (
        metrics["politesse"].prompts,
        metrics["politesse"].not_measured,
        metrics["politesse"].value,
    )
    assert (32, 6.0) == (metrics["bavardage"].prompts, metrics["bavardage"].value)
    assert [
        ("politesse", "metric_gain", "FAIL"),
        ("politesse", "metric_mean", "FAIL"),
        ("bavardage", "metric_mean", "PASS"),
    ] == [(bar.metric, bar.name, bar.verdict) for bar in report.gate.thresholds if bar.name.startswith("metric_")]


@pytest.mark.slow
def test_one_test_file_is_a_benchmark_where_only_the_wheel_is_installed(tmp_path) -> None:
    installed, stranger = tmp_path / "site", tmp_path / "stranger"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([*pip, *build], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-compile", "--no-deps", "--no-index", "--target", str(installed), str(wheel)], check=True
    )
    write(stranger, examples("your-repository.md"))
    other = f"import pytest_jarvis\n\ndef test_other(): assert {str(installed)!r} in pytest_jarvis.__file__\n"
    write(stranger, {"pytest.ini": "[pytest]\n", "test_other.py": other})
    config = '{"output": {"formats": ["text"]}, "metrics": {"cosine": false}}'
    (stranger / "benchmark_config.json").write_text(config, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--jarvis-report", "--jarvis-engine", "scripted", "-p", "no:hypothesispytest"],
        cwd=stranger,
        env={**environment, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "31 passed" in done.stdout, done.stdout + done.stderr
    (folder,) = (stranger / "reports").iterdir()
    report = load_report(folder)
    assert (30, "scripted") == (len(report.results), report.metadata.engine)
    assert report.gate.exit_failed == bool(done.returncode)
