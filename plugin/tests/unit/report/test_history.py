"""`history`: saved runs in series of comparable ones, as lines and as a picture."""

from __future__ import annotations

import re
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


def text_of(*reports: Report) -> str:
    return "\n".join(history_lines(series(*reports), "reports")).replace("\u00a0", " ")


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
    report = make_report(gains={"v1": 0.9, "v2": 0.0})
    found = entries(report)
    assert [(one.adapter, one.gain, one.is_candidate) for one in found] == [
        (name, report.decisions[name].gain, name == "v1") for name in ("v1", "v2")
    ]
    assert [one.verdict for one in found] == ["PASS", "FAIL"]
    table = [line for line in text_of(report).splitlines() if re.search(r"  *v[12]  ", line)]
    assert [line.split()[-1] for line in table] == ["accepté", "refusé"]
    assert table[0].startswith("2026-03-01")
    assert table[1].startswith(" " * 25)


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
    text = text_of(*reports)
    assert "(3 essais)" in text
    first, second = (text.partition(f"\nTendance : {name}\n")[2].partition("\n\n")[0] for name in ("v1", "v2"))
    assert [line[:10] for line in first.splitlines()] == ["2026-03-01", "2026-03-03"]
    assert [line[:10] for line in second.splitlines()] == ["2026-03-01", "2026-03-02", "2026-03-03"]
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


def test_the_trend_of_one_adapter_needs_no_name(make_report) -> None:
    assert "Tendance :" not in text_of(dated(make_report(), 1), dated(make_report(), 2))


def test_a_hundred_responses_are_not_cut(make_report) -> None:
    report = make_report()
    many = replace(report.decisions["jarvis"], replicates=(128, 128))
    assert " 128 " in text_of(change(report, decisions={"jarvis": many}))


def test_a_run_without_a_decision_has_no_interval_and_no_place_in_the_trend(make_report) -> None:
    report = make_report(metrics=False)
    assert (entry(change(report, decisions={})).gain, entry(report).in_trend) == (None, False)


def test_an_adapter_without_proof_has_no_digest(make_report) -> None:
    report = make_report()
    engine = replace(report.provenance.engine, adapters=())
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
    text = text_of(dated(report, 1), dated(report, 2, **changes))
    assert "Pas comparable à la précédente :" in " ".join(text.split())


def test_another_model_and_another_temperature_are_other_series(make_report) -> None:
    report = dated(make_report(), 1)
    hotter = dated(report, 2, generation=msgspec.structs.replace(report.provenance.generation, temperature=1.0))
    other = change(dated(report, 3), metadata=change(dated(report, 3).metadata, base_model="autre"))
    assert [(), ("generation.temperature",), ("base_model", "generation.temperature")] == [
        one.differs for one in series(report, hotter, other)
    ]


def test_the_list_fits_80_columns_whatever_the_names(make_report) -> None:
    reports = [make_report(gains={"un-adaptateur-au-nom-tres-long": gain}) for gain in (0.0, 0.4, 3.0)]
    text = text_of(*(dated(report, day, dirty=True) for day, report in enumerate(reports, start=1)))
    assert max(map(width_of, text.splitlines())) < 80
    assert "0123456+" in text


def test_the_trend_has_a_line_for_each_run_with_gain_and_interval(make_report) -> None:
    text = text_of(dated(make_report(), 1), dated(make_report(gains={"jarvis": 0.1}), 2))
    trend = [line for line in text.splitlines() if "o" in line and "─" in line and "[" in line and "%" in line]
    assert ["2026-03-01", "2026-03-02"] == [line[:10] for line in trend]
    assert all("│" in line for line in trend)


def test_a_huge_gain_stays_in_the_picture(make_report) -> None:
    huge = replace(entry(make_report()), gain=50.0, interval=(40.0, 60.0))
    lines = history_lines([replace(series(make_report())[0], entries=(huge,))], "reports")
    assert max(map(width_of, lines)) < 80


def test_replays_and_runs_of_the_base_against_itself_are_listed_and_not_drawn(make_report) -> None:
    report = make_report()
    replayed = replace(entry(report), is_replay=True)
    twin = replace(entry(report), is_twin=True)
    text = "\n".join(history_lines([replace(series(report)[0], entries=(replayed, twin))], "reports"))
    assert "relecture" in text
    assert "A/A" in text
    assert "Pas de tendance" in text


def test_an_interrupted_run_is_listed_as_such_and_not_drawn(make_report) -> None:
    whole = dated(make_report(), 1)
    stopped = change(dated(make_report(gains={"jarvis": 0.1}), 2), complete=False)
    text = text_of(whole, stopped)
    table, trend = text.split("\n\n")[1:3]
    assert ["accepté", "interrompu"] == [line.split()[-1] for line in table.splitlines()[2:]]
    assert ["2026-03-01"] == [line[:10] for line in trend.splitlines()]
    assert entry(stopped).gain is not None
    assert "Pas de tendance" in text_of(stopped)
    assert history_png(series(whole)) == history_png(series(whole, stopped))


def test_a_selection_of_prompts_is_listed_as_such_and_not_drawn(make_report) -> None:
    whole, part = dated(make_report(), 1), dated(make_report(gains={"jarvis": 0.9}), 2)
    reason = Reason(code="partial_selection", values={"selected": 10, "planned": 30})
    part = change(part, gate=replace(part.gate, verdict="NOT_JUDGED", reasons=(reason,)))
    text = text_of(whole, part)
    table, trend = text.split("\n\n")[1:3]
    assert ["accepté", "sélection"] == [line.split()[-1] for line in table.splitlines()[2:]]
    assert ["2026-03-01"] == [line[:10] for line in trend.splitlines()]


@pytest.mark.parametrize(("undrawn", "interrupted"), [(0.0, False), (3.0, True)])
def test_responses_that_failed_interrupt_no_run_and_those_never_drawn_do(
    make_report, undrawn: float, interrupted: bool
) -> None:
    report = make_report(failing=((0, "jarvis"),))
    missing = Reason(code="missing_pairs", values={"missing": 0, "selected": 3, "responses": undrawn})
    report = change(report, gate=replace(report.gate, reasons=(missing,)))
    assert (False, interrupted) == (report.complete, entry(report).is_interrupted)


def test_the_title_of_a_series_says_in_french_how_weights_are_stored(make_report) -> None:
    stored = replace(series(make_report())[0], quantization=Storage(format="nf4"))
    assert "NF4 (double quantification)" in "\n".join(history_lines([stored], "reports"))


def test_the_baseline_is_named_under_the_list(make_report) -> None:
    one = series(make_report())[0]
    marked = replace(one, entries=(replace(one.entries[0], is_baseline=True),))
    assert any("Référence" in line for line in history_lines([marked], "reports"))


def test_a_fake_engine_is_said(make_report) -> None:
    report = make_report()
    fake = change(report, metadata=change(report.metadata, is_real=False))
    assert "moteur factice" in text_of(fake)


def test_no_run_is_a_sentence() -> None:
    assert history_lines([], "reports") == [
        "Aucun essai sous reports\u00a0: pytest tests/ --jarvis-report en enregistre un."
    ]


def test_a_single_run_without_gain_is_drawn_on_the_zero_line(make_report) -> None:
    flat = replace(entry(make_report()), gain=0.0, interval=(0.0, 0.0))
    lines = history_lines([replace(series(make_report())[0], entries=(flat,))], "reports")
    assert any(line.startswith("2026-03-01 12:00 o") for line in lines)
