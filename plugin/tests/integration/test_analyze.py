"""`pytest-jarvis analyze`: all files of a saved report, made again in a process without a model."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_jarvis import cli
from pytest_jarvis.report.io import write_report

ALL = {"report.json", "thresholds.json", "report.txt", "summary.md", "report.html", "charts.png"}


@pytest.fixture
def saved(make_report, tmp_path) -> Path:
    """Return the folder of a saved report."""
    write_report(make_report(categories=2, prompts=3), tmp_path / "run")
    return tmp_path / "run"


def test_all_files_are_made_again_by_a_process_without_torch(saved) -> None:
    code = (
        "import sys; from pytest_jarvis.cli import main; status = main(['analyze', sys.argv[1]]); "
        "heavy = {'torch', 'transformers', 'peft', 'bitsandbytes', 'sklearn', 'pytest', 'matplotlib.pyplot'}; "
        "print(sorted(heavy & set(sys.modules))); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(saved)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    *written, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert {path.name for path in saved.iterdir()} == ALL
    assert {Path(line.partition(": ")[2]).name for line in written} == ALL - {"report.json"}


def test_another_folder_and_chosen_formats_leave_the_report_alone(saved, tmp_path) -> None:
    before = (saved / "report.json").read_bytes()
    status = cli.main(
        ["analyze", str(saved / "report.json"), "--format", "text, markdown", "--out", str(tmp_path / "a/b")]
    )
    assert status == 0
    assert {path.name for path in (tmp_path / "a/b").iterdir()} == {"thresholds.json", "report.txt", "summary.md"}
    assert {path.name for path in saved.iterdir()} == {"report.json"}
    assert (saved / "report.json").read_bytes() == before


def change(saved: Path, **values: object) -> None:
    """Change keys at the top of a saved report."""
    file = saved / "report.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**document, **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda folder: (folder / "report.json").write_text('{"schema_version": 1', encoding="utf-8"),
            "not a whole JSON",
        ),
        (lambda folder: (folder / "report.json").write_text("[]", encoding="utf-8"), "not a report of pytest-jarvis"),
        (lambda folder: (folder / "report.json").write_bytes(b'{"a": "\xff"}'), "is not UTF-8"),
        (lambda folder: change(folder, schema_version=99), "newer version"),
        (lambda folder: change(folder, surprise=1), "surprise"),
        (lambda folder: change(folder, complete="oui"), "complete"),
        (lambda folder: (folder / "report.json").unlink(), "cannot be read"),
    ],
    ids=["cut", "foreign", "not UTF-8", "newer", "unknown key", "wrong type", "absent"],
)
def test_a_report_that_cannot_be_used_is_one_sentence_and_exit_4(
    saved, capsys, damage: Callable[[Path], object], said: str
) -> None:
    damage(saved)
    assert cli.main(["analyze", str(saved)]) == cli.USAGE_ERROR
    out, error = capsys.readouterr()
    assert out == ""
    assert len(error.splitlines()) == 1
    assert said in error
    assert "report.json" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["analyze"], "REPORT"),
        (["zork"], "zork"),
        (["analyze", "x", "--format", "pdf"], "unknown format 'pdf'; known: charts, html, markdown, text"),
        (["analyze", "x", "--format", ","], "nothing"),
        (["analyze", "x", "--zork"], "--zork"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_4(capsys, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == cli.USAGE_ERROR
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said in error


def test_an_out_that_is_a_file_is_one_sentence_and_exit_4(saved, capsys) -> None:
    assert cli.main(["analyze", str(saved), "--out", str(saved / "report.json")]) == cli.USAGE_ERROR
    assert "cannot be made" in capsys.readouterr().err


def test_a_file_that_cannot_be_made_is_told_and_exits_1(saved, capsys, monkeypatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise OSError("disque plein")

    monkeypatch.setattr("pytest_jarvis.render.charts.chart_png", fail)
    assert cli.main(["analyze", str(saved), "--format", "charts,text"]) == 1
    out, error = capsys.readouterr()
    assert "report.txt" in out
    assert "charts.png" not in out
    assert "disque plein" in error


def test_the_summary_goes_to_the_step_that_github_names(saved, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step"))
    assert cli.main(["analyze", str(saved), "--format", "markdown"]) == 0
    assert (tmp_path / "step").read_text(encoding="utf-8").startswith("# RAPPORT JARVIS")


def test_a_terminal_without_our_letters_gets_plain_ones(saved) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_jarvis.cli", "analyze", str(saved), "--format", "text"],
        check=False,
        capture_output=True,
        encoding="ascii",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Ecrit")
