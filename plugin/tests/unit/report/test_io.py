"""`report.json` read back: what is not a report is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_jarvis.files import InputError
from pytest_jarvis.report.io import load_report


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[" * 100_000, "brackets are nested too deep", id="depth"),
        pytest.param('{"schema_version": 1, "a": ' + "[" * 100_000, "brackets are nested too deep", id="depth within"),
        pytest.param('{\n "schema_version": 1', "not a whole JSON file: line 2, column 21: ", id="cut"),
        pytest.param('{\n "schema_version": 1,\n x', "not a whole JSON file: line 3, column 2: ", id="malformed"),
        pytest.param("[]", "no schema_version at its top", id="no object"),
        pytest.param('{"schema_version": 999}', "read it with the newer version", id="newer"),
    ],
)
def test_what_is_not_a_report_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_report(path)
    assert said in str(refused.value)
    assert 1 == len(str(refused.value).splitlines())
