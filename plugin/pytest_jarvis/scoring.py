"""What a response is worth: pure functions of its text, and of embeddings for the cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_jarvis.records import PromptCase, Tool
from pytest_jarvis.text import found_phrases, phrase

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Embedding = npt.NDArray[np.float32] | None

RELEVANCE_SHARE: Final = 0.3
"""The share of the dictionary at which a response's relevance reaches 1."""

_COSINE_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """The terms of all tools, ready to be looked for."""

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
    """What was found in one response."""

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
    keywords = found_phrases(text, case.keywords, substring=substring)
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


def paired_cosines(left: Sequence[Embedding], right: Sequence[Embedding]) -> list[float | None]:
    """Return the cosine similarity of each pair, clipped to [0, 1]; None where one of the two has no embedding.

    Embeddings are vectors of shape (hidden,). Computed by scikit-learn's `cosine_similarity`.
    """
    whole = [
        (index, a, b) for index, (a, b) in enumerate(zip(left, right, strict=True)) if a is not None and b is not None
    ]
    result: list[float | None] = [None] * len(left)
    if not whole:
        return result
    import numpy as np  # layer 1 is imported where numpy is not wanted yet
    from sklearn.metrics.pairwise import cosine_similarity  # a second's import: not for a server without embeddings

    for start in range(0, len(whole), _COSINE_ROWS):
        part = whole[start : start + _COSINE_ROWS]
        matrix = cosine_similarity(np.stack([a for _, a, _ in part]), np.stack([b for _, _, b in part]))
        for (index, _, _), value in zip(part, np.diagonal(matrix), strict=True):
            result[index] = float(min(1.0, max(0.0, value)))
    return result


def mismatched_cosine(left: Sequence[Embedding], right: Sequence[Embedding], groups: Sequence[str]) -> float | None:
    """Return the mean cosine of left against right over all pairs of different groups (prompts).

    Such cosines are high for any two texts; a similarity means something only above this one. Sums of unit vectors
    give the mean over all pairs without making them: sum_ij cos_ij = (sum_i u_i) . (sum_j v_j). None without pairs.
    """
    import numpy as np

    lefts: dict[str, list[npt.NDArray[np.float64]]] = {}
    rights: dict[str, list[npt.NDArray[np.float64]]] = {}
    for vectors, sums in ((left, lefts), (right, rights)):
        for vector, group in zip(vectors, groups, strict=True):
            if vector is not None and (norm := float(np.linalg.norm(vector))) > 0:
                sums.setdefault(group, []).append(vector.astype(np.float64) / norm)
    all_left = [vector for group in lefts.values() for vector in group]
    all_right = [vector for group in rights.values() for vector in group]
    count = len(all_left) * len(all_right) - sum(len(lefts[group]) * len(rights.get(group, ())) for group in lefts)
    if count == 0:
        return None
    total = float(np.sum(all_left, axis=0) @ np.sum(all_right, axis=0))
    same = sum(
        float(np.sum(lefts[group], axis=0) @ np.sum(rights[group], axis=0)) for group in lefts if group in rights
    )
    return min(1.0, max(0.0, (total - same) / count))
