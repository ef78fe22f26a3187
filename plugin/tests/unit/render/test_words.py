"""The catalogue of French words: every code that is asked for is there, and every one that is there is asked for."""

import re
from pathlib import Path

import pytest

import pytest_jarvis
from pytest_jarvis.render.french.words import _catalogue, table, word

PACKAGE = Path(pytest_jarvis.__file__).parent
ASKED = re.compile(r"\b(word|table)\(\s*[\"']([a-z_.]+)[\"'][,)]")
NAMED = re.compile(r"[\"']([a-z_]+\.[a-z_]+)[\"']")


def test_the_codes_of_the_catalogue_are_those_that_are_asked_for() -> None:
    sources = [path.read_text(encoding="utf-8") for kind in ("*.py", "*.html") for path in PACKAGE.rglob(kind)]
    words, tables = _catalogue()
    known = {*(("word", code) for code in words), *(("table", code) for code in tables)}
    assert {found for source in sources for found in ASKED.findall(source)} - known == set()
    assert {code for _, code in known} - {code for source in sources for code in NAMED.findall(source)} == set()


def test_typography_is_added_as_words_are_read() -> None:
    assert "\u00a0:" in word("page.legend")
    assert table("labels.stages")["timeout"] == "délai dépassé"


def test_an_unknown_code_is_an_error() -> None:
    with pytest.raises(KeyError):
        word("page.nothing")


@pytest.mark.parametrize(
    ("code", "values", "expected"),
    [
        ("labels.from_zero_to", {"most": 0.5}, "de 0 à 0,5"),
        ("labels.from_zero_to", {"most": None}, "de 0 à –"),
        ("explanations.noise", {"decoding": 0.25, "prompts": 0.75}, "Le bruit vient pour 25_% du décodage"),
        ("explanations.detectable", {"gain": 0.081}, "un vrai gain d’au moins +8,1_%."),
        ("explanations.absolute_seen", {"gain": -0.02, "level": 0.9, "interval": "[a]"}, "vu_: −0,020, intervalle"),
        ("contamination.more", {"count": 1234}, "… et 1_234 de plus"),
        ("explanations.regressions", {"count": 1, "prompts": 30}, "1_prompt sur 30 a baissé"),
        ("explanations.regressions", {"count": 2, "prompts": 30}, "2_prompts sur 30 ont baissé"),
        ("labels.failed_responses", {"count": 2}, "2_réponses en échec"),
        ("saved_runs.replay", {"report": "a\x1b[2J\nb"}, "relecture de a[2J b"),
    ],
)
def test_values_are_written_as_french_writes_them(code: str, values: dict[str, object], expected: str) -> None:
    assert expected in word(code, **values).replace("\u00a0", "_")
