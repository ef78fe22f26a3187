"""Reports of every kind, for tests that show them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from samples import with_routing, with_scores

from pytest_jarvis.inputs.contamination import Leak
from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.report.analysis.metrics import line_metrics
from pytest_jarvis.report.comparison import judge_regression
from pytest_jarvis.report.schema import JudgedContamination, ReplayOf, Report, ResultRow, Sample
from pytest_jarvis.stats.regression import StoredRun
from pytest_jarvis.types import Tool

MakeReport = Callable[..., Report]
change = msgspec.structs.replace
HOSTILE = "a\x1b[31mrouge\x07\r\n<b>`|*x*\u202e\u2066abc\x9b2J e\u0301 漢字\U0001f44d [l](http://x.y) @moi " * 20


def settled_early(make_report: MakeReport) -> Report:
    """Return the report of a run that went on for `v2` after `v1` was settled at 2 of 4 responses a prompt."""
    report = make_report(gains={"v1": 0.4, "v2": 0.0})
    early = dataclasses.replace(report.decisions["v1"], replicates=(2, 2), gain=0.777, gain_these=(0.7, 0.85))
    plan = change(report.metadata.plan, looks=(2, 4))
    return change(report, decisions={**report.decisions, "v1": early}, metadata=change(report.metadata, plan=plan))


def early_not_judged(make_report: MakeReport) -> Report:
    """Return the same run where nothing is judged."""
    report = settled_early(make_report)
    return change(report, gate=dataclasses.replace(report.gate, verdict="NOT_JUDGED", thresholds=()))


def fewer_responses(make_report: MakeReport) -> Report:
    """Return a run of two adapters with as many responses as no look has: some failed."""
    report = make_report(gains={"v1": 0.4, "v2": 0.0})
    fewer = dataclasses.replace(report.decisions["v1"], replicates=(3, 3))
    return change(report, decisions={**report.decisions, "v1": fewer})


def doubtful(make_report: MakeReport) -> Report:
    """Return a replayed part of a fake run, some of it trained on, that stopped before its verdict."""
    report = make_report(failing=((0, "base"), (5, "jarvis")))
    leak = Leak(prompt_id="c0-0001", kind="exact", similarity=1.0, file="train.jsonl", line=7, text="ouvre la fenêtre")
    return change(
        report,
        gate=dataclasses.replace(report.gate, verdict="NOT_JUDGED", thresholds=()),
        metadata=change(report.metadata, is_real=False, full_selection=False),
        contamination=JudgedContamination(
            files=("train.jsonl",),
            texts=10,
            prompts=30,
            leaks={"c0-0001": (leak,)},
            counts={"c0-0001": 1},
            decisions={},
        ),
        provenance=change(
            report.provenance,
            commit=None,
            responses_reused={"base": 12, "jarvis": 0},
            responses_generated={"base": 0, "jarvis": 12},
            replay=ReplayOf(
                report="out/report.json",
                sha256="c" * 64,
                timestamp="2026-02-01T12:00:00+00:00",
                commit=None,
                machine=report.provenance.machine,
                plan=report.metadata.plan,
                replicates=4,
                stopped_short=True,
                cosines="prompts",
                prompt_hash="a" * 64,
                dictionary_hash="b" * 64,
            ),
        ),
    )


def routed(
    row: ResultRow, base: Sequence[Routing | None], tuned: Sequence[Routing | None], **changes: Any
) -> ResultRow:
    """Return the row with the choices of both arms, one a replicate."""

    def give(samples: Sequence[Sample], found: Sequence[Routing | None]) -> list[Sample]:
        return [with_routing(one, way) for one, way in zip(samples, found, strict=True)]

    arms = (*give(row.of_arm("base"), base), *give(row.of_arm(row.adapter), tuned))
    return change(row, samples=arms, **changes)


def with_tools(make_report: MakeReport, **recipe: object) -> Report:
    """Return a run with tools to call: right, wrong, none and unreadable choices."""
    report = make_report(categories=1, prompts=3, replicates=2, **recipe)
    right, wrong, none = (
        Routing(reason="right_tool", tool="open_app_tool"),
        Routing(reason="wrong_tool", tool="mute_tool"),
        Routing(reason="no_call"),
    )
    silence, unread = Routing(reason="right_silence"), Routing(reason="malformed_call", problem="not_json")
    rows = []
    for row in report.results:
        if row.prompt_id == "c0-0000":
            rows.append(
                routed(row, [wrong, none], [right, right], expected_tool="open_app_tool", intended="ouvre <chrome>")
            )
        else:
            rows.append(routed(row, [silence, wrong], [silence, unread], expected_tool=None, no_tool=True))
    tool = Tool(name="open_app_tool", description="Ouvrir.", parameters={"type": "object"}, terms=("ouvre",))
    generation = msgspec.structs.replace(report.provenance.generation, tools=(tool,), system_prompt="Sois bref.")
    return change(report, results=tuple(rows), provenance=change(report.provenance, generation=generation))


def with_metrics(make_report: MakeReport) -> Report:
    """Return a run with a metric of responses and one of pairs, which the first replicates are without."""
    report = make_report(categories=2, prompts=3)
    specs = [
        MetricSpec(name="politesse", label="Politesse"),
        MetricSpec(name="accord", label="Accord", per="pair", higher_is_better=False),
    ]

    def measured(sample: Sample) -> Sample:
        tuned, value = sample.arm != "base", sample.replicate / 100
        scores = {"politesse": (0.6 if tuned else 0.2) + value}
        scores |= {"accord": 250.0 + sample.replicate} if tuned else {}
        return with_scores(sample, **scores) if sample.replicate else sample

    rows = tuple(change(row, samples=tuple(map(measured, row.samples))) for row in report.results)
    found = line_metrics(specs, {"jarvis": rows}, list(report.by_category), {"jarvis": 0.05}, shared_noise=True)
    return change(report, results=rows, metrics=found)


def dropped(make_report: MakeReport) -> Report:
    """Return a run whose candidate is proven worse than it was, and worse than its base."""
    report = make_report(gains={"pire": -0.6}, replicates=16)
    run = StoredRun(
        report="avant/report.json",
        sha256="d" * 64,
        timestamp="2026-02-01T12:00:00+00:00",
        commit=None,
        adapter="pire",
        chosen="named",
    )
    outcome = judge_regression(
        report, make_report(gains={"pire": 0.4}, replicates=16), run, asked="avant", fail=False, strict=False
    )
    return change(report, regression=outcome)


KINDS: Mapping[str, Callable[[MakeReport], Report]] = {
    "one": lambda make: make(),
    "several": settled_early,
    "not-judged": early_not_judged,
    "fewer-responses": fewer_responses,
    "against-itself": lambda make: make(gains={"base_bis": 0.0}),
    "doubtful": doubtful,
    "nothing-measured": lambda make: make(measured=False),
    "tools": with_tools,
    "tools-of-several": lambda make: with_tools(make, gains={"v1": 0.4, "v2": 0.1}),
    "metrics": with_metrics,
    "regression": dropped,
}


@pytest.fixture(scope="session", params=KINDS)
def report(request, make_report) -> Report:
    """Return a report of each kind."""
    return KINDS[request.param](make_report)


@pytest.fixture(scope="session")
def early(make_report) -> Report:
    """Return a report of two adapters, the first settled before the last response was drawn."""
    return settled_early(make_report)


EXTREMES: Mapping[str, dict[str, object]] = {
    "many categories": {"categories": 8, "prompts": 5},
    "several": {"gains": {"jarvis": 0.4, "faible": 0.02, "variante-au-nom-vraiment-long": 0.3, "pire": -0.4}},
    "no metric": {"metrics": False},
    "one prompt": {"categories": 1, "prompts": 1, "replicates": 1},
    "hostile": {
        **dict.fromkeys(("text", "prompt_text", "label", "reason"), HOSTILE),
        "failing": ((0, "base"), (5, "jarvis")),
    },
    "long": {"text": "mot" * 300, "label": "Compréhension des commandes vocales déformées par le micro du salon"},
    "empty": {"text": "", "gains": {"pire": -0.6}},
    "a base of 0": {"base_terms": 0.0, "gains": {"jarvis": 0.0}},
    "a high base": {"base_terms": 19.5, "gains": {"jarvis": 0.0}},
    "long texts": {"prompts": 100, "replicates": 2, "text": "`<b>" * 500, "prompt_text": "|" * 5000},
    "hundreds of categories": {"categories": 200, "prompts": 1, "replicates": 2, "label": "*" * 500},
    "many adapters": {"gains": {f"v{number}": 0.1 for number in range(60)}, "prompts": 2, "replicates": 2},
}


@pytest.fixture(scope="session", params=EXTREMES)
def extreme(request, make_report) -> Report:
    """Return a report with little or much of everything."""
    return make_report(**EXTREMES[request.param])
