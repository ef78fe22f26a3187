"""The catalogue of French words: words, and sentences with values to fill in, by the codes of `words.toml`."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any, Final

from pytest_jarvis.render.french.formats import count_of, number, percent, plural, printable, signed, size, typeset

_NUMBER: Final = re.compile(r"(?P<sign>\+?)(?P<digits>\d?)(?P<percent>%?)")


class _Sentence(Formatter):
    """`str.format` in French: `{gain:+%}`, `{share:0%}`, `{mean:3}` (decimals), `{change:+3}`, `{weights:,}`.

    `{count:réponse}` and `{count:paire|paires}` write a count with its noun, `{count:=est|sont}` the right form alone,
    `{free:octets}` a number of bytes in the unit that suits it.
    """

    def format_field(self, value: Any, format_spec: str) -> str:
        """Return one value; a text is made printable."""
        if isinstance(value, str):
            return format(printable(value), format_spec if format_spec[:1] in {"<", ">"} else "")
        if format_spec in {"", ","}:
            return count_of(value) if format_spec else str(value)
        if format_spec == "octets":
            return size(value)
        if found := _NUMBER.fullmatch(format_spec):
            if found["percent"]:
                return percent(value, int(found["digits"] or 1), signed=bool(found["sign"]))
            return (signed if found["sign"] else number)(value, int(found["digits"]))
        counted = plural(round(value), *format_spec.removeprefix("=").split("|"))
        return counted.partition("\u00a0")[2] if format_spec.startswith("=") else counted


def word(code: str, /, **values: object) -> str:
    """Return a word or sentence, such as `page.title`, with its values; KeyError for an unknown code."""
    found = _catalogue()[0][code]
    return fill(found, values) if values else found


def table(code: str) -> Mapping[str, str]:
    """Return the words of a table, such as `labels.stages`, by what they stand for; KeyError for an unknown code."""
    return _catalogue()[1][code]


def fill(sentence: str, values: Mapping[str, object]) -> str:
    """Return a sentence of a table with its values and no-break spaces."""
    return typeset(_Sentence().vformat(sentence, (), values))


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
