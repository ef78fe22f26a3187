"""What is left out of an added metric, and in which order they come; what is said of them is in golden files."""

from __future__ import annotations

import msgspec

from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.report.analysis.metrics import line_metrics, line_specs
from pytest_jarvis.report.schema import MetricAverages, ResultRow

POLITE = MetricSpec(name="politesse", label="Politesse")
AGREED = MetricSpec(name="accord", label="Accord", per="pair", higher_is_better=False)
REPLACE = msgspec.structs.replace


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


def test_metrics_that_only_the_hook_gave_come_last_by_name(make_report) -> None:
    rows = [
        REPLACE(row, samples=tuple(REPLACE(one, scores=one.scores | {"z": 1.0, "b": 2.0}) for one in row.samples))
        for row in make_report(categories=1, prompts=1).results
    ]
    assert ["politesse", "accord", "b", "z"] == [spec.name for spec in line_specs(rows, [POLITE, AGREED])]
