"""Tables and parts about one adapter or several, for the sections of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from pytest_jarvis.render.blocks import Block, Cell, Column, Part, Table
from pytest_jarvis.render.french.formats import DASH, number, typeset
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.schema import Averages

ARROW: Final = " → "

Row = tuple[str, str, tuple[Cell, ...]]
"""Key, label and figures; the key of a total is empty."""


def each_adapter(insights: Insights, write: Callable[[AdapterInsight], Iterable[Block]]) -> Iterator[Block]:
    """Yield the blocks of the only adapter, or a part for each adapter that has blocks."""
    if len(insights.adapters) == 1:
        yield from write(insights.candidate)
        return
    for place, one in enumerate(insights.adapters):
        if blocks := tuple(write(one)):
            yield Part(name=one.name, blocks=blocks, adapter=place, unfolded=place == 0)


def adapter_table(
    insights: Insights,
    head: str,
    figures: Sequence[Column],
    rows_of: Callable[[AdapterInsight], Iterable[Row]],
    *,
    width: int = 22,
) -> Table:
    """Return a table of the figures of every adapter, grouped by what they are about, totals last."""
    found = {one.name: {key: (label, cells) for key, label, cells in rows_of(one)} for one in insights.adapters}
    names = {key: label for rows in found.values() for key, (label, _) in rows.items()}
    keys = sorted(names, key=lambda key: key == "")
    several = len(found) > 1
    nothing: tuple[Cell, ...] = (DASH,) * len(figures)
    first = Column(head, width, "text")
    return Table(
        columns=(first, *((Column(table("labels.fields")["adapter"], width, "text"),) if several else ()), *figures),
        rows=tuple(
            (names[key], *((name,) if several else ()), *rows.get(key, ("", nothing))[1])
            for key in keys
            for name, rows in found.items()
        ),
        totals=len(found) if "" in names else 0,
        grouped=several,
    )


def tuned_head(insights: Insights) -> str:
    """Return the head of the column beside the base's: the name of the only adapter."""
    return insights.candidate.name if len(insights.adapters) == 1 else word("labels.tuned")


def comparison_columns(insights: Insights, change: str) -> tuple[Column, ...]:
    """Return the columns of prompts, both means, their difference and its interval."""
    return (
        Column(table("labels.fields")["counted"], 7),
        Column(word("labels.base"), 8),
        Column(tuned_head(insights), 9),
        Column(table("labels.fields")[change], 9),
        Column(table("labels.fields")["interval"], 18),
    )


def with_name(insights: Insights, name: str, sentence: str) -> str:
    """Return a sentence, under the name of an adapter if there are several."""
    return typeset(f"{name} : {sentence}" if len(insights.adapters) > 1 else sentence)


def prompt_count(averages: Averages) -> str:
    """Return the measured prompts of those planned: « 29/30 »."""
    return f"{averages.total_tests}/{averages.planned_tests}"


def pair_of_means(before: float | None, after: float | None, write: Callable[[float | None], str]) -> str:
    """Return the means of the base and an adapter."""
    return f"{write(before)}{ARROW}{write(after)}"


def score(value: float | None) -> str:
    """Return a score with three decimals."""
    return number(value, 3)
