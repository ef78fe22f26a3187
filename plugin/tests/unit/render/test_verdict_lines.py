"""The verdict as every output says it: of which adapter, at how many responses, and only where the run is judged."""

import dataclasses
import re
from collections.abc import Callable

import msgspec
import pytest

from pytest_jarvis.render import terminal
from pytest_jarvis.render.charts import chart_svgs
from pytest_jarvis.render.charts.data import chart_data
from pytest_jarvis.render.french import verdicts
from pytest_jarvis.render.french.explanations import explain_report
from pytest_jarvis.render.french.formats import NBSP, width_of
from pytest_jarvis.render.html.page import render_html
from pytest_jarvis.render.markdown import render_markdown
from pytest_jarvis.render.text import render_text
from pytest_jarvis.report.analysis.insights import insights
from pytest_jarvis.report.schema import Figure, Report
from pytest_jarvis.stats.thresholds import judge_failure_share
from pytest_jarvis.types import AdapterProof, Progress

MakeReport = Callable[..., Report]


def test_a_gain_that_was_ruled_out_early_is_called_too_low_and_one_that_was_proven_too_high(early) -> None:
    report = early
    ruled_out = dataclasses.replace(report.decisions["v1"], verdict="FAIL")
    for decision, word in ((report.decisions["v1"], "trop haut"), (ruled_out, "trop bas")):
        told = explain_report(msgspec.structs.replace(report, decisions={"v1": decision}), "v1")
        assert [word in sentence for sentence in told if "Le verdict de v1" in sentence] == [True]


@pytest.mark.parametrize("recipe", [{}, {"gains": {"v1": 0.4, "un-nom-vraiment-tres-long": 0.0}}, {"label": "é" * 90}])
def test_the_terminals_lines_are_at_most_79_columns(make_report, recipe: dict[str, object]) -> None:
    report = make_report(**recipe)
    engine = report.provenance.engine
    proof = AdapterProof(
        name="un-nom-long",
        source="ici",
        sha256="0",
        rank=8,
        targets=(),
        weights=1,
        max_logit_change=1.0,
        base_unchanged=True,
        max_base_drift=0.0,
        live=True,
    )
    long = "un modèle au nom long " * 6
    engine = dataclasses.replace(engine, is_demo=False, display_name=long, adapters=(proof,) * 9)
    lines = [
        *terminal.summary_table(report),
        *terminal.decision_lines(report, width=80),
        *terminal.loaded_lines(engine, 3.0),
    ]
    assert [line for line in lines if width_of(line) > 79] == []


def test_a_wide_terminal_shows_a_decision_on_one_line(make_report) -> None:
    assert len(terminal.decision_lines(make_report(), width=300)) == 1


def test_what_matters_most_of_the_progress_comes_first() -> None:
    progress = Progress(responses_done=120, responses_planned=240, tokens=6800, elapsed_s=8.0)
    assert terminal.progress_line(4, progress).replace(NBSP, " ") == (
        "JARVIS : 120/240 réponses | reste 8 s | 850 tokens/s | écoulé 8 s | 4 par prompt et par bras"
    )


def test_an_arrow_never_contradicts_the_figures_beside_it(make_report) -> None:
    figures = {"jarvis_relevance": Figure(base=0.0601, finetuned=0.0599)}
    row = msgspec.structs.replace(make_report().results[0], figures=figures)
    assert "0,06 → 0,06 =" in terminal.case_line(row, 100, name_arm=False)


def test_the_base_against_itself_is_called_no_adapter_anywhere(make_report) -> None:
    report = make_report(gains={"base_bis": 0.0})
    engine = dataclasses.replace(report.provenance.engine, adapters=())
    report = msgspec.structs.replace(report, provenance=msgspec.structs.replace(report.provenance, engine=engine))
    page = render_html(report, insights(report), chart_svgs(report, insights(report))).partition("<body")[2]
    said = {
        "heading": terminal.case_heading("Commandes", 100, report.results[0].adapter),
        "whole page": re.sub("<script>.*?</script>", "", page, flags=re.DOTALL),
        "text": render_text(report, insights(report)).replace("\u00a0", " "),
        "summary": render_markdown(report, insights(report)),
        "terminal": " ".join([*terminal.summary_table(report), *terminal.gate_lines(report.gate, 0.05)]),
        "box": " ".join(chart_data(report, insights(report)).key_numbers.notes),
    }
    for where, text in said.items():
        assert [] == re.findall(r"LoRA|[Ff]ine-tun\w+|[Aa]daptateurs?", text), where
    assert said["heading"].endswith("base | base_bis")
    assert "longueur, base_bis" in said["whole page"]
    assert "base_bis (demo:base_bis)" in said["text"]


def test_the_failures_of_an_adapter_and_of_the_run_are_told_apart() -> None:
    run = judge_failure_share(0, 10, bar=0.05, policy="proven")
    assert "" == verdicts.arm_of(run, several=True)
    assert "(v1)" == verdicts.arm_of(dataclasses.replace(run, adapter="v1"), several=False)


def test_a_terminal_that_was_not_asked_for_a_verdict_shows_none(make_report) -> None:
    report = make_report()
    asked, not_asked = (" ".join(terminal.decision_lines(report, with_verdict=asked)) for asked in (True, False))
    assert ("PROUVÉ" in asked, "PROUVÉ" in not_asked, "non jugé" in not_asked) == (True, False, True)
