"""`history`: saved runs in series of comparable ones, as lines and as a picture."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from pytest_jarvis.render.charts.history import history_png
from pytest_jarvis.render.french.formats import width_of
from pytest_jarvis.render.saved_runs import history_lines
from pytest_jarvis.report.history import HistoryEntry, Series, group_series, history_entries
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.gate import Reason
from pytest_jarvis.types import Storage

change = msgspec.structs.replace


def dated(report: Report, day: int, **provenance: object) -> Report:
    metadata = change(report.metadata, timestamp=f"2026-03-{day:02}T10:00:00+00:00")
    return change(report, metadata=metadata, provenance=change(report.provenance, **provenance))


def series(*reports: Report) -> tuple[Series, ...]:
    return group_series([(entries(report, str(number)), report) for number, report in enumerate(reports)])


def entries(report: Report, name: str = "run", **more: str) -> tuple[HistoryEntry, ...]:
    return history_entries(report, f"reports/{name}/report.json", name, **more)


def entry(report: Report, name: str = "run", **more: str) -> HistoryEntry:
    [one] = entries(report, name, **more)
    return one


def lines_of(*reports: Report) -> list[str]:
    return history_lines(series(*reports), "reports")


def test_an_entry_holds_the_gain_and_interval_that_the_gate_judged(make_report) -> None:
    report = make_report()
    found = entry(report)
    assert (found.gain, found.interval) == (report.decisions["jarvis"].gain, report.decisions["jarvis"].gain_these)
    assert found.adapter_sha256 == "0123456789abcdef" * 4
    assert found.in_trend


def test_one_response_a_prompt_has_the_interval_for_new_prompts(make_report) -> None:
    report = make_report(replicates=1)
    assert entry(report).interval == report.decisions["jarvis"].gain_new


def test_each_adapter_of_a_run_has_its_own_line_with_its_own_gain_and_verdict(make_report) -> None:
    report = make_report(gains={"v1": 0.9, "v2": -0.5})
    found = entries(report)
    assert [(one.adapter, one.gain, one.is_candidate) for one in found] == [
        (name, report.decisions[name].gain, name == "v1") for name in ("v1", "v2")
    ]
    assert [one.verdict for one in found] == ["PASS", "FAIL"]


def test_an_unjudged_run_of_several_is_unjudged_for_each(make_report) -> None:
    report = make_report(gains={"v1": 0.9, "v2": 0.0})
    report = change(report, gate=replace(report.gate, verdict="NOT_JUDGED"))
    assert [one.verdict for one in entries(report)] == ["NOT_JUDGED"] * 2


def test_a_verdict_given_early_counts_the_responses_it_rests_on(make_report) -> None:
    report = make_report(gains={"v1": 0.9, "v2": 0.0})
    early = replace(report.decisions["v1"], replicates=(2, 2))
    report = change(report, decisions={**report.decisions, "v1": early})
    assert [one.replicates for one in entries(report)] == [2, 4]


def test_each_adapter_has_a_trend_of_its_own_by_name(make_report) -> None:
    both = {"v1": 0.4, "v2": 0.1}
    reports = [dated(make_report(gains=gains), day) for day, gains in ((1, both), (2, {"v2": 0.2}), (3, both))]
    [one] = series(*reports)
    assert (3, {"v1": 2, "v2": 3}) == (one.runs, {name: len(points) for name, points in one.trends.items()})
    assert history_png([one]) != history_png([replace(one, entries=one.entries[::2])])


def test_a_fifth_adapter_has_a_colour_of_the_first_and_another_marker(make_report, monkeypatch) -> None:
    from matplotlib.axes import Axes

    looks, scatter = set(), Axes.scatter

    def seen(axes: Axes, *places: object, **style: object) -> object:
        looks.add((style["color"], style["marker"]))
        return scatter(axes, *places, **style)

    monkeypatch.setattr(Axes, "scatter", seen)
    history_png(series(make_report(gains={f"v{number}": 0.1 for number in range(5)}, prompts=2, replicates=2)))
    assert len(looks) == 5
    assert len({colour for colour, _ in looks}) == 4


def test_a_run_without_a_decision_has_no_interval_and_no_place_in_the_trend(make_report) -> None:
    report = make_report(metrics=False)
    assert (entry(change(report, decisions={})).gain, entry(report).in_trend) == (None, False)


def test_an_adapter_without_proof_has_no_digest(make_report) -> None:
    report = make_report()
    engine = msgspec.structs.replace(report.provenance.engine, adapters=())
    assert entry(dated(report, 1, engine=engine)).adapter_sha256 is None


def test_the_baseline_is_known_by_its_digest(make_report) -> None:
    assert entry(make_report(), "abc", baseline_sha256="abc").is_baseline
    assert not entry(make_report(), "abc").is_baseline


def test_runs_are_listed_from_the_oldest_to_the_newest(make_report) -> None:
    [one] = series(dated(make_report(), 9), dated(make_report(), 2), dated(make_report(), 5))
    assert ["02", "05", "09"] == [run.timestamp[8:10] for run in one.entries]


def test_another_seed_is_the_same_series(make_report) -> None:
    report = make_report()
    other = msgspec.structs.replace(report.provenance.generation, seed=4, timeout_s=1.0)
    assert len(series(dated(report, 1), dated(report, 2, generation=other))) == 1


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"prompt_hash": "c" * 64}, ("prompts",)),
        ({"dictionary_hash": "c" * 64}, ("dictionary",)),
        ({"relevance_share": 0.5}, ("relevance_share",)),
    ],
)
def test_runs_that_are_not_comparable_are_apart_and_say_why(make_report, changes, differs) -> None:
    report = make_report()
    first, second = series(dated(report, 1), dated(report, 2, **changes))
    assert (first.differs, second.differs) == ((), differs)


def test_another_model_and_another_temperature_are_other_series(make_report) -> None:
    report = dated(make_report(), 1)
    hotter = dated(report, 2, generation=msgspec.structs.replace(report.provenance.generation, temperature=1.0))
    other = change(dated(report, 3), metadata=change(dated(report, 3).metadata, base_model="autre"))
    assert [(), ("generation.temperature",), ("base_model", "generation.temperature")] == [
        one.differs for one in series(report, hotter, other)
    ]


@pytest.mark.parametrize(("undrawn", "interrupted"), [(0.0, False), (3.0, True)])
def test_responses_that_failed_interrupt_no_run_and_those_never_drawn_do(
    make_report, undrawn: float, interrupted: bool
) -> None:
    report = make_report(failing=((0, "jarvis"),))
    missing = Reason(code="missing_pairs", values={"missing": 0, "selected": 3, "responses": undrawn})
    report = change(report, gate=replace(report.gate, reasons=(missing,)))
    assert (False, interrupted) == (report.complete, entry(report).is_interrupted)


def test_the_lists_and_the_trends_of_every_kind_of_run(make_report, golden) -> None:
    report = make_report()
    one = series(report)[0]
    long = [make_report(gains={"un-adaptateur-au-nom-tres-long": gain}) for gain in (0.0, 0.4, 3.0)]
    both = [make_report(gains=gains) for gains in ({"v1": 0.9, "v2": 0.0}, {"v2": 0.2}, {"v1": 0.4, "v2": 0.1})]
    many = replace(report.decisions["jarvis"], replicates=(128, 128))
    reason = Reason(code="partial_selection", values={"selected": 10, "planned": 30})
    later = dated(make_report(gains={"jarvis": 0.1}), 2)
    part = change(later, gate=replace(later.gate, verdict="NOT_JUDGED", reasons=(reason,)))
    stored = replace(one, quantization=Storage(format="nf4"))

    def edited(*edits: dict[str, object]) -> list[str]:
        return history_lines([replace(one, entries=tuple(replace(entry(report), **edit) for edit in edits))], "reports")

    cases = {
        "no run": history_lines([], "reports"),
        "one adapter, whose trend needs no name": lines_of(dated(report, 1), later),
        "adapters with trends of their own": lines_of(*(dated(each, day) for day, each in enumerate(both, start=1))),
        "long names": lines_of(*(dated(each, day, dirty=True) for day, each in enumerate(long, start=1))),
        "a hundred responses": lines_of(change(report, decisions={"jarvis": many})),
        "other prompts": lines_of(dated(report, 1), dated(report, 2, prompt_hash="c" * 64)),
        "an interrupted run is not drawn": lines_of(dated(report, 1), change(later, complete=False)),
        "an interrupted run alone": lines_of(change(later, complete=False)),
        "a selection is not drawn": lines_of(dated(report, 1), part),
        "a fake engine": lines_of(change(report, metadata=change(report.metadata, is_real=False))),
        "how weights are stored": history_lines([stored], "reports"),
        "a huge gain": edited({"gain": 50.0, "interval": (40.0, 60.0)}),
        "no gain": edited({"gain": 0.0, "interval": (0.0, 0.0)}),
        "replays and A/A runs are not drawn": edited({"is_replay": True}, {"is_twin": True}),
        "the baseline": edited({"is_baseline": True}),
    }
    assert [line for lines in cases.values() for line in lines if width_of(line) >= 80] == []
    assert golden == "\n".join(f"=== {name}\n{chr(10).join(lines)}\n" for name, lines in cases.items())


def test_a_run_that_is_not_drawn_changes_no_picture(make_report) -> None:
    whole = dated(make_report(), 1)
    stopped = change(dated(make_report(gains={"jarvis": 0.1}), 2), complete=False)
    assert entry(stopped).gain is not None
    assert history_png(series(whole)) == history_png(series(whole, stopped))
