"""`pytest-jarvis check`: whether this machine can run the configured benchmark, and what mends what is in the way."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import say

if TYPE_CHECKING:
    from pytest_jarvis.cli.check.findings import Finding
    from pytest_jarvis.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the command."""
    from pytest_jarvis.inputs.options import declare

    command = commands.add_parser(
        "check", help="look at this machine: Python, GPUs, packages, folders, adapters, memory; nothing is downloaded"
    )
    command.add_argument("--deep", action="store_true", help="import torch too, and compute in 4 bits on every device")
    command.add_argument("--json", action="store_true", help="print JSON instead")
    command.add_argument("--config", metavar="FILE", dest="file", help="the same as --jarvis-config")
    declare(command.add_argument_group("options of pytest, as on its command line").add_argument)
    command.set_defaults(run=check)


def check(options: argparse.Namespace) -> int:
    """Print the findings; return 1 when something must be mended."""
    from pytest_jarvis.cli.check.findings import check_up
    from pytest_jarvis.cli.check.french import check_lines

    if options.file is not None:
        options.jarvis_config = options.file
    findings = check_up(options, Path())
    if options.json:
        say(json.dumps([_row(finding) for finding in findings], ensure_ascii=False, indent=1, default=str), sys.stdout)
    else:
        for line in check_lines(findings):
            say(line, sys.stdout)
    return 1 if any(finding.status == "error" for finding in findings) else 0


def _row(finding: Finding) -> dict[str, object]:
    return {
        "step": finding.step,
        "name": finding.name,
        "status": finding.status,
        "text": finding.text,
        "command": finding.command,
        "values": finding.values,
    }
