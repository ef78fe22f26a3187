"""The trend of saved runs as a PNG: a gain with its interval for each run, the series apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_jarvis.outputs.charts.frame import (
    COLOURS,
    PRINT,
    Box,
    axes_in,
    cut,
    house_settings,
    new_figure,
    say_nothing_measured,
    write_ticks,
)
from pytest_jarvis.outputs.wording import history as wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pytest_jarvis.history import HistoryEntry, Series

DPI: Final = 200
_HEIGHT_IN: Final = 5.2
_LEAST_WIDTH_IN: Final = 8.0
_MOST_WIDTH_IN: Final = 40.0
_MOST_TICKS: Final = 60
_MARKERS: Final = "osD^v"


def history_png(series: Sequence[Series]) -> bytes:
    """Return the trend as a PNG, wider the more runs there are; the same bytes for the same runs."""
    points = [(place, entry) for place, one in enumerate(series) for entry in one.entries if entry.in_trend]
    width = min(_MOST_WIDTH_IN, max(_LEAST_WIDTH_IN, 2.0 + 0.35 * len(points)))
    buffer = io.BytesIO()
    with house_settings("history"):
        figure = new_figure(width, _HEIGHT_IN, PRINT)
        axes = axes_in(figure, Box(0.9, 1.5, width - 1.3, _HEIGHT_IN - 2.1), PRINT)
        title = cut(wording.TITLE, width - 1.0, 14, bold=True)
        figure.text(0.9 / width, 1 - 0.3 / _HEIGHT_IN, title, size=14, weight="bold", color=PRINT.text, va="center")
        if points:
            _draw(axes, points, series)
        else:
            say_nothing_measured(axes, PRINT)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, points: Sequence[tuple[int, HistoryEntry]], series: Sequence[Series]) -> None:
    axes.axhline(0, color=PRINT.faint, linewidth=0.8)
    for number in range(1, len(points)):
        if points[number][0] != points[number - 1][0]:
            axes.axvline(number - 0.5, color=PRINT.faint, linewidth=0.8, linestyle=":")
    for place in dict.fromkeys(place for place, _ in points):
        own = [(number, entry) for number, (where, entry) in enumerate(points) if where == place]
        colour = COLOURS[1 + place % (len(COLOURS) - 1)]
        places, gains = [number for number, _ in own], [entry.gain or 0.0 for _, entry in own]
        for number, entry in own:
            if entry.interval is not None:
                axes.plot([number, number], entry.interval, color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(places, gains, color=colour, linewidth=1, alpha=0.6)
        axes.scatter(
            places, gains, color=colour, edgecolor=PRINT.text, marker=_MARKERS[place % len(_MARKERS)], s=36, zorder=3
        )
        if len(series) > 1:
            label = cut(f"{place + 1} : {series[place].base_model}", 1.0 + 0.35 * len(own), 8)
            axes.text(places[0], 1.01, label, size=8, color=PRINT.text, transform=axes.get_xaxis_transform())
    step = 1 + (len(points) - 1) // _MOST_TICKS
    shown = range(0, len(points), step)
    axes.set_xticks(
        list(shown),
        [f"{wording.date_of(points[number][1])} {wording.commit_of(points[number][1])}" for number in shown],
        rotation=45,
        ha="right",
        size=7,
    )
    axes.set_xlim(-0.7, len(points) - 0.3)
    write_ticks(axes, "y", in_percent=True)
    axes.set_ylabel(wording.GAIN_AXIS, color=PRINT.text, size=9)
