"""What each kind of report says in every output: golden files, and what holds of all of them."""

import re
from html import unescape

import msgspec
import pytest

from pytest_jarvis.render import terminal
from pytest_jarvis.render.blocks import Column
from pytest_jarvis.render.charts.data import chart_data
from pytest_jarvis.render.french.formats import width_of
from pytest_jarvis.render.html.page import render_html
from pytest_jarvis.render.markdown import MOST_CHARACTERS, append_step_summary, code, escape_label, render_markdown
from pytest_jarvis.render.text import paragraph, render_text, table, wrap
from pytest_jarvis.report.analysis.insights import insights, rank_adapters
from pytest_jarvis.report.schema import Controls, Report


def text_of(report: Report) -> str:
    """Return the text of a report."""
    return render_text(report, insights(report))


def summary_of(report: Report) -> str:
    """Return the summary of a report."""
    return render_markdown(report, insights(report))


def test_the_text_of_each_kind_of_report(report, golden) -> None:
    assert golden == text_of(report)


def test_the_summary_of_each_kind_of_report(report, golden) -> None:
    assert golden == summary_of(report)


def test_the_words_of_the_page_of_each_kind_of_report(report, golden) -> None:
    body = render_html(report, insights(report), {}).partition("<main>")[2].partition('<section id="liste"')[0]
    cells = re.sub(r"</(td|th|dt)>", " | ", re.sub(r"<svg.*?</svg>", "", body, flags=re.DOTALL))
    lines = (line.strip() for line in unescape(re.sub("<[^>]*>", "", cells)).splitlines())
    assert golden == "\n".join(line for line in lines if line)


def test_the_last_lines_on_a_terminal_and_the_box_beside_the_charts(report, golden) -> None:
    box = chart_data(report, insights(report)).key_numbers
    lines = [
        *terminal.summary_table(report),
        *terminal.choice_lines(report),
        *terminal.metric_lines(report),
        *terminal.ranking_lines(report, rank_adapters(report)),
        *(terminal.noise_lines(report.noise_floor) if report.noise_floor else ()),
        *terminal.decision_lines(report),
        *terminal.gate_lines(report.gate, report.metadata.plan, report.metrics),
        *terminal.regression_lines(report),
        *terminal.caution_lines(report),
    ]
    rows = [f"{label} : {value}" for label, value in box.rows]
    assert golden == "\n".join([*lines, "", box.title, *rows, box.verdict_text, box.advice, *box.notes])


def test_no_line_is_wider_than_eighty_columns_or_holds_a_control_character(report) -> None:
    holds_to_its_width(text_of(report))


def test_no_line_of_an_extreme_report_is_wider_or_holds_a_control_character(extreme) -> None:
    holds_to_its_width(text_of(extreme))


def holds_to_its_width(text: str) -> None:
    assert [line for line in text.splitlines() if width_of(line) > 80] == []
    assert {char for char in text if not (char.isprintable() or char in "\n\u00a0")} == set()


def test_a_summary_is_short_and_holds_no_control_character(extreme) -> None:
    text = summary_of(extreme)
    assert len(text) < MOST_CHARACTERS
    assert {char for char in text if not (char.isprintable() or char in "\n\u00a0")} == set()


def test_what_a_model_wrote_is_never_markup(extreme) -> None:
    kept = re.compile(r"^(<sub>|<details><summary>|</details>$)|</(sub|summary|details)>$")
    lines = [kept.sub("", line.replace("<br>", "")) for line in summary_of(extreme).splitlines()]
    left = "\n".join(map(outside_code, lines))
    assert re.findall(r"<|`|@|\]\(|\[l|://", left) == []
    assert [line for line in lines if line.startswith("# ")] == [lines[0]]


def outside_code(text: str) -> str:
    """Return Markdown without its inline code and its escaped characters."""
    return re.sub(r"\\.", "", re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", text))


def test_punctuation_decimals_and_minus_are_french(report) -> None:
    text = text_of(report)
    assert re.findall(r".{0,10} [:;?!»%].{0,5}|.{0,5}« .{0,5}", text) == []
    figures = text[text.index("VERDICT") : text.index("PROVENANCE")]
    assert re.findall(r"[^\w]-\d|\d\.\d", figures) == []


def test_shares_stay_between_nothing_and_all(make_report) -> None:
    text = text_of(make_report(prompts=1, replicates=4))
    part = text[text.index("STATISTIQUES GLOBALES") : text.index("PAR CATÉGORIE")]
    intervals = re.findall(r"\[([−+\d,]+)\u00a0; ([−+\d,]+)\]", part)
    arms = [float(end.replace(",", ".")) for pair in intervals for end in pair if end[0] not in "+−"]
    assert arms
    assert min(arms) >= 0


def test_the_totals_of_a_summary_are_there_however_many_categories(make_report) -> None:
    text = summary_of(make_report(categories=50, prompts=1, replicates=2, gains={"v1": 0.6, "v2": 0.0}))
    assert [f"| Ensemble | {name} | " in text for name in ("v1", "v2")] == [True, True]
    assert "… et 62 de plus" in text


def test_a_pipe_in_a_label_does_not_split_a_cell(make_report) -> None:
    lines = summary_of(make_report(label="a|b")).splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith(r"| a\|b")} == {7}


def test_responses_and_labels_are_written_in_markdown(golden) -> None:
    said = [code(text) for text in ("bonjour", "a`b", "`a``", "  \n ", "a\nb", "")]
    labels = [escape_label(text) for text in ("a*b", "[x](y)", "http://a", "WWW.a", "1,5 %")]
    assert golden == "\n".join([*said, *labels])


@pytest.mark.parametrize("report", ["metrics"], indirect=True)
def test_the_page_has_columns_sorting_and_bars_of_added_metrics(report) -> None:
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


def test_a_cut_summary_says_so(make_report, monkeypatch) -> None:
    monkeypatch.setattr("pytest_jarvis.render.markdown.MOST_CHARACTERS", 1000)
    text = summary_of(make_report())
    assert len(text) < 1000
    assert text.rstrip().endswith("disent le reste.")


def test_the_summary_is_added_to_what_a_step_already_said(tmp_path) -> None:
    file = tmp_path / "summary"
    file.write_text("avant\n", encoding="utf-8")
    append_step_summary("# Été\n", file)
    assert file.read_text(encoding="utf-8") == "avant\n# Été\n\n"


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
    lines = table((Column("nom", 6, "text"), Column("a", 3)), [("é" * 4, "1"), ("e\u0301" * 4, "2"), ("漢字", "3")])
    assert {width_of(line) for line in lines} == {2 + 6 + 1 + 3}


def test_a_paragraph_keeps_its_indent() -> None:
    assert all(line.startswith("    ") for line in paragraph("mot " * 60, indent="    "))


def test_what_answers_that_read_no_prompt_score_is_in_every_document(make_report) -> None:
    controls = Controls(
        metric="deeds",
        own=0.75,
        shuffled=0.25,
        constant=0.5,
        constant_text="J'ouvre.",
        constants_tried=6,
        constants_drawn=40,
        parrot=0.0,
        empty=0.0,
        interval=(0.4, 0.6),
        alpha=0.05,
        is_blind=False,
    )
    report = msgspec.structs.replace(make_report(), controls={"jarvis": controls})
    text, found = text_of(report), insights(report)
    shuffled = next(line for line in text.splitlines() if "données à d’autres prompts" in line)
    assert shuffled.endswith("25,0\u00a0%")
    for document in (text, render_markdown(report, found), render_html(report, found, {})):
        assert "6 essayées sur 40" in document.replace("\n  ", " ").replace("\u00a0", " ")
