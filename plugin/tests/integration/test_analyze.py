"""`pytest-jarvis analyze`: all files of a saved report, made again in a process without a model."""

import os
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("content", "said"), [('{"schema_version": 1', "not a whole JSON"), ('{"schema_version": 99}', "newer version")]
)
def test_a_report_that_cannot_be_used_is_one_sentence_and_exit_4(saved, refused, content: str, said: str) -> None:
    (saved / "report.json").write_text(content, encoding="utf-8")
    error = refused("analyze", saved)
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
def test_a_wrong_command_line_is_one_sentence_and_exit_4(refused, arguments: list[str], said: str) -> None:
    assert said in refused(*arguments)


def test_an_out_that_is_a_file_is_one_sentence_and_exit_4(saved, refused) -> None:
    assert "cannot be made" in refused("analyze", saved, "--out", saved / "report.json")


def test_a_file_that_cannot_be_made_is_told_and_exits_1(saved, capsys, monkeypatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise OSError("disque plein")

    monkeypatch.setattr("pytest_jarvis.render.charts.chart_png", fail)
    assert cli.main(["analyze", str(saved), "--format", "charts,text"]) == 1
    out, error = capsys.readouterr()
    assert "report.txt" in out
    assert "charts.png" not in out
    assert "disque plein" in error


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
