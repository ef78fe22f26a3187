"""JSON Schema and Markdown table of the configuration's keys, from the types and docstrings of `inputs.config`."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from pytest_jarvis import types
from pytest_jarvis.inputs import config
from pytest_jarvis.inputs.config import Config

SCHEMA_FILE: Final = Path(__file__).parents[1] / "schema" / "benchmark_config.schema.json"
"""The shipped schema, for the `$schema` of a configuration."""


_LAST_HEADING: Final = "## Every key"
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


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the configuration, each key described by the docstring beside it."""
    document = msgspec.json.schema(Config)
    documented = _attribute_docs()
    for name, definition in document["$defs"].items():
        definition.pop("required", None)
        for key, rule in definition["properties"].items():
            if said := documented.get(name, {}).get(key.removeprefix("$")):
                rule["description"] = said
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "benchmark_config.json of pytest-jarvis",
        **document,
    }


def encode_schema() -> str:
    """Return the schema as JSON text."""
    return json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"


def keys() -> Iterator[Key]:
    """Yield every key of the six sections, in the order of their definitions."""
    definitions = schema()["$defs"]
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


def refresh(root: Path) -> None:
    """Write a checkout's schema, and the table at the end of its `docs/configuration.md`."""
    SCHEMA_FILE.write_text(encode_schema(), encoding="utf-8")
    page = root / "docs" / "configuration.md"
    before, heading, _ = page.read_text(encoding="utf-8").partition(f"{_LAST_HEADING}\n\n")
    page.write_text(f"{before}{heading}{keys_table()}", encoding="utf-8")


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


def _attribute_docs() -> dict[str, dict[str, str]]:
    """Return the attribute docstrings of each class of `types.py` and `config.py`, with those of its bases."""
    found: dict[str, dict[str, str]] = {}
    for node in [*ast.parse(inspect.getsource(types)).body, *ast.parse(inspect.getsource(config)).body]:
        if not isinstance(node, ast.ClassDef):
            continue
        for base in node.bases:
            found.setdefault(node.name, {}).update(found.get(ast.unparse(base), {}))
        for item, after in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found.setdefault(node.name, {})[item.target.id] = inspect.cleandoc(str(after.value.value))
    return found


if __name__ == "__main__":  # pragma: no cover
    refresh(Path(__file__).parents[3])
