"""A tiny generative grammar: `[a|b|]` picks one branch, `{name}` takes a slot, French contractions come last."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

_MARK = re.compile(r"[\[\]|]|\{\w+\}")
_SPACES = re.compile(r"\s+")
_VOWELS = "aeiouàâéèêîôAEIOUÉÈÊÎ"
# « de onze minutes » and « de YouTube » stay whole: neither word elides in French.
_CONTRACTION = re.compile(
    rf"\b(?:([Dd])e (?:(le )|(les ))(?=\w)|(à) (?:(le )|(les ))(?=\w)|([Dd]|[Qq]u)e (?!onze)(?=[{_VOWELS}]))"
)

# A sequence of parts: text, a slot written "{name}", or a list of branches, each a sequence again.
_Sequence: TypeAlias = "list[str | list[_Sequence]]"


def expand(template: str, rng: random.Random, slots: Mapping[str, str] | None = None) -> str:
    """Give one sentence of the template: branches drawn from `rng`, slots filled, `de le` contracted to `du`.

    Raises KeyError when the branches drawn name a slot that is not given.
    """
    words: list[str] = []
    _write(_parse(template), rng, slots or {}, words)
    text = "".join(words).strip()
    return contract(_SPACES.sub(" ", text) if "  " in text else text)


def pick(templates: Sequence[str], rng: random.Random, slots: Mapping[str, str] | None = None) -> str:
    """Expand one template drawn from a list."""
    return expand(rng.choice(templates), rng, slots)


def contract(text: str) -> str:
    """Give the text with the contractions and elisions that French makes compulsory."""
    return _CONTRACTION.sub(_contracted, text)


def capitalise(text: str) -> str:
    """Give the text with its first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def _contracted(match: re.Match[str]) -> str:
    de, de_le, _, a, a_le, _, elided = match.groups()
    if elided:
        return f"{elided}'"
    if a:
        return "au " if a_le else "aux "
    return f"{de}u " if de_le else f"{de}es "


def _write(sequence: _Sequence, rng: random.Random, slots: Mapping[str, str], words: list[str]) -> None:
    for part in sequence:
        if not isinstance(part, str):
            _write(rng.choice(part), rng, slots, words)
        elif part.startswith("{"):
            words.append(slots[part[1:-1]])
        else:
            words.append(part)


@lru_cache(maxsize=4096)
def _parse(template: str) -> _Sequence:
    top: _Sequence = []
    sequence = top
    enclosing: list[tuple[_Sequence, list[_Sequence]]] = []
    place = 0
    for mark in _MARK.finditer(template):
        if text := template[place : mark.start()]:
            sequence.append(text)
        place = mark.end()
        if mark.group() == "[":
            branches: list[_Sequence] = [[]]
            sequence.append(branches)
            enclosing.append((sequence, branches))
            sequence = branches[0]
        elif mark.group() == "]":
            sequence, _ = enclosing.pop()
        elif mark.group() == "|":
            sequence = []
            enclosing[-1][1].append(sequence)
        else:
            sequence.append(mark.group())
    if enclosing:
        raise ValueError(f"{template!r}: a '[' is never closed; expected as many ']'")
    if text := template[place:]:
        sequence.append(text)
    return top
