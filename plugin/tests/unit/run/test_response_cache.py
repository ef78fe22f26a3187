"""`ResponseCache`: what a run takes from its store and writes to it, and that no failure of the store stops a run."""

import errno
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from pytest_jarvis.engines.base import Digest
from pytest_jarvis.engines.scripted import ScriptedEngine, echo
from pytest_jarvis.files import InputError
from pytest_jarvis.run.store import ResponseCache, ResponseStore
from pytest_jarvis.types import AdapterSpec, GenerationSettings, Identity, ModelSpec, Request, Response, StoreProblem

REQUESTS = [
    Request(prompt_id=f"p{number}", text=f"ouvre {number}", arm=arm, replicate=0)
    for number in range(3)
    for arm in ("base", "lora")
]


def engine(
    kind: type[ScriptedEngine] = ScriptedEngine, name: str = "lora", source: str = "x", **settings: object
) -> ScriptedEngine:
    spec = ModelSpec(adapters=(AdapterSpec(name=name, source=source),))
    return kind(spec, GenerationSettings(**settings), echo)  # type: ignore[arg-type]


def opened_cache(
    path: Path, used: ScriptedEngine | None = None, **how: object
) -> tuple[ResponseCache, list[StoreProblem]]:
    """Return the cache of a run that has begun, and what it is told."""
    told: list[StoreProblem] = []
    options: dict[str, object] = {"read": True, "write": True, **how}
    cache = ResponseCache(path, on_problem=told.append, **options)  # type: ignore[arg-type]
    used = used or engine()
    cache.start(used, used.describe())
    OPEN.append(cache)
    return cache, told


