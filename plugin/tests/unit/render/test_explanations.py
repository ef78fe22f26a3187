"""`render.french`: there is a French sentence for everything a verdict, a warning or a threshold can say."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from pytest_jarvis.render.french import explanations, labels, thresholds
from pytest_jarvis.render.french.explanations import advice_line, caution_sentence, explain_decision, warning_sentence
from pytest_jarvis.report.analysis.advice import Advice, AdviceCode, DiagnosticWarning, WarningCode, advise
from pytest_jarvis.report.analysis.changes import Criterion
from pytest_jarvis.report.schema import GatePlan
from pytest_jarvis.stats.decision import Caution, CautionCode, Decision, decide
from pytest_jarvis.stats.gate import GateVerdict
from pytest_jarvis.stats.thresholds import Policy, Threshold, ThresholdName, ThresholdVerdict, WhyCode

PLAN = GatePlan(policy="proven", min_gain=0.05, alpha=0.05, looks=(4, 8, 16))
FIGURES = {"prompts": 3, "lowest": 2, "highest": 4, "base_mean": 0.01}


def said(decision: Decision) -> str:
    """Return what is said of a decision, its no-break spaces as plain ones."""
    return " ".join(explain_decision(decision, PLAN, "jarvis")).replace("\u00a0", " ")


def decision(base: list[list[float]], tuned: list[list[float]], **changes: object) -> Decision:
    """Return a decision, with some of its values changed."""
    return dataclasses.replace(decide(base, tuned), **changes)  # type: ignore[arg-type]


LOW = [[0.2, 0.3, 0.2, 0.3]] * 6
HIGH = [[0.6, 0.5, 0.6, 0.5]] * 6


@pytest.mark.parametrize("code", get_args(CautionCode))
def test_every_caution_has_a_sentence(code: CautionCode) -> None:
    sentence = caution_sentence(Caution(code=code, values=FIGURES))
    assert sentence.endswith(".")
    assert "{" not in sentence


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
    assert line.startswith(explanations.ADVICE[code])
    if code == proven:
        assert "c’est prouvé" in line
    if proven is None:
        assert "c’est prouvé" not in line


def test_a_gain_over_a_base_of_zero_has_no_figure() -> None:
    line = advice_line(advise(decide([[0.0, 0.0]] * 3, [[0.3, 0.4]] * 3)))
    assert "la base est à 0" in line
    assert "–" not in line


def test_a_pass_says_at_least_and_a_fail_says_under() -> None:
    assert "le vrai gain est d’au moins +5 %" in said(decision(LOW, HIGH))
    assert "le vrai gain est sous +5 %" in said(decision(HIGH, LOW))


def test_an_undecided_gain_says_what_would_settle_it() -> None:
    text = said(decision(LOW, [[0.3, 0.2, 0.4, 0.2]] * 6, verdict="INCONCLUSIVE", responses_to_settle=40))
    assert "n’est ni prouvé ni écarté" in text
    assert "environ 40 réponses par prompt" in text


def test_too_few_prompts_say_how_many_would_settle_it() -> None:
    text = said(decision([[0.2], [0.3], [0.2]], [[0.3], [0.3], [0.2]]))
    assert "Sur de nouveaux prompts du même genre" in text
    assert "prompts du même genre pour trancher" in text


@pytest.mark.parametrize(
    ("base", "tuned", "words"),
    [
        ([[0.0, 0.0]] * 2, [[0.0, 0.0]] * 2, "rien à comparer"),
        ([[0.99, 0.98]] * 2, [[0.99, 0.99]] * 2, "score maximal"),
        ([[0.2]], [[0.3]], "rien ne peut être prouvé"),
        ([[0.0, 0.0]] * 3, [[0.3, 0.4]] * 3, "Gain absolu vu"),
    ],
    ids=["nothing to compare", "out of reach", "no variance", "base of zero"],
)
def test_what_cannot_be_decided_says_why(base: list[list[float]], tuned: list[list[float]], words: str) -> None:
    assert words in said(decision(base, tuned))


def test_an_early_stop_is_told_with_its_bias() -> None:
    assert "s’est arrêté à 4 réponses sur 16" in said(decision(LOW, HIGH))


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (labels.GATE_SHORT, GateVerdict),
        (thresholds.THRESHOLD_NAMES, ThresholdName),
        (thresholds.THRESHOLD_VERDICTS, ThresholdVerdict),
        (thresholds.WHY, WhyCode),
        (labels.CRITERIA, Criterion),
        (labels.POLICIES, Policy),
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
    bar = Threshold(
        name=name,
        adapter=None,
        value=None,
        bar=value,
        direction=direction,  # type: ignore[arg-type]
        verdict="PASS",
        meets=True,
        why="seen",
    )
    assert thresholds.bar_of(bar).replace("\u00a0", " ") == expected
