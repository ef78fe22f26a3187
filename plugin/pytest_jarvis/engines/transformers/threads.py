"""How many threads to compute with on a CPU: as many as are clearly faster than fewer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_MODERATE: Final = 4
_WORTH: Final = 0.7
"""Share of the time of fewer threads that more of them may take at most."""


def fastest_threads(run: Callable[[], object]) -> int:
    """Return the fewest threads that more do not beat clearly: one, a moderate number, or torch's own number.

    Threads that wait for a core take it from the one they wait for: what is a little faster on an idle machine takes
    ten times as long once anything else runs. The number changes no result: each thread has rows or columns of its own.
    """
    import torch

    most = torch.get_num_threads()
    chosen, least = 1, float("inf")
    for count in sorted({1, min(_MODERATE, most), most}):
        with threads(count):
            started = time.perf_counter()
            run()
            seconds = time.perf_counter() - started
        if seconds < least * _WORTH:
            chosen, least = count, seconds
    return chosen


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads, then as before; None changes nothing."""
    import torch

    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