OPEN: list[ResponseCache] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close after a test what it opened."""
    yield
    while OPEN:
        OPEN.pop().close()


def answers(used: ScriptedEngine | None = None) -> dict[Request, Response]:
    drawn = (used or engine()).generate(REQUESTS)
    return {request: one for request, one in zip(REQUESTS, drawn, strict=True) if isinstance(one, Response)}


@pytest.fixture
def filled(path) -> Path:
    """The path of a store that holds the answer to every request."""
    cache, _ = opened_cache(path)
    for request, response in answers().items():
        cache.put(request, response)
    cache.close()
    return path


def count(path: Path) -> int:
    with closing(ResponseStore(path)) as store:
        return store.stats().responses


def test_what_a_run_kept_another_takes(filled) -> None:
    cache, told = opened_cache(filled)
    assert cache.get(REQUESTS) == list(answers().values())
    assert [response.key for response in cache.get(REQUESTS[::-1])] == [request.key for request in REQUESTS[::-1]]
    assert told == []


def test_a_text_that_was_edited_is_drawn_anew_and_told(filled) -> None:
    with closing(sqlite3.connect(filled)) as store, store:
        store.execute("UPDATE responses SET response = response || ' ' WHERE rowid = 1")
    cache, told = opened_cache(filled)
    assert len(REQUESTS) - 1 == len(cache.get(REQUESTS))
    assert [("edited", "1")] == [(problem.kind, problem.reason) for problem in told]


def test_without_reuse_nothing_is_taken(filled) -> None:
    cache, _ = opened_cache(filled, read=False)
    assert cache.get(REQUESTS) == []
    assert cache.get_vectors(REQUESTS[0], ["a"]) == {}


def test_without_keeping_nothing_is_cache(path) -> None:
    cache, told = opened_cache(path, write=False)
    assert cache.get(REQUESTS) == []
    for request, response in answers().items():
        cache.put(request, response)
    cache.put_vectors(REQUESTS[0], {"a": None})
    cache.close()
    assert told == []
    assert not path.parent.exists()


def test_without_keeping_what_is_there_is_taken_and_left_as_it_is(filled) -> None:
    before = filled.read_bytes()
    cache, _ = opened_cache(filled, write=False)
    assert len(cache.get(REQUESTS)) == 6
    cache.put(REQUESTS[0], replace(answers()[REQUESTS[0]], text="autre"))
    cache.close()
    assert before == filled.read_bytes()


def test_an_idle_keeping_touches_nothing() -> None:
    cache = ResponseCache(Path(), read=False, write=False)
    cache.start(engine(), engine().describe())
    assert cache.get(REQUESTS) == []
    cache.close()
    assert cache.problem is None


def test_a_response_is_on_the_disk_when_it_is_kept(path) -> None:
    cache, _ = opened_cache(path)
    kept = list(answers().items())[:2]
    for request, response in kept:
        cache.put(request, response)
    other, _ = opened_cache(path, write=False)
    assert other.get(REQUESTS) == [response for _, response in kept]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"temperature": 0.1}, {"system_prompt": "Sois bref."}, {"template": "raw"}]
)
def test_nothing_is_taken_that_was_drawn_otherwise(filled, change: dict[str, object]) -> None:
    cache, _ = opened_cache(filled, engine(**change))
    assert cache.get(REQUESTS) == []


def test_an_adapter_of_the_same_name_gets_no_response_of_another(filled) -> None:
    cache, _ = opened_cache(filled, engine(source="y"))
    assert {response.arm for response in cache.get(REQUESTS)} == {"base"}


def test_the_same_adapter_under_another_name_gets_its_responses(filled) -> None:
    cache, _ = opened_cache(filled, engine(name="v2"))
    asked = [replace(request, arm="v2") for request in REQUESTS if request.arm == "lora"]
    assert [response.key for response in cache.get(asked)] == [request.key for request in asked]


def test_a_response_that_took_longer_than_the_timeout_is_not_taken(path) -> None:
    cache, _ = opened_cache(path)
    slow = replace(answers()[REQUESTS[0]], duration_s=5.0)
    cache.put(REQUESTS[0], slow)
    cache.close()
    for timeout_s, expected in ((None, [slow]), (5.0, [slow]), (4.9, [])):
        again, _ = opened_cache(path, timeout_s=timeout_s)
        assert expected == again.get(REQUESTS[:1])
        again.close()


def test_a_response_cut_by_the_timeout_is_not_kept(path) -> None:
    cache, _ = opened_cache(path)
    cache.put(REQUESTS[0], replace(answers()[REQUESTS[0]], finish_reason="timeout"))
    cache.close()
    assert count(path) == 0


def test_a_text_that_no_file_can_hold_is_not_kept_and_the_others_are(path) -> None:
    cache, told = opened_cache(path)
    for (request, response), text in zip(answers().items(), ("\ud83d", "d'accord"), strict=False):
        cache.put(request, replace(response, text=text))
    cache.close()
    assert told == []
    assert count(path) == 1


class Unknown(ScriptedEngine):
    """An engine that cannot know what determines its responses."""

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        return None


def test_responses_without_identity_are_neither_kept_nor_taken(filled) -> None:
    cache, told = opened_cache(filled, engine(Unknown))
    assert cache.get(REQUESTS) == []
    cache.put(REQUESTS[0], answers()[REQUESTS[0]])
    cache.put_vectors(REQUESTS[0], {"a": np.ones(2, dtype=np.float32)})
    assert cache.get_vectors(REQUESTS[0], ["a"]) == {}
    cache.close()
    assert told == []
    assert count(filled) == 6


def test_vectors_are_taken_to_the_last_bit(path) -> None:
    vectors = {"a": np.array([0.1, -2.5e-8, 3e30], dtype=np.float32), "": None}
    cache, _ = opened_cache(path)
    cache.put_vectors(REQUESTS[0], vectors)
    cache.close()
    again, _ = opened_cache(path)
    found = again.get_vectors(REQUESTS[-1], ["a", "", "b"])
    again.close()
    assert sorted(found) == ["", "a"]
    assert found[""] is None
    assert found["a"] is not None
    assert found["a"].dtype == np.float32
    assert found["a"].tobytes() == vectors["a"].tobytes()  # type: ignore[union-attr]


def test_vectors_of_another_maker_are_not_taken(path) -> None:
    used = engine()
    description = replace(used.describe(), embedding="small (/v1/embeddings)")
    cache = ResponseCache(path, read=True, write=True, on_problem=[].append)
    cache.start(used, description)
    cache.put_vectors(REQUESTS[0], {"a": np.ones(2, dtype=np.float32)})
    assert list(cache.get_vectors(REQUESTS[0], ["a"])) == ["a"]
    cache.close()
    cache.start(used, replace(description, embedding="large (/v1/embeddings)"))
    assert cache.get_vectors(REQUESTS[0], ["a"]) == {}


def test_a_vector_that_could_not_be_had_is_asked_for_again(path) -> None:
    cache, _ = opened_cache(path)
    cache.put_vectors(REQUESTS[0], {"a": None, " ": None})
    assert cache.get_vectors(REQUESTS[0], ["a", " "]) == {" ": None}


def test_a_store_is_named_by_base_and_adapter(filled) -> None:
    with closing(ResponseStore(filled)) as store:
        stats = store.stats()
    assert [(one.name, one.responses) for one in stats.bases] == [("demo", 3)]
    assert [(one.name, one.responses) for one in stats.adapters] == [("lora (x)", 3)]


def test_a_file_that_is_no_store_any_more_is_told(path) -> None:
    path.parent.mkdir()
    path.write_text("bonjour", encoding="utf-8")
    cache, told = opened_cache(path)
    assert cache.get(REQUESTS) == []
    assert [problem.kind for problem in told] == ["damaged"]
    assert path.read_text(encoding="utf-8") == "bonjour"


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite_error("SQLITE_FULL"), "full"),
        (OSError(errno.ENOSPC, "No space left on device"), "full"),
        (sqlite_error("SQLITE_READONLY_DIRECTORY"), "unwritable"),
        (sqlite_error("SQLITE_CANTOPEN"), "unwritable"),
        (PermissionError(errno.EACCES, "Permission denied"), "unwritable"),
        (OSError(errno.EROFS, "Read-only file system"), "unwritable"),
        (sqlite_error("SQLITE_BUSY"), "busy"),
        (sqlite_error("SQLITE_CORRUPT_INDEX"), "damaged"),
        (sqlite3.DatabaseError("a response is not one"), "damaged"),
        (InputError("damaged"), "damaged"),
        (sqlite_error("SQLITE_IOERR_WRITE"), "other"),
        (OSError(errno.EIO, "Input/output error"), "other"),
    ],
)
def test_a_failure_has_its_kind_and_stops_nothing(filled, error: Exception, kind: str, monkeypatch) -> None:
    def fail(*_: object) -> Mapping[str, Response]:
        raise error

    cache, told = opened_cache(filled)
    monkeypatch.setattr(ResponseStore, "find", fail)
    assert [cache.get(REQUESTS), cache.get(REQUESTS)] == [[], []]
    assert [(problem.kind, problem.path) for problem in told] == [(kind, str(filled))]
    assert str(error) == told[0].reason


@pytest.mark.parametrize(
    "methods", [["add"], ["add_vectors"], ["find_vectors"], ["close"], ["find", "close"]], ids=" and ".join
)
def test_a_use_of_a_store_that_fails_stops_no_run_and_is_told_once(filled, methods: list[str], monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite_error("SQLITE_IOERR")

    cache, told = opened_cache(filled)
    assert cache._store is not None
    connection = cache._store._connection
    for method in methods:
        monkeypatch.setattr(ResponseStore, method, fail)
    cache.get(REQUESTS)
    cache.put(REQUESTS[0], answers()[REQUESTS[0]])
    cache.put_vectors(REQUESTS[0], {"a": None})
    cache.get_vectors(REQUESTS[0], ["a"])
    cache.close()
    connection.close()
    assert [problem.kind for problem in told] == ["other"]


def test_a_base_whose_file_vanishes_stops_nothing(filled) -> None:
    class Vanishing(ScriptedEngine):
        def identity(self, request: Request, digest: Digest) -> Identity | None:
            digest(Path("/nowhere/model.safetensors"))
            raise AssertionError("unreachable")

    cache, told = opened_cache(filled, engine(Vanishing))
    assert cache.get(REQUESTS) == []
    assert [problem.kind for problem in told] == ["unwritable"]


def test_a_keeping_that_never_began_does_nothing() -> None:
    cache = ResponseCache(Path("x"), read=True, write=True)
    cache.put(REQUESTS[0], answers()[REQUESTS[0]])
    assert cache.get(REQUESTS) == []
    cache.close()
