"""`pytest-jarvis analyze`: the files of a saved report, made again."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import say
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    command = commands.add_parser("analyze", help="make the files of a saved report again, without a model")
    command.add_argument("report", metavar="REPORT", type=Path, help="report.json, or the folder that holds it")
    command.add_argument(
        "--format",
        metavar="LIST",
        type=_formats,
        help="which files, by their names in output.formats, separated by commas (default: all of our own)",
    )
    command.add_argument("--out", metavar="DIR", type=Path, help="where to (default: beside the report)")
    command.set_defaults(run=lambda options: analyze(options.report, options.format, options.out))


def analyze(source: Path, formats: Sequence[str] | None, out: Path | None) -> int:
    """Make the files of a saved report again, beside it or in `out`, and print what was written."""
    from pytest_jarvis.inputs.config import FILES
    from pytest_jarvis.render.files import write_outputs
    from pytest_jarvis.render.french import labels
    from pytest_jarvis.render.markdown import STEP_SUMMARY_VARIABLE
    from pytest_jarvis.report.io import load_report

    report = load_report(source)
    folder = out or (source if source.is_dir() else source.parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be made: {error.strerror or error}") from None
    summary = os.environ.get(STEP_SUMMARY_VARIABLE)
    problems = write_outputs(
        report,
        folder,
        list(FILES) if formats is None else formats,
        step_summary=Path(summary) if summary else None,
        on_written=lambda path: say(labels.written(str(path)), sys.stdout),
    )
    for problem in problems:
        say(problem.sentence, sys.stderr)
    return 1 if problems else 0


def _formats(text: str) -> list[str]:
    """Return the formats of a list; argparse shows the message of a wrong one."""
    from pytest_jarvis.inputs.config import unknown_format

    asked = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [said for name in asked if (said := unknown_format(name))]
    if wrong or not asked:
        raise argparse.ArgumentTypeError(wrong[0] if wrong else "found nothing, expected names of formats")
    return asked
