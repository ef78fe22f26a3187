"""Options of the plugin: declare them to pytest, and refuse invalid ones before collection."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_jarvis.inputs.options import OPTIONS, PREFIX, declare, options_in

if TYPE_CHECKING:
    import pytest


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the group `jarvis`.

    An invalid value becomes its error, which `refuse_values` raises: argparse would print pytest's usage around it, and
    would not show the help.
    """
    title = "JARVIS benchmark: a base model against its LoRA fine-tunes (options override benchmark_config.json)"
    group = parser.getgroup("jarvis", title)

    def add(name: str, **settings: Any) -> None:
        if "type" in settings:
            settings["type"] = partial(_read, settings["type"])
        group.addoption(name, **settings)

    declare(add)


def _read(kind: Callable[[str], object], text: str) -> object:
    """Return the value of an option, or the error of an invalid one."""
    try:
        return kind(text)
    except argparse.ArgumentTypeError as error:
        return error


def has_options(config: pytest.Config) -> bool:
    """Return whether an option of the group is set on the command line, in `addopts` or in `PYTEST_ADDOPTS`."""
    return bool(options_in(config.option))


def refuse_values(config: pytest.Config) -> None:
    """Raise pytest.UsageError for the first option of the group with an invalid value."""
    for option, value in options_in(config.option):
        fault = next((one for one in (value if option.repeats else [value]) if isinstance(one, Exception)), None)
        if fault is not None:
            from pytest_jarvis.plugin.workers import refuse

            words = [str(word).partition("=")[0] for word in config.invocation_params.args]
            where = "" if option.flag in words else " (of addopts or PYTEST_ADDOPTS)"
            refuse(f"{option.flag}{where}: {fault}")


def refuse_unknown(parser: pytest.Parser, arguments: list[str]) -> None:
    """Raise pytest.UsageError for an undeclared option with the prefix of the group."""
    if not any(word.startswith(PREFIX) for word in arguments) or {"-h", "--help"}.intersection(arguments):
        return
    _, unknown = parser.parse_known_and_unknown_args(arguments)
    word = next((word.partition("=")[0] for word in unknown if word.startswith(PREFIX)), None)
    if word is None:
        return
    from pytest_jarvis.files import suggest
    from pytest_jarvis.plugin.workers import refuse

    known = [option.flag.removeprefix(PREFIX) for option in OPTIONS]
    otherwise = "; 'pytest --help' lists those there are, under JARVIS benchmark"
    said = suggest(word.removeprefix(PREFIX), known, prefix=PREFIX, otherwise=otherwise)
    refuse(f"{word}: there is no such option{said}")


def refuse_other_root(config: pytest.Config) -> None:
    """Raise pytest.UsageError where pytest took the value of an option of the group for a path to tests.

    It looks for its configuration beside every argument that is a path, before it knows the options of plugins: without
    a path to tests, a model's folder then decides, and the project's own settings are not read.
    """
    from pytest_jarvis.files import configures_pytest
    from pytest_jarvis.plugin.workers import refuse

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
    if taken and not found and any(map(configures_pytest, (here, *here.parents))):
        word, value = taken[0]
        refuse(
            f"pytest takes the value of {word} for a path to tests, and does not read the configuration of "
            f"{here}; write {word}={value}, with an equals sign, or name the folder of the tests"
        )
