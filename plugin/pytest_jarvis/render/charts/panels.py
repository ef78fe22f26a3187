"""The four panels of the charts, each drawn in a box of a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pytest_jarvis.render.charts.data import Bar, BarPanel, Histogram, KeyNumbers
from pytest_jarvis.render.charts.frame import (
    COLOURS,
    HATCHES,
    Box,
    Ink,
    axes_in,
    cut,
    legend_height,
    text_width,
    wrap_to_room,
    write_head,
    write_legend,
    write_nothing_measured,
    write_ticks,
)
from pytest_jarvis.render.french.words import word
from pytest_jarvis.stats.gate import GateVerdict

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


_LINES: Final[tuple[tuple[float, tuple[float, ...]], ...]] = (
    (0, ()),
    (0, (6, 2)),
    (0, (6, 2, 1, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1, 2, 1, 2)),
)
_BADGES: Final[Mapping[GateVerdict, tuple[str, str]]] = {
    "PASS": ("#00734F", "white"),
    "FAIL": ("#B34700", "white"),
    "INCONCLUSIVE": ("#F0E442", "black"),
    "NOT_JUDGED": ("#F0E442", "black"),
    "OFF": ("#D9D9D9", "black"),
}
"""Fill and text colour; the badge has a sign and a word too, for readers who cannot tell colours apart."""
_LABEL_IN: Final = 1.65
_LINE: Final = 1.4  # Line height of the name of a category, in font sizes.
_ROW_IN: Final = 0.19  # The lowest row of key numbers that is still legible.
_GAP: Final = 0.8  # Between two categories, in bars.


def bars_height(panel: BarPanel) -> float:
    """Return the height in inches at which a panel of bars is legible."""
    return 1.2 + 0.125 * len(panel.groups) * (len(panel.arms) + _GAP)


def draw_bars(figure: Figure, box: Box, panel: BarPanel, ink: Ink) -> None:
    """Draw a horizontal bar per category and arm, with its interval and its value."""
    write_head(figure, box, panel.title, panel.note, ink)
    place = box.inside(_LABEL_IN, 0.3, 0.1, legend_height(len(panel.arms)))
    axes = axes_in(figure, place, ink)
    pitch = len(panel.arms) + _GAP
    units = pitch * max(1, len(panel.groups))
    bar_pt = place.height * 72 / units
    reach = panel.top * 1.18
    for row, group in enumerate(panel.groups):
        for arm, bar in enumerate(group.bars):
            _draw_bar(axes, row * pitch + arm, arm, bar, ink, size=max(5, min(9.5, 0.95 * bar_pt)), reach=reach)
    axes.set_xlim(0, reach)
    axes.set_ylim(units - 0.5 - _GAP / 2, -0.5 - _GAP / 2)
    _name_groups(axes, panel, pitch, bar_pt, ink)
    write_ticks(axes, "x", in_percent=panel.in_percent)
    axes.grid(visible=True, axis="x", color=ink.faint, linewidth=0.4, alpha=0.5)
    write_legend(figure, box, [_patch(arm, ink) for arm in range(len(panel.arms))], panel.arms, ink)
    if not any(bar for group in panel.groups for bar in group.bars):
        write_nothing_measured(axes, ink)


def _draw_bar(axes: Axes, middle: float, arm: int, bar: Bar | None, ink: Ink, *, size: float, reach: float) -> None:
    if bar is None:
        return
    axes.barh(
        middle, bar.value, 0.88, color=COLOURS[arm], hatch=HATCHES[arm], edgecolor=ink.text, linewidth=0.5, zorder=2
    )
    end = bar.value
    if bar.interval is not None and bar.interval[1] > bar.interval[0]:
        end = max(end, bar.interval[1])
        axes.plot(bar.interval, [middle, middle], color=ink.text, linewidth=1.2, solid_capstyle="butt", zorder=3)
        for tip in bar.interval:
            axes.plot([tip, tip], [middle - 0.24, middle + 0.24], color=ink.text, linewidth=1.2, zorder=3)
    axes.text(end + 0.012 * reach, middle, bar.label, size=size, color=ink.text, va="center_baseline", zorder=4)


def _name_groups(axes: Axes, panel: BarPanel, pitch: float, bar_pt: float, ink: Ink) -> None:
    """Write the names of categories beside their bars, on as many lines as fit."""
    room_pt = pitch * bar_pt
    lines = max(1, min(3, int(room_pt / (_LINE * 7.5))))
    size = max(6.0, min(9.5, room_pt / (_LINE * lines)))
    middle = (len(panel.arms) - 1) / 2
    names = ["\n".join(wrap_to_room(group.label, _LABEL_IN - 0.12, size, most=lines)) for group in panel.groups]
    axes.set_yticks([row * pitch + middle for row in range(len(names))], names, fontsize=size)
    axes.tick_params(axis="y", length=0)
    if len(panel.groups) > 1 and panel.groups[-1].label == word("labels.total"):
        axes.get_yticklabels()[-1].set_fontweight("bold")
        line = (len(panel.groups) - 1) * pitch - 0.5 - _GAP / 2
        axes.axhline(line, color=ink.faint, linewidth=0.8, linestyle="--")


def draw_histogram(figure: Figure, box: Box, panel: Histogram, ink: Ink) -> None:
    """Draw the distributions of the arms: two filled ones, or lines over the filled one of the base."""
    from matplotlib.lines import Line2D

    write_head(figure, box, panel.title, "", ink)
    axes = axes_in(figure, box.inside(0.75, 0.5, 0.1, legend_height(len(panel.arms))), ink)
    handles: list[Artist] = []
    for arm, (shares, average) in enumerate(zip(panel.shares, panel.means, strict=True)):
        colour, line = COLOURS[arm], _LINES[arm]
        if arm == 0 or len(panel.arms) == 2:
            patch = _patch(arm, ink, alpha=0.55)
            face, hatch = patch.get_facecolor(), HATCHES[arm]
            axes.stairs(shares, panel.edges, fill=True, facecolor=face, edgecolor=ink.text, hatch=hatch, linewidth=0.6)
            handles.append(patch)
        else:
            axes.stairs(shares, panel.edges, color=colour, linewidth=1.8, linestyle=line)
            handles.append(Line2D([], [], color=colour, linewidth=1.8, linestyle=line))
        if average is not None:
            axes.axvline(average, color=ink.text, linewidth=3)
            axes.axvline(average, color=colour, linewidth=1.6)
    top = max((share for shares in panel.shares for share in shares), default=0.0)
    axes.set_xlim(panel.edges[0], panel.edges[-1])
    axes.set_ylim(0, 1.08 * top or 1.0)
    axes.set_xlabel(word("page.chart_score_axis"), size=9, color=ink.text)
    axes.set_ylabel(word("page.chart_share_axis"), size=9, color=ink.text)
    write_ticks(axes, "x", in_percent=False)
    write_ticks(axes, "y", in_percent=True)
    axes.grid(visible=True, axis="y", color=ink.faint, linewidth=0.4, alpha=0.5)
    means = ["" if average is None else word("page.with_mean", mean=average) for average in panel.means]
    write_legend(figure, box, handles, panel.arms, ink, after=means)
    if not top:
        write_nothing_measured(axes, ink)


def draw_key_numbers(figure: Figure, box: Box, panel: KeyNumbers, ink: Ink) -> None:
    """Draw the text box: the verdict on its badge, advice, numbers in two columns, notes."""
    from matplotlib.patches import FancyBboxPatch

    write_head(figure, box, word("page.chart_key_numbers"), "", ink)
    place = box.inside(0, 0, 0, 0.35)
    axes = axes_in(figure, place, ink)
    axes.set_axis_off()
    axes.set_xlim(0, place.width)
    axes.set_ylim(place.height, 0)
    shape = "round,pad=0,rounding_size=0.08"
    axes.add_patch(
        FancyBboxPatch(
            (0.02, 0.02), place.width - 0.04, place.height - 0.04, shape, fill=False, edgecolor=ink.faint, linewidth=1
        )
    )
    inner = place.width - 0.5
    fill, text = _BADGES[panel.verdict]
    badge = text_width(panel.verdict_text, 15, bold=True) + 0.4
    axes.add_patch(FancyBboxPatch((0.25, 0.2), badge, 0.42, shape, facecolor=fill, edgecolor="none"))
    axes.text(0.25 + badge / 2, 0.41, panel.verdict_text, size=15, weight="bold", color=text, ha="center", va="center")
    y = 0.86
    for line in wrap_to_room(panel.advice, inner, 10.5, most=2):
        axes.text(0.25, y, line, size=10.5, color=ink.text, va="center")
        y += 0.21
    notes = [line for note in panel.notes for line in wrap_to_room(note, inner, 8.5, most=2)]
    room = place.height - y - 0.15 - 0.17 * len(notes)
    rows = panel.rows[: max(1, int(room / _ROW_IN))]
    pitch = min(0.29, room / max(1, len(rows)))
    size = min(10.5, 0.65 * pitch * 72)
    y += pitch / 2
    for label, value in rows:
        shown = cut(value, inner, size, bold=True)
        left = inner - text_width(shown, size, bold=True) - 0.15
        axes.text(0.25, y, cut(label, left, size), size=size, color=ink.text, va="center")
        axes.text(0.25 + inner, y, shown, size=size, weight="bold", color=ink.text, va="center", ha="right")
        y += pitch
    y = place.height - 0.12 - 0.17 * (len(notes) - 0.5)
    for line in notes:
        axes.text(0.25, y, line, size=8.5, style="italic", color=ink.text, va="center")
        y += 0.17


def _patch(arm: int, ink: Ink, *, alpha: float = 1.0) -> Patch:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    return Patch(facecolor=to_rgba(COLOURS[arm], alpha), edgecolor=ink.text, hatch=HATCHES[arm] or None, linewidth=0.5)
