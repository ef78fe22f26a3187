"""What a report says of added metrics: means, differences, intervals, and how much was left out; in every output."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from pytest_jarvis.inputs.config import BenchmarkSection, MetricBar
from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.render.html.page import render_html
from pytest_jarvis.report.analysis.insights import insights
from pytest_jarvis.report.analysis.metrics import line_metrics, line_specs
from pytest_jarvis.report.analysis.thresholds import judge_metric_bars
from pytest_jarvis.report.schema import MetricAverages, Report, ResultRow, Sample
from pytest_jarvis.types import GatePlan

POLITE = MetricSpec(name="politesse", label="Politesse")
AGREED = MetricSpec(name="accord", label="Accord", per="pair", higher_is_better=False)
REPLACE = msgspec.structs.replace


def measured(sample: Sample, prompt_id: str) -> Sample:
    """Return the sample with both metrics: 0.2 for the base, 0.6 for an adapter; none in the first replicate."""
    if sample.replicate == 0:
        return sample
    tuned = sample.arm != "base"
    value = (0.6 if tuned else 0.2) + sample.replicate / 100 + prompt_id.startswith("c1") / 10
    pair = {"accord": 250.0 + sample.replicate} if tuned else {}
    return REPLACE(sample, scores=sample.scores | {"politesse": value} | pair)


def with_metrics(report: Report) -> Report:
    rows = tuple(
        REPLACE(row, samples=tuple(measured(sample, row.prompt_id) for sample in row.samples)) for row in report.results
    )
    found = line_metrics(
        [POLITE, AGREED],
        {name: [row for row in rows if row.adapter == name] for name in report.metadata.adapters},
        list(report.by_category),
        dict.fromkeys(report.metadata.adapters, 0.05),
        shared_noise=True,
    )
    section = BenchmarkSection(metric_bars={"politesse": MetricBar(min_gain=0.1), "accord": MetricBar(max_mean=1)})
    name = report.metadata.lora_adapter
    bars = judge_metric_bars(section, [POLITE, AGREED], name, rows, plan=GatePlan())
    gate = dataclasses.replace(report.gate, thresholds=(*report.gate.thresholds, *bars))
    return REPLACE(report, results=rows, metrics=found, gate=gate)


@pytest.fixture(scope="module")
def report(make_report) -> Report:
    return with_metrics(make_report(categories=2, prompts=3))


def test_means_and_the_difference_of_a_metric_of_responses(report) -> None:
    found = report.metrics["politesse"].by_adapter["jarvis"].overall
    assert (6, 2 * 6, pytest.approx(0.27), pytest.approx(0.67), pytest.approx(0.4)) == (
        found.prompts,
        found.not_measured,
        found.base,
        found.finetuned,
        found.value,
    )
    assert found.interval is not None
    low, high = found.interval
    assert low <= 0.4 + 1e-9
    assert high >= 0.4 - 1e-9


def test_means_per_category(report) -> None:
    found = report.metrics["politesse"].by_adapter["jarvis"].by_category
    assert [pytest.approx(0.22), pytest.approx(0.32)] == [one.base for one in found.values()]


def test_the_mean_of_pairs(report) -> None:
    found = report.metrics["accord"].by_adapter["jarvis"].overall
    assert (6, 6, None, None, 252.0) == (found.prompts, found.not_measured, found.base, found.finetuned, found.value)


def test_what_no_response_has_is_not_zero(make_report) -> None:
    plain = make_report(categories=1, prompts=2)
    rows = list(plain.results)
    found = line_metrics([POLITE, AGREED], {"jarvis": rows}, [], {"jarvis": 0.05}, shared_noise=True)
    nothing = MetricAverages(prompts=0, not_measured=0, base=None, finetuned=None, value=None)
    assert REPLACE(nothing, not_measured=2 * 2 * 4) == found["politesse"].by_adapter["jarvis"].overall
    assert REPLACE(nothing, not_measured=2 * 4) == found["accord"].by_adapter["jarvis"].overall


def test_a_pair_without_its_partner_is_not_counted_as_left_out(make_report) -> None:
    row: ResultRow = make_report(categories=1, prompts=1).results[0]
    alone = REPLACE(row, samples=tuple(one for one in row.samples if one.arm != "base" or one.replicate < 2))
    found = line_metrics([AGREED], {"jarvis": [alone]}, [], {"jarvis": 0.05}, shared_noise=True)
    assert found["accord"].by_adapter["jarvis"].overall.not_measured == 2


def test_metrics_that_only_the_hook_gave_come_last_by_name(report) -> None:
    rows = [
        REPLACE(row, samples=tuple(REPLACE(one, scores=one.scores | {"z": 1.0, "b": 2.0}) for one in row.samples))
        for row in report.results
    ]
    assert ["politesse", "accord", "b", "z"] == [spec.name for spec in line_specs(rows, [POLITE, AGREED])]


def test_the_page_has_columns_sorting_and_bars(report) -> None:
    page = render_html(report, insights(report), {})
    for wanted in (
        '<th scope="col">Politesse</th>',
        '<th scope="col">Accord (par paire)</th>',
        "changement de Politesse",
        '<option value="extra-1-tuned">Accord (par paire)</option>',
        '"extras":[["Politesse",1,0],["Accord (par paire)",0,1]]',
    ):
        assert wanted in page
    assert "extra-1-change" not in page
