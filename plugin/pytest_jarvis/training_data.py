"""Training data as texts with their places: JSONL and JSON of the usual fine-tuning formats, and plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from pytest_jarvis.reading import InputError, read_text, syntax_error

_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})
_ASKING: Final = frozenset({"user", "human", "prompter"})
_TURNS: Final = ("messages", "conversations", "conversation")
_TURN: Final = re.compile(r"<\|[^<>|]*\|>|</?s>|\[/?INST\]|^#{2,}[^\n]*$|\n", re.MULTILINE)
"""What stands between the turns of a chat that was written as one text."""
_RECORD: Final = re.compile(r"[^\s,]")
"""Where a record of a list begins."""
_KNOWN: Final = "messages, conversations, prompt, instruction, text"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingText:
    """One text that a model was trained to answer, and where it stands."""

    file: str
    line: int
    """From 1."""
    text: str


def read_training_data(path: Path) -> Iterator[TrainingText]:
    """Yield what a model was trained to answer, line by line of a file; what it was to answer is left out.

    A file `.jsonl`, or any whose first character is a brace, holds a JSON object a line; one that begins with a
    bracket (`.json`) a list of them; any other a text a line. An object has `messages` or `conversations` (the turns of
    user or human), `prompt` (a string, or turns), `instruction` with or without `input`, or `text` (all of it).
    Raises InputError with file and line for what cannot be read.
    """
    whole = read_text(path)
    start = whole.lstrip()[:1]
    if start == "[" and path.suffix not in _JSON_LINES:
        yield from _listed(path, whole)
    elif start == "{" or path.suffix in _JSON_LINES:
        for number, line in enumerate(whole.split("\n"), start=1):
            if line.strip():
                for text in _texts_of(_decoded(path, number, line), f"{path}: line {number}"):
                    yield TrainingText(file=str(path), line=number, text=text)
    else:
        for number, line in enumerate(whole.split("\n"), start=1):
            if line.strip():
                yield TrainingText(file=str(path), line=number, text=line.strip())


def _decoded(path: Path, number: int, line: str) -> object:
    try:
        return msgspec.json.decode(line.encode())
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        said = syntax_error(error, line).removeprefix("line 1, ")
        raise InputError(f"{path}: line {number}: not valid JSON: {said}; expected one JSON object a line") from None


def _listed(path: Path, whole: str) -> Iterator[TrainingText]:
    """Yield the texts of a JSON list of records, each with the line its record begins at."""
    decoder, place, line, seen = json.JSONDecoder(), _after(whole, whole.index("[") + 1), 1, 0
    while not whole.startswith("]", place):
        line, seen = line + whole.count("\n", seen, place), place
        try:
            record, end = decoder.raw_decode(whole, place)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}: line {error.lineno}: not valid JSON: column {error.colno}: {error.msg}; expected a list"
            ) from None
        place = _after(whole, end)
        for text in _texts_of(record, f"{path}: line {line}"):
            yield TrainingText(file=str(path), line=line, text=text)


def _after(whole: str, place: int) -> int:
    """Return where the next record, or the end of the list, stands."""
    found = _RECORD.search(whole, place)
    return found.start() if found else len(whole)


def _texts_of(record: object, where: str) -> list[str]:
    """Return the texts of one record; InputError for one of no known form."""
    if isinstance(record, str):
        return [record]
    if not isinstance(record, Mapping):
        raise InputError(f"{where}: expected a JSON object with {_KNOWN}; found {_shown(record)}")
    for key in _TURNS:
        if key in record:
            return _asked(record[key], f"{where}: {key}")
    if "prompt" in record:
        prompt = record["prompt"]
        return [prompt] if isinstance(prompt, str) else _asked(prompt, f"{where}: prompt")
    if "instruction" in record:
        given = [(key, record.get(key)) for key in ("instruction", "input")]
        return [_string(value, f"{where}: {key}") for key, value in given if value]
    if "text" in record:
        return [part.strip() for part in _TURN.split(_string(record["text"], f"{where}: text")) if part.strip()]
    keys = ", ".join(f"'{key}'" for key in list(record)[:6]) or "no key"
    raise InputError(f"{where}: expected one of {_KNOWN}; found {keys}")


def _asked(turns: object, where: str) -> list[str]:
    """Return what the user says in a list of turns: `role` and `content`, or `from` and `value`."""
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise InputError(f"{where}: expected a list of turns, found {_shown(turns)}")
    found: list[str] = []
    for place, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping):
            raise InputError(f"{where}: turn {place}: expected a role and its content, found {_shown(turn)}")
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if role in _ASKING:
            found += _parts(content, f"{where}: turn {place}")
    return found


def _parts(content: object, where: str) -> list[str]:
    """Return the texts of a content: a string, or a list of parts of which some are text."""
    if isinstance(content, list):
        parts: list[Any] = [part.get("text") for part in content if isinstance(part, Mapping)]
        return [part for part in parts if isinstance(part, str)]
    return [_string(content, where)]


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: expected a string, found {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Return a value for a message, not too long."""
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
