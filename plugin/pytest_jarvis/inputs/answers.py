"""Answers that were made elsewhere: JSON Lines or CSV, one answer a line."""

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from pytest_jarvis.files import (
    MOST_DATA_BYTES,
    InputError,
    convert,
    read_text,
    refuse_repeated_keys,
    suggest,
    well_formed,
)
from pytest_jarvis.types import BASE_ARM, TWIN_ARM, OutcomeKind


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; keys of a line that are not named here are left alone."""

    prompt_id: str
    text: str
    arm: Annotated[str, msgspec.Meta(pattern=r"^[^\W_][\w-]*$")] | None = None
    """`base`, or the name of an adapter: letters, digits, `_` and `-`."""
    replicate: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Number of the response to its prompt, from 0; None counts the lines of its arm and prompt."""
    expected_outcome: OutcomeKind | None = None
    """What a person says it did."""


_LABEL: Final = "label"  # Another name of `expected_outcome`, as in files of labelled answers.


def read_answers(path: Path, known: Collection[str]) -> dict[int, Answer]:
    """Return line -> answer of a file, to prompts of the ids `known`.

    A file named `*.csv` has a line of column names; any other is JSON Lines. Raises InputError with the first line that
    is no answer, and for a file without one.
    """
    text = read_text(path, MOST_DATA_BYTES)
    lines = _csv_lines(path, text) if path.suffix.lower() == ".csv" else _json_lines(path, text)
    found: dict[int, Answer] = {}
    for number, line in lines:
        where = f"{path}: line {number}"
        answer = convert(line, Answer, where)
        if answer.prompt_id not in known:
            hint = suggest(answer.prompt_id, sorted(known))
            raise InputError(f"{where}: prompt_id: no prompt '{answer.prompt_id}'{hint}")
        found[number] = answer
    if not found:
        raise InputError(f"{path}: no answers: expected at least one line with prompt_id and text")
    return found


def number_replicates(path: Path, answers: Mapping[int, Answer]) -> dict[str, dict[str, list[str]]]:
    """Return arm -> prompt id -> texts by replicate; raise InputError for an answer without an arm, or given twice.

    Raises InputError for a file without answers of the base, or of an adapter, too.
    """
    arms: dict[str, dict[str, dict[int, str]]] = {}
    for line, answer in answers.items():
        if answer.arm is None or (answer.arm != BASE_ARM and answer.arm.casefold() == BASE_ARM):
            raise InputError(f"{path}: line {line}: no arm: expected '{BASE_ARM}' or the name of an adapter")
        own = arms.setdefault(answer.arm, {}).setdefault(answer.prompt_id, {})
        number = len(own) if answer.replicate is None else answer.replicate
        if number in own:
            raise InputError(
                f"{path}: line {line}: prompt '{answer.prompt_id}', {answer.arm}: another answer {number}; "
                "number the answers of a prompt and arm from 0"
            )
        own[number] = answer.text
    if BASE_ARM not in arms or len(arms) < 2 or TWIN_ARM in arms:
        raise InputError(
            f"{path}: expected answers of arm '{BASE_ARM}' and of an adapter by name, found {', '.join(sorted(arms))}"
        )
    return {
        arm: {name: [own[number] for number in sorted(own)] for name, own in prompts.items()}
        for arm, prompts in arms.items()
    }


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(well_formed(line))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number}: expected a JSON object ({error})") from None
        if not isinstance(value, dict):
            raise InputError(f"{path}: line {number}: expected a JSON object with prompt_id and text")
        refuse_repeated_keys(line, f"{path}: line {number}")
        yield number, _with_label(well_formed(value))


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="text", strict=True)  # More fields are no text.
    try:
        for row in reader:
            found: dict[str, object] = {key: value for key, value in row.items() if key and value not in (None, "")}
            found.setdefault("text", row.get("text", "")) if "text" in row else None
            if isinstance(number := found.get("replicate"), str) and number.isdecimal():
                found["replicate"] = int(number)
            yield reader.line_num, _with_label(found)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: expected comma-separated values ({error})") from None


def _with_label(line: dict[str, object]) -> Mapping[str, object]:
    return {"expected_outcome": line[_LABEL], **line} if _LABEL in line else line
