"""`pytest-jarvis config`: what the configuration and the options come to, and what the file may hold."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_jarvis.cli.common import Parser, say

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands
    from pytest_jarvis.settings import Settings


def add(commands: Commands) -> None:
    """Declare the command and its three parts."""
    from pytest_jarvis.options import declare

    command = commands.add_parser("config", help="show the configuration, its JSON Schema, or every key")
    parts = command.add_subparsers(metavar="show | schema | keys", required=True, parser_class=Parser)
    show = parts.add_parser("show", help="print what file and options come to, and where each value comes from")
    show.add_argument("--config", metavar="FILE", dest="file", help="the same as --jarvis-config")
    show.add_argument("--json", action="store_true", help="print JSON instead")
    declare(show.add_argument_group("options of pytest, as on its command line").add_argument)
    show.set_defaults(run=_show)
    schema = parts.add_parser("schema", help="print the JSON Schema of benchmark_config.json")
    schema.set_defaults(run=lambda _: _print_schema())
    keys = parts.add_parser("keys", help="print a table of every key, in Markdown")
    keys.set_defaults(run=lambda _: _print_keys())


def _show(options: argparse.Namespace) -> int:
    from pytest_jarvis.outputs.configuration import settings_lines
    from pytest_jarvis.settings import origins, resolve

    if options.file is not None:
        options.jarvis_config = options.file
    settings = resolve(options, Path())
    come_from = origins(options, Path())
    result = _result(settings)
    if options.json:
        values: dict[str, dict[str, Any]] = {}
        for origin in come_from:
            told = {"value": origin.value, "from": origin.kind, "by": origin.by}
            values.setdefault(origin.section, {})[origin.key] = told
        say(json.dumps({"values": values, "result": result}, ensure_ascii=False, indent=1), sys.stdout)
        return 0
    # Who pipes the lines elsewhere wants one for each key.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in settings_lines(come_from, result, width=width):
        say(line, sys.stdout)
    return 0


def _result(settings: Settings) -> dict[str, Any]:
    """Return what is found only when everything is put together."""
    return {
        "engine": settings.engine,
        "adapters": {adapter.name: adapter.source for adapter in settings.adapters},
        "prompts": str(settings.prompts_folder),
        "looks": list(settings.looks),
        "reports": str(settings.report_folder or settings.reports_root / settings.run_name),
    }


def _print_schema() -> int:
    from pytest_jarvis.config_schema import encode_schema

    say(encode_schema().rstrip(), sys.stdout)
    return 0


def _print_keys() -> int:
    from pytest_jarvis.config_schema import keys_table

    say(keys_table().rstrip(), sys.stdout)
    return 0
