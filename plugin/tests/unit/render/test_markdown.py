"""`summary.md`: short enough for GitHub, and what a model wrote is never markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis.render.markdown import MOST_CHARACTERS, append_step_summary, code, escaped, render_markdown
from pytest_jarvis.report.analysis.insights import insights
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.ranking import noise_floor

MakeReport = Callable[..., Report]

HOSTILE = "`` ` <script>alert(1)</script> | **gras** [lien](http://x.y) @personne #1 \x1b[31m \u202e\n\n# titre\n- x"


def summary_of(report: Report) -> str:
    """Return the summary of a report."""
    return render_markdown(report, insights(report))


def test_the_summary_has_the_verdict_first_then_a_row_per_category(make_report: MakeReport) -> None:
    report = make_report(gains={"jarvis": 0.6})
    lines = summary_of(report).splitlines()
    assert lines[0] == "# RAPPORT JARVIS\u00a0: ✓ ACCEPTÉ"
    rows = [line for line in lines if line.startswith("| ")]
    for label in (*(item.label for item in report.by_category.values()), "Ensemble"):
        assert [row for row in rows if row.startswith(f"| {label} |")] != []


def test_each_of_several_adapters_has_a_row_per_category_a_verdict_and_its_prompts(make_report: MakeReport) -> None:
    report = make_report(gains={"v1": 0.6, "v2": 0.0})
    text = summary_of(report)
    for name in ("v1", "v2"):
        for label in (*(item.label for item in report.by_category.values()), "Ensemble"):
            assert f"| {label} | {name} | " in text
        assert f"\n{name}\u00a0: pertinence" in text
        assert f"\n{name}\u00a0: {'✓' if name == 'v1' else '✗'} Fine-tuning" in text
        assert f"\n### {name}\n" in text
    assert "- Classement\u00a0: v1 " in text


def test_the_total_of_each_adapter_is_there_however_many_categories(make_report: MakeReport) -> None:
    text = summary_of(make_report(categories=50, prompts=1, replicates=2, gains={"v1": 0.6, "v2": 0.0}))
    assert [f"| Ensemble | {name} | " in text for name in ("v1", "v2")] == [True, True]
    assert "… et 31 de plus" in text


def test_one_adapter_has_no_column_of_names(make_report: MakeReport) -> None:
    assert "| Catégorie | prompts | Pertinence JARVIS, base | jarvis | gain |" in summary_of(make_report())


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": 100, "replicates": 2, "text": "`<b>" * 500, "prompt_text": "|" * 5000},
        {"categories": 200, "prompts": 1, "replicates": 2, "label": "*" * 500},
        {"gains": {f"v{number}": 0.1 for number in range(60)}, "prompts": 2, "replicates": 2},
        {"measured": False, "reason": HOSTILE * 100},
    ],
    ids=["long texts", "many categories", "many adapters", "failures"],
)
def test_the_summary_is_under_sixty_thousand_characters(make_report: MakeReport, changes: dict[str, object]) -> None:
    text = summary_of(make_report(**changes))
    assert len(text) < MOST_CHARACTERS
    assert {char for char in text if not (char.isprintable() or char in "\n\u00a0")} == set()


def outside_code(text: str) -> str:
    """Return Markdown without its inline code and its escaped characters."""
    return re.sub(r"\\.", "", re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", text))


def test_what_a_model_wrote_is_never_markup(make_report: MakeReport) -> None:
    report = make_report(
        text=HOSTILE, prompt_text=HOSTILE, label=HOSTILE, reason=HOSTILE, failing=((0, "base"), (1, "jarvis"))
    )
    lines = [line for line in summary_of(report).splitlines() if not line.startswith("<sub>")]
    left = "\n".join(map(outside_code, lines))
    assert re.findall(r"<|`|@|\]\(|\[lien|titre$|://", left) == []
    assert [line for line in lines if line.startswith("# ")] == [lines[0]]


def test_a_pipe_in_a_label_does_not_split_a_cell(make_report: MakeReport) -> None:
    lines = summary_of(make_report(label="a|b")).splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith(r"| a\|b")} == {9}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bonjour", "`bonjour`"),
        ("a`b", "``a`b``"),
        ("`a``", "``` `a`` ```"),
        ("  \n ", "(réponse vide)"),
        ("a\nb", "`a b`"),
        ("", "(réponse vide)"),
    ],
)
def test_a_response_is_inline_code(text: str, expected: str) -> None:
    assert expected == code(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a*b", r"a\*b"), ("[x](y)", r"\[x\](y)"), ("http://a", r"http\://a"), ("WWW.a", r"WWW\.a"), ("1,5 %", "1,5 %")],
)
def test_a_label_is_escaped(text: str, expected: str) -> None:
    assert expected == escaped(text)


def test_prompts_that_got_worse_come_with_their_evidence(make_report: MakeReport) -> None:
    text = summary_of(make_report(gains={"pire": -0.7}, replicates=16))
    assert re.search(r"- \*\*c\d-\d{4}\*\* .*p\u00a0\\?[=<]\u00a00,\d{4}", text)


def test_the_base_against_itself_shows_its_noise_floor_and_no_advice(make_report: MakeReport) -> None:
    floor = noise_floor([[0.1, 0.2], [0.3, 0.2]], [[0.2, 0.2], [0.1, 0.3]])
    report = make_report(gains={"base_bis": 0.0})
    text = summary_of(msgspec.structs.replace(report, noise_floor={"jarvis_relevance": floor}))
    assert "plancher" in text
    assert "Fine-tuning" not in text
    assert "ÉCARTÉ" not in text


def test_a_cut_summary_says_so(make_report: MakeReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_jarvis.render.markdown.MOST_CHARACTERS", 1000)
    text = summary_of(make_report())
    assert len(text) < 1000
    assert text.rstrip().endswith("disent le reste.")


def test_the_same_report_gives_the_same_summary(make_report: MakeReport) -> None:
    report = make_report()
    assert summary_of(report) == summary_of(report)


def test_the_summary_is_added_to_what_a_step_already_said(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    file.write_text("avant\n", encoding="utf-8")
    append_step_summary("# Été\n", file)
    assert file.read_text(encoding="utf-8") == "avant\n# Été\n\n"
