"""`pytest-jarvis contamination` and `--jarvis-training-data`: prompts found in training data."""

import json
from pathlib import Path

import pytest

from pytest_jarvis.cli import main


@pytest.fixture
def train(project) -> Path:
    """Return training data with a copy of c-1 in line 2 and a near copy of q-1 in line 4."""
    said = ("bonjour", "Ouvre Chrome !", "coupe le chauffage", "plus un bruyt")
    rows = [{"messages": [{"role": "user", "content": text}]} for text in said]
    path = project.folder / "train.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_the_command_lists_file_and_line_and_exits_1(project, train, capsys) -> None:
    assert main(["contamination", str(train), "--prompts", str(project.prompts)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "✗ c-1 «\u00a0ouvre chrome\u00a0»\u00a0: 1\u00a0fois",
        f"    {train}:2: copie\u00a0: «\u00a0Ouvre Chrome\u00a0!\u00a0»",
        "✗ q-1 «\u00a0plus un bruit\u00a0»\u00a0: 1\u00a0fois",
        f"    {train}:4: presque une copie, 92\u00a0%\u00a0: «\u00a0plus un bruyt\u00a0»",
        "2\u00a0prompts sur 3 sont dans 4\u00a0textes d’entraînement.",
    ]


def test_the_command_exits_0_where_nothing_is_found(project, capsys) -> None:
    (project.folder / "clean.txt").write_text("bonjour\n", encoding="utf-8")
    # Without an option, the prompts are those of this folder.
    assert main(["contamination", "clean.txt"]) == 0
    assert capsys.readouterr().out == "✓ Aucun des 3\u00a0prompts n’est dans 1\u00a0texte d’entraînement.\n"


def test_the_prompts_that_tools_add_are_looked_for_too(project) -> None:
    added = project.prompts / "with_tools"
    added.mkdir()
    entry = 'id = "st-1"\ntext = "merci beaucoup"\nkeywords = ["plaisir", "service"]\nno_tool = true\n'
    (added / "sans_outil.toml").write_text(f"[[prompts]]\n{entry}", encoding="utf-8")
    (project.folder / "train.txt").write_text("Merci beaucoup !\n", encoding="utf-8")
    assert main(["contamination", "train.txt"]) == 1


def test_the_command_gives_json(train, capsys) -> None:
    assert main(["contamination", "--json", str(train)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert ({"c-1": 1, "q-1": 1}, 4) == (document["counts"], document["texts"])
    assert (str(train), 2) == (document["leaks"]["c-1"][0]["file"], document["leaks"]["c-1"][0]["line"])


def test_a_damaged_line_is_one_sentence(project, refused) -> None:
    (project.folder / "cut.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b\n', encoding="utf-8")
    said = refused("contamination", "cut.jsonl")
    assert said.startswith("pytest-jarvis: cut.jsonl: line 2: not valid JSON: ")


def test_a_session_marks_the_prompts_and_judges_without_them_too(project, train) -> None:
    project.configure(output={"formats": ["text", "html", "markdown"]})
    result = project.run("--jarvis-report-dir", "out", "--jarvis-training-data", "train.jsonl")
    assert result.ret == 0
    found = project.report().contamination
    assert found is not None
    assert ({"c-1": 1, "q-1": 1}, ("train.jsonl",), 1) == (found.counts, found.files, found.decisions["jarvis"].prompts)
    assert project.report().decisions["jarvis"].prompts == 3
    said = " ".join(result.stdout.str().split())
    assert "Contamination : 2 prompts sur 3 sont dans les données d’entraînement (train.jsonl) : c-1, q-1." in said
    assert "Sans eux : pertinence +110,0 %" in said
    for file in ("report.txt", "report.html", "summary.md"):
        text = " ".join(project.text(file).split())
        assert "2 prompts sur 3 sont dans les données d’entraînement" in text
        assert "Sans eux" in text
    assert '"c-1",0,"ouvre chrome",null,"open_app_tool",[0,1],[0,1],1]' in project.text("report.html")


def test_the_data_can_stand_in_the_configuration(project, train) -> None:
    project.configure(benchmark={"training_data": ["train.jsonl"]})
    project.run("--jarvis-report-dir", "out")
    assert list(project.report().contamination.counts) == ["c-1", "q-1"]


def test_where_every_prompt_is_found_there_is_no_other_verdict(project) -> None:
    (project.folder / "all.txt").write_text("ouvre chrome\nlance firefox\nplus un bruit\n", encoding="utf-8")
    result = project.run("--jarvis-report-dir", "out", "--jarvis-training-data", "all.txt")
    assert project.report().contamination.decisions == {}
    assert "aucun verdict" in " ".join(result.stdout.str().split())


def test_clean_data_is_said_to_be(project) -> None:
    (project.folder / "clean.txt").write_text("bonjour\n", encoding="utf-8")
    result = project.run("--jarvis-training-data", "clean.txt")
    result.stdout.fnmatch_lines(["Données d’entraînement (clean.txt)*: aucun des 3*prompts n’y est."])


def test_an_a_a_run_has_no_other_verdict(project, train) -> None:
    project.run("--jarvis-report-dir", "out", "--jarvis-training-data", str(train), "--jarvis-aa")
    assert project.report().contamination.decisions == {}


def test_training_data_that_cannot_be_read_ends_the_session_with_one_sentence(project) -> None:
    said = project.refused("--jarvis-training-data", "absent.jsonl")
    assert said.startswith("ERROR: --jarvis-training-data: absent.jsonl: cannot be read: ")
