"""`outputs.files`: each file on its own, whole or not there, and none that costs the others."""

import json
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis.inputs.config import FILES
from pytest_jarvis.render.files import THRESHOLDS_FILE, encode_thresholds, write_outputs
from pytest_jarvis.report.io import encode_report, load_report
from pytest_jarvis.types import Storage


def names_in(folder: Path) -> set[str]:
    """Return the names of a folder's files."""
    return {path.name for path in folder.iterdir()}


def fail(*arguments: object) -> bytes:
    raise RuntimeError("plus d'encre\x1b[31m")


def test_every_format_asked_for_is_written(make_report, tmp_path) -> None:
    assert write_outputs(make_report(categories=1, prompts=2), tmp_path, list(FILES)) == []
    assert names_in(tmp_path) == {THRESHOLDS_FILE, *FILES.values()}


def test_the_thresholds_are_written_whatever_is_asked_for(make_report, tmp_path) -> None:
    assert write_outputs(make_report(), tmp_path, []) == []
    assert names_in(tmp_path) == {THRESHOLDS_FILE}


def test_each_threshold_has_value_bar_verdict_and_why(make_report) -> None:
    document = json.loads(encode_thresholds(make_report(gains={"jarvis": 0.6})))
    assert document["verdict"] == "PASS"
    by_name = {one["name"]: one for one in document["thresholds"]}
    gain = by_name["relevance_gain"]
    assert (gain["bar"], gain["verdict"], gain["why"]) == (0.05, "PASS", "proven")
    assert gain["value"] > 0.05


def test_the_thresholds_say_how_the_weights_were_stored(make_report) -> None:
    stored = Storage(format="nf4", share=0.2)
    report = make_report()
    metadata = msgspec.structs.replace(report.metadata, quantization=stored)
    partly = msgspec.structs.replace(report, metadata=metadata)
    assert msgspec.to_builtins(stored) == json.loads(encode_thresholds(partly))["quantization"]


def test_a_failing_chart_keeps_all_the_rest(make_report, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pytest_jarvis.render.charts.chart_png", fail)
    monkeypatch.setattr("pytest_jarvis.render.charts.chart_svgs", fail)
    problems = write_outputs(make_report(), tmp_path, list(FILES))
    assert names_in(tmp_path) == {THRESHOLDS_FILE, *FILES.values()} - {"charts.png"}
    assert {problem.file for problem in problems} == {"charts.png", "graphiques de report.html"}
    for problem in problems:
        assert "RuntimeError: plus d'encre[31m" in problem.sentence
        assert "\n" not in problem.sentence


@pytest.mark.parametrize("broken", ["text.render_text", "markdown.render_markdown", "files.insights"])
def test_no_failure_of_a_file_is_an_exception(make_report, tmp_path, monkeypatch, broken: str) -> None:
    monkeypatch.setattr(f"pytest_jarvis.render.{broken}", fail)
    problems = write_outputs(make_report(), tmp_path, ["text", "markdown"])
    assert problems != []
    assert THRESHOLDS_FILE in names_in(tmp_path)


def test_a_folder_that_cannot_be_written_is_told_for_each_file(make_report, tmp_path) -> None:
    problems = write_outputs(make_report(), tmp_path / "absent", ["text", "markdown"])
    assert [problem.file for problem in problems] == [THRESHOLDS_FILE, "report.txt", "summary.md"]


def test_an_interrupt_is_not_taken_for_a_failing_picture(make_report, tmp_path, monkeypatch) -> None:
    def interrupt(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_jarvis.render.text.render_text", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_outputs(make_report(), tmp_path, ["text"])


def test_the_same_report_gives_the_same_bytes_twice(make_report, tmp_path) -> None:
    report = make_report(categories=1, prompts=3)
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        assert write_outputs(report, folder, list(FILES)) == []
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1]


def test_the_summary_of_a_step_is_appended_only_with_markdown(make_report, tmp_path) -> None:
    step = tmp_path / "step"
    report = make_report(categories=1, prompts=2)
    write_outputs(report, tmp_path, ["text"], step_summary=step)
    assert not step.exists()
    write_outputs(report, tmp_path, ["markdown"], step_summary=step)
    assert step.read_text(encoding="utf-8").startswith("# RAPPORT JARVIS")


def test_a_step_summary_that_cannot_be_written_is_a_problem_not_an_error(make_report, tmp_path) -> None:
    problems = write_outputs(make_report(), tmp_path, ["markdown"], step_summary=tmp_path)
    assert [problem.file for problem in problems] == [str(tmp_path)]
    assert "summary.md" in names_in(tmp_path)


def test_the_thresholds_of_a_report_read_back_are_the_same_bytes(make_report, tmp_path) -> None:
    report = make_report(gains={"jarvis": 0.6})
    path = tmp_path / "report.json"
    path.write_bytes(encode_report(report))
    read_back = load_report(path)
    assert encode_thresholds(report) == encode_thresholds(read_back)
