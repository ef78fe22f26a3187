"""`text`: the canonical form of French text, and words that survive elisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_jarvis.text import canonical, find_phrases, phrase, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("OUVRE Chrome", "ouvre chrome", id="case"),
        pytest.param("Straße", "strasse", id="full case folding"),
        pytest.param("écran ÉTEINT où ça naïf", "ecran eteint ou ca naif", id="accents"),
        pytest.param("e\u0301cran", "ecran", id="combining accent"),
        pytest.param("l’heure l‘heure lʼheure l´heure l＇heure", " ".join(["l'heure"] * 5), id="quotes"),
        pytest.param("cœur ŒUVRE ex æquo ÆDE", "coeur oeuvre ex aequo aede", id="letters tied together"),
        pytest.param("\ufb01n su\ufb03t", "fin suffit", id="typographic ligatures"),
        pytest.param("\u01fd", "ae", id="accented ligature"),
        pytest.param("10\u202f% \u00a0: 3\u2009000", "10 % : 3 000", id="narrow and no-break spaces"),
        pytest.param("  a\t b\r\n\n c ", "a b c", id="spaces collapsed"),
        pytest.param("plein\u2011écran", "plein-ecran", id="no-break hyphen"),
        pytest.param("télé\u00adcharge\u200bments\ufeff", "telechargements", id="characters that are not seen"),
        pytest.param("１０ ½ ①", "10 1⁄2 1", id="compatibility forms"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_canonical_form_is(text: str, expected: str) -> None:
    assert expected == canonical(text)


@given(st.text())
def test_the_canonical_form_of_a_canonical_form_is_itself(text: str) -> None:
    once = canonical(text)
    assert once == canonical(once)


@given(st.text(), st.text())
def test_words_stay_apart_when_texts_are_joined_by_a_space(left: str, right: str) -> None:
    assert words(left) + words(right) == words(f"{left} {right}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("À l'heure qu’il est", ("a", "l", "heure", "qu", "il", "est"), id="elisions"),
        pytest.param("préviens-moi, s'il te plaît !", ("previens", "moi", "s", "il", "te", "plait"), id="hyphens"),
        pytest.param("`volume_up_tool`(10)", ("volume_up_tool", "10"), id="inner underscores"),
        pytest.param("_ouvre_ **chrome** __vite__", ("ouvre", "chrome", "vite"), id="emphasis"),
        pytest.param("… ?! _ — 🎵", (), id="no word"),
    ],
)
def test_the_words_are(text: str, expected: tuple[str, ...]) -> None:
    assert expected == words(text)


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
