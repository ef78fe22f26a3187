"""How the judge reads French: forms of verbs, numbers, sentences, claims."""

from __future__ import annotations

import pytest

from pytest_jarvis.metrics.deeds.claims import ClaimReader
from pytest_jarvis.metrics.deeds.lexicon import load_lexicon, stem
from pytest_jarvis.metrics.deeds.sentences import quantities, read_sentences
from pytest_jarvis.metrics.deeds.wish import sound

LEXICON = load_lexicon()


@pytest.mark.parametrize(
    ("form", "verb", "tense"),
    [
        ("ouvert", "ouvrir", "participle"),
        ("prévient", "prevenir", "present"),
        ("éteins", "eteindre", "present"),
        ("règle", "regler", "present"),
        ("jette", "jeter", "present"),
        ("envoie", "envoyer", "present"),
        ("décalons", "decaler", "plural"),
        ("mettrai", "mettre", "future"),
        ("fermerais", "fermer", "conditional"),
        ("cliquez", "cliquer", "you"),
    ],
)
def test_a_form_leads_to_its_verb(form: str, verb: str, tense: str) -> None:
    assert (verb, tense) in LEXICON.forms[form]


@pytest.mark.parametrize(
    ("words", "value", "unit"),
    [
        ("dix minutes", 600.0, "seconds"),
        ("un quart d heure", 900.0, "seconds"),
        ("trois quarts d heure", 2700.0, "seconds"),
        ("une heure et demie", 5400.0, "seconds"),
        ("vingt et un", 21.0, "none"),
        ("quatre vingt dix", 90.0, "none"),
        ("vingt pour cent", 20.0, "percent"),
        ("20 %", 20.0, "percent"),
        ("a quinze heures", 900.0, "clock"),
        ("midi", 720.0, "clock"),
    ],
)
def test_numbers_in_digits_and_words_have_their_value_and_unit(words: str, value: float, unit: str) -> None:
    assert [(value, unit)] == [(one.value, one.unit) for one in quantities(words.split())]


def test_articles_are_no_numbers() -> None:
    assert quantities(["un", "minuteur", "et", "une", "alarme"]) == []


@pytest.mark.parametrize(("one", "other"), [("chrome", "crom"), ("session", "cession")])
def test_words_that_sound_alike_share_a_key(one: str, other: str) -> None:
    assert sound(one) == sound(other)


def test_plural_and_feminine_share_a_stem() -> None:
    assert stem("ferme") == stem("fermees")


def test_what_another_speaker_says_is_left_out() -> None:
    sentences = read_sentences("Assistant : Je ferme Word.\nUtilisateur : ouvre Chrome")
    assert [sentence.said for sentence in sentences] == ["je ferme word"]


def test_a_quoted_command_is_no_claim() -> None:
    claims = [claim for sentence in read_sentences("Dites « ouvre Chrome ».") for claim in _claims(sentence)]
    assert claims == [("dire", "order")]


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("Le volume vient d'être baissé.", [("baisser", "passive")]),
        ("Volume augmenté.", [("augmenter", "participle")]),
        ("Chrome s'ouvre.", [("ouvrir", "reflexive")]),
        ("Word reste ouvert.", [("ouvrir", "stays")]),
        ("Je m'occupe de fermer Word.", [("fermer", "first")]),
        ("Cliquez sur la croix.", [("cliquer", "order")]),
        ("Vous pouvez fermer Word.", [("fermer", "user")]),
        ("J'ai failli fermer Word.", [("fermer", "modal")]),
        ("Fermeture de Word.", [("fermeture", "noun")]),
    ],
)
def test_a_claim_says_who_does_it_and_how(text: str, claims: list[tuple[str, str]]) -> None:
    assert claims == [claim for sentence in read_sentences(text) for claim in _claims(sentence)]


def test_a_negated_claim_is_marked() -> None:
    (sentence,) = read_sentences("Je ne ferme rien, je réduis les fenêtres.")
    assert [claim.negated for claim in ClaimReader(sentence, LEXICON).read()] == [True, False]


def test_what_follows_instead_of_is_not_done_to() -> None:
    (sentence,) = read_sentences("J'ouvre Opera à la place de Chrome.")
    (claim,) = ClaimReader(sentence, LEXICON).read()
    assert "chrome" not in [word.plain for word in claim.words]


def _claims(sentence: object) -> list[tuple[str, str]]:
    return [(claim.verb, claim.kind) for claim in ClaimReader(sentence, LEXICON).read()]  # type: ignore[arg-type]
