"""Keywords and JARVIS relevance of a response's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_jarvis.text import find_phrases, phrase
from pytest_jarvis.types import PromptCase, Tool

RELEVANCE_SHARE: Final = 0.3
"""The share of the dictionary at which a response's relevance reaches 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """The terms of all tools, prepared for the search."""

    terms: tuple[str, ...]
    tool_of: tuple[str, ...]
    """The tool of each term."""
    phrases: tuple[str, ...]
    """The canonical phrase of each term."""

    @classmethod
    def of(cls, tools: Sequence[Tool]) -> Dictionary:
        """Return the dictionary of `tools`, in their order."""
        pairs = [(term, tool.name) for tool in tools for term in tool.terms]
        return cls(
            terms=tuple(term for term, _ in pairs),
            tool_of=tuple(name for _, name in pairs),
            phrases=tuple(phrase(term) for term, _ in pairs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """Keywords and terms found in one response."""

    keywords_found: tuple[str, ...]
    keyword_match: float
    """Share of the prompt's keywords that occur, in [0, 1]."""
    terms_found: tuple[str, ...]
    tools_named: tuple[str, ...]
    """Tools with at least one term in the response, most named first, then in the dictionary's order."""
    named_most: tuple[str, ...]
    """Those of them with the most terms: several when they are named equally often."""
    relevance: float
    """JARVIS relevance, in [0, 1]."""


def jarvis_relevance(found: int, total: int, share: float = RELEVANCE_SHARE) -> float:
    """Return min(1, found / (share * total)) for `found` distinct terms of a dictionary of `total` terms.

    `share` is that of the dictionary at which relevance reaches 1. Raises ValueError for an empty dictionary or a count
    outside it.
    """
    if total < 1 or not 0 <= found <= total:
        raise ValueError(f"expected 0 <= found <= total and total >= 1, found {found} of {total}")
    return min(1.0, found / (share * total))


def score_text(
    text: str,
    case: PromptCase,
    dictionary: Dictionary,
    *,
    substring: bool = False,
    relevance_share: float = RELEVANCE_SHARE,
) -> TextScore:
    """Return the keyword match and the JARVIS relevance of `text` as an answer to `case`.

    `substring` looks for keywords anywhere, not at word boundaries only; terms are always whole words.
    """
    keywords = find_phrases(text, case.keywords, substring=substring)
    spaced = phrase(text)
    hits = [index for index, form in enumerate(dictionary.phrases) if form in spaced]
    counts: dict[str, int] = {}
    for index in hits:
        counts[dictionary.tool_of[index]] = counts.get(dictionary.tool_of[index], 0) + 1
    return TextScore(
        keywords_found=keywords,
        keyword_match=len(keywords) / len(case.keywords),
        terms_found=tuple(dictionary.terms[index] for index in hits),
        tools_named=tuple(sorted(counts, key=lambda name: -counts[name])),
        named_most=tuple(name for name, count in counts.items() if count == max(counts.values())),
        relevance=jarvis_relevance(len(hits), len(dictionary.terms), relevance_share),
    )
