"""The parts of a report for readers, in no output's terms: sections of paragraphs, lists, tables, facts and cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pytest_jarvis.report.schema import ResultRow

Tone = Literal["plain", "strong", "note", "good", "warn", "bad"]


class CaseLink(str):
    """The id of a prompt; the page makes it a link to its case."""

    __slots__ = ("anchor",)
    anchor: str


class Digest(str):
    """A digest: whole on the page, its beginning elsewhere."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The way from the base's mean to an adapter's, which the page draws; `most` is the right end."""

    before: float
    after: float
    most: float
    adapter: int
    """The adapter's place, which gives its colour."""


Cell = str | Span | None


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a list; `case` stands before the text."""

    text: str
    case: CaseLink | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list under a head, if it has one; text and Markdown show the first ones of many."""

    items: tuple[Item, ...]
    head: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: `width` columns of text; one without a width stands on the page alone."""

    head: str
    width: int = 0
    kind: Literal["figure", "text"] = "figure"
    """Texts stand to the left and are wrapped, figures to the right; a line end in a figure begins a second line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. In a `grouped` one the first column names a group of rows, and the second who each row is about."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: int = 0
    """Rows at the end that stay where others have no room."""
    grouped: bool = False
    page: bool = True
    """False where the page has a picture instead."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and their values; one without a value is left out."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one prompt changed, with the first response of each arm."""

    case: CaseLink
    row: ResultRow
    category: str
    scores: str
    change: str
    """With its p-value where the drop is proven."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Prompts that changed, the most changed first."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is said of one adapter, or in more detail; the page folds it unless `unfolded`."""

    name: str
    blocks: tuple[Block, ...]
    adapter: int = 0
    unfolded: bool = False


Block = Text | Items | Table | Facts | Changes | Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One subject under its title."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    brief: bool
    """Whether the summary has it too."""


def case_anchor(prompt_id: str, adapter: str, candidate: str) -> str:
    """Return the id of a case in the page: « cas-ID », with the adapter's name where it is not the candidate."""
    return f"cas-{prompt_id}" if adapter == candidate else f"cas-{prompt_id}--{adapter}"


def case_link(row: ResultRow, candidate: str) -> CaseLink:
    """Return the id of a row's prompt, as a link to its case."""
    link = CaseLink(row.prompt_id)
    link.anchor = case_anchor(row.prompt_id, row.adapter, candidate)
    return link


def items(sentences: Iterable[str], head: str = "") -> tuple[Items, ...]:
    """Return sentences as a list; none without a sentence."""
    found = tuple(Item(sentence) for sentence in sentences)
    return (Items(found, head),) if found else ()


def columns(heads: Iterable[str], widths: Iterable[int]) -> tuple[Column, ...]:
    """Return columns of a text and of figures, with their widths."""
    first, *others = zip(heads, widths, strict=True)
    return (Column(*first, "text"), *(Column(head, width) for head, width in others))
