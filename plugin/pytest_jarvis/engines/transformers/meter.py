"""How far a call of `generate` is, told as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.records import DeviceMemory, Progress

READ_EVERY_S: Final = 1.0
"""How often the memory is read again: a reading asks the driver or the system."""


class Meter:
    """Tells how far a call of `generate` is."""

    def __init__(
        self, *, planned: int, on_progress: OnProgress | None, read_memory: Callable[[], tuple[DeviceMemory, ...]]
    ) -> None:
        self._read_memory = read_memory
        self._memory: tuple[DeviceMemory, ...] = ()
        self._next_reading = 0.0
        self._planned = planned
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self._rows = 0
        self._tokens = 0

    def step(self, rows: int, tokens: int) -> None:
        """Tell of a batch under way, in which `rows` are finished and `tokens` drawn."""
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    responses_done=self._rows + rows,
                    responses_planned=self._planned,
                    tokens=self._tokens + tokens,
                    elapsed_s=time.perf_counter() - self._started,
                    memory=self._recent_memory(),
                )
            )

    def finish(self, *, rows: int, tokens: int) -> None:
        """Count a batch that is done, and tell."""
        self._rows += rows
        self._tokens += tokens
        self.step(0, 0)

    def _recent_memory(self) -> tuple[DeviceMemory, ...]:
        """Return the last reading, taken anew when it is old."""
        now = time.perf_counter()
        if now >= self._next_reading:
            self._memory, self._next_reading = self._read_memory(), now + READ_EVERY_S
        return self._memory
