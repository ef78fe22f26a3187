"""Read files that people write into typed values, with one-sentence errors; write files atomically."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

_AT = re.compile(r" - at `(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<any>\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_BYTE = re.compile(r" \(byte (?P<byte>\d+)\)$")
_PAST = re.compile(r"trailing characters|invalid escape character")
"""Errors whose byte offset msgspec counts from behind the fault."""
_TYPE = re.compile(r"`([^`]*)`")
_PLAIN = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a string",
}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]')  # The tokens that tell keys from values in valid JSON.


MOST_BYTES: Final = 16_000_000  # Largest file that is read of those that people write.
MOST_DATA_BYTES: Final = 2_000_000_000  # Largest report, file of answers or of training data.
_MOST_PATH, _MOST_NAME = 4095, 255
"""Longest path, and longest name in one, in bytes: the limits of Linux."""
_PARSE_S: Final = 5.0


class InputError(ValueError):
    """Unusable user input; the message is one sentence with the place and what is allowed."""


def text_fault(text: str) -> str | None:
    """Return why a text can be no name, path or address; None when it can."""
    if not text.strip():
        return "expected a value, found nothing (is a variable not set?)"
    if any(char < " " for char in text):
        return f"expected no control character such as a line break, found {shorten(repr(text))}"
    try:
        names = [len(name.encode()) for name in re.split(r"[/\\]", text)]
    except UnicodeEncodeError:
        return f"expected UTF-8, found {shorten(repr(text))}"
    if max(names) > _MOST_NAME or sum(names) + len(names) > _MOST_PATH:
        return f"expected names of at most {_MOST_NAME} bytes and paths of {_MOST_PATH}, found {shorten(repr(text))}"
    return None


@contextmanager
def time_limit(seconds: float, sentence: str) -> Iterator[None]:
    """Raise InputError, `sentence`, when the block takes longer; in the main thread, and where there are alarms."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise InputError(sentence)

    before, start = signal.signal(signal.SIGALRM, stop), time.monotonic()
    left, period = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # The timer of another, such as pytest-timeout, goes on.
        signal.setitimer(signal.ITIMER_REAL, left and max(left - time.monotonic() + start, 0.001), period)
        signal.signal(signal.SIGALRM, before)


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what is in a file; raise InputError for anything else, such as a pipe, and for more than `most` bytes."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            fault = f"expected a file, found {found}"
        elif status.st_size > most:
            fault = f"holds {status.st_size} bytes; at most {most} are read"
        else:
            return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        fault = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    raise InputError(f"{path}: {fault}")


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return the text of a UTF-8 file; raise InputError as `read_bytes`, and when it is not UTF-8."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def read_toml(path: Path, kind: type[T]) -> T:
    """Return the TOML file as a `kind`; raise InputError with the place of the first fault."""
    return _read(path, kind, tomllib.loads, tomllib.TOMLDecodeError, "TOML")


def read_json(path: Path, kind: type[T]) -> T:
    """Return the JSON file as a `kind`; raise InputError with the place of the first fault."""
    return _read(path, kind, decode_json, msgspec.DecodeError, "JSON")


def decode_json(text: str) -> Any:
    """Return the value of a JSON text, well formed. Raises msgspec.DecodeError, and RecursionError for deep nesting."""
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        if not _SURROGATE.search(text):
            raise
        with suppress(ValueError, msgspec.DecodeError):
            # Through text again: Python takes NaN, and infinity for a number that is too large.
            return msgspec.json.decode(json.dumps(well_formed(json.loads(text))))
        raise


def well_formed(value: T) -> T:
    """Return a text, or a decoded document, with U+FFFD for each lone surrogate, which no file can hold."""
    found: Any = value
    if isinstance(found, str):
        found = found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    elif isinstance(found, dict):
        found = {well_formed(key): well_formed(item) for key, item in found.items()}
    elif isinstance(found, list | tuple):
        found = [well_formed(item) for item in found]
    return found  # type: ignore[no-any-return]


