"""Read prompts and tools from TOML files, validate them, and hash them for the report."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from pytest_jarvis.files import InputError, read_toml, suggest, text_digest
from pytest_jarvis.text import words
from pytest_jarvis.types import Category, PromptCase, RightDeed, Tool

TOOLS_FILE = "tools.toml"
FurtherPrompts = Literal["with_tools", "guards", "retired"]
"""A folder of further categories. with_tools, guards: asked with `--jarvis-tools`, `--jarvis-guards` only. retired:
asked no more, but answers can still be judged."""
ALTERNATIVE = "|"
"""What separates the alternatives of a keyword."""

_CATEGORY = re.compile(r"[A-Za-z0-9_-]+")
_PROMPT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOOL_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FEWEST_KEYWORDS = 2
_MOST_KEYWORDS = 5


class _PromptEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"prompt_id": "id"}):
    prompt_id: str
    text: str
    keywords: tuple[str, ...]
    expected_tool: str | None = None
    expected_arguments: dict[str, Any] | None = None  # as a call's arguments: any JSON
    target: tuple[str, ...] = ()
    no_tool: bool = False
    right_deed: RightDeed = "act"
    also: tuple[str, ...] = ()
    intended: str | None = None
    note: str | None = None


class _PromptFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompts: Annotated[tuple[_PromptEntry, ...], msgspec.Meta(min_length=1)]
    label: str | None = None
    description: str = ""


class _ToolEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str
    terms: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    parameters: dict[str, Any]  # a JSON schema: any object
    verbs: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    opposites: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()


class _ToolFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tools: Annotated[tuple[_ToolEntry, ...], msgspec.Meta(min_length=1)]


class PromptSet(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a folder of prompts."""

    folder: Path
    categories: tuple[Category, ...]
    tools: tuple[Tool, ...]

    @property
    def cases(self) -> tuple[PromptCase, ...]:
        """Every case, by file name and then in the order of the file."""
        return tuple(case for category in self.categories for case in category.cases)


def packaged_prompts() -> Path:
    """Return the folder of the packaged prompts (the checkout's in a development install)."""
    installed = Path(__file__).parents[1] / "jarvis_prompts"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "jarvis_prompts"


def load_prompts(folder: Path, *, add: Collection[FurtherPrompts] = ()) -> PromptSet:
    """Read the categories and tools of a folder, and the categories in its folders `add`, where it has them.

    A category is a file `NAME.toml` that is not hidden; `tools.toml` has the tools. Raises InputError with the
    file, the entry, what was found and what was expected; `with_tools` also checks the schemas of the tools.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of prompts; give one with --jarvis-prompts DIR")
    if not (folder / TOOLS_FILE).exists():
        raise InputError(f"{folder}: no tools: expected {TOOLS_FILE} beside the prompts; an existing one can be copied")
    tools = _load_tools(folder / TOOLS_FILE)
    files = sorted(path for path in folder.glob("*.toml") if path.name != TOOLS_FILE and path.name[0] != ".")
    if not files:
        raise InputError(f"{folder}: no prompts: expected at least one file NAME.toml beside {TOOLS_FILE}")
    if "with_tools" in add:
        _check_schemas(folder / TOOLS_FILE, tools)
    for name in add:
        files += _further_files(folder / name, files)
    known = {tool.name: tool for tool in tools}
    seen: dict[str, Path] = {}
    categories = tuple(_load_category(path, known, seen) for path in files)
    return PromptSet(folder=folder, categories=categories, tools=tools)


def further_prompts(*, tools: bool, guards: bool) -> list[FurtherPrompts]:
    """Return the folders of further categories that a run asks."""
    wanted: dict[FurtherPrompts, bool] = {"with_tools": tools, "guards": guards}
    return [name for name, asked in wanted.items() if asked]


def prompt_hash(cases: Iterable[PromptCase]) -> str:
    """Return the SHA-256 of the texts and expectations of the cases, whatever their order."""
    rows = sorted(
        (
            [case.prompt_id, case.category, case.text, list(case.keywords), case.expected_tool, case.intended]
            # Absent keys are left out, so that prompts without them keep the hash they had before.
            + ([{"expected_arguments": case.expected_arguments}] if case.expected_arguments else [])
            + ([{"target": list(case.target)}] if case.target else [])
            + ([{"no_tool": True}] if case.no_tool else [])
            + ([{"right_deed": case.right_deed}] if case.right_deed not in {"act", "nothing"} else [])
            + ([{"also": list(case.also)}] if case.also else [])
            for case in cases
        ),
        key=lambda row: str(row[0]),
    )
    return _sha256(rows)


def dictionary_hash(tools: Sequence[Tool]) -> str:
    """Return the SHA-256 of the tools' names and terms, the dictionary of JARVIS relevance."""
    return _sha256(sorted([tool.name, sorted(tool.terms)] for tool in tools))


