"""`pytest-jarvis history`: list the saved runs and the trend of their gains."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_jarvis.cli.common import Commands, load_configuration, print_json, print_line, print_lines
from pytest_jarvis.files import InputError, write_atomically
from pytest_jarvis.render.french.words import word

if TYPE_CHECKING:
    from pytest_jarvis.report.history import Series


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("history", help="list the saved runs and the trend of their gains")
    command.add_argument(
        "folder", metavar="DIR", type=Path, nargs="?", help="folder of the reports (default: the configured one)"
    )
    command.add_argument("--png", metavar="FILE", type=Path, help="draw the trend in this file as well")
    command.add_argument("--json", action="store_true", help="print a JSON document instead")
    command.set_defaults(run=show_history)


def show_history(options: argparse.Namespace) -> int:
    """Print the runs under a folder, their trend, and the damaged reports; raise InputError if it does not exist."""
    from pytest_jarvis.render.saved_runs import history_lines

    folder = options.folder or Path(load_configuration(None)[0].output.folder)
    if not folder.is_dir():
        raise InputError(f"history: {folder}: no such folder; name the one that holds the reports")
    series, damaged = read_series(folder)
    if options.json:
        print_json({"series": msgspec.to_builtins(series), "damaged": damaged})
    else:
        print_lines(history_lines(series, str(folder)))
        for sentence in damaged:
            print_line(word("history.skipped", error=sentence), sys.stderr)
    if options.png is not None:
        from pytest_jarvis.render.charts.history import history_png

        try:
            write_atomically(options.png, history_png(series))
        except OSError as error:
            raise InputError(f"--png {options.png}: cannot be written: {error.strerror or error}") from None
        print_line(word("history.written", path=str(options.png)), sys.stderr if options.json else sys.stdout)
    return 0


def read_series(folder: Path) -> tuple[tuple[Series, ...], list[str]]:
    """Return the runs of a folder in series, and the error of each report that cannot be read."""
    from pytest_jarvis.report.history import group_series, history_entries
    from pytest_jarvis.report.saved_runs import current_baseline, saved_runs

    baseline = current_baseline(folder)
    baseline_sha256 = baseline.sha256 if baseline else None
    runs, damaged = [], []
    for run in saved_runs(folder):
        if isinstance(run, InputError):
            damaged.append(str(run))
            continue
        entries = history_entries(run.report, run.path.as_posix(), run.sha256, baseline_sha256=baseline_sha256)
        runs.append((entries, run.report))
    return group_series(runs), damaged
