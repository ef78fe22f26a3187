"""The choice of the tool on the page: shares, reasons, confusion matrices; and misheard commands."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_jarvis.render.french import DASH, percent
from pytest_jarvis.render.french import page as page_wording
from pytest_jarvis.render.french import routing as wording
from pytest_jarvis.render.french.labels import FIELDS, TOTAL
from pytest_jarvis.render.html.changes import case_link
from pytest_jarvis.render.html.markup import Html, arm_class, element, foreign, join
from pytest_jarvis.render.html.tables import table
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.analysis.tool_choice import (
    NO_TOOL,
    REASON_MARK,
    Confusion,
    RoutingInsight,
    UnderstandingInsight,
)

_SHADES = 4


def choices(insights: Insights, *, offered: bool) -> Html:
    """Return the choice of the tool by each adapter, the candidate unfolded. `offered`: there could be calls."""
    candidate = insights.candidate
    if candidate.routing is None and candidate.understanding is None:
        return element("p", wording.NOT_JUDGED, class_="empty")
    parts = [
        element("div", _choices_of(one, candidate.name), class_=arm_class(place))
        for place, one in enumerate(insights.adapters)
    ]
    folded = (
        element("details", element("summary", foreign(one.name)), part)
        for one, part in zip(insights.adapters[1:], parts[1:], strict=True)
    )
    rule = element("p", wording.rule(offered=offered), class_="note") if candidate.routing else None
    return join(rule, parts[0], *folded)


def _choices_of(one: AdapterInsight, candidate: str) -> Html:
    return join(
        _routing(one.routing, one.name) if one.routing else None,
        _understanding(one.understanding, one.name, candidate) if one.understanding else None,
    )


def _routing(found: RoutingInsight, name: str) -> Html:
    shares = [[foreign(one.label), str(one.prompts), *wording.share_cells(one.share)] for one in found.categories]
    shares.append([element("strong", TOTAL), str(found.share.prompts), *wording.share_cells(found.share)])
    reasons = [
        [wording.REASONS[reason], *(str(count) if count else DASH for count in counts)]
        for reason, counts in found.reasons.items()
    ]
    keys = _columns(found)
    return join(
        table(_share_heads(wording.SHARE_HEAD, name), shares),
        element(
            "div",
            _matrix(found, {one.expected: one.base for one in found.confusions}, keys, page_wording.BASE),
            _matrix(found, {one.expected: one.finetuned for one in found.confusions}, keys, name),
            class_="side-by-side matrices",
        ),
        element("p", wording.CONFUSION_NOTE, class_="note"),
        table((wording.REASON_HEAD, page_wording.BASE, name), reasons),
    )


def _share_heads(first: str, name: str) -> tuple[str, ...]:
    return (first, FIELDS["counted"], page_wording.BASE, name, FIELDS["change"], FIELDS["interval"])


def _columns(found: RoutingInsight) -> list[str]:
    """Return what was chosen by either arm: the tools that were wanted first, what is no tool last."""
    wanted = [one.expected for one in found.confusions if one.expected != NO_TOOL]
    seen = dict.fromkeys(key for one in found.confusions for key in (*one.base, *one.finetuned))
    others = sorted(key for key in seen if key not in wanted and key[:1] not in {NO_TOOL, REASON_MARK})
    return [*wanted, *others, *(key for key in wording.NAMES if key in seen or key == NO_TOOL)]


def _matrix(found: RoutingInsight, counts: Mapping[str, Mapping[str, int]], keys: list[str], name: str) -> Html:
    heads = [element("th", element("span", wording.short_name(key)), scope="col", class_="turned") for key in keys]
    return element(
        "div",
        element(
            "table",
            element("caption", wording.MATRIX.format(name=name)),
            element("thead", element("tr", element("th", wording.MATRIX_CORNER, scope="col"), *heads)),
            element("tbody", *(_matrix_row(one, counts[one.expected], keys) for one in found.confusions)),
        ),
        class_="table matrix",
        tabindex="0",
        role="region",
        aria_label=wording.MATRIX.format(name=name),
    )


def _matrix_row(one: Confusion, counts: Mapping[str, int], keys: list[str]) -> Html:
    total = sum(counts.values())

    def cell(key: str) -> Html:
        count = counts.get(key, 0)
        kind = "right" if key == one.expected else "wrong"
        shade = -(-count * _SHADES // total) if count else 0
        return element("td", str(count) if count else "", class_=f"{kind} shade-{shade}")

    return element("tr", element("th", wording.short_name(one.expected), scope="row"), *map(cell, keys))


def _understanding(found: UnderstandingInsight, name: str, candidate: str) -> Html:
    rows = [
        [
            case_link(one.row, candidate),
            foreign(one.row.prompt),
            foreign(one.row.intended or ""),
            percent(one.base, 0),
            percent(one.finetuned, 0),
        ]
        for one in found.prompts
    ]
    shares = [[element("strong", TOTAL), str(found.share.prompts), *wording.share_cells(found.share)]]
    sentence = wording.reference_sentence(found, name)
    return join(
        element("h3", wording.UNDERSTOOD_TITLE),
        element("p", wording.UNDERSTOOD_RULE, class_="note"),
        table(_share_heads(wording.UNDERSTOOD_HEAD, name), shares),
        table((wording.CASE_HEAD, *wording.CLEAN_HEADS, page_wording.BASE, name), rows, texts=(0, 1, 2)),
        element("p", sentence, class_="note") if sentence else None,
    )
