"""The words of the tools that come with the package, beside those that a user's own tools declare."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import msgspec

from deeds.wish import ToolWords
from pytest_jarvis.types import Tool


class _Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    verbs: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    opposites: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def _shipped() -> dict[str, _Words]:
    text = Path(__file__).with_name("shipped_tools.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, _Words])


def tool_words(tools: Iterable[Tool]) -> tuple[ToolWords, ...]:
    """Return the words of each tool; a tool that declares none works from its name, description and terms."""
    known = _shipped()
    found = []
    for tool in tools:
        own = known.get(tool.name, _Words())
        found.append(
            ToolWords(tool=tool, verbs=own.verbs, objects=own.objects, opposites=own.opposites, signs=own.signs)
        )
    return tuple(found)
