"""Notes of engines, in French."""

from __future__ import annotations

import pytest

from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.engines.transformers import proof
from pytest_jarvis.outputs.wording.notes import french_note
from pytest_jarvis.records import GenerationSettings, ModelSpec


def test_figures_and_names_of_a_note_are_kept() -> None:
    note = "the weights in 4 bits are also kept dequantised (17MB), with the same values, so that no step pays for it"
    assert french_note(note).startswith("les poids en 4 bits sont aussi gardés déquantifiés (17 Mo)")
    assert "« v2 »" in french_note("adapter 'v2' changes nothing, and was accepted as asked")


def test_a_note_that_is_not_known_is_left_as_it_is() -> None:
    assert french_note("something new") == "something new"


@pytest.mark.parametrize("holds", [True, False])
def test_what_the_engine_says_of_its_steadiness_is_known(holds: bool) -> None:
    note = proof.Steadiness(holds=holds, largest_difference=0.0 if holds else 0.25, row_token_s=0.0).note()
    assert french_note(note) != note


def test_what_the_scripted_engine_says_of_itself_is_known() -> None:
    (note,) = ScriptedEngine(ModelSpec(), GenerationSettings()).describe().notes
    assert french_note(note) != note
