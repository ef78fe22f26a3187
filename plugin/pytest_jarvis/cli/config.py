"""`pytest-jarvis config`: show the resolved configuration, its JSON Schema, or every key."""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_jarvis.cli.common import Commands, add_pytest_options, print_json, print_line, print_lines, pytest_root
from pytest_jarvis.render.french.formats import fit, printable, width_of
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.render.text import wrap
from pytest_jarvis.run.settings import Origin, Settings

_KEY_WIDTH: Final = 28
_VALUE_WIDTH: Final = 34
_LEAST_VALUE: Final = 24  # In a terminal with fewer columns left for values, they stand under their keys.


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

    result = _result(resolve(options, pytest_root()))
    found = origins(options, pytest_root())
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
    lines = [word("config.file", files=", ".join(files) or word("labels.none"))]
    section = ""
    for origin in origins:
        if origin.section != section:
            section = origin.section
            lines += ["", section]
        lines += _lines(origin.key, origin.value, table("config.origins")[origin.kind].format(by=origin.by), width)
    lines += ["", word("config.result")]
    for name, value in result.items():
        lines += _lines(table("config.results").get(name, name), value, "", width)
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
    print_line(SCHEMA_FILE.read_text(encoding="utf-8").rstrip())
    return 0


def _print_keys(_: argparse.Namespace) -> int:
    print_line(keys_table().rstrip())
    return 0


SCHEMA_FILE: Final = Path(__file__).parents[1] / "schema" / "benchmark_config.schema.json"
"""The shipped schema, for the `$schema` of a configuration."""


_NESTED: Final[Mapping[str, tuple[str, str]]] = {
    "array": ("a list of", "items"),
    "object": ("a table, name to", "additionalProperties"),
}
_PLAIN: Final[Mapping[str, str]] = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a string",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the configuration."""

    section: str
    name: str
    default: Any
    """In JSON."""
    allowed: str
    """The allowed values, in words."""
    description: str


def keys() -> Iterator[Key]:
    """Yield every key of the six sections, in the order of their definitions."""
    definitions = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["$defs"]
    for section, reference in definitions["Config"]["properties"].items():
        if "$ref" not in reference:
            continue
        for name, rule in definitions[_target(reference)]["properties"].items():
            yield Key(
                section=section,
                name=name,
                default=rule.get("default"),
                allowed=_allowed_text(rule, definitions),
                description=rule.get("description", ""),
            )


def keys_table() -> str:
    """Return the keys as Markdown: a heading and a table for each section."""
    lines: list[str] = []
    section = None
    for key in keys():
        if key.section != section:
            section = key.section
            lines += ["", f"### `{section}`", "", "| key | takes | default | |", "| --- | --- | --- | --- |"]
        default = f"`{json.dumps(key.default, ensure_ascii=False)}`"
        described = key.description.replace("\n\n", " ").replace("\n", " ").replace("|", "\\|")
        lines.append(f"| `{key.name}` | {key.allowed} | {default} | {described} |")
    return "\n".join(lines[1:]) + "\n"


def _allowed(rule: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """Return the values that a rule of the schema allows, in words."""
    if "anyOf" in rule:
        return [said for one in rule["anyOf"] for said in _allowed(one, definitions)]
    if "enum" in rule:
        return [f"`{json.dumps(value)}`" for value in rule["enum"]]
    if "$ref" in rule:
        return ["a table of " + ", ".join(f"`{key}`" for key in definitions[_target(rule)]["properties"])]
    kind = str(rule["type"])
    if kind in _NESTED:
        lead, holder = _NESTED[kind]
        return [f"{lead} {_allowed_text(rule[holder], definitions)}"]
    return [f"{_PLAIN[kind]}{_bounds(rule)}"]


def _allowed_text(rule: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    return " or ".join(_allowed(rule, definitions))


def _bounds(rule: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {rule[name]:.10g}" for name, sign in signs.items() if name in rule]
    return f" {' and '.join(found)}" if found else ""


def _target(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
