"""The table of categories, and who is ahead of whom: every adapter by its name, on lines that a terminal holds."""

from collections.abc import Callable

import msgspec
import pytest

from pytest_jarvis.render import terminal
from pytest_jarvis.render.french.formats import NBSP, shorten, width_of
from pytest_jarvis.render.terminal import MOST_ADAPTERS, ranking_lines, summary_table
from pytest_jarvis.report.analysis.insights import rank_adapters
from pytest_jarvis.report.schema import Figure, Report

MakeReport = Callable[..., Report]
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
    assert [line.split()[0] for line in lines[-2:]] == ["lora-du-3-…-epoque-1", "lora-du-3-…-epoque-2"]


@pytest.mark.parametrize("text", ["court", "un nom qui est long", "漢字漢字漢字漢字", "e\u0301" * 30])
def test_a_shortened_text_is_never_wider_than_asked(text: str) -> None:
    assert all(width_of(shorten(text, width)) <= width for width in range(1, 30))
    assert shorten(text, 80) == text


def test_of_many_adapters_only_neighbours_are_compared(make_report) -> None:
    report = make_report(gains={f"v{number}": number / 2 for number in range(5)}, prompts=4)
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
    lines = terminal.gate_lines(report.gate, 0.05, require="first")
    assert max(map(width_of, lines)) <= 79
    assert all(line.startswith("  ") for line in lines[1:])
