"""The options as pytest declares them, and what is refused before anything is collected."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_jarvis.inputs.options import PREFIX, declare, is_given

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Stands for the value of an option that cannot be used, until it is said."""

    option: str
    why: str
    """What was expected, what was found, and what to do."""


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the group `jarvis`.

    A value that cannot be used is kept as such and said by `refuse_values`: argparse would print the usage of all of
    pytest before the sentence.
    """
    title = "JARVIS benchmark: a base model against its LoRA fine-tunes (options override benchmark_config.json)"
    group = parser.getgroup("jarvis", title)

    def add(name: str, **settings: Any) -> None:
        kind, choices = settings.pop("type", str), settings.pop("choices", ())
        if choices:
            settings["metavar"] = f"{{{','.join(choices)}}}"
        if choices or kind is not str:
            settings["type"] = partial(_read, name, kind, choices)
        group.addoption(name, **settings)

    declare(add)


def is_asked_for(config: pytest.Config) -> bool:
    """Whether any option of the group is set, on the command line, in `addopts` or in `PYTEST_ADDOPTS`."""
    return any(is_given(value) for name, value in vars(config.option).items() if name.startswith("jarvis_"))


def refuse_values(config: pytest.Config) -> None:
    """Raise pytest.UsageError for the first option of the group whose value cannot be used."""
    import pytest

    refused = next((value for value in vars(config.option).values() if isinstance(value, _Refused)), None)
    if refused is None:
        return
    words = [str(word).partition("=")[0] for word in config.invocation_params.args]
    where = "" if refused.option in words else " (of addopts or PYTEST_ADDOPTS)"
    raise pytest.UsageError(f"{refused.option}{where}: {refused.why}")


def refuse_unknown(parser: pytest.Parser, arguments: list[str]) -> None:
    """Raise pytest.UsageError for an option that begins as those of the group do, and that nothing has declared."""
    if not any(word.startswith(PREFIX) for word in arguments) or {"-h", "--help"}.intersection(arguments):
        return
    _, unknown = parser.parse_known_and_unknown_args(arguments)
    word = next((word.partition("=")[0] for word in unknown if word.startswith(PREFIX)), None)
    if word is None:
        return
    import pytest

    known: list[str] = []
    declare(lambda name, **_: known.append(name.removeprefix(PREFIX)))
    said = (
        _close(word.removeprefix(PREFIX), known, PREFIX)
        or "; 'pytest --help' lists those there are, under JARVIS benchmark"
    )
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


def _read(option: str, kind: Callable[[str], object], choices: Sequence[str], text: str) -> object:
    """Return the value of an option, or what stands for one that cannot be used."""
    if choices and text not in choices:
        expected = f"expected one of {', '.join(choices)}, found {text!r}"
        said = _close(text, choices) or "; give one of them, or leave the option out"
        return _Refused(option=option, why=f"{expected}{said}")
    try:
        return kind(text)
    except argparse.ArgumentTypeError as error:
        return _Refused(option=option, why=f"{error}; give such a value, or leave the option out")


def _close(word: str, known: Sequence[str], prefix: str = "") -> str | None:
    """Return a closing "did you mean ...?", with the prefix that all have; None when nothing is close."""
    import difflib  # only for a message

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{prefix}{close[0]}'?" if close else None
