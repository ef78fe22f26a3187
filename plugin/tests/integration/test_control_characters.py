"""What a file says controls no terminal, wherever it is quoted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis import cli, demo

HOSTILE = "\x1b]0;pwn\x07\x1b[2J\x9b31m\x9d0;x\x9c\u202eevil\x7f\r"
"""An OSC and a CSI, their C1 forms, the direction of text, DEL, and a return to the line's start."""


def controls(shown: str) -> set[str]:
    """Return what of `HOSTILE` is in a text and no letter."""
    return {char for char in HOSTILE if not char.isprintable()} & set(shown)


def edit_json(file: Path, **changed: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **changed}), encoding="utf-8")


def spoil_template(base: Path, _: Path) -> None:
    (base / "chat_template.jinja").write_text(f"{{{{ raise_exception({HOSTILE!r}) }}}}", encoding="utf-8")


def spoil_model_type(base: Path, _: Path) -> None:
    edit_json(base / "config.json", model_type=HOSTILE)


def spoil_targets(_: Path, adapter: Path) -> None:
    edit_json(adapter / "adapter_config.json", target_modules=[HOSTILE])


def spoil_type(_: Path, adapter: Path) -> None:
    edit_json(adapter / "adapter_config.json", peft_type=HOSTILE)


@pytest.fixture(params=[spoil_template, spoil_model_type, spoil_targets, spoil_type], ids=lambda spoil: spoil.__name__)
def options(request, tmp_path) -> list[str]:
    """Return the options that name a copy of the embedded pair in which one text is hostile."""
    base, adapter = tmp_path / "models" / "base", tmp_path / "models" / "jarvis"
    shutil.copytree(demo.base_path(), base)
    shutil.copytree(demo.adapter_path("jarvis"), adapter)
    edit_json(adapter / "adapter_config.json", base_model_name_or_path=str(base))
    request.param(base, adapter)
    return [f"--jarvis-model={base}", f"--jarvis-adapter=jarvis={adapter}"]


def test_a_model_that_is_refused_controls_no_terminal(project, options: list[str]) -> None:
    outcome = project.run_apart("--jarvis-engine", "transformers", "--jarvis-report", *options)
    shown = outcome.stdout.str() + outcome.stderr.str()
    assert (pytest.ExitCode.USAGE_ERROR, set()) == (outcome.ret, controls(shown))
    assert "evil" in shown


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_check_of_a_model_controls_no_terminal(project, capsys, options: list[str], arguments: list[str]) -> None:
    cli.main(["check", *options, *arguments])
    shown = "".join(capsys.readouterr())
    assert controls(shown) == set()
    assert not arguments or json.loads(shown)


def in_configuration(project: Any) -> None:
    project.configure(**{HOSTILE: 1})


def in_prompts(project: Any) -> None:
    project.edit("commandes.toml", 'id = "c-1"', f"{json.dumps(HOSTILE)} = 1")


def in_tools(project: Any) -> None:
    project.edit("commandes.toml", '"open_app_tool"', json.dumps(HOSTILE.replace("\x7f", "")))


@pytest.mark.parametrize("spoil", [in_configuration, in_prompts, in_tools], ids=lambda spoil: spoil.__name__)
def test_an_input_that_is_refused_controls_no_terminal(project, capsys, spoil: Callable[[Any], None]) -> None:
    spoil(project)
    told = project.refused()
    cli.main(["check"])
    shown = "".join(capsys.readouterr())
    assert [("evil" in text, controls(text)) for text in (told, shown)] == [(True, set())] * 2


def test_a_wrong_word_on_the_command_line_controls_no_terminal(project, refused) -> None:
    told = [
        refused("config", HOSTILE),
        project.refused(f"--jarvis-{HOSTILE}"),
        project.refused("--jarvis-gate", HOSTILE),
    ]
    assert [("evil" in text, controls(text)) for text in told] == [(True, set())] * 3


@pytest.mark.parametrize("engine", ["failure", "raised"])
def test_a_response_that_failed_controls_no_terminal(project, scripted_by, engine: str) -> None:
    made = {
        "failure": "    return Failure(prompt_id=request.prompt_id, arm=request.arm, replicate=request.replicate, "
        f"stage='generate', reason=text_note({HOSTILE!r}))",
        "raised": f"    return {HOSTILE!r}",
    }[engine]
    outcome = project.run("--jarvis-report-dir", "out", "-v", engine=scripted_by(f"def script(request):\n{made}"))
    shown = outcome.stdout.str() + outcome.stderr.str()
    assert controls(shown) == set()
    assert "evil" in shown
