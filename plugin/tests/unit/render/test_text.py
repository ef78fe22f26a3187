"""`report.txt`: 80 columns, French typography, and nothing that commands a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest

from pytest_jarvis.render.french import width_of
from pytest_jarvis.render.french.labels import SECTIONS
from pytest_jarvis.render.text.document import render_text
from pytest_jarvis.render.text.layout import paragraph, table, wrap
from pytest_jarvis.report.analysis.insights import insights
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.ranking import noise_floor

MakeReport = Callable[..., Report]

HOSTILE = "a\x1b[31mrouge\x07\r\n<b>\u202e\u2066abc\x9b2J e\u0301 漢字\U0001f44d " * 20
REPORTS: list[dict[str, object]] = [
    {},
    {"categories": 8, "prompts": 5},
    {"gains": {"jarvis": 0.4, "faible": 0.02, "variante-au-nom-vraiment-long": 0.3, "pire": -0.4}},
    {"measured": False},
    {"metrics": False},
    {"failing": ((0, "base"), (5, "jarvis")), "reason": HOSTILE},
    {"categories": 1, "prompts": 1, "replicates": 1},
    {"text": HOSTILE, "prompt_text": HOSTILE, "label": HOSTILE},
    {"text": "mot" * 300, "label": "Compréhension des commandes vocales déformées par le micro du salon"},
    {"text": "", "gains": {"pire": -0.6}},
    {"base_terms": 0.0, "gains": {"jarvis": 0.0}},
    {"base_terms": 19.5, "gains": {"jarvis": 0.0}},
]


def text_of(report: Report) -> str:
    """Return the text of a report."""
    return render_text(report, insights(report))


def part_of(text: str, section: str) -> str:
    """Return the lines under the title of a section, up to the next one."""
    after = text.partition(f"\n{SECTIONS[section]}\n{'─' * 80}")[2]
    return after.partition(f"\n{'─' * 80}")[0]


@pytest.mark.parametrize("changes", REPORTS, ids=range(len(REPORTS)))
def test_no_line_is_wider_than_eighty_columns(make_report: MakeReport, changes: dict[str, object]) -> None:
    assert [line for line in text_of(make_report(**changes)).splitlines() if width_of(line) > 80] == []


@pytest.mark.parametrize("changes", REPORTS, ids=range(len(REPORTS)))
def test_control_characters_never_reach_the_text(make_report: MakeReport, changes: dict[str, object]) -> None:
    unprintable = {char for char in text_of(make_report(**changes)) if not (char.isprintable() or char in "\n\u00a0")}
    assert set() == unprintable


@pytest.mark.parametrize("changes", REPORTS, ids=range(len(REPORTS)))
def test_the_same_report_gives_the_same_text(make_report: MakeReport, changes: dict[str, object]) -> None:
    report = make_report(**changes)
    assert text_of(report) == text_of(report)


def test_a_whole_report_has_every_part_and_more_than_a_hundred_lines(make_report: MakeReport) -> None:
    lines = text_of(make_report(gains={"jarvis": 0.4, "faible": 0.0})).splitlines()
    titles = {line.removesuffix(" – jarvis") for line in lines}
    assert [title for title in SECTIONS.values() if title not in titles] == [SECTIONS["noise"]]
    assert len(lines) > 100


def test_with_several_adapters_every_part_says_whose_it_is(make_report: MakeReport) -> None:
    text = text_of(make_report(gains={"v1": 0.6, "v2": 0.0}))
    assert "modèle de démonstration embarqué + v1, v2" in text
    assert {f"{SECTIONS[key]} – v1" for key in ("statistics", "categories", "flips", "responses")} <= set(
        text.split("\n")
    )
    verdict, advice = part_of(text, "verdict"), part_of(text, "recommendations")
    for name in ("v1", "v2"):
        assert f"\n  {name}\u00a0: pertinence" in verdict
        assert f"\n  {name}\u00a0: " in advice


def test_all_adapters_stand_side_by_side_and_each_other_has_its_own_figures(make_report: MakeReport) -> None:
    report = make_report(gains={"v1": 0.6, "v2": 0.0, "v3": 0.2})
    text = text_of(report)
    table = part_of(text, "side_by_side")
    assert [4, 4, 4] == [len(re.findall(rf"^    {name} ", table, re.MULTILINE)) for name in ("v1", "v2", "v3")]
    others = part_of(text, "adapters")
    for name in ("v2", "v3"):
        assert re.search(rf"Mesure +base +{name} +écart", others)
        assert re.search(rf"Pertinence JARVIS +prompts +base +{name} +gain", others)


def test_the_cosine_of_any_two_texts_stands_beside_that_of_the_adapter_it_was_measured_with(
    make_report: MakeReport,
) -> None:
    text = text_of(make_report(gains={"v1": 0.6, "v2": 0.0}))
    assert "Cosinus de référence" in text.partition("LES AUTRES ADAPTATEURS")[0]
    assert "Cosinus de référence" not in part_of(text, "adapters")


def test_one_adapter_has_nothing_beside_it(make_report: MakeReport) -> None:
    lines = text_of(make_report()).splitlines()
    assert {SECTIONS["side_by_side"], SECTIONS["adapters"], f"{SECTIONS['flips']} – jarvis"}.isdisjoint(lines)


def test_punctuation_has_its_no_break_spaces(make_report: MakeReport) -> None:
    text = text_of(make_report(text="bien.", failing=((0, "base"),)))
    assert re.findall(r".{0,10} [:;?!»%].{0,5}|.{0,5}« .{0,5}", text) == []


def test_decimals_are_commas_and_minus_is_a_minus(make_report: MakeReport) -> None:
    text = text_of(make_report(gains={"pire": -0.4}))
    verdict = text[text.index("VERDICT") : text.index("PROVENANCE")]
    assert re.search(r"−\d+,\d", verdict)
    assert re.findall(r"[^\w]-\d|\d\.\d", verdict) == []


@pytest.mark.parametrize(
    ("gain", "advice"),
    [(0.6, "✓ Fine-tuning EFFICACE"), (-0.4, "✗ Fine-tuning INSUFFISANT")],
)
def test_the_advice_says_whether_it_is_proven(make_report: MakeReport, gain: float, advice: str) -> None:
    text = text_of(make_report(gains={"jarvis": gain}))
    line = text[text.index(advice) :].partition("\n\n")[0]
    assert "c’est prouvé" in line


def test_an_advice_without_proof_says_so(make_report: MakeReport) -> None:
    text = text_of(make_report(gains={"jarvis": 0.3}, replicates=1, prompts=1))
    assert "pas prouvé" in text


def test_a_fake_engine_and_a_partial_report_are_told_at_once(make_report: MakeReport) -> None:
    report = make_report(failing=((0, "base"),))
    fake = msgspec.structs.replace(
        report, metadata=msgspec.structs.replace(report.metadata, is_real=False, full_selection=False)
    )
    head = text_of(fake).partition("CE QUI A ÉTÉ COMPARÉ")[0]
    assert "moteur factice" in head
    assert "Rapport incomplet" in head
    assert "Sélection partielle" in head


def test_the_base_against_itself_has_a_noise_floor_and_no_advice(make_report: MakeReport) -> None:
    report = make_report(gains={"base_bis": 0.0})
    floor = noise_floor([[0.1, 0.2], [0.3, 0.2]], [[0.2, 0.2], [0.1, 0.3]])
    text = text_of(msgspec.structs.replace(report, noise_floor={"jarvis_relevance": floor}))
    assert SECTIONS["noise"] in text
    assert "plancher" in text
    assert "Fine-tuning" not in text


def test_shares_stay_between_nothing_and_all(make_report: MakeReport) -> None:
    text = text_of(make_report(prompts=1, replicates=4))
    part = text[text.index(SECTIONS["statistics"]) : text.index(SECTIONS["categories"])]
    intervals = re.findall(r"\[([−+\d,]+)\u00a0; ([−+\d,]+)\]", part)
    arms = [float(end.replace(",", ".")) for pair in intervals for end in pair if end[0] not in "+−"]
    assert arms
    assert min(arms) >= 0


def test_both_responses_of_a_change_are_shown(make_report: MakeReport) -> None:
    text = text_of(make_report())
    part = text[text.index(SECTIONS["improvements"]) : text.index(SECTIONS["weaknesses"])]
    assert part.count("D'accord, j'ouvre l'application demandée.") == 10


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("un deux trois", 8, ["un deux", "trois"]),
        ("a\u00a0: b", 3, ["a\u00a0:", "b"]),
        ("漢字漢字", 5, ["漢字", "漢字"]),
        ("e\u0301" * 4, 2, ["e\u0301e\u0301", "e\u0301e\u0301"]),
        ("", 5, [""]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
    ],
)
def test_text_is_broken_by_columns(text: str, width: int, expected: list[str]) -> None:
    assert expected == wrap(text, width)


def test_what_is_left_out_ends_with_an_ellipsis() -> None:
    assert wrap("un deux trois quatre", 8, most=1) == ["un deux…"]


def test_columns_stay_aligned_under_accents_and_wide_characters() -> None:
    lines = table(("nom", "a"), [("é" * 4, "1"), ("e\u0301" * 4, "2"), ("漢字", "3")], (6, 3))
    assert {width_of(line) for line in lines} == {2 + 6 + 1 + 3}


def test_a_paragraph_keeps_its_indent() -> None:
    assert all(line.startswith("    ") for line in paragraph("mot " * 60, indent="    "))
