"""Between a run and its store: what is taken from it, what is written to it, and what happens when that fails."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_jarvis.engines.base import Engine
from pytest_jarvis.files import InputError
from pytest_jarvis.run.store import Names, ResponseStore, response_key, vector_key
from pytest_jarvis.types import BASE_ARM, EngineDescription, ProblemKind, Request, Response, StoreProblem

if TYPE_CHECKING:
    from pytest_jarvis.metrics.similarity import Embedding


_KINDS: Final[dict[str, ProblemKind]] = {
    "SQLITE_FULL": "full",
    "SQLITE_READONLY": "unwritable",
    "SQLITE_CANTOPEN": "unwritable",
    "SQLITE_PERM": "unwritable",
    "SQLITE_BUSY": "busy",
    "SQLITE_LOCKED": "busy",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_NOTADB": "damaged",
}
_UNWRITABLE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT})
_FLOAT32: Final = "<f4"


class Keeping:
    """What a run may do with its store. The first thing that fails ends it: it is told once, and the run goes on."""

    def __init__(
        self,
        path: Path,
        *,
        reuse: bool,
        keep: bool,
        timeout_s: float | None = None,
        on_problem: Callable[[StoreProblem], None] = lambda _: None,
    ) -> None:
        """`reuse` takes what is there, `keep` writes what is drawn; without `keep` no file is made.

        `timeout_s` is the run's: a response that took longer would not be one today.
        """
        self._path = path
        self._reuse = reuse
        self._keep = keep
        self._timeout_s = timeout_s
        self._on_problem = on_problem
        self._store: ResponseStore | None = None
        self._engine: Engine | None = None
        self._names: dict[str, Names] = {}
        self._maker: str | None = None
        self.problem: StoreProblem | None = None

    @classmethod
    def idle(cls) -> Keeping:
        """Return what neither takes nor writes anything."""
        return cls(Path(), reuse=False, keep=False)

    def begin(self, engine: Engine, description: EngineDescription) -> None:
        """Open the store for the responses of an engine."""
        self._engine = engine
        self._maker = description.embedding
        sources = {BASE_ARM: None, **{adapter.name: adapter.source for adapter in description.adapters}}
        self._names = {
            arm: Names(base=description.base_model, adapter=source and f"{arm} ({source})")
            for arm, source in sources.items()
        }
        with self._guarded():
            if self._keep or (self._reuse and self._path.exists()):
                self._store = ResponseStore(self._path, writable=self._keep)

    def recall(self, requests: Sequence[Request]) -> list[Response]:
        """Return the responses that the store holds for requests, in the order of these; none unless they are reused.

        A request whose response is not fully determined by what the engine knows has none.
        """
        found: list[Response] = []
        with self._guarded():
            if self._reuse and self._store is not None and self._engine is not None:
                wanted = {}
                for request in requests:
                    identity = self._engine.identity(request, self._store.digest)
                    if identity is not None:
                        wanted[response_key(identity)] = request
                held = self._store.find(wanted)
                found = [held[key] for key in wanted if key in held and self._in_time(held[key])]
        return found

    def keep(self, request: Request, response: Response) -> None:
        """Write the response to a request; when this returns, the death of the process does not lose it."""
        with self._guarded():
            if self._keep and self._store is not None and self._engine is not None:
                identity = self._engine.identity(request, self._store.digest)
                if identity is not None and response.finish_reason != "timeout":
                    self._store.add(identity, response, self._names[request.arm])

    def recall_vectors(self, anchor: Request, texts: Sequence[str]) -> dict[str, Embedding]:
        """Return the vectors that the store holds for texts; `anchor` is any request of the run, for its base."""
        found: dict[str, Embedding] = {}
        with self._guarded():
            if self._reuse and self._store is not None:
                keys = self._vector_keys(anchor, texts)
                held = self._store.find_vectors(list(keys.values()))
                found = {text: _unpack(held[key]) for text, key in keys.items() if key in held}
        return found

    def keep_vectors(self, anchor: Request, vectors: Mapping[str, Embedding]) -> None:
        """Write the vectors of texts; a text that should have one and got none this time may get one later."""
        with self._guarded():
            if self._keep and self._store is not None:
                known = [text for text, vector in vectors.items() if vector is not None or not text.strip()]
                keys = self._vector_keys(anchor, known)
                self._store.add_vectors({key: _pack(vectors[text]) for text, key in keys.items()})

    def close(self) -> None:
        """Close the store, if it is open."""
        if self._store is not None:
            store, self._store = self._store, None
            with self._guarded():
                store.close()

    def _vector_keys(self, anchor: Request, texts: Sequence[str]) -> dict[str, str]:
        assert self._store is not None  # noqa: S101  # seen by the callers
        identity = None if self._engine is None else self._engine.identity(anchor, self._store.digest)
        return {} if identity is None else {text: vector_key(identity, text, self._maker) for text in texts}

    def _in_time(self, response: Response) -> bool:
        return self._timeout_s is None or response.duration_s <= self._timeout_s

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Go on without the store when it, or a file whose digest it wants, cannot be read or written."""
        try:
            yield
        except (sqlite3.Error, OSError, InputError) as error:
            if self.problem is None:
                self.problem = StoreProblem(kind=_kind(error), path=str(self._path), reason=str(error))
                self._on_problem(self.problem)
            self.close()
        except UnicodeEncodeError:
            # Half a character, which no file holds: this one response is not kept.
            return


def _kind(error: sqlite3.Error | OSError | InputError) -> ProblemKind:
    if isinstance(error, InputError):
        return "damaged"
    if isinstance(error, OSError):
        return "full" if error.errno == errno.ENOSPC else "unwritable" if error.errno in _UNWRITABLE else "other"
    # An extended code begins with the name of its plain one: SQLITE_READONLY_DIRECTORY.
    name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
    return next((kind for prefix, kind in _KINDS.items() if name.startswith(prefix)), "other")


def _pack(vector: Embedding) -> bytes | None:
    return None if vector is None else vector.astype(_FLOAT32).tobytes()


def _unpack(data: bytes | None) -> Embedding:
    import numpy as np

    return None if data is None else np.frombuffer(data, dtype=_FLOAT32).astype(np.float32)
