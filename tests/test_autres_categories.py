"""Every other category of the prompts folder: a new file there needs no Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_jarvis import Measured, PromptCase

pytestmark = pytest.mark.jarvis_cases(exclude=("commandes_vocales", "corrections_vocales", "tool_routing"))


def test_autre_categorie(jarvis_case: PromptCase, jarvis_measure: Callable[[PromptCase], Measured]) -> None:
    """Quality is judged once, by the gate; this passes when the measurement was made."""
    measured = jarvis_measure(jarvis_case)
    assert measured.is_complete, measured.problems
