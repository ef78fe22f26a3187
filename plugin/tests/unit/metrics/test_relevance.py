"""`metrics.relevance`: what a response is worth by its words, and what two embeddings have in common."""

import json
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
from pytest_jarvis.metrics.deeds import Judge
from pytest_jarvis.metrics.relevance import Dictionary, find_wording, in_prompt, jarvis_relevance, score_text
from pytest_jarvis.metrics.similarity import mismatched_cosine, paired_cosines
from pytest_jarvis.types import PromptCase, Tool

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


def tool(name: str, *terms: str) -> Tool:
    """Return a tool."""
    return Tool(name=name, description="", parameters={}, terms=terms)


VOLUME = tool("volume_tool", "volume", "plus fort", "monte")
OPEN = tool("open_tool", "ouvre", "application")
DICTIONARY = Dictionary.of([VOLUME, OPEN])
CASE = PromptCase(prompt_id="a", category="x", text="", keywords=("son", "dix minutes", "écran", "heure"))


SUBSTRING = MetricsSection(keyword_mode="substring")


def vector(*values: float) -> Vector:
    """Return an embedding."""
    return np.array(values, dtype=np.float32)


def test_the_dictionary_keeps_the_order_of_tools_and_terms() -> None:
    assert (
        Dictionary(
            terms=("volume", "plus fort", "monte", "ouvre", "application"),
            tools_of=(("volume_tool",), ("volume_tool",), ("volume_tool",), ("open_tool",), ("open_tool",)),
            phrases=(" volume ", " plus fort ", " monte ", " ouvre ", " application "),
            terms_of={"volume_tool": ("volume", "plus fort", "monte"), "open_tool": ("ouvre", "application")},
        )
        == DICTIONARY
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("Le SON, l’Ecran, dix\u202fminutes, l'heure.", ("son", "dix minutes", "écran", "heure"), id="all"),
        pytest.param("À la maison, dix petites minutes.", (), id="none"),
        pytest.param("son son son", ("son",), id="one several times"),
        pytest.param("", (), id="empty response"),
    ],
)
def test_the_keyword_share_is_the_share_of_keywords_that_occur(text: str, found: tuple[str, ...]) -> None:
    score = score_text(text, CASE, DICTIONARY, None)
    assert (found, len(found) / 4) == (score.keywords_found, score.keyword_share)


def test_keywords_are_found_inside_words_in_the_substring_mode() -> None:
    assert score_text(
        "À la maison", CASE, DICTIONARY, None, MetricsSection(keyword_mode="substring")
    ).keywords_found == ("son",)


def test_terms_are_whole_words_in_the_substring_mode_too() -> None:
    assert score_text("volumes, rouvre", CASE, DICTIONARY, None, SUBSTRING).terms_found == ()


def test_a_term_said_twice_counts_once() -> None:
    score = score_text("Volume, volume !", CASE, DICTIONARY, None)
    assert (score.terms_found, score.relevance) == (("volume",), pytest.approx(1 / 1.5))


def test_terms_of_every_tool_count() -> None:
    score = score_text("J'ouvre l'application plus fort.", CASE, DICTIONARY, None)
    assert score.terms_found == ("plus fort", "ouvre", "application")


def test_the_tool_named_most_comes_first() -> None:
    assert score_text("Volume ; j'ouvre l'application.", CASE, DICTIONARY, None).tools_named == (
        "open_tool",
        "volume_tool",
    )


def test_tools_named_as_often_come_in_the_order_of_the_dictionary() -> None:
    assert score_text("J'ouvre le volume.", CASE, DICTIONARY, None).tools_named == ("volume_tool", "open_tool")


def test_a_response_without_terms_names_no_tool() -> None:
    score = score_text("Bonjour.", CASE, DICTIONARY, None)
    assert (score.terms_found, score.tools_named, score.relevance) == ((), (), 0.0)


PROMPTS = load_prompts(packaged_prompts())
SHIPPED = {case.prompt_id: case for case in PROMPTS.cases}
JUDGE, TERMS = Judge(PROMPTS.tools), Dictionary.of(PROMPTS.tools)


def relevance(prompt_id: str, text: str, **section: Any) -> float:
    case = SHIPPED[prompt_id]
    found = score_text(text, case, TERMS, JUDGE.judge(case, text), MetricsSection(**section)).relevance
    assert found is not None
    return found


def test_ideal_short_answers_score_at_least_nine_tenths() -> None:
    lines = (Path(__file__).parents[2] / "data/ideal_answers.jsonl").read_text(encoding="utf-8").splitlines()
    ideal = [one for one in map(json.loads, lines) if one["prompt_id"] in SHIPPED]
    assert fmean(relevance(one["prompt_id"], one["text"]) for one in ideal) >= 0.9


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Pour ouvrir Chrome, cliquez sur son icône : l'application se lance.", id="how-to"),
        pytest.param("Ouvre, ouvrir, lance, application, logiciel.", id="word list"),
        pytest.param("Je n'ouvre pas l'application.", id="negation"),
        pytest.param("Je ferme Chrome.", id="another tool"),
    ],
)
def test_terms_count_where_an_action_is_announced(text: str) -> None:
    assert relevance("cv-01", text) == 0
    assert relevance("cv-01", text, relevance_scope="dictionary") > 0


