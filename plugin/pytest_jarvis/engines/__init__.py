"""The engines, by name: ours, and those that other distributions bring by an entry point.

base              what every engine is, and what is known of one before it is built
answers           thinking, calls and text told apart in an answer
footprint         the memory a model takes
scripted          answers that a function makes up
server/           asks an OpenAI-compatible server
transformers/     runs the base and its adapters in this process
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from pytest_jarvis.engines.base import EngineKind
from pytest_jarvis.files import InputError, find_entry_points, suggest

GROUP: Final = "pytest_jarvis.engines"
"""The entry points: name of the engine -> an EngineKind, or what is called with (ModelSpec, GenerationSettings)."""
OURS: Final = ("transformers", "server", "scripted")
"""Modules here that hold an `ENGINE`: found without reading the metadata of what is installed."""


def find_engine(name: str) -> EngineKind:
    """Return what is known of an engine before it is built; InputError for one that is not there or not importable."""
    if name in OURS:
        kind: EngineKind = import_module(f"{__name__}.{name}").ENGINE
        return kind
    points = find_entry_points(GROUP)
    if name not in points:
        raise InputError(f"--jarvis-engine: unknown engine '{name}'{suggest(name, [*OURS, *points])}")
    try:
        found = points[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"--jarvis-engine {name}: {points[name].value} cannot be imported: {error}; install what it needs"
        ) from None
    return found if isinstance(found, EngineKind) else EngineKind(build=found)
