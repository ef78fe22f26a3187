"""The figures of the page as places and shades: gain intervals, confusion matrices."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pytest_jarvis.render.blocks import Span
from pytest_jarvis.render.french.explanations import short_name
from pytest_jarvis.render.french.formats import bracket, number, percent, signed
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.insights import NO_TOOL, REASON_MARK, AdapterInsight, RoutingInsight
from pytest_jarvis.stats.contrasts import Interval
from pytest_jarvis.stats.decision import Decision

_TICKS = 5
_EDGE = 4.0  # Margin on both sides, in per cent of the width.
_SHADES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalLine:
    """An interval on these prompts, or on new ones."""

    name: str
    """Of the adapter if there are several."""
    about: str
    note: str
    kind: Literal["these", "new"]
    adapter: int
    value: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalFigure:
    """The intervals of all adapters with a decision, on one axis."""

    caption: str
    lines: tuple[IntervalLine, ...]
    bar: float | None
    """The required gain; None where gains are in points of score."""
    low: float
    high: float

    def place(self, value: float) -> str:
        """Return the place of a value in per cent of the width."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{_EDGE + share * (100 - 2 * _EDGE):.3f}%"

    def figures(self, line: IntervalLine) -> str:
        """Return an interval as text."""
        if line.interval is None:
            return word("page.not_estimable")
        return bracket(line.interval, signed if self.bar is None else _percent)

    def ticks(self) -> list[tuple[str, str]]:
        """Return the places and labels of the scale."""
        step = _nice_step((self.high - self.low) / _TICKS)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(self.place(count * step), self._tick(count * step)) for count in range(first, last + 1)]

    def _tick(self, value: float) -> str:
        if self.bar is None:
            return signed(value, 2) if value else "0"
        return percent(value, 0 if abs(value * 100 - round(value * 100)) < 1e-6 else 1, signed=value != 0)


def interval_figure(
    adapters: Sequence[AdapterInsight], min_gain: float, *, notes: Mapping[str, str] | None = None
) -> IntervalFigure | None:
    """Return the intervals of all adapters with a decision; None if there are none.

    Gains are relative where one can be estimated, else in points of score, without a bar. `notes` are shown with the
    adapters they are named after.
    """
    decided = [(place, one.name, one.decision) for place, one in enumerate(adapters) if one.decision is not None]
    if not decided:
        return None
    relative = any(_bounded(decision) for *_, decision in decided)
    lines = [
        line
        for place, name, decision in decided
        for line in _lines(
            decision, name if len(decided) > 1 else "", place, (notes or {}).get(name, ""), relative=relative
        )
    ]
    bar = min_gain if relative else None
    values = [0.0, bar or 0.0]
    for line in lines:
        values += [value for value in (line.value, *(line.interval or ())) if value is not None]
    low, high = min(values), max(values)
    margin = (high - low or 1.0) * 0.06
    return IntervalFigure(
        caption=word("page.gain_axis") if relative else word("page.absolute_axis"),
        lines=tuple(lines),
        bar=bar,
        low=low - margin if low < 0 else 0.0,
        high=high + margin,
    )


def _bounded(decision: Decision) -> bool:
    return decision.gain is not None and (decision.gain_these is not None or decision.gain_new is not None)


def _lines(decision: Decision, name: str, place: int, note: str, *, relative: bool) -> list[IntervalLine]:
    value = decision.gain if relative else decision.absolute_gain
    these = decision.gain_these if relative else decision.absolute_these
    new = decision.gain_new if relative else decision.absolute_new
    line = partial(IntervalLine, name=name, adapter=place, value=value)
    about = word("page.prompts_counted", count=decision.prompts)
    notes = ("", "") if name else (word("page.these_prompts_meaning"), word("page.new_prompts_meaning"))
    return [
        line(about=about, note=note or notes[0], kind="these", interval=these),
        line(about=word("page.new_prompts").lower(), note=notes[1], kind="new", interval=new),
    ]


def _nice_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _percent(value: float) -> str:
    return percent(value, signed=True)


def span_ends(span: Span) -> tuple[str, str, str]:
    """Return the places of both means, and whether the second is better."""
    start, end = (f"{3 + min(1.0, value / span.most) * 94:.3f}%" for value in (span.before, span.after))
    same = number(span.before, 3) == number(span.after, 3)
    return start, end, "same" if same else "better" if span.after > span.before else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The tools that one arm chose, by the expected tool."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]
    """The expected tool; the count and the CSS class of each choice."""


def matrices(found: RoutingInsight, base: str, name: str, caption: str) -> tuple[Matrix, Matrix]:
    """Return the confusion matrices of the base and of an adapter, with the same heads."""
    wanted = [one.expected for one in found.confusions if one.expected != NO_TOOL]
    seen = dict.fromkeys(key for one in found.confusions for key in (*one.base, *one.finetuned))
    others = sorted(key for key in seen if key not in wanted and key[:1] not in {NO_TOOL, REASON_MARK})
    keys = [*wanted, *others, *(key for key in table("routing.names") if key in seen or key == NO_TOOL)]

    def cell(count: int, total: int, *, right: bool) -> tuple[int, str]:
        shade = -(-count * _SHADES // total) if count else 0
        return count, f"{'right' if right else 'wrong'} shade-{shade}"

    def matrix(arm: str, counts: Sequence[Mapping[str, int]]) -> Matrix:
        rows = []
        for one, found_there in zip(found.confusions, counts, strict=True):
            total = sum(found_there.values())
            cells = (cell(found_there.get(key, 0), total, right=key == one.expected) for key in keys)
            rows.append((short_name(one.expected), tuple(cells)))
        return Matrix(caption=caption.format(name=arm), heads=tuple(map(short_name, keys)), rows=tuple(rows))

    return (
        matrix(base, [one.base for one in found.confusions]),
        matrix(name, [one.finetuned for one in found.confusions]),
    )
