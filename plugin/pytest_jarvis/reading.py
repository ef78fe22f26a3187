"""Files that people write, read into typed values; what is wrong with one is said in one sentence."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

_AT = re.compile(r" - at `(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<any>\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_LONGEST_FOUND = 60


class InputError(ValueError):
    """Something a user wrote cannot be used: the message is one sentence with the place and what is allowed."""


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; raise InputError when it is missing, unreadable or not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_toml(path: Path, kind: type[T]) -> T:
    """Return the TOML file as a `kind`; raise InputError with the place of the first thing wrong."""
    return _read(path, kind, tomllib.loads, tomllib.TOMLDecodeError, "TOML")


def read_json(path: Path, kind: type[T]) -> T:
    """Return the JSON file as a `kind`; raise InputError with the place of the first thing wrong."""
    return _read(path, kind, lambda text: msgspec.json.decode(text.encode()), msgspec.DecodeError, "JSON")


def convert(value: object, kind: type[T], where: str) -> T:
    """Return decoded `value` as a `kind`; raise InputError that starts with `where`."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_explain(str(error), value, kind)}") from None


def nearest(name: str, known: list[str]) -> str:
    """Return a closing « ; did you mean ...? » or the known names, for a message about an unknown one."""
    import difflib  # only for a message

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"


def _read(path: Path, kind: type[T], parse: Callable[[str], object], wrong: type[Exception], syntax: str) -> T:
    text = read_text(path)
    try:
        value = parse(text)
    except wrong as error:
        raise InputError(f"{path}: not valid {syntax}: {error}") from None
    return convert(value, kind, str(path))


def _explain(message: str, document: object, kind: type) -> str:
    """Turn a message of msgspec into: the place, what was expected, what was found."""
    at = _AT.search(message)
    said = message[: at.start()] if at else message
    place, found, names = _walk(at["path"] if at else "$", document)
    prefix = f"{place}: " if place else ""
    if unknown := _UNKNOWN.fullmatch(said):
        known = _known_keys(kind, names)
        return f"{prefix}unknown key '{unknown['name']}'{nearest(unknown['name'], known) if known else ''}"
    if missing := _MISSING.fullmatch(said):
        return f"{prefix}the key '{missing['name']}' is missing"
    expected = said.split(", got ")[0].replace("`", "")
    expected = expected[:1].lower() + expected[1:]
    shown = repr(found)
    if len(shown) > _LONGEST_FOUND:
        shown = shown[: _LONGEST_FOUND - 1] + "…"
    return f"{prefix}{expected}, found {shown}"


def _walk(path: str, document: object) -> tuple[str, object, list[str]]:
    """Follow a path of msgspec; return how to name the place, what stands there, and the keys passed."""
    parts: list[str] = []
    names: list[str] = []
    value = document
    for step in _STEP.finditer(path):
        if (key := step["key"]) is not None:
            value = value.get(key) if isinstance(value, dict) else None
            parts.append(key)
            names.append(key)
        elif (index := step["index"]) is not None:
            value = value[int(index)] if isinstance(value, list) else None
            named = (
                next((value[key] for key in ("id", "name", "prompt_id") if key in value), None)
                if isinstance(value, dict)
                else None
            )
            label = f"entry {int(index) + 1}" if named is None else f"entry {int(index) + 1} ('{named}')"
            parts.append(label)
    return ": ".join(parts), value, names


def _known_keys(kind: object, names: list[str]) -> list[str]:
    """Return the keys allowed at the end of a path of keys; empty where the type does not say."""
    for name in names:
        kind = _field_type(kind, name)
    struct = _struct_in(kind)
    return list(struct.__struct_encode_fields__) if struct else []


def _struct_in(kind: object) -> type[msgspec.Struct] | None:
    """Return the Struct that `kind` is or holds (an optional, a sequence, the values of a mapping)."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for part in getattr(kind, "__args__", ()) if (found := _struct_in(part))), None)


def _field_type(kind: object, name: str) -> object:
    struct = _struct_in(kind)
    if struct is None:
        return None
    from typing import get_type_hints  # only for a message

    return get_type_hints(struct).get(name)
