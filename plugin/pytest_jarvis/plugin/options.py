"""The options as pytest declares them, and what is refused before anything is collected."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_jarvis.inputs.options import OPTIONS, PREFIX, declare, options_in

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the group `jarvis`.

    The error of a value that cannot be used is kept in its place and said by `refuse_values`: argparse would print the
    usage of pytest around the sentence, and never show the help.
    """
    title = "JARVIS benchmark: a base model against its LoRA fine-tunes (options override benchmark_config.json)"
    group = parser.getgroup("jarvis", title)

    def add(name: str, **settings: Any) -> None:
        if "type" in settings:
            settings["type"] = partial(_read, settings["type"])
        group.addoption(name, **settings)

    declare(add)


def _read(kind: Callable[[str], object], text: str) -> object:
    """Return the value of an option, or the error of one that cannot be used."""
    try:
        return kind(text)
    except argparse.ArgumentTypeError as error:
        return error


def is_asked_for(config: pytest.Config) -> bool:
    """Whether any option of the group is set, on the command line, in `addopts` or in `PYTEST_ADDOPTS`."""
    return bool(options_in(config.option))


def refuse_values(config: pytest.Config) -> None:
    """Raise pytest.UsageError for the first option of the group whose value cannot be used."""
    for option, value in options_in(config.option):
        if isinstance(value, argparse.ArgumentTypeError):
            import pytest

            words = [str(word).partition("=")[0] for word in config.invocation_params.args]
            where = "" if option.flag in words else " (of addopts or PYTEST_ADDOPTS)"
            raise pytest.UsageError(f"{option.flag}{where}: {value}")


def refuse_unknown(parser: pytest.Parser, arguments: list[str]) -> None:
    """Raise pytest.UsageError for an option that begins as those of the group do, and that nothing has declared."""
    if not any(word.startswith(PREFIX) for word in arguments) or {"-h", "--help"}.intersection(arguments):
        return
    _, unknown = parser.parse_known_and_unknown_args(arguments)
    word = next((word.partition("=")[0] for word in unknown if word.startswith(PREFIX)), None)
    if word is None:
        return
    import pytest

    from pytest_jarvis.files import suggest

    known = [option.flag.removeprefix(PREFIX) for option in OPTIONS]
    otherwise = "; 'pytest --help' lists those there are, under JARVIS benchmark"
    said = suggest(word.removeprefix(PREFIX), known, prefix=PREFIX, otherwise=otherwise)
    raise pytest.UsageError(f"{word}: there is no such option{said}")


def refuse_other_root(config: pytest.Config) -> None:
    """Raise pytest.UsageError where pytest took the value of an option of the group for what is to be tested.

    It looks for its configuration beside every argument that is a path, before it knows any option of a plugin: without
    a path to tests, a model's folder as a word of its own then decides, and the project's own settings are not read.
    """
    import pytest

    option, here = config.option, config.invocation_params.dir
    if option.file_or_dir or option.inifilename or hasattr(config, "workerinput"):
        return
    words = [str(word) for word in config.invocation_params.args]
    taken = [
        (word, value)
        for word, value in pairwise(words)
        if word.startswith("--jarvis-") and "=" not in word and not value.startswith("-") and (here / value).exists()
    ]
    found = config.inipath is not None and here.is_relative_to(config.inipath.parent)
    if taken and not found and any(map(_configures_pytest, (here, *here.parents))):
        word, value = taken[0]
        raise pytest.UsageError(
            f"pytest takes the value of {word} for what is to be tested, and does not read the configuration of "
            f"{here}; write {word}={value}, with an equals sign, or name the folder of the tests"
        )


def _configures_pytest(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    return (folder / "pytest.ini").is_file() or (project.is_file() and b"[tool.pytest" in project.read_bytes())
