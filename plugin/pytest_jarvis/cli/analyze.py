"""`pytest-jarvis analyze`: write the files of a saved report again, without a model."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pytest_jarvis.cli.common import Commands, print_line
from pytest_jarvis.files import InputError


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("analyze", help="write the files of a saved report again, without a model")
    command.add_argument("report", metavar="REPORT", type=Path, help="report.json, or the folder that holds it")
    command.add_argument(
        "--format",
        metavar="LIST",
        type=_formats,
        help="formats to write, separated by commas, as in output.formats (default: all built-in ones)",
    )
    command.add_argument("--out", metavar="DIR", type=Path, help="folder to write to (default: beside the report)")
    command.set_defaults(run=analyze)


def analyze(options: argparse.Namespace) -> int:
    """Write the files of a saved report beside it or in `--out`, and print their paths; return 1 if one failed."""
    from pytest_jarvis.inputs.config import FILES
    from pytest_jarvis.render.files import write_outputs
    from pytest_jarvis.render.french import labels
    from pytest_jarvis.render.markdown import STEP_SUMMARY_VARIABLE
    from pytest_jarvis.report.io import load_report

    source: Path = options.report
    report = load_report(source)
    folder = options.out or (source if source.is_dir() else source.parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be made: {error.strerror or error}") from None
    summary = os.environ.get(STEP_SUMMARY_VARIABLE)
    problems = write_outputs(
        report,
        folder,
        options.format or list(FILES),
        step_summary=Path(summary) if summary else None,
        on_written=lambda path: print_line(labels.file_written(str(path))),
    )
    for problem in problems:
        print_line(problem.sentence, sys.stderr)
    return 1 if problems else 0


def _formats(text: str) -> list[str]:
    from pytest_jarvis.inputs.config import unknown_format

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("found nothing, expected names of formats")
    for name in names:
        if fault := unknown_format(name):
            raise argparse.ArgumentTypeError(fault)
    return names
