"""`pytest-jarvis compare`: what changed between saved runs, for people and for machines."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis.render.french.formats import width_of
from pytest_jarvis.report.io import write_report

change = msgspec.structs.replace


@pytest.fixture
def runs(make_report, tmp_path) -> Path:
    """Return a folder with the runs `a` and `b` (another seed, a worse adapter, a prompt less)."""
    before, after = make_report(), make_report(seed=2, gains={"jarvis": 0.0})
    generation = msgspec.structs.replace(after.provenance.generation, seed=5)
    after = change(after, results=after.results[1:], provenance=change(after.provenance, generation=generation))
    write_report(before, tmp_path / "a")
    write_report(after, tmp_path / "b")
    return tmp_path


def test_the_text_names_settings_prompts_and_intervals_in_80_columns(runs, shown) -> None:
    text = shown("compare", runs / "a", runs / "b")
    plain = " ".join(text.split())
    assert "graine : 0 → 5" in plain
    assert "29 prompts communs" in plain
    assert "seulement avant : c0-0000" in plain
    assert "Pertinence" in plain
    assert "Intervalles à 98 %" in plain
    path = str(runs.as_posix())
    assert [] == [line for line in text.splitlines() if width_of(line) > 80 and path not in line]


def test_markdown_is_a_table_and_json_holds_every_prompt(runs, shown) -> None:
    markdown = shown("compare", runs / "a", runs / "b", "--format", "markdown")
    assert markdown.startswith("# COMPARAISON")
    assert "| Mesure | prompts | avant | après | écart | intervalle |" in markdown
    [document] = json.loads(shown("compare", runs / "a", runs / "b", "--format", "json"))
    assert len(document["arms"][0]["prompts"]) == 29
    assert document["overlap"]["only_stored"] == ["c0-0000"]
    assert document["arms"][0]["metrics"][0]["difference"]["interval"] is not None


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_last_words_say_what_is_shown_and_rows_that_moved_have_a_mark(runs, shown) -> None:
    text = shown("compare", runs / "a", runs / "b")
    assert "la pertinence de jarvis a baissé, de " in flat(text).partition("Conclusion : sur 29 prompts communs, ")[2]
    rows = [line for line in text.splitlines() if line.startswith("  Pertinence ")]
    assert [row.count("▼") for row in rows] == [1]
    markdown = shown("compare", runs / "a", runs / "b", "--format", "markdown")
    assert markdown.rstrip().rpartition("\n\n")[2].startswith("Conclusion")


def test_a_difference_that_noise_may_explain_is_called_neither_a_rise_nor_a_drop(make_report, tmp_path, shown) -> None:
    write_report(make_report(), tmp_path / "a")
    write_report(make_report(seed=2), tmp_path / "b")
    text = shown("compare", tmp_path / "a", tmp_path / "b")
    assert "ni hausse ni baisse de la pertinence n’est montrée pour jarvis" in flat(text)
    assert "le vrai écart peut aller de −" in flat(text)
    table = text.partition("\n  Prompt ")[0].partition("intervalle\n")[2]
    assert {"▲", "▼"}.isdisjoint(table)


def test_further_reports_are_each_compared_with_the_first(runs, shown) -> None:
    documents = json.loads(shown("compare", runs / "a", runs / "b", runs / "a", "--format", "json"))
    assert [(runs / "b").as_posix(), (runs / "a").as_posix()] == [one["new"]["report"] for one in documents]
    assert {(runs / "a").as_posix()} == {one["stored"]["report"] for one in documents}


def test_a_run_against_itself_has_nothing_to_say(runs, shown) -> None:
    for kind in ("text", "markdown"):
        plain = shown("compare", runs / "a", runs / "a", "--format", kind)
        assert "Mêmes réglages, mêmes versions, même machine." in plain
        assert "Aucun prompt n’a changé" in plain
        assert "réponses communes de jarvis sont les mêmes, mot pour mot" in plain


def test_runs_without_a_common_prompt_say_so(make_report, tmp_path, shown) -> None:
    report = make_report()
    other = change(report, results=tuple(change(row, prompt=f"{row.prompt} !") for row in report.results))
    write_report(report, tmp_path / "a")
    write_report(other, tmp_path / "b")
    for kind in ("text", "markdown"):
        assert "Aucun prompt commun" in shown("compare", tmp_path / "a", tmp_path / "b", "--format", kind)


def test_long_lists_of_prompts_are_cut_and_unchanged_ones_counted(make_report, tmp_path, shown) -> None:
    before = make_report(prompts=60)
    after = change(before, results=(*make_report(prompts=60, seed=4).results[:150], *before.results[150:]))
    write_report(before, tmp_path / "a")
    write_report(after, tmp_path / "b")
    plain = shown("compare", tmp_path / "a", tmp_path / "b")
    assert "… et 44 de plus" in plain
    assert "36 autres prompts sans aucun changement." in plain


def test_adapters_are_paired_as_asked(make_report, tmp_path, shown) -> None:
    write_report(make_report(gains={"v1": 0.4}), tmp_path / "a")
    write_report(make_report(gains={"x": 0.1, "v2": 0.4}), tmp_path / "b")
    text = shown("compare", tmp_path / "a", tmp_path / "b", "--adapter", "v1=v2")
    assert "Adaptateurs comparés : v1 (avant) et v2 (après)." in text
    assert "v1 (avant) et x (après)" in shown("compare", tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--adapter", "nul=jarvis"), "no adapter 'nul'; there are: jarvis"),
        (("--adapter", "jarvis"), "found 'jarvis', expected A=B"),
        (("nowhere.json",), "nowhere.json: cannot be read"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_4(runs, refused, arguments, sentence) -> None:
    assert sentence in refused("compare", runs / "a", runs / "b", *arguments)


def test_comparing_imports_no_torch_and_no_pytest(runs) -> None:
    code = (
        "import sys; from pytest_jarvis.cli import main; main(['compare', sys.argv[1], sys.argv[2]]); "
        "print(sorted({'torch', 'sklearn', 'pytest', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", "-c", code, str(runs / "a"), str(runs / "b")],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.stdout.splitlines()[-1] == "[]"
