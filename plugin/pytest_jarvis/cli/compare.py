"""`pytest-jarvis compare`: show prompt by prompt what changed from one saved run to others."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_jarvis.cli.common import Commands, print_json, print_line
from pytest_jarvis.files import InputError


def add(commands: Commands) -> None:
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
