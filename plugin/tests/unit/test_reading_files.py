"""`files`: files people write become typed values, or one sentence about what is wrong with them."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_jarvis.files import (
    InputError,
    _explain,
    convert,
    decode_json,
    find_root,
    read_json,
    read_text,
    read_toml,
    refuse_repeated_keys,
    suggest,
    time_limit,
    well_formed,
)


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of a list."""

    text: str
    id: str | None = None
    tags: tuple[str, ...] = ()


class Colour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value of a mapping."""

    red: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A dataclass inside a document."""

    size: int = 1


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something of everything."""

    title: str = ""
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    count: int | None = None
    on: bool = True
    mode: Literal["fast", "slow"] = "fast"
    maybe: Literal["fast", "slow"] | None = None
    modes: tuple[Literal["fast", "slow"], ...] = ()
    items: Annotated[tuple[Item, ...], msgspec.Meta(min_length=1)] | None = None
    shares: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}
    colours: Mapping[str, Colour] | None = None
    plain: Plain = Plain()
    pair: tuple[int, int] = (0, 0)


def sentence(tmp_path: Path, text: str) -> str:
    """Return what reading `text` as JSON says, without the path it must begin with."""
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_json(path, Document)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def test_the_text_of_a_file_is_given_back(tmp_path) -> None:
    (tmp_path / "a").write_bytes("é\r\n".encode())
    assert read_text(tmp_path / "a") == "é\r\n"


def test_a_byte_order_mark_is_not_text(tmp_path) -> None:
    (tmp_path / "a").write_text("é", encoding="utf-8-sig")
    assert read_text(tmp_path / "a") == "é"


@pytest.mark.parametrize(
    ("data", "expected"),
    [("a\nb\nété".encode("latin-1"), "line 3: byte 0xe9"), ("été".encode("utf-16"), "line 1: byte 0xff")],
)
def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path, data: bytes, expected: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_text(path)
    assert f"{path}: {expected} is not UTF-8; save the file as UTF-8" == str(caught.value)


def test_a_missing_file_is_refused_with_the_reason(tmp_path) -> None:
    path = tmp_path / "a.toml"
    with pytest.raises(InputError) as caught:
        read_text(path)
    assert f"{path}: cannot be read: No such file or directory" == str(caught.value)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="expected a file, found a folder"):
        read_text(tmp_path)


def test_a_toml_file_becomes_a_typed_value(tmp_path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('title = "été"\r\nitems = [{ text = "a" }]\r\n', encoding="utf-8", newline="")
    assert Document(title="été", items=(Item(text="a"),)) == read_toml(path, Document)


def test_a_json_file_becomes_a_typed_value(tmp_path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"share": 1, "pair": [1, 2]}', encoding="utf-8")
    assert Document(share=1.0, pair=(1, 2)) == read_json(path, Document)


def test_bad_toml_is_refused_with_its_line(tmp_path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('title = "a"\nshare =\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_toml(path, Document)
    assert f"{path}: not valid TOML: Invalid value (at line 2, column 8)" == str(caught.value)


BAD_JSON = (
    '{\n "share": 0,\n}',
    '{"title": "été", é}',
    "{}\n é",
    '{\n "title": "été",\n "pair": \n',
    "",
    '{"share": 1e999}',
)
WRONG = """
[] | {"title": 5} | {"title": null} | {"share": "a"} | {"share": true} | {"share": 1.5} | {"count": 1.5} | {"on": "yes"}
{"mode": "fats"} | {"mode": 3} | {"maybe": "no"} | {"modes": ["fast", "no"]} | {"modes": "fast"} | {"items": []}
{"items": [{}]} | {"items": [{"text": ""}, {"text": 5, "id": "tr-07"}]} | {"items": [{"id": 7}]}
{"items": [{"text": "", "tags": ["a", 5]}]} | {"shares": {"a": 1, "b": 2}} | {"plain": {"size": "big"}}
{"colours": {"sky": {"red": 0}, "sea": {"red": 300}}} | {"pair": [1]}
{"titel": ""} | {"items": [{"text": "", "id": "a", "taggs": []}]} | {"colours": {"sky": {"blue": 0}}}
"""


def test_bad_json_is_refused(tmp_path, golden) -> None:
    deep = sentence(tmp_path, "[" * 200_000)
    assert deep == "not valid JSON: brackets are nested too deep"
    assert golden == "".join(f"{text}\n    {sentence(tmp_path, text)}\n" for text in BAD_JSON)


def test_a_wrong_value_and_an_unknown_key_are_refused_with_their_place(tmp_path, golden) -> None:
    texts = [text.strip() for text in WRONG.strip().replace("\n", "|").split("|")]
    assert golden == "".join(f"{text}\n    {sentence(tmp_path, text)}\n" for text in texts)


def test_a_long_value_is_cut(tmp_path) -> None:
    said = sentence(tmp_path, f'{{"title": ["{"é" * 20}", "{"b" * 60}"]}}')
    assert said == f'title: expected a string, found ["{"é" * 20}", "{"b" * 33}…'


def test_what_toml_alone_can_hold_is_shown(tmp_path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("items = [2025-01-02]", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_toml(path, Document)
    assert f'{path}: items: entry 1: expected a table, found "2025-01-02"' == str(caught.value)


def test_a_value_from_elsewhere_is_refused_with_where_it_came_from() -> None:
    with pytest.raises(InputError) as caught:
        convert({"pair": [1, "b"]}, Document, "the answer")
    assert str(caught.value) == "the answer: pair: entry 2: expected a whole number, found 'b'"


def test_a_wrong_value_that_cannot_be_found_again_is_still_told() -> None:
    said = _explain("Expected `int`, got `str` - at `$.shares[...]`", {"shares": {"a": 1}}, Document)
    assert said == "shares: a value: expected a whole number, found null"


@pytest.mark.parametrize(
    ("name", "expected"), [("volum_tool", "; did you mean 'volume_tool'?"), ("xyz", "; known: mute_tool, volume_tool")]
)
def test_an_unknown_name_is_followed_by(name: str, expected: str) -> None:
    assert expected == suggest(name, ["volume_tool", "mute_tool"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "a": 2}', "x: line 1: the key 'a' stands on line 1 already; keep one of the two"),
        (
            '{"a": {"b": "}:{",\n "c": [{"b": 1}, {"b": 2}],\n "b": null}}',
            "x: line 3: the key 'b' stands on line 1 already; keep one of the two",
        ),
        ('{"é": 1,\n\n"\\u00e9": 1}', "x: line 3: the key 'é' stands on line 1 already; keep one of the two"),
        ('{"a\\":": 1, "a\\":": 1}', "x: line 1: the key 'a\":' stands on line 1 already; keep one of the two"),
    ],
)
def test_a_key_that_stands_twice_in_a_table_is_refused_with_its_lines(text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_repeated_keys(text, "x")
    assert expected == str(caught.value)


@pytest.mark.parametrize("text", ["5", "[]", '"a"', '{"a": {"a": ["a", "a", {"a": "a"}]}, "b": {"a": "\\\\"}}'])
def test_a_key_may_stand_in_several_tables(text: str) -> None:
    refuse_repeated_keys(text, "x")


TEXTS = st.text('a\\"\ud83d\ude00\udfff\ufeff😀', max_size=8)


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=6))
def test_lone_surrogates_become_replacements_however_json_has_them(document: object) -> None:
    expected = well_formed(document)
    assert expected == decode_json(json.dumps(document))
    assert json.dumps(expected, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ['{"a": "\\ud800', '["\\ud800", NaN]', '"\\ud800" x'])
def test_a_lone_surrogate_excuses_no_other_fault(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(text)


@pytest.mark.parametrize("file", ["pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py"])
def test_the_root_is_that_of_pytest_from_any_folder_under_it(tmp_path, file: str) -> None:
    sections = {"pyproject.toml": "[tool.pytest.ini_options]", "tox.ini": "[pytest]", "setup.cfg": "[tool:pytest]"}
    below = tmp_path / "tests" / "deep"
    below.mkdir(parents=True)
    assert Path() == find_root(below)
    (tmp_path / file).write_text(sections.get(file, ""), encoding="utf-8")
    asked = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider"]
    said = subprocess.run(asked, cwd=below, capture_output=True, encoding="utf-8", check=False).stdout
    assert tmp_path == (below / find_root(below)).resolve()
    assert f"rootdir: {tmp_path}\n" in said


def test_a_block_that_takes_too_long_is_refused_and_the_timer_of_another_goes_on() -> None:
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        with pytest.raises(InputError, match="too long"), time_limit(0.05, "too long"):
            re.fullmatch("(a+)+b", "a" * 60)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
