"""Normalise French text for comparison: a canonical form, and words that survive elisions."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_LETTERS = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "´": "'", "œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "\u2010": "-"}  # a hyphen
)
# Underscores inside a word belong to it (`volume_up_tool`); around it they are emphasis (`_volume_`).
_WORD = re.compile(r"[^\W_]+(?:_+[^\W_]+)*")


class _VisibleLetters(dict[int, int | None]):
    """Translation table that drops accents and invisible characters from NFD text; filled on use."""

    def __missing__(self, code: int) -> int | None:
        char = chr(code)
        hidden = unicodedata.combining(char) or unicodedata.category(char) == "Cf"
        kept = self[code] = None if hidden else code
        return kept


_VISIBLE = _VisibleLetters()


def canonical(text: str) -> str:
    """Return `text` in NFKC, with straight apostrophes, without ligatures, case, accents or double spaces.

    NFKC turns narrow and no-break spaces into plain ones; accents are the combining marks of NFD. Invisible characters
    (soft hyphens, zero-width spaces and joiners) are dropped.
    """
    if text.isascii():
        return " ".join(text.casefold().split())
    # NFKC would split the spacing acute accent, so letters are mapped before it; « ǽ » is « æ » only after NFD.
    plain = unicodedata.normalize("NFKC", text.translate(_LETTERS)).casefold()
    visible = unicodedata.normalize("NFD", plain).translate(_VISIBLE)
    return " ".join(visible.translate(_LETTERS).split())


def words(text: str) -> tuple[str, ...]:
    """Return the words of `text` in canonical form; apostrophes and hyphens separate, inner underscores do not."""
    return tuple(_WORD.findall(canonical(text)))


@lru_cache(maxsize=4096)
def phrase(text: str) -> str:
    """Return the words of `text` as one string with a space on both ends, so that `in` respects word boundaries."""
    return f" {' '.join(words(text))} "


def find_phrases(text: str, phrases: Iterable[str], *, substring: bool = False) -> tuple[str, ...]:
    """Return those of `phrases` of which one alternative, between bars, occurs in `text`, in their own order.

    A phrase occurs when its words are consecutive in the text (« heure » is in « l'heure », « son » is not in
    « maison »); with `substring`, when its canonical form occurs anywhere in the text's.
    """
    if substring:
        whole = canonical(text)
        return tuple(item for item in phrases if any(canonical(one) in whole for one in item.split("|")))
    spaced = phrase(text)
    return tuple(item for item in phrases if any(phrase(one) in spaced for one in item.split("|")))


def value_allowed(value: object, expected: object) -> bool:
    """Return whether a value equals the expected one: texts regardless of case and accents, numbers by value.

    A list expects one of its values; a list as value is compared as a whole.
    """
    if isinstance(expected, list) and not isinstance(value, list):
        return any(value_allowed(value, one) for one in expected)
    if isinstance(value, str) and isinstance(expected, str):
        return canonical(value) == canonical(expected)
    if isinstance(value, bool) is not isinstance(expected, bool):
        return False
    return value == expected
