"""Notes of engines and runs, causes of failures, and the adapters found in folders."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pytest_jarvis.inputs.adapters import FoundAdapter, Problem
from pytest_jarvis.render.french.formats import DASH, count_of, plural, printable, size, typeset
from pytest_jarvis.render.french.words import fill, table, word
from pytest_jarvis.types import Note, NoteCode, format_value


def chosen_adapter(values: Mapping[str, Any]) -> str:
    """Return which adapter `auto` chose and why, from the values of its note."""
    of = "le seul utilisable"
    if values["usable"] > 1:
        of = f"le plus récent ({moment(values['modified_s'])}) de {values['usable']} utilisables"
    return f"adaptateur « {printable(values['arm'])} » choisi par « auto » : {printable(values['folder'])}, {of}"


def skipped_adapter(values: Mapping[str, Any]) -> str:
    """Return which newer adapter was skipped and why, from the values of its note."""
    return f"plus récent mais écarté : {printable(values['folder'])} ({problem_of(values)})"


def list_lines(
    found: Sequence[FoundAdapter], digests: Mapping[Path, str], folders: Sequence[Path], absent: Sequence[Path] = ()
) -> list[str]:
    """Return two lines for each adapter, newest first, and their number; without any, what to do."""
    if not found:
        return _none_lines(folders, absent)
    lines: list[str] = []
    for adapter in found:
        mark = "✗" if adapter.problem else "✓"
        lines.append(f"{mark} {printable(adapter.name) or DASH}   {path(adapter.folder)}")
        lines.append(f"    {_facts(adapter, digests.get(adapter.folder))}")
    where = ", ".join(path(folder) for folder in folders)
    whole = sum(adapter.problem is None for adapter in found)
    counted = f"{plural(whole, 'adaptateur utilisable', 'adaptateurs utilisables')} sur {len(found)}"
    return [typeset(line) for line in [*lines, f"{counted} sous {where}"]]


def problem_of(values: Mapping[str, Any]) -> str:
    """Return why an adapter is unusable, from `FoundAdapter.problem_values`."""
    sentence = table("adapters.problems")[values["problem"]]
    if "{" in sentence:
        shown = {name: printable(str(values[name])) for name in ("key", "found", "expected") if name in values}
        return sentence.format_map(defaultdict(lambda: "?", shown))
    if "key" in values:
        return f"{sentence} : {values['key']} vaut {printable(values['found'])}"
    return f"{sentence}, ligne {values['line']}, colonne {values['column']}" if "line" in values else sentence


def problem_and_remedy(adapter: FoundAdapter, problem: Problem) -> str:
    """Return why an adapter is unusable, and the remedy."""
    sentence = problem_of(adapter.problem_values(problem))
    if problem == "other_base":
        sentence += f" ({printable(adapter.base or DASH)})"
    return f"{sentence} ; {table('adapters.remedies')[problem]}" if table("adapters.remedies")[problem] else sentence


def moment(seconds: float) -> str:
    """Return seconds since 1970 as date and time in the local zone."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC).astimezone():%d/%m/%Y %H:%M}"


def path(folder: Path) -> str:
    return printable(str(folder))


def _none_lines(folders: Sequence[Path], absent: Sequence[Path]) -> list[str]:
    why = word("adapters.absent", folders=", ".join(map(str, absent))) if absent else ""
    if absent and len(absent) == len(folders):
        why = word("adapters.all_absent", count=len(folders))
    return [word("adapters.none", folders=", ".join(map(str, folders)), why=why), word("adapters.elsewhere")]


def _facts(adapter: FoundAdapter, digest: str | None) -> str:
    if adapter.problem is not None:
        return problem_and_remedy(adapter, adapter.problem)
    parts = [
        f"base {printable(adapter.base) if adapter.base else DASH}",
        f"rang {adapter.rank if adapter.rank is not None else DASH}",
        printable(", ".join(adapter.targets)) or DASH,
        size(adapter.size_bytes),
        f"{count_of(adapter.parameters)} poids" if adapter.parameters is not None else "",
        moment(adapter.modified_s),
        f"sha256 {digest[:16]}" if digest else "",
    ]
    return " | ".join(part for part in parts if part)


WRITTEN: Final[Mapping[NoteCode, Callable[[Mapping[str, Any]], str]]] = {
    "adapter_chosen": chosen_adapter,
    "adapter_passed_over": skipped_adapter,
}
"""Notes whose sentence depends on their values."""


def french_note(note: Note) -> str:
    """Return a note in French; free text as it is, and a question mark for a missing value."""
    if note.code in WRITTEN:
        try:
            return typeset(WRITTEN[note.code](note.values))
        except (LookupError, TypeError, ValueError):  # a report that was changed by hand
            return str(note)
    if note.code == "text":
        return str(note.values.get("text", "?"))
    values: dict[str, object] = defaultdict(lambda: "?", {name: _shown(value) for name, value in note.values.items()})
    if note.cause is not None:
        values["cause"] = french_note(note.cause)
    return fill(table("notes.notes")[note.code], values)


def _shown(value: str | float) -> str | float:
    return format_value(value).replace(".", ",") if isinstance(value, float) else value
