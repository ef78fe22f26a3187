"""Write the JSON Schema of the configuration and the table of its keys anew: `python docs/reference.py`.

Both come from the types of `pytest_jarvis.inputs.config` and the docstrings under their attributes.
"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from pytest_jarvis import types
from pytest_jarvis.cli.config import SCHEMA_FILE, keys_table
from pytest_jarvis.inputs import config
from pytest_jarvis.inputs.config import Config

LAST_HEADING: Final = "## Every key"


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


def refresh(root: Path) -> None:
    """Write a checkout's schema, and the table at the end of its `docs/configuration.md`."""
    SCHEMA_FILE.write_text(encode_schema(), encoding="utf-8")
    page = root / "docs" / "configuration.md"
    before, heading, _ = page.read_text(encoding="utf-8").partition(f"{LAST_HEADING}\n\n")
    page.write_text(f"{before}{heading}{keys_table()}", encoding="utf-8")


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


if __name__ == "__main__":
    refresh(Path(__file__).parents[1])
