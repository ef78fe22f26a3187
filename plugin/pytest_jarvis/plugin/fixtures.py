"""The fixtures: one loaded pair for the session, a handle on each arm, and what records a prompt's result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_jarvis.engines.base import Engine
    from pytest_jarvis.plugin.handles import Measured, ModelHandle
    from pytest_jarvis.plugin.session import Recorder
    from pytest_jarvis.types import PromptCase


FIXTURES = frozenset(
    {"jarvis_case", "jarvis_measure", "jarvis_engine", "jarvis_show", "base_model", "lora_model", "lora_models"}
)
"""A test that asks for one of these makes its session a benchmark session."""


@pytest.fixture(scope="session")
def jarvis_engine(request: pytest.FixtureRequest) -> Engine:
    """Return the engine of the session: one base with its adapters, loaded at the first use and proven."""
    return _recorder(request).engine


@pytest.fixture(scope="session")
def base_model(request: pytest.FixtureRequest) -> ModelHandle:
    """Return a handle on the base: the loaded weights with every adapter off."""
    return _recorder_with_model(request).handle(None)


@pytest.fixture(scope="session")
def lora_model(request: pytest.FixtureRequest) -> ModelHandle:
    """Return a handle on the candidate: the same weights with the first adapter on."""
    return _recorder_with_model(request).handle(0)


@pytest.fixture(scope="session")
def lora_models(request: pytest.FixtureRequest) -> tuple[ModelHandle, ...]:
    """Return a handle on each adapter, the candidate's first."""
    recorder = _recorder_with_model(request)
    return tuple(map(recorder.handle, range(len(recorder.benchmark.settings.adapters))))


@pytest.fixture
def jarvis_measure(request: pytest.FixtureRequest) -> Callable[[PromptCase], Measured]:
    """Return a function that measures a case for every adapter and records it; the first call draws the whole plan."""

    def measure_case(case: PromptCase) -> Measured:
        return _recorder(request).measure(request.node, case)

    return measure_case


@pytest.fixture
def jarvis_show(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that has a line printed in the terminal summary, where what a test prints does not get."""

    def show(text: str) -> None:
        _recorder(request).show(request.node, text)

    return show


def _recorder_with_model(request: pytest.FixtureRequest) -> Recorder:
    """Return what records this session; the test is skipped where no model is loaded."""
    recorder = _recorder(request)
    if recorder.benchmark.settings.replay is not None:
        from pytest_jarvis.plugin.collection import NO_MODEL

        pytest.skip(NO_MODEL)
    return recorder


def _recorder(request: pytest.FixtureRequest) -> Recorder:
    """Return what records this session; imported late, because every pytest run imports this module."""
    from pytest_jarvis.plugin.collection import recorder_of

    return recorder_of(request.config)
