"""French text made comparable: one canonical form, and words that survive elisions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_LETTERS = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "´": "'", "œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "\u2010": "-"}  # a hyphen
)
# Underscores inside a word belong to it (`volume_up_tool`); around it they are emphasis (`_volume_`).
_WORD = re.compile(r"[^\W_]+(?:_+[^\W_]+)*")


class _Seen(dict[int, int | None]):
    """What stays of each character of NFD: itself, or nothing of an accent or of what is not seen."""

    def __missing__(self, code: int) -> int | None:
        char = chr(code)
        hidden = unicodedata.combining(char) or unicodedata.category(char) == "Cf"
        kept = self[code] = None if hidden else code
        return kept


_SEEN = _Seen()


def canonical(text: str) -> str:
    """Return `text` as it is compared: NFKC, straight apostrophes, no ligature, case, accent or double space.

    NFKC turns narrow and no-break spaces into plain ones; accents are the combining marks of NFD. Characters that are
    not seen (soft hyphens, zero-width spaces and joiners) are dropped.
    """
    if text.isascii():
        return " ".join(text.casefold().split())
    # NFKC would take the spacing acute accent apart, so letters are mapped before it; « ǽ » is « æ » only after NFD.
    plain = unicodedata.normalize("NFKC", text.translate(_LETTERS)).casefold()
    seen = unicodedata.normalize("NFD", plain).translate(_SEEN)
    return " ".join(seen.translate(_LETTERS).split())


def words(text: str) -> tuple[str, ...]:
    """Return the words of `text` in canonical form; apostrophes and hyphens separate, inner underscores do not."""
    return tuple(_WORD.findall(canonical(text)))


def phrase(text: str) -> str:
    """Return the words of `text` as one string with a space on both ends, so that `in` respects word boundaries."""
    return f" {' '.join(words(text))} "


def found_phrases(text: str, phrases: Iterable[str], *, substring: bool = False) -> tuple[str, ...]:
    """Return those of `phrases` that occur in `text`, in their own order.

    A phrase occurs when its words stand consecutively in the text (« heure » is in « l'heure », « son » is not in
    « maison »); with `substring`, when its canonical form is anywhere in that of the text.
    """
    if substring:
        whole = canonical(text)
        return tuple(item for item in phrases if canonical(item) in whole)
    spaced = phrase(text)
    return tuple(item for item in phrases if _asked(item) in spaced)


@lru_cache(maxsize=4096)
def _asked(item: str) -> str:
    """Return the phrase that is looked for; each is, in every response to its prompt."""
    return phrase(item)
