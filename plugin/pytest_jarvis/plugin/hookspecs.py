"""Hooks for a conftest.py or another plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_jarvis.report.schema import Report, ResultRow
    from pytest_jarvis.types import PromptCase, Response


@pytest.hookspec
def pytest_jarvis_response_metrics(case: PromptCase, response: Response) -> Mapping[str, float] | None:
    """Return metrics of one response by name, or None.

    They appear under `extra` of the response's sample in the report. For a name that several implementations give,
    the one registered last wins. An exception fails the test of that prompt, as a failure of stage `score`.
    """


@pytest.hookspec
def pytest_jarvis_result(config: pytest.Config, row: ResultRow) -> None:
    """Receive the result of one prompt and adapter when it is recorded (under pytest-xdist, on the controller)."""


@pytest.hookspec
def pytest_jarvis_report(config: pytest.Config, report: Report) -> Report | None:
    """Return a changed report (`msgspec.structs.replace`) or None, before the files are made.

    Of several, the one registered last wins.
    The verdict is final: changes alter the files, not the exit status.
    """
