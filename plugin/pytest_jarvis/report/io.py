"""Write and strictly read `report.json`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from pytest_jarvis.files import (
    InputError,
    convert,
    decode_json,
    describe_syntax_error,
    read_text,
    well_formed,
    write_atomically,
)
from pytest_jarvis.report.flat import flatten, nest
from pytest_jarvis.report.schema import REPORT_FILE, SCHEMA_VERSION, Report

_NOT_MEASURED: Final = "not measured (server)"
_STORAGES: Final = {
    "NF4 (double quantisation)": "nf4",
    "FP4": "fp4",
    "4 bits": "4bit",
    "16 bits": "16bit",
    "32 bits": "32bit",
    _NOT_MEASURED: "server",
    "none": "none",
}
"""Label of a storage in schema 1 -> its format."""


def encode_report(report: Report) -> bytes:
    """Return the report as indented UTF-8 JSON; a number that is not finite becomes null."""
    document = flatten(msgspec.to_builtins(report))
    try:
        data = msgspec.json.encode(document)
    except UnicodeEncodeError:
        data = msgspec.json.encode(well_formed(document))
    return msgspec.json.format(data, indent=1) + b"\n"


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json` in `folder`, atomically, and return its path; InputError when there is one already."""
    path = folder / REPORT_FILE
    if path.exists():
        raise InputError(f"{path}: there is already a report; it is not replaced")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encode_report(report))
    return path


def load_report(path: str | Path) -> Report:
    """Return the report in a file, or in the `report.json` of a folder.

    Converts older schemas. Raises InputError, one sentence, when the file is missing, damaged, not a report of this
    project, or of a newer version.
    """
    file = Path(path)
    if file.is_dir():
        file = file / REPORT_FILE
    text = read_text(file)
    try:
        document = decode_json(text)
    except msgspec.DecodeError as error:
        raise InputError(f"{file}: not a whole JSON file: {describe_syntax_error(error, text)}") from None
    except RecursionError:
        raise InputError(f"{file}: not a report of pytest-jarvis: brackets are nested too deep") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{file}: not a report of pytest-jarvis: no schema_version at its top")
    if version not in range(1, SCHEMA_VERSION + 1):
        raise InputError(
            f"{file}: schema_version {version}, this pytest-jarvis reads 1 to {SCHEMA_VERSION}; "
            "read it with the newer version that wrote it"
        )
    if version == 1:
        document = _from_schema_1(document)
    if version < SCHEMA_VERSION:
        document = _from_schema_2(document)
    return convert(nest(document), Report, str(file))


def _from_schema_1(document: dict[str, Any]) -> dict[str, Any]:
    """Return a report's JSON in schema 2: sentences become notes of code `text`."""

    def engine(found: object) -> object:
        found = _changed(found, coverage=_coverage, notes=_each(_note))
        return _changed(found, compute_dtype=lambda name: "server" if name == _NOT_MEASURED else name)

    def metadata(found: object) -> object:
        kept = (
            {name: one for name, one in found.items() if name != "base_model_label"}
            if isinstance(found, dict)
            else found
        )
        return _changed(kept, quantization=_storage)

    def setting(found: object) -> object:
        is_storage = isinstance(found, dict) and found.get("name") == "quantization"
        return _changed(found, stored=_storage, new=_storage) if is_storage else found

    changes: dict[str, Callable[[object], object]] = {
        "metadata": metadata,
        "failures": _each(lambda row: _changed(row, reason=_note)),
        "provenance": lambda found: _changed(found, engine=engine, notes=_each(_note)),
        "regression": lambda found: _changed(found, changes=_each(setting)),
    }
    changed = {name: changes[name](value) if name in changes else value for name, value in document.items()}
    return {**changed, "schema_version": 2}


_RENAMED: Final = re.compile(r"(avg_)?keyword_match(?=_base|_finetuned|$)")
_GONE: Final = re.compile(r"(avg_)?understood(_base|_finetuned)?|clean_(base|finetuned|samples)")


def _from_schema_2(found: object) -> Any:  # any JSON
    """Return a report's JSON in schema 3: keywords are shares, and clean commands are gone."""
    if isinstance(found, list):
        return [_from_schema_2(one) for one in found]
    if not isinstance(found, dict):
        return found
    if found.get("code") == "no_clean_answer":
        return _note(str(found.get("values")))
    kept = {
        _RENAMED.sub(lambda match: f"{match[1] or ''}keyword_share", name): _from_schema_2(value)
        for name, value in found.items()
        if not _GONE.fullmatch(name)
    }
    return {**kept, "schema_version": SCHEMA_VERSION} if "schema_version" in kept else kept


def _changed(table: object, **changes: Callable[[object], object]) -> object:
    """Return a JSON object with some values replaced; anything else as it is, for the type check to refuse."""
    if not isinstance(table, dict):
        return table
    return {name: changes[name](value) if name in changes else value for name, value in table.items()}


def _each(change: Callable[[object], object]) -> Callable[[object], object]:
    return lambda found: [change(one) for one in found] if isinstance(found, list) else found


def _note(sentence: object) -> object:
    return {"code": "text", "values": {"text": sentence}}


def _coverage(found: object) -> object:
    if not isinstance(found, dict) or "label" not in found:
        return found
    return {"storage": _storage(found["label"]), **{name: one for name, one in found.items() if name != "label"}}


def _storage(label: object) -> object:
    """Return a storage from its label in schema 1; an unknown label stays text."""
    method = str(label).removeprefix("quantised by its checkpoint (")
    if method != label:
        return {"format": "checkpoint", "method": method.removesuffix(")")}
    return {"format": _STORAGES[str(label)]} if label in _STORAGES else {"format": "text", "method": label}
