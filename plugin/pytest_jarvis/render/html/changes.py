"""What changed, prompt by prompt: proven regressions, the largest changes, what went from wrong to right and back."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_jarvis.render.french import DASH, number, signed
from pytest_jarvis.render.french import page as wording
from pytest_jarvis.render.french.explanations import regressions_sentence
from pytest_jarvis.render.french.labels import CRITERIA
from pytest_jarvis.render.html.markup import Html, element, foreign, join, listed
from pytest_jarvis.render.html.payload import case_anchor
from pytest_jarvis.render.html.tables import table
from pytest_jarvis.report.analysis.changes import PromptChange
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.schema import ResultRow


def changes(insights: Insights) -> Html:
    """Return the changes of each adapter, all but the candidate's folded."""
    candidate = insights.candidate.name
    folded = (
        element("details", element("summary", foreign(one.name)), _changes_of(one, candidate))
        for one in insights.adapters[1:]
    )
    named = element("h3", foreign(candidate)) if len(insights.adapters) > 1 else None
    return join(named, _changes_of(insights.candidate, candidate), *folded)


def case_link(row: ResultRow, candidate: str) -> Html:
    """Return a link to a case of the page."""
    return element("a", foreign(row.prompt_id), href=f"#{case_anchor(row.prompt_id, row.adapter, candidate)}")


def _changes_of(one: AdapterInsight, candidate: str) -> Html:
    if not one.changes:
        return element("p", wording.NOTHING_TO_COMPARE, class_="empty")
    return join(
        _regressions(one, candidate),
        element(
            "div",
            _top(wording.IMPROVEMENTS, one.improvements, wording.NO_IMPROVEMENT, candidate),
            _top(wording.WEAKNESSES, one.weaknesses, wording.NO_WEAKNESS, candidate),
            class_="side-by-side",
        ),
        _flips(one, candidate),
    )


def _regressions(one: AdapterInsight, candidate: str) -> Html:
    kind = "warn" if one.regressions else "good"
    named = [
        join(
            case_link(change.row, candidate),
            f" ({signed(change.change, 2)}, {wording.p_value(change.p_worse)})" if change.p_worse is not None else None,
        )
        for change in one.regressions
    ]
    sentence = regressions_sentence(len(one.regressions), len(one.changes))
    return element("p", sentence, " " if named else None, listed(named), class_=f"notice {kind}")


def _top(title: str, found: Sequence[PromptChange], nothing: str, candidate: str) -> Html:
    if not found:
        return element("div", element("h3", title), element("p", nothing, class_="empty"))
    rows = [
        [
            case_link(change.row, candidate),
            foreign(change.row.prompt),
            f"{number(change.row.jarvis_relevance_base)} → {number(change.row.jarvis_relevance_finetuned)}",
            signed(change.change, 2),
        ]
        for change in found
    ]
    return element("div", element("h3", title), table(wording.CHANGE_HEADS, rows, texts=(0, 1)))


def _flips(insight: AdapterInsight, candidate: str) -> Html | None:
    if not insight.flips:
        return None

    def links(rows: Sequence[ResultRow]) -> Html | str:
        return listed((case_link(row, candidate) for row in rows), " ") if rows else DASH

    rows = [
        [
            CRITERIA[one.criterion],
            f"{one.base_right}/{one.prompts}",
            f"{one.finetuned_right}/{one.prompts}",
            links([flip.row for flip in one.gained]),
            links([flip.row for flip in one.lost]),
        ]
        for one in insight.flips
    ]
    return join(
        element("h3", wording.FLIPS),
        table((*wording.FLIP_HEADS[:2], foreign(insight.name), *wording.FLIP_HEADS[2:]), rows, texts=(0, 3, 4)),
        element("p", wording.FLIP_RULE, class_="note"),
    )
