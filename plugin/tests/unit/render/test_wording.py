"""`render.french`: numbers and texts as French writes them, and a sentence for every code."""

import ast
from collections.abc import Callable, Iterator
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
from pytest_jarvis.types import _ENGLISH, GatePlan, Note, NoteCode, Storage, text_note


def threshold(name: ThresholdName, bar: float, direction: Direction = "at_most") -> Threshold:
    return Threshold(
        name=name, adapter="v", value=1.0, bar=bar, direction=direction, verdict="PASS", meets=True, why="seen"
    )


def bar_of(name: ThresholdName, value: float, direction: Direction = "at_most") -> str:
    return verdicts.bar_of(threshold(name, value, direction))


def signed(share: float | None, digits: int) -> str:
    return percent(share, digits, signed=True)


EVERY_SIGN = "« œuvre » → −5 % réponse… 🎵"
WRITTEN_FORMS: dict[Callable[..., str], list[tuple[object, ...]]] = {
    number: [(None, 2), (0.125, 2), (3, 0), (-1.5, 1), (-0.001, 2)],
    signed: [(None, 1), (0.2314, 1), (-0.05, 1), (-0.0001, 1), (0.0, 1)],
    percent: [(0.2314, 0), (-0.0001, 1)],
    seconds: [(None,), (0.04,), (119.9,), (120,), (179.7,), (3725,)],
    plural: [(0, "réponse"), (1, "réponse"), (2, "réponse"), (2, "réponse", "réponses tirées")],
    gain_interval: [(None,), ((0.119, 0.36),), ((-0.05, 0.0),)],
    bar_of: [("relevance_gain", 0.05, "at_least"), ("failure_share", 0.05), ("latency_ratio", 1.5)],
    fit: [
        (text, width) for text in ("été", "étés", "e\u0301te\u0301", "🎵🎵", "🎵🎵🎵") for width in (5, 4, 3, 1, 0, -1)
    ],
    printable: [("a\r\nb\tc\x1cd",), ("\x1b[31mrouge\x07\x9b2J",), ("a\u202eb\u2066c",), ("10\u202f% 10\u00a0%",)],
    encodable: [(EVERY_SIGN, encoding) for encoding in ("utf-8", None, "cp1252", "latin-1", "ascii")],
    typeset: [("« oui » : 5 % ; non ? si !",)],
}


def test_numbers_and_texts_are_written_as_french_writes_them(golden) -> None:
    cases = [(write, values) for write, many in WRITTEN_FORMS.items() for values in many]
    assert golden == "".join(
        f"{write.__name__}{values!a}\n    {write(*values).replace(NBSP, '_')}|\n" for write, values in cases
    )


def test_a_lone_accent_is_left_out_where_it_cannot_be_written() -> None:
    assert encodable("e\u0301", "ascii") == "e"


@given(st.text(), st.sampled_from(["utf-8", "cp1252", "latin-1", "ascii", "cp850", "utf-16"]))
def test_what_is_made_encodable_can_be_encoded(text: str, encoding: str) -> None:
    encodable(text, encoding).encode(encoding)


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
FIGURES |= {
    "p_value": 0.004,
    "relevance": 12.0,
    "deeds": -3.0,
    "share": 0.1,
    "allowed": 0.05,
    "missing": 1,
    "responses": 2,
}


def outcome(verdict: GateVerdict) -> GateOutcome:
    return GateOutcome(verdict=verdict, exit_failed=False, reasons=(), adapters=(), thresholds=())


@pytest.mark.parametrize(
    "sentence",
    [
        *(gate_sentence(outcome(verdict), GatePlan()) for verdict in get_args(GateVerdict)),
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


def test_a_note_is_said_with_its_values_and_its_cause(golden) -> None:
    notes = (
        text_note("as it is : {x}"),
        Note("cut_in_time", {"seconds": 2.5, "tokens": 12}),
        Note("after_tries", {"tries": 4}, Note("server_status", {"status": 404, "said": "no such model"})),
        Note("steps_not_recorded", cause=text_note("RuntimeError: 2.5 kernels")),
        Note("metric_fault", {"metric": "a", "prompt": "cv-01", "arm": "v2", "number": 3}, Note("raised")),
        Note("base_moved", {"name": "v2", "size": 0.0001234}),
        Note("several_processes", {"workers": 2, "samples": 8}),
        Note("several_processes"),
    )
    assert golden == "".join(f"{note.code}\n    {french_note(note).replace(NBSP, '_')}\n" for note in notes)


def test_how_weights_are_stored_is_said_in_french(golden) -> None:
    shares = (Storage(format="nf4"), Storage(format="nf4", share=0.942), Storage(format="checkpoint", method="gptq"))
    said = [storage_label(one, "").replace(NBSP, "_") for one in (*shares, Storage(format="16bit"))]
    assert golden == "\n".join(said)
    assert storage_label(Storage(format="none"), "") == ""
