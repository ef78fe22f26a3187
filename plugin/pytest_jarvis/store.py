"""The store: every response that was drawn, on disk, by all that determines it. SQLite, shared by processes."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from pytest_jarvis.records import Identity, Request, Response
from pytest_jarvis.storefile import (
    APPLICATION_ID,
    SCHEMA,
    STORE_VERSION,
    check_store,
    connect,
    connect_to_read,
    make_folder,
    patiently,
    size_of,
)

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
