"""`store`: keys, what is held and how it is made smaller; foreign and damaged files; several processes; digests."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from msgspec.structs import replace
from samples import IDENTITY, response

from pytest_jarvis.engines.base import key_settings
from pytest_jarvis.files import InputError
from pytest_jarvis.run import store as store_module
from pytest_jarvis.run.store import (
    ArmLabels,
    ResponseStore,
    _seal,
    check_store,
    response_key,
    retry_while_locked,
    sha256_of,
    vector_key,
)
from pytest_jarvis.types import GenerationSettings, Identity, Request, Tool, ToolCall

RESPONSE = response(
    "jarvis",
    prompt_id="c-1",
    text="J'ouvre « Chrome »\u202f!\n\0fin",
    thinking="Il veut Chrome.",
    cut_chars=3,
    tool_calls=(ToolCall(name="open_app_tool", arguments={"app": "chrome"}),),
)
RESPONSE_OF_ANOTHER_KIND = msgspec.json.encode({**msgspec.to_builtins(RESPONSE), "finish_reason": "bored"})
FOLDERS = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
"""Where this module and `samples` are, for other processes."""
LABELS = ArmLabels(base="demo", adapter="jarvis (demo:jarvis)")
REQUEST = Request(prompt_id="c-1", text="ouvre chrome", arm="jarvis", replicate=0)


def numbered(number: int) -> Identity:
    return replace(IDENTITY, prompt_id=f"c-{number}")


def fill(store: ResponseStore, count: int, text: str = "d'accord") -> None:
    for number in range(count):
        store.add(numbered(number), replace(RESPONSE, text=f"{text} {number}"), LABELS)


def held(store: ResponseStore, *identities: Identity) -> list[str]:
    found = store.find({response_key(one): REQUEST for one in identities})
    return [response.text for response in found.values()]


def test_a_response_comes_back_as_it_was(opened) -> None:
    opened.add(IDENTITY, RESPONSE, LABELS)
    assert opened.find({response_key(IDENTITY): REQUEST}) == {response_key(IDENTITY): RESPONSE}


def test_the_latest_response_of_a_key_stands(opened) -> None:
    for text in ("first", "second"):
        opened.add(IDENTITY, replace(RESPONSE, text=text), LABELS)
    assert held(opened, IDENTITY) == ["second"]


@pytest.mark.parametrize("name", GenerationSettings.__struct_fields__)
def test_settings_of_any_kind_are_part_of_a_key(name: str) -> None:
    tool = Tool(name="a", description="", parameters={"type": "object"}, terms=("a",))
    others = {"tools": (tool,), "system_prompt": "Sois bref.", "template": "raw", "do_sample": False}
    other = others.get(name, 17)
    settings = replace(GenerationSettings(), **{name: other})
    one, two = (replace(IDENTITY, settings=key_settings(known)) for known in (GenerationSettings(), settings))
    assert (response_key(one) == response_key(two)) == (name in {"seed", "timeout_s", "batch_size"})


def test_many_responses_are_found_at_once(opened) -> None:
    fill(opened, 1001)
    assert len(held(opened, *map(numbered, range(1001)))) == 1001


OTHERS: dict[str, object] = {
    "settings": {"temperature": 0.8, "system_prompt": None},
    "versions": {"torch": "2.10.0"},
    "replicate": 1,
    "seed": 1,
    "adapter": None,
}


@pytest.mark.parametrize("name", Identity.__struct_fields__)
def test_whatever_differs_in_an_identity_gives_another_key(name: str) -> None:
    other = replace(IDENTITY, **{name: OTHERS.get(name, "other")})
    assert response_key(IDENTITY) != response_key(other)


def test_a_key_does_not_hang_on_the_order_of_names() -> None:
    turned = replace(IDENTITY, settings={"system_prompt": None, "temperature": 0.7})
    assert response_key(IDENTITY) == response_key(turned)


def test_a_key_does_not_hang_on_the_kind_of_a_mapping() -> None:
    assert response_key(IDENTITY) == response_key(replace(IDENTITY, versions=MappingProxyType(dict(IDENTITY.versions))))


def test_values_cannot_slip_from_one_field_into_the_next() -> None:
    one, other = (
        replace(IDENTITY, prompt='a","prompt_id":"b', prompt_id="c"),
        replace(IDENTITY, prompt="a", prompt_id='b","c'),
    )
    assert response_key(one) != response_key(other)


def test_a_key_is_the_same_in_every_process() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import test_store; "
        "print(test_store.response_key(test_store.IDENTITY))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, *FOLDERS],
        check=True,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert response_key(IDENTITY) == said.stdout.strip()


@pytest.mark.parametrize("name", ["adapter", "prompt", "prompt_id", "seed", "settings", "template"])
def test_a_vector_does_not_hang_on_who_said_the_text(name: str) -> None:
    other = replace(IDENTITY, **{name: OTHERS.get(name, "other")})
    assert vector_key(IDENTITY, "d'accord") == vector_key(other, "d'accord")


@pytest.mark.parametrize("name", ["engine", "base", "storage", "arithmetic", "versions"])
def test_a_vector_hangs_on_what_made_it(name: str) -> None:
    other = replace(IDENTITY, **{name: OTHERS.get(name, "other")})
    assert vector_key(IDENTITY, "d'accord") != vector_key(other, "d'accord")
    assert vector_key(IDENTITY, "d'accord") != vector_key(IDENTITY, "d'accord.")


@pytest.mark.parametrize("said", [b"{}", b"[", RESPONSE_OF_ANOTHER_KIND])
def test_a_value_that_is_no_response_is_damage(opened, said: bytes) -> None:
    opened.add(IDENTITY, RESPONSE, LABELS)
    sealed = _seal(response_key(IDENTITY), said)
    opened._connection.execute("UPDATE responses SET response = ?", (sealed,))
    with pytest.raises(sqlite3.DatabaseError, match="a response is not one"):
        held(opened, IDENTITY)


@pytest.mark.parametrize("edit", ["replace(response, 'vague', 'exact')", "response || 'x'", "7", "x''", "'{}'"])
def test_a_response_that_was_edited_is_left_out_and_counted(opened, edit: str) -> None:
    opened.add(IDENTITY, replace(RESPONSE, text="vague"), LABELS)
    opened._connection.execute(f"UPDATE responses SET response = {edit}")  # noqa: S608  # the four above
    assert ([], 1) == (held(opened, IDENTITY), opened.edited)


def test_the_statistics_count_by_base_and_adapter(opened) -> None:
    before = time.time()
    base = replace(IDENTITY, adapter=None)
    for number in range(3):
        opened.add(replace(base, replicate=number), RESPONSE, ArmLabels(base="demo", adapter=None))
    opened.add(IDENTITY, RESPONSE, LABELS)
    opened.add(replace(IDENTITY, base="sha256:other"), RESPONSE, replace(LABELS, base="autre"))
    opened.add_vectors({"a": b"1234"})
    stats = opened.stats()
    assert (stats.responses, stats.vectors) == (5, 1)
    assert [(one.name, one.digest, one.responses) for one in stats.bases] == [
        ("demo", "sha256:0123456789abcdef", 3),
        ("autre", "sha256:other", 0),
    ]
    assert [(one.name, one.responses) for one in stats.adapters] == [("jarvis (demo:jarvis)", 2)]
    assert stats.size_bytes >= opened.path.stat().st_size
    assert stats.oldest is not None
    assert stats.newest is not None
    assert before <= stats.oldest <= stats.newest <= time.time()


def test_an_empty_store_has_no_oldest_response(opened) -> None:
    stats = opened.stats()
    assert (stats.responses, stats.bases, stats.oldest, stats.newest) == (0, (), None, None)


def test_an_arm_has_the_name_of_its_last_run(opened) -> None:
    for adapter in ("v1 (a)", "v2 (b)"):
        opened.add(IDENTITY, RESPONSE, ArmLabels(base="demo", adapter=adapter))
    assert [one.name for one in opened.stats().adapters] == ["v2 (b)"]


def age(store: ResponseStore, number: int, days: float) -> None:
    store._connection.execute(
        "UPDATE responses SET written_at = ? WHERE prompt_id = ?", (time.time() - days * 86_400, f"c-{number}")
    )


def test_pruning_by_age_deletes_what_is_older(opened) -> None:
    fill(opened, 3)
    age(opened, 0, 40)
    age(opened, 1, 20)
    assert opened.prune(older_than_s=30 * 86_400) == 1
    assert held(opened, *map(numbered, range(3))) == ["d'accord 1", "d'accord 2"]


def test_pruning_deletes_what_only_the_deleted_needed(opened) -> None:
    other = replace(numbered(0), base="sha256:other")
    opened.add(other, RESPONSE, LABELS)
    opened.add(numbered(1), RESPONSE, LABELS)
    opened.add_vectors({vector_key(other, RESPONSE.text): b"1234", vector_key(IDENTITY, RESPONSE.text): b"5678"})
    age(opened, 0, 2)
    opened.prune(older_than_s=86_400)
    stats = opened.stats()
    assert (stats.responses, stats.vectors, [one.digest for one in stats.bases]) == (1, 1, ["sha256:0123456789abcdef"])


def test_pruning_by_size_keeps_the_newest_and_shrinks_the_file(opened) -> None:
    fill(opened, 600, text="un texte assez long " * 20)
    for number in range(600):
        age(opened, number, 600 - number)
    opened._shrink()
    before = opened.path.stat().st_size
    removed = opened.prune(max_bytes=before // 2)
    stats = opened.stats()
    assert 0 < removed < 600
    assert stats.responses == 600 - removed
    assert before // 4 < stats.size_bytes <= before // 2
    assert len(held(opened, *map(numbered, range(removed, 600)))) == 600 - removed


def test_pruning_to_less_than_an_empty_store_deletes_all(opened) -> None:
    fill(opened, 20)
    assert opened.prune(max_bytes=1) == 20


def test_the_folder_of_a_store_is_left_alone_by_git(opened) -> None:
    assert (opened.path.parent / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_a_folder_that_was_there_gets_no_gitignore(tmp_path) -> None:
    ResponseStore(tmp_path / "responses.sqlite").close()
    assert [file.name for file in tmp_path.iterdir()] == ["responses.sqlite"]


def test_a_store_to_read_makes_and_writes_nothing(path) -> None:
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


def test_a_store_to_read_is_read_where_nothing_can_be_made(path, monkeypatch) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 1)

    connect = sqlite3.connect

    def refuse(path: str, **options: object) -> sqlite3.Connection:
        if path.endswith("mode=rw"):
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with closing(ResponseStore(path, writable=False)) as store:
        assert store.stats().responses == 1


def test_nothing_but_a_store_to_write_is_made(path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        ResponseStore(path, writable=False)
    check_store(path)
    assert not path.parent.exists()


def altered(*statements: str, store: bool = True) -> Callable[[Path], None]:
    """Return what runs SQL on a new store, or on an empty database."""

    def spoil(path: Path) -> None:
        if store:
            ResponseStore(path).close()
        with closing(sqlite3.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return spoil


def overwritten(first: int, last: int, count: int = 200) -> Callable[[Path], None]:
    """Return what overwrites bytes of a store of some responses."""

    def spoil(path: Path) -> None:
        cut_short(path, count=count, size=None)
        data = bytearray(path.read_bytes())
        data[first:last] = b"\xff" * (last - first)
        path.write_bytes(data)

    return spoil


def cut_short(path: Path, count: int = 200, size: int | None = 20_000) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, count)
    path.write_bytes(path.read_bytes()[:size])


broken_page = overwritten(3 * 4096, 3 * 4096 + 64)
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zeros": (lambda path: path.write_bytes(bytes(8192)), "is damaged"),
    "text": (lambda path: path.write_text("bonjour", encoding="utf-8"), "not a store of responses of pytest-jarvis"),
    "another program's database": (
        altered("CREATE TABLE recipes (name TEXT)", store=False),
        "not a store of responses of pytest-jarvis",
    ),
    "a later version": (altered("PRAGMA user_version = 7"), "a store of version 7, this pytest-jarvis reads 1"),
    "other tables": (altered("DROP TABLE vectors"), r"is damaged \(its tables are not those of a store\)"),
    "a broken page": (broken_page, "is damaged"),
    "a file cut short": (cut_short, "is damaged"),
    "a broken list of tables": (overwritten(100, 300, count=0), "is damaged"),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD)
def test_what_is_no_whole_store_is_refused_by_a_sentence_and_left_as_it_is(
    tmp_path, spoil: Callable[[Path], object], said: str
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


def test_a_folder_in_the_place_of_a_store_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="expected the file of the store of responses, found a folder"):
        check_store(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="found a pipe or a device"):
        check_store(tmp_path / "pipe")


def test_an_empty_file_becomes_a_store(path) -> None:
    path.parent.mkdir()
    path.touch()
    with closing(ResponseStore(path)) as store:
        fill(store, 1)
        assert store.stats().responses == 1


def test_a_store_whose_making_was_cut_off_is_made_again(path) -> None:
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


def test_a_large_store_is_not_read_through_when_it_is_opened(path, monkeypatch) -> None:
    path.parent.mkdir()
    broken_page(path)
    monkeypatch.setattr(store_module, "_CHECKED_BYTES", 10_000)
    check_store(path)


def test_a_store_that_cannot_be_read_is_not_called_foreign(path, monkeypatch) -> None:
    ResponseStore(path).close()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    check_store(path)


def test_what_is_refused_while_another_has_the_store_is_tried_again() -> None:
    attempts: list[int] = []

    def action() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise sqlite3.OperationalError("database is locked")

    retry_while_locked(action)
    assert len(attempts) == 3


@pytest.mark.parametrize("said", ["disk I/O error", "database is locked"])
def test_what_stays_refused_is_raised(said: str, monkeypatch) -> None:
    def action() -> None:
        raise sqlite3.OperationalError(said)

    monkeypatch.setattr(store_module, "_TIMEOUT_S", 0.0)
    with pytest.raises(sqlite3.OperationalError, match=said):
        retry_while_locked(action)


WRITER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from test_store import LABELS, RESPONSE, ResponseStore, numbered
store = ResponseStore(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.add(numbered(number), RESPONSE, LABELS)
    print(number, flush=True)
store.close()
"""


