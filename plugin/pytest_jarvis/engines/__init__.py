"""The engines, by name; each is imported only when it is asked for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

ENGINES: Final[dict[str, str]] = {
    "transformers": "pytest_jarvis.engines.transformers:TransformersEngine",
    "server": "pytest_jarvis.engines.server:ServerEngine",
    "scripted": "pytest_jarvis.engines.scripted:ScriptedEngine",
    "replay": "pytest_jarvis.run.replay:ReplayEngine",
}
"""Name on the command line -> "module:class"; the class is called with (ModelSpec, GenerationSettings)."""

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "transformers": ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "psutil"),
    "server": ("openai", "httpx2", "tenacity"),
}
"""Libraries without which an engine cannot be had."""

EXTRAS: Final[dict[str, str]] = {"transformers": "local", "server": "server"}
"""The extra of this distribution that brings them."""


LOADS_MODEL: Final[frozenset[str]] = frozenset({"transformers"})
"""Engines that hold a model in their own process: under pytest-xdist one worker a device, any number for the others."""


def missing_libraries(engine: str) -> list[str]:
    """Return the libraries an engine needs and this environment lacks; imports none."""
    return [name for name in NEEDS.get(engine, ()) if find_spec(name) is None]
