"""The catalogue of French words: fixed words and sentences, by the codes of `words.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from pytest_jarvis.render.french.formats import typeset


def word(code: str) -> str:
    """Return a word or sentence, such as `page.title`, with its no-break spaces; KeyError for an unknown code."""
    return _catalogue()[0][code]


def table(code: str) -> Mapping[str, str]:
    """Return the words of a table, such as `labels.stages`, by what they stand for; KeyError for an unknown code."""
    return _catalogue()[1][code]


@cache
def _catalogue() -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
    text = resources.files("pytest_jarvis.render.french").joinpath("words.toml").read_text(encoding="utf-8")
    words: dict[str, str] = {}
    tables: dict[str, dict[str, str]] = {}
    for section, entries in tomllib.loads(text).items():
        for name, entry in entries.items():
            code = f"{section}.{name}"
            if isinstance(entry, str):
                words[code] = typeset(entry)
            else:
                tables[code] = {key: typeset(value) for key, value in entry.items()}
    return words, tables
