"""`judge`: a file of answers in, lines with outcomes out, and how far labels agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deeds.command import run

from pytest_jarvis.files import InputError


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_each_line_gets_what_it_did(tmp_path: Path) -> None:
    answers = _file(tmp_path, '{"prompt_id": "cv-01", "text": "J\'ouvre Chrome.", "arm": "base", "replicate": 0}')
    (line,) = map(json.loads, run(answers, None, None).splitlines())
    assert (line["outcome"], line["tool"], line["arm"], line["replicate"]) == ("done", "open_app_tool", "base", 0)
    assert {"target", "reason", "relevance", "keywords"} <= set(line)


def test_labels_give_an_agreement_and_the_disagreements(tmp_path: Path) -> None:
    answers = _file(
        tmp_path,
        '{"prompt_id": "cv-01", "text": "J\'ouvre Chrome.", "expected_outcome": "done"}',
        '{"prompt_id": "cv-01", "text": "Je ferme Chrome.", "expected_outcome": "done"}',
    )
    printed = run(answers, tmp_path / "judged.jsonl", None)
    assert printed.startswith("done or not: 1 of 2 agree (50.0%)")
    assert "cv-01: done, judged wrong_action" in printed
    assert len((tmp_path / "judged.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"prompt_id": "cv-99", "text": ""}', "line 1: unknown prompt 'cv-99'"),
        ('{"prompt_id": "cv-01"}', "line 1: Object missing required field `text`"),
        ("", "no answers"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        run(_file(tmp_path, line), None, None)
