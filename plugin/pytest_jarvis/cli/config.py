"""`pytest-jarvis config`: show the resolved configuration, its JSON Schema, or every key."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.cli.common import Commands, add_pytest_options, print_json, print_line, print_lines
from pytest_jarvis.render.french.formats import fit, printable, typeset, width_of
from pytest_jarvis.render.text import wrap

if TYPE_CHECKING:
    from pytest_jarvis.run.settings import Origin, Settings


_ORIGINS: Final[Mapping[str, str]] = {"option": "option {by}", "file": "fichier", "default": "défaut"}
_RESULTS: Final[Mapping[str, str]] = {
    "engine": "moteur",
    "adapters": "adaptateurs",
    "prompts": "prompts",
    "looks": "réponses par prompt et bras",
    "reports": "rapport",
}
_KEY_WIDTH: Final = 28
_VALUE_WIDTH: Final = 34
_LEAST_VALUE: Final = 24
"""In a terminal with fewer columns left for values, they stand under their keys."""


def add(commands: Commands) -> None:
    """Add the command and its three parts."""
    command = commands.add_parser("config", help="show the configuration, its JSON Schema, or every key")
    parts = command.add_subparsers(metavar="show | schema | keys", required=True)
    show = parts.add_parser("show", help="print the value of each key and where it comes from: file, option or default")
    show.add_argument("--json", action="store_true", help="print JSON instead")
    add_pytest_options(show)
    show.set_defaults(run=_show)
    schema = parts.add_parser("schema", help="print the JSON Schema of benchmark_config.json")
    schema.set_defaults(run=_print_schema)
    keys = parts.add_parser("keys", help="print a table of every key, in Markdown")
    keys.set_defaults(run=_print_keys)


def _show(options: argparse.Namespace) -> int:
    from pytest_jarvis.run.settings import origins, resolve

    result = _result(resolve(options, Path()))
    found = origins(options, Path())
    if options.json:
        values: dict[str, dict[str, Any]] = {}
        for origin in found:
            row = {"value": origin.value, "from": origin.kind, "by": origin.by}
            values.setdefault(origin.section, {})[origin.key] = row
        print_json({"values": values, "result": result})
        return 0
    # A pipe gets one line for each key.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_lines(settings_lines(found, result, width=width))
    return 0


def _result(settings: Settings) -> dict[str, Any]:
    """Return the values that follow from several keys together."""
    return {
        "engine": settings.engine,
        "adapters": {adapter.name: adapter.source for adapter in settings.adapters},
        "prompts": str(settings.prompts_folder),
        "looks": list(settings.gate.looks),
        "reports": str(settings.report_folder or settings.reports_root / settings.run_name),
    }


def settings_lines(origins: Sequence[Origin], result: Mapping[str, Any], *, width: int | None = None) -> list[str]:
    """Return a line for each key under its section, then the result.

    No value is cut: in a terminal of `width` columns a long one continues on the next lines.
    """
    files = sorted({str(origin.by) for origin in origins if origin.kind == "file"})
    lines = [typeset(f"Fichier : {printable(', '.join(files)) or 'aucun'}")]
    section = ""
    for origin in origins:
        if origin.section != section:
            section = origin.section
            lines += ["", section]
        lines += _lines(origin.key, origin.value, _ORIGINS[origin.kind].format(by=origin.by), width)
    lines += ["", "Ce qui en résulte"]
    for name, value in result.items():
        lines += _lines(_RESULTS.get(name, name), value, "", width)
    return lines


def _lines(key: str, value: object, origin: str, width: int | None) -> list[str]:
    """Return a key with its value as JSON and its origin; the value is wrapped where `width` has no room for it."""
    text = printable(json.dumps(value, ensure_ascii=False))
    head = f"  {fit(key, max(_KEY_WIDTH, width_of(key)))} "
    line = f"{head}{fit(text, max(_VALUE_WIDTH, width_of(text)))}  {origin}".rstrip()
    if width is None or width_of(line) <= width:
        return [line]
    # The last column stays free: some terminals begin a new line when it is written.
    under = width - width_of(head) - 1 < _LEAST_VALUE
    indent = "    " if under else " " * width_of(head)
    wrapped = wrap(text, max(1, width - len(indent) - 1))
    lines = [*([head.rstrip()] if under else ()), *(f"{indent}{part}" for part in wrapped)]
    if not under:
        lines[0] = f"{head}{wrapped[0]}"
    if origin and width_of(lines[-1]) + 2 + width_of(origin) < width:
        return [*lines[:-1], f"{lines[-1]}  {origin}"]
    return [*lines, *([f"{indent}{origin}"] if origin else ())]


def _print_schema(_: argparse.Namespace) -> int:
    from pytest_jarvis.inputs.config_schema import SCHEMA_FILE

    print_line(SCHEMA_FILE.read_text(encoding="utf-8").rstrip())
    return 0


def _print_keys(_: argparse.Namespace) -> int:
    from pytest_jarvis.inputs.config_schema import keys_table

    print_line(keys_table().rstrip())
    return 0
