"""On-disk response cache (SQLite), keyed by everything that can change a response; processes may share it."""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import asdict, replace

from pytest_jarvis.engines.base import Engine
from pytest_jarvis.files import InputError
from pytest_jarvis.types import BASE_ARM, EngineDescription, Identity, ProblemKind, Request, Response, StoreProblem

if TYPE_CHECKING:
    from pytest_jarvis.metrics.similarity import Embedding


try:
    import sqlite3

    SQL_ERROR: type[Exception] = sqlite3.Error
except ModuleNotFoundError:  # a Python that was built without it: runs go on without a store
    SQL_ERROR = OSError

APPLICATION_ID: Final = 0x4A525653  # `JRVS`: SQLite's header says which program a file belongs to.
STORE_VERSION: Final = 1
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_TIMEOUT_S: Final = 30.0  # How long an operation waits for another process.
_CHECKED_BYTES: Final = 64_000_000
"""Up to this size every page is checked when a store is opened; a larger one only where it is read."""
_KEY_VERSION: Final = 1  # Part of every key: raise it when the meaning of a key changes.
_REMEMBERED_BYTES: Final = 16_000_000
"""Digests of smaller files are not remembered: hashing them again is cheap, and never wrong."""
_FRESH_NS: Final = 2_000_000_000
"""A file may change again within this time and keep its time stamp: FAT counts in steps of 2 s."""
_SEAL_BYTES: Final = 64
_KEYS_PER_QUERY: Final = 500  # SQLite before 3.32 takes at most 999 variables.

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


class ArmLabels(msgspec.Struct, frozen=True, kw_only=True):
    """Human-readable names of an arm, for `stats`; part of no key."""

    base: str
    adapter: str | None


