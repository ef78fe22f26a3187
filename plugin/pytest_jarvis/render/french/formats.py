"""Numbers, counts and texts in French, on paper and on a terminal."""

import unicodedata
from collections.abc import Callable
from typing import Final

from pytest_jarvis.stats.contrasts import Interval

NBSP: Final = "\u00a0"
"""The no-break space of French typography; unlike the narrow one, every code page of a terminal has it."""
DASH: Final = "–"
"""Stands for what was not measured."""

_SIGNS: Final = "→ ✓ ✗ ⚠ ≥ ≤ ≈ − – — … ’ « » œ Œ ▲ ▼ ═ ─ │"
_PLAIN_SIGNS: Final = """-> v x ! >= <= ~ - - - ... ' " " oe OE + - = - |"""
_PLAIN: Final = dict(zip(_SIGNS.split(), _PLAIN_SIGNS.split(), strict=True))
"""Replacements of signs that the encoding of a terminal lacks; letters lose their accents."""


def number(value: float | None, digits: int = 2) -> str:
    """Return the value with a decimal comma; a dash for None."""
    return DASH if value is None else _decimal(f"{value:z.{digits}f}")


def percent(share: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Return a share as a percentage (« +23,1 % »); a dash for None."""
    if share is None:
        return DASH
    sign = "+" if signed else ""
    return f"{_decimal(f'{share * 100:{sign}z.{digits}f}')}{NBSP}%"


def bar_percent(share: float) -> str:
    """Return the bar of a gain (« +5 % », « +7,5 % »), without a zero decimal."""
    return percent(share, signed=True).replace(f",0{NBSP}", NBSP)


def count_of(value: int) -> str:
    """Return a count with its thousands apart (« 1 234 567 »)."""
    return f"{value:,}".replace(",", NBSP)


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign (« +0,204 »); a dash for None."""
    return DASH if value is None else _decimal(f"{value:+z.{digits}f}")


def points(share: float | None, digits: int = 1) -> str:
    """Return a difference of two shares in points of per cent (« +3,3 pt »); a dash for None."""
    return DASH if share is None else f"{_decimal(f'{share * 100:+z.{digits}f}')}{NBSP}pt"


def bracket(interval: Interval | None, write: Callable[[float], str]) -> str:
    """Return an interval with its ends as `write` has them, their common unit left out; a dash for None."""
    if interval is None:
        return DASH
    low, high = (write(end).partition(NBSP)[0] for end in interval)
    return f"[{low}{NBSP}; {high}]"


def width_of(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    return sum(map(columns_of, text))


def seconds(value: float | None) -> str:
    """Return a duration in seconds, or minutes from two of them on."""
    if value is None:
        return DASH
    if value >= 120:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes}{NBSP}min{NBSP}{rest:02d}{NBSP}s"
    return f"{number(value, 1)}{NBSP}s"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count and its noun: « 0 réponse », « 1 réponse », « 2 000 réponses »."""
    noun = one if abs(count) < 2 else (many or f"{one}s")
    return f"{count_of(count)}{NBSP}{noun}"


def size(count: float) -> str:
    """Return bytes in decimal units: « 512 octets », « 13,4 Mo », « 1,2 To »."""
    unit = "octets"
    for larger in ("ko", "Mo", "Go", "To"):
        if count < 1000:
            break
        count, unit = count / 1000, larger
    return f"{number(count, 0 if unit == 'octets' else 1)}{NBSP}{unit}"


def fit(text: str, width: int) -> str:
    """Return `text` in exactly `width` columns, cut with an ellipsis or filled with spaces."""
    room = width - width_of(text)
    if room >= 0:
        return text + " " * room
    end = used = 0
    while (after := used + columns_of(text[end])) < width:
        end, used = end + 1, after
    return f"{text[:end]}…{' ' * (width - 1 - used)}" if width > 0 else ""


def shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, cut in the middle: names differ at their ends."""
    if width_of(text) <= width:
        return text
    tail = fit(text[::-1], width // 2).rstrip("… ")[::-1]
    return f"{fit(text, width - width_of(tail)).rstrip()}{tail}"


def printable(text: str) -> str:
    """Return `text` on one line, without characters that control a terminal or the direction of text."""
    spaced = "".join(" " if char.isspace() and char != NBSP else char for char in text)
    return "".join(char for char in spaced if char.isprintable() or char == NBSP)


def encodable(text: str, encoding: str | None) -> str:
    """Return `text` with plain signs and letters for those that the encoding lacks."""
    name = encoding or "utf-8"
    try:
        text.encode(name)
    except UnicodeEncodeError:
        return "".join(_encodable_sign(char, name) for char in text)
    return text


def _encodable_sign(char: str, encoding: str) -> str:
    for shown in (char, _PLAIN.get(char, ""), unicodedata.normalize("NFKD", char)):
        taken = shown.encode(encoding, "ignore").decode(encoding)
        if taken:
            return taken
    return "" if unicodedata.combining(char) else "?"


def _decimal(shown: str) -> str:
    return shown.replace(".", ",").replace("-", "−")


def columns_of(char: str) -> int:
    """Return the columns that a character takes on a terminal."""
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def gain_interval(interval: Interval | None) -> str:
    """Return an interval of a gain in per cent: « [+11,9 ; +36,0] »."""
    if interval is None:
        return "[non estimable]"
    low, high = (percent(end, signed=True).removesuffix(f"{NBSP}%") for end in interval)
    return f"[{low}{NBSP}; {high}]"


def typeset(text: str) -> str:
    """Return French text with the no-break spaces of its punctuation."""
    for mark in (":", ";", "?", "!", "»", "%"):
        text = text.replace(f" {mark}", f"{NBSP}{mark}")
    return text.replace("« ", f"«{NBSP}")
