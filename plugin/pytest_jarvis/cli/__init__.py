"""`pytest-jarvis`, the door from the shell: its commands by what they work on, without pytest and without torch."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_jarvis import __version__
from pytest_jarvis.cli import adapters, check, config, judge, prompts, saved_runs, store
from pytest_jarvis.cli.common import USAGE_ERROR, Parser, Run, print_line
from pytest_jarvis.files import InputError, text_fault

__all__ = ["USAGE_ERROR", "main"]

_COMMANDS = (
    check.add,
    saved_runs.add_analyze,
    adapters.add,
    saved_runs.add_compare,
    config.add,
    saved_runs.add_baseline,
    saved_runs.add_history,
    store.add,
    prompts.add_contamination,
    prompts.add,
    judge.add,
)
"""What adds each command, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 for a finding of the command, 4 for unusable input."""
    parser = Parser(prog="pytest-jarvis", description="Work on the inputs and saved reports of pytest --jarvis-report.")
    parser.add_argument("--version", action="version", version=f"pytest-jarvis {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in _COMMANDS:
        add(commands)
    options = parser.parse_args(arguments)
    for word in sys.argv[1:] if arguments is None else arguments:
        if fault := text_fault(word):
            parser.error(f"argument {word!r}: {fault}")
    run: Run = options.run
    try:
        return run(options)
    except InputError as error:
        print_line(f"pytest-jarvis: {error}", sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:
        # The reader of the output closed it (`| head`): discard what Python flushes at its end.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 1
