"""`pytest-jarvis`: what can be done without running tests; one module a command, without pytest and without torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli import (
    adapters,
    analyze,
    baseline,
    check,
    compare,
    config,
    contamination,
    history,
    prompts,
    store,
)
from pytest_jarvis.cli.common import USAGE_ERROR, Parser, say
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Run


__all__ = ["USAGE_ERROR", "main"]

_COMMANDS = (check, analyze, adapters, compare, config, baseline, history, store, contamination, prompts)
"""The modules of the commands, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for what the command found wrong, 4 for a wrong input."""
    options = _parser().parse_args(arguments)
    run: Run = options.run
    try:
        return run(options)
    except InputError as error:
        say(f"pytest-jarvis: {error}", sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:
        # Whoever reads the output has seen enough (`| head`); what Python flushes at its end goes nowhere.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 1


def _parser() -> Parser:
    from pytest_jarvis import __version__

    parser = Parser(prog="pytest-jarvis", description="Read and compare the reports of pytest --jarvis-report.")
    parser.add_argument("--version", action="version", version=f"pytest-jarvis {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in _COMMANDS:
        command.add(commands)
    return parser
