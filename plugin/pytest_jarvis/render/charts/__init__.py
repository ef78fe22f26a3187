"""`charts.png`, and its panels as SVG: matplotlib without pyplot or user settings; same data, same bytes."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final, Literal, get_args

from pytest_jarvis.inputs.config import FILES
from pytest_jarvis.render import OutputFormat
from pytest_jarvis.render.charts.data import ChartData, chart_data
from pytest_jarvis.render.charts.frame import PAGE, PRINT, Box, Ink, new_figure, plain_style, write_title
from pytest_jarvis.render.charts.panels import bars_height, draw_bars, draw_histogram, draw_key_numbers
from pytest_jarvis.render.french.words import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pytest_jarvis.report.analysis.insights import Insights
    from pytest_jarvis.report.schema import Report


PanelName = Literal["relevance", "keywords", "scores", "key_numbers"]

WIDTH_IN: Final = 14.0
HEIGHT_IN: Final = 10.0
DPI: Final = 300
SVG_WIDTH_IN: Final = 7.0


def chart_png(report: Report, insights: Insights) -> bytes:
    """Return the four panels as a PNG of 4200 x 3000 pixels (14 x 10 inches, 300 DPI)."""
    data = chart_data(report, insights)
    buffer = io.BytesIO()
    with plain_style("png"):
        figure = new_figure(WIDTH_IN, HEIGHT_IN, PRINT)
        _draw_page(figure, data)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return buffer.getvalue()


def chart_svgs(report: Report, insights: Insights) -> dict[str, str]:
    """Return each panel (`relevance`, `keywords`, `scores`, `key_numbers`) as an `<svg>` element for a page.

    Its text stays text and takes the colour around it. It has no XML prolog and no style sheet, ids that differ between
    panels, and a description for screen readers.
    """
    data = chart_data(report, insights)
    return {name: _svg(name, data) for name in get_args(PanelName)}


def _draw_page(figure: Figure, data: ChartData) -> None:
    """Draw the four panels; many bars get more of the height."""
    margin, gap, head = 0.35, 0.5, 0.95
    width = (WIDTH_IN - 2 * margin - gap) / 2
    room = HEIGHT_IN - head - margin - gap
    top = min(0.62 * room, max(0.5 * room, bars_height(data.relevance)))
    right, upper = margin + width + gap, margin + room - top + gap
    title = Box(margin, HEIGHT_IN - head, WIDTH_IN - 2 * margin, head)
    write_title(figure, title, data.key_numbers.title, data.key_numbers.subtitle, PRINT)
    places: dict[PanelName, Box] = {
        "relevance": Box(margin, upper, width, top),
        "keywords": Box(right, upper, width, top),
        "scores": Box(margin, margin, width, room - top),
        "key_numbers": Box(right, margin, width, room - top),
    }
    for name, box in places.items():
        _draw(name, figure, box, data, PRINT)


def _draw(name: PanelName, figure: Figure, box: Box, data: ChartData, ink: Ink) -> None:
    if name in {"relevance", "keywords"}:
        draw_bars(figure, box, data.relevance if name == "relevance" else data.keywords, ink)
    elif name == "scores":
        draw_histogram(figure, box, data.scores, ink)
    else:
        draw_key_numbers(figure, box, data.key_numbers, ink)


def _svg(name: PanelName, data: ChartData) -> str:
    height = max(4.2, bars_height(data.relevance)) if name in {"relevance", "keywords"} else 4.2
    buffer = io.StringIO()
    with plain_style(name):
        figure = new_figure(SVG_WIDTH_IN, height, PAGE)
        _draw(name, figure, Box(0.1, 0.1, SVG_WIDTH_IN - 0.2, height - 0.2), data, PAGE)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", facecolor="none", metadata=nothing)
    return _for_page(buffer.getvalue(), name)


def _for_page(svg: str, name: PanelName) -> str:
    """Return matplotlib's SVG file as an element for a page with others."""
    from html import escape

    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # A style sheet inside an SVG would hold for the whole page.
    svg = re.sub(r"<style[^>]*>.*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>\s*", "", svg)
    svg = re.sub(PAGE.text, "currentColor", svg, flags=re.IGNORECASE)
    svg = re.sub(r'(\sid="|\bhref="#|url\(#)', lambda match: f"{match[1]}jarvis-{name}-", svg)
    label = escape(table("page.chart_texts")[name], quote=True)
    shape = 'stroke-linejoin="round" stroke-linecap="butt"'
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" {shape} ', 1) + "\n"


FORMAT = OutputFormat(file=FILES["charts"], render="pytest_jarvis.render.charts:chart_png")
