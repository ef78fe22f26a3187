"""Batches: which rows run together, when a batch shrinks or stops, and its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.types import BASE_ARM, DeviceMemory, Progress, Request

if TYPE_CHECKING:
    import torch


LENGTH_STEP = 16  # Prompts are padded to a multiple of this many tokens, so that attention is batch-invariant.
INVARIANT_ROWS = 16  # Matrix products of at least this many rows are batch-invariant.


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request, its prompt as tokens, and its place among the requests."""

    index: int
    request: Request
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that run together, ordered by arm, and the length in tokens that their prompts are padded to."""

    rows: tuple[Row, ...]
    length: int

    def arms(self) -> tuple[str, ...]:
        """Return the arms of the batch, the base first, then as they first appear."""
        return tuple(dict.fromkeys(row.request.arm for row in self.rows))

    def halves(self) -> tuple[Batch, Batch]:
        """Return the two halves of the batch, in the order of the requests."""
        by_prompt = sorted(self.rows, key=lambda row: row.index)
        middle = len(by_prompt) // 2
        return make_batch(by_prompt[:middle]), make_batch(by_prompt[middle:])


def padded_length(tokens: int) -> int:
    """Return the padded length of a prompt of `tokens`: the next multiple of `LENGTH_STEP` above it.

    Always above: transformers drops the mask of a batch without padding, and attention without a mask is another
    kernel, which rounds differently.
    """
    return (tokens // LENGTH_STEP + 1) * LENGTH_STEP


def make_batch(rows: Sequence[Row]) -> Batch:
    """Return the batch of `rows`, the base's first, each arm's together, in the order of the requests."""
    arms = list(dict.fromkeys(row.request.arm for row in rows))
    arms.sort(key=lambda arm: arm != BASE_ARM)
    ordered = tuple(sorted(rows, key=lambda row: (arms.index(row.request.arm), row.index)))
    return Batch(rows=ordered, length=max(padded_length(len(row.tokens)) for row in rows))


def plan_batches(rows: Sequence[Row], *, rows_per_batch: int) -> list[Batch]:
    """Return the batches that hold every row once, longest prompts first.

    All arms and replicates of a prompt share a batch as long as they fit in `rows_per_batch`; prompts of similar length
    go together. The longest run first, so that running out of memory shows at once.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.request.prompt_id, row.request.text), []).append(row)
    by_length = sorted(groups.values(), key=lambda group: (-padded_length(len(group[0].tokens)), group[0].index))
    batches: list[Batch] = []
    pending: list[Row] = []
    for group in by_length:
        if pending and len(pending) + len(group) > rows_per_batch:
            batches.append(make_batch(pending))
            pending = []
        pending.extend(group)
        while len(pending) > rows_per_batch:
            batches.append(make_batch(pending[:rows_per_batch]))
            pending = pending[rows_per_batch:]
    if pending:
        batches.append(make_batch(pending))
    return batches


def pad_rows(batch: Batch) -> tuple[list[Row], list[int]]:
    """Return the rows of `batch` with padding rows, and the places of its own rows among them.

    Every matrix product needs `INVARIANT_ROWS` rows. An adapter's products see its own rows only, so each adapter is
    padded to that many, side by side; the base's products see all rows.
    """
    arms = batch.arms()
    needy = [arm for arm in arms if arm != BASE_ARM] or list(arms)
    rows: list[Row] = []
    places: list[int] = []
    for arm in arms:
        own = [row for row in batch.rows if row.request.arm == arm]
        places += range(len(rows), len(rows) + len(own))
        rows += own + [own[0]] * (INVARIANT_ROWS - len(own) if arm in needy else 0)
    return rows, places


def rows_to_keep(arms: Sequence[str], done: Sequence[bool]) -> list[int]:
    """Return the places of the rows to go on with: those not done, and done ones that pad their arm as `pad_rows`."""
    going = [place for place, over in enumerate(done) if not over]
    live = {arms[place] for place in going}
    adapters = live - {BASE_ARM}
    kept = set(going)
    for arm in adapters or live:
        over = [place for place, name in enumerate(arms) if name == arm and done[place]]
        needed = INVARIANT_ROWS - sum(arms[place] == arm for place in going)
        kept.update(over[: max(0, needed)])
    return sorted(kept)


READ_EVERY_S: Final = 1.0  # How often memory is read: a reading asks the driver or the system.


