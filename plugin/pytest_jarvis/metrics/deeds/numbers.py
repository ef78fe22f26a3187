"""Quantities in French text, in digits and words: durations in seconds, hours of the day in minutes, per cent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["seconds", "percent", "clock", "none"]

_ONES: Final = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "un",
            "deux",
            "trois",
            "quatre",
            "cinq",
            "six",
            "sept",
            "huit",
            "neuf",
            "dix",
            "onze",
            "douze",
            "treize",
            "quatorze",
            "quinze",
            "seize",
        ]
    )
} | {"une": 1}
_TENS: Final = {"vingt": 20, "vingts": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60}
_LARGE: Final = {"cent": 100, "cents": 100, "mille": 1000}
_WORDS: Final = _ONES | _TENS | _LARGE
_SECONDS: Final = {
    **dict.fromkeys(("seconde", "secondes", "sec", "s", "second", "seconds"), 1.0),
    **dict.fromkeys(("minute", "minutes", "min", "mins", "minuttes", "mn", "minuts"), 60.0),
    **dict.fromkeys(("heure", "heures", "h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("jour", "jours", "day", "days"), 86400.0),
}
_PERCENT: Final = frozenset({"%", "pourcent", "pourcents", "pourcentage", "points", "point", "crans", "percent"})
_CLOCK: Final = re.compile(r"(\d{1,2})[h:](\d{2})?")
_LONG_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})")
_DIGITS: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit, and the words that said it: `start` to `end` among the words of a sentence."""

    value: float
    unit: Unit
    start: int = 0
    end: int = 0


def is_number(word: str) -> bool:
    """Whether a canonical word is a number, but for « un » and « une », which are articles most of the time."""
    return word.lstrip("+-")[:1].isdigit() or (word in _WORDS and word not in {"un", "une", "neuf"})


def quantities(words: Sequence[str]) -> list[Quantity]:
    """Return the quantities among canonical words, in their order."""
    words = list(words)
    found: list[Quantity] = []
    index = 0
    while index < len(words):
        quantity = _special(words, index) or _plain(words, index)
        if quantity:
            found.append(quantity)
        index = quantity.end if quantity else index + 1
    return found


def _special(words: Sequence[str], at: int) -> Quantity | None:
    """Return a quantity that is no count of a unit: « un quart d'heure », « midi », « 15:00 »."""
    word, following = words[at], tuple(words[at + 1 : at + 4])
    if "heure" in following:
        if word in {"quart", "quarts"}:
            return Quantity(900.0, "seconds", at, at + 3)
        if word in {"trois", "3"} and following[0] == "quarts":
            return Quantity(2700.0, "seconds", at, at + 4)
        if word == "demi" and following[0] == "heure":
            return Quantity(1800.0, "seconds", at, at + 2)
    return _time_of_day(word, following, at)


def _time_of_day(word: str, following: Sequence[str], at: int) -> Quantity | None:
    if word in {"midi", "minuit"}:
        return Quantity(720.0 if word == "midi" else 0.0, "clock", at, at + 1)
    if word.isdigit() and len(following) > 1 and following[0] == "h" and following[1].isdigit():
        return Quantity(60.0 * float(word) + float(following[1]), "clock", at, at + 3)
    if long := _LONG_CLOCK.fullmatch(word):
        hours, minutes, seconds = map(int, long.groups())
        return Quantity(3600.0 * hours + 60 * minutes + seconds, "seconds", at, at + 1)
    if clock := _CLOCK.fullmatch(word):
        return Quantity(60.0 * int(clock[1]) + int(clock[2] or 0), "clock", at, at + 1)
    return None


def _plain(words: Sequence[str], at: int) -> Quantity | None:
    """Return a number with its unit, per cent or none; « un » alone is an article."""
    value, end = _number(words, at)
    if value is None:
        return None
    unit = words[end] if end < len(words) else ""
    if unit in _SECONDS:
        if unit in {"heure", "heures", "h"} and at and words[at - 1] in {"a", "vers", "pour", "des"}:
            return Quantity(60.0 * value, "clock", at, end + 1)
        return _with_rest(words, value * _SECONDS[unit], at, end + 1)
    share = 2 if [*words[end : end + 2]] == ["pour", "cent"] else int(unit in _PERCENT)
    if not share and end == at + 1 and words[at] in {"un", "une", "neuf"}:
        return None
    return Quantity(abs(value), "percent" if share else "none", at, end + share)


def _with_rest(words: Sequence[str], seconds: float, start: int, end: int) -> Quantity:
    """Add what follows a duration: « une heure et demie », « six minutes et cinquante-neuf secondes »."""
    rest = end + 1 if end < len(words) and words[end] == "et" else end
    if words[rest : rest + 1] in (["demie"], ["demi"]):
        return Quantity(seconds * 1.5 if seconds < 3600 else seconds + 1800, "seconds", start, rest + 1)
    value, after = _number(words, rest)
    if value is not None and after < len(words) and words[after] in _SECONDS:
        return Quantity(seconds + value * _SECONDS[words[after]], "seconds", start, after + 1)
    return Quantity(seconds, "seconds", start, end)


def _number(words: Sequence[str], at: int) -> tuple[float | None, int]:
    """Return the number that begins at a word and where it ends; None where none begins."""
    if at < len(words) and _DIGITS.fullmatch(words[at]):
        return float(words[at].replace(",", ".")), at + 1
    total, end = 0.0, at
    while end < len(words) and (
        words[end] in _WORDS or (words[end] == "et" and end > at and words[end + 1 : end + 2] in (["un"], ["une"]))
    ):
        word = words[end]
        if word == "et":
            end += 1
            continue
        value = _WORDS[word]
        if word in _LARGE and words[end - 1 : end] == ["pour"]:
            break
        if word in _LARGE or (word in {"vingt", "vingts"} and total == 4):
            total = max(total, 1) * value
        elif total and (total % 10 != 0 or (total == 10 and value > 9)) and not (value < 10 and total % 100 == 0):
            break
        else:
            total += value
        end += 1
    return (total, end) if end > at else (None, at)
