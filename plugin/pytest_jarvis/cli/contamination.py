"""`pytest-jarvis contamination`: the benchmark's prompts, and near copies of them, in training data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_jarvis.cli.common import configuration_of, say

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "contamination", help="find the benchmark's prompts, or near copies, in training data; exit status 1 if any"
    )
    command.add_argument(
        "files", metavar="TRAIN.jsonl", type=Path, nargs="+", help="JSONL or JSON of a fine-tune, or plain text"
    )
    command.add_argument(
        "--prompts", metavar="DIR", dest="jarvis_prompts", help="folder of prompts (default: as for pytest)"
    )
    command.add_argument(
        "--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json of this folder)"
    )
    command.add_argument("--json", action="store_true", help="print JSON instead")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from pytest_jarvis.run.settings import resolve_prompts

    conf, file = configuration_of(options.jarvis_config)
    folder = resolve_prompts(conf, options, file.parent, Path())
    return find_contamination(options.files, folder, as_json=options.json)


def find_contamination(files: Sequence[Path], folder: Path, *, as_json: bool) -> int:
    """Print where the folder's prompts stand in the files; return 1 when any does, else 0."""
    from pytest_jarvis.inputs.contamination import look_for
    from pytest_jarvis.inputs.prompts import load_prompts
    from pytest_jarvis.render.french.explanations import leak_lines

    # Those that tools add as well: a training set is looked through once, whatever is asked later.
    cases = load_prompts(folder, with_tools=True).cases
    found = look_for(cases, files)
    if as_json:
        say(msgspec.json.encode(found).decode(), sys.stdout)
    else:
        for line in leak_lines(found, {case.prompt_id: case.text for case in cases}):
            say(line, sys.stdout)
    return int(bool(found.leaks))
