"""The file of a store: made, recognised, opened, and refused when it is foreign or damaged."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from pytest_jarvis.reading import InputError

APPLICATION_ID: Final = 0x4A525653
"""`JRVS`: where SQLite's header says whose file it is."""
STORE_VERSION: Final = 1
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_PATIENCE_S: Final = 30.0
"""How long a write waits for that of another process."""
_CHECKED_WHOLE_BYTES: Final = 64_000_000
"""Up to this size every page is looked at when a store is opened; a larger one only where it is read."""

SCHEMA: Final = (
    """CREATE TABLE arms (
        id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, engine TEXT NOT NULL, base TEXT NOT NULL,
        base_name TEXT NOT NULL, adapter TEXT, adapter_name TEXT)""",
    """CREATE TABLE responses (
        key TEXT PRIMARY KEY, arm INTEGER NOT NULL REFERENCES arms (id), prompt_id TEXT NOT NULL, prompt TEXT NOT NULL,
        replicate INTEGER NOT NULL, seed INTEGER NOT NULL, response BLOB NOT NULL, vector TEXT NOT NULL,
        written_at REAL NOT NULL)""",
    "CREATE INDEX responses_by_age ON responses (written_at)",
    "CREATE TABLE vectors (key TEXT PRIMARY KEY, vector BLOB)",
    "CREATE TABLE digests (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID",
)


def check_store(path: Path) -> None:
    """Raise InputError, one sentence, when there is a file that is not a whole store; nothing is made or changed.

    A file that cannot be read is no error here: the run can do without it.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder, where the store of responses should be; name a file in output.store")
    try:
        with path.open("rb") as stream:
            header = stream.read(_HEADER_BYTES)
    except OSError:
        return
    if any(header):
        # All zeros, it may be a store whose making was cut off by a power cut: SQLite will know.
        _refuse_foreign(path, header)
    if header:
        _refuse_damaged(path)


def connect(path: Path, how: str) -> sqlite3.Connection:
    """Return a connection that waits for other processes and commits each statement outside of a transaction."""
    uri = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S, isolation_level=None)
    try:
        # A commit outlives the process from that moment, and the machine a little later. This opens the file as well.
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that writes no response, also for a folder in which nothing may be made."""
    try:
        connection = connect(path, "mode=rw")
    except sqlite3.OperationalError:
        return connect(path, "mode=ro&immutable=1")
    connection.execute("PRAGMA query_only = ON")
    return connection


def make_folder(folder: Path) -> None:
    """Make the store's folder, if need be, and have git leave it alone."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def size_of(path: Path) -> int:
    """Return the bytes of a store's file, with what is not yet moved into it."""
    return sum(file.stat().st_size for file in (path, _beside(path, "wal")) if file.exists())


def patiently(action: Callable[[], object]) -> None:
    """Do what SQLite refuses at once, instead of waiting, while another process has the store."""
    limit = time.monotonic() + _PATIENCE_S
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > limit:
                raise
            time.sleep(0.01)
        else:
            return


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}-{kind}")


def _refuse_foreign(path: Path, header: bytes) -> None:
    """Raise InputError for another program's file, read without SQLite so that nothing is written beside it."""
    if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise InputError(
            f"{path}: not a store of responses of pytest-jarvis; it is left as it is: "
            "name another file in output.store of the configuration"
        )
    version = int.from_bytes(header[60:64], "big")
    if version != STORE_VERSION:
        raise InputError(
            f"{path}: a store of version {version}, this pytest-jarvis reads {STORE_VERSION}; it is left as it is: "
            "name another file in output.store of the configuration"
        )


def _refuse_damaged(path: Path) -> None:
    """Raise InputError for a store that SQLite finds damaged."""
    reason = _damage(path)
    if reason is not None and _beside(path, "wal").exists():
        # A process that began to write meanwhile: what was read without it may be half of something.
        reason = _damage(path)
    if reason is not None:
        raise InputError(
            f"{path}: the store of responses is damaged ({' '.join(reason.split())}); it is left as it is: move it "
            "away or delete it, and its responses are drawn again"
        )


def _damage(path: Path) -> str | None:
    """Return what SQLite finds wrong with a store; None as well where that cannot be seen now, which use will say."""
    try:
        with closing(_connect_to_check(path)) as connection:
            statements = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            if statements != set(SCHEMA):
                # Empty: its making was cut off, and SQLite has just undone the half of it.
                return "its tables are not those of a store" if statements else None
            if path.stat().st_size > _CHECKED_WHOLE_BYTES:
                return None
            said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            return None if said == "ok" else said
    except sqlite3.OperationalError:
        return None
    except sqlite3.DatabaseError as error:
        return str(error)


def _connect_to_check(path: Path) -> sqlite3.Connection:
    """Return a connection that makes no file and changes nothing, unless a transaction was cut off.

    What then lies beside the store is part of it: SQLite reads it, or undoes what it must.
    """
    if _beside(path, "journal").exists():
        return connect(path, "mode=rw")
    return connect(path, "mode=ro" if _beside(path, "wal").exists() else "mode=ro&immutable=1")
