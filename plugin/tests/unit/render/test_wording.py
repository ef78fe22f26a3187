"""`render.french`: numbers and texts as French writes them, and a sentence for every code."""

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_jarvis
from pytest_jarvis.render.french import verdicts
from pytest_jarvis.render.french.explanations import advice_line, caution_sentence, warning_sentence
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
from pytest_jarvis.render.french.labels import storage as storage_label
from pytest_jarvis.render.french.notes import WRITTEN, french_note
from pytest_jarvis.render.french.saved_runs import change_sentence
from pytest_jarvis.render.french.verdicts import gate_sentence, reason_sentence, threshold_rules
from pytest_jarvis.render.french.words import table
from pytest_jarvis.report.analysis.advice import Advice, AdviceCode, DiagnosticWarning, WarningCode
from pytest_jarvis.report.analysis.changes import Criterion
from pytest_jarvis.stats.decision import Caution, CautionCode
from pytest_jarvis.stats.gate import GateOutcome, GateVerdict, Reason, ReasonCode
from pytest_jarvis.stats.regression import SettingChange
from pytest_jarvis.stats.thresholds import Direction, Policy, Threshold, ThresholdName, ThresholdVerdict, WhyCode
from pytest_jarvis.types import _ENGLISH, Note, NoteCode, Storage, text_note


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


def threshold(name: ThresholdName, bar: float, direction: Direction = "at_most") -> Threshold:
    return Threshold(
        name=name, adapter="v", value=1.0, bar=bar, direction=direction, verdict="PASS", meets=True, why="seen"
    )


@pytest.mark.parametrize(
    ("name", "batching", "rules"),
    [("latency_ratio", "mixed", 2), ("latency_ratio", "two passes", 1), ("relevance_gain", "mixed", 0)],
)
def test_a_ratio_of_durations_says_what_it_compares(name: ThresholdName, batching: str, rules: int) -> None:
    assert len(threshold_rules([threshold(name, 2.0)], batching)) == rules


def test_a_comparison_says_in_french_how_the_weights_were_stored() -> None:
    before, after = Storage(format="nf4", share=0.2), Storage(format="checkpoint", method="gptq")
    said = change_sentence(SettingChange(name="quantization", stored=before, new=after))
    assert "partiel" in said
    assert "quantifié par ses fichiers (gptq)" in said


FIGURES = {"prompts": 3, "lowest": 2, "highest": 4, "base_mean": 0.01, "selected": 1, "planned": 30, "failed": 3}
FIGURES |= {"share": 0.1, "allowed": 0.05, "missing": 1, "responses": 2}


def outcome(verdict: GateVerdict) -> GateOutcome:
    return GateOutcome(verdict=verdict, exit_failed=False, reasons=(), adapters=(), thresholds=())


@pytest.mark.parametrize(
    "sentence",
    [
        *(gate_sentence(outcome(verdict), 0.05) for verdict in get_args(GateVerdict)),
        *(reason_sentence(Reason(code=code, values=FIGURES)) for code in get_args(ReasonCode)),
        *(caution_sentence(Caution(code=code, values=FIGURES)) for code in get_args(CautionCode)),
    ],
)
def test_every_verdict_reason_and_caution_has_a_sentence(sentence) -> None:
    assert (True, False) == (sentence.endswith("."), "{" in sentence)


@pytest.mark.parametrize("code", get_args(WarningCode))
def test_every_warning_has_a_sentence_with_its_figures(code: WarningCode) -> None:
    values = {
        "stuffing": {"base": 0.5, "finetuned": 6.25, "share": 0.4},
        "length": {"base": 50.0, "finetuned": 150.0, "ratio": 3.0},
        "empty": {"share": 0.25, "base": 0.1},
        "cut": {"share": 0.25, "base": 0.1},
    }[code]
    sentence = warning_sentence(DiagnosticWarning(code=code, values=values)).replace("\u00a0", " ")
    figures = {"stuffing": ("6,2", "0,5", "40 %"), "length": ("3,0", "150", "50")}.get(code, ("25 %", "10 %"))
    assert [figure for figure in figures if figure not in sentence] == []


