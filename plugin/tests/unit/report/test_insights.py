"""`insights`: what a report says, as values."""

import time
from collections.abc import Callable

import msgspec
import pytest
from samples import with_scores

from pytest_jarvis.report.analysis.changes import is_right
from pytest_jarvis.report.analysis.insights import insights, rank_adapters
from pytest_jarvis.report.schema import Figure, Report, ResultRow, Sample
from pytest_jarvis.stats.sequential import crossing_probability


def with_rows(report: Report, change: Callable[[int, ResultRow], ResultRow]) -> Report:
    """Return the report with each row changed."""
    rows = tuple(change(place, row) for place, row in enumerate(report.results))
    return msgspec.structs.replace(report, results=rows)


def with_means(row: ResultRow, metric: str, base: float, tuned: float) -> ResultRow:
    """Return the row with the same value of a metric in all responses of an arm, and of no other metric."""
    none = dict.fromkeys(("deeds", "keyword_share", "jarvis_relevance"))
    samples = tuple(
        with_scores(one, **none | {metric: tuned if one.arm == row.adapter else base}) for one in row.samples
    )
    return msgspec.structs.replace(row, samples=samples, figures={metric: Figure(base=base, finetuned=tuned)})


def test_the_overall_interval_is_that_of_the_decision(make_report) -> None:
    candidate = insights(make_report()).candidate
    assert candidate.decision is not None
    relevance = candidate.metrics["jarvis_relevance"]
    assert relevance.change.interval == pytest.approx(candidate.decision.absolute_these)
    assert relevance.change.difference == pytest.approx(candidate.decision.absolute_gain)
    assert candidate.decision.gain_these is not None
    assert relevance.ratio.interval == pytest.approx([end + 1 for end in candidate.decision.gain_these])


def test_every_category_has_its_means_with_intervals(make_report) -> None:
    report = make_report(categories=8, prompts=5)
    categories = insights(report).candidate.categories
    assert [one.category for one in categories] == list(report.by_category)
    for one in categories:
        for name in ("jarvis_relevance", "keyword_share"):
            found, means = one.metrics[name], one.averages.figure(name)
            assert found.base.interval is not None
            assert (pytest.approx(means.base), pytest.approx(means.finetuned)) == (
                found.base.mean,
                found.finetuned.mean,
            )


def test_improvements_and_weaknesses_are_the_ends_of_the_order_and_share_no_prompt(make_report) -> None:
    candidate = insights(make_report()).candidate
    order = sorted(one.change for one in candidate.changes)
    assert [one.change for one in candidate.improvements] == pytest.approx(order[:-6:-1])
    assert [one.change for one in candidate.weaknesses] == pytest.approx(order[:5])
    named = [one.row.prompt_id for one in (*candidate.improvements, *candidate.weaknesses)]
    assert len(named) == len(set(named))


def test_a_prompt_that_did_not_rise_is_no_improvement(make_report) -> None:
    report = with_rows(
        make_report(), lambda place, row: with_means(row, "jarvis_relevance", 0.2, 0.3 if place == 4 else 0.2)
    )
    candidate = insights(report).candidate
    assert [one.row.prompt_id for one in candidate.improvements] == ["c0-0004"]
    assert len(candidate.weaknesses) == 5


@pytest.mark.parametrize("metric", ["deeds", "jarvis_relevance"])
def test_a_clear_drop_is_a_regression(make_report, metric: str) -> None:
    report = with_rows(
        make_report(gains={"jarvis": 0.1}),
        lambda place, row: with_means(row, metric, 0.9, 0.1) if place == 7 else with_means(row, metric, 0.5, 0.5),
    )
    regressions = insights(report).candidate.regressions
    assert [one.row.prompt_id for one in regressions] == ["c0-0007"]
    assert regressions[0].p_worse is not None
    assert regressions[0].p_worse < 0.001


def test_a_wrong_deed_has_not_improved_whatever_its_words_and_an_action_always_done_is_no_weakness(make_report) -> None:
    def change(place: int, row: ResultRow) -> ResultRow:
        done = 1.0 if place else 0.0
        samples = tuple(
            with_scores(one, deeds=done, keyword_share=float(one.arm == row.adapter), jarvis_relevance=0.1)
            for one in row.samples
        )
        return msgspec.structs.replace(row, samples=samples, figures={})

    candidate = insights(with_rows(make_report(categories=1, prompts=8), change)).candidate
    assert "c0-0000" not in {one.row.prompt_id for one in candidate.improvements}
    assert ["c0-0000"] == [one.row.prompt_id for one in candidate.weaknesses]


