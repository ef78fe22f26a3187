"""When a batch stops: at its last answer's end, in time, or to go on without the rows that are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.engines.transformers.generation.batching import rows_to_keep
from pytest_jarvis.types import DeviceMemory, Progress

if TYPE_CHECKING:
    import torch


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


PROGRESS_EVERY_S: Final = 0.1
LEAVING_SHARE: Final = 0.25
"""Share of the rows that must be able to leave before a batch goes on without them: to leave costs about two steps."""
OnStep = Callable[[int, int], None]
"""Called with (rows finished, tokens drawn) of the batch."""


class Watch:
    """A stopping criterion that notes when each token came and how far the batch is, and stops it in time.

    With `shrink` it also stops when enough rows are done to go on without them: `staying` then holds the places of the
    rows to go on with, among those that run, and is None when the batch has come to its end.
    """

    def __init__(
        self,
        *,
        prompt_length: int,
        counted: Sequence[int],
        stops: torch.Tensor,
        timeout_s: float | None,
        on_step: OnStep | None,
    ) -> None:
        """Tell of the rows at the places `counted` alone: the others only steady the arithmetic."""
        self.started = time.perf_counter()
        self.step_times: list[float] = []
        self.timed_out = False
        self.staying: list[int] | None = None
        self._prompt_length = prompt_length
        self._counted = list(counted)
        self._stops = stops
        self._timeout_s = timeout_s
        self._on_step = on_step
        self._told = self.started
        self._arms: list[str] | None = None
        self._over: list[bool] = []
        self._gone = (0, 0)

    def shrink(self, arms: Sequence[str]) -> None:
        """Stop, from now on, when enough of the rows, which run as `arms`, are done."""
        self._arms = list(arms)
        self._over = [False] * len(self._arms)

    def go_on(self, input_ids: torch.Tensor) -> None:
        """Go on with the rows that are `staying`; `input_ids` are those of all rows that ran."""
        staying = self.staying or []
        counted, kept = set(self._counted), set(staying)
        left = [place for place in self._counted if place not in kept]
        rows, tokens = self._count(input_ids[left, self._prompt_length :])
        self._gone = (self._gone[0] + rows, self._gone[1] + tokens)
        self._counted = [new for new, place in enumerate(staying) if place in counted]
        self._over = [self._over[place] for place in staying]
        self._arms = [self._arms[place] for place in staying] if self._arms is not None else None
        self.staying = None

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        """Return, for each row, whether it must stop now: what `generate` asks."""
        return input_ids.new_full((len(input_ids),), self.stops_at(input_ids), dtype=self._stops.dtype).bool()

    def stops_at(self, input_ids: torch.Tensor) -> bool:
        """Note that the last of `input_ids`, (rows, tokens), has come; tell whether the batch must stop here."""
        if input_ids.is_cuda:
            import torch

            torch.cuda.synchronize(input_ids.device)  # what is launched is not computed yet
        now = time.perf_counter()
        self.step_times.append(now - self.started)
        self.timed_out = self._timeout_s is not None and now - self.started > self._timeout_s
        if self._on_step is not None and now - self._told >= PROGRESS_EVERY_S:
            self._told = now
            rows, tokens = self._count(input_ids[self._counted, self._prompt_length :])
            self._on_step(self._gone[0] + rows, self._gone[1] + tokens)
        self.staying = None if self.timed_out else self._who_stays(input_ids)
        return self.timed_out or self.staying is not None

    def _who_stays(self, input_ids: torch.Tensor) -> list[int] | None:
        """Return the rows to go on with, or None when it is not worth it to leave any behind, or nothing is left."""
        import torch

        if self._arms is None:
            return None
        ended = torch.isin(input_ids[:, -1], self._stops).tolist()
        self._over = [over or end for over, end in zip(self._over, ended, strict=True)]
        most = int(len(self._over) * (1 - LEAVING_SHARE))
        if len(self._over) - sum(self._over) > most:
            return None
        staying = rows_to_keep(self._arms, self._over)
        return staying if 0 < len(staying) <= most else None

    def _count(self, new_tokens: torch.Tensor) -> tuple[int, int]:
        """Return (rows finished, tokens drawn) for the new tokens so far, (rows, tokens)."""
        import torch

        ended = torch.isin(new_tokens, self._stops)
        before_end = (ended.cumsum(dim=-1) - ended.long()) == 0
        return int(ended.any(dim=-1).sum()), int(before_end.sum())
