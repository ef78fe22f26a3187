"""The hooks that others may implement, in a conftest.py or a plugin of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_jarvis.report.schema import Report, ResultRow
    from pytest_jarvis.types import PromptCase, Response


@pytest.hookspec
def pytest_jarvis_response_metrics(case: PromptCase, response: Response) -> Mapping[str, float] | None:
    """Return more metrics of one response, by name, or None.

    They appear under `extra` of the response's sample in the report. A name that several implementations give is
    taken from the one that was registered last. An exception fails the test of that prompt and is recorded as a
    failure of stage `score`.
    """


@pytest.hookspec
def pytest_jarvis_result(config: pytest.Config, row: ResultRow) -> None:
    """Take note of one prompt's result for one adapter, as it is recorded (on the controller under xdist)."""


@pytest.hookspec
def pytest_jarvis_report(config: pytest.Config, report: Report) -> Report | None:
    """Have a last word on the report before it is written: return a changed one (`msgspec.structs.replace`) or None.

    Numbers and verdict are final by then: what is changed here changes the files, not the exit status.
    """
