"""`store`: the digests of large files are remembered until the file changes."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from pytest_jarvis.run import store as store_module
from pytest_jarvis.run.store import ResponseStore, sha256_of


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a store takes for a large one, and for one that was not changed just now."""
    monkeypatch.setattr(store_module, "_REMEMBERED_BYTES", 4)
    monkeypatch.setattr(store_module, "_FRESH_NS", -1)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights 1")
    return file


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read, as they are."""
    seen: list[Path] = []

    def watched(path: Path) -> str:
        seen.append(path)
        return sha256_of(path)

    monkeypatch.setattr(store_module, "sha256_of", watched)
    return seen


def test_a_large_file_is_read_once(opened: ResponseStore, large: Path, read: list[Path]) -> None:
    assert [opened.digest(large) for _ in range(3)] == [sha256_of(large)] * 3
    assert read == [large]


def test_a_small_file_is_read_each_time(opened: ResponseStore, tmp_path: Path, read: list[Path]) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b"{}")
    assert [opened.digest(file) for _ in range(2)] == [sha256_of(file)] * 2
    assert len(read) == 2


def test_a_file_changed_in_place_is_read_again_though_its_size_and_its_time_are_kept(
    opened: ResponseStore, large: Path
) -> None:
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


def test_a_file_changed_just_now_is_not_remembered(
    opened: ResponseStore, large: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_FRESH_NS", 10**12)
    for _ in range(2):
        opened.digest(large)
    assert len(read) == 2


def test_a_store_to_read_remembers_nothing_new(path: Path, large: Path, read: list[Path]) -> None:
    ResponseStore(path).close()
    with closing(ResponseStore(path, writable=False)) as store:
        assert [store.digest(large) for _ in range(2)] == [sha256_of(large)] * 2
    assert len(read) == 2
