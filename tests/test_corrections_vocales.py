"""Misheard commands: both arms answer, and what the answers are worth is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_jarvis import Measured, PromptCase

pytestmark = pytest.mark.jarvis_cases("corrections_vocales")


def test_corrections_vocales(jarvis_case: PromptCase, jarvis_measure: Callable[[PromptCase], Measured]) -> None:
    """Quality is judged once, by the gate; this passes when the measurement was made."""
    measured = jarvis_measure(jarvis_case)
    assert measured.is_complete, measured.problems
