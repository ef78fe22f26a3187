"""`text`: the canonical form of French text, and words that survive elisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_jarvis.text import canonical, find_phrases, phrase, words

TEXTS = {
    "case": ["OUVRE Chrome", "Straße"],
    "accents": ["écran ÉTEINT où ça naïf", "e\u0301cran", "\u01fd"],
    "quotes": ["l’heure l‘heure lʼheure l´heure l＇heure"],
    "letters tied together": ["cœur ŒUVRE ex æquo ÆDE", "\ufb01n su\ufb03t"],
    "spaces and hyphens": ["10\u202f% \u00a0: 3\u2009000", "  a\t b\r\n\n c ", "plein\u2011écran"],
    "what is not seen": ["télé\u00adcharge\u200bments\ufeff", ""],
    "compatibility forms": ["１０ ½ ①"],
    "words": ["À l'heure qu’il est", "préviens-moi, s'il te plaît !", "`volume_up_tool`(10)"],
    "marks": ["_ouvre_ **chrome** __vite__", "… ?! _ — 🎵"],
}


def test_the_canonical_form_and_the_words_of_a_text(golden) -> None:
    cases = [(kind, text) for kind, texts in TEXTS.items() for text in texts]
    assert golden == "".join(f"{kind}: {text!a}\n    {canonical(text)}|\n    {words(text)}\n" for kind, text in cases)


@given(st.text())
def test_the_canonical_form_of_a_canonical_form_is_itself(text: str) -> None:
    once = canonical(text)
    assert once == canonical(once)


@given(st.text(), st.text())
def test_words_stay_apart_when_texts_are_joined_by_a_space(left: str, right: str) -> None:
    assert words(left) + words(right) == words(f"{left} {right}")


def test_a_phrase_has_a_space_on_both_ends() -> None:
    assert phrase("Dix  minutes.") == " dix minutes "


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("Il est l’heure.", "heure", id="after an elision"),
        pytest.param("Je coupe le SON.", "son", id="before a full stop"),
        pytest.param("prends une capture d’ecran", "écran", id="accent in the keyword only"),
        pytest.param("un rendez vous à midi", "rendez-vous", id="hyphen in the keyword only"),
        pytest.param("Un minuteur de dix\u00a0minutes", "dix minutes", id="words over a no-break space"),
        pytest.param("dans un quart d’heure", "quart d'heure", id="words over an elision"),
        pytest.param("le chef-d'œuvre", "chef-d'oeuvre", id="ligature"),
    ],
)
def test_a_phrase_occurs_in(text: str, wanted: str) -> None:
    assert (wanted,) == find_phrases(text, [wanted])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("Je rentre à la maison.", "son", id="inside a word"),
        pytest.param("volume_up_tool", "volume", id="inside the name of a tool"),
        pytest.param("dix petites minutes", "dix minutes", id="words that are not consecutive"),
        pytest.param("minutes dix", "dix minutes", id="words in another order"),
        pytest.param("des fenêtres", "fenêtre", id="a plural"),
        pytest.param("", "son", id="nothing"),
    ],
)
def test_a_phrase_does_not_occur_in(text: str, wanted: str) -> None:
    assert find_phrases(text, [wanted]) == ()


def test_a_substring_is_found_inside_a_word() -> None:
    assert find_phrases("À la maison, grand-écran", ["son", "ECRAN", "volume"], substring=True) == ("son", "ECRAN")


def test_a_substring_is_not_found_over_other_signs() -> None:
    assert find_phrases("dix, minutes", ["dix minutes"], substring=True) == ()


def test_the_phrases_found_keep_their_own_order_and_form() -> None:
    assert find_phrases("l'écran et le son", ["Son", "maison", "écran"]) == ("Son", "écran")
