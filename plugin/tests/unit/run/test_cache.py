"""`keeping`: what a run takes from its store and writes to it, and that no failure of the store stops a run."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_jarvis.engines.base import Digest
from pytest_jarvis.engines.scripted import ScriptedEngine, echo
from pytest_jarvis.files import InputError
from pytest_jarvis.run.cache import Keeping
from pytest_jarvis.run.store import ResponseStore
from pytest_jarvis.types import AdapterSpec, GenerationSettings, Identity, ModelSpec, Request, Response, StoreProblem

REQUESTS = [
    Request(prompt_id=f"p{number}", text=f"ouvre {number}", arm=arm, replicate=0)
    for number in range(3)
    for arm in ("base", "lora")
]


class Told(list[StoreProblem]):
    """What a run was told of its store."""


def engine(**settings: object) -> ScriptedEngine:
    spec = ModelSpec(adapters=(AdapterSpec(name="lora", source="x"),))
    return ScriptedEngine(spec, GenerationSettings(**settings), echo)  # type: ignore[arg-type]


def begun(path: Path, used: ScriptedEngine | None = None, **how: object) -> tuple[Keeping, Told]:
    """Return the keeping of a run that has begun, and what it is told."""
    told = Told()
    options: dict[str, object] = {"reuse": True, "keep": True, **how}
    made = Keeping(path, on_problem=told.append, **options)  # type: ignore[arg-type]
    used = used or engine()
    made.begin(used, used.describe())
    return made, told


def answers(used: ScriptedEngine | None = None) -> dict[Request, Response]:
    drawn = (used or engine()).generate(REQUESTS)
    return {request: one for request, one in zip(REQUESTS, drawn, strict=True) if isinstance(one, Response)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".jarvis" / "responses.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    """The path of a store that holds the answer to every request."""
    made, _ = begun(path)
    for request, response in answers().items():
        made.keep(request, response)
    made.close()
    return path


def count(path: Path) -> int:
    with closing(ResponseStore(path)) as store:
        return store.stats().responses


def test_what_a_run_kept_another_takes(filled: Path) -> None:
    made, told = begun(filled)
    assert made.recall(REQUESTS) == list(answers().values())
    assert told == []
    made.close()


def test_what_is_taken_comes_in_the_order_of_the_requests(filled: Path) -> None:
    made, _ = begun(filled)
    assert [response.key for response in made.recall(REQUESTS[::-1])] == [request.key for request in REQUESTS[::-1]]
    made.close()


def test_without_reuse_nothing_is_taken(filled: Path) -> None:
    made, _ = begun(filled, reuse=False)
    assert made.recall(REQUESTS) == []
    assert made.recall_vectors(REQUESTS[0], ["a"]) == {}
    made.close()


def test_without_keeping_nothing_is_made(path: Path) -> None:
    made, told = begun(path, keep=False)
    assert made.recall(REQUESTS) == []
    for request, response in answers().items():
        made.keep(request, response)
    made.keep_vectors(REQUESTS[0], {"a": None})
    made.close()
    assert told == []
    assert not path.parent.exists()


def test_without_keeping_what_is_there_is_taken_and_left_as_it_is(filled: Path) -> None:
    before = filled.read_bytes()
    made, _ = begun(filled, keep=False)
    assert len(made.recall(REQUESTS)) == 6
    made.keep(REQUESTS[0], replace(answers()[REQUESTS[0]], text="autre"))
    made.close()
    assert before == filled.read_bytes()


def test_an_idle_keeping_touches_nothing() -> None:
    made = Keeping.idle()
    made.begin(engine(), engine().describe())
    assert made.recall(REQUESTS) == []
    made.close()
    assert made.problem is None


def test_a_response_is_on_the_disk_when_it_is_kept(path: Path) -> None:
    made, _ = begun(path)
    kept = list(answers().items())[:2]
    for request, response in kept:
        made.keep(request, response)
    other, _ = begun(path, keep=False)
    assert other.recall(REQUESTS) == [response for _, response in kept]
    other.close()
    made.close()


@pytest.mark.parametrize("change", [{"seed": 1}, {"temperature": 0.1}, {"system_prompt": "Sois bref."}])
def test_nothing_is_taken_that_was_drawn_otherwise(filled: Path, change: dict[str, object]) -> None:
    made, _ = begun(filled, engine(**change))
    assert made.recall(REQUESTS) == []
    made.close()


def test_an_adapter_of_the_same_name_gets_no_response_of_another(filled: Path) -> None:
    other = ScriptedEngine(ModelSpec(adapters=(AdapterSpec(name="lora", source="y"),)), GenerationSettings(), echo)
    made, _ = begun(filled, other)
    assert {response.arm for response in made.recall(REQUESTS)} == {"base"}
    made.close()


def test_the_same_adapter_under_another_name_gets_its_responses(filled: Path) -> None:
    other = ScriptedEngine(ModelSpec(adapters=(AdapterSpec(name="v2", source="x"),)), GenerationSettings(), echo)
    made, _ = begun(filled, other)
    asked = [replace(request, arm="v2") for request in REQUESTS if request.arm == "lora"]
    assert [response.key for response in made.recall(asked)] == [request.key for request in asked]
    made.close()


def test_a_response_that_took_longer_than_the_timeout_is_not_taken(path: Path) -> None:
    made, _ = begun(path)
    slow = replace(answers()[REQUESTS[0]], duration_s=5.0)
    made.keep(REQUESTS[0], slow)
    made.close()
    for timeout_s, expected in ((None, [slow]), (5.0, [slow]), (4.9, [])):
        again, _ = begun(path, timeout_s=timeout_s)
        assert expected == again.recall(REQUESTS[:1])
        again.close()


def test_a_response_cut_by_the_timeout_is_not_kept(path: Path) -> None:
    made, _ = begun(path)
    made.keep(REQUESTS[0], replace(answers()[REQUESTS[0]], finish_reason="timeout"))
    made.close()
    assert count(path) == 0


def test_a_text_that_no_file_can_hold_is_not_kept_and_the_others_are(path: Path) -> None:
    made, told = begun(path)
    for (request, response), text in zip(answers().items(), ("\ud83d", "d'accord"), strict=False):
        made.keep(request, replace(response, text=text))
    made.close()
    assert told == []
    assert count(path) == 1


class Unknown(ScriptedEngine):
    """An engine that cannot know what determines its responses."""

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        return None


def test_responses_without_identity_are_neither_kept_nor_taken(filled: Path) -> None:
    used = Unknown(ModelSpec(adapters=(AdapterSpec(name="lora", source="x"),)), GenerationSettings(), echo)
    made, told = begun(filled, used)
    assert made.recall(REQUESTS) == []
    made.keep(REQUESTS[0], answers()[REQUESTS[0]])
    made.keep_vectors(REQUESTS[0], {"a": np.ones(2, dtype=np.float32)})
    assert made.recall_vectors(REQUESTS[0], ["a"]) == {}
    made.close()
    assert told == []
    assert count(filled) == 6


def test_vectors_are_taken_to_the_last_bit(path: Path) -> None:
    vectors = {"a": np.array([0.1, -2.5e-8, 3e30], dtype=np.float32), "": None}
    made, _ = begun(path)
    made.keep_vectors(REQUESTS[0], vectors)
    made.close()
    again, _ = begun(path)
    found = again.recall_vectors(REQUESTS[-1], ["a", "", "b"])
    again.close()
    assert sorted(found) == ["", "a"]
    assert found[""] is None
    assert found["a"] is not None
    assert found["a"].dtype == np.float32
    assert found["a"].tobytes() == vectors["a"].tobytes()  # type: ignore[union-attr]


def test_vectors_of_another_maker_are_not_taken(path: Path) -> None:
    used = engine()
    description = replace(used.describe(), embedding="small (/v1/embeddings)")
    made = Keeping(path, reuse=True, keep=True, on_problem=Told().append)
    made.begin(used, description)
    made.keep_vectors(REQUESTS[0], {"a": np.ones(2, dtype=np.float32)})
    assert list(made.recall_vectors(REQUESTS[0], ["a"])) == ["a"]
    made.close()
    made.begin(used, replace(description, embedding="large (/v1/embeddings)"))
    assert made.recall_vectors(REQUESTS[0], ["a"]) == {}
    made.close()


def test_a_vector_that_could_not_be_had_is_asked_for_again(path: Path) -> None:
    made, _ = begun(path)
    made.keep_vectors(REQUESTS[0], {"a": None, " ": None})
    assert made.recall_vectors(REQUESTS[0], ["a", " "]) == {" ": None}
    made.close()


def test_a_store_is_named_by_base_and_adapter(filled: Path) -> None:
    with closing(ResponseStore(filled)) as store:
        stats = store.stats()
    assert [(one.name, one.responses) for one in stats.bases] == [("demo", 3)]
    assert [(one.name, one.responses) for one in stats.adapters] == [("lora (x)", 3)]


# Failures: told once, and the run goes on.


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made, told = begun(tmp_path / "file" / "responses.sqlite")
    for request, response in answers().items():
        made.keep(request, response)
    assert made.recall(REQUESTS) == []
    made.close()
    assert [problem.kind for problem in told] == ["unwritable"]
    assert told == [made.problem]


def test_a_full_disk_is_told_once_and_what_was_kept_stays(filled: Path) -> None:
    made, told = begun(filled)
    store = made._store
    assert store is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(100):
        request = replace(REQUESTS[0], replicate=1 + number)
        made.keep(request, replace(answers()[REQUESTS[0]], text="un long texte " * 200))
    made.close()
    assert [problem.kind for problem in told] == ["full"]
    assert 6 <= count(filled) < 106


def test_a_file_that_is_no_store_any_more_is_told(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("bonjour", encoding="utf-8")
    made, told = begun(path)
    assert made.recall(REQUESTS) == []
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
def test_a_failure_has_its_kind_and_stops_nothing(
    filled: Path, error: Exception, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Mapping[str, Response]:
        raise error

    made, told = begun(filled)
    monkeypatch.setattr(ResponseStore, "find", fail)
    assert [made.recall(REQUESTS), made.recall(REQUESTS)] == [[], []]
    assert [(problem.kind, problem.path) for problem in told] == [(kind, str(filled))]
    assert str(error) == told[0].reason


@pytest.mark.parametrize("method", ["add", "add_vectors", "find_vectors", "close"])
def test_no_use_of_a_store_that_fails_stops_a_run(filled: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite_error("SQLITE_IOERR")

    made, told = begun(filled)
    assert made._store is not None
    connection = made._store._connection
    monkeypatch.setattr(ResponseStore, method, fail)
    made.keep(REQUESTS[0], answers()[REQUESTS[0]])
    made.keep_vectors(REQUESTS[0], {"a": None})
    made.recall_vectors(REQUESTS[0], ["a"])
    made.close()
    connection.close()
    assert [problem.kind for problem in told] == ["other"]


def test_a_store_that_fails_and_then_cannot_be_closed_is_told_once(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite_error("SQLITE_IOERR")

    made, told = begun(filled)
    assert made._store is not None
    connection = made._store._connection
    monkeypatch.setattr(ResponseStore, "find", fail)
    monkeypatch.setattr(ResponseStore, "close", fail)
    assert made.recall(REQUESTS) == []
    connection.close()
    assert [problem.kind for problem in told] == ["other"]


def test_a_base_whose_file_vanishes_stops_nothing(filled: Path) -> None:
    class Vanishing(ScriptedEngine):
        def identity(self, request: Request, digest: Digest) -> Identity | None:
            digest(Path("/nowhere/model.safetensors"))
            raise AssertionError("unreachable")

    used = Vanishing(ModelSpec(adapters=(AdapterSpec(name="lora", source="x"),)), GenerationSettings(), echo)
    made, told = begun(filled, used)
    assert made.recall(REQUESTS) == []
    assert [problem.kind for problem in told] == ["unwritable"]


def test_by_default_nobody_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = Keeping(tmp_path / "file" / "x", reuse=True, keep=True)
    made.begin(engine(), engine().describe())
    assert made.problem is not None


def test_a_keeping_that_never_began_does_nothing() -> None:
    made = Keeping(Path("x"), reuse=True, keep=True)
    made.keep(REQUESTS[0], answers()[REQUESTS[0]])
    assert made.recall(REQUESTS) == []
    made.close()
