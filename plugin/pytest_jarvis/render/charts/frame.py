"""The frame of every panel: settings, colours, boxes in inches, titles, legends, and text that fits a box."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from pytest_jarvis.render.french.formats import number, percent
from pytest_jarvis.render.french.words import word

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS: Final = ("#999999", "#E69F00", "#56B4E9", "#009E73", "#CC79A7")
"""Of the base, then of each adapter: those of Okabe and Ito (2008), which the colour-blind tell apart."""
HATCHES: Final = ("", "////", "....", "xxxx", "\\\\\\\\")
"""The same distinction in black and white."""


@dataclass(frozen=True, slots=True)
class Ink:
    """The colours of everything but the bars."""

    text: str
    faint: str
    paper: str


PRINT: Final = Ink("#1A1A1A", "#8C8C8C", "white")
PAGE: Final = Ink("#010203", "#8C8C8C", "none")
"""For an SVG: the colour of text is a placeholder for that of the page."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the figure, in inches from its lower left corner."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def top(self) -> float:
        """Its upper edge."""
        return self.bottom + self.height

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    def inside(self, left: float, bottom: float, right: float, top: float) -> Box:
        """Return what is left of the box within these margins."""
        return Box(self.left + left, self.bottom + bottom, self.width - left - right, self.height - bottom - top)


@contextmanager
def plain_style(salt: str) -> Iterator[None]:
    """Ignore the user's matplotlibrc, and warnings of missing glyphs."""
    import warnings

    # matplotlib refuses to be imported where this names a backend that is not installed, such as a notebook's.
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend

    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": "sans-serif",
                "font.sans-serif": ["DejaVu Sans"],
                "text.parse_math": False,
                "hatch.linewidth": 0.6,
                "axes.linewidth": 0.8,
                "svg.fonttype": "none",
                "svg.hashsalt": f"pytest-jarvis-{salt}",
            }
        )
        yield


def new_figure(width: float, height: float, ink: Ink) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor=ink.paper, edgecolor="none")


def axes_in(figure: Figure, box: Box, ink: Ink) -> Axes:
    """Return axes in a box of the figure, without upper and right spines."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((box.left / width, box.bottom / height, box.width / width, box.height / height))
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(ink.faint)
    axes.tick_params(color=ink.faint, labelcolor=ink.text, labelsize=9)
    axes.set_axisbelow(True)
    return axes


def write_title(figure: Figure, box: Box, title: str, subtitle: str, ink: Ink) -> None:
    """Write the title of the page and its subtitle."""
    width, height = figure.get_size_inches()
    head = cut(f"{word('labels.title')} – {title}", box.width, 17, bold=True)
    left, top, below = box.left / width, (box.top - 0.36) / height, (box.top - 0.66) / height
    figure.text(left, top, head, size=17, weight="bold", color=ink.text, va="center")
    figure.text(left, below, cut(subtitle, box.width, 9.5), size=9.5, color=ink.text, va="center")


def write_head(figure: Figure, box: Box, title: str, note: str, ink: Ink) -> None:
    """Write the title of a panel at the left and a note at the right."""
    width, height = figure.get_size_inches()
    line = (box.top - 0.14) / height
    figure.text(box.left / width, line, title, size=13, weight="bold", color=ink.text, va="center")
    room = box.width - text_width(title, 13, bold=True) - 0.15
    figure.text(box.right / width, line, cut(note, room, 8.5), size=8.5, color=ink.text, va="center", ha="right")


def write_legend(
    figure: Figure, box: Box, handles: Sequence[Artist], names: Sequence[str], ink: Ink, *, after: Sequence[str] = ()
) -> None:
    """Write the names of the arms under the title of a panel; `after` follows each name and is never cut."""
    width, height = figure.get_size_inches()
    columns = len(names) if len(names) <= 3 else (len(names) + 1) // 2
    room = box.width / columns - 0.6
    figure.legend(
        handles,
        [
            f"{cut(name, room - text_width(end, 9), 9)}{end}"
            for name, end in zip(names, after or [""] * len(names), strict=True)
        ],
        loc="upper left",
        bbox_to_anchor=(box.left / width, (box.top - 0.28) / height),
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=ink.text,
        borderaxespad=0,
        borderpad=0.2,
        columnspacing=1.4,
        handlelength=2.2,
    )


def legend_height(arms: int) -> float:
    """Return the height in inches of the title and the legend of a panel."""
    return 0.62 if arms <= 3 else 0.8


def write_ticks(axes: Axes, which: Literal["x", "y"], *, in_percent: bool) -> None:
    """Write the tick labels of an axis with decimal commas, or in per cent."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ticks = axis.get_majorticklocs()
    fine = len(ticks) > 1 and ticks[1] - ticks[0] < 0.099

    def label(value: float, _: int) -> str:
        return percent(value, 0) if in_percent else number(value, 2 if fine else 1)

    axis.set_major_formatter(FuncFormatter(label))


def write_nothing_measured(axes: Axes, ink: Ink) -> None:
    """Write in the middle of the panel that nothing was measured."""
    text = word("labels.nothing_measured")
    axes.text(0.5, 0.5, text, size=12, color=ink.text, ha="center", va="center", transform=axes.transAxes)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a line of text in inches; call it in `plain_style`."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def cut(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """Return as much of a text as fits in `room` inches, with an ellipsis if cut."""
    if text_width(text, size, bold=bold) <= room:
        return text
    kept = text
    while kept and text_width(f"{kept}…", size, bold=bold) > room:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def wrap_to_room(text: str, room: float, size: float, *, most: int) -> list[str]:
    """Return a text in at most `most` lines of `room` inches, broken at spaces, the last one cut."""
    lines = [""]
    for piece in text.split(" "):
        joined = f"{lines[-1]} {piece}".strip()
        if lines[-1] and text_width(joined, size) > room:
            lines.append(piece)
        else:
            lines[-1] = joined
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] = f"{kept[-1]} {' '.join(lines[most:])}"
    return [cut(line, room, size) for line in kept]
