"""A store of responses in a folder of its own, for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_jarvis.run.store import ResponseStore


@pytest.fixture
def path(tmp_path) -> Path:
    """Where the store of a test is, which need not exist."""
    return tmp_path / ".jarvis" / "responses.sqlite"


@pytest.fixture
def opened(path) -> Iterator[ResponseStore]:
    """An open store, closed after the test."""
    made = ResponseStore(path)
    yield made
    made.close()
