"""The catalogue of French words: every code that is asked for is there, and every one that is there is asked for."""

import re
from pathlib import Path

import pytest

import pytest_jarvis
from pytest_jarvis.render.french.words import _catalogue, table, word

PACKAGE = Path(pytest_jarvis.__file__).parent
ASKED = re.compile(r"\b(word|table)\(\s*[\"']([a-z_.]+)[\"'][,)]")
NAMED = re.compile(r"[\"']([a-z_]+\.[a-z_]+)[\"']")


def test_the_codes_of_the_catalogue_are_those_that_are_asked_for() -> None:
    sources = [path.read_text(encoding="utf-8") for kind in ("*.py", "*.html") for path in PACKAGE.rglob(kind)]
    words, tables = _catalogue()
    known = {*(("word", code) for code in words), *(("table", code) for code in tables)}
    assert {found for source in sources for found in ASKED.findall(source)} - known == set()
    assert {code for _, code in known} - {code for source in sources for code in NAMED.findall(source)} == set()


def test_typography_is_added_as_words_are_read() -> None:
    assert "\u00a0:" in word("page.legend")
    assert table("labels.stages")["timeout"] == "délai dépassé"


def test_an_unknown_code_is_an_error() -> None:
    with pytest.raises(KeyError):
        word("page.nothing")
