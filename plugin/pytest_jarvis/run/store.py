"""The store: every response that was drawn, on disk, by all that determines it. SQLite, shared by processes."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from pytest_jarvis.files import InputError
from pytest_jarvis.types import Identity, Request, Response

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


_KEY_VERSION: Final = 1
"""Part of every key: to be raised when what a key is made of changes its meaning."""
_REMEMBERED_BYTES: Final = 16_000_000
"""Digests of smaller files are not remembered: reading them again takes less than being wrong once."""
_FRESH_NS: Final = 2_000_000_000
"""A file changed less than this ago may change again without its time showing it: FAT counts in steps of 2 s."""
_AT_ONCE: Final = 500
"""Values of one question: SQLite before 3.32 takes 999."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What people call an arm: for `stats`, and in no key."""

    base: str
    adapter: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How many responses a store holds of one arm: of a base without adapters, or of one adapter."""

    name: str
    digest: str
    responses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """What a store holds."""

    responses: int
    vectors: int
    bases: tuple[Held, ...]
    adapters: tuple[Held, ...]
    size_bytes: int
    """Of its file, with what is not yet moved into it."""
    oldest: float | None
    """Seconds since 1970, UTC; None when there is no response."""
    newest: float | None


def response_key(identity: Identity) -> str:
    """Return the key of a response: SHA-256, hexadecimal, of its identity as canonical JSON."""
    return _digest({"version": _KEY_VERSION, **_plain(identity)})


def vector_key(identity: Identity, text: str, maker: str | None = None) -> str:
    """Return the key of the vector of `text`: it is made by the base with adapters off, whoever said the text.

    `maker` is the model that makes it where that is not the base.
    """
    known = _plain(identity)
    used = ("engine", "base", "storage", "arithmetic", "versions")
    made_by = {} if maker is None else {"maker": maker}
    return _digest({"version": _KEY_VERSION, "text": text, **made_by, **{name: known[name] for name in used}})


class ResponseStore:
    """One connection to a store. Each method is one transaction; sqlite3.Error passes through."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        """Open the store of `path`; a writable one is made, with its folder, where there is none.

        Raises InputError for a file that is not a store, OSError or sqlite3.Error when it cannot be opened.
        """
        self.path = path
        check_store(path)
        if writable:
            make_folder(path.parent)
            self._connection = connect(path, "mode=rwc")
            try:
                self._prepare()
            except sqlite3.Error:
                self.close()
                raise
        else:
            self._connection = connect_to_read(path)
        self._writable = writable
        self._arms: dict[tuple[str, Names], int] = {}

    def find(self, wanted: Mapping[str, Request]) -> dict[str, Response]:
        """Return the responses held for keys, each as the answer to its request."""
        found: dict[str, Response] = {}
        for key, data in self._select("key, response", "responses", list(wanted)):
            request = wanted[key]
            try:
                held = msgspec.json.decode(data, type=Response)
            except (msgspec.DecodeError, TypeError) as error:
                raise sqlite3.DatabaseError(f"a response is not one: {error}") from None
            found[key] = replace(held, prompt_id=request.prompt_id, arm=request.arm, replicate=request.replicate)
        return found

    def add(self, identity: Identity, response: Response, names: Names) -> None:
        """Write a response; one of the same key is replaced, so that the latest stands."""
        known = _plain(identity)
        own = {name: known.pop(name) for name in ("prompt", "prompt_id", "replicate", "seed")}
        with self._transaction():
            arm = self._arm(_canonical(known), identity, names)
            values = {
                "key": response_key(identity),
                "arm": arm,
                **own,
                # Whole, as JSON: what a response is made of may grow.
                "response": msgspec.json.encode(response),
                "vector": vector_key(identity, response.text),
                "written_at": time.time(),
            }
            marks = ", ".join("?" * len(values))
            self._connection.execute(
                f"INSERT OR REPLACE INTO responses ({', '.join(values)}) VALUES ({marks})",  # noqa: S608  # names
                list(values.values()),
            )

    def find_vectors(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """Return the vectors held for keys, as bytes of float32, little-endian; None for that of an empty text."""
        return {row[0]: row[1] for row in self._select("key, vector", "vectors", keys)}

    def add_vectors(self, vectors: Mapping[str, bytes | None]) -> None:
        """Write vectors by key."""
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", vectors.items())

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, hexadecimal; that of a large file is remembered until the file changes."""
        status = path.stat()
        if status.st_size < _REMEMBERED_BYTES:
            return sha256_of(path)
        # As git does: what a copy with preserved times changes is the inode, or the time of the change itself.
        state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        name = str(path.resolve())
        row = self._connection.execute("SELECT sha256 FROM digests WHERE path = ? AND state = ?", (name, state))
        for (known,) in row.fetchall():
            return str(known)
        found = sha256_of(path)
        if self._writable and time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _FRESH_NS:
            with self._transaction():
                self._connection.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (name, state, found))
        return found

    def stats(self) -> StoreStats:
        """Return what the store holds."""

        def held(name: str, digest: str, own: str) -> tuple[Held, ...]:
            rows = self._connection.execute(
                f"SELECT max({name}), {digest}, sum({own}) FROM responses JOIN arms ON arms.id = responses.arm "  # noqa: S608
                f"WHERE {digest} IS NOT NULL GROUP BY {digest} ORDER BY sum({own}) DESC, {digest}"
            )
            return tuple(Held(name=row[0], digest=row[1], responses=row[2]) for row in rows)

        ask = self._connection.execute
        count, oldest, newest = ask("SELECT count(*), min(written_at), max(written_at) FROM responses").fetchone()
        return StoreStats(
            responses=count,
            vectors=ask("SELECT count(*) FROM vectors").fetchone()[0],
            bases=held("base_name", "base", "adapter IS NULL"),
            adapters=held("adapter_name", "adapter", "1"),
            size_bytes=size_of(self.path),
            oldest=oldest,
            newest=newest,
        )

    def prune(self, *, older_than_s: float | None = None, max_bytes: int | None = None) -> int:
        """Delete the responses older than an age, then the oldest until the rest takes at most `max_bytes`.

        Returns how many were deleted. What only they needed goes with them, and the file shrinks.
        """
        before = self._count()
        with self._transaction():
            if older_than_s is not None:
                self._connection.execute("DELETE FROM responses WHERE written_at < ?", (time.time() - older_than_s,))
            self._drop_orphans()
            while max_bytes is not None and (held := self._count()) and (used := self._used_bytes()) > max_bytes:
                surplus = max(1, math.ceil(held * (1 - max_bytes / used) * 0.9))
                self._connection.execute(
                    "DELETE FROM responses WHERE key IN (SELECT key FROM responses ORDER BY written_at LIMIT ?)",
                    (surplus,),
                )
                self._drop_orphans()
            after = self._count()
        self._shrink()
        return before - after

    def clear(self) -> int:
        """Delete everything and return how many responses it was; another process may go on writing."""
        with self._transaction():
            count = self._count()
            for table in ("responses", "vectors", "arms", "digests"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
        self._arms.clear()
        self._shrink()
        return count

    def close(self) -> None:
        """Close the connection; the last one to close moves everything into the one file."""
        self._connection.close()

    def _prepare(self) -> None:
        """Make the tables where there are none, and have writers not block readers."""
        if not self._is_made():
            # One transaction, so that no other process, and no death of this one, sees a file that is half a store.
            with self._transaction():
                # Another process may have been first.
                if not self._is_made():
                    for statement in SCHEMA:
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._connection.execute(f"PRAGMA user_version = {STORE_VERSION}")
        # SQLite does not wait here when two processes do this at once; where it cannot be done, as on a network's
        # drive, the store works without.
        patiently(lambda: self._connection.execute("PRAGMA journal_mode = WAL").fetchone())

    def _is_made(self) -> bool:
        return bool(self._connection.execute("PRAGMA application_id").fetchone()[0])

    def _arm(self, shared: str, identity: Identity, names: Names) -> int:
        """Return the number of an arm, in the transaction that is open; its names are those of the last run."""
        if (shared, names) in self._arms:
            known = self._connection.execute("SELECT 1 FROM arms WHERE id = ?", (self._arms[shared, names],))
            if known.fetchone():
                return self._arms[shared, names]
        self._connection.execute(
            "INSERT INTO arms (identity, engine, base, base_name, adapter, adapter_name) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (identity) DO UPDATE SET base_name = excluded.base_name, adapter_name = excluded.adapter_name",
            (shared, identity.engine, identity.base, names.base, identity.adapter, names.adapter),
        )
        number: int = self._connection.execute("SELECT id FROM arms WHERE identity = ?", (shared,)).fetchone()[0]
        self._arms[shared, names] = number
        return number

    def _select(self, columns: str, table: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            yield from self._connection.execute(f"SELECT {columns} FROM {table} WHERE key IN ({marks})", part)  # noqa: S608

    def _count(self) -> int:
        count: int = self._connection.execute("SELECT count(*) FROM responses").fetchone()[0]
        return count

    def _used_bytes(self) -> int:
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _drop_orphans(self) -> None:
        self._connection.execute("DELETE FROM vectors WHERE key NOT IN (SELECT vector FROM responses)")
        self._connection.execute("DELETE FROM arms WHERE id NOT IN (SELECT arm FROM responses)")

    def _shrink(self) -> None:
        """Give free pages back. Pages that could be given back one by one would cost a making in two transactions."""
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            # SQLite has itself undone what a full disk stopped.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(identity: Identity) -> dict[str, object]:
    """Return an identity's values by name, in one level: `dataclasses.asdict` copies each mapping, for every key."""
    return {field.name: getattr(identity, field.name) for field in fields(identity)}


def _canonical(value: Mapping[str, object]) -> str:
    """Return JSON that is the same for the same values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)


def _digest(value: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()
