"""Engines, by name: the built-in ones, and those of other distributions by entry point.

base              the `Engine` protocol; thinking, tool calls and text of an answer
footprint         memory footprint of a model
scripted          responses by a function
server/           responses of an OpenAI-compatible server
transformers/     the base and its adapters in this process
"""

from importlib import import_module
from typing import Final

from pytest_jarvis.engines.base import EngineKind
from pytest_jarvis.files import InputError, find_entry_points, suggest

GROUP: Final = "pytest_jarvis.engines"
"""Entry points: name of the engine -> an EngineKind, or a callable of (ModelSpec, GenerationSettings)."""
OURS: Final = ("transformers", "server", "scripted")
"""Modules here with an `ENGINE`: found without reading installed metadata."""


def find_engine(name: str) -> EngineKind:
    """Return the kind of an engine; InputError when it is unknown or cannot be imported."""
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
