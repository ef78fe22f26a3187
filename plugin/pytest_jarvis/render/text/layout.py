"""Plain text laid out by columns: wrapping, tables and lists that accents and wide characters do not push aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from pytest_jarvis.render.french import columns_of, fit, printable, width_of

WIDTH: Final = 80
INDENT: Final = "  "

_MOST_LABEL_LINES = 3

Side = Literal["left", "right"]


def wrap(text: str, width: int, *, most: int | None = None) -> list[str]:
    """Return `text` in lines of at most `width` columns, broken at spaces (never at no-break ones).

    Longer words are broken anywhere. At most `most` lines, the last then ends with an ellipsis.
    """
    lines: list[str] = []
    line = ""
    for word in printable(text).split(" "):
        for part in _pieces(word, width):
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
    """Return `text` wrapped to the page; `first` stands before the first line, `indent` before the others."""
    lead = indent if first is None else first
    lines = wrap(text, WIDTH - max(width_of(indent), width_of(lead)), most=most)
    return [f"{lead if number == 0 else indent}{line}" for number, line in enumerate(lines)]


def pairs(rows: Iterable[tuple[str, str]], *, label_width: int = 22) -> list[str]:
    """Return labels and their values, the values aligned and wrapped; a row without a value is left out."""
    indent = " " * (len(INDENT) + label_width + 1)
    return [
        line
        for label, value in rows
        if value
        for line in paragraph(value, indent=indent, first=f"{INDENT}{fit(label, label_width)} ")
    ]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Return a table under its heads: the first column to the left and wrapped, the others to the right."""
    body = [line for row in rows for line in _row(row, widths)]
    return [*_row(heads, widths), INDENT + "─" * (sum(widths) + len(widths) - 1), *body] if body else []


def section(title: str, lines: Iterable[str]) -> list[str]:
    """Return lines under a title and a rule; nothing without lines."""
    body = list(lines)
    return ["", title, "─" * WIDTH, *body] if body else []


def align(text: str, width: int, side: Side) -> str:
    """Return `text` in `width` columns, at their left or right; one that is too long is cut."""
    if side == "left" or width_of(text) > width:
        return fit(text, width)
    return " " * (width - width_of(text)) + text


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = wrap(cells[0], widths[0], most=_MOST_LABEL_LINES)
    values = [align(printable(cell), width, "right") for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return [
        f"{INDENT}{' '.join([fit(first, widths[0]), *values])}".rstrip(),
        *(f"{INDENT}{line}" for line in others),
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
