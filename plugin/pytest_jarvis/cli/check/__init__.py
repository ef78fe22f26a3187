"""`pytest-jarvis check`: find out whether this machine can run the configured benchmark, and how to fix it if not."""

import argparse

from pytest_jarvis.cli.common import Commands, add_pytest_options, print_json, print_lines, pytest_root


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "check", help="check Python, GPUs, packages, folders, adapters and memory of this machine; downloads nothing"
    )
    command.add_argument("--deep", action="store_true", help="import torch too, and compute in 4 bits on every device")
    command.add_argument("--json", action="store_true", help="print JSON instead")
    add_pytest_options(command)
    command.set_defaults(run=check)


def check(options: argparse.Namespace) -> int:
    """Print the findings; return 1 when one is an error."""
    from pytest_jarvis.cli.check.findings import check_lines, run_checks

    findings = run_checks(options, pytest_root())
    if options.json:
        names = ("step", "name", "status", "text", "command", "values")
        print_json([{name: getattr(finding, name) for name in names} for finding in findings])
    else:
        print_lines(check_lines(findings))
    return 1 if any(finding.status == "error" for finding in findings) else 0
