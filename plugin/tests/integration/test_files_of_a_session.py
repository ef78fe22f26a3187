"""What a session leaves beside its numbers: the files asked for, and a word on those that could not be made."""

from __future__ import annotations

from importlib import import_module

import pytest


def test_a_session_leaves_every_file_by_default(project) -> None:
    (project.folder / "benchmark_config.json").unlink()
    assert project.run("--jarvis-report-dir", "out").ret == 0
    names = {path.name for path in (project.folder / "out").iterdir()}
    assert names == {"report.json", "thresholds.json", "report.txt", "summary.md", "report.html", "charts.png"}


def test_a_session_leaves_only_the_formats_configured(project) -> None:
    config = '{"output": {"formats": ["markdown"]}}'
    (project.folder / "benchmark_config.json").write_text(config, encoding="utf-8")
    assert project.run("--jarvis-report-dir", "out").ret == 0
    names = {path.name for path in (project.folder / "out").iterdir()}
    assert names == {"report.json", "thresholds.json", "summary.md"}


def test_a_failing_chart_costs_neither_the_numbers_nor_the_verdict(project, monkeypatch: pytest.MonkeyPatch) -> None:
    config = '{"output": {"formats": ["text", "charts"]}}'
    (project.folder / "benchmark_config.json").write_text(config, encoding="utf-8")

    def fail(*arguments: object) -> bytes:
        raise RuntimeError("plus d'encre")

    # Imported here: a module that a session within a test imported is another one than that of the next session.
    monkeypatch.setattr(import_module("pytest_jarvis.outputs.charts"), "chart_png", fail)
    result = project.run("--jarvis-report-dir", "out")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*charts.png*plus d'encre*"])
    assert project.report().gate.verdict == "PASS"
    names = {path.name for path in (project.folder / "out").iterdir()}
    assert names == {"report.json", "thresholds.json", "report.txt"}


def test_the_step_summary_gets_the_summary_of_the_session(project, monkeypatch: pytest.MonkeyPatch) -> None:
    config = '{"output": {"formats": ["markdown"]}}'
    (project.folder / "benchmark_config.json").write_text(config, encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.folder / "step"))
    project.run("--jarvis-report-dir", "out")
    assert (project.folder / "step").read_text(encoding="utf-8").startswith("# RAPPORT JARVIS")
