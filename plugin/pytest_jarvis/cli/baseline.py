"""`pytest-jarvis baseline`: the run that candidates are held to; it moves by this command alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import configuration_of, say
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the command and its three actions."""
    command = commands.add_parser("baseline", help="set, show or clear the run that --jarvis-compare last means")
    actions = command.add_subparsers(metavar="ACTION", required=True)
    setting = actions.add_parser("set", help="make a report the baseline: it is copied, so that it outlives its folder")
    setting.add_argument("report", metavar="REPORT", type=Path, help="report.json, or the folder that holds it")
    showing = actions.add_parser("show", help="say which run is the baseline")
    clearing = actions.add_parser("clear", help="remove the baseline")
    for action in (setting, showing, clearing):
        action.add_argument(
            "--reports", metavar="DIR", type=Path, help="folder of the reports (default: the configured one)"
        )
    setting.set_defaults(run=lambda options: set_to(options.report, reports_folder(options)))
    showing.set_defaults(run=lambda options: show(reports_folder(options)))
    clearing.set_defaults(run=lambda options: clear(reports_folder(options)))


def reports_folder(options: argparse.Namespace) -> Path:
    """Return the folder of reports: the one named, else the configured one."""
    if options.reports is not None:
        return Path(options.reports)
    conf, _ = configuration_of(None)
    return Path(conf.output.folder)


def set_to(report: Path, reports: Path) -> int:
    """Make a report the baseline and say what it replaced; InputError for one that cannot be."""
    from pytest_jarvis.render.french import comparing
    from pytest_jarvis.report.saved_runs import set_baseline

    new, old = set_baseline(report, reports)
    if old is not None:
        say(comparing.baseline_was(old.report), sys.stdout)
    say(comparing.baseline_is(new.path.as_posix(), new.report), sys.stdout)
    return 0


def show(reports: Path) -> int:
    """Say which run is the baseline; 1 when none is set, InputError when it is damaged."""
    from pytest_jarvis.render.french import comparing
    from pytest_jarvis.report.saved_runs import BASELINE_FILE, read_saved

    file = reports / BASELINE_FILE
    if not file.exists():
        say(comparing.no_baseline(file.as_posix()), sys.stdout)
        return 1
    say(comparing.baseline_is(file.as_posix(), read_saved(file, "baseline").report), sys.stdout)
    return 0


def clear(reports: Path) -> int:
    """Remove the baseline; nothing to remove is no error."""
    from pytest_jarvis.render.french import comparing
    from pytest_jarvis.report.saved_runs import BASELINE_FILE

    file = reports / BASELINE_FILE
    try:
        file.unlink()
    except FileNotFoundError:
        say(comparing.no_baseline(file.as_posix()), sys.stdout)
        return 0
    except OSError as error:
        raise InputError(f"{file}: cannot be removed: {error.strerror or error}") from None
    say(comparing.baseline_cleared(file.as_posix()), sys.stdout)
    return 0
