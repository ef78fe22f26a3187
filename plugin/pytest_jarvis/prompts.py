"""The prompts and the tools: TOML files, validated, with a hash that proves what was asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pytest_jarvis.reading import InputError, nearest, read_toml
from pytest_jarvis.records import Category, PromptCase, Tool
from pytest_jarvis.text import canonical, words

TOOLS_FILE = "tools.toml"

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _PromptEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    text: _Text
    keywords: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=2, max_length=5)]
    expected_tool: str | None = None
    intended: _Text | None = None
    note: str | None = None


class _PromptFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompts: Annotated[tuple[_PromptEntry, ...], msgspec.Meta(min_length=1)]
    label: str | None = None
    description: str = ""


class _ToolEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]*$")]
    description: _Text
    terms: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]
    parameters: dict[str, Any]  # a JSON schema: any object


class _ToolFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tools: Annotated[tuple[_ToolEntry, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSet:
    """All that a folder of prompts holds."""

    folder: Path
    categories: tuple[Category, ...]
    tools: tuple[Tool, ...]

    @property
    def cases(self) -> tuple[PromptCase, ...]:
        """Every case, in the order of the files' names and of their entries."""
        return tuple(case for category in self.categories for case in category.cases)


def packaged_prompts() -> Path:
    """Return the folder of the prompts that come with the package (the checkout's own in a development install)."""
    installed = Path(__file__).parent / "jarvis_prompts"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "jarvis_prompts"


def load_prompts(folder: Path) -> PromptSet:
    """Read every category of `folder` and its tools.

    A category is a file `NAME.toml`; `tools.toml` holds the tools. Raises InputError with the file, the entry, what
    was found and what was expected.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of prompts; give one with --jarvis-prompts DIR")
    tools = _load_tools(folder / TOOLS_FILE)
    files = sorted(path for path in folder.glob("*.toml") if path.name != TOOLS_FILE)
    if not files:
        raise InputError(f"{folder}: no prompts: expected at least one file NAME.toml beside {TOOLS_FILE}")
    known = {tool.name for tool in tools}
    seen: dict[str, Path] = {}
    categories = tuple(_load_category(path, known, seen) for path in files)
    return PromptSet(folder=folder, categories=categories, tools=tools)


def prompt_hash(cases: Iterable[PromptCase]) -> str:
    """Return the SHA-256 of what the cases ask and expect, in any order of the cases."""
    rows = sorted(
        [case.prompt_id, case.category, case.text, list(case.keywords), case.expected_tool, case.intended]
        for case in cases
    )
    return _sha256(rows)


def dictionary_hash(tools: Sequence[Tool]) -> str:
    """Return the SHA-256 of the tools' names and terms: what the JARVIS relevance counts."""
    return _sha256(sorted([tool.name, sorted(tool.terms)] for tool in tools))


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def _load_tools(path: Path) -> tuple[Tool, ...]:
    entries = read_toml(path, _ToolFile).tools
    owner: dict[str, str] = {}
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise InputError(f"{path}: tool '{entry.name}': the name is used twice; names must differ")
        names.add(entry.name)
        if entry.parameters.get("type") != "object":
            raise InputError(
                f"{path}: tool '{entry.name}': parameters: expected a JSON schema with type = \"object\", "
                f"found type {entry.parameters.get('type')!r}"
            )
        for term in entry.terms:
            form = _form(path, f"tool '{entry.name}'", "term", term)
            if form in owner:
                raise InputError(
                    f"{path}: tool '{entry.name}': term '{term}' already belongs to '{owner[form]}'; "
                    "a term names one tool only (case and accents do not count)"
                )
            owner[form] = entry.name
    return tuple(
        Tool(name=entry.name, description=entry.description, parameters=entry.parameters, terms=entry.terms)
        for entry in entries
    )


def _load_category(path: Path, known_tools: set[str], seen: dict[str, Path]) -> Category:
    content = read_toml(path, _PromptFile)
    for entry in content.prompts:
        _check_prompt(path, entry, known_tools, seen)
        seen[entry.id] = path
    cases = tuple(
        PromptCase(
            prompt_id=entry.id,
            category=path.stem,
            text=entry.text,
            keywords=entry.keywords,
            expected_tool=entry.expected_tool,
            intended=entry.intended,
            note=entry.note,
        )
        for entry in content.prompts
    )
    label = content.label or path.stem.replace("_", " ").capitalize()
    return Category(name=path.stem, label=label, description=content.description, cases=cases)


def _check_prompt(path: Path, entry: _PromptEntry, known_tools: set[str], seen: dict[str, Path]) -> None:
    where = f"prompt '{entry.id}'"
    if entry.id in seen:
        raise InputError(f"{path}: {where}: the id is already used in {seen[entry.id].name}; ids must differ")
    if not words(entry.text):
        raise InputError(f"{path}: {where}: text: expected at least one word, found {entry.text!r}")
    forms = [_form(path, where, "keyword", keyword) for keyword in entry.keywords]
    if len(set(forms)) < len(forms):
        raise InputError(
            f"{path}: {where}: keywords: two are the same once case and accents are folded: {list(entry.keywords)}"
        )
    if entry.expected_tool is not None and entry.expected_tool not in known_tools:
        raise InputError(
            f"{path}: {where}: unknown tool '{entry.expected_tool}'{nearest(entry.expected_tool, list(known_tools))}"
        )


def _form(path: Path, where: str, kind: str, value: str) -> str:
    if not words(value):
        raise InputError(f"{path}: {where}: {kind}: expected at least one word, found {canonical(value)!r}")
    return " ".join(words(value))
