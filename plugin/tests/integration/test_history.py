"""`pytest-jarvis history`: the runs of a folder, with the damaged ones named."""

import json
import struct
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis import cli
from pytest_jarvis.render.charts.history import history_png
from pytest_jarvis.report.io import write_report

change = msgspec.structs.replace


@pytest.fixture
def reports(make_report, tmp_path) -> Path:
    """Return a folder with two series of two runs, a damaged report, and a baseline."""
    folder = tmp_path / "reports"
    for day in range(1, 5):
        report = make_report(seed=day, gains={"jarvis": 0.2 * day})
        metadata = change(report.metadata, timestamp=f"2026-03-0{day}T10:00:00+00:00")
        provenance = report.provenance if day < 3 else change(report.provenance, prompt_hash="d" * 64)
        write_report(change(report, metadata=metadata, provenance=provenance), folder / f"run{day}")
    (folder / "broken").mkdir()
    (folder / "broken" / "report.json").write_text("{", encoding="utf-8")
    assert cli.main(["baseline", "set", str(folder / "run2"), "--reports", str(folder)]) == 0
    return folder


def test_runs_are_listed_and_damaged_reports_are_named(reports, capsys) -> None:
    capsys.readouterr()
    assert cli.main(["history", str(reports)]) == 0
    shown = capsys.readouterr()
    assert "Série 1" in shown.out
    assert "Série 2" in shown.out
    assert "2026-03-04 10:00" in shown.out
    assert "run2/report.json" in "".join(shown.out.split())
    assert "Rapport ignoré" in shown.err
    assert "broken" in shown.err


def test_json_holds_every_run_and_what_is_damaged(reports, shown) -> None:
    document = json.loads(shown("history", reports, "--json"))
    assert [2, 2] == [len(one["entries"]) for one in document["series"]]
    assert [False, True, False, False] == [run["is_baseline"] for one in document["series"] for run in one["entries"]]
    assert len(document["damaged"]) == 1


def test_the_trend_is_drawn_in_a_png(reports, tmp_path, capsys) -> None:
    assert cli.main(["history", str(reports), "--png", str(tmp_path / "trend.png")]) == 0
    data = (tmp_path / "trend.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (1600, 1040)
    assert "trend.png" in capsys.readouterr().out


def test_the_same_runs_give_the_same_bytes(reports) -> None:
    from pytest_jarvis.cli.saved_runs import read_series

    series, _ = read_series(reports)
    assert history_png(series) == history_png(series)


def test_a_picture_of_no_run_says_that_nothing_was_measured() -> None:
    assert history_png(()).startswith(b"\x89PNG")


def test_an_empty_folder_is_no_error_and_a_missing_one_is(tmp_path, shown, refused) -> None:
    assert "Aucun essai" in shown("history", tmp_path)
    assert "no such folder" in refused("history", tmp_path / "nowhere")


def test_a_picture_that_cannot_be_written_is_one_sentence(reports, capsys) -> None:
    assert cli.main(["history", str(reports), "--png", str(reports / "no" / "trend.png")]) == 4
    assert "cannot be written" in capsys.readouterr().err


def test_the_configured_folder_is_the_default(reports, monkeypatch, capsys) -> None:
    monkeypatch.chdir(reports.parent)
    assert cli.main(["history"]) == 0
    assert "Série 2" in capsys.readouterr().out
