"""The verdict as every output says it: of which adapter, at how many responses, and only where the run is judged."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html import unescape

import msgspec
import pytest

from pytest_jarvis.render import terminal
from pytest_jarvis.render.charts import chart_svgs
from pytest_jarvis.render.charts.data import chart_data
from pytest_jarvis.render.french import (
    NBSP,
    adapters_sentence,
    gate_sentence,
    number,
    percent,
    reason_sentences,
    thresholds,
    width_of,
)
from pytest_jarvis.render.french.explanations import explain_report
from pytest_jarvis.render.html.page import render_html
from pytest_jarvis.render.markdown import render_markdown
from pytest_jarvis.render.text import render_text
from pytest_jarvis.report.analysis.insights import insights, rank_adapters
from pytest_jarvis.report.schema import Figure, Report
from pytest_jarvis.stats.gate import AdapterVerdict, GateOutcome, GateVerdict, Reason, Require
from pytest_jarvis.stats.ranking import noise_floor
from pytest_jarvis.stats.thresholds import ThresholdVerdict, judge_failure_share
from pytest_jarvis.types import AdapterProof, Progress

MakeReport = Callable[..., Report]


def outcome(verdict: GateVerdict, *reasons: Reason, **adapters: ThresholdVerdict) -> GateOutcome:
    """Return the outcome of a run with these verdicts of its adapters."""
    judged = tuple(AdapterVerdict(name=name, verdict=one, seen_under_bar=False) for name, one in adapters.items())
    return GateOutcome(verdict=verdict, exit_failed=False, reasons=reasons, adapters=judged, thresholds=())


def everywhere(report: Report) -> dict[str, str]:
    """Return what each output says of a report, on one line, with plain spaces."""
    found = insights(report)
    box = chart_data(report, found).key_numbers
    said = {
        "terminal": " ".join([*terminal.decision_lines(report), *terminal.gate_lines(report.gate, 0.05)]),
        "text": render_text(report, found),
        "markdown": render_markdown(report, found).replace("\\", ""),
        "page": unescape(render_html(report, found, {}).partition("<body")[2].partition('id="liste"')[0]),
        "box": " ".join([box.verdict_text, box.advice, *box.notes]),
    }
    return {name: " ".join(text.replace(NBSP, " ").split()) for name, text in said.items()}


def settled_early(make_report: MakeReport) -> Report:
    """Return the report of a run that went on for `v2` after `v1` was settled at 2 of 4 responses a prompt."""
    report = make_report(gains={"v1": 0.4, "v2": 0.0})
    early = dataclasses.replace(report.decisions["v1"], replicates=(2, 2), gain=0.777, gain_these=(0.7, 0.85))
    plan = msgspec.structs.replace(report.metadata.plan, looks=(2, 4))
    return msgspec.structs.replace(
        report,
        decisions={**report.decisions, "v1": early},
        metadata=msgspec.structs.replace(report.metadata, plan=plan),
    )


@pytest.mark.parametrize(
    ("gate", "named"),
    [
        (outcome("PASS", v1="PASS", v2="FAIL"), "est prouvé pour v1."),
        (outcome("FAIL", v1="PASS", v2="FAIL"), "n’atteint pas +5 % pour v2."),
        (outcome("PASS", v1="PASS", v2="PASS"), "est prouvé pour v1 et v2."),
        (outcome("FAIL", a="FAIL", b="FAIL", c="FAIL", d="FAIL", e="FAIL", f="FAIL"), "pour a, b, c et 3 autres."),
        (outcome("PASS", v1="PASS"), "est prouvé."),
    ],
)
def test_the_verdict_names_the_adapters_it_is_about(gate: GateOutcome, named: str) -> None:
    assert gate_sentence(gate, 0.05).replace(NBSP, " ").endswith(named)


@pytest.mark.parametrize(
    ("require", "expected"),
    [
        ("first", "v1 accepté (premier nommé, le seul exigé) ; v2 refusé (non exigé)."),
        ("any", "v1 accepté ; v2 refusé (un seul suffit)."),
        ("all", "v1 accepté ; v2 refusé (tous sont exigés)."),
        (None, "v1 accepté ; v2 refusé."),
    ],
)
def test_each_adapters_verdict_stands_with_the_rule(require: Require | None, expected: str) -> None:
    assert expected == adapters_sentence(outcome("PASS", v1="PASS", v2="FAIL"), require).replace(NBSP, " ")


def test_one_adapter_or_no_verdict_has_no_list_of_verdicts() -> None:
    assert adapters_sentence(outcome("PASS", v1="PASS"), "first") == ""
    assert adapters_sentence(outcome("NOT_JUDGED", v1="NOT_JUDGED", v2="NOT_JUDGED"), "all") == ""


@pytest.mark.parametrize("where", ["terminal", "text", "markdown", "page", "box"])
def test_every_output_says_which_adapter_passed(make_report: MakeReport, where: str) -> None:
    report = make_report(gains={"v1": 0.4, "v2": 0.0})
    said = everywhere(report)[where]
    assert "v1 accepté" in said
    assert "v2 refusé" in said


@pytest.mark.parametrize("where", ["terminal", "text", "markdown", "page", "box"])
def test_a_verdict_on_fewer_responses_than_the_means_says_so(make_report: MakeReport, where: str) -> None:
    report = settled_early(make_report)
    gain = percent(report.statistics.relevance_gain, signed=True).replace(NBSP, " ")
    said = everywhere(report)[where]
    assert "à 2 réponses" in said
    assert f"sur les 4 réponses tirées en tout : {gain}, hors verdict" in said


@pytest.mark.parametrize("where", ["terminal", "text", "markdown", "page", "box"])
def test_where_nothing_is_judged_no_gain_is_called_beside_the_verdict(make_report: MakeReport, where: str) -> None:
    report = settled_early(make_report)
    report = msgspec.structs.replace(report, gate=dataclasses.replace(report.gate, verdict="NOT_JUDGED", thresholds=()))
    said = everywhere(report)[where]
    assert "sur les 4 réponses tirées en tout" in said
    assert "hors verdict" not in said


def test_where_nothing_is_judged_no_verdict_is_said_to_have_been_given_early(make_report: MakeReport) -> None:
    report = settled_early(make_report)
    report = msgspec.structs.replace(report, gate=dataclasses.replace(report.gate, verdict="NOT_JUDGED", thresholds=()))
    told = " ".join(explain_report(report, "v1")).replace(NBSP, " ")
    assert "verdict" not in told
    assert "portent sur 2 réponses par prompt, les moyennes du rapport sur 4 réponses par prompt" in told


@pytest.mark.parametrize("where", ["terminal", "text", "markdown", "page"])
@pytest.mark.parametrize("judged", [True, False])
def test_a_difference_between_adapters_is_shown_only_where_the_run_is_judged(
    make_report: MakeReport, where: str, judged: bool
) -> None:
    report = make_report(gains={"v1": 0.0, "v2": 0.9})
    if not judged:
        gate = dataclasses.replace(report.gate, verdict="NOT_JUDGED", thresholds=())
        report = msgspec.structs.replace(report, gate=gate)
    said = everywhere(report)[where]
    if where == "terminal":
        said = " ".join(terminal.ranking_lines(report, rank_adapters(report)))
    assert judged == ("écart montré" in said)


@pytest.mark.parametrize("where", ["text", "markdown", "page"])
def test_a_bar_that_an_early_verdict_meets_says_at_how_many_responses(make_report: MakeReport, where: str) -> None:
    assert "prouvé à 2 réponses" in everywhere(settled_early(make_report))[where]


@pytest.mark.parametrize("where", ["terminal", "text", "markdown", "page", "box"])
def test_responses_that_failed_make_no_verdict_an_early_one(make_report: MakeReport, where: str) -> None:
    report = make_report(gains={"v1": 0.4, "v2": 0.0})
    fewer = dataclasses.replace(report.decisions["v1"], replicates=(3, 3))
    said = everywhere(msgspec.structs.replace(report, decisions={**report.decisions, "v1": fewer}))[where]
    assert "hors verdict" not in said


def test_a_gain_that_was_ruled_out_early_is_called_too_low_and_one_that_was_proven_too_high(make_report) -> None:
    report = settled_early(make_report)
    ruled_out = dataclasses.replace(report.decisions["v1"], verdict="FAIL")
    for decision, word in ((report.decisions["v1"], "trop haut"), (ruled_out, "trop bas")):
        told = explain_report(msgspec.structs.replace(report, decisions={"v1": decision}), "v1")
        assert [word in sentence for sentence in told if "Le verdict de v1" in sentence] == [True]


def test_the_table_of_adapters_holds_one_gain_with_its_own_interval(make_report: MakeReport) -> None:
    report = settled_early(make_report)
    found = report.statistics.figure("jarvis_relevance")
    gain = percent(report.statistics.relevance_gain, signed=True)
    means = f"| v1 | {number(found.base, 3)} → {number(found.finetuned, 3)} | {gain} |".replace(NBSP, " ")
    assert f"{means} +77,7 % | [+70,0 ; +85,0] | 2 |" in everywhere(report)["markdown"]


@pytest.mark.parametrize("where", ["terminal", "text", "markdown", "page", "box"])
def test_a_run_that_is_not_judged_has_no_verdict_on_its_gain(make_report: MakeReport, where: str) -> None:
    report = make_report(gains={"jarvis": 0.4})
    gate = msgspec.structs.replace(report, gate=dataclasses.replace(report.gate, verdict="NOT_JUDGED", thresholds=()))
    said = everywhere(gate)[where]
    assert [
        word for word in ("PROUVÉ", "ÉCARTÉ", "NON TRANCHÉ", "c’est prouvé", "d’erreur d’au plus") if word in said
    ] == []
    assert "jugé" in said.lower()


def test_a_run_stopped_before_its_first_comparison_was_not_without_measures() -> None:
    missing = {"missing": 27, "selected": 30, "responses": 0}
    gate = outcome("NOT_JUDGED", Reason(code="nothing_measured"), Reason(code="missing_pairs", values=missing))
    assert [said.replace(NBSP, " ") for said in reason_sentences(gate)] == [
        "Aucune décision possible : l’essai s’est arrêté avant la première comparaison.",
        "Il manque des paires : 27 prompts sur 30.",
    ]


@pytest.mark.parametrize(
    ("missing", "responses", "expected"),
    [
        (1, 1, "Il manque des paires : 1 prompt sur 30, 1 réponse non tirée."),
        (0, 5, "Il manque des paires : 5 réponses non tirées."),
        (30, 0, "Il manque des paires : 30 prompts sur 30."),
    ],
)
def test_what_is_missing_agrees_with_its_count(missing: int, responses: int, expected: str) -> None:
    values = {"missing": missing, "selected": 30, "responses": responses}
    gate = outcome("NOT_JUDGED", Reason(code="missing_pairs", values=values))
    assert [expected] == [said.replace(NBSP, " ") for said in reason_sentences(gate)]


@pytest.mark.parametrize("recipe", [{}, {"gains": {"v1": 0.4, "un-nom-vraiment-tres-long": 0.0}}, {"label": "é" * 90}])
def test_the_terminals_lines_are_at_most_79_columns(make_report: MakeReport, recipe: dict[str, object]) -> None:
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


def test_a_wide_terminal_shows_a_decision_on_one_line(make_report: MakeReport) -> None:
    assert len(terminal.decision_lines(make_report(), width=300)) == 1


def test_what_matters_most_of_the_progress_comes_first() -> None:
    progress = Progress(responses_done=120, responses_planned=240, tokens=6800, elapsed_s=8.0)
    assert terminal.progress_line(4, progress).replace(NBSP, " ") == (
        "JARVIS : 120/240 réponses | reste 8 s | 850 tokens/s | écoulé 8 s | 4 par prompt et par bras"
    )


def test_an_arrow_never_contradicts_the_figures_beside_it(make_report: MakeReport) -> None:
    figures = {"jarvis_relevance": Figure(base=0.0601, finetuned=0.0599)}
    row = msgspec.structs.replace(make_report().results[0], figures=figures)
    assert "0,06 → 0,06 =" in terminal.case_line(row, 100, name_arm=False)


def test_the_base_against_itself_has_no_gain_on_the_terminal(make_report: MakeReport) -> None:
    report = make_report(gains={"base_bis": 0.0})
    floor = noise_floor([[90.0, 80.0], [70.0, 75.0]], [[88.0, 82.0], [71.0, 73.0]])
    report = msgspec.structs.replace(report, noise_floor={"characters": floor})
    assert "gain" not in terminal.summary_table(report)[0]
    said = terminal.noise_lines(report.noise_floor)[1]
    assert "," not in said.partition("(± ")[0]
    engine = dataclasses.replace(report.provenance.engine, adapters=())
    assert "adaptateur" not in " ".join(terminal.loaded_lines(engine, 1.0))


@pytest.mark.parametrize("where", ["text", "markdown"])
def test_the_base_against_itself_has_no_gain_on_paper(make_report: MakeReport, where: str) -> None:
    report = make_report(gains={"base_bis": 0.0})
    floor = noise_floor([[90.0, 80.0], [70.0, 75.0]], [[88.0, 82.0], [71.0, 73.0]])
    said = everywhere(msgspec.structs.replace(report, noise_floor={"characters": floor}))[where]
    assert [word for word in ("Gain", "gain intervalle", "gain | intervalle", "AMÉLIORATIONS") if word in said] == []
    assert re.search(r"Caractères[ |]+[+−]\d+[ |]+± \d+[ |]+±", said) is not None


def test_the_base_against_itself_is_called_no_adapter_anywhere(make_report: MakeReport) -> None:
    report = make_report(gains={"base_bis": 0.0})
    engine = dataclasses.replace(report.provenance.engine, adapters=())
    report = msgspec.structs.replace(report, provenance=msgspec.structs.replace(report.provenance, engine=engine))
    page = render_html(report, insights(report), chart_svgs(report, insights(report))).partition("<body")[2]
    said = {
        "heading": terminal.case_heading("Commandes", 100, report.results[0].adapter),
        "whole page": re.sub("<script>.*?</script>", "", page, flags=re.DOTALL),
        **everywhere(report),
    }
    for where, text in said.items():
        assert [] == re.findall(r"LoRA|[Ff]ine-tun\w+|[Aa]daptateurs?", text), where
    assert said["heading"].endswith("base | base_bis")
    assert "longueur, base_bis" in said["whole page"]
    assert "Second bras base_bis (" in said["text"]


def test_an_adapter_is_still_called_one(make_report: MakeReport) -> None:
    report = make_report()
    assert terminal.case_heading("Commandes", 100, report.results[0].adapter).endswith("base | LoRA")
    assert "longueur, fine-tuné" in render_html(report, insights(report), {})


def test_the_failures_of_an_adapter_and_of_the_run_are_told_apart() -> None:
    run = judge_failure_share(0, 10, bar=0.05, policy="proven")
    assert "" == thresholds.whose(run, several=True)
    assert "(v1)" == thresholds.whose(dataclasses.replace(run, adapter="v1"), several=False)


def test_a_terminal_that_was_not_asked_for_a_verdict_shows_none(make_report: Callable[..., Report]) -> None:
    report = make_report()
    asked, not_asked = (" ".join(terminal.decision_lines(report, asked=asked)) for asked in (True, False))
    assert ("PROUVÉ" in asked, "PROUVÉ" in not_asked, "non jugé" in not_asked) == (True, False, True)
