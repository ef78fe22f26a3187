"""The blocks of a report, whatever the output, and the tables about one adapter or several that fill them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pytest_jarvis.render.french.formats import DASH, number, typeset
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.schema import Averages, ResultRow

Tone = Literal["plain", "strong", "note", "good", "warn", "bad"]


class CaseLink(str):
    """The id of a prompt; the page makes it a link to its case."""

    __slots__ = ("anchor",)
    anchor: str


class Digest(str):
    """A digest: whole on the page, its beginning in other outputs."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A line on the page from the mean of the base to that of an adapter; `most` is the right end."""

    before: float
    after: float
    most: float
    adapter: int
    """Its place among the adapters, which gives the colour."""


Cell = str | Span | None


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a list, after its `case` if it has one."""

    text: str
    case: CaseLink | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list, with an optional head; text and Markdown show the first entries of many."""

    items: tuple[Item, ...]
    head: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, `width` columns of text wide; without a width it is on the page only."""

    head: str
    width: int = 0
    kind: Literal["figure", "text"] = "figure"
    """Text is aligned left and wrapped, figures right; a figure may have two lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. In a `grouped` one the first column names a group of rows, the second the adapter of each."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: int = 0
    """Rows at the end that are never cut."""
    most: int | None = None
    """The most rows in text."""
    grouped: bool = False
    page: bool = True
    """False if the page has a picture instead."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and values; those without a value are left out."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The change of one prompt, with the first response of each arm."""

    case: CaseLink
    row: ResultRow
    category: str
    scores: str
    change: str
    """With its p-value where the drop is proven."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changed prompts, the largest change first."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The blocks about one adapter, or details; the page folds them unless `unfolded`."""

    name: str
    blocks: tuple[Block, ...]
    adapter: int = 0
    unfolded: bool = False


Block = Text | Items | Table | Facts | Changes | Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A subject under its title."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    brief: bool
    """Whether the summary has it."""


def case_anchor(prompt_id: str, adapter: str, candidate: str) -> str:
    """Return the id of a case in the page: « cas-ID », with the adapter's name if it is not the candidate."""
    return f"cas-{prompt_id}" if adapter == candidate else f"cas-{prompt_id}--{adapter}"


def case_link(row: ResultRow, candidate: str) -> CaseLink:
    """Return the id of a row's prompt as a link to its case."""
    link = CaseLink(row.prompt_id)
    link.anchor = case_anchor(row.prompt_id, row.adapter, candidate)
    return link


def items(sentences: Iterable[str], head: str = "") -> tuple[Items, ...]:
    """Return sentences as a list; nothing without sentences."""
    found = tuple(Item(sentence) for sentence in sentences)
    return (Items(found, head),) if found else ()


def columns(heads: Iterable[str], widths: Iterable[int]) -> tuple[Column, ...]:
    """Return a column of text, then columns of figures."""
    first, *others = zip(heads, widths, strict=True)
    return (Column(*first, "text"), *(Column(head, width) for head, width in others))


def field(name: str, width: int = 0, kind: Literal["figure", "text"] = "figure") -> Column:
    """Return a column under a head that several tables have: a key of `labels.fields`."""
    return Column(table("labels.fields")[name], width, kind)


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
        columns=(first, *((field("adapter", width, "text"),) if several else ()), *figures),
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
    arms = Column(word("labels.base"), 8), Column(tuned_head(insights), 9)
    return (field("counted", 7), *arms, field(change, 9), field("interval", 18))


def with_name(insights: Insights, name: str, sentence: str) -> str:
    """Return a sentence, under the name of an adapter if there are several."""
    return typeset(f"{name} : {sentence}" if len(insights.adapters) > 1 else sentence)


def prompt_count(averages: Averages) -> str:
    """Return the measured prompts of those planned: « 29/30 »."""
    return f"{averages.total_tests}/{averages.planned_tests}"


def score(value: float | None) -> str:
    """Return a score with three decimals."""
    return number(value, 3)
