"""`store`: the file of a store is made, opened, and refused when it is foreign or damaged."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_jarvis.files import InputError
from pytest_jarvis.run import store as store_module
from pytest_jarvis.run.store import Names, ResponseStore, check_store, connect, connect_to_read, patiently
from pytest_jarvis.types import Identity, Response

IDENTITY = Identity(
    engine="transformers 0.1.0",
    base="sha256:0123456789abcdef",
    adapter="fedcba9876543210",
    storage="NF4, 1.0",
    arithmetic="float32 on cpu",
    template="raw",
    prompt="ouvre chrome",
    prompt_id="c-1",
    replicate=0,
    seed=0,
    settings={"temperature": 0.7, "system_prompt": None},
    versions={"torch": "2.9.0"},
)
RESPONSE = Response(
    prompt_id="c-1",
    arm="jarvis",
    replicate=0,
    text="d'accord",
    thinking=None,
    finish_reason="stop",
    prompt_tokens=12,
    new_tokens=7,
    duration_s=1.25,
    first_token_s=0.5,
    cut_chars=0,
)
NAMES = Names(base="demo", adapter="jarvis (demo:jarvis)")


def numbered(number: int) -> Identity:
    return replace(IDENTITY, prompt_id=f"c-{number}")


def fill(store: ResponseStore, count: int, text: str = "d'accord") -> None:
    for number in range(count):
        store.add(numbered(number), replace(RESPONSE, text=f"{text} {number}"), NAMES)


def test_the_folder_of_a_store_is_left_alone_by_git(opened: ResponseStore) -> None:
    assert (opened.path.parent / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_a_folder_that_was_there_gets_no_gitignore(tmp_path: Path) -> None:
    ResponseStore(tmp_path / "responses.sqlite").close()
    assert [file.name for file in tmp_path.iterdir()] == ["responses.sqlite"]


def test_closing_leaves_one_file(path: Path) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 3)
    assert sorted(file.name for file in path.parent.iterdir()) == [".gitignore", "responses.sqlite"]


def test_a_store_to_read_makes_and_writes_nothing(path: Path) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 1)
    before = path.read_bytes()
    with closing(ResponseStore(path, writable=False)) as reader:
        assert reader.stats().responses == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            fill(reader, 1)
        assert not reader._connection.in_transaction
    assert before == path.read_bytes()
    assert sorted(file.name for file in path.parent.iterdir()) == [".gitignore", "responses.sqlite"]


def test_a_store_to_read_is_read_where_nothing_can_be_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 1)

    def refuse(file: Path, how: str) -> sqlite3.Connection:
        if how == "mode=rw":
            raise sqlite3.OperationalError("unable to open database file")
        return connect(file, how)

    monkeypatch.setattr(store_module, "connect", refuse)
    with closing(connect_to_read(path)) as connection:
        assert connection.execute("SELECT count(*) FROM responses").fetchone() == (1,)


def test_a_store_to_read_whose_tables_cannot_be_seen_is_not_left_open(path: Path) -> None:
    ResponseStore(path).close()
    holder = connect(path, "mode=rw")
    with closing(holder):
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        before = store_module._PATIENCE_S
        try:
            store_module._PATIENCE_S = 0.01  # type: ignore[misc]
            with closing(connect_to_read(path)) as connection:
                assert connection.execute("SELECT count(*) FROM responses").fetchone() == (0,)
        finally:
            store_module._PATIENCE_S = before  # type: ignore[misc]


def test_nothing_but_a_store_to_write_is_made(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        ResponseStore(path, writable=False)
    check_store(path)
    assert not path.parent.exists()


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.commit()


def other_version(path: Path) -> None:
    ResponseStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def other_tables(path: Path) -> None:
    ResponseStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE vectors")


def broken_page(path: Path) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 200)
    data = bytearray(path.read_bytes())
    data[3 * 4096 : 3 * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 200)
    path.write_bytes(path.read_bytes()[:20_000])


def broken_list_of_tables(path: Path) -> None:
    ResponseStore(path).close()
    data = bytearray(path.read_bytes())
    data[100:300] = b"\xff" * 200
    path.write_bytes(data)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zeros": (lambda path: path.write_bytes(bytes(8192)), "is damaged"),
    "text": (lambda path: path.write_text("bonjour", encoding="utf-8"), "not a store of responses of pytest-jarvis"),
    "another program's database": (foreign_database, "not a store of responses of pytest-jarvis"),
    "a later version": (other_version, "a store of version 7, this pytest-jarvis reads 1"),
    "other tables": (other_tables, r"is damaged \(its tables are not those of a store\)"),
    "a broken page": (broken_page, "is damaged"),
    "a file cut short": (cut_short, "is damaged"),
    "a broken list of tables": (broken_list_of_tables, "is damaged"),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD)
def test_what_is_no_whole_store_is_refused_by_a_sentence_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "responses.sqlite"
    spoil(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for use in (check_store, ResponseStore, lambda file: ResponseStore(file, writable=False)):
        with pytest.raises(InputError, match=said) as error:
            use(path)
        assert "it is left as it is" in str(error.value)
        assert "\n" not in str(error.value)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_a_folder_in_the_place_of_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, where the store of responses should be"):
        check_store(tmp_path)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with closing(ResponseStore(path)) as store:
        fill(store, 1)
        assert store.stats().responses == 1


def test_a_store_whose_making_was_cut_off_is_made_again(path: Path) -> None:
    """A transaction that was cut off leaves its journal beside the file: SQLite undoes it, and nothing is left."""
    path.parent.mkdir()
    code = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("PRAGMA application_id = 1246909011")
connection.execute("PRAGMA user_version = 1")
connection.execute("CREATE TABLE arms (id INTEGER PRIMARY KEY)")
connection.execute("PRAGMA cache_spill = 1")
connection.executemany("INSERT INTO arms VALUES (?)", [(number,) for number in range(20000)])
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.with_name("responses.sqlite-journal").exists()
    assert path.stat().st_size
    with closing(ResponseStore(path)) as store:
        fill(store, 1)
        assert store.stats().responses == 1


def test_a_large_store_is_not_read_through_when_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    broken_page(path)
    monkeypatch.setattr(store_module, "_CHECKED_WHOLE_BYTES", 10_000)
    check_store(path)


def test_a_store_that_is_locked_is_not_called_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ResponseStore(path).close()

    def locked(file: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(store_module, "_connect_to_check", locked)
    check_store(path)


def test_a_store_that_cannot_be_read_is_not_called_foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ResponseStore(path).close()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    check_store(path)


def test_a_store_that_another_process_begins_to_write_is_looked_at_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 1)
        said = iter(["half of something", None])
        monkeypatch.setattr(store_module, "_damage", lambda _: next(said))
        check_store(path)


def test_a_connection_that_cannot_be_set_up_is_closed(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("bonjour " * 100, encoding="utf-8")
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        connect(tmp_path / "text", "mode=rw")


def test_a_store_that_cannot_be_made_is_not_left_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []

    def watched(file: Path, how: str) -> sqlite3.Connection:
        opened.append(connect(file, how))
        return opened[0]

    def refused(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store_module, "connect", watched)
    monkeypatch.setattr(store_module, "patiently", refused)
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        ResponseStore(path)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_what_is_refused_while_another_has_the_store_is_tried_again() -> None:
    attempts: list[int] = []

    def action() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise sqlite3.OperationalError("database is locked")

    patiently(action)
    assert len(attempts) == 3


@pytest.mark.parametrize("said", ["disk I/O error", "database is locked"])
def test_what_stays_refused_is_raised(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def action() -> None:
        raise sqlite3.OperationalError(said)

    monkeypatch.setattr(store_module, "_PATIENCE_S", 0.0)
    with pytest.raises(sqlite3.OperationalError, match=said):
        patiently(action)
