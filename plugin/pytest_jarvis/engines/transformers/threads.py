"""How many threads to compute with on a CPU: as many as are fastest, which for a small model may be one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_MODERATE: Final = 4


def fastest_threads(run: Callable[[], object]) -> int:
    """Return the number of threads with which `run` takes the least time: torch's own number, a moderate one, or one.

    A small model's products end before the threads have met, and on a busy machine threads that wait for each other
    take ten times as long. The number changes no result: each thread has rows or columns of its own.
    """
    import torch

    most = torch.get_num_threads()
    seconds: dict[int, float] = {}
    for count in sorted({1, min(_MODERATE, most), most}):
        with threads(count):
            started = time.perf_counter()
            run()
            seconds[count] = time.perf_counter() - started
    return min(seconds, key=lambda count: (seconds[count], count))


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
