"""The table of categories that a terminal and `report.txt` share: a line each, or one per adapter where several ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from pytest_jarvis.render.french import (
    bracket,
    fit,
    labels,
    number,
    percent,
    printable,
    routing,
    session,
    shortened,
    signed,
)
from pytest_jarvis.report.schema import AdapterStatistics, Averages, Report
from pytest_jarvis.stats.ranking import Ranking
from pytest_jarvis.types import BASE_ARM

LABEL_WIDTH: Final = 22
_WIDTHS: Final = (9, 13, 13, 10, 7)
"""Of the columns of figures: with the spaces between them and a label of `LABEL_WIDTH`, 79."""
MOST_ADAPTERS: Final = 12
"""Of more adapters only the totals are shown, and a terminal ranks none: that takes time by their square."""
_MOST_RANKED: Final = 3
"""Adapters of which every pair is told; of more, only those that follow each other."""


def aggregate_table(report: Report, *, label_width: int = LABEL_WIDTH) -> list[str]:
    """Return prompts, keywords, relevance, gain and cosine of each category, and of all; an A/A run has no gain.

    Of several adapters each has a line under the category's name; the corner says what the means are over. Of more than
    `MOST_ADAPTERS` there are the totals alone.
    """
    gains = not report.noise_floor
    heads = [head if gains or head != labels.FIELDS["gain"] else "" for head in session.TABLE_HEADS]
    several = len(report.by_adapter) > 1
    corner = session.responses_each(report.metadata.samples_per_prompt) if several else ""
    lines = [_cells(corner, heads, label_width)]
    for label, by_adapter in _blocks(report):
        if several:
            lines.append(fit(printable(label), label_width + sum(_WIDTHS)).rstrip())
        lines += [
            _row(
                f"  {shortened(printable(name), label_width - 2)}" if several else printable(label),
                averages,
                label_width,
                gains=gains,
            )
            for name, averages in by_adapter.items()
        ]
    return lines


def choice_sentences(report: Report) -> list[str]:
    """Return how often each adapter chose the right tool, and understood what was misheard, where that was judged."""
    several = len(report.by_adapter) > 1
    found = [
        (title, name, getattr(one.statistics, f"{measure}_base"), getattr(one.statistics, f"{measure}_finetuned"))
        for title, measure in ((routing.TITLE, "avg_tool_routing"), (routing.UNDERSTOOD_TITLE, "avg_understood"))
        for name, one in report.by_adapter.items()
    ]
    return [
        f"{f'{printable(name)} · ' if several else ''}{routing.averages_line(title, base, tuned)}"
        for title, name, base, tuned in found
        if base is not None and tuned is not None
    ]


def ranking_sentences(ranking: Ranking | None, *, judged: bool) -> list[str]:
    """Return the arms from the highest relevance down, then which adapter is ahead of which; nothing of one adapter.

    Where the run is not `judged` no difference is said to be shown.
    """
    if ranking is None:
        return []
    places = ", ".join(f"{printable(place.name)} {number(place.estimate.mean, 3)}" for place in ranking.arms)
    names = [place.name for place in ranking.arms if place.name != BASE_ARM]
    next_to = set(pairwise(names))
    pairs = [
        pair
        for pair in ranking.pairs
        if BASE_ARM not in {pair.better, pair.worse}
        and (len(names) <= _MOST_RANKED or (pair.better, pair.worse) in next_to)
    ]
    return [
        f"{labels.RANKING} : {places}",
        *(
            f"{labels.shown_sentence(printable(pair.better), printable(pair.worse), shown=pair.shown)} "
            f"({signed(pair.difference.difference)} {bracket(pair.difference.interval, signed)})"
            for pair in (pairs if judged else ())
        ),
    ]


def _blocks(report: Report) -> Iterator[tuple[str, Mapping[str, Averages]]]:
    """Yield each category's label, and the total's, with the averages of each adapter."""
    by_adapter: Mapping[str, AdapterStatistics] = report.by_adapter
    for category, item in report.by_category.items() if len(by_adapter) <= MOST_ADAPTERS else ():
        yield item.label, {name: one.by_category[category].averages for name, one in by_adapter.items()}
    yield labels.TOTAL, {name: one.statistics for name, one in by_adapter.items()}


def _cells(label: str, cells: Sequence[str], label_width: int) -> str:
    figures = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    return " ".join([fit(label, label_width), *figures])


def _row(label: str, averages: Averages, label_width: int, *, gains: bool) -> str:
    keywords = f"{percent(averages.avg_keyword_match_base, 0)} → {percent(averages.avg_keyword_match_finetuned, 0)}"
    relevance = f"{number(averages.avg_relevance_base, 3)} → {number(averages.avg_relevance_finetuned, 3)}"
    gain = percent(averages.relevance_gain, signed=True) if gains else ""
    prompts = f"{averages.total_tests}/{averages.planned_tests}"
    return _cells(label, (prompts, keywords, relevance, gain, number(averages.avg_cosine_similarity)), label_width)