def writer(path: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Start a process that writes responses and prints the number of each when it is written."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(last), *FOLDERS],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def test_two_processes_write_one_store_at_once(path) -> None:
    processes = [writer(path, 0, 150), writer(path, 150, 300)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    with closing(ResponseStore(path)) as store:
        assert len(held(store, *map(numbered, range(300)))) == 300


def test_a_killed_process_loses_no_response_it_had_written_and_damages_nothing(path) -> None:
    draw = random.Random(5)  # noqa: S311  # no secret
    last = -1
    for _ in range(2):
        process = writer(path, last + 1, 10**9)
        assert process.stdout is not None
        for _ in range(draw.randint(5, 200)):
            line = process.stdout.readline()
            last = last if line == "ready\n" else int(line)
        process.kill()
        rest = [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        last = rest[-1] if rest else last
        process.stdout.close()
        process.wait()
        check_store(path)
    with closing(ResponseStore(path)) as store:
        assert len(held(store, *map(numbered, range(last + 1)))) == last + 1
        assert last + 1 <= store.stats().responses <= last + 2


def test_two_that_make_a_store_at_once_make_one(path, monkeypatch) -> None:
    errors: list[Exception] = []
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        try:
            with closing(ResponseStore(path)) as store:
                fill(store, 5)
        except Exception as error:  # noqa: BLE001  # asserted below
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with closing(ResponseStore(path)) as store:
        assert store.stats().responses == 5


def test_a_store_that_another_process_clears_can_be_written_further(path) -> None:
    with closing(ResponseStore(path)) as one, closing(ResponseStore(path)) as other:
        fill(one, 3)
        assert other.clear() == 3
        fill(one, 2)
        assert [held.responses for held in one.stats().adapters] == [2]


@pytest.fixture
def large(tmp_path, monkeypatch) -> Path:
    """A file that a store takes for a large one, and for one that was not changed just now."""
    monkeypatch.setattr(store_module, "_REMEMBERED_BYTES", 4)
    monkeypatch.setattr(store_module, "_FRESH_NS", -1)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights 1")
    return file


@pytest.fixture
def read(monkeypatch) -> list[Path]:
    """The files that are read, as they are."""
    seen: list[Path] = []

    def watched(path: Path) -> str:
        seen.append(path)
        return sha256_of(path)

    monkeypatch.setattr(store_module, "sha256_of", watched)
    return seen


def test_a_large_file_is_read_once(opened, large, read) -> None:
    assert [opened.digest(large) for _ in range(3)] == [sha256_of(large)] * 3
    assert read == [large]


def test_a_small_file_is_read_each_time(opened, tmp_path, read) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b"{}")
    assert [opened.digest(file) for _ in range(2)] == [sha256_of(file)] * 2
    assert len(read) == 2


def test_a_file_changed_in_place_is_read_again_though_its_size_and_its_time_are_kept(opened, large) -> None:
    times = large.stat()
    before = opened.digest(large)
    copy = large.with_name("copy")
    copy.write_bytes(b"weights 2")
    shutil.copystat(large, copy)
    copy.replace(large)
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (large.stat().st_size, large.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert before != opened.digest(large)
    assert sha256_of(large) == opened.digest(large)


def test_a_file_changed_just_now_is_not_remembered(opened, large, read, monkeypatch) -> None:
    monkeypatch.setattr(store_module, "_FRESH_NS", 10**12)
    for _ in range(2):
        opened.digest(large)
    assert len(read) == 2


def test_a_store_to_read_remembers_nothing_new(path, large, read) -> None:
    ResponseStore(path).close()
    with closing(ResponseStore(path, writable=False)) as store:
        assert [store.digest(large) for _ in range(2)] == [sha256_of(large)] * 2
    assert len(read) == 2
