"""`report.analysis.insights` and its outputs: shares, reasons and confusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from samples import with_routing

from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.render.french import explanations as wording
from pytest_jarvis.render.french.metrics import LABELS
from pytest_jarvis.render.french.words import word
from pytest_jarvis.render.html.page import render_html
from pytest_jarvis.render.markdown import render_markdown
from pytest_jarvis.render.terminal import choice_lines
from pytest_jarvis.render.text import render_text
from pytest_jarvis.report.analysis.changes import is_right
from pytest_jarvis.report.analysis.insights import Confusion, cell_of, insights, offers_tools
from pytest_jarvis.report.schema import Figure, Report, ResultRow, Sample
from pytest_jarvis.types import Tool

RIGHT = Routing(reason="right_tool", tool="open_app_tool")
WRONG = Routing(reason="wrong_tool", tool="mute_tool")
NO_CALL = Routing(reason="no_call")
SILENCE = Routing(reason="right_silence")
UNWANTED = Routing(reason="unwanted_call", tool="mute_tool")
MALFORMED = Routing(reason="malformed_call", problem="not_json")


def routed(
    row: ResultRow, base: Sequence[Routing | None], tuned: Sequence[Routing | None], **changes: Any
) -> ResultRow:
    """Return the row with the choices of both arms, one a replicate."""

    def give(samples: Sequence[Sample], found: Sequence[Routing | None]) -> list[Sample]:
        return [with_routing(one, way) for one, way in zip(samples, found, strict=True)]

    arms = (*give(row.of_arm("base"), base), *give(row.of_arm(row.adapter), tuned))
    return msgspec.structs.replace(row, samples=arms, **changes)


@pytest.fixture
def plain(make_report) -> Report:
    return make_report(categories=1, prompts=3, replicates=2)


@pytest.fixture
def report(plain) -> Report:
    """Three prompts: a tool the adapter learnt to choose, one wanted by none, and none wanted at all."""
    first, second, third = plain.results
    rows = (
        routed(first, [WRONG, NO_CALL], [RIGHT, RIGHT], expected_tool="open_app_tool"),
        routed(second, [None, None], [None, None], expected_tool=None),
        routed(third, [SILENCE, UNWANTED], [SILENCE, MALFORMED], expected_tool=None, no_tool=True),
    )
    return msgspec.structs.replace(plain, results=rows)


def with_tools(report: Report) -> Report:
    tool = Tool(name="open_app_tool", description="Ouvrir.", parameters={"type": "object"}, terms=("ouvre",))
    provenance = msgspec.structs.replace(
        report.provenance, generation=msgspec.structs.replace(report.provenance.generation, tools=(tool,))
    )
    return msgspec.structs.replace(report, provenance=provenance)


def test_the_share_of_right_choices_is_over_the_prompts_that_are_judged(report) -> None:
    candidate = insights(report).candidate
    for found in (candidate.metrics["tool_routing"], candidate.categories[0].metrics["tool_routing"]):
        assert (2, 0.25, 0.75) == (found.prompts, found.base.mean, found.finetuned.mean)


def test_the_reasons_are_counted_the_right_ones_first(report) -> None:
    found = insights(report).candidate.routing
    assert found is not None
    expected = {
        "right_tool": (0, 2),
        "right_silence": (1, 1),
        "wrong_tool": (1, 0),
        "no_call": (1, 0),
        "unwanted_call": (1, 0),
        "malformed_call": (0, 1),
    }
    assert expected == dict(found.reasons)
    assert ["right_tool", "right_silence"] == list(found.reasons)[:2]


def test_the_confusions_say_what_was_chosen_where_a_tool_or_none_was_wanted(report) -> None:
    found = insights(report).candidate.routing
    assert found is not None
    expected = (
        Confusion(expected="open_app_tool", prompts=1, base={"mute_tool": 1, "": 1}, finetuned={"open_app_tool": 2}),
        Confusion(expected="", prompts=1, base={"": 1, "mute_tool": 1}, finetuned={"": 1, "?malformed_call": 1}),
    )
    assert expected == found.confusions


def test_a_category_without_a_judged_prompt_has_no_share(make_report) -> None:
    made = make_report(categories=2, prompts=1, replicates=2)
    first, second = made.results
    rows = (routed(first, [WRONG, WRONG], [RIGHT, RIGHT], expected_tool="open_app_tool"), second)
    categories = insights(msgspec.structs.replace(made, results=rows)).candidate.categories
    assert ["Commandes vocales"] == [one.label for one in categories if "tool_routing" in one.metrics]


def test_nothing_is_said_of_what_was_not_judged(plain) -> None:
    candidate = insights(plain).candidate
    assert candidate.routing is None
    assert ["Similarité cosinus\u00a0: 0,80"] == choice_lines(plain)
    assert LABELS["tool_routing"][0].upper() not in render_text(plain, insights(plain))
    assert LABELS["tool_routing"][0] not in render_markdown(plain, insights(plain))
    assert word("routing.not_judged") in render_html(plain, insights(plain), {})


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        (RIGHT, "open_app_tool"),
        (WRONG, "mute_tool"),
        (Routing(reason="wrong_argument", tool="mute_tool", argument="x"), "mute_tool"),
        (SILENCE, ""),
        (NO_CALL, ""),
        (UNWANTED, "mute_tool"),
        (Routing(reason="unwanted_call"), "?tie"),
        (Routing(reason="tie"), "?tie"),
        (Routing(reason="several_calls"), "?several_calls"),
        (Routing(reason="unknown_tool", tool="lamp"), "?unknown_tool"),
        (MALFORMED, "?malformed_call"),
    ],
)
def test_each_choice_has_its_place_in_the_matrix(routing: Routing, expected: str) -> None:
    assert expected == cell_of(routing)
    assert wording.chosen_name(expected)[:1] != "?"


def test_a_judged_choice_is_what_makes_a_response_right(report) -> None:
    row = report.results[0]
    assert [False, False, True, True] == [is_right(sample, row, "expected_tool") for sample in row.samples]


def test_a_run_with_tools_says_that_words_say_little_and_that_the_demo_was_not_taught(report) -> None:
    shown = with_tools(report)
    assert (False, True) == (offers_tools(report), offers_tools(shown))
    assert [] == wording.run_notes(report)
    assert [word("routing.tools_offered"), word("routing.demo_untaught")] == wording.run_notes(shown)
    real = msgspec.structs.replace(shown, metadata=msgspec.structs.replace(shown.metadata, is_demo=False))
    assert [word("routing.tools_offered")] == wording.run_notes(real)


def test_the_terminal_has_a_line_for_each_share(report) -> None:
    statistics = report.statistics
    chosen = {"tool_routing": Figure(base=0.25, finetuned=0.75)}
    statistics = msgspec.structs.replace(statistics, figures=statistics.figures | chosen)
    of_one = msgspec.structs.replace(report.by_adapter[report.metadata.lora_adapter], statistics=statistics)
    shown = msgspec.structs.replace(report, by_adapter={report.metadata.lora_adapter: of_one})
    assert "Bon outil choisi\u00a0: 25,0\u00a0% → 75,0\u00a0% (+50,0\u00a0pt)" == choice_lines(shown)[0]


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        (SILENCE, "aucun outil, à raison"),
        (RIGHT, "bon outil (open_app_tool)"),
        (MALFORMED, "appel illisible\u00a0: pas du JSON"),
        (
            Routing(reason="wrong_argument", tool="set_timer_tool", argument="minutes"),
            "argument faux\u00a0: minutes (set_timer_tool)",
        ),
    ],
)
def test_a_choice_is_said_in_french(routing: Routing, expected: str) -> None:
    assert expected == wording.outcome(routing)
