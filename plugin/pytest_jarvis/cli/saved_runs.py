"""Commands on saved reports: `analyze` writes their files again; `compare`, `baseline` and `history` compare runs."""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from pytest_jarvis.cli.common import Commands, load_configuration, print_json, print_line, print_lines, pytest_root
from pytest_jarvis.files import InputError, write_atomically
from pytest_jarvis.render.french.words import word
from pytest_jarvis.report.history import Series


def add_analyze(commands: Commands) -> None:
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
        on_written=lambda path: print_line(word("labels.written", file=str(path))),
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


def add_compare(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("compare", help="show prompt by prompt what changed from one saved run to others")
    command.add_argument("first", metavar="A.json", type=Path, help="report.json, or the folder that holds it")
    command.add_argument(
        "others", metavar="B.json", type=Path, nargs="+", help="further reports; each is compared with the first"
    )
    command.add_argument(
        "--adapter",
        metavar="A=B",
        type=_pair,
        action="append",
        default=[],
        help="compare adapter A of the first report with B of the others (default: by name, else by position)",
    )
    command.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="output format (default: text)"
    )
    command.set_defaults(run=compare)


def compare(options: argparse.Namespace) -> int:
    """Print each other report against the first; raise InputError for a damaged report or an unknown adapter."""
    from pytest_jarvis.render.saved_runs import ComparedRuns, comparison_document, comparison_markdown, comparison_text
    from pytest_jarvis.report.comparison import compare_runs
    from pytest_jarvis.report.io import load_report

    first: Path = options.first
    stored = load_report(first)
    found = []
    for path in options.others:
        new = load_report(path)
        try:
            comparison = compare_runs(stored, new, dict(options.adapter) or None)
        except ValueError as error:
            raise InputError(f"--adapter: {first} against {path}: {error}") from None
        found.append(
            ComparedRuns(
                stored_path=first.as_posix(), new_path=path.as_posix(), stored=stored, new=new, comparison=comparison
            )
        )
    if options.format == "json":
        print_json([comparison_document(runs) for runs in found])
        return 0
    render = comparison_markdown if options.format == "markdown" else comparison_text
    print_line("\n\n".join(render(runs) for runs in found))
    return 0


def _pair(text: str) -> tuple[str, str]:
    stored, _, new = text.partition("=")
    if not (stored and new):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected A=B: an adapter of the first report, one of others")
    return stored, new


def add_baseline(commands: Commands) -> None:
    """Add the command and its three actions."""
    command = commands.add_parser("baseline", help="set, show or clear the run that --jarvis-compare last uses")
    actions = command.add_subparsers(metavar="ACTION", required=True)
    setting = actions.add_parser("set", help="copy a report to be the baseline, so that it outlives its folder")
    setting.add_argument("report", metavar="REPORT", type=Path, help="report.json, or the folder that holds it")
    setting.set_defaults(run=set_baseline_to)
    showing = actions.add_parser("show", help="show which run is the baseline")
    showing.set_defaults(run=show_baseline)
    clearing = actions.add_parser("clear", help="remove the baseline")
    clearing.set_defaults(run=clear_baseline)
    for action in (setting, showing, clearing):
        action.add_argument(
            "--reports", metavar="DIR", type=Path, help="folder of the reports (default: the configured one)"
        )


def _reports_folder(options: argparse.Namespace) -> Path:
    return options.reports or pytest_root() / load_configuration(None)[0].output.folder


def set_baseline_to(options: argparse.Namespace) -> int:
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


def show_baseline(options: argparse.Namespace) -> int:
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


def clear_baseline(options: argparse.Namespace) -> int:
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


def add_history(commands: Commands) -> None:
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

    folder = options.folder or pytest_root() / load_configuration(None)[0].output.folder
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
