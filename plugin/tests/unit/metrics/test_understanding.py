"""`understanding`: where the clean form of a misheard prompt is, what it came to, and when it was understood."""

import pytest

from pytest_jarvis.metrics.understanding import (
    CleanCommand,
    Interpretation,
    clean_prompt_id,
    find_majority,
    is_understood,
    plan_clean_commands,
)
from pytest_jarvis.types import PromptCase

OPEN = clean_prompt_id("ouvre chrome")


def case(prompt_id: str, text: str, intended: str | None = None) -> PromptCase:
    return PromptCase(
        prompt_id=prompt_id, category="c", text=text, keywords=("ouvre", "chrome"), intended=intended, expected_tool="a"
    )


def heard(tool: str | None, *keywords: str) -> Interpretation:
    return Interpretation(tool=tool, keywords=keywords)


def test_the_clean_form_among_the_prompts_is_not_drawn_again() -> None:
    plan = plan_clean_commands([case("co", "ouvres crom", "Ouvre Chrome"), case("cv", "ouvre chrome")])
    assert ({"co": "cv"}, ()) == (dict(plan.clean_id), plan.extra)


def test_a_clean_form_that_is_no_prompt_is_drawn_once() -> None:
    plan = plan_clean_commands([case("co1", "ouvres crom", "ouvre chrome"), case("co2", "ouvré crome", "ouvre chrome")])
    assert {"co1": OPEN, "co2": OPEN} == plan.clean_id
    assert [(OPEN, "ouvre chrome", None, "a")] == [
        (extra.prompt_id, extra.text, extra.intended, extra.expected_tool) for extra in plan.extra
    ]


def test_a_misheard_prompt_is_not_the_clean_form_of_another() -> None:
    plan = plan_clean_commands(
        [case("co1", "ouvre chrome", "ferme chrome"), case("co2", "ouvres crom", "ouvre chrome")]
    )
    assert {"co1": clean_prompt_id("ferme chrome"), "co2": OPEN} == plan.clean_id


def test_nothing_misheard_needs_nothing() -> None:
    assert ({}, ()) == (plan_clean_commands([case("cv", "ouvre")]).clean_id, plan_clean_commands([]).extra)


@pytest.mark.parametrize(
    ("answers", "tool", "keywords"),
    [
        ([heard("a", "x")], "a", ("x",)),
        ([heard("a", "x"), heard("a"), heard("b", "x", "y")], "a", ("x",)),
        ([heard("a", "x"), heard("b")], None, ()),
        ([heard(None), heard(None), heard("a")], None, ()),
    ],
)
def test_a_clean_command_came_to_what_more_than_half_of_its_answers_have(
    answers: list[Interpretation], tool: str | None, keywords: tuple[str, ...]
) -> None:
    expected = CleanCommand(responses=len(answers), tool=tool, keywords=keywords, text="t")
    assert expected == find_majority(answers, "t")


def test_no_answer_came_to_nothing() -> None:
    assert find_majority([], "") is None


@pytest.mark.parametrize(
    ("answer", "understood"),
    [
        (heard("a", "x"), True),
        (heard("a", "y", "x"), True),
        (heard("a", "y"), False),
        (heard("b", "x"), False),
        (heard(None, "x"), False),
    ],
)
def test_the_same_tool_and_the_same_keywords_show_that_it_was_understood(
    answer: Interpretation, *, understood: bool
) -> None:
    assert understood == is_understood(answer, CleanCommand(responses=4, tool="a", keywords=("x",), text="t"))


def test_nothing_is_understood_where_the_clean_command_leads_to_no_tool() -> None:
    assert not is_understood(heard(None), CleanCommand(responses=4, tool=None, keywords=(), text="t"))


def test_the_id_of_a_clean_command_is_its_own_whoever_writes_it() -> None:
    assert "clean:" == clean_prompt_id("x")[:6]
    assert clean_prompt_id("Ouvre  l’écran") == clean_prompt_id("ouvre l'ecran")
    assert clean_prompt_id("ouvre chrome") != clean_prompt_id("ferme chrome")
