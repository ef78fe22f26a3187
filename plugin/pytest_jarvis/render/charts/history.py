"""The trend of saved runs as a PNG: the gain of each adapter of each run with its interval, series apart."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from pytest_jarvis.render.charts.frame import (
    COLOURS,
    PRINT,
    Box,
    axes_in,
    cut,
    new_figure,
    plain_style,
    write_legend,
    write_nothing_measured,
    write_ticks,
)
from pytest_jarvis.render.french import saved_runs as wording
from pytest_jarvis.render.french.formats import printable
from pytest_jarvis.render.french.words import word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pytest_jarvis.report.history import HistoryEntry, Series


DPI: Final = 200
_HEIGHT_IN: Final = 5.2
_LEAST_WIDTH_IN: Final = 8.0
_MOST_WIDTH_IN: Final = 40.0
_MOST_TICKS: Final = 60
_MARKERS: Final = "osD^v"  # One more than the colours, so that colour and marker together tell twenty trends apart.
_APART: Final = 0.14  # Between the adapters of one run; runs are 1 apart.
_MOST_NAMES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    series: int
    name: str
    points: Sequence[tuple[float, HistoryEntry]]  # Each with its place on the axis.


def history_png(series: Sequence[Series]) -> bytes:
    """Return the trend as a PNG, wider with more runs; same runs, same bytes."""
    runs = [
        (place, next(points))
        for place, one in enumerate(series)
        for _, points in groupby((entry for entry in one.entries if entry.in_trend), key=lambda entry: entry.report)
    ]
    lines = _lines(series, {entry.report: number for number, (_, entry) in enumerate(runs)})
    width = min(_MOST_WIDTH_IN, max(_LEAST_WIDTH_IN, 2.0 + 0.35 * len(runs)))
    named = len({line.name for line in lines}) > 1
    buffer = io.BytesIO()
    with plain_style("history"):
        figure = new_figure(width, _HEIGHT_IN, PRINT)
        axes = axes_in(figure, Box(0.9, 1.5, width - 1.3, _HEIGHT_IN - (2.5 if named else 2.1)), PRINT)
        title = cut(word("saved_runs.trend_title"), width - 1.0, 14, bold=True)
        figure.text(0.9 / width, 1 - 0.3 / _HEIGHT_IN, title, size=14, weight="bold", color=PRINT.text, va="center")
        if runs:
            _draw(axes, lines)
            _separate_series(axes, runs, series)
            _name_runs(axes, runs)
        else:
            write_nothing_measured(axes, PRINT)
        if named:
            _name_lines(figure, axes, lines, width)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _lines(series: Sequence[Series], places: Mapping[str, int]) -> list[_Line]:
    """Return the trends, those of several adapters side by side."""
    lines = []
    for number, one in enumerate(series):
        trends = one.trends
        apart = min(_APART, 0.6 / len(trends)) if trends else 0.0
        for order, (name, entries) in enumerate(trends.items()):
            offset = (order - (len(trends) - 1) / 2) * apart
            points = [(places[entry.report] + offset, entry) for entry in entries]
            lines.append(_Line(series=number, name=name, points=points))
    return lines


def _colour_and_marker(line: _Line, lines: Sequence[_Line]) -> tuple[str, str]:
    """Return the colour and the marker of a trend; series differ if there is one adapter."""
    names = list(dict.fromkeys(other.name for other in lines))
    number = names.index(line.name) if len(names) > 1 else line.series
    return COLOURS[1 + number % (len(COLOURS) - 1)], _MARKERS[number % len(_MARKERS)]


def _draw(axes: Axes, lines: Sequence[_Line]) -> None:
    axes.axhline(0, color=PRINT.faint, linewidth=0.8)
    for line in lines:
        colour, marker = _colour_and_marker(line, lines)
        places, gains = [place for place, _ in line.points], [entry.gain or 0.0 for _, entry in line.points]
        for place, entry in line.points:
            if entry.interval is not None:
                axes.plot([place, place], entry.interval, color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(places, gains, color=colour, linewidth=1, alpha=0.6)
        axes.scatter(places, gains, color=colour, edgecolor=PRINT.text, marker=marker, s=36, zorder=3)


def _separate_series(axes: Axes, runs: Sequence[tuple[int, HistoryEntry]], series: Sequence[Series]) -> None:
    for number in range(1, len(runs)):
        if runs[number][0] != runs[number - 1][0]:
            axes.axvline(number - 0.5, color=PRINT.faint, linewidth=0.8, linestyle=":")
    for place in dict.fromkeys(place for place, _ in runs) if len(series) > 1 else ():
        own = [number for number, (where, _) in enumerate(runs) if where == place]
        label = cut(f"{place + 1} : {series[place].base_model}", 1.0 + 0.35 * len(own), 8)
        axes.text(own[0], 1.01, label, size=8, color=PRINT.text, transform=axes.get_xaxis_transform())


def _name_runs(axes: Axes, runs: Sequence[tuple[int, HistoryEntry]]) -> None:
    shown = range(0, len(runs), 1 + (len(runs) - 1) // _MOST_TICKS)
    axes.set_xticks(
        list(shown),
        [f"{wording.day_of(runs[number][1].timestamp)} {wording.commit_of(runs[number][1])}" for number in shown],
        rotation=45,
        ha="right",
        size=7,
    )
    axes.set_xlim(-0.7, len(runs) - 0.3)
    write_ticks(axes, "y", in_percent=True)
    axes.set_ylabel(word("saved_runs.gain_axis"), color=PRINT.text, size=9)


def _name_lines(figure: Figure, axes: Axes, lines: Sequence[_Line], width: float) -> None:
    looks = dict(list({line.name: _colour_and_marker(line, lines) for line in lines}.items())[:_MOST_NAMES])
    handles = [
        axes.scatter([], [], color=colour, edgecolor=PRINT.text, marker=marker, s=36)
        for colour, marker in looks.values()
    ]
    write_legend(figure, Box(0.9, 0, width - 1.3, _HEIGHT_IN - 0.18), handles, list(map(printable, looks)), PRINT)