def _sha256(value: object) -> str:
    return text_digest(json.dumps(value, ensure_ascii=False))


def _load_tools(path: Path) -> tuple[Tool, ...]:
    tools: dict[str, Tool] = {}
    for entry in read_toml(path, _ToolFile).tools:
        where = f"{path}: tool '{entry.name}'"
        if not _TOOL_NAME.fullmatch(entry.name):
            raise InputError(f"{where}: name: expected small letters without accents, digits and '_'")
        if entry.name in tools:
            raise InputError(f"{where}: the name is used twice; names must differ")
        _check_words(where, "description", entry.description)
        if entry.parameters.get("type") != "object":
            found = entry.parameters.get("type")
            raise InputError(f'{where}: parameters: expected a JSON schema with type = "object", found type {found!r}')
        _check_distinct(where, "terms", entry.terms)
        # Plain words need no check, which would compile some hundred expressions in every session.
        for sign in (sign for sign in entry.signs if not sign.replace(" ", "").isalnum()):
            try:
                re.compile(sign)
            except re.error as error:
                raise InputError(f"{where}: signs: expected a regular expression, found {sign!r} ({error})") from None
        tools[entry.name] = Tool(**msgspec.structs.asdict(entry))
    return tuple(tools.values())


def _further_files(folder: Path, known: Iterable[Path]) -> list[Path]:
    """Return the sorted category files of a folder of further ones; raise InputError for a name that is taken."""
    files = sorted(path for path in folder.glob("*.toml") if path.name[0] != ".")
    taken = {path.stem: path for path in known}
    for path in files:
        if path.stem in taken:
            raise InputError(f"{path}: the category '{path.stem}' is already that of {taken[path.stem]}; rename one")
    return files


def _check_schemas(path: Path, tools: Iterable[Tool]) -> None:
    for tool in tools:
        where = f"{path}: tool '{tool.name}': parameters"
        if not is_json(tool.parameters):
            raise InputError(f"{where}: expected what JSON has: no dates, only finite numbers")
        if (fault := check_schema(tool.parameters)) is not None:
            raise InputError(f"{where}: expected a JSON schema; {fault}")


def _load_category(path: Path, known_tools: Mapping[str, Tool], seen: dict[str, Path]) -> Category:
    if not _CATEGORY.fullmatch(path.stem):
        raise InputError(
            f"{path}: the file's name is that of the category: expected letters without accents, digits, '_' and '-'"
        )
    content = read_toml(path, _PromptFile)
    for entry in content.prompts:
        _check_prompt(path, entry, known_tools, seen)
        seen[entry.prompt_id] = path
    cases = tuple(_case(path.stem, entry) for entry in content.prompts)
    label = content.label or path.stem.replace("_", " ").capitalize()
    return Category(name=path.stem, label=label, description=content.description, cases=cases)


