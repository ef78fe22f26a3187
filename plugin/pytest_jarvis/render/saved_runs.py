"""Saved runs as shown by `compare` and `history`: text, Markdown, JSON."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE
from pytest_jarvis.render.blocks import Block, Table, Text, columns, items
from pytest_jarvis.render.french import saved_runs
from pytest_jarvis.render.french.formats import (
    bracket,
    fit,
    gain_interval,
    number,
    percent,
    points,
    printable,
    shorten,
    signed,
)
from pytest_jarvis.render.french.metrics import find_spec
from pytest_jarvis.render.french.words import word
from pytest_jarvis.render.markdown import escape_label, escape_sentence, markdown_blocks
from pytest_jarvis.render.text import WIDTH, align, block_lines, paragraph, section, wrap
from pytest_jarvis.report.comparison import ArmComparison, MetricDifference, PromptDifference, RunComparison
from pytest_jarvis.report.history import HistoryEntry, Series
from pytest_jarvis.report.schema import Report

_MOST_PROMPTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """Two runs, the names of their files, and their comparison."""

    stored_path: str
    new_path: str
    stored: Report
    new: Report
    comparison: RunComparison


def comparison_text(runs: ComparedRuns) -> str:
    """Return the comparison in at most 80 columns."""
    lines = ["═" * WIDTH, word("saved_runs.comparison"), "═" * WIDTH]
    for label, path, report in _both(runs):
        lines += paragraph(saved_runs.run_line(path, report), indent=" " * 8, first=f"{label} : ".ljust(8))
    lines += paragraph(saved_runs.overlap_sentence(runs.comparison.overlap), indent="")
    for title, blocks in _sections(runs):
        lines += section(title, block_lines(blocks))
    return "\n".join(line.rstrip() for line in lines)


def comparison_markdown(runs: ComparedRuns) -> str:
    """Return the comparison for a pull request."""
    lines = [f"- {label} : {escape_sentence(saved_runs.run_line(path, report))}" for label, path, report in _both(runs)]
    written = [
        f"# {word('saved_runs.comparison')}",
        "\n".join(lines),
        escape_sentence(saved_runs.overlap_sentence(runs.comparison.overlap)),
    ]
    for title, blocks in _sections(runs):
        written += [f"## {escape_label(title)}", *markdown_blocks(blocks)]
    return "\n\n".join(written)


def comparison_document(runs: ComparedRuns) -> dict[str, object]:
    """Return the comparison for JSON, with every prompt."""
    return {
        "stored": _name(runs.stored_path, runs.stored),
        "new": _name(runs.new_path, runs.new),
        **msgspec.to_builtins(runs.comparison),
    }


def _name(path: str, report: Report) -> dict[str, object]:
    return {
        "report": path,
        "timestamp": report.metadata.timestamp,
        "commit": report.provenance.commit,
        "base_model": report.metadata.base_model,
        "adapters": dict(report.metadata.adapters),
    }


def _both(runs: ComparedRuns) -> tuple[tuple[str, str, Report], ...]:
    return (
        (word("saved_runs.before"), runs.stored_path, runs.stored),
        (word("saved_runs.after"), runs.new_path, runs.new),
    )


def _sections(runs: ComparedRuns) -> Iterator[tuple[str, list[Block]]]:
    """Yield the title and the blocks of the changed settings, then of each pair of adapters."""
    found = runs.comparison
    settings = [saved_runs.change_sentence(change) for change in found.changes] or [word("saved_runs.same_settings")]
    yield word("saved_runs.different_settings"), [*items(settings)]
    if not found.overlap.common:
        yield word("saved_runs.conclusion"), [Text(word("saved_runs.no_common_prompt"))]
        return
    for arm in found.arms:
        metrics = tuple(tuple(_metric_cells(runs, one)) for one in arm.metrics)
        yield (
            word(
                "saved_runs.same_adapter" if arm.stored_adapter == arm.new_adapter else "saved_runs.two_adapters",
                before=arm.stored_adapter,
                after=arm.new_adapter,
            ),
            [
                Text(word("saved_runs.interval_rule", level=1 - 2 * found.alpha, error=found.alpha), "note"),
                Table(columns=columns(saved_runs.METRIC_HEADS, (22, 7, 8, 8, 11, 17)), rows=metrics),
                *_prompt_blocks(arm),
                Text(" ".join(saved_runs.conclusion(found, arm, runs.new))),
            ],
        )


def _prompt_blocks(arm: ArmComparison) -> Iterator[Block]:
    changed = _changed(arm)
    if not changed:
        yield Text(word("saved_runs.nothing_changed"))
        return
    rows = tuple(tuple(_prompt_cells(one)) for one in changed)
    yield Table(columns=columns(saved_runs.PROMPT_HEADS, (19, 15, 16, 13, 7)), rows=rows, most=_MOST_PROMPTS)
    if same := len(arm.prompts) - len(changed):
        yield Text(word("saved_runs.unchanged", count=same))


def _changed(arm: ArmComparison) -> list[PromptDifference]:
    changed = [
        one for one in arm.prompts if one.texts_changed or any(pair[0] != pair[1] for pair in one.figures.values())
    ]
    return sorted(changed, key=lambda one: (one.p_worse is None, _change(one.figures[RELEVANCE])))


def _change(pair: tuple[float | None, float | None]) -> float:
    return 0.0 if pair[0] is None or pair[1] is None else pair[1] - pair[0]


def _metric_cells(runs: ComparedRuns, one: MetricDifference) -> Sequence[str]:
    spec = find_spec(one.metric)
    label = saved_runs.metric_label(spec, of_base=one.of_base)
    change: Callable[[float], str] = points if spec.unit == "share" else signed
    difference = one.difference
    # Relevances of different dictionaries have no difference.
    other_scale = one.metric == RELEVANCE and "other_dictionary" in runs.comparison.obstacles
    mark = "" if other_scale else saved_runs.MARKS[one.proven]
    return (
        label if not one.category else f"· {runs.new.category_label(one.category)}",
        str(one.prompts),
        *(
            percent(mean) if spec.unit == "share" else number(mean, 3)
            for mean in (difference.first_mean, difference.second_mean)
        ),
        f"{change(difference.difference)}{mark}",
        bracket(difference.interval, change),
    )


def _prompt_cells(one: PromptDifference) -> Sequence[str]:
    mark = saved_runs.MARKS["drop" if one.p_worse is not None else None]
    return (
        one.prompt_id,
        *(
            " → ".join(write(value) for value in values) + (mark if name == RELEVANCE else "")
            for name, values in one.figures.items()
            for write in (partial(percent, digits=0) if BUILT_IN[name].spec.unit == "share" else number,)
        ),
        f"{one.texts_changed}/{one.texts}",
    )


_WIDTH: Final = 79
_COLUMNS: Final = (16, 8, 9, 5, 8, 16, 11)
_BAR: Final = 48
_HIGHEST: Final = 10.0  # Larger gains are drawn at the edge.


def history_lines(series: Sequence[Series], folder: str) -> list[str]:
    """Return the table and the trend of each series, the baseline and a legend."""
    if not series:
        return [word("history.no_run", folder=folder)]
    lines: list[str] = []
    for place, one in enumerate(series, start=1):
        lines += [*wrap(saved_runs.series_title(place, one), _WIDTH), ""]
        lines += [_cells(saved_runs.HISTORY_HEADS), "─" * _WIDTH, *(_cells(_row(entry)) for entry in one.entries), ""]
        lines += [*_trends(one), ""]
    entries = [entry for one in series for entry in one.entries if entry.is_candidate]
    for entry in entries:
        if entry.is_baseline:
            day = saved_runs.day_of(entry.timestamp)
            lines += wrap(word("history.baseline", day=day, report=entry.report), _WIDTH)
    dirty = word("history.legend_dirty") if any(entry.dirty for entry in entries) else ""
    return [*lines, *wrap(word("history.legend") + dirty, _WIDTH)]


def _cells(cells: Sequence[str]) -> str:
    texts = [fit(printable(cell), width) for cell, width in zip(cells[:3], _COLUMNS[:3], strict=True)]
    numbers = [align(cell, width, "right") for cell, width in zip(cells[3:6], _COLUMNS[3:6], strict=True)]
    return " ".join([*texts, *numbers, cells[6]]).rstrip()


def _row(entry: HistoryEntry) -> tuple[str, ...]:
    # Date and commit stand beside the first adapter of a run.
    run = (saved_runs.day_of(entry.timestamp), saved_runs.commit_of(entry)) if entry.is_candidate else ("", "")
    return (
        *run,
        shorten(printable(entry.adapter), _COLUMNS[2]),
        percent(entry.share_done, 0),
        "" if entry.is_twin else percent(entry.gain, signed=True),
        "" if entry.is_twin else gain_interval(entry.interval) if entry.interval else "",
        saved_runs.verdict_of(entry),
    )


def _trends(series: Series) -> Iterator[str]:
    trends = series.trends
    if not trends:
        yield from wrap(word("saved_runs.no_trend"), _WIDTH)
        return
    ends = [0.0]
    for entry in (entry for entries in trends.values() for entry in entries):
        ends += [_clamp(value) for value in (entry.gain or 0.0, *(entry.interval or ()))]
    for place, (name, entries) in enumerate(trends.items()):
        if len(trends) > 1:
            yield from ("",) if place else ()
            yield fit(word("history.trend", adapter=name), _WIDTH).rstrip()
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
    gain = align(percent(entry.gain, signed=True), 9, "right")
    return f"{saved_runs.day_of(entry.timestamp)} {''.join(drawn)} {gain}"


def _clamp(value: float) -> float:
    return max(-1.0, min(_HIGHEST, value))
