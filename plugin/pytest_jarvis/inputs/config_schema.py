"""Keys of the configuration, from the JSON Schema that ships: `docs/reference.py` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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
                allowed=_one(rule, definitions),
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
        return [word for one in rule["anyOf"] for word in _allowed(one, definitions)]
    if "enum" in rule:
        return [f"`{json.dumps(value)}`" for value in rule["enum"]]
    if "$ref" in rule:
        return ["a table of " + ", ".join(f"`{key}`" for key in definitions[_target(rule)]["properties"])]
    kind = str(rule["type"])
    if kind in _NESTED:
        lead, holder = _NESTED[kind]
        return [f"{lead} {_one(rule[holder], definitions)}"]
    return [f"{_PLAIN[kind]}{_bounds(rule)}"]


def _one(rule: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    return " or ".join(_allowed(rule, definitions))


def _bounds(rule: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {rule[name]:g}" for name, sign in signs.items() if name in rule]
    return f" {' and '.join(found)}" if found else ""


def _target(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
