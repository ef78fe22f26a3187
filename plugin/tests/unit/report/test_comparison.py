"""`report.comparison`: what two saved runs share is compared, and what not is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from samples import with_scores

from pytest_jarvis.report.comparison import (
    MetricDifference,
    compare_prompts,
    compare_runs,
    is_comparable,
    judge_regression,
    obstacles_between,
    pair_adapters,
    setting_changes,
)
from pytest_jarvis.report.schema import Report, ResultRow, Sample
from pytest_jarvis.stats.gate import Reason
from pytest_jarvis.stats.regression import StoredRun

change = msgspec.structs.replace


def of(report: Report, **changes: object) -> Report:
    """Return the report with other provenance."""
    return change(report, provenance=change(report.provenance, **changes))


def generated(report: Report, **changes: object) -> Report:
    return of(report, generation=msgspec.structs.replace(report.provenance.generation, **changes))


def each_row(report: Report, edit: Callable[[ResultRow], ResultRow]) -> Report:
    return change(report, results=tuple(edit(row) for row in report.results))


def each_sample(report: Report, edit: Callable[[Sample], Sample]) -> Report:
    return each_row(report, lambda row: change(row, samples=tuple(edit(sample) for sample in row.samples)))


def stored(adapter: str = "jarvis") -> StoredRun:
    return StoredRun(report="a", sha256="0", timestamp="t", commit=None, adapter=adapter, chosen="named")


def given(report: Report, **scores: float | None) -> Report:
    """Return the report with these scores in every sample."""
    return each_sample(report, lambda one: with_scores(one, **scores))


def overall(before: Report, after: Report) -> dict[str, MetricDifference]:
    """Return the differences of the first adapter over all categories, by metric; those of the base left out."""
    metrics = compare_runs(before, after).arms[0].metrics
    return {one.metric: one for one in metrics if not (one.category or one.of_base)}


def judge(new: Report, before: Report, adapter: str = "jarvis"):
    return judge_regression(new, before, stored(adapter), asked="a", fail=True, strict=False)


def test_prompts_are_shared_by_id_and_text(make_report) -> None:
    before = make_report()
    after = change(before, results=before.results[2:])
    after = change(after, results=(change(after.results[0], prompt="autre"), *after.results[1:]))
    after = change(after, results=(*after.results, change(after.results[5], prompt_id="neuf")))
    overlap = compare_prompts(before, after)
    assert (overlap.only_stored, overlap.only_new, overlap.changed) == (("c0-0000", "c0-0001"), ("neuf",), ("c0-0002",))
    assert len(overlap.common) == 27


@pytest.mark.parametrize(
    ("before", "after", "named", "expected"),
    [
        (("a",), ("a",), None, (("a", "a"),)),
        (("a", "b"), ("b", "c"), None, (("b", "b"),)),
        (("v1",), ("v2",), None, (("v1", "v2"),)),
        (("a", "b"), ("a", "b"), {"a": "b"}, (("a", "b"),)),
    ],
    ids=["same name", "what both have", "by position", "as asked"],
)
def test_adapters_are_paired(make_report, before, after, named, expected) -> None:
    runs = [make_report(gains=dict.fromkeys(names, 0.4)) for names in (before, after)]
    assert pair_adapters(*runs, named) == expected


@pytest.mark.parametrize("named", [{"x": "jarvis"}, {"jarvis": "x"}])
def test_an_adapter_that_is_not_there_is_an_error_with_those_that_are(make_report, named) -> None:
    with pytest.raises(ValueError, match="no adapter 'x'; there are: jarvis"):
        pair_adapters(make_report(), make_report(), named)


def test_settings_that_differ_are_named_with_both_values(make_report) -> None:
    before = make_report()
    after = generated(before, seed=7, temperature=0.2)
    after = of(after, versions={**before.provenance.versions, "torch": "9.9"}, keyword_mode="words")
    proof = after.provenance.engine.adapters[0]
    after = of(
        after,
        engine=msgspec.structs.replace(
            after.provenance.engine, adapters=(msgspec.structs.replace(proof, sha256="f" * 64),)
        ),
    )
    found = {one.name: (one.stored, one.new) for one in setting_changes(before, after, [("jarvis", "jarvis")])}
    assert found["generation.seed"] == ("0", "7")
    assert found["generation.temperature"] == ("0.7", "0.2")
    assert found["versions.torch"][1] == "9.9"
    assert found["adapter.jarvis"] == ("0123456789ab", "f" * 12)
    assert "keyword_mode" not in found


def test_another_way_to_look_for_keywords_is_named(make_report) -> None:
    before, after = of(make_report(), keyword_mode="words"), of(make_report(), keyword_mode="substring")
    assert [one.name for one in setting_changes(before, after, [])] == ["keyword_mode"]


def test_the_same_run_twice_has_no_difference(make_report) -> None:
    found = compare_runs(make_report(), make_report())
    assert found.changes == ()
    assert {0.0} == {one.difference.difference for one in found.arms[0].metrics}
    assert {(0, 4)} == {(one.texts_changed, one.texts) for one in found.arms[0].prompts}


def test_every_metric_has_its_difference_overall_and_by_category(make_report) -> None:
    metrics = compare_runs(make_report(), make_report(seed=2)).arms[0].metrics
    columns = {(name, False) for name in ("deeds", "jarvis_relevance", "keyword_share", "cosine_similarity")}
    of_base = {(name, True) for name in ("deeds", "jarvis_relevance", "keyword_share")}
    assert columns | of_base == {(one.metric, one.of_base) for one in metrics}
    assert {"", "categorie_0", "categorie_1", "categorie_2"} == {one.category for one in metrics}
    assert {0.01} == {one.difference.alpha for one in metrics}


def test_one_category_is_not_said_twice(make_report) -> None:
    report = make_report(categories=1)
    assert {""} == {one.category for one in compare_runs(report, report).arms[0].metrics}


def test_texts_that_differ_are_counted_by_replicate(make_report) -> None:
    before = make_report()
    after = each_sample(
        before,
        lambda sample: (
            change(sample, response=msgspec.structs.replace(sample.response, text="autre"))
            if sample.replicate == 2
            else sample
        ),
    )
    assert {(1, 4)} == {(one.texts_changed, one.texts) for one in compare_runs(before, after).arms[0].prompts}


def test_a_prompt_that_dropped_by_more_than_noise_is_marked(make_report) -> None:
    before = make_report(replicates=8)
    worse = before.results[3].prompt_id

    def edit(row: ResultRow) -> ResultRow:
        samples = tuple(with_scores(one, jarvis_relevance=0.0) if one.arm == "jarvis" else one for one in row.samples)
        return change(row, samples=samples) if row.prompt_id == worse else row

    prompts = compare_runs(before, each_row(before, edit)).arms[0].prompts
    assert [worse] == [one.prompt_id for one in prompts if one.p_worse is not None]


def test_cosines_of_responses_are_compared_where_both_runs_have_them(make_report) -> None:
    def cosines(value: float) -> Report:
        return each_sample(
            make_report(), lambda one: with_scores(one, cosine_similarity={"jarvis": value}.get(one.arm))
        )

    before, after = cosines(0.5), cosines(0.6)
    cosine = overall(before, after)["cosine_similarity"]
    assert cosine.difference.difference == pytest.approx(0.1)
    assert cosine.difference.target == "these"


def test_metrics_that_others_added_are_compared_where_both_runs_have_them(make_report) -> None:
    found = overall(given(make_report(), near=0.5, words=3.0, old=1.0), given(make_report(), near=0.5, words=5.0))
    assert (found["words"].difference.difference, found["near"].difference.difference) == (2.0, 0.0)
    assert "old" not in found


def test_replicates_of_one_run_alone_are_not_compared_as_texts(make_report) -> None:
    found = compare_runs(make_report(replicates=4), make_report(replicates=8)).arms[0].prompts
    assert {4} == {one.texts for one in found}


def test_a_prompt_that_one_adapter_has_no_row_for_is_left_out(make_report) -> None:
    report = make_report(gains={"a": 0.4, "b": 0.4})
    kept = (row for row in report.results if (row.adapter, row.prompt_id[-1]) != ("b", "3"))
    lacking = change(report, results=tuple(kept))
    assert [30, 27] == [len(arm.prompts) for arm in compare_runs(report, lacking).arms]


def test_a_prompt_without_relevance_is_left_out_of_the_difference(make_report) -> None:
    report = make_report()
    first = report.results[0].prompt_id

    def edit(row: ResultRow) -> ResultRow:
        return change(row, samples=tuple(with_scores(one, jarvis_relevance=None) for one in row.samples), figures={})

    silent = each_row(report, lambda row: edit(row) if row.prompt_id == first else row)
    assert overall(silent, report)["jarvis_relevance"].prompts == 29


def test_runs_without_scores_have_no_metric(make_report) -> None:
    report = make_report(metrics=False)
    assert {"jarvis": ()} == {one.new_adapter: one.metrics for one in compare_runs(report, report).arms}


def test_a_drop_is_judged_overall_and_by_category(make_report) -> None:
    outcome = judge(make_report(gains={"jarvis": 0.0}, seed=3), make_report(gains={"jarvis": 1.5}))
    assert (outcome.verdict, outcome.exit_failed) == ("DROP", True)
    scopes = ["", "categorie_0", "categorie_1", "categorie_2"]
    measured = [(metric, scope) for metric in ("jarvis_relevance", "deeds") for scope in scopes]
    assert measured == [(test.metric, test.category) for test in outcome.tests]


def test_the_former_self_may_have_another_name(make_report) -> None:
    outcome = judge(make_report(gains={"v2": 0.4}), make_report(gains={"v1": 0.4}), adapter="v1")
    assert (outcome.verdict, outcome.adapter) == ("NO_DROP", "v2")


def test_what_keeps_two_runs_from_being_judged(make_report) -> None:
    report = make_report()
    partial = change(report, gate=_with_reason(report, "partial_selection"))
    elsewhere = each_row(report, lambda row: change(row, prompt_id=f"x{row.prompt_id}"))
    fake = change(report, metadata=change(report.metadata, is_real=not report.metadata.is_real))
    assert obstacles_between(report, partial) == ("run_not_judged",)
    assert obstacles_between(partial, report) == ("stored_not_judged",)
    assert obstacles_between(report, fake) == ("other_kind",)
    assert obstacles_between(make_report(gains={"base_bis": 0.0}), report) == ("other_kind",)
    assert obstacles_between(report, of(report, dictionary_hash="z")) == ("other_dictionary",)
    assert obstacles_between(report, of(report, relevance_share=0.5)) == ("other_dictionary",)
    assert obstacles_between(report, elsewhere) == ("no_common_prompt",)
    assert obstacles_between(report, generated(report, seed=9)) == ()


def test_scores_that_count_other_terms_have_no_difference(make_report) -> None:
    outcome = judge(of(make_report(gains={"jarvis": 0.0}), dictionary_hash="z"), make_report(gains={"jarvis": 1.5}))
    assert (outcome.verdict, outcome.tests) == ("NOT_JUDGED", ())


def test_runs_without_relevance_are_not_judged(make_report) -> None:
    silent = each_row(make_report(), lambda row: change(row, figures={}))
    assert judge(given(silent, jarvis_relevance=None, deeds=None), make_report()).obstacles == ("not_measured",)


def test_another_seed_is_comparable_another_temperature_is_not(make_report) -> None:
    report = make_report()
    assert is_comparable(generated(report, seed=3, timeout_s=None), report)
    assert not is_comparable(generated(report, temperature=0.1), report)


def test_runs_of_another_model_storage_or_adapter_are_not_comparable(make_report) -> None:
    report = make_report()
    for changes in ({"base_model": "autre"}, {"quantization": "16 bits"}):
        assert not is_comparable(change(report, metadata=change(report.metadata, **changes)), report)
    assert not is_comparable(make_report(gains={"autre": 0.4}), report)
    assert not is_comparable(change(report, gate=_with_reason(report, "failures")), report)


def _with_reason(report: Report, code: str):
    return replace(report.gate, reasons=(Reason(code=code),))  # type: ignore[arg-type]