class Meter:
    """Report the progress of a call of `generate`."""

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
        """Report a running batch of which `rows` are finished and `tokens` generated."""
        if self._on_progress is None:
            return
        now = time.perf_counter()
        if now >= self._next_reading:
            self._memory, self._next_reading = self._read_memory(), now + READ_EVERY_S
        self._on_progress(
            Progress(
                responses_done=self._rows + rows,
                responses_planned=self._planned,
                tokens=self._tokens + tokens,
                elapsed_s=now - self._started,
                memory=self._memory,
            )
        )

    def finish(self, *, rows: int, tokens: int) -> None:
        """Count a finished batch, and report."""
        self._rows += rows
        self._tokens += tokens
        self.step(0, 0)


PROGRESS_EVERY_S: Final = 0.1
LEAVING_SHARE: Final = 0.25
"""Share of the rows that must be done before a batch drops them: dropping costs about two steps."""
OnStep = Callable[[int, int], None]
"""Takes (rows finished, tokens generated) of the batch."""


class BatchMonitor:
    """Stopping criterion that records the time of each token, reports progress, and stops a batch at its timeout.

    After `shrink` it also stops when enough rows are done to drop them: `remaining` then holds the places of the rows
    to go on with, and is None when the batch has ended.
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
        """Report on the rows at the places `counted` alone: the others are padding."""
        self.started = time.perf_counter()
        self.step_times: list[float] = []
        self.timed_out = False
        self.remaining: list[int] | None = None
        self._prompt_length = prompt_length
        self._counted = list(counted)
        self._stops = stops
        self._timeout_s = timeout_s
        self._on_step = on_step
        self._reported_at = self.started
        self._arms: list[str] | None = None
        self._ended: list[bool] = []
        self._dropped = (0, 0)

    def shrink(self, arms: Sequence[str]) -> None:
        """Stop from now on when enough of the rows, run as `arms`, are done."""
        self._arms = list(arms)
        self._ended = [False] * len(self._arms)

    def drop_rows(self, input_ids: torch.Tensor) -> None:
        """Drop all rows but the `remaining` ones; `input_ids`, (rows, tokens), are those of all rows that ran."""
        remaining = self.remaining or []
        counted, kept = set(self._counted), set(remaining)
        left = [place for place in self._counted if place not in kept]
        rows, tokens = self._count(input_ids[left, self._prompt_length :])
        self._dropped = (self._dropped[0] + rows, self._dropped[1] + tokens)
        self._counted = [new for new, place in enumerate(remaining) if place in counted]
        self._ended = [self._ended[place] for place in remaining]
        self._arms = [self._arms[place] for place in remaining] if self._arms is not None else None
        self.remaining = None

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        """Return for each row whether it must stop now, as transformers' `generate` asks."""
        return input_ids.new_full((len(input_ids),), self.stops_at(input_ids), dtype=self._stops.dtype).bool()

    def stops_at(self, input_ids: torch.Tensor) -> bool:
        """Record the arrival of the last of `input_ids`, (rows, tokens); return whether the batch must stop."""
        if input_ids.is_cuda:
            import torch

            torch.cuda.synchronize(input_ids.device)  # what is launched is not computed yet
        now = time.perf_counter()
        self.step_times.append(now - self.started)
        self.timed_out = self._timeout_s is not None and now - self.started > self._timeout_s
        if self._on_step is not None and now - self._reported_at >= PROGRESS_EVERY_S:
            self._reported_at = now
            rows, tokens = self._count(input_ids[self._counted, self._prompt_length :])
            self._on_step(self._dropped[0] + rows, self._dropped[1] + tokens)
        self.remaining = None if self.timed_out else self._choose_remaining(input_ids)
        return self.timed_out or self.remaining is not None

    def _choose_remaining(self, input_ids: torch.Tensor) -> list[int] | None:
        """Return the places of the rows to go on with, or None when dropping rows does not pay or none is left."""
        import torch

        if self._arms is None:
            return None
        ended = torch.isin(input_ids[:, -1], self._stops).tolist()
        self._ended = [over or end for over, end in zip(self._ended, ended, strict=True)]
        most = int(len(self._ended) * (1 - LEAVING_SHARE))
        if len(self._ended) - sum(self._ended) > most:
            return None
        remaining = rows_to_keep(self._arms, self._ended)
        return remaining if 0 < len(remaining) <= most else None

    def _count(self, new_tokens: torch.Tensor) -> tuple[int, int]:
        """Return (rows finished, tokens generated) for `new_tokens`, (rows, tokens)."""
        import torch

        ended = torch.isin(new_tokens, self._stops)
        before_end = (ended.cumsum(dim=-1) - ended.long()) == 0
        return int(ended.any(dim=-1).sum()), int(before_end.sum())
