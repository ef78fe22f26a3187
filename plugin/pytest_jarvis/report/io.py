"""`report.json`: how a report is written, and read back strictly."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_jarvis.files import InputError, convert, read_text, syntax_error, write_atomically
from pytest_jarvis.report.flat import flatten, nest
from pytest_jarvis.report.schema import REPORT_FILE, SCHEMA_VERSION, Report


def encode_report(report: Report) -> bytes:
    """Return the report as indented UTF-8 JSON; a number that is not finite cannot be in it (written as null)."""
    return msgspec.json.format(msgspec.json.encode(flatten(msgspec.to_builtins(report))), indent=1) + b"\n"


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json` in `folder`, atomically, and return its path; raise InputError rather than replace one."""
    path = folder / REPORT_FILE
    if path.exists():
        raise InputError(f"{path}: there is a report already; it is not replaced")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encode_report(report))
    return path


def load_report(path: str | Path) -> Report:
    """Return the report of a file, or of the folder that holds `report.json`.

    Raises InputError, one sentence, when it is missing, damaged, not a report of this project, or of another version.
    """
    file = Path(path)
    if file.is_dir():
        file = file / REPORT_FILE
    text = read_text(file)
    try:
        document = msgspec.json.decode(text.encode())
    except msgspec.DecodeError as error:
        raise InputError(f"{file}: not a whole JSON file: {syntax_error(error, text)}") from None
    except RecursionError:
        raise InputError(f"{file}: not a report of pytest-jarvis: brackets are nested too deep") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{file}: not a report of pytest-jarvis: no schema_version at its top")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{file}: schema_version {version}, this pytest-jarvis reads {SCHEMA_VERSION}; "
            f"read it with the {'newer' if version > SCHEMA_VERSION else 'older'} version that wrote it"
        )
    return convert(nest(document), Report, str(file))
