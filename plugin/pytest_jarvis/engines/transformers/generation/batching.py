"""Which rows go through the model together: a pure plan, made before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_jarvis.types import BASE_ARM, Request

LENGTH_STEP = 16
"""Prompts are padded to a multiple of this many tokens: attention then gives the same bits whatever the batch."""
STEADY_ROWS = 16
"""Matrix products of at least this many rows give a row the same bits whatever the other rows are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request with its prompt as tokens, and where it stood among the requests."""

    index: int
    request: Request
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that run together, ordered by arm, and the length (in tokens) their prompts are padded to."""

    rows: tuple[Row, ...]
    length: int

    def arms(self) -> tuple[str, ...]:
        """Return the arms of the batch, the base first, then as they first appear."""
        return tuple(dict.fromkeys(row.request.arm for row in self.rows))

    def halves(self) -> tuple[Batch, Batch]:
        """Return the batch cut in two between prompts when it holds several, else between rows."""
        by_prompt = sorted(self.rows, key=lambda row: row.index)
        middle = len(by_prompt) // 2
        return make_batch(by_prompt[:middle]), make_batch(by_prompt[middle:])


def padded_length(tokens: int) -> int:
    """Return the tokens that a prompt of `tokens` takes once padded: the next multiple of `LENGTH_STEP` above it.

    Always above: transformers drops the mask of a batch without any padding, and attention without a mask is another
    kernel, which rounds differently.
    """
    return (tokens // LENGTH_STEP + 1) * LENGTH_STEP


def make_batch(rows: Sequence[Row]) -> Batch:
    """Return the batch of `rows`: the base's rows first, each arm's together, in the order of the requests."""
    arms = list(dict.fromkeys(row.request.arm for row in rows))
    arms.sort(key=lambda arm: arm != BASE_ARM)
    ordered = tuple(sorted(rows, key=lambda row: (arms.index(row.request.arm), row.index)))
    return Batch(rows=ordered, length=max(padded_length(len(row.tokens)) for row in rows))


def plan_batches(rows: Sequence[Row], *, rows_per_batch: int) -> list[Batch]:
    """Return the batches that hold every row once, longest prompts first.

    Every arm and replicate of a prompt is in one batch as long as it fits in `rows_per_batch`; prompts of like length
    go together. The longest run first because they need the most memory: what will not fit shows at once.
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


def steadied(batch: Batch) -> tuple[list[Row], list[int]]:
    """Return the rows to run, with those that are added so that every matrix product sees `STEADY_ROWS` rows at least.

    Then where the rows of `batch` stand among them; what the others draw is thrown away. An adapter's own products see
    its rows only, so each adapter of the batch needs that many, side by side; the base's products see all rows.
    """
    arms = batch.arms()
    needy = [arm for arm in arms if arm != BASE_ARM] or list(arms)
    rows: list[Row] = []
    places: list[int] = []
    for arm in arms:
        own = [row for row in batch.rows if row.request.arm == arm]
        places += range(len(rows), len(rows) + len(own))
        rows += own + [own[0]] * (STEADY_ROWS - len(own) if arm in needy else 0)
    return rows, places


def rows_to_keep(arms: Sequence[str], done: Sequence[bool]) -> list[int]:
    """Return the places of the rows that must go on, in their order: those that are not done, and who steadies them.

    `arms` and `done` are those of the rows that run now. Rows that are done stay where an arm would fall under
    `STEADY_ROWS` without them, as in `steadied`; nobody stays when all are done.
    """
    going = [place for place, over in enumerate(done) if not over]
    live = {arms[place] for place in going}
    adapters = live - {BASE_ARM}
    kept = set(going)
    for arm in adapters or live:
        over = [place for place, name in enumerate(arms) if name == arm and done[place]]
        needed = STEADY_ROWS - sum(arms[place] == arm for place in going)
        kept.update(over[: max(0, needed)])
    return sorted(kept)
