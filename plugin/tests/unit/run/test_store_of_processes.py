"""`store` with a full disk, with several processes, and with one that is killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_jarvis.run.store import Names, ResponseStore, check_store, response_key
from pytest_jarvis.types import Identity, Request, Response

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
REQUEST = Request(prompt_id="c-1", text="ouvre chrome", arm="jarvis", replicate=0)


def numbered(number: int) -> Identity:
    return replace(IDENTITY, prompt_id=f"c-{number}")


def fill(store: ResponseStore, count: int, text: str = "d'accord") -> None:
    for number in range(count):
        store.add(numbered(number), replace(RESPONSE, text=f"{text} {number}"), NAMES)


def held(store: ResponseStore, *identities: Identity) -> list[str]:
    found = store.find({response_key(one): REQUEST for one in identities})
    return [response.text for response in found.values()]


def test_a_full_disk_loses_nothing_that_was_written(opened: ResponseStore) -> None:
    fill(opened, 10)
    pages = opened._connection.execute("PRAGMA page_count").fetchone()[0]
    opened._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        fill(opened, 1000, text="un texte assez long pour remplir une page " * 20)
    assert not opened._connection.in_transaction
    assert opened.stats().responses >= 10
    check_store(opened.path)


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store_of_processes import NAMES, RESPONSE, ResponseStore, numbered
store = ResponseStore(Path(sys.argv[2]))
print("ready", flush=True)
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    store.add(numbered(number), RESPONSE, NAMES)
    print(number, flush=True)
store.close()
"""


def writer(path: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Start a process that writes responses and prints the number of each when it is written."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(path), str(first), str(last)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def test_two_processes_write_one_store_at_once(path: Path) -> None:
    processes = [writer(path, 0, 150), writer(path, 150, 300)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    with closing(ResponseStore(path)) as store:
        assert len(held(store, *map(numbered, range(300)))) == 300


def test_a_killed_process_loses_no_response_it_had_written_and_damages_nothing(path: Path) -> None:
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


def test_two_that_make_a_store_at_once_make_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_store_that_another_made_meanwhile_is_not_made_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(ResponseStore(path)) as store:
        fill(store, 1)
        answers = iter([False, True])
        monkeypatch.setattr(ResponseStore, "_is_made", lambda _: next(answers))
        store._prepare()
        assert store.stats().responses == 1


def test_a_store_that_another_process_clears_can_be_written_further(path: Path) -> None:
    with closing(ResponseStore(path)) as one, closing(ResponseStore(path)) as other:
        fill(one, 3)
        assert other.clear() == 3
        fill(one, 2)
        assert [held.responses for held in one.stats().adapters] == [2]
