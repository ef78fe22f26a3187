"""`report.txt`: plain text of 80 columns, whatever the width of accents and wide characters."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final, Literal

from pytest_jarvis.inputs.config import FILES
from pytest_jarvis.render import OutputFormat
from pytest_jarvis.render.blocks import Block, Cell, Change, Changes, Column, Digest, Facts, Items, Part, Table, Text
from pytest_jarvis.render.french import labels
from pytest_jarvis.render.french.formats import NBSP, columns_of, fit, printable, shorten, width_of
from pytest_jarvis.render.french.labels import short_digest
from pytest_jarvis.render.french.words import word
from pytest_jarvis.render.sections import cautions, sections
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.schema import Report

WIDTH: Final = 80
INDENT: Final = "  "

_MOST_CELL_LINES: Final = 4
_MOST_LINES: Final = 12  # Lines of a response.
_MOST_ITEMS: Final = 10
_ARM_WIDTH: Final = 12

Side = Literal["left", "right"]


def wrap(text: str, width: int, *, most: int | None = None) -> list[str]:
    """Return `text` in lines of at most `width` columns, broken at spaces, not at no-break ones.

    Longer words are broken anywhere. Beyond `most` lines, the last one ends in an ellipsis.
    """
    lines: list[str] = []
    line = ""
    for piece in printable(text).split(" "):
        for part in _pieces(piece, width):
            joined = f"{line} {part}" if line else part
            if width_of(joined) <= width:
                line = joined
            else:
                lines.append(line)
                line = part
    lines.append(line)
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], fit(f"{lines[most - 1]}{' ' * width}x", width).rstrip()]
    return lines


def paragraph(text: str, *, indent: str = INDENT, first: str | None = None, most: int | None = None) -> list[str]:
    """Return `text` wrapped to the page, after `first` in the first line and `indent` in the others."""
    lead = indent if first is None else first
    lines = wrap(text, WIDTH - max(width_of(indent), width_of(lead)), most=most)
    return [f"{lead if number == 0 else indent}{line}" for number, line in enumerate(lines)]


def pairs(rows: Iterable[tuple[str, str]], *, label_width: int = 22) -> list[str]:
    """Return labels and wrapped values in two columns; a label without a value is left out."""
    indent = " " * (len(INDENT) + label_width + 1)
    return [
        line
        for label, value in rows
        if value
        for line in paragraph(value, indent=indent, first=f"{INDENT}{fit(label, label_width)} ")
    ]


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table under its heads: text left and wrapped, figures right; a single cell spans its row."""
    if not rows or not columns:
        return []
    across = sum(column.width + 1 for column in columns) - 1
    body = [
        line
        for row in rows
        for line in (_row(row, columns) if len(row) > 1 else [INDENT + fit(printable(row[0]), across).rstrip()])
    ]
    return [*_row([column.head for column in columns], columns), INDENT + "─" * across, *body]


def section(title: str, lines: Iterable[str]) -> list[str]:
    """Return lines under a title and a rule; nothing without lines."""
    body = list(lines)
    return ["", title, "─" * WIDTH, *body] if body else []


def align(text: str, width: int, side: Side) -> str:
    """Return `text` in `width` columns, left or right; one that is too long is cut."""
    if side == "left" or width_of(text) > width:
        return fit(text, width)
    return " " * (width - width_of(text)) + text


def _row(cells: Sequence[str], columns: Sequence[Column]) -> list[str]:
    parts = [
        wrap(cell, column.width, most=_MOST_CELL_LINES)
        if column.kind == "text" or cell is column.head
        else [printable(line) for line in cell.split("\n")]
        for cell, column in zip(cells, columns, strict=True)
    ]
    sides: list[Side] = ["left" if column.kind == "text" else "right" for column in columns]
    lines = (zip(line, columns, sides, strict=True) for line in zip_longest(*parts, fillvalue=""))
    return [
        f"{INDENT}{' '.join(align(one, column.width, side) for one, column, side in line)}".rstrip() for line in lines
    ]


