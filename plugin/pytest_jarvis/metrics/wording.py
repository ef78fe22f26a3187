"""Find words of French in a text whatever their form: inflected, in digits or in letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from pytest_jarvis.metrics.deeds.lexicon import load_lexicon, stem
from pytest_jarvis.metrics.deeds.sentences import quantities
from pytest_jarvis.text import words

Forms = tuple[frozenset[str], ...]
"""For each word, all that it may stand for."""

ALTERNATIVE = "|"
"""Separates the alternatives of a keyword: « dix minutes|un quart d'heure »."""


@lru_cache(maxsize=8192)
def read_forms(text: str) -> Forms:
    """Return the forms of the words of `text`: a verb's infinitive, a noun's stem, a number's value.

    A quantity is one word, known by its value with and without its unit: « dix minutes » is 600 seconds, and 10.
    """
    plain = words(text)
    found: list[frozenset[str]] = []
    at = 0
    for one in quantities(plain):
        found += map(_forms_of, plain[at : one.start])
        inside = plain[one.start : one.end]
        values = {f"={one.value:g} {one.unit}"} | {f"={part.value:g} none" for part in quantities(inside[:1])}
        found.append(frozenset(values).union(*map(_forms_of, inside)))
        at = one.end
    return (*found, *map(_forms_of, plain[at:]))


@lru_cache(maxsize=8192)
def _forms_of(word: str) -> frozenset[str]:
    verbs = (verb for verb, _ in load_lexicon().plain_forms.get(word, ()))
    return frozenset({stem(word), *(f"{verb}()" for verb in verbs)})


@lru_cache(maxsize=4096)
def _wanted(phrase: str) -> Forms:
    """Return the forms that a text must have; of a quantity, its value alone, with the unit if there is one."""

    def needed(forms: frozenset[str]) -> frozenset[str]:
        values = {form for form in forms if form.startswith("=")}
        return frozenset({form for form in values if not form.endswith(" none")} or values) or forms

    return tuple(map(needed, read_forms(phrase)))


def find_wording(text: str, phrases: Iterable[str]) -> tuple[str, ...]:
    """Return those of `phrases` of which an alternative occurs in `text`, its words in a row, in any form."""
    said = read_forms(text)
    return tuple(phrase for phrase in phrases if any(_occurs(_wanted(one), said) for one in phrase.split(ALTERNATIVE)))


def _occurs(wanted: Forms, said: Forms) -> bool:
    length = len(wanted)
    return any(
        all(one & other for one, other in zip(wanted, said[start : start + length], strict=True))
        for start in range(len(said) - length + 1)
    )


def in_prompt(prompt: str, keywords: Sequence[str]) -> tuple[str, ...]:
    """Return the keywords that the prompt itself holds: repeating it is enough to find them."""
    return find_wording(prompt, keywords)
