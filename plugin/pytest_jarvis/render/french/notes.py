"""Notes of engines and runs, and causes of failures: each code in French."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_jarvis.render.french.adapters import chosen_adapter, skipped_adapter
from pytest_jarvis.render.french.formats import plural, typeset
from pytest_jarvis.render.french.words import table
from pytest_jarvis.types import Note, NoteCode, format_value


def _several_processes(values: Mapping[str, Any]) -> str:
    return (
        f"{values['workers']} processus (pytest-xdist), chacun ses prompts : jusqu’à "
        f"{plural(values['samples'], 'réponse')} par prompt et par bras, en un seul tirage, sans arrêt anticipé."
    )


WRITTEN: Final[Mapping[NoteCode, Callable[[Mapping[str, Any]], str]]] = {
    "adapter_chosen": chosen_adapter,
    "adapter_passed_over": skipped_adapter,
    "several_processes": _several_processes,
}
"""Notes whose sentence depends on their values."""


def french_note(note: Note) -> str:
    """Return a note in French; free text as it is, and a question mark for a missing value."""
    if note.code in WRITTEN:
        try:
            return typeset(WRITTEN[note.code](note.values))
        except (LookupError, TypeError, ValueError):  # a report that was changed by hand
            return str(note)
    values = defaultdict(lambda: "?", {name: _shown(value) for name, value in note.values.items()})
    if note.cause is not None:
        values["cause"] = french_note(note.cause)
    sentence = table("notes.notes")[note.code].format_map(values)
    return sentence if note.code == "text" else typeset(sentence)


def _shown(value: str | float) -> str:
    return format_value(value).replace(".", ",") if isinstance(value, float) else str(value)
