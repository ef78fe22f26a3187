"""How files come to be: a folder of its own for each run, and no file half written."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pytest_jarvis.reading import InputError


def new_run_folder(reports: Path, name: str = "{time}") -> Path:
    """Make and return a folder of its own for a run under `reports`; never an existing one: a number is added.

    `{time}` in its name is filled in.
    """
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
    """Write a file so that a reader sees the old one or the new one, never half of it.

    So it is after a power cut too: when this returns, the new one is on the disk.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            # Before it takes its name: a file system may well remember a new name sooner than what it names.
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _keep_names_of(path.parent)


def _keep_names_of(folder: Path) -> None:
    """Have the disk remember the names in a folder; not on Windows, nor on a network's drive that cannot do it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
