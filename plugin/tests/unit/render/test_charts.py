"""Charts: their data as values, the page of 4200 x 3000 pixels, and panels that can stand in a page."""

import io
import os
import re
import subprocess
import sys
import warnings
from xml.etree import ElementTree

import pytest

from pytest_jarvis.render.charts import chart_png, chart_svgs
from pytest_jarvis.render.charts.data import MOST_ADAPTERS, MOST_GROUPS, chart_data
from pytest_jarvis.report.analysis.insights import insights

FOUR = {"jarvis": 0.4, "faible": 0.02, "variante-au-nom-vraiment-long": 0.3, "pire": -0.4}
HOSTILE = '<img src=x onerror="a">\x1b[31m $x_$ \u202e 漢字 \U0001f44d'


def size_of(png: bytes) -> tuple[int, int]:
    """Return the width and height that a PNG declares."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def test_the_picture_is_fourteen_by_ten_inches_at_300_dots_and_the_same_twice(make_report) -> None:
    report = make_report()
    png = chart_png(report, insights(report))
    assert size_of(png) == (4200, 3000)
    assert chart_png(report, insights(report)) == png


@pytest.mark.parametrize(
    "changes",
    [{"categories": 8, "prompts": 2, "gains": FOUR, "label": HOSTILE}, {"measured": False}, {"metrics": False}],
    ids=["hostile", "nothing measured", "metrics off"],
)
def test_panels_are_drawn_whatever_the_report(make_report, changes: dict[str, object]) -> None:
    report = make_report(**changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svgs = chart_svgs(report, insights(report))
    assert list(svgs) == ["relevance", "keywords", "scores", "key_numbers"]
    for svg in svgs.values():
        ElementTree.fromstring(svg)  # noqa: S314  # our own
    assert chart_svgs(report, insights(report)) == svgs


def test_a_panel_can_stand_in_a_page_beside_others(make_report) -> None:
    report = make_report(categories=1, prompts=2, label=HOSTILE)
    svgs = chart_svgs(report, insights(report))
    for svg in svgs.values():
        assert svg.startswith('<svg role="img" aria-label="')
        assert re.findall(r"<\?xml|<!DOCTYPE|<style|<script|<img|<metadata|\x1b|\u202e|@font-face", svg) == []
        assert "currentColor" in svg
    ids = [name for svg in svgs.values() for name in re.findall(r'\sid="([^"]*)"', svg)]
    assert len(ids) == len(set(ids))
    used = {name for svg in svgs.values() for name in re.findall(r'(?:url\(#|href="#)([^")]*)', svg)}
    assert used <= set(ids)


def test_a_users_settings_and_figures_are_left_alone(make_report) -> None:
    import matplotlib as mpl

    report = make_report(categories=1, prompts=2)
    plain = chart_svgs(report, insights(report))
    with mpl.rc_context({"font.size": 40, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert chart_svgs(report, insights(report)) == plain
        assert mpl.rcParams["font.size"] == 40


def test_a_backend_that_is_not_installed_costs_no_picture() -> None:
    code = "from pytest_jarvis.render.charts.frame import plain_style\nwith plain_style('x'): pass"
    environment = {**os.environ, "MPLBACKEND": "module://nowhere.inline"}
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, env=environment)
    assert (0, b"") == (done.returncode, done.stderr)


def test_bars_hold_the_means_and_intervals_of_the_insights(make_report) -> None:
    report = make_report(gains=FOUR)
    found = insights(report)
    panel = chart_data(report, found).relevance
    assert panel.arms == ("base", *FOUR)
    for group, category in zip(panel.groups, found.candidate.categories, strict=False):
        base, tuned = group.bars[:2]
        assert base is not None
        assert tuned is not None
        assert (base.value, tuned.value) == (
            category.metrics["jarvis_relevance"].base.mean,
            category.metrics["jarvis_relevance"].finetuned.mean,
        )
        assert tuned.interval == pytest.approx(category.metrics["jarvis_relevance"].finetuned.interval)


def test_the_overall_bars_stand_last_and_only_beside_several_categories(make_report) -> None:
    for categories, expected in ((1, 1), (3, 4), (8, 9)):
        report = make_report(categories=categories, prompts=2)
        assert len(chart_data(report, insights(report)).relevance.groups) == expected


def test_too_many_categories_or_adapters_are_counted_not_squeezed_in(make_report) -> None:
    gains = {f"v{number}": 0.1 for number in range(6)}
    report = make_report(categories=20, prompts=2, gains=gains, replicates=2)
    panel = chart_data(report, insights(report)).keywords
    assert len(panel.groups) == MOST_GROUPS + 1
    assert len(panel.arms) == MOST_ADAPTERS + 1
    assert "12 catégories sur 20" in panel.note


def test_the_shares_of_an_arms_scores_add_up(make_report) -> None:
    report = make_report(gains=FOUR)
    scores = chart_data(report, insights(report)).scores
    assert [sum(shares) for shares in scores.shares] == pytest.approx([1] * 5)
    assert len(scores.edges) == len(scores.shares[0]) + 1


def test_scores_of_one_stay_in_the_last_bin(make_report) -> None:
    report = make_report(base_terms=40.0, gains={"jarvis": 0.0})
    scores = chart_data(report, insights(report)).scores
    assert scores.shares[0][-1] == pytest.approx(1)


@pytest.mark.parametrize("terms", [0.0, 1.0, 4.0, 40.0])
def test_no_bin_of_scores_is_below_0_or_above_1(make_report, terms: float) -> None:
    report = make_report(base_terms=terms, gains={"jarvis": 0.0})
    scores = chart_data(report, insights(report)).scores
    assert scores.edges[0] == 0
    assert scores.edges[-1] <= 1
    assert list(scores.edges) == sorted(set(scores.edges))


def test_each_score_is_counted_in_the_bin_around_it(make_report) -> None:
    report = make_report()
    scores = chart_data(report, insights(report)).scores
    relevance = [one.score("jarvis_relevance") for row in report.results for one in row.of_arm("base")]
    for place, share in enumerate(scores.shares[0]):
        low, high = scores.edges[place : place + 2]
        inside = sum(low <= score < high or (score == high == scores.edges[-1]) for score in relevance)
        assert share == pytest.approx(inside / len(relevance))


def test_what_was_not_measured_has_no_bar(make_report) -> None:
    report = make_report(measured=False)
    data = chart_data(report, insights(report))
    assert {bar for group in data.relevance.groups for bar in group.bars} == {None}
    assert data.key_numbers.verdict == "NOT_JUDGED"


@pytest.mark.parametrize("adapters", [1, 2, 3, 4])
def test_a_key_number_is_shown_of_every_adapter_or_of_none(make_report, adapters: int) -> None:
    report = make_report(gains=dict(list(FOUR.items())[:adapters]))
    rows = [label.partition(" (")[0] for label, _ in chart_data(report, insights(report)).key_numbers.rows]
    assert {rows.count(label) for label in rows if label in {"Gain de pertinence", "Pertinence JARVIS"}} == {adapters}


def test_the_picture_is_one_that_pillow_reads(make_report) -> None:
    from PIL import Image

    report = make_report(categories=1, prompts=1, replicates=1)
    with Image.open(io.BytesIO(chart_png(report, insights(report)))) as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
