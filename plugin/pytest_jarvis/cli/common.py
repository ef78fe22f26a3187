"""What the commands of `pytest-jarvis` share: a parser that says what is wrong in one sentence, and how they print."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_jarvis.inputs.config import Config

    Commands = argparse._SubParsersAction["Parser"]  # noqa: SLF001  # argparse has no public name for it
    """Where a command adds itself: `add(commands)` of its module."""
    Run = Callable[[argparse.Namespace], int]
    """What a command's parser holds under the default `run`: it gives back the exit status."""


USAGE_ERROR: Final = 4
"""The exit status of an input that cannot be used, as pytest's."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in one sentence, and exits as for any wrong input."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence, with the nearest of the names that are known, and exit."""
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        said = f"; see {self.prog} --help"
        if choice is not None:
            from pytest_jarvis.files import nearest  # only for a message

            said = nearest(choice[1], [name.strip(" '") for name in choice[2].split(",")], otherwise=said)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}{said}\n")


def say(text: str, stream: TextIO) -> None:
    """Print a line, whatever the stream's encoding can hold of it."""
    from pytest_jarvis.render.french import encodable

    print(encodable(text, stream.encoding), file=stream)


def configuration_of(named: str | None) -> tuple[Config, Path]:
    """Return the configuration of a named file, else of this folder's, else the defaults; and where it stands.

    Raises InputError with the place of what is wrong.
    """
    from pathlib import Path

    from pytest_jarvis.run.settings import read_configuration

    return read_configuration(named, Path())