def refuse_repeated_keys(text: str, where: str) -> None:
    """Raise InputError, starting with `where`, for a key twice in one table of JSON: parsers keep the last."""
    tables: list[dict[str, int]] = []
    before = ""
    start = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            tables.append({})
        elif token[0] in "}]":
            tables.pop()
        elif token[0] == ":":
            key, line = json.loads(before), text.count("\n", 0, start) + 1
            first = tables[-1].get(key)
            if first is not None:
                raise InputError(
                    f"{where}: line {line}: the key '{key}' stands on line {first} already; keep one of the two"
                )
            tables[-1][key] = line
        before, start = token[0], token.start()


def convert(value: object, kind: type[T], where: str) -> T:
    """Return a decoded value as a `kind`; raise InputError that starts with `where`."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_explain(str(error), value, kind)}") from None


def describe_syntax_error(error: Exception, text: str) -> str:
    """Return a parser's message with line and column, from 1, where msgspec gives a byte offset or nothing.

    tomllib gives both itself; a number that is too large has no place.
    """
    message = _AT.sub("", str(error))
    if byte := _BYTE.search(message):
        passed = 1 if _PAST.search(message) else 0
        read = text.encode()[: int(byte["byte"]) - passed].decode(errors="ignore")
        message = message[: byte.start()]
    elif message.endswith("truncated"):
        read = text.rstrip()
    else:
        return message
    line, column = read.count("\n") + 1, len(read) - read.rfind("\n")
    return f"line {line}, column {column}: {message}"


def suggest(name: str, known: Sequence[str], *, prefix: str = "", otherwise: str | None = None) -> str:
    """Return « ; did you mean ...? » with `prefix` for an unknown name, else `otherwise` or the known names."""
    import difflib  # only for a message

    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean '{prefix}{close[0]}'?"
    return f"; known: {', '.join(sorted(set(known)))}" if otherwise is None else otherwise


def _read(path: Path, kind: type[T], parse: Callable[[str], object], wrong: type[Exception], syntax: str) -> T:
    text = read_text(path)
    try:
        with time_limit(_PARSE_S, f"{path}: not read within {_PARSE_S:.0f} s; write it simpler, with shorter keys"):
            value = parse(text)
    except wrong as error:
        raise InputError(f"{path}: not valid {syntax}: {describe_syntax_error(error, text)}") from None
    except RecursionError:
        raise InputError(f"{path}: not valid {syntax}: brackets are nested too deep") from None
    return convert(value, kind, str(path))


def _explain(message: str, document: object, kind: object) -> str:
    """Rewrite a message of msgspec as: place, what was expected, what was found."""
    at = _AT.search(message)
    fault = message[: at.start()] if at else message
    place, found, kind = _walk(at["path"] if at else "$", document, kind)
    prefix = f"{place}: " if place else ""
    if unknown := _UNKNOWN.fullmatch(fault):
        known = list(getattr(_struct_in(kind), "__struct_encode_fields__", ()))
        return f"{prefix}unknown key '{unknown['name']}'{suggest(unknown['name'], known) if known else ''}"
    if missing := _MISSING.fullmatch(fault):
        return f"{prefix}the key '{missing['name']}' is missing"
    expected = fault.split(", got ")[0].removeprefix("Expected ").replace(" | null", "")
    expected = _TYPE.sub(lambda name: _PLAIN.get(name[1], name[1]), expected.replace(" | ", "` or `"))
    if allowed := [value for part in _union_parts(kind) if get_origin(part) is Literal for value in get_args(part)]:
        choice = ", ".join(repr(value) for value in allowed)
        expected = f"{expected.replace('a string or ', '')} or {choice}" if "object" in fault else f"one of {choice}"
    none = (
        " (null for none)" if isinstance(found, int | float) and ">" in fault and NoneType in _union_parts(kind) else ""
    )
    return f"{prefix}expected {expected}{none}, found {_describe(found)}"


def _describe(found: object) -> str:
    return shorten(repr(found) if isinstance(found, str) else json.dumps(found, ensure_ascii=False, default=str))


def shorten(text: str, longest: int = 60) -> str:
    """Return `text` cut to `longest` characters, the last one an ellipsis where it was longer."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _walk(path: str, value: object, kind: object) -> tuple[str, object, object]:
    """Follow a path of msgspec into a document and its type; return the place in words, the value and its type."""
    parts: list[str] = []
    for step in _STEP.finditer(path):
        if step["index"] is not None:
            kind = _item_type(kind, Sequence)
            index = int(step["index"])
            value = value[index] if isinstance(value, list) else None
            parts.append(f"entry {index + 1}{_entry_name(value)}")
            continue
        if (key := step["key"]) is None:
            kind = _item_type(kind, Mapping)
            key = _wrong_key(value, kind)
        else:
            owner = _struct_in(kind)
            kind = get_type_hints(owner, include_extras=True).get(key) if owner else None
        value = value.get(key) if isinstance(value, dict) else None
        parts.append(key)
    return ": ".join(parts), value, kind