def _case(category: str, entry: _PromptEntry) -> PromptCase:
    """Return the case of an entry; unless the right deed is to act, no tool may be called, and the reverse."""
    values = msgspec.structs.asdict(entry)
    if entry.no_tool and entry.right_deed == "act":
        values["right_deed"] = "nothing"
    return PromptCase(category=category, **values | {"no_tool": entry.no_tool or entry.right_deed != "act"})


def _check_prompt(path: Path, entry: _PromptEntry, known_tools: Mapping[str, Tool], seen: dict[str, Path]) -> None:
    where = f"{path}: prompt '{entry.prompt_id}'"
    if not _PROMPT_ID.fullmatch(entry.prompt_id):
        raise InputError(f"{where}: id: expected letters without accents, digits, '.', '_' and '-', no sign first")
    if entry.prompt_id in seen:
        raise InputError(f"{where}: the id is already used in {seen[entry.prompt_id].name}; ids must differ")
    _check_words(where, "text", entry.text)
    if entry.intended is not None:
        _check_words(where, "intended", entry.intended)
    if not _FEWEST_KEYWORDS <= len(entry.keywords) <= _MOST_KEYWORDS:
        raise InputError(
            f"{where}: keywords: expected {_FEWEST_KEYWORDS} to {_MOST_KEYWORDS} of them, found {len(entry.keywords)}"
        )
    _check_distinct(where, "keywords", [one for keyword in entry.keywords for one in keyword.split(ALTERNATIVE)])
    _check_distinct(where, "target", entry.target)
    for name in (*([entry.expected_tool] if entry.expected_tool is not None else []), *entry.also):
        if name not in known_tools:
            raise InputError(f"{where}: unknown tool '{name}'{suggest(name, [*known_tools])}")
    _check_expected_call(where, entry, known_tools)


def _check_expected_call(where: str, entry: _PromptEntry, known_tools: Mapping[str, Tool]) -> None:
    """Raise InputError for a prompt whose expected call is impossible."""
    if entry.no_tool and entry.expected_tool is not None:
        raise InputError(f"{where}: no_tool: a prompt that wants no tool has no expected_tool; keep one of the two")
    for key in ("expected_arguments", "target", "also"):
        if getattr(entry, key) and entry.expected_tool is None:
            raise InputError(f"{where}: {key}: expected an expected_tool beside it, found none")
    if entry.also and (entry.expected_tool in entry.also or entry.right_deed != "act"):
        raise InputError(f"{where}: also: expected other tools than expected_tool, and no right_deed beside it")
    if entry.expected_arguments is None or entry.expected_tool is None:
        return
    declared = known_tools[entry.expected_tool].parameters.get("properties")
    names = list(declared) if isinstance(declared, dict) else []
    for name, value in entry.expected_arguments.items():
        if not is_json(value):
            raise InputError(f"{where}: expected_arguments: {name}: expected what JSON has, found {value!r}")
        if name not in names:
            raise InputError(
                f"{where}: expected_arguments: {entry.expected_tool} has no parameter '{name}'{suggest(name, names)}"
            )


def _check_distinct(where: str, key: str, values: Iterable[str]) -> None:
    owner: dict[str, str] = {}
    for value in values:
        form = _check_words(where, key, value)
        if form in owner:
            raise InputError(
                f"{where}: {key}: '{owner[form]}' and '{value}' are the same (case and accents do not count)"
            )
        owner[form] = value


def _check_words(where: str, key: str, value: str) -> str:
    """Return the words of `value` in canonical form; raise InputError when there are none."""
    found = words(value)
    if not found:
        raise InputError(f"{where}: {key}: expected at least one word, found {value!r}")
    return " ".join(found)


def is_json(value: object) -> bool:
    """Return whether a value is strict JSON: no dates, only finite numbers."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def check_schema(schema: Mapping[str, object]) -> str | None:
    """Return the first fault of a JSON schema (draft 2020-12) with its place, or None."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path)
        return f"{place}: {error.message}" if place else error.message
    return None
