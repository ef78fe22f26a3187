"""The list of saved runs and its trend on a terminal, in at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pytest_jarvis.render.french import saved_runs as wording
from pytest_jarvis.render.french.formats import fit, gain_interval, percent, printable, shorten
from pytest_jarvis.render.french.words import word
from pytest_jarvis.render.text import align, wrap
from pytest_jarvis.report.history import HistoryEntry, Series

_WIDTH: Final = 79
_COLUMNS: Final = (16, 8, 11, 3, 8, 16, 11)
_BAR: Final = 48
_HIGHEST: Final = 10.0
"""Larger gains are drawn at the edge."""


def history_lines(series: Sequence[Series], folder: str) -> list[str]:
    """Return the table and the trend of each series, the baseline and a legend."""
    if not series:
        return [wording.no_run(folder)]
    lines: list[str] = []
    for place, one in enumerate(series, start=1):
        lines += [*wrap(wording.series_title(place, one), _WIDTH), ""]
        lines += [_cells(wording.HISTORY_HEADS), "─" * _WIDTH, *(_cells(_row(entry)) for entry in one.entries), ""]
        lines += [*_trends(one), ""]
    entries = [entry for one in series for entry in one.entries if entry.is_candidate]
    lines += [line for entry in entries if entry.is_baseline for line in wrap(wording.baseline_line(entry), _WIDTH)]
    return [*lines, *wrap(wording.history_legend(dirty=any(entry.dirty for entry in entries)), _WIDTH)]


def _cells(cells: Sequence[str]) -> str:
    texts = [fit(printable(cell), width) for cell, width in zip(cells[:3], _COLUMNS[:3], strict=True)]
    numbers = [align(cell, width, "right") for cell, width in zip(cells[3:6], _COLUMNS[3:6], strict=True)]
    return " ".join([*texts, *numbers, cells[6]]).rstrip()


def _row(entry: HistoryEntry) -> tuple[str, ...]:
    # Date and commit stand beside the first adapter of a run.
    run = (wording.day_of(entry.timestamp), wording.commit_of(entry)) if entry.is_candidate else ("", "")
    return (
        *run,
        shorten(printable(entry.adapter), _COLUMNS[2]),
        str(entry.replicates),
        "" if entry.is_twin else percent(entry.gain, signed=True),
        "" if entry.is_twin else gain_interval(entry.interval) if entry.interval else "",
        wording.verdict_of(entry),
    )


def _trends(series: Series) -> Iterator[str]:
    """Yield the trend of each adapter, all on one scale."""
    trends = series.trends
    if not trends:
        yield word("saved_runs.no_trend")
        return
    ends = [0.0]
    for entry in (entry for entries in trends.values() for entry in entries):
        ends += [_clamp(value) for value in (entry.gain or 0.0, *(entry.interval or ()))]
    for place, (name, entries) in enumerate(trends.items()):
        if len(trends) > 1:
            yield from ("",) if place else ()
            yield fit(wording.trend_title(name), _WIDTH).rstrip()
        yield from (_trend_line(entry, min(ends), max(ends)) for entry in entries)


def _trend_line(entry: HistoryEntry, low: float, high: float) -> str:
    """Return the line of a run: its interval, its gain and the zero on a scale."""
    scale = (_BAR - 1) / (high - low) if high > low else 0.0

    def place(value: float) -> int:
        return round((_clamp(value) - low) * scale)

    drawn = [" "] * _BAR
    first, last = (place(end) for end in entry.interval or (0.0, 0.0))
    drawn[first : last + 1] = "─" * (last + 1 - first)
    # Zero is drawn over an interval and under its ends.
    drawn[place(0.0)] = "│"
    if entry.interval is not None:
        drawn[first], drawn[last] = "[", "]"
    drawn[place(entry.gain or 0.0)] = "o"
    return f"{wording.day_of(entry.timestamp)} {''.join(drawn)} {align(percent(entry.gain, signed=True), 9, 'right')}"


def _clamp(value: float) -> float:
    return max(-1.0, min(_HIGHEST, value))