class ArmCount(msgspec.Struct, frozen=True, kw_only=True):
    """Number of stored responses of one arm: a base without adapters, or one adapter."""

    name: str
    digest: str
    responses: int


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of a store."""

    responses: int
    vectors: int
    bases: tuple[ArmCount, ...]
    adapters: tuple[ArmCount, ...]
    size_bytes: int
    """Size of the file and its write-ahead log."""
    oldest: float | None
    """Seconds since 1970, UTC; None when there is no response."""
    newest: float | None


def response_key(identity: Identity) -> str:
    """Return the key of a response: SHA-256, hexadecimal, of its identity as canonical JSON."""
    return _digest({"version": _KEY_VERSION, **asdict(identity)})


def vector_key(identity: Identity, text: str, embedding_model: str | None = None) -> str:
    """Return the key of the vector of `text`, made by `embedding_model` (None: the base); the arm does not matter."""
    known = asdict(identity)
    used = ("engine", "base", "storage", "arithmetic", "versions")
    maker = {} if embedding_model is None else {"maker": embedding_model}
    return _digest({"version": _KEY_VERSION, "text": text, **maker, **{name: known[name] for name in used}})


def check_store(path: Path) -> None:
    """Raise InputError for a foreign or damaged file; a run continues without a locked or unreadable store."""
    if path.exists():
        try:
            ResponseStore(path, writable=False).close()
        except (OSError, SQL_ERROR):
            return


class ResponseStore:
    """A connection to a store. Each method is one transaction; sqlite3.Error passes through."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        """Open the store at `path`; a writable one is created, with its folder, when it is missing.

        Raises InputError for a file that is not a store, OSError or sqlite3.Error when it cannot be opened.
        """
        self.path = path
        self.edited = 0
        self._writable = writable
        if SQL_ERROR is OSError:
            raise OSError("this Python was built without sqlite3")
        _refuse_foreign(path)
        if writable and not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        try:
            self._connection = _connect(path, writable=writable)
            try:
                self._refuse_damaged()
                if writable:
                    self._create_tables()
            except BaseException:
                self.close()
                raise
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise _damaged(path, str(error)) from None

    def find(self, requests: Mapping[str, Request]) -> dict[str, Response]:
        """Return the stored responses by key, each labelled with the prompt, arm and replicate of its request.

        One that is not as it was written is left out, and counted in `edited`.
        """
        found: dict[str, Response] = {}
        for key, sealed in self._select("key, response", "responses", list(requests)):
            if not isinstance(sealed, bytes) or sealed != _seal(key, sealed[_SEAL_BYTES:]):
                self.edited += 1
                continue
            request, data = requests[key], sealed[_SEAL_BYTES:]
            try:
                response = msgspec.json.decode(data, type=Response)
            except msgspec.DecodeError as error:
                raise sqlite3.DatabaseError(f"a response is not one: {error}") from None
            found[key] = replace(response, prompt_id=request.prompt_id, arm=request.arm, replicate=request.replicate)
        return found

    def add(self, identity: Identity, response: Response, labels: ArmLabels) -> None:
        """Write a response, replacing one of the same key."""
        shared = asdict(identity)
        own = {name: shared.pop(name) for name in ("prompt", "prompt_id", "replicate", "seed")}
        with self._transaction():
            values = {
                "key": response_key(identity),
                "arm": self._arm(_canonical(shared), identity, labels),
                **own,
                # Whole, as JSON: the fields of a response may grow.
                "response": _seal(response_key(identity), msgspec.json.encode(response)),
                "vector": vector_key(identity, response.text),
                "written_at": time.time(),
            }
            marks = ", ".join("?" * len(values))
            self._connection.execute(
                f"INSERT OR REPLACE INTO responses ({', '.join(values)}) VALUES ({marks})",  # noqa: S608  # names
                list(values.values()),
            )

    def find_vectors(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        """Return the stored vectors by key, as bytes of float32, little-endian; None for that of an empty text."""
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
        # As git does: a copy with preserved times still changes the inode or the time of the change itself.
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
        """Count the contents of the store."""

        def counts(name: str, digest: str, own: str) -> tuple[ArmCount, ...]:
            rows = self._connection.execute(
                f"SELECT max({name}), {digest}, sum({own}) FROM responses JOIN arms ON arms.id = responses.arm "  # noqa: S608
                f"WHERE {digest} IS NOT NULL GROUP BY {digest} ORDER BY sum({own}) DESC, {digest}"
            )
            return tuple(ArmCount(name=row[0], digest=row[1], responses=row[2]) for row in rows)

        query = self._connection.execute("SELECT count(*), min(written_at), max(written_at) FROM responses")
        count, oldest, newest = query.fetchone()
        wal = self.path.with_name(f"{self.path.name}-wal")
        return StoreStats(
            responses=count,
            vectors=self._number("SELECT count(*) FROM vectors"),
            bases=counts("base_name", "base", "adapter IS NULL"),
            adapters=counts("adapter_name", "adapter", "1"),
            size_bytes=sum(file.stat().st_size for file in (self.path, wal) if file.exists()),
            oldest=oldest,
            newest=newest,
        )

    def prune(self, *, older_than_s: float | None = None, max_bytes: int | None = None) -> int:
        """Delete responses older than an age, then the oldest until the rest takes at most `max_bytes`.

        Return how many were deleted. Vectors and arms that only they used go with them, and the file shrinks.
        """
        before = self._count()
        with self._transaction():
            if older_than_s is not None:
                self._connection.execute("DELETE FROM responses WHERE written_at < ?", (time.time() - older_than_s,))
            self._delete_orphans()
            while max_bytes is not None and (left := self._count()) and self._used_bytes() > max_bytes:
                self._connection.execute(
                    "DELETE FROM responses WHERE key IN (SELECT key FROM responses ORDER BY written_at LIMIT ?)",
                    (max(1, left // 50),),
                )
                self._delete_orphans()
            deleted = before - self._count()
        self._shrink()
        return deleted

    def clear(self) -> int:
        """Delete everything and return how many responses that was; another process may go on writing."""
        with self._transaction():
            count = self._count()
            for table in ("responses", "vectors", "arms", "digests"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
        self._shrink()
        return count

    def close(self) -> None:
        """Close the connection; the last one to close merges the write-ahead log into the file."""
        self._connection.close()

    def _refuse_damaged(self) -> None:
        """Raise InputError for other tables or a broken page; an empty file becomes a store."""
        statements = self._connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        if {row[0] for row in statements} not in (set(), set(SCHEMA)):
            raise _damaged(self.path, "its tables are not those of a store")
        if self.path.stat().st_size <= _CHECKED_BYTES:
            result = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if result != "ok":
                raise _damaged(self.path, str(result))

    def _create_tables(self) -> None:
        """Create the tables unless they exist, and keep writers from blocking readers."""
        if not self._number("PRAGMA application_id"):
            # One transaction: no other process, and no death of this one, leaves half a store.
            with self._transaction():
                if not self._number("PRAGMA application_id"):
                    for statement in SCHEMA:
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._connection.execute(f"PRAGMA user_version = {STORE_VERSION}")
        # Where write-ahead logging is unavailable, as on a network drive, the store works without.
        retry_while_locked(lambda: self._connection.execute("PRAGMA journal_mode = WAL").fetchone())

    def _arm(self, shared: str, identity: Identity, labels: ArmLabels) -> int:
        """Return the row of an arm, within the open transaction; the labels of the last run win."""
        self._connection.execute(
            "INSERT INTO arms (identity, engine, base, base_name, adapter, adapter_name) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (identity) DO UPDATE SET base_name = excluded.base_name, adapter_name = excluded.adapter_name",
            (shared, identity.engine, identity.base, labels.base, identity.adapter, labels.adapter),
        )
        return self._number("SELECT id FROM arms WHERE identity = ?", shared)

    def _select(self, columns: str, table: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            part = keys[start : start + _KEYS_PER_QUERY]
            marks = ", ".join("?" * len(part))
            yield from self._connection.execute(f"SELECT {columns} FROM {table} WHERE key IN ({marks})", part)  # noqa: S608

    def _number(self, query: str, *values: str) -> int:
        return int(self._connection.execute(query, values).fetchone()[0])

    def _count(self) -> int:
        return self._number("SELECT count(*) FROM responses")

    def _used_bytes(self) -> int:
        used_pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return used_pages * self._number("PRAGMA page_size")

    def _delete_orphans(self) -> None:
        self._connection.execute("DELETE FROM vectors WHERE key NOT IN (SELECT vector FROM responses)")
        self._connection.execute("DELETE FROM arms WHERE id NOT IN (SELECT arm FROM responses)")

    def _shrink(self) -> None:
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            # SQLite has already rolled back what a full disk stopped.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


_PROBLEM_KINDS: Final[dict[ProblemKind, tuple[str, ...]]] = {
    "full": ("SQLITE_FULL",),
    "unwritable": ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"),
    "busy": ("SQLITE_BUSY", "SQLITE_LOCKED"),
    "damaged": ("SQLITE_CORRUPT", "SQLITE_NOTADB"),
}
_UNWRITABLE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT})
_FLOAT32: Final = "<f4"


class ResponseCache:
    """Store of a run. At the first error it reports once and shuts off, and the run continues without it."""

    def __init__(
        self,
        path: Path,
        *,
        read: bool,
        write: bool,
        timeout_s: float | None = None,
        on_problem: Callable[[StoreProblem], None] = lambda _: None,
    ) -> None:
        """Open nothing yet; a stored response that took longer than `timeout_s` is not reused, as it would fail now."""
        self._path = path
        self._read = read
        self._write = write
        self._timeout_s = timeout_s
        self._on_problem = on_problem
        self._store: ResponseStore | None = None
        self._engine: Engine | None = None
        self._labels: dict[str, ArmLabels] = {}
        self._embedding_model: str | None = None
        self.problem: StoreProblem | None = None

    def start(self, engine: Engine, description: EngineDescription) -> None:
        """Open the store for the responses of an engine."""
        self._engine = engine
        self._embedding_model = description.embedding
        sources = {BASE_ARM: None, **{adapter.name: adapter.source for adapter in description.adapters}}
        self._labels = {
            arm: ArmLabels(base=description.base_model, adapter=source and f"{arm} ({source})")
            for arm, source in sources.items()
        }
        with self._shut_off_on_error():
            if self._write or (self._read and self._path.exists()):
                self._store = ResponseStore(self._path, writable=self._write)

    def get(self, requests: Sequence[Request]) -> list[Response]:
        """Return the stored responses to requests, in their order; none for a request without an identity."""
        found: list[Response] = []
        with self._shut_off_on_error():
            if self._read and self._store is not None:
                identities = [(self._identity(request), request) for request in requests]
                wanted = {response_key(identity): request for identity, request in identities if identity is not None}
                stored = self._store.find(wanted)
                if self._store.edited and self.problem is None:
                    self._report(StoreProblem(kind="edited", path=str(self._path), reason=str(self._store.edited)))
                limit = inf if self._timeout_s is None else self._timeout_s
                found = [stored[key] for key in wanted if key in stored and (stored[key].duration_s or 0) <= limit]
        return found

    def put(self, request: Request, response: Response) -> None:
        """Write the response to a request, durably against a crash of the process."""
        with self._shut_off_on_error():
            if self._write and self._store is not None:
                identity = self._identity(request)
                if identity is not None and response.finish_reason != "timeout":
                    self._store.add(identity, response, self._labels[request.arm])

    def get_vectors(self, request: Request, texts: Sequence[str]) -> dict[str, Embedding]:
        """Return text -> stored vector; `request` is any request of the run."""
        found: dict[str, Embedding] = {}
        with self._shut_off_on_error():
            if self._read and self._store is not None:
                keys = self._vector_keys(request, texts)
                stored = self._store.find_vectors(list(keys.values()))
                found = {text: _unpack(stored[key]) for text, key in keys.items() if key in stored}
        return found

    def put_vectors(self, request: Request, vectors: Mapping[str, Embedding]) -> None:
        """Write the vectors of texts, except a None for a text that is not blank."""
        with self._shut_off_on_error():
            if self._write and self._store is not None:
                known = [text for text, vector in vectors.items() if vector is not None or not text.strip()]
                keys = self._vector_keys(request, known)
                self._store.add_vectors({key: _pack(vectors[text]) for text, key in keys.items()})

    def close(self) -> None:
        """Close the store, if it is open."""
        if self._store is not None:
            store, self._store = self._store, None
            with self._shut_off_on_error():
                store.close()

    def _report(self, problem: StoreProblem) -> None:
        self.problem = problem
        self._on_problem(problem)

    def _identity(self, request: Request) -> Identity | None:
        assert self._engine is not None  # noqa: S101  # set with the store
        assert self._store is not None  # noqa: S101  # seen by the callers
        return self._engine.identity(request, self._store.digest)

    def _vector_keys(self, request: Request, texts: Sequence[str]) -> dict[str, str]:
        identity = self._identity(request)
        return {} if identity is None else {text: vector_key(identity, text, self._embedding_model) for text in texts}

    @contextmanager
    def _shut_off_on_error(self) -> Iterator[None]:
        """Shut off the store after an error in it, or in a file to hash."""
        try:
            yield
        except (SQL_ERROR, OSError, InputError) as error:
            if self.problem is None or self.problem.kind == "edited":
                self._report(StoreProblem(kind=_problem_kind(error), path=str(self._path), reason=str(error)))
            self.close()
        except UnicodeEncodeError:
            # A lone surrogate cannot be encoded: skip this response only.
            return


def retry_while_locked(action: Callable[[], object]) -> None:
    """Retry an action that SQLite refuses at once, instead of waiting, while another process holds the store."""
    limit = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > limit:
                raise
            time.sleep(0.01)
        else:
            return


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Return a connection that waits for other processes and commits each statement outside a transaction."""
    if writable:
        return _connect_as(path, "mode=rwc")
    try:
        connection = _connect_as(path, "mode=rw")
    except sqlite3.OperationalError:
        # SQLite cannot create the files that it keeps beside an open store.
        return _connect_as(path, "mode=ro&immutable=1")
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect_as(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=_TIMEOUT_S, isolation_level=None
    )
    try:
        # A commit survives the process at once, and the machine a little later. This also opens the file.
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _refuse_foreign(path: Path) -> None:
    """Raise InputError for a foreign file; read it without SQLite, which writes files beside it."""
    if path.exists() and not path.is_file():
        found = "a folder" if path.is_dir() else "a pipe or a device"
        raise InputError(
            f"{path}: expected the file of the store of responses, found {found}; name a file in output.store"
        )
    try:
        with path.open("rb") as stream:
            header = stream.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    if not any(header):
        # Empty, or a store half created at a power cut: leave it to SQLite.
        return
    advice = "it is left as it is: name another file in output.store of the configuration"
    if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise InputError(f"{path}: not a store of responses of pytest-jarvis; {advice}")
    version = int.from_bytes(header[60:64], "big")
    if version != STORE_VERSION:
        raise InputError(f"{path}: a store of version {version}, this pytest-jarvis reads {STORE_VERSION}; {advice}")


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path}: the store of responses is damaged ({' '.join(reason.split())}); it is left as it is: move it "
        "away or delete it, and its responses are generated again"
    )


def _canonical(value: Mapping[str, object]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)


def _digest(value: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _seal(key: str, data: bytes) -> bytes:
    """Return a stored response after the SHA-256 of its key and itself, by which one that was edited is known."""
    return hashlib.sha256(key.encode() + data).hexdigest().encode() + data


def _problem_kind(error: Exception) -> ProblemKind:
    if isinstance(error, InputError):
        return "damaged"
    if isinstance(error, OSError):
        return "full" if error.errno == errno.ENOSPC else "unwritable" if error.errno in _UNWRITABLE else "other"
    # An extended code begins with the name of its plain one: SQLITE_READONLY_DIRECTORY.
    name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
    return next((kind for kind, prefixes in _PROBLEM_KINDS.items() if name.startswith(prefixes)), "other")


def _pack(vector: Embedding) -> bytes | None:
    return None if vector is None else vector.astype(_FLOAT32).tobytes()


def _unpack(data: bytes | None) -> Embedding:
    import numpy as np

    return None if data is None else np.frombuffer(data, dtype=_FLOAT32).astype(np.float32)
