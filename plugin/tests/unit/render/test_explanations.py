"""`render.french`: there is a French sentence for everything a verdict, a warning or a threshold can say."""

from typing import get_args

import pytest

from pytest_jarvis.render.french import explanations, labels, verdicts
from pytest_jarvis.render.french.explanations import advice_line, caution_sentence, warning_sentence
from pytest_jarvis.report.analysis.advice import Advice, AdviceCode, DiagnosticWarning, WarningCode
from pytest_jarvis.report.analysis.changes import Criterion
from pytest_jarvis.stats.decision import Caution, CautionCode
from pytest_jarvis.stats.gate import GateVerdict
from pytest_jarvis.stats.thresholds import Policy, Threshold, ThresholdName, ThresholdVerdict, WhyCode
from pytest_jarvis.types import GatePlan

PLAN = GatePlan(policy="proven", min_gain=0.05, alpha=0.05, looks=(4, 8, 16))
FIGURES = {"prompts": 3, "lowest": 2, "highest": 4, "base_mean": 0.01}


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


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (labels.GATE_SHORT, GateVerdict),
        (verdicts.THRESHOLD_NAMES, ThresholdName),
        (verdicts.THRESHOLD_VERDICTS, ThresholdVerdict),
        (verdicts.WHY, WhyCode),
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
    assert verdicts.bar_of(bar).replace("\u00a0", " ") == expected
