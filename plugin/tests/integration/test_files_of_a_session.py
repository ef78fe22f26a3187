"""What a session leaves beside its numbers: the files asked for, and a word on those that could not be made."""

from importlib import import_module

import pytest

from pytest_jarvis.files import InputError


def test_a_session_leaves_every_file_by_default(project) -> None:
    (project.folder / "benchmark_config.json").unlink()
    project.run("--jarvis-report-dir", "out").assert_outcomes(passed=3)
    names = {path.name for path in (project.folder / "out").iterdir()}
    assert names == {"report.json", "thresholds.json", "report.txt", "summary.md", "report.html", "charts.png"}


def test_a_failing_chart_costs_neither_the_numbers_nor_the_verdict(project, monkeypatch) -> None:
    project.configure(output={"formats": ["text", "charts"]})

    def fail(*arguments: object) -> bytes:
        raise RuntimeError("plus d'encre")

    # Imported here: a module that a session within a test imported is another one than that of the next session.
    monkeypatch.setattr(import_module("pytest_jarvis.render.charts"), "chart_png", fail)
    result = project.run("--jarvis-report-dir", "out")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*charts.png*plus d'encre*"])
    assert project.report().gate.verdict == "PASS"
    names = {path.name for path in (project.folder / "out").iterdir()}
    assert names == {"report.json", "thresholds.json", "report.txt"}


def test_a_session_leaves_only_the_formats_configured_and_the_summary_for_the_step_of_github(
    project, monkeypatch
) -> None:
    project.configure(output={"formats": ["markdown"]})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.folder / "step"))
    assert project.run("--jarvis-report-dir", "out").ret == 0
    names = {path.name for path in (project.folder / "out").iterdir()}
    assert names == {"report.json", "thresholds.json", "summary.md"}
    assert (project.folder / "step").read_text(encoding="utf-8").startswith("# RAPPORT JARVIS")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), InputError("there is a report already")])
def test_a_report_that_cannot_be_written_ends_in_a_sentence_and_keeps_the_numbers_on_the_terminal(
    project, monkeypatch, error: Exception
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("pytest_jarvis.run.build_report.write_report", fail)
    result = project.run("--jarvis-report-dir", "out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["pertinence *", "ERROR: no report is written: *--jarvis-reuse takes the responses*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


INTERRUPTED = """
def ctrl_c():
    raise KeyboardInterrupt

# As some instructions of Python are: of no line. An entry is a byte and covers up to eight code units.
eights, rest = divmod(len(ctrl_c.__code__.co_code) // 2, 8)
no_line = b"\\xff" * eights + (bytes([0xF8 | rest - 1]) if rest else b"")
ctrl_c.__code__ = ctrl_c.__code__.replace(co_linetable=no_line)

def test_commands(jarvis_case, jarvis_measure):
    jarvis_measure(jarvis_case)
    ctrl_c()
"""


def test_ctrl_c_within_an_instruction_of_no_line_leaves_a_report_and_says_how_to_resume(project) -> None:
    project.pytester.makepyfile(test_benchmark=INTERRUPTED)
    result = project.pytester.runpytest_inprocess(
        *("-p", "no:hypothesispytest", "--jarvis-engine", "scripted", "--jarvis-report-dir", "out"),
        no_reraise_ctrlc=True,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["Interrompu*--jarvis-reuse*", "*KeyboardInterrupt*"])
    assert "TypeError" not in result.stdout.str() + result.stderr.str()
    assert not project.report().complete
