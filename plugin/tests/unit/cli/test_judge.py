"""`pytest-jarvis judge`: a file of answers in, lines with outcomes out, and how far labels agree."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_jarvis.cli import main


def _file(folder: Path, *lines: str, name: str = "answers.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_each_line_gets_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = _file(tmp_path, '{"prompt_id": "cv-01", "text": "J\'ouvre Chrome.", "arm": "base", "replicate": 0}')
    assert main(["judge", answers]) == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["outcome"], line["tool"], line["arm"], line["replicate"]) == ("done", "open_app_tool", "base", 0)
    assert {"target", "reason", "relevance", "keywords"} <= set(line)


def test_answers_to_a_prompt_that_is_asked_no_more_are_judged_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", _file(tmp_path, '{"prompt_id": "cv-08", "text": "Je verrouille la session."}')]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "done"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "answers.jsonl",
            (
                '{"prompt_id": "cv-01", "text": "J\'ouvre Chrome.", "expected_outcome": "done"}',
                '{"prompt_id": "cv-01", "text": "Je ferme Chrome.", "label": "done"}',
            ),
        ),
        (
            "answers.csv",
            ("prompt_id,text,expected_outcome", "cv-01,J'ouvre Chrome.,done", 'cv-01,"Je ferme Chrome.",done'),
        ),
    ],
)
def test_labels_give_an_agreement_and_the_disagreements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, lines: tuple[str, ...]
) -> None:
    assert main(["judge", _file(tmp_path, *lines, name=name), "--out", str(tmp_path / "judged.jsonl")]) == 0
    printed = capsys.readouterr().out
    assert "fait ou non 1/2 (50,0\xa0%)" in printed.replace("\u202f", "\xa0")
    assert "étiquette «\xa0fait\xa0», jugé «\xa0autre action\xa0»" in printed.replace("\u202f", "\xa0")
    assert len((tmp_path / "judged.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"prompt_id": "cv-99", "text": ""}', "line 1: prompt_id: no prompt 'cv-99'"),
        ('{"prompt_id": "cv-01"}', "line 1: "),
        ('["cv-01"]', "line 1: expected a JSON object"),
        ('{"prompt_id": "cv-01", "text": "a", "expected_outcome": "fine"}', "line 1: expected_outcome"),
        ("", "no answers"),
        ('{"prompt_id": "cv-01", "text": "a", "text": "b"}', "line 1: "),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, found: str) -> None:
    assert main(["judge", _file(tmp_path, line)]) == 4
    assert found in capsys.readouterr().err


def test_a_field_too_many_is_no_part_of_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ("prompt_id,text", "cv-01,J'ouvre Chrome, puis Word")
    assert main(["judge", _file(tmp_path, *lines, name="answers.csv")]) == 4
    assert "line 2: text: expected a string" in capsys.readouterr().err


def test_a_device_is_written_to_and_a_surrogate_is_replaced(tmp_path: Path) -> None:
    answers = _file(tmp_path, '{"prompt_id": "cv-01", "text": "J\'ouvre Chrome. \\ud800"}')
    assert main(["judge", answers, "--out", os.devnull]) == 0
    assert not Path(os.devnull).is_file()
    assert main(["judge", answers, "--out", str(tmp_path / "judged.jsonl")]) == 0