@pytest.mark.parametrize("code", get_args(AdviceCode))
@pytest.mark.parametrize("proven", [None, *get_args(AdviceCode)])
def test_an_advice_is_called_proven_only_where_something_is(code: AdviceCode, proven: AdviceCode | None) -> None:
    line = advice_line(Advice(code=code, proven=code == proven, proven_code=proven, gain=0.07))
    assert line.startswith(table("explanations.advice")[code])
    if code == proven:
        assert "c’est prouvé" in line
    if proven is None:
        assert "c’est prouvé" not in line


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (table("labels.gate_short"), GateVerdict),
        (table("verdicts.threshold_names"), ThresholdName),
        (table("verdicts.threshold_verdicts"), ThresholdVerdict),
        (table("verdicts.why"), WhyCode),
        (table("labels.criteria"), Criterion),
        (table("labels.policies"), Policy),
    ],
)
def test_a_table_of_words_leaves_no_value_out(table: dict[str, str], kind: object) -> None:
    assert set(get_args(kind)) == set(table)


@pytest.mark.parametrize(
    ("name", "value", "direction", "expected"),
    [
        ("relevance_gain", 0.05, "at_least", "≥ +5,0 %"),
        ("failure_share", 0.05, "at_most", "≤ 5,0 %"),
        ("latency_ratio", 1.5, "at_most", "≤ 1,500"),
    ],
)
def test_a_bar_is_written_in_its_unit(name: ThresholdName, value: float, direction: str, expected: str) -> None:
    assert verdicts.bar_of(threshold(name, value, direction)).replace(NBSP, " ") == expected


def test_every_code_has_its_french() -> None:
    assert set(get_args(NoteCode)) == table("notes.notes").keys() | WRITTEN.keys()
    assert table("notes.notes").keys() & WRITTEN.keys() == set()


def fields_of(template: str) -> set[str]:
    """Return the values that a template wants."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def written_notes() -> Iterator[tuple[str, set[str]]]:
    """Yield the code and the names of the values of each note that the package writes out."""
    for path in Path(pytest_jarvis.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Note":
                continue
            code, *rest = [*node.args, *(one.value for one in node.keywords)]
            keys = [key for one in rest if isinstance(one, ast.Dict) for key in one.keys]
            names = {key.value for key in keys if isinstance(key, ast.Constant)}
            has_cause = len(node.args) > 2 or any(one.arg == "cause" for one in node.keywords)
            if isinstance(code, ast.Constant) and all(isinstance(one, ast.Dict) for one in node.args[1:2]):
                yield code.value, names | ({"cause"} if has_cause else set())


@pytest.mark.parametrize("templates", [table("notes.notes"), _ENGLISH], ids=["french", "english"])
def test_templates_want_the_values_that_notes_have(templates: dict[NoteCode, str]) -> None:
    # Where a fault happened is added where it is raised.
    asked = [(code, names) for code, names in written_notes() if code in templates and not code.endswith("_fault")]
    assert len(asked) > 20
    wrong = [(code, names) for code, names in asked if fields_of(templates[code]) - names]
    assert wrong == []


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (text_note("as it is : {x}"), "as it is : {x}"),
        (Note("cut_in_time", {"seconds": 2.5, "tokens": 12}), "coupée après 2,5 s, à 12 tokens (délai dépassé)"),
        (
            Note("after_tries", {"tries": 4}, Note("server_status", {"status": 404, "said": "no such model"})),
            "le serveur a répondu 404 : no such model (4 essais)",
        ),
        (
            Note("steps_not_recorded", cause=text_note("RuntimeError: 2.5 kernels")),
            "chaque étape est lancée noyau par noyau, sans graphe CUDA, car : RuntimeError: 2.5 kernels",
        ),
        (
            Note("metric_fault", {"metric": "a", "prompt": "cv-01", "arm": "v2", "number": 3}, Note("raised")),
            "métrique « a » : prompt « cv-01 », v2, réponse 3 : a levé ?",
        ),
        (Note("base_moved", {"name": "v2", "size": 0.0001234}), "de 0,000123 au plus"),
        (
            Note("several_processes", {"workers": 2, "samples": 8}),
            "2 processus (pytest-xdist), chacun ses prompts : 8 réponses par prompt et par bras",
        ),
        (Note("several_processes"), "several_processes"),
    ],
)
def test_a_note_is_said_with_its_values_and_its_cause(note: Note, expected: str) -> None:
    assert expected in french_note(note).replace(NBSP, " ")


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        (Storage(format="nf4"), "NF4 (double quantification)"),
        (Storage(format="nf4", share=0.942), "NF4 (double quantification), partiel : 94,2 % des poids d’experts"),
        (Storage(format="checkpoint", method="gptq"), "quantifié par ses fichiers (gptq)"),
        (Storage(format="16bit"), "16 bits"),
        (Storage(format="none"), ""),
    ],
)
def test_how_weights_are_stored_is_said_in_french(storage: Storage, expected: str) -> None:
    assert storage_label(storage, "").replace(NBSP, " ").startswith(expected)
