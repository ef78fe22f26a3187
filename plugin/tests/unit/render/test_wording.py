"""`render.french`: numbers as French writes them, texts that fit a terminal, verdicts and reasons in a sentence."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_jarvis.render.french.formats import (
    NBSP,
    encodable,
    fit,
    gain_interval,
    number,
    percent,
    plural,
    printable,
    seconds,
    typeset,
)
from pytest_jarvis.render.french.saved_runs import change_sentence
from pytest_jarvis.render.french.verdicts import gate_sentence, reason_sentence, threshold_rules
from pytest_jarvis.stats.gate import GateOutcome, GateVerdict, Reason, ReasonCode
from pytest_jarvis.stats.regression import SettingChange
from pytest_jarvis.stats.thresholds import Threshold, ThresholdName
from pytest_jarvis.types import Storage


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(None, 2, "–"), (0.125, 2, "0,12"), (3, 0, "3"), (-1.5, 1, "−1,5"), (-0.001, 2, "0,00")],
)
def test_a_number_is_written(value: float | None, digits: int, expected: str) -> None:
    assert expected == number(value, digits)


@pytest.mark.parametrize(
    ("share", "digits", "signed", "expected"),
    [
        (None, 1, True, "–"),
        (0.2314, 1, True, "+23,1 %"),
        (0.2314, 0, False, "23 %"),
        (-0.05, 1, True, "−5,0 %"),
        (-0.0001, 1, True, "+0,0 %"),
        (0.0, 1, True, "+0,0 %"),
        (-0.0001, 1, False, "0,0 %"),
    ],
)
def test_a_share_is_written(share: float | None, digits: int, signed: bool, expected: str) -> None:
    assert expected.replace(" ", NBSP) == percent(share, digits, signed=signed)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0.04, "0,0 s"),
        (119.9, "119,9 s"),
        (120, "2 min 00 s"),
        (179.7, "3 min 00 s"),
        (3725, "62 min 05 s"),
    ],
)
def test_a_duration_is_written(value: float | None, expected: str) -> None:
    assert expected.replace(" ", NBSP) == seconds(value)


@pytest.mark.parametrize(
    ("count", "many", "expected"),
    [
        (0, None, "0 réponse"),
        (1, None, "1 réponse"),
        (2, None, "2 réponses"),
        (2, "réponses tirées", "2 réponses tirées"),
    ],
)
def test_a_noun_agrees_with_its_count(count: int, many: str | None, expected: str) -> None:
    assert expected == plural(count, "réponse", many).replace(NBSP, " ")


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        pytest.param("été", 5, "été  ", id="filled"),
        pytest.param("été", 3, "été", id="as it is"),
        pytest.param("étés", 3, "ét…", id="cut"),
        pytest.param("e\u0301te\u0301", 4, "e\u0301te\u0301 ", id="combining accents take no column"),
        pytest.param("🎵🎵", 3, "🎵…", id="a wide sign takes two columns"),
        pytest.param("🎵🎵🎵", 4, "🎵… ", id="a wide sign is not cut in two"),
        pytest.param("été", 1, "…", id="one column"),
        pytest.param("été", 0, "", id="no column"),
        pytest.param("été", -1, "", id="less than none"),
    ],
)
def test_a_text_is_made_to_fit(text: str, width: int, expected: str) -> None:
    assert expected == fit(text, width)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\r\nb\tc\x1cd", "a  b c d", id="line ends and tabs"),
        pytest.param("\x1b[31mrouge\x07\x9b2J", "[31mrouge2J", id="commands of a terminal"),
        pytest.param("a\u202eb\u2066c", "abc", id="changes of direction"),
        pytest.param("10\u202f% 10\u00a0%", "10 % 10\u00a0%", id="no-break spaces"),
        pytest.param("« Éteins » 🎵", "« Éteins » 🎵", id="French"),
    ],
)
def test_a_text_is_made_harmless_on_one_line(text: str, expected: str) -> None:
    assert expected == printable(text)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        pytest.param("utf-8", "« œuvre » → −5 % réponse… 🎵", id="utf-8"),
        pytest.param(None, "« œuvre » → −5 % réponse… 🎵", id="unknown"),
        pytest.param("cp1252", "« œuvre » -> -5 % réponse… ?", id="Windows"),
        pytest.param("latin-1", "« oeuvre » -> -5 % réponse... ?", id="latin-1"),
        pytest.param("ascii", '" oeuvre " -> -5 % reponse... ?', id="ASCII"),
    ],
)
def test_a_stream_can_take_a_text(encoding: str | None, expected: str) -> None:
    assert expected == encodable("« œuvre » → −5 % réponse… 🎵", encoding)


def test_a_lone_accent_is_left_out_where_it_cannot_be_written() -> None:
    assert encodable("e\u0301", "ascii") == "e"


@given(st.text(), st.sampled_from(["utf-8", "cp1252", "latin-1", "ascii", "cp850", "utf-16"]))
def test_what_is_made_encodable_can_be_encoded(text: str, encoding: str) -> None:
    encodable(text, encoding).encode(encoding)


def test_french_punctuation_is_kept_with_its_word() -> None:
    assert typeset("« oui » : 5 % ; non ? si !") == "«_oui_»_: 5_%_; non_? si_!".replace("_", NBSP)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(None, "[non estimable]"), ((0.119, 0.36), "[+11,9 ; +36,0]"), ((-0.05, 0.0), "[−5,0 ; +0,0]")],
)
def test_the_interval_of_a_gain_is_written(interval: tuple[float, float] | None, expected: str) -> None:
    assert expected == gain_interval(interval).replace(NBSP, " ")


@pytest.mark.parametrize("verdict", get_args(GateVerdict))
def test_every_verdict_of_the_gate_has_a_sentence(verdict: GateVerdict) -> None:
    gate = GateOutcome(verdict=verdict, exit_failed=False, reasons=(), adapters=(), thresholds=())
    assert gate_sentence(gate, 0.05).endswith(".")


@pytest.mark.parametrize("code", get_args(ReasonCode))
def test_every_reason_has_a_sentence(code: ReasonCode) -> None:
    values = {"selected": 1, "planned": 30, "failed": 3, "share": 0.1, "allowed": 0.05, "missing": 1, "responses": 2}
    said = reason_sentence(Reason(code=code, values=values))
    assert said.endswith(".")
    assert "{" not in said


@pytest.mark.parametrize(
    ("name", "batching", "rules"),
    [("latency_ratio", "mixed", 2), ("latency_ratio", "two passes", 1), ("relevance_gain", "mixed", 0)],
)
def test_a_ratio_of_durations_says_what_it_compares(name: ThresholdName, batching: str, rules: int) -> None:
    bar = Threshold(
        name=name, adapter="v", value=1.0, bar=2.0, direction="at_most", verdict="PASS", meets=True, why="seen"
    )
    assert len(threshold_rules([bar], batching)) == rules


def test_a_comparison_says_in_french_how_the_weights_were_stored() -> None:
    before, after = Storage(format="nf4", share=0.2), Storage(format="checkpoint", method="gptq")
    said = change_sentence(SettingChange(name="quantization", stored=before, new=after))
    assert "partiel" in said
    assert "quantifié par ses fichiers (gptq)" in said
