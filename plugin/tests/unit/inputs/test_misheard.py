"""Misheard commands made by rule: what they are, what they are not, and that a seed gives the same ones."""

import pytest

from pytest_jarvis.inputs.misheard import MOST_MISTAKES, draw_misheard, mishear_all
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
from pytest_jarvis.text import words
from pytest_jarvis.types import PromptCase


def case(text: str, prompt_id: str = "p", intended: str | None = None) -> PromptCase:
    return PromptCase(prompt_id=prompt_id, category="c", text=text, keywords=("a", "b"), intended=intended)


def simple(text: str) -> set[tuple[str, str]]:
    """Return what one mistake makes of a text, with its kind."""
    return {(one.text, one.mistakes[0]) for one in mishear_all([case(text)])["p"] if len(one.mistakes) == 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mets dix", {("mais dix", "homophone"), ("mets dis", "homophone")}),
        ("va capturer", {("va capturé", "finale"), ("va capturez", "finale")}),
        ("va capturé", {("va capturer", "finale"), ("va capturée", "finale")}),
        ("coupe ça", {("coupes ça", "finale"), ("coupent ça", "finale")}),
        ("ça coupe", {("ça coupes", "finale")}),
        ("ça parfait", {("ça parfai", "finale")}),
        ("fenêtres", {("fenêtre", "finale"), ("feu nêtre", "coupure")}),
        ("un minuteur", {("un minute heure", "coupure"), ("un minuteurs", "finale"), ("unminuteur", "collage")}),
        ("prends d'écran", {("prends des écran", "liaison"), ("prends d'et crans", "coupure")}),
        ("va l'eau", {("va le eau", "liaison"), ("va la eau", "liaison"), ("va leau", "collage")}),
        ("un hôtel", {("un nôtel", "liaison"), ("un nos ôtel", "liaison"), ("un autel", "homophone")}),
        ("les amis", {("les zamis", "liaison"), ("les aux amis", "liaison")}),
        ("va le voir", {("va levoir", "collage"), ("va voir", "mot perdu")}),
        ("un h", {("unh", "collage")}),
    ],
)
def test_a_mistake_is_one_of_french_ears(text: str, expected: set[tuple[str, str]]) -> None:
    assert expected <= simple(text)


@pytest.mark.parametrize("text", ["va là", "le", "été"])
def test_what_sounds_like_nothing_else_stays(text: str) -> None:
    assert set() == simple(text)


def test_mistakes_are_at_most_three_and_do_not_touch() -> None:
    made = mishear_all([case("mets un minuteur de dix minutes")])["p"]
    assert {1, 2, 3} == {len(one.mistakes) for one in made}
    assert MOST_MISTAKES == 3


def test_none_is_a_clean_prompt_nor_said_twice_nor_one_that_is_taken() -> None:
    cases = [case("coupe le son", "a"), case("coupes le son", "b"), case("Coupe le son !", "c")]
    made = mishear_all(cases, taken=["coupe le sont"])
    texts = [words(one.text) for own in made.values() for one in own]
    assert len(texts) == len(set(texts))
    assert not {words("coupe le son"), words("coupes le son"), words("coupe le sont")} & set(texts)
    assert made["c"] == ()


def test_of_a_prompt_that_is_misheard_already_what_was_meant_is_heard_anew() -> None:
    made = mishear_all([case("coup le sont", intended="coupe le son")])["p"]
    assert {"coupe le son"} == {one.meant for one in made}
    assert words("coup le sont") not in {words(one.text) for one in made}


def packaged() -> list[PromptCase]:
    return [one for one in load_prompts(packaged_prompts()).cases if one.category == "commandes_vocales"]


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    made = mishear_all(packaged())
    first = draw_misheard(made, 100, 1)
    assert first == draw_misheard(made, 100, 1)
    assert first != draw_misheard(made, 100, 2)


def test_prompts_are_drawn_in_turn_and_half_have_one_mistake() -> None:
    drawn = draw_misheard(mishear_all(packaged()), 100, 1)
    assert [10] * 10 == [sum(one.source.prompt_id == case.prompt_id for one in drawn) for case in packaged()]
    assert sum(len(one.mistakes) == 1 for one in drawn) == 50


def test_a_prompt_without_enough_leaves_its_turn_to_others() -> None:
    made = mishear_all([case("les amis", "a"), case("mets dix", "b"), case("été", "c")])
    total = sum(map(len, made.values()))
    assert total == len({one.text for one in draw_misheard(made, total, 0)})


def test_more_than_the_rules_make_is_said_with_their_number() -> None:
    with pytest.raises(ValueError, match=r"^9 asked for, the rules make \d$"):
        draw_misheard(mishear_all([case("les amis")]), 9, 0)
