"""Keywords and JARVIS relevance of a response's text, its words in any form: inflected, in digits, in letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.deeds import Outcome
from pytest_jarvis.metrics.deeds.lexicon import load_lexicon, stem
from pytest_jarvis.metrics.deeds.sentences import quantities
from pytest_jarvis.text import find_phrases, phrase, words
from pytest_jarvis.types import PromptCase, Tool

RELEVANCE_SHARE: Final = 0.3  # The share of the terms at which a response's relevance reaches 1.


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """The terms of all tools, prepared for the search."""

    terms: tuple[str, ...]
    """Each once."""
    tools_of: tuple[tuple[str, ...], ...]
    """The tools of each term."""
    phrases: tuple[str, ...]
    """The canonical phrase of each term."""
    terms_of: dict[str, tuple[str, ...]]
    """Tool -> its own terms."""

    @classmethod
    def of(cls, tools: Sequence[Tool]) -> Dictionary:
        """Return the dictionary of `tools`, in their order."""
        owners: dict[str, list[str]] = {}
        shown: dict[str, str] = {}
        for tool in tools:
            for term in tool.terms:
                shown.setdefault(phrase(term), term)
                owners.setdefault(phrase(term), []).append(tool.name)
        return cls(
            terms=tuple(shown.values()),
            tools_of=tuple(map(tuple, owners.values())),
            phrases=tuple(shown),
            terms_of={tool.name: tool.terms for tool in tools},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """Keywords and terms found in one response."""

    keywords_found: tuple[str, ...]
    keyword_share: float
    """Share of the prompt's keywords that occur, in [0, 1]."""
    terms_found: tuple[str, ...]
    """Of the whole dictionary, wherever they stand."""
    tools_named: tuple[str, ...]
    """Tools with at least one term in the response, most named first, then in the dictionary's order."""
    terms_announced: tuple[str, ...]
    """Of the expected tool, where the response announces or reports its action."""
    relevance: float | None
    """JARVIS relevance, in [0, 1], in the configured scope; None where it does not apply."""
    dictionary_relevance: float
    """JARVIS relevance over all terms, wherever they stand."""


def jarvis_relevance(found: int, total: int, share: float = RELEVANCE_SHARE) -> float:
    """Return min(1, found / (share * total)) for `found` distinct terms of `total`.

    `share` is that of the terms at which relevance reaches 1. Raises ValueError without terms, or for a count outside
    them.
    """
    if total < 1 or not 0 <= found <= total:
        raise ValueError(f"expected 0 <= found <= total and total >= 1, found {found} of {total}")
    return min(1.0, found / (share * total))


def score_text(
    text: str, case: PromptCase, dictionary: Dictionary, outcome: Outcome | None, section: MetricsSection | None = None
) -> TextScore:
    """Return the keyword match and the JARVIS relevance of `text` as an answer to `case`.

    Relevance counts the terms of the expected tool in what the `outcome` announces; in the scope `dictionary`, or for
    a prompt without an expected tool, all terms wherever they stand. None where no tool is wanted, as naming many makes
    no such answer better.
    """
    section = section or MetricsSection()
    if section.keyword_mode == "substring":
        keywords = tuple(
            keyword for keyword in case.keywords if find_phrases(text, keyword.split(ALTERNATIVE), substring=True)
        )
    else:
        keywords = find_wording(text, case.keywords)
    spaced = phrase(text)
    hits = [index for index, form in enumerate(dictionary.phrases) if form in spaced]
    counts: dict[str, int] = {}
    for index in hits:
        owners = dictionary.tools_of[index]  # A term of several tools names the wanted one.
        tool = case.expected_tool if case.expected_tool in owners else owners[0]
        counts[tool] = counts.get(tool, 0) + 1
    own = dictionary.terms_of.get(case.expected_tool or "", ())
    announced = _announced(own, case, outcome)
    literal = jarvis_relevance(len(hits), len(dictionary.terms), section.relevance_share)
    scoped = jarvis_relevance(len(announced), len(own), section.relevance_share) if own else literal
    return TextScore(
        keywords_found=keywords,
        keyword_share=len(keywords) / len(case.keywords),
        terms_found=tuple(dictionary.terms[index] for index in hits),
        tools_named=tuple(sorted(counts, key=lambda name: -counts[name])),
        terms_announced=announced,
        relevance=None if not case.has_relevance else literal if section.relevance_scope == "dictionary" else scoped,
        dictionary_relevance=literal,
    )


def _announced(terms: Sequence[str], case: PromptCase, outcome: Outcome | None) -> tuple[str, ...]:
    """Return the terms that a response announces; a call of the expected tool is worth all of them."""
    if outcome is None:
        return ()
    if outcome.by_call:
        return tuple(terms) if outcome.tool == case.expected_tool else ()
    found = {term for part in outcome.announced for term in find_wording(part, terms)}
    return tuple(term for term in terms if term in found)


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
