"""The lines of the terminal: tables, verdicts, progress and memory, by name and within 79 columns."""

import dataclasses
import re

import msgspec
import pytest
from samples import LOADED

from pytest_jarvis.render import terminal
from pytest_jarvis.render.charts import chart_svgs
from pytest_jarvis.render.charts.data import chart_data
from pytest_jarvis.render.french import verdicts
from pytest_jarvis.render.french.explanations import explain_report
from pytest_jarvis.render.french.formats import NBSP, shorten, width_of
from pytest_jarvis.render.html.page import render_html
from pytest_jarvis.render.markdown import render_markdown
from pytest_jarvis.render.terminal import MOST_ADAPTERS, ranking_lines, summary_table
from pytest_jarvis.render.text import render_text
from pytest_jarvis.report.analysis.insights import insights, rank_adapters
from pytest_jarvis.report.schema import Figure
from pytest_jarvis.stats.thresholds import judge_failure_share
from pytest_jarvis.types import GatePlan, Progress


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
    proof = msgspec.structs.replace(engine.adapters[0], name="un-nom-long", source="ici")
    long = "un modèle au nom long " * 6
    engine = msgspec.structs.replace(engine, is_demo=False, display_name=long, adapters=(proof,) * 9)
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
    figures = {"deeds": Figure(base=0.501, finetuned=0.499)}
    row = msgspec.structs.replace(make_report().results[0], figures=figures)
    assert "2/4 → 2/4 =" in terminal.case_line(row, 100, name_arm=False)


def test_the_base_against_itself_is_called_no_adapter_anywhere(make_report) -> None:
    report = make_report(gains={"base_bis": 0.0})
    page = render_html(report, insights(report), chart_svgs(report, insights(report))).partition("<body")[2]
    said = {
        "heading": terminal.case_heading("Commandes", 100),
        "whole page": re.sub("<script>.*?</script>", "", page, flags=re.DOTALL),
        "text": render_text(report, insights(report)).replace("\u00a0", " "),
        "summary": render_markdown(report, insights(report)),
        "terminal": " ".join([*terminal.summary_table(report), *terminal.gate_lines(report.gate, GatePlan(), {})]),
        "box": " ".join(chart_data(report, insights(report)).key_numbers.notes),
    }
    for where, text in said.items():
        assert [] == re.findall(r"LoRA|[Ff]ine-tun\w+|[Aa]daptateurs?", text), where
    assert "longueur, base_bis" in said["whole page"]
    assert "base_bis (base)" in said["text"]


def test_the_failures_of_an_adapter_and_of_the_run_are_told_apart() -> None:
    run = judge_failure_share(0, 10, bar=0.05, policy="proven")
    assert "" == verdicts.arm_of(run, several=True)
    assert "(v1)" == verdicts.arm_of(dataclasses.replace(run, adapter="v1"), several=False)


def test_a_terminal_that_was_not_asked_for_a_verdict_shows_none(make_report) -> None:
    report = make_report()
    asked, not_asked = (" ".join(terminal.decision_lines(report, with_verdict=asked)) for asked in (True, False))
    assert ("PROUVÉ" in asked, "PROUVÉ" in not_asked, "non jugé" in not_asked) == (True, False, True)


TWO = {"v1": 0.4, "v2": 0.1}


def test_many_adapters_have_their_totals_alone(make_report) -> None:
    for count, lines in ((MOST_ADAPTERS, 4 * (MOST_ADAPTERS + 1)), (MOST_ADAPTERS + 1, MOST_ADAPTERS + 2)):
        report = make_report(gains={f"v{number}": 0.1 for number in range(count)}, prompts=2, replicates=2)
        assert len(summary_table(report)) == 1 + lines


@pytest.mark.parametrize("label", ["é" * 90, "漢字" * 40], ids=["long", "wide"])
def test_the_table_has_79_columns_and_long_names_keep_their_ends(make_report, label: str) -> None:
    names = ("lora-du-3-mars-epoque-1", "lora-du-3-mars-epoque-2")
    lines = summary_table(make_report(gains=dict.fromkeys(names, 0.3), label=label))
    assert max(map(width_of, lines)) <= 79
    assert [line.split()[0] for line in lines[-2:]] == ["lora-du-3…poque-1", "lora-du-3…poque-2"]


@pytest.mark.parametrize("text", ["court", "un nom qui est long", "漢字漢字漢字漢字", "e\u0301" * 30])
def test_a_shortened_text_is_never_wider_than_asked(text: str) -> None:
    assert all(width_of(shorten(text, width)) <= width for width in range(1, 30))
    assert shorten(text, 80) == text


def test_of_many_adapters_only_neighbours_are_compared(make_report) -> None:
    report = make_report(gains={f"v{number}": number / 5 for number in range(5)}, prompts=12)
    said = ranking_lines(report, rank_adapters(report))
    assert [tuple(line.split(",")[0].split(" devant ")) for line in map(str.strip, said) if " devant " in line] == [
        *(("v4", "v3"), ("v3", "v2"), ("v2", "v1"), ("v1", "v0"))
    ]


def test_the_choice_of_the_tool_is_told_of_each_adapter_by_name(make_report) -> None:
    report = make_report(gains=TWO)
    chosen = {
        name: msgspec.structs.replace(
            one,
            statistics=msgspec.structs.replace(
                one.statistics, figures={"tool_routing": Figure(base=0.25, finetuned=share)}
            ),
        )
        for (name, one), share in zip(report.by_adapter.items(), (0.5, 0.75), strict=True)
    }
    said = terminal.choice_lines(msgspec.structs.replace(report, by_adapter=chosen))
    assert [line.replace(NBSP, " ") for line in said] == [
        "v1 · Bon outil choisi : 25,0 % → 50,0 % (+25,0 pt)",
        "v2 · Bon outil choisi : 25,0 % → 75,0 % (+50,0 pt)",
    ]


def test_the_verdicts_of_many_adapters_stay_within_the_terminal(make_report) -> None:
    report = make_report(gains={f"adaptateur-numero-{number}": 0.2 for number in range(9)}, prompts=3)
    lines = terminal.gate_lines(report.gate, GatePlan(), {})
    assert max(map(width_of, lines)) <= 79
    assert all(line.startswith("  ") for line in lines[1:])


def test_the_progress_ends_with_the_memory_of_each_device() -> None:
    progress = Progress(responses_done=1, responses_planned=2, tokens=10, elapsed_s=1.0, memory=(LOADED,))
    line = terminal.progress_line(4, progress, progress.memory)
    assert line.endswith(" | GPU 0: 17.0GB / 20.0GB reserved / 24.0GB total")


@pytest.mark.parametrize("memory", [True, False])
def test_the_configuration_can_switch_the_memory_off(pytester, memory: bool) -> None:
    from pytest_jarvis.inputs.config import LoggingSection
    from pytest_jarvis.plugin.terminal import LiveTerminal

    live = LiveTerminal(pytester.parseconfigure(), "m", logging=LoggingSection(gpu_memory=memory))
    said: list[str] = []
    live._line = said.append  # type: ignore[method-assign]
    live.show_look(4, Progress(responses_done=2, responses_planned=2, tokens=10, elapsed_s=1.0, memory=(LOADED,)))
    assert memory == ("reserved" in said[0])