def flip_row(row: ResultRow, base: int, tuned: int) -> ResultRow:
    """Return a row without deeds whose arms name the expected tool first in so many of their responses."""

    def tools(one: Sample) -> tuple[str, ...]:
        right = one.replicate < (tuned if one.arm == row.adapter else base)
        return ("open_app_tool", "mute_tool") if right else ("mute_tool", "open_app_tool")

    samples = tuple(
        with_scores(msgspec.structs.replace(one, tools_named=tools(one)), deeds=None) for one in row.samples
    )
    return msgspec.structs.replace(row, expected_tool="open_app_tool", samples=samples)


@pytest.mark.parametrize(
    ("base", "tuned", "gained", "lost"),
    [(0, 4, 1, 0), (4, 0, 0, 1), (2, 3, 1, 0), (3, 2, 0, 1), (2, 2, 0, 0), (3, 4, 0, 0)],
)
def test_an_arm_has_a_prompt_right_in_more_than_half_of_its_responses(
    make_report, base: int, tuned: int, gained: int, lost: int
) -> None:
    report = with_rows(make_report(categories=1, prompts=1), lambda _, row: flip_row(row, base, tuned))
    flips = insights(report).candidate.flips[0]
    assert flips.criterion == "expected_tool"
    assert (len(flips.gained), len(flips.lost)) == (gained, lost)
    assert flips.share.base.mean == base / 4


def test_a_prompt_without_an_expected_tool_is_neither_right_nor_wrong(make_report) -> None:
    row = next(row for row in make_report().results if row.expected_tool is None)
    assert is_right(row.samples[0], row, "expected_tool") is None


def test_a_metric_that_is_off_is_absent_not_zero(make_report) -> None:
    candidate = insights(make_report(metrics=False)).candidate
    assert "jarvis_relevance" not in candidate.metrics
    assert "keyword_share" not in candidate.metrics
    assert candidate.changes == ()
    assert candidate.weakest is None
    assert "characters" in candidate.metrics


def test_a_failed_prompt_is_left_out_of_the_means(make_report) -> None:
    found = insights(make_report(failing=((0, "jarvis"),)))
    assert found.candidate.metrics["jarvis_relevance"].prompts == 29
    assert [(one.arm, one.responses) for one in found.failures] == [("jarvis", 4)]


def test_several_adapters_are_ranked_with_the_base(make_report) -> None:
    found = insights(make_report(gains={"jarvis": 0.4, "faible": 0.0, "pire": -0.5}))
    assert found.ranking is not None
    places = [place.name for place in found.ranking.arms]
    assert places[0] == "jarvis"
    assert places[-1] == "pire"
    assert found.of_adapter("pire").advice is not None
    with pytest.raises(KeyError):
        found.of_adapter("base")


def test_a_ranking_of_responses_that_were_drawn_in_looks_is_held_to_all_of_them(make_report) -> None:
    report = make_report(gains={"v1": 0.4, "v2": 0.0})
    plan = report.metadata.plan

    def level(looks: tuple[int, ...]) -> float:
        metadata = msgspec.structs.replace(report.metadata, plan=msgspec.structs.replace(plan, looks=looks))
        ranking = rank_adapters(msgspec.structs.replace(report, metadata=metadata))
        assert ranking is not None
        return ranking.alpha

    assert plan.alpha == level((4,))
    # Whatever share Holm gives a pair, all looks together err with no more than it.
    for pairs in (1, 2, 3):
        assert crossing_probability(level((4, 8, 16)) / pairs / 2, (4, 8, 16)) <= 1.01 * plan.alpha / pairs / 2


def test_the_bases_twin_shares_no_noise_with_it(make_report) -> None:
    report = make_report(gains={"base_bis": 0.0})
    same = with_rows(
        report,
        lambda _, row: msgspec.structs.replace(
            row, samples=tuple(with_scores(one, jarvis_relevance=0.1 + 0.1 * one.replicate) for one in row.samples)
        ),
    )
    relevance = insights(same).candidate.metrics["jarvis_relevance"]
    assert relevance is not None
    assert relevance.change.standard_error is not None
    assert relevance.change.standard_error > 0


def test_three_thousand_prompts_take_seconds(make_report) -> None:
    report = make_report(prompts=1000, replicates=2)
    started = time.process_time()
    assert len(insights(report).candidate.changes) == 3000
    assert time.process_time() - started < 10


def test_a_category_to_work_on_is_named_where_the_adapter_gains_or_the_category_is_weak(make_report) -> None:
    assert insights(make_report(gains={"jarvis": 0.4})).candidate.weakest is not None
    no_gain = insights(make_report(gains={"pire": -0.4})).candidate
    assert no_gain.weakest is None or no_gain.weakest.shown


def test_one_response_per_prompt_has_no_share_of_decoding(make_report) -> None:
    assert insights(make_report()).candidate.decoding_share is not None
    assert insights(make_report(replicates=1)).candidate.decoding_share is None