def _entry_name(entry: object) -> str:
    """Return the `id`, `name` or `prompt_id` of a list's entry, in brackets."""
    names = [entry[key] for key in ("id", "name", "prompt_id") if key in entry] if isinstance(entry, dict) else []
    return f" ('{names[0]}')" if names and isinstance(names[0], str) else ""


def _wrong_key(mapping: object, kind: object) -> str:
    """Return the first key of a mapping whose value is not a `kind`: msgspec does not tell it."""
    for key, value in mapping.items() if isinstance(mapping, dict) else ():
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return str(key)
    return "a value"


def _item_type(kind: object, container: type) -> object:
    """Return the type of a container's items, of a mapping its values, where `kind` is one or a union with one."""
    origin = get_origin(kind)
    if isinstance(origin, type) and issubclass(origin, container):
        return get_args(kind)[container is Mapping]
    return next((found for part in get_args(kind) if (found := _item_type(part, container))), None)


def _struct_in(kind: object) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for part in get_args(kind) if (found := _struct_in(part))), None)


def _union_parts(kind: object) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def make_run_folder(reports: Path, name: str = "{time}") -> Path:
    """Make a new folder under `reports`, `{time}` being the UTC time; InputError when none can be made."""
    stem = name.replace("{time}", datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    for number in range(1, 1000):
        folder = reports / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"{reports}: a folder for the run cannot be made: {error.strerror or error}") from None
        return folder
    raise InputError(f"{reports}: no free name for a new run after {stem}-999")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it, even after a power cut."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # A device or a pipe is written to, not replaced.
        path.write_bytes(data)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            # Before the rename: a file system may store a new name sooner than the data behind it.
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    with suppress(OSError):  # Windows and some network drives cannot sync a folder
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def text_digest(data: str | bytes) -> str:
    """Return the SHA-256 of bytes, or of a text as UTF-8, hexadecimal."""
    from hashlib import sha256  # which collecting tests does not need

    return sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def find_entry_points(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, from the metadata of the installed distributions."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=group)}


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest of its parents that exists."""
    return next(parent for parent in (path, *path.absolute().parents) if parent.exists())


_OWN_CONFIGURATION: Final = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")
_SHARED_CONFIGURATION: Final = {"pyproject.toml": "[tool.pytest", "tox.ini": "[pytest]", "setup.cfg": "[tool:pytest]"}


def configures_pytest(folder: Path) -> bool:
    """Return whether a folder has a configuration of pytest."""
    shared = ((folder / name, mark) for name, mark in _SHARED_CONFIGURATION.items())
    return any((folder / name).is_file() for name in _OWN_CONFIGURATION) or any(
        file.is_file() and mark in file.read_text(encoding="utf-8", errors="replace") for file, mark in shared
    )


def find_root(here: Path) -> Path:
    """Return the root folder of a pytest that is started in `here`, without the dots of the way where it is above."""
    folders = (here.absolute(), *here.absolute().parents)
    rules: tuple[Callable[[Path], bool], ...] = (
        configures_pytest,
        lambda folder: (folder / "pyproject.toml").is_file(),
        lambda folder: (folder / "setup.py").is_file(),
    )
    found = (folder for rule in rules for folder in folders if rule(folder))
    return Path(os.path.relpath(next(found, folders[0]), folders[0]))
