"""`pytest-jarvis contamination`: find the benchmark's prompts, and near copies of them, in training data."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from pytest_jarvis.cli.common import Commands, add_prompts_option, print_line, print_lines, prompts_folder


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "contamination", help="find the benchmark's prompts, or near copies, in training data; exit status 1 if any"
    )
    command.add_argument(
        "files", metavar="TRAIN.jsonl", type=Path, nargs="+", help="training data: JSONL, JSON or plain text"
    )
    add_prompts_option(command)
    command.add_argument("--json", action="store_true", help="print JSON instead")
    command.set_defaults(run=find_contamination)


def find_contamination(options: argparse.Namespace) -> int:
    """Print where the benchmark's prompts occur in the files; return 1 when any does, else 0."""
    from pytest_jarvis.inputs.contamination import search_training_data
    from pytest_jarvis.inputs.prompts import load_prompts
    from pytest_jarvis.render.french.explanations import leak_lines

    # With the prompts that options add: training data is searched once, whatever is benchmarked later.
    cases = load_prompts(prompts_folder(options), add=("with_tools", "guards")).cases
    found = search_training_data(cases, options.files)
    if options.json:
        print_line(msgspec.json.encode(found).decode())
    else:
        print_lines(leak_lines(found, {case.prompt_id: case.text for case in cases}))
    return int(bool(found.leaks))
