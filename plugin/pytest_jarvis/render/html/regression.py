"""The candidate against its former self, on the page."""

from __future__ import annotations

from pytest_jarvis.render.french import regression as wording
from pytest_jarvis.render.html.markup import Html, element, foreign, join
from pytest_jarvis.render.html.tables import table
from pytest_jarvis.report.schema import Report


def regression(report: Report) -> Html | None:
    """Return the verdict, its details and its tests; None where no comparison was asked for."""
    outcome = report.regression
    if outcome is None:
        return None
    tone = {"DROP": "fail", "NO_DROP": "pass", "NOT_JUDGED": "not_judged"}[outcome.verdict]
    details = wording.regression_details(outcome, report)
    rows = [[foreign(cell) for cell in wording.cells_of(test, report)] for test in outcome.tests]
    return join(
        element(
            "div",
            element("p", wording.regression_sentence(outcome), class_="gate"),
            *(element("p", foreign(sentence), class_="reason") for sentence in details),
            class_=f"banner {tone}",
        ),
        table(wording.HEADS, rows, texts=(0, len(wording.HEADS) - 1)) if rows else None,
    )
