"""`pytest-jarvis config`: what the configuration and the options come to, and what the file may hold."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.cli.common import Parser, say
from pytest_jarvis.render.french import fit, width_of
from pytest_jarvis.render.french.formats import printable, typeset
from pytest_jarvis.render.text import wrap

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands
    from pytest_jarvis.run.settings import Origin, Settings


_FROM: Final[Mapping[str, str]] = {"option": "option {by}", "file": "fichier", "default": "défaut"}
_RESULT: Final[Mapping[str, str]] = {
    "engine": "moteur",
    "adapters": "adaptateurs",
    "prompts": "prompts",
    "looks": "réponses par prompt et bras",
    "reports": "rapport",
}
RESULTS: Final = "Ce qui en résulte"


def files_line(files: Sequence[str]) -> str:
    """Return which files the configuration is of."""
    return typeset(f"Fichier : {printable(', '.join(files)) or 'aucun'}")


def come_from(kind: str, by: str | None) -> str:
    """Return where a value comes from."""
    return _FROM[kind].format(by=by)


def result_name(name: str) -> str:
    """Return what is called so that comes of everything together."""
    return _RESULT.get(name, name)


def shown(value: object) -> str:
    """Return a value as the file has it, on one line."""
    return printable(json.dumps(value, ensure_ascii=False))


_KEY_WIDTH: Final = 28
_VALUE_WIDTH: Final = 34
_LEAST_VALUE: Final = 24
"""A terminal with less room for values has them under their keys."""


def settings_lines(origins: Sequence[Origin], result: Mapping[str, Any], *, width: int | None = None) -> list[str]:
    """Return a line per key under its section, then what they come to together.

    Every value is whole: in a terminal of `width` columns a long one goes on on the next lines.
    """
    files = {origin.by for origin in origins if origin.kind == "file"}
    lines = [files_line(sorted(map(str, files)))]
    section = ""
    for origin in origins:
        if origin.section != section:
            section = origin.section
            lines += ["", section]
        lines += _lines(origin.key, shown(origin.value), come_from(origin.kind, origin.by), width)
    lines += ["", RESULTS]
    for name, value in result.items():
        lines += _lines(result_name(name), shown(value), "", width)
    return lines


def _lines(key: str, value: str, told: str, width: int | None) -> list[str]:
    """Return a key with its value and where that comes from; the value wrapped where `width` has no room for it."""
    head = f"  {fit(key, max(_KEY_WIDTH, width_of(key)))} "
    line = f"{head}{fit(value, max(_VALUE_WIDTH, width_of(value)))}  {told}".rstrip()
    if width is None or width_of(line) <= width:
        return [line]
    # The last column stays free: some terminals begin a new line when it is written.
    under = width - width_of(head) - 1 < _LEAST_VALUE
    indent = "    " if under else " " * width_of(head)
    wrapped = wrap(value, max(1, width - len(indent) - 1))
    lines = [*([head.rstrip()] if under else ()), *(f"{indent}{part}" for part in wrapped)]
    if not under:
        lines[0] = f"{head}{wrapped[0]}"
    if told and width_of(lines[-1]) + 2 + width_of(told) < width:
        return [*lines[:-1], f"{lines[-1]}  {told}"]
    return [*lines, *([f"{indent}{told}"] if told else ())]


def add(commands: Commands) -> None:
    """Declare the command and its three parts."""
    from pytest_jarvis.inputs.options import declare

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
    from pytest_jarvis.run.settings import origins, resolve

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
        "looks": list(settings.gate.looks),
        "reports": str(settings.report_folder or settings.reports_root / settings.run_name),
    }


def _print_schema() -> int:
    from pytest_jarvis.inputs.config_schema import encode_schema

    say(encode_schema().rstrip(), sys.stdout)
    return 0


def _print_keys() -> int:
    from pytest_jarvis.inputs.config_schema import keys_table

    say(keys_table().rstrip(), sys.stdout)
    return 0
