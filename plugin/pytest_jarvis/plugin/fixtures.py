"""The fixtures: the session's loaded pair, a handle on each arm, and functions that record a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_jarvis.engines.base import Engine
    from pytest_jarvis.plugin.session import Measured, ModelHandle, Recorder
    from pytest_jarvis.types import PromptCase


FIXTURES = frozenset(
    {"jarvis_case", "jarvis_measure", "jarvis_engine", "jarvis_show", "base_model", "lora_model", "lora_models"}
)
"""A test that uses one of these makes its session a benchmark session."""


@pytest.fixture(scope="session")
def jarvis_engine(request: pytest.FixtureRequest) -> Engine:
    """Return the session's engine: one base with its adapters, loaded and proven at the first use."""
    return _recorder(request).engine


@pytest.fixture(scope="session")
def base_model(request: pytest.FixtureRequest) -> ModelHandle:
    """Return a handle on the base: all adapters off."""
    return _recorder_with_model(request).handle(None)


@pytest.fixture(scope="session")
def lora_model(request: pytest.FixtureRequest) -> ModelHandle:
    """Return a handle on the candidate, the first adapter."""
    return _recorder_with_model(request).handle(0)


@pytest.fixture(scope="session")
def lora_models(request: pytest.FixtureRequest) -> tuple[ModelHandle, ...]:
    """Return a handle on each adapter, the candidate first."""
    recorder = _recorder_with_model(request)
    return tuple(map(recorder.handle, range(len(recorder.benchmark.settings.adapters))))


@pytest.fixture
def jarvis_measure(request: pytest.FixtureRequest) -> Callable[[PromptCase], Measured]:
    """Return a function that measures and records a case; its first call generates the responses of all cases."""

    def measure_case(case: PromptCase) -> Measured:
        return _recorder(request).measure(request.node, case)

    return measure_case


@pytest.fixture
def jarvis_show(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that adds a line to the terminal summary."""

    def show(text: str) -> None:
        _recorder(request).show(request.node, text)

    return show


def _recorder_with_model(request: pytest.FixtureRequest) -> Recorder:
    """Return the session's recorder; skip the test in a replay, which loads no model."""
    recorder = _recorder(request)
    if recorder.benchmark.settings.replay is not None:
        from pytest_jarvis.plugin.collection import NO_MODEL

        pytest.skip(NO_MODEL)
    return recorder


def _recorder(request: pytest.FixtureRequest) -> Recorder:
    """Return the session's recorder; import its module late, because every pytest run imports this one."""
    from pytest_jarvis.plugin.collection import get_recorder

    return get_recorder(request.config)
