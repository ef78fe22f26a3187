"""The engines, by name; each is imported only when it is asked for."""

from __future__ import annotations

from typing import Final

ENGINES: Final[dict[str, str]] = {
    "transformers": "pytest_jarvis.engines.transformers:TransformersEngine",
    "scripted": "pytest_jarvis.engines.scripted:ScriptedEngine",
}
"""Name on the command line -> "module:class"; the class is called with (ModelSpec, GenerationSettings)."""
