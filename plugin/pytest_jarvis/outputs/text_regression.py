"""The candidate against its former self, as a page of `report.txt`."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_jarvis.outputs.layout import INDENT, paragraph, table
from pytest_jarvis.outputs.wording import regression as wording
from pytest_jarvis.report import Report


def regression(report: Report) -> Iterator[str]:
    """Yield the verdict, its details and the table of its tests; nothing where no comparison was asked for."""
    outcome = report.regression
    if outcome is None:
        return
    yield from paragraph(wording.regression_sentence(outcome))
    for sentence in wording.regression_details(outcome, report):
        yield from paragraph(sentence, indent=f"{INDENT}  ", first=f"{INDENT}- ")
    if outcome.tests:
        yield ""
        rows = [wording.cells_of(test, report) for test in outcome.tests]
        yield from table(wording.HEADS, rows, (21, 7, 6, 6, 7, 17, 8))
