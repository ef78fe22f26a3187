"""What the commands of `pytest-jarvis` share: the argument parser, common options, output, and the configuration."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TextIO, TypeAlias

if TYPE_CHECKING:
    from pytest_jarvis.inputs.config import Config

Run = Callable[[argparse.Namespace], int]
"""A command's function, the default `run` of its parser: it returns the exit status."""

USAGE_ERROR: Final = 4  # Exit status for unusable input, the same as pytest's.


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one sentence and exits with `USAGE_ERROR`."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence, with the closest known name for a wrong one, and exit."""
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        hint = f"; see {self.prog} --help"
        if choice is not None:
            from pytest_jarvis.files import suggest  # only for a message

            hint = suggest(choice[1], [name.strip(" '") for name in choice[2].split(",")], otherwise=hint)
        print_line(f"{self.prog}: {message}{hint}", sys.stderr)
        self.exit(USAGE_ERROR)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # argparse has no public name for it
"""What the `add(commands)` of a command's module adds its parser to."""


def add_prompts_option(command: Parser) -> None:
    """Add `--prompts` and `--jarvis-config` to a command that reads prompts: see `prompts_folder`."""
    command.add_argument(
        "--prompts", metavar="DIR", dest="jarvis_prompts", help="folder of prompts (default: as for pytest)"
    )
    add_configuration_option(command)


def add_configuration_option(command: Parser) -> None:
    """Add `--jarvis-config` to a command that takes no other option of pytest."""
    command.add_argument(
        "--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json in this folder)"
    )


def add_pytest_options(command: Parser) -> None:
    """Add pytest's own options to a command, and `--config` as another name of `--jarvis-config`."""
    from pytest_jarvis.inputs.options import declare

    command.add_argument("--config", metavar="FILE", dest="jarvis_config", help="the same as --jarvis-config")
    declare(command.add_argument_group("options of pytest, as on its command line").add_argument)


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Print a line, or several, to standard output or `stream`, without what would control a terminal.

    Characters that its encoding lacks are replaced.
    """
    from pytest_jarvis.render.french.formats import encodable, printable

    stream = stream or sys.stdout
    print(encodable("\n".join(map(printable, text.split("\n"))), stream.encoding), file=stream)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to standard output."""
    for line in lines:
        print_line(line)


def print_json(value: object) -> None:
    """Print a value as JSON; one that JSON lacks, such as a path, as its text. Invisible characters are escaped."""
    from pytest_jarvis.render.french.formats import printable

    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    print_line("".join(char if char in printable(char) + "\n" else json.dumps(char)[1:-1] for char in text))


def pytest_root() -> Path:
    """Return the root folder that pytest would have in this one, relative to it."""
    from pytest_jarvis.files import find_root

    return find_root(Path())


def load_configuration(file: str | None) -> tuple[Config, Path]:
    """Return the configuration in `file`, else that of pytest here, else the defaults; and its path.

    Raises InputError with the place of the first fault.
    """
    from pytest_jarvis.run.settings import read_configuration

    return read_configuration(file, pytest_root())


def prompts_folder(options: argparse.Namespace) -> Path:
    """Return the folder of prompts that pytest would use in this folder, or that of `--prompts`."""
    from pytest_jarvis.run.settings import resolve_prompts

    conf, file = load_configuration(options.jarvis_config)
    return resolve_prompts(conf, options, file.parent, pytest_root())
