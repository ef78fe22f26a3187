"""`pytest-jarvis compare`: what changed from one saved run to others, prompt by prompt."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import say
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    command = commands.add_parser("compare", help="say prompt by prompt what changed from one saved run to others")
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
        "--format", choices=("text", "markdown", "json"), default="text", help="what to print (default: text)"
    )
    command.set_defaults(
        run=lambda options: compare(options.first, options.others, dict(options.adapter), options.format)
    )


def compare(first: Path, others: Sequence[Path], adapters: Mapping[str, str], kind: str) -> int:
    """Print each of `others` against the first; InputError for a damaged report or an adapter that is not there."""
    from pytest_jarvis.render.comparison import ComparedRuns, comparison_document, comparison_markdown, comparison_text
    from pytest_jarvis.report.comparison import compare_runs
    from pytest_jarvis.report.io import load_report

    stored = load_report(first)
    found = []
    for path in others:
        new = load_report(path)
        try:
            comparison = compare_runs(stored, new, adapters or None)
        except ValueError as error:
            raise InputError(f"--adapter: {first} against {path}: {error}") from None
        found.append(
            ComparedRuns(
                stored_path=first.as_posix(), new_path=path.as_posix(), stored=stored, new=new, comparison=comparison
            )
        )
    if kind == "json":
        say(json.dumps([comparison_document(one) for one in found], ensure_ascii=False, indent=1), sys.stdout)
        return 0
    render = comparison_markdown if kind == "markdown" else comparison_text
    say("\n\n".join(render(one) for one in found), sys.stdout)
    return 0


def _pair(text: str) -> tuple[str, str]:
    """Return the two names of « A=B »; argparse shows the message of a wrong one."""
    stored, equals, new = text.partition("=")
    if not (equals and stored and new):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected A=B: an adapter of the first report, one of others")
    return stored, new
