"""`pytest-jarvis baseline`: set, show or clear the saved run that candidates are tested against."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_jarvis.cli.common import Commands, load_configuration, print_line
from pytest_jarvis.files import InputError
from pytest_jarvis.render.french.words import word


def add(commands: Commands) -> None:
    """Add the command and its three actions."""
    command = commands.add_parser("baseline", help="set, show or clear the run that --jarvis-compare last uses")
    actions = command.add_subparsers(metavar="ACTION", required=True)
    setting = actions.add_parser("set", help="copy a report to be the baseline, so that it outlives its folder")
    setting.add_argument("report", metavar="REPORT", type=Path, help="report.json, or the folder that holds it")
    setting.set_defaults(run=set_to)
    showing = actions.add_parser("show", help="show which run is the baseline")
    showing.set_defaults(run=show)
    clearing = actions.add_parser("clear", help="remove the baseline")
    clearing.set_defaults(run=clear)
    for action in (setting, showing, clearing):
        action.add_argument(
            "--reports", metavar="DIR", type=Path, help="folder of the reports (default: the configured one)"
        )


def _reports_folder(options: argparse.Namespace) -> Path:
    return options.reports or Path(load_configuration(None)[0].output.folder)


def set_to(options: argparse.Namespace) -> int:
    """Make a report the baseline and print what it replaced; raise InputError for an unusable report."""
    from pytest_jarvis.render.french.saved_runs import day_of, run_line
    from pytest_jarvis.report.saved_runs import set_baseline

    new, old = set_baseline(options.report, _reports_folder(options))
    if old is not None:
        commit = old.report.provenance.commit
        shown = f" · commit {commit[:12]}" if commit else ""
        print_line(word("saved_runs.baseline_was", day=day_of(old.report.metadata.timestamp), commit=shown))
    print_line(word("saved_runs.baseline", run=run_line(new.path.as_posix(), new.report)))
    return 0


def show(options: argparse.Namespace) -> int:
    """Print which run is the baseline; return 1 when none is set, raise InputError when it is damaged."""
    from pytest_jarvis.render.french.saved_runs import run_line
    from pytest_jarvis.report.saved_runs import BASELINE_FILE, read_saved

    file = _reports_folder(options) / BASELINE_FILE
    if not file.exists():
        print_line(word("saved_runs.no_baseline", path=file.as_posix()))
        return 1
    run = run_line(file.as_posix(), read_saved(file, "baseline").report)
    print_line(word("saved_runs.baseline", run=run))
    return 0


def clear(options: argparse.Namespace) -> int:
    """Remove the baseline, if there is one."""
    from pytest_jarvis.report.saved_runs import BASELINE_FILE

    file = _reports_folder(options) / BASELINE_FILE
    try:
        file.unlink()
    except FileNotFoundError:
        print_line(word("saved_runs.no_baseline", path=file.as_posix()))
        return 0
    except OSError as error:
        raise InputError(f"{file}: cannot be removed: {error.strerror or error}") from None
    print_line(word("saved_runs.baseline_cleared", path=file.as_posix()))
    return 0
