"""The bars of a configuration, measured on rows: which are judged, on what, and what an absent metric leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from samples import row, sample

from pytest_jarvis.inputs.config import BenchmarkSection, MetricBar
from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.report.analysis.thresholds import judge_rows
from pytest_jarvis.report.schema import ResultRow
from pytest_jarvis.stats.thresholds import Policy, Threshold
from pytest_jarvis.types import GatePlan, Primary

BASE = ((0.30, 0.34, 0.28, 0.32), (0.22, 0.25, 0.20, 0.21))
BETTER = ((0.50, 0.55, 0.48, 0.51), (0.42, 0.45, 0.44, 0.40))
A_LITTLE_WORSE = tuple(tuple(value * 0.95 for value in prompt) for prompt in BASE)
LOW, HIGH = ((0.0, 1.0, 0.0, 0.0),), ((1.0, 1.0, 0.0, 1.0),)
ABSENT = ((None,) * 4,) * 2

Values = Sequence[Sequence[float | Routing | None]]


def rows(metric: str, base: Values, tuned: Values) -> list[ResultRow]:
    """Return a row per prompt, by turns in the categories `c0` and `c1`, with one metric."""
    return [
        row(
            f"p{number}",
            *(
                sample(arm, replicate, **{metric: value})  # type: ignore[arg-type]
                for arm, values in (("base", one), ("jarvis", other))
                for replicate, value in enumerate(values)
            ),
            adapter="jarvis",
            category=f"c{number % 2}",
        )
        for number, (one, other) in enumerate(zip(base, tuned, strict=True))
    ]


def bars(found: list[ResultRow], policy: Policy = "proven", **section: Any) -> list[Threshold]:
    """Return the bars of a section, judged on these rows beside the relevance gain."""
    section = {"no_drop": (), **section}
    look = judge_rows({"jarvis": found}, BenchmarkSection(**section), GatePlan(policy=policy, looks=(4,)))
    return list(look.thresholds)


def test_no_bar_is_judged_that_is_not_set() -> None:
    assert [] == bars(rows("jarvis_relevance", BASE, BETTER))


def test_a_guard_is_left_out_where_its_metric_was_not_measured() -> None:
    guards = ("keyword_match", "tool_routing")
    judged = bars(rows("keyword_match", BETTER * 4, BASE * 4), no_drop=guards)
    assert [("no_drop", "keyword_match", "FAIL", "disproven")] == [
        (bar.name, bar.metric, bar.verdict, bar.why) for bar in judged
    ]


@pytest.mark.parametrize(("base", "tuned", "verdict"), [(BASE, BETTER, "FAIL"), (BETTER, BASE, "PASS")])
def test_a_drop_of_a_metric_of_which_less_is_better_is_a_rise(base: Values, tuned: Values, verdict: str) -> None:
    section = BenchmarkSection(no_drop=("politesse",))
    look = judge_rows({"jarvis": rows("politesse", base, tuned)}, section, GatePlan(looks=(4,)), [RUDE])
    assert [verdict] == [bar.verdict for bar in look.thresholds]


@pytest.mark.parametrize(("primary", "names"), [("relevance", ["done_share"]), ("deeds", ["done_gain", "done_share"])])
def test_the_deeds_have_a_least_share_and_may_be_the_headline(primary: Primary, names: list[str]) -> None:
    plan = GatePlan(primary=primary, looks=(4,))
    look = judge_rows({"jarvis": rows("deeds", LOW * 8, HIGH * 8)}, BenchmarkSection(no_drop=()), plan)
    assert [(name, "PASS") for name in names] == [(bar.name, bar.verdict) for bar in look.thresholds]


def test_the_deeds_as_headline_that_were_not_judged_are_a_bar_not_measured() -> None:
    look = judge_rows({"jarvis": rows("keyword_match", BASE, BETTER)}, BenchmarkSection(), GatePlan(primary="deeds"))
    assert [("done_gain", "not_measured"), ("done_share", "not_measured")] == [
        (bar.name, bar.why) for bar in look.thresholds[:2]
    ]


@pytest.mark.parametrize(
    ("tuned", "percent", "verdict", "why"),
    [
        (BETTER, 50, "PASS", "proven"),
        (BETTER, 110, "FAIL", "disproven"),
        (BETTER, 77, "INCONCLUSIVE", "undecided"),
        (A_LITTLE_WORSE, -20, "PASS", "proven"),
        (A_LITTLE_WORSE, 20, "FAIL", "disproven"),
        (BETTER, 900, "NOT_JUDGED", "out_of_reach"),
    ],
)
def test_a_gain_of_keywords_is_judged_also_against_a_loss_that_is_allowed(
    tuned: Values, percent: float, verdict: str, why: str
) -> None:
    (bar,) = bars(rows("keyword_share", BASE * 8, (*tuned,) * 8), min_keyword_gain_percent=percent)
    assert ("keyword_gain", "jarvis", percent / 100, verdict, why) == (
        bar.name,
        bar.adapter,
        bar.bar,
        bar.verdict,
        bar.why,
    )


def test_a_gain_of_keywords_is_a_share_of_the_base() -> None:
    (bar,) = bars(rows("keyword_share", ((0.2, 0.2),), ((0.3, 0.3),)), min_keyword_gain_percent=10)
    assert pytest.approx(0.5) == bar.value


@pytest.mark.parametrize(
    ("bar", "verdict", "why"), [(0.1, "PASS", "proven"), (0.4, "FAIL", "disproven"), (0.2, "INCONCLUSIVE", "undecided")]
)
def test_an_absolute_gain_is_judged_in_points_of_relevance(bar: float, verdict: str, why: str) -> None:
    (judged,) = bars(rows("jarvis_relevance", BASE * 8, BETTER * 8), min_absolute_gain=bar)
    assert ("absolute_gain", bar, verdict, why) == (judged.name, judged.bar, judged.verdict, judged.why)
    assert ("at_least", judged.value >= bar) == (judged.direction, judged.meets)
    assert pytest.approx(0.20375) == judged.value


@pytest.mark.parametrize(
    ("bar", "verdict", "why"),
    [(3.0, "PASS", "proven"), (1.2, "FAIL", "disproven"), (1.75, "INCONCLUSIVE", "undecided")],
)
def test_a_ratio_of_durations_is_held_under_its_bar(bar: float, verdict: str, why: str) -> None:
    (judged,) = bars(rows("seconds", BASE, BETTER), max_latency_ratio=bar)
    assert ("latency_ratio", bar, verdict, why) == (judged.name, judged.bar, judged.verdict, judged.why)
    assert ("at_most", judged.value <= bar) == (judged.direction, judged.meets)
    assert judged.value == pytest.approx(3.75 / 2.12)


def test_each_category_with_a_floor_is_judged_by_its_own_prompts() -> None:
    judged = bars(rows("jarvis_relevance", BASE * 8, BETTER * 8), category_floors={"c0": 0.4, "c1": 0.9})
    assert [("c0", "PASS"), ("c1", "FAIL")] == [(bar.category, bar.verdict) for bar in judged]
    assert [pytest.approx(0.51), pytest.approx(0.4275)] == [bar.value for bar in judged]


def test_a_floor_is_of_the_adapter_and_not_of_the_base() -> None:
    (bar,) = bars(rows("jarvis_relevance", BETTER * 8, BASE * 8), category_floors={"c0": 0.4})
    assert "FAIL" == bar.verdict
    assert pytest.approx(0.31) == bar.value


@pytest.mark.parametrize(
    ("name", "section", "found"),
    [
        ("keyword_gain", {"min_keyword_gain_percent": 5}, rows("jarvis_relevance", ABSENT, ABSENT)),
        ("absolute_gain", {"min_absolute_gain": 0.1}, rows("jarvis_relevance", ABSENT, ABSENT)),
        ("category_floor", {"category_floors": {"c0": 0.4}}, rows("jarvis_relevance", ABSENT, ABSENT)),
        ("routing_accuracy", {"min_routing_accuracy": 0.5}, rows("routing", ABSENT, ABSENT)),
        ("routing_gain", {"min_routing_gain": 0.1}, rows("routing", ABSENT, ABSENT)),
        ("latency_ratio", {"max_latency_ratio": 2.0}, []),
    ],
)
def test_a_bar_on_what_is_off_or_has_no_pair_is_not_measured(name: str, section: dict[str, Any], found) -> None:
    (bar,) = bars(found, **section)
    assert (name, "NOT_JUDGED", "not_measured", None) == (bar.name, bar.verdict, bar.why, bar.value)


def test_a_floor_of_a_category_without_prompts_is_not_measured() -> None:
    judged = bars(rows("jarvis_relevance", BASE * 8, BETTER * 8), category_floors={"c0": 0.4, "unknown": 0.4})
    assert ["proven", "not_measured"] == [bar.why for bar in judged]


def test_every_bar_follows_the_policy_and_stands_in_its_place() -> None:
    found = rows("jarvis_relevance", BASE, BETTER)
    section: dict[str, Any] = {
        "min_keyword_gain_percent": 5,
        "min_absolute_gain": 0.1,
        "max_latency_ratio": 2.0,
        "category_floors": {"c0": 0.4},
    }
    names = ["keyword_gain", "absolute_gain", "latency_ratio", "category_floor"]
    assert [(name, "gate_off") for name in names] == [(bar.name, bar.why) for bar in bars(found, "off", **section)]
    assert ["not_measured", "seen", "seen", "seen"] == [bar.why for bar in bars(found, "point", **section)]


POLITE = MetricSpec(name="politesse", label="Politesse")
RUDE = MetricSpec(name="politesse", label="Grossièreté", higher_is_better=False)
OF_PAIRS = MetricSpec(name="politesse", label="Accord", per="pair")


def judged_metric(spec: MetricSpec, found: list[ResultRow], policy: Policy = "proven", **asked: float) -> Threshold:
    section = BenchmarkSection(metric_bars={"politesse": MetricBar(**asked)}, no_drop=())
    (bar,) = judge_rows({"jarvis": found}, section, GatePlan(policy=policy, looks=(4,)), [spec]).thresholds
    return bar


@pytest.mark.parametrize(
    ("bar", "verdict", "why"), [(0.1, "PASS", "proven"), (0.4, "FAIL", "disproven"), (0.2, "INCONCLUSIVE", "undecided")]
)
def test_a_gain_of_an_added_metric_is_judged_like_the_absolute_gain(bar: float, verdict: str, why: str) -> None:
    judged = judged_metric(POLITE, rows("politesse", BASE, BETTER), min_gain=bar)
    assert ("metric_gain", "politesse", verdict, why) == (judged.name, judged.metric, judged.verdict, judged.why)
    assert pytest.approx(0.20375) == judged.value


@pytest.mark.parametrize(("bar", "verdict"), [(0.1, "PASS"), (0.4, "FAIL")])
def test_a_gain_where_lower_is_better_is_a_fall(bar: float, verdict: str) -> None:
    judged = judged_metric(RUDE, rows("politesse", BETTER, BASE), min_gain=bar)
    assert (-bar, "at_most", verdict) == (judged.bar, judged.direction, judged.verdict)
    assert pytest.approx(-0.20375) == judged.value


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ({"min_mean": 0.4}, "PASS"),
        ({"min_mean": 0.6}, "FAIL"),
        ({"max_mean": 0.6}, "PASS"),
        ({"max_mean": 0.4}, "FAIL"),
        ({"min_mean": 0.47}, "INCONCLUSIVE"),
    ],
)
@pytest.mark.parametrize("spec", [POLITE, OF_PAIRS])
def test_the_mean_of_an_added_metric_is_judged_by_its_interval(
    spec: MetricSpec, asked: dict[str, float], verdict: str
) -> None:
    judged = judged_metric(spec, rows("politesse", BASE if spec is POLITE else ABSENT, BETTER), **asked)
    assert ("metric_mean", verdict) == (judged.name, judged.verdict)
    assert pytest.approx(0.46875) == judged.value


@pytest.mark.parametrize("asked", [{"min_gain": 0.1}, {"min_mean": 0.1}, {"max_mean": 0.1}])
def test_an_added_metric_that_no_response_has_is_a_bar_not_measured(asked: dict[str, float]) -> None:
    judged = judged_metric(POLITE, rows("jarvis_relevance", BASE, BETTER), **asked)
    assert ("NOT_JUDGED", "not_measured", None) == (judged.verdict, judged.why, judged.value)


def test_a_metric_that_nobody_declared_is_a_bar_not_measured() -> None:
    section = BenchmarkSection(metric_bars={"autre": MetricBar(min_mean=0.1)}, no_drop=())
    found = rows("politesse", BASE, BETTER)
    (bar,) = judge_rows({"jarvis": found}, section, GatePlan(), [POLITE]).thresholds
    assert ("autre", "not_measured") == (bar.metric, bar.why)


RIGHT, WRONG = Routing(reason="right_tool", tool="mute_tool"), Routing(reason="no_call")
OFTEN_WRONG = ((WRONG, WRONG, RIGHT, WRONG), (WRONG, WRONG, WRONG, WRONG))
MOSTLY_RIGHT = ((RIGHT, RIGHT, RIGHT, WRONG), (RIGHT, RIGHT, RIGHT, RIGHT))


@pytest.mark.parametrize(("bar", "verdict", "why"), [(0.5, "PASS", "proven"), (0.9, "INCONCLUSIVE", "undecided")])
def test_the_choice_of_the_tool_is_held_above_a_share(bar: float, verdict: str, why: str) -> None:
    (judged,) = bars(rows("routing", OFTEN_WRONG * 4, MOSTLY_RIGHT * 4), min_routing_accuracy=bar)
    assert ("routing_accuracy", 0.875, bar, verdict, why) == (
        judged.name,
        judged.value,
        judged.bar,
        judged.verdict,
        judged.why,
    )


@pytest.mark.parametrize(("bar", "verdict"), [(0.25, "PASS"), (0.75, "INCONCLUSIVE"), (1.0, "INCONCLUSIVE")])
def test_the_choice_of_the_tool_is_held_above_the_bases(bar: float, verdict: str) -> None:
    (judged,) = bars(rows("routing", OFTEN_WRONG, MOSTLY_RIGHT), min_routing_gain=bar)
    assert ("routing_gain", 0.75, verdict) == (judged.name, judged.value, judged.verdict)


def test_durations_of_two_sessions_are_not_compared() -> None:
    found = [
        msgspec.structs.replace(
            one, samples=tuple(msgspec.structs.replace(item, reused=item.arm == "base") for item in one.samples)
        )
        for one in rows("seconds", BASE, BETTER)
    ]
    (bar,) = bars(found, max_latency_ratio=3.0)
    assert ("latency_ratio", "not_measured") == (bar.name, bar.why)
