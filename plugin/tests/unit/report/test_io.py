"""`report.json` read back: what is not a report is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_jarvis.files import InputError
from pytest_jarvis.render.french.formats import printable
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.report.history import history_entries
from pytest_jarvis.report.io import load_report, write_report
from pytest_jarvis.types import Storage, text_note

SCHEMA_1 = Path(__file__).parents[2] / "data" / "report_of_schema_1.json"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[" * 100_000, "brackets are nested too deep", id="depth"),
        pytest.param('{"schema_version": 1, "a": ' + "[" * 100_000, "brackets are nested too deep", id="depth within"),
        pytest.param('{\n "schema_version": 1', "not a whole JSON file: line 2, column 21: ", id="cut"),
        pytest.param('{\n "schema_version": 1,\n x', "not a whole JSON file: line 3, column 2: ", id="malformed"),
        pytest.param("[]", "not a report of pytest-jarvis: no schema_version at its top", id="no object"),
        pytest.param('{"a": "\udcff"}', "is not UTF-8", id="not UTF-8"),
        pytest.param('{"schema_version": 999}', "read it with the newer version", id="newer"),
    ],
)
def test_what_is_not_a_report_is_refused_in_one_sentence(tmp_path, text: str, said: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError) as refused:
        load_report(path)
    assert said in str(refused.value)
    assert 1 == len(str(refused.value).splitlines())


def test_a_report_of_schema_1_is_read_and_its_sentences_are_shown_as_they_are(tmp_path) -> None:
    report = load_report(SCHEMA_1)
    engine = report.provenance.engine
    assert (3, Storage(format="nf4")) == (report.schema_version, report.metadata.quantization)
    assert (Storage(format="nf4"), 1.0) == (engine.coverage.storage, engine.coverage.share_4bit)
    assert "aucun GPU n’est utilisé" in french_note(report.provenance.notes[0])
    assert text_note("cut after 2.5 s at 12 tokens (finish reason: timeout)") == report.failures[0].reason
    write_report(report, tmp_path)
    assert report == load_report(tmp_path)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("16 bits", Storage(format="16bit")),
        ("not measured (server)", Storage(format="server")),
        ("quantised by its checkpoint (gptq)", Storage(format="checkpoint", method="gptq")),
        (
            "NF4 (double quantisation), partial: 20.0% of",
            Storage(format="text", method="NF4 (double quantisation), partial: 20.0% of"),
        ),
    ],
)
def test_what_schema_1_called_a_storage_is_known(tmp_path, label: str, expected: Storage) -> None:
    document = json.loads(SCHEMA_1.read_text(encoding="utf-8"))
    document["metadata"]["quantization"] = label
    document["regression"] = None
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    assert expected == load_report(tmp_path).metadata.quantization


@pytest.mark.parametrize("name", ["metadata", "failures", "provenance", "complete", "surprise"])
def test_a_damaged_report_of_schema_1_is_refused_in_one_sentence(tmp_path, name: str) -> None:
    document = json.loads(SCHEMA_1.read_text(encoding="utf-8"))
    (tmp_path / "report.json").write_text(json.dumps({**document, name: 3}), encoding="utf-8")
    with pytest.raises(InputError, match=f"report.json: .*{name}"):
        load_report(tmp_path)


SAMPLE = Path(__file__).parents[4] / "reports" / "exemple"


def no_rows(document: dict[str, Any]) -> None:
    document["results"] = []


def no_relevance(document: dict[str, Any]) -> None:
    for sample in (sample for row in document["results"] for sample in row["samples"] if sample["arm"] != "base"):
        sample["relevance"] = 0.0


def no_gain(document: dict[str, Any]) -> None:
    document["decisions"]["jarvis"]["finetuned_mean"] = 0.5


def refused_threshold(document: dict[str, Any]) -> None:
    next(one for one in document["gate"]["thresholds"] if one["name"] == "relevance_gain")["verdict"] = "FAIL"


@pytest.mark.parametrize("with_digest", [True, False])
@pytest.mark.parametrize("edit", [no_rows, no_relevance, no_gain, refused_threshold])
def test_a_verdict_that_the_rows_do_not_give_is_withdrawn(
    tmp_path, edit: Callable[[dict[str, Any]], None], *, with_digest: bool
) -> None:
    document = json.loads(write_report(load_report(SAMPLE), tmp_path).read_bytes())
    edit(document)
    if not with_digest:
        del document["digest"]
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    report = load_report(tmp_path)
    assert (True, "NOT_JUDGED") == (report.is_altered, report.gate.verdict)
    assert [(False, True)] == [(one.in_trend, one.is_altered) for one in history_entries(report, "", "")]


@pytest.mark.parametrize("with_digest", [True, False])
def test_a_report_that_is_laid_out_anew_is_as_it_was_written(tmp_path, *, with_digest: bool) -> None:
    document = json.loads(write_report(load_report(SAMPLE), tmp_path).read_bytes())
    if not with_digest:
        del document["digest"]
    (tmp_path / "report.json").write_text(json.dumps(document, sort_keys=True), encoding="utf-8")
    assert load_report(SAMPLE) == load_report(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("adapters", {}), ("lora_adapter", "autre"), ("plan", {"looks": []}), ("plan", {"looks": [0]})]
)
def test_a_report_that_contradicts_itself_is_refused(tmp_path, key: str, value: object) -> None:
    document = json.loads(write_report(load_report(SAMPLE), tmp_path).read_bytes())
    document["metadata"][key] = value
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="not a whole report: metadata"):
        load_report(tmp_path)


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({}) | st.just([{}])


@given(data=st.data(), value=ANY)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_any_change_of_a_report_is_read_or_refused_in_one_sentence(
    tmp_path, data: st.DataObject, value: object
) -> None:
    document = json.loads((SAMPLE / "report.json").read_bytes())
    document["results"] = document["results"][:2]
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = value
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    try:
        said = repr(load_report(tmp_path))
    except InputError as error:
        said = str(error)
    assert said.startswith((f"{tmp_path}", "Report("))
    assert 1 == len(printable(said).splitlines())
