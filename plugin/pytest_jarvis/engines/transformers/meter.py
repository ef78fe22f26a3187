"""How far a call of `generate` is, told as it goes."""

from __future__ import annotations

import time

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.records import Progress


class Meter:
    """Tells how far a call of `generate` is."""

    def __init__(self, *, planned: int, on_progress: OnProgress | None) -> None:
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
                )
            )

    def finish(self, *, rows: int, tokens: int) -> None:
        """Count a batch that is done, and tell."""
        self._rows += rows
        self._tokens += tokens
        self.step(0, 0)
