"""Answers that read no prompt: what they would have scored, and whether the adapter's own score more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from samples import row, sample

from pytest_jarvis.report.analysis.thresholds import measure_controls
from pytest_jarvis.report.schema import Controls, ResultRow, Sample
from pytest_jarvis.types import PromptCase

CASES = tuple(
    PromptCase(prompt_id=f"p{number}", category="c", text=f"dis {number}", keywords=(), expected_tool=f"t{number // 2}")
    for number in range(12)
)


def score(case: PromptCase, text: str) -> dict[str, float]:
    """Give 1 for the number of the prompt's tool, and half for an echo of the prompt."""
    said = case.expected_tool in text.split()
    return {"jarvis_relevance": 1.0 if said else 0.5 if text == case.text else 0.0}


def rows(answer: Callable[[PromptCase, int], str], count: int = 4) -> list[ResultRow]:
    """Return the rows of an adapter that answers so, `count` times a prompt."""

    def made(case: PromptCase, number: int) -> Sample:
        text = answer(case, number)
        return sample("jarvis", number, text=text, jarvis_relevance=score(case, text)["jarvis_relevance"])

    return [row(case.prompt_id, *(made(case, number) for number in range(count)), adapter="jarvis") for case in CASES]


def controls(answer: Callable[[PromptCase, int], str], most: int = 200, count: int = 4) -> Controls:
    found = measure_controls(rows(answer, count), CASES, score, "jarvis_relevance", alpha=0.05, most=most)
    assert found is not None
    return found


def test_answers_to_their_own_prompts_score_more_than_to_others() -> None:
    found = controls(lambda case, number: f"ouvre {case.expected_tool} {number}")
    assert (1.0, 0.0, False) == (found.own, found.shuffled, found.is_blind)
    assert 0.05 < found.interval[0] <= 1.0 == found.interval[1]


@pytest.mark.parametrize("text", ["ouvre t3", "ouvre t0 t1 t2 t3 t4 t5", "rien"])
def test_the_same_answer_to_every_prompt_scores_exactly_as_much_at_others(text: str) -> None:
    found = controls(lambda case, number: text)
    assert (found.shuffled, found.constant, True) == (found.own, found.own, found.is_blind)
    assert (text, 1, 1) == (found.constant_text, found.constants_tried, found.constants_drawn)


def test_answers_that_were_swapped_among_prompts_are_blind() -> None:
    swapped = {case.prompt_id: CASES[(place + 5) % 12].expected_tool for place, case in enumerate(CASES)}
    assert controls(lambda case, number: f"ouvre {swapped[case.prompt_id]}").is_blind


def test_a_parrot_and_silence_are_scored_too() -> None:
    found = controls(lambda case, number: f"ouvre {case.expected_tool}")
    assert (0.5, 0.0) == (found.parrot, found.empty)


def test_the_constants_tried_are_the_best_of_the_distinct_answers() -> None:
    found = controls(lambda case, number: f"ouvre {case.expected_tool}" if number else f"euh {case.prompt_id}", most=60)
    assert (5, 12 + 6, pytest.approx(1 / 6)) == (found.constants_tried, found.constants_drawn, found.constant)


def test_one_prompt_has_no_controls() -> None:
    found = rows(lambda case, number: "ouvre")
    assert measure_controls(found[:1], CASES, score, "jarvis_relevance", alpha=0.05) is None
    assert measure_controls(found, CASES, score, "autre", alpha=0.05) is None


@pytest.mark.parametrize(("text", "is_blind"), [("ouvre t3", True), ("ouvre {0.expected_tool}", False)])
def test_one_response_to_a_prompt_shows_what_new_prompts_would(text: str, is_blind: bool) -> None:
    found = controls(lambda case, number: text.format(case), count=1)
    assert is_blind == found.is_blind