def _pieces(word: str, width: int) -> list[str]:
    """Return a word in pieces of at most `width` columns; combining marks stay with their letter."""
    pieces = [""]
    used = 0
    for char in word:
        if used + columns_of(char) > width:
            pieces.append("")
            used = 0
        pieces[-1] += char
        used += columns_of(char)
    return pieces


def render_text(report: Report, insights: Insights) -> str:
    """Return `report.txt`; no line has a control character, whatever a model wrote."""
    metadata = report.metadata
    title = f"{word('labels.title')} – {labels.model_label(report.provenance.engine)} + {', '.join(metadata.adapters)}"
    lines = ["═" * WIDTH, *paragraph(title, indent=""), "═" * WIDTH]
    lines += [line for note in cautions(report) for line in paragraph(note, indent="")]
    for one in sections(report, insights):
        lines += section(one.title.upper(), block_lines(one.blocks))
    return "".join(f"{printable(line).rstrip()}\n" for line in lines)


def block_lines(blocks: Iterable[Block]) -> list[str]:
    """Return the lines of blocks, an empty line between them; a list follows its text at once."""
    lines: list[str] = []
    before: Block | None = None
    for block in blocks:
        if written := _block(block):
            lines += [""] if lines and not (isinstance(before, Text | Items) and isinstance(block, Items)) else []
            lines += written
            before = block
    return lines


def _block(block: Block) -> list[str]:
    match block:
        case Text(text):
            return paragraph(text)
        case Items():
            return _items(block)
        case Table():
            return _table(block)
        case Facts(rows):
            return pairs(
                [(label, short_digest(value) if isinstance(value, Digest) else value) for label, value in rows]
            )
        case Changes(changes):
            return [line for place, change in enumerate(changes, start=1) for line in _change(change, place)]
        case Part():
            inside = block_lines(block.blocks)
            return [*paragraph(f"{block.name}{NBSP}:"), *inside] if inside else []


def _items(block: Items) -> list[str]:
    indent = f"{INDENT}  " if block.head else INDENT
    lines = paragraph(block.head) if block.head else []
    for item in block.items[:_MOST_ITEMS]:
        text = f"{item.case} {item.text}" if item.case else item.text
        lines += paragraph(text, indent=f"{indent}  ", first=f"{indent}- ")
    left = len(block.items) - _MOST_ITEMS
    return [*lines, f"{indent}  {word('labels.more_entries', count=left)}"] if left > 0 else lines


def _table(block: Table) -> list[str]:
    """Return the columns that have a width; the name of a group stands over its rows, which are indented."""
    group = 1 if block.grouped else 0
    places = [place for place, column in enumerate(block.columns) if column.width and place >= group]
    columns = [block.columns[place] for place in places]
    if block.grouped:
        columns[0] = replace(columns[0], head=block.columns[0].head)
    rows: list[list[str]] = []
    name: Cell = None
    for row in block.rows[: block.most]:
        if block.grouped and row[0] != name:
            name = row[0]
            rows.append([str(name)])
        cells = [str(row[place]) for place in places]
        rows.append(
            [f"{NBSP}{NBSP}{shorten(printable(cells[0]), columns[0].width - 2)}", *cells[1:]] if group else cells
        )
    left = len(block.rows) - len(block.rows[: block.most])
    return [*table(columns, rows), *([f"{INDENT}{word('labels.more_entries', count=left)}"] if left else [])]


def _change(change: Change, place: int) -> list[str]:
    indent, row = f"{INDENT}   ", change.row
    head = f"{change.case} · {change.category} · {change.scores} ({change.change})"
    lines = [*([""] if place > 1 else []), *paragraph(head, indent=indent, first=f"{INDENT}{place}. ")]
    lines += paragraph(labels.quotation(row.prompt), indent=indent)
    for arm, text in ((word("labels.base"), row.base_model_response), (row.adapter, row.finetuned_response)):
        first = f"{indent}{fit(printable(arm), _ARM_WIDTH)} "
        shown = text if text and text.strip() else word("labels.empty_response")
        lines += paragraph(shown, indent=" " * width_of(first), first=first, most=_MOST_LINES)
    return lines


FORMAT = OutputFormat(file=FILES["text"], render="pytest_jarvis.render.text:render_text")