def test_a_call_of_the_tool_announces_it() -> None:
    assert relevance("cv-01", '{"name": "open_app_tool", "arguments": {"application": "chrome"}}') == 1


@pytest.mark.parametrize(
    ("keyword", "text", "found"),
    [
        ("ouvre", "Chrome est ouvert.", True),
        ("fenêtres", "La fenêtre est réduite.", True),
        ("dix minutes", "C'est parti pour 10 minutes.", True),
        ("dix minutes", "Un minuteur de 600 secondes.", True),
        ("dix minutes", "Vingt minutes.", False),
        ("vingt", "Volume augmenté de 20 %.", True),
        ("un quart d'heure|quinze minutes", "Dans 15 minutes.", True),
        ("moins fort|baisse", "C'est moins fort.", True),
        ("moins fort|baisse", "C'est plus fort.", False),
        ("son", "Votre maison.", False),
    ],
)
def test_a_keyword_is_found_in_any_form_and_in_any_of_its_alternatives(keyword: str, text: str, *, found: bool) -> None:
    assert found is bool(find_wording(text, [keyword]))


def test_keywords_that_the_prompt_holds_are_known() -> None:
    assert in_prompt("c'est trop fort, baisse un peu", ("baisse", "moins fort")) == ("baisse",)


@pytest.mark.parametrize(
    ("found", "total", "expected"),
    [
        pytest.param(0, 65, 0.0, id="nothing"),
        pytest.param(1, 65, 1 / 19.5, id="one"),
        pytest.param(3, 10, 1.0, id="exactly the share"),
        pytest.param(20, 65, 1.0, id="just over the share"),
        pytest.param(65, 65, 1.0, id="all"),
        pytest.param(1, 1, 1.0, id="dictionary of one"),
    ],
)
def test_the_relevance_is_what_was_found_over_three_tenths_of_the_dictionary_at_most_one(
    found: int, total: int, expected: float
) -> None:
    assert expected == pytest.approx(jarvis_relevance(found, total))


@pytest.mark.parametrize(("found", "total"), [(0, 0), (-1, 10), (11, 10)])
def test_a_count_that_cannot_be_has_no_relevance(found: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"found {found} of {total}"):
        jarvis_relevance(found, total)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        pytest.param(vector(1, 0), vector(1, 0), 1.0, id="same"),
        pytest.param(vector(1, 0), vector(5, 5), 2**-0.5, id="between"),
        pytest.param(vector(1, 0), vector(0, 1), 0.0, id="nothing in common"),
        pytest.param(vector(1, 0), vector(-1, 0), 0.0, id="opposite is clipped"),
        pytest.param(None, vector(1, 0), None, id="no embedding left"),
        pytest.param(vector(1, 0), None, None, id="no embedding right"),
    ],
)
def test_the_cosine_of_a_pair_is(left: Vector | None, right: Vector | None, expected: float | None) -> None:
    assert [expected if expected is None else pytest.approx(expected)] == paired_cosines([left], [right])


def test_the_cosines_of_many_pairs_keep_their_places() -> None:
    source = np.random.default_rng(1)
    left = [None if index % 7 == 0 else source.random(8, dtype=np.float32) for index in range(600)]
    right = [None if index % 5 == 0 else source.random(8, dtype=np.float32) for index in range(600)]
    expected = [
        None
        if a is None or b is None
        else pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-5)
        for a, b in zip(left, right, strict=True)
    ]
    assert expected == paired_cosines(left, right)


def test_no_cosine_is_over_one() -> None:
    source = np.random.default_rng(2)
    vectors = [source.random(64, dtype=np.float32) for _ in range(100)]
    assert [value for value in paired_cosines(vectors, vectors) if value is None or value > 1] == []


def test_no_pairs_have_no_cosines() -> None:
    assert paired_cosines([], []) == []


def test_lists_of_different_lengths_have_no_cosines() -> None:
    with pytest.raises(ValueError, match=r"longer|shorter"):
        paired_cosines([vector(1)], [])


def test_the_mismatched_cosine_is_the_mean_over_all_pairs_of_different_prompts() -> None:
    source = np.random.default_rng(3)
    groups = [f"p{index % 5}" for index in range(20)]
    left = [None if index == 3 else source.random(6, dtype=np.float32) for index in range(20)]
    right = [None if index in {4, 9, 14, 19} else source.random(6, dtype=np.float32) for index in range(20)]
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for (a, group), (b, other) in product(zip(left, groups, strict=True), zip(right, groups, strict=True))
        if a is not None and b is not None and group != other
    ]
    assert pytest.approx(float(np.mean(cosines)), abs=1e-6) == mismatched_cosine(left, right, groups)


@pytest.mark.parametrize(
    ("left", "right", "groups"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([vector(1)], [vector(1)], ["a"], id="one prompt"),
        pytest.param([vector(1), None], [vector(1), None], ["a", "b"], id="one prompt with embeddings"),
        pytest.param([vector(0), vector(0)], [vector(1), vector(1)], ["a", "b"], id="vectors without a direction"),
    ],
)
def test_there_is_no_mismatched_cosine_of(
    left: list[Vector | None], right: list[Vector | None], groups: list[str]
) -> None:
    assert mismatched_cosine(left, right, groups) is None


def test_the_mismatched_cosine_of_opposites_is_clipped() -> None:
    assert mismatched_cosine([vector(1), vector(1)], [vector(-1), vector(-1)], ["a", "b"]) == 0.0
