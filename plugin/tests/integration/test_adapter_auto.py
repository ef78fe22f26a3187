"""`--jarvis-adapter auto` and `pytest-jarvis adapters`: the newest adapter of the configured folders, and the list."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pytest_jarvis import cli
from pytest_jarvis.demo import adapter_path
from pytest_jarvis.render.french.notes import french_note


@pytest.fixture
def adapters(tmp_path) -> Path:
    """Return a folder with a whole adapter, and a younger one whose weights are cut."""
    for place, name in enumerate(("ancien", "récent", "tronqué")):
        shutil.copytree(adapter_path("jarvis"), tmp_path / "runs" / name, copy_function=shutil.copyfile)
        for file in (tmp_path / "runs" / name).iterdir():
            os.utime(file, (1e9 + place, 1e9 + place))
    weights = tmp_path / "runs" / "tronqué" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    return tmp_path / "runs"


def test_the_newest_whole_adapter_is_taken_and_said_on_the_terminal_and_in_the_report(project, adapters) -> None:
    project.configure(model={"adapter_folders": [str(adapters)]})
    result = project.run("--jarvis-adapter", "auto", "--jarvis-report-dir", "out", "--jarvis-gate", "off")
    assert result.ret == pytest.ExitCode.OK
    report = project.report()
    assert report.metadata.adapters == {"récent": str(adapters / "récent")}
    chosen, cut = report.provenance.notes[:2]
    assert "« récent » choisi par « auto »" in french_note(chosen).replace("\u00a0", " ")
    assert "de 2 utilisables" in french_note(chosen)
    assert "tronqué (poids tronqués" in french_note(cut)
    for note in (chosen, cut):
        assert french_note(note) in result.stdout.str()


def test_the_folders_of_the_configuration_are_beside_it_and_need_no_option(project, adapters) -> None:
    file = adapters.parent / "ailleurs.json"
    file.write_text('{"model": {"adapter_folders": ["runs"]}, "output": {"formats": []}}', encoding="utf-8")
    arguments = ("--jarvis-config", str(file), "--jarvis-report-dir", "out", "--jarvis-gate", "off")
    assert project.run(*arguments).ret == pytest.ExitCode.OK
    assert project.report().metadata.adapters == {"récent": str(adapters / "récent")}


def test_workers_are_told_which_adapter_the_controller_found(project, adapters) -> None:
    project.configure(model={"adapter_folders": [str(adapters)]})
    workers = ("--dist", "load", "--tx", "popen")
    config = project.pytester.parseconfigure(*workers, "--jarvis-engine", "scripted", "--jarvis-adapter", "auto")
    assert config.option.jarvis_adapter == [f"récent={adapters / 'récent'}"]


def test_auto_without_an_adapter_is_one_sentence_and_exit_4(project) -> None:
    said = project.refused("--jarvis-adapter", "auto")
    assert "no usable adapter for demo under adapters, outputs, checkpoints, none of which" in said


def test_auto_passes_over_an_adapter_of_a_known_model_of_another_shape(adapters, monkeypatch, capsys) -> None:
    monkeypatch.chdir(adapters.parent)
    Path("base").mkdir()
    Path("base/config.json").write_text('{"hidden_size": 64}', encoding="utf-8")
    Path("benchmark_config.json").write_text('{"model": {"adapter_folders": ["runs"]}}', encoding="utf-8")
    for name, stated in (("récent", "Qwen/Qwen3-30B-A3B"), ("ancien", "Qwen/Qwen3-8B")):
        file = adapters / name / "adapter_config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**config, "base_model_name_or_path": stated}), encoding="utf-8")
        os.utime(file, (1e9, 1e9))
    cli.main(["check", "--jarvis-model", "./base", "--jarvis-adapter", "auto"])
    said = capsys.readouterr().out.replace("\u00a0", " ")
    assert "adaptateur « ancien » choisi par « auto »" in said
    assert "récent (entraîné sur une autre base)" in said


def test_a_detected_name_that_is_taken_is_one_sentence_and_exit_4(project) -> None:
    shutil.copytree(adapter_path("jarvis"), project.folder / "adapters" / "base")
    assert "the name 'base' stands for the base model" in project.refused("--jarvis-adapter", "auto")


def test_the_list_names_whole_and_broken_adapters(adapters, shown) -> None:
    lines = shown("adapters", adapters).splitlines()
    assert lines[0] == f"✗ tronqué   {adapters / 'tronqué'}"
    assert "poids tronqués" in lines[1]
    assert lines[2].startswith("✓ récent ")
    assert "base demo | rang 16 | k_proj, o_proj, q_proj, v_proj | 347,2 ko | 86 016 poids | 09/09/2001" in lines[3]
    assert lines[-1] == f"2 adaptateurs utilisables sur 3 sous {adapters}"


def test_the_list_is_json_for_a_machine(adapters, shown) -> None:
    torn, recent, _ = json.loads(shown("adapters", "--json", adapters))
    assert (torn["usable"], torn["problem"], torn["sha256"]) == (False, "cut", None)
    assert (recent["name"], recent["rank"], len(recent["sha256"])) == ("récent", 16, 64)


def test_the_list_looks_in_the_configured_folders(adapters, monkeypatch, shown) -> None:
    monkeypatch.chdir(adapters.parent)
    said = shown("adapters").splitlines()
    assert said[0] == "Aucun adaptateur sous adapters, outputs, checkpoints : aucun de ces dossiers n’existe"
    assert "pytest-jarvis adapters DOSSIER" in said[1]
    Path("benchmark_config.json").write_text('{"model": {"adapter_folders": ["runs"]}}', encoding="utf-8")
    assert "récent" in shown("adapters")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nulle-part"], "nulle-part: no such folder"), (["--jarvis-config", "rien.json"], "rien.json: cannot be read")],
)
def test_what_cannot_be_listed_is_one_sentence_and_exit_4(arguments: list[str], said: str, refused) -> None:
    assert said in refused("adapters", *arguments)
