"""The intervals of the verdict, drawn: for these prompts and for new ones, against the bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_jarvis.render.french import bracket, percent, signed
from pytest_jarvis.render.french import page as wording
from pytest_jarvis.render.html.markup import Html, arm_class, element, foreign, join
from pytest_jarvis.report.analysis.insights import AdapterInsight
from pytest_jarvis.stats.contrasts import Interval
from pytest_jarvis.stats.decision import Decision

_TICKS = 5
_ROW = 34
_EDGE = 4.0
"""Per cent of the width left free on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One interval to draw."""

    who: Html
    note: str
    value: float | None
    interval: Interval | None
    kind: str
    """`these` or `new`, and the colour of the arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """From a value to its place, in per cent of the width."""

    low: float
    high: float

    def place(self, value: float) -> str:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{_EDGE + share * (100 - 2 * _EDGE):.3f}%"

    def ticks(self) -> list[float]:
        step = _nice_step((self.high - self.low) / _TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def draw_intervals(
    adapters: Sequence[AdapterInsight], min_gain: float, *, notes: Mapping[str, str] | None = None
) -> Html | None:
    """Return the figure of the intervals of all adapters that have a decision; None when none has.

    Gains are relative where one can be estimated, else in points of score, where the bar has no place. `notes` stand
    under the names of adapters.
    """
    decided = [(place, one.name, one.decision) for place, one in enumerate(adapters) if one.decision is not None]
    if not decided:
        return None
    relative = any(_bounded(decision) for *_, decision in decided)
    lines = [
        line
        for place, name, decision in decided
        for line in _lines(
            decision,
            foreign(name) if len(decided) > 1 else None,
            arm_class(place),
            (notes or {}).get(name, ""),
            relative=relative,
        )
    ]
    bar = min_gain if relative else None
    axis = _axis(lines, bar)
    write: Callable[[float], str] = _percent if relative else signed
    return element(
        "figure",
        element("figcaption", wording.GAIN_AXIS if relative else wording.ABSOLUTE_AXIS),
        element("div", *(_row(line, axis, bar, write) for line in lines), class_="interval-rows"),
        _scale(axis, bar, write),
        element("p", wording.INTERVALS_CAPTION, class_="note"),
        class_="intervals",
    )


def _bounded(decision: Decision) -> bool:
    return decision.gain is not None and (decision.gain_these is not None or decision.gain_new is not None)


def _lines(decision: Decision, label: Html | None, arm: str, note: str, *, relative: bool) -> list[_Line]:
    value = decision.gain if relative else decision.absolute_gain
    these = decision.gain_these if relative else decision.absolute_these
    new = decision.gain_new if relative else decision.absolute_new
    return [
        _Line(
            who=join(label, " · " if label else None, wording.prompts_counted(decision.prompts)),
            note=note or ("" if label else wording.THESE_PROMPTS_MEANING),
            value=value,
            interval=these,
            kind=f"these {arm}",
        ),
        _Line(
            who=join(label, " · " if label else None, wording.NEW_PROMPTS.lower()),
            note="" if label else wording.NEW_PROMPTS_MEANING,
            value=value,
            interval=new,
            kind=f"new {arm}",
        ),
    ]


def _axis(lines: Sequence[_Line], bar: float | None) -> _Axis:
    values = [0.0] if bar is None else [0.0, bar]
    for line in lines:
        values += [value for value in (line.value, *(line.interval or ())) if value is not None]
    low, high = min(values), max(values)
    margin = (high - low or 1.0) * 0.06
    return _Axis(low=low - margin if low < 0 else 0.0, high=high + margin)


def _nice_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _row(line: _Line, axis: _Axis, bar: float | None, write: Callable[[float], str]) -> Html:
    figures = wording.NOT_ESTIMABLE if line.interval is None else bracket(line.interval, write)
    return element(
        "div",
        element("div", element("strong", line.who), element("small", line.note) if line.note else None, class_="who"),
        element("svg", *_drawing(line, axis, bar), class_=f"interval {line.kind}", height=_ROW, aria_hidden="true"),
        element("div", figures, class_="figures"),
        class_="interval-row",
    )


def _drawing(line: _Line, axis: _Axis, bar: float | None) -> list[Html]:
    middle = _ROW // 2
    drawn = [_stroke(axis.place(0), axis.place(0), 0, _ROW, "zero")]
    if bar is not None:
        drawn.append(_stroke(axis.place(bar), axis.place(bar), 0, _ROW, "bar"))
    if line.interval is not None:
        low, high = (axis.place(end) for end in line.interval)
        drawn.append(_stroke(low, high, middle, middle, "reach"))
        drawn += [_stroke(end, end, middle - 6, middle + 6, "end") for end in (low, high)]
    if line.value is not None:
        drawn.append(element("circle", class_="seen", cx=axis.place(line.value), cy=middle, r="5.5"))
    return drawn


def _stroke(x1: str, x2: str, y1: int, y2: int, kind: str) -> Html:
    return element("line", class_=kind, x1=x1, x2=x2, y1=y1, y2=y2)


def _scale(axis: _Axis, bar: float | None, write: Callable[[float], str]) -> Html:
    """Return the row under the lines: ticks, and the bar by its name."""
    marks = [
        element("text", _tick(tick, write), class_="tick", x=axis.place(tick), y=14, text_anchor="middle")
        for tick in axis.ticks()
    ]
    named = None
    if bar is not None:
        near_left = float(axis.place(bar).removesuffix("%")) < 20
        anchor = "start" if near_left else "middle"
        named = element("text", wording.bar_label(bar), class_="bar-name", x=axis.place(bar), y=32, text_anchor=anchor)
    return element(
        "div",
        element("svg", *marks, named, class_="scale", height=38 if bar is not None else 20, aria_hidden="true"),
        class_="interval-row axis",
    )


def _percent(value: float) -> str:
    return percent(value, signed=True)


def _tick(value: float, write: Callable[[float], str]) -> str:
    if write is _percent:
        return percent(value, 0 if abs(value * 100 - round(value * 100)) < 1e-6 else 1, signed=value != 0)
    return signed(value, 2) if value else "0"
