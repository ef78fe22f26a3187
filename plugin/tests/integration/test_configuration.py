"""`benchmark_config.json`: each key that no other test turns does what it says; `pytest-jarvis config` shows it."""

from __future__ import annotations

import json

import pytest

from pytest_jarvis.cli.config import SCHEMA_FILE, keys_table, settings_lines
from pytest_jarvis.render.french.formats import width_of
from pytest_jarvis.run.settings import Origin
from pytest_jarvis.types import Note


def test_the_files_and_the_folder_of_a_run_are_called_as_configured(project) -> None:
    output = {
        "folder": "sorties",
        "run_name": "nuit {adapter}",
        "formats": ["text", "markdown"],
        "names": {"text": "rapport.txt"},
    }
    project.configure(output=output)
    for _ in range(2):
        project.run("--jarvis-report", "--jarvis-gate", "off")
    assert sorted(folder.name for folder in (project.folder / "sorties").iterdir()) == ["nuit jarvis", "nuit jarvis-2"]
    files = {file.name for file in (project.folder / "sorties" / "nuit jarvis").iterdir()}
    assert files == {"report.json", "thresholds.json", "rapport.txt", "summary.md"}


def test_the_gate_is_that_of_the_file(project) -> None:
    project.configure(benchmark={"strict": True, "looks": [2, 3], "alpha": 0.1, "require": "all"})
    result = project.run("--jarvis-report-dir", "out", "-k", "commandes")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    plan = project.report().metadata.plan
    assert (plan.looks, plan.alpha, plan.require) == ((2, 3), 0.1, "all")


def test_the_share_at_which_relevance_is_whole_is_that_of_the_file_and_noted(project) -> None:
    project.configure()
    project.run("--jarvis-report-dir", "usual", "--jarvis-samples", "1", "--jarvis-gate", "off")
    project.configure(metrics={"relevance_share": 0.6})
    project.run("--jarvis-report-dir", "double", "--jarvis-samples", "1", "--jarvis-gate", "off")
    usual, double = project.report("usual"), project.report("double")
    base = [row.figure("jarvis_relevance").base for row in usual.results]
    assert max(base) > 0
    assert [pytest.approx(value / 2) for value in base] == [
        row.figure("jarvis_relevance").base for row in double.results
    ]
    assert double.provenance.relevance_share == 0.6
    assert Note("relevance_share", {"percent": 60.0}) in double.provenance.notes
    assert "relevance_share" not in {note.code for note in usual.provenance.notes}


@pytest.mark.parametrize(
    ("logging", "arguments", "shown"),
    [
        ({}, (), {"lines", "times"}),
        ({"verbosity": "quiet"}, (), set()),
        ({"verbosity": "verbose"}, (), {"lines", "answers", "times"}),
        ({"verbosity": "verbose"}, ("-q",), set()),
        ({"verbosity": "quiet"}, ("-v",), {"lines", "answers", "times"}),
        ({"timings": False}, (), {"lines"}),
    ],
)
def test_what_is_shown_is_as_the_file_says_and_pytest_overrides_it(
    project, logging: dict[str, object], arguments: tuple[str, ...], shown: set[str]
) -> None:
    project.configure(logging=logging)
    result = project.run(*arguments, "--jarvis-samples", "1", "-k", "commandes")
    assert result.ret == pytest.ExitCode.OK
    out = result.stdout.str()
    marks = {"lines": "c-1  ouvre chrome", "answers": "      base  ", "times": "Temps"}
    assert shown == {name for name, mark in marks.items() if mark in out}


def test_progress_is_not_shown_when_the_file_says_so(project) -> None:
    project.configure(logging={"progress": False})
    assert "réponses |" not in project.run("--jarvis-samples", "1").stdout.str()


def test_show_prints_every_value_with_where_it_comes_from(project, shown) -> None:
    project.configure(generation={"seed": 4})
    lines = [" ".join(line.split()) for line in shown("config", "show", "--jarvis-samples", "2").splitlines()]
    assert "seed 4 fichier" in lines
    assert "samples 2 option --jarvis-samples" in lines
    assert "temperature 0.7 défaut" in lines
    assert any(line.startswith('adaptateurs {"jarvis": "demo:jarvis"}') for line in lines)


LONG = "/data/" + "/".join(f"dossier-{number}" for number in range(30)) + "/essais : v2"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 1000])
def test_a_narrow_terminal_shows_every_key_and_value_whole(width: int) -> None:
    origins = (
        Origin(section="benchmark", key="min_keyword_gain_percent", value=[LONG, 1.5], kind="file", by="c.json"),
        Origin(section="benchmark", key="seed", value=4, kind="option", by="--jarvis-seed"),
    )
    result = {"looks": [4, 8, 16], "reports": LONG}
    lines = settings_lines(origins, result, width=width)
    together = "".join("".join(line.split()) for line in lines)
    for part in ("min_keyword_gain_percent", json.dumps([LONG, 1.5]), "fichier", "seed4option--jarvis-seed", LONG):
        assert "".join(part.split()) in together
    assert any("réponses par prompt et bras" in line for line in lines)
    widest = max(map(width_of, lines))
    assert widest <= max(width, len("  réponses par prompt et bras"))
    assert settings_lines(origins, result) == settings_lines(origins, result, width=5000)


def test_show_is_json_for_a_machine(tmp_path, shown) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"generation": {"seed": 4}}', encoding="utf-8")
    said = json.loads(shown("config", "show", "--json", "--config", file, "--jarvis-prompts", "mes_prompts"))
    assert said["values"]["generation"]["seed"] == {"value": 4, "from": "file", "by": str(file)}
    assert said["values"]["benchmark"]["prompts"]["by"] == "--jarvis-prompts"
    assert said["result"]["looks"] == [4, 8, 16]


def test_schema_and_keys_are_printed(shown) -> None:
    assert json.loads(shown("config", "schema")) == json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert shown("config", "keys") == keys_table().replace("\u00a0", " ")


def test_a_command_without_its_half_is_one_sentence_and_exit_4(refused) -> None:
    assert "show | schema | keys" in refused("config")


@pytest.mark.parametrize("command", [["config", "show"], ["config", "show", "--json"], ["check"], ["check", "--json"]])
@pytest.mark.parametrize("by_option", [True, False])
def test_an_address_with_a_key_is_one_sentence_without_it_and_exit_4_whatever_the_engine(
    project, refused, command: list[str], by_option: bool
) -> None:
    address = "http://jean:s3cret@h/v1"
    project.configure(**({} if by_option else {"model": {"base_url": address}}))
    option = ["--jarvis-base-url", address] if by_option else []
    said = refused(*command, "--jarvis-engine", "scripted", *option)
    assert ("give it without user, password or query" in said, "s3cret" in said) == (True, False)


def test_a_session_without_a_server_refuses_an_address_with_a_key(project) -> None:
    project.configure(model={"base_url": "http://jean:s3cret@h/v1"})
    result = project.run("--jarvis-report")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*model.base_url*give it without user, password or query*"])
    assert "s3cret" not in result.stdout.str() + result.stderr.str()
