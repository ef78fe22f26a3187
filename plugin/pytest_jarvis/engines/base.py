"""What the rest of the project asks of whatever answers the prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from pytest_jarvis.records import EngineDescription, Failure, Progress, Request, Response

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

OnProgress = Callable[[Progress], None]


class Engine(Protocol):
    """Answers requests of every arm. Built loaded: the constructor raises `EngineError` when it cannot be used."""

    def describe(self) -> EngineDescription:
        """Return what is loaded, as measured; memory is as it is at the call."""
        ...

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield one Response or Failure for each request, in completion order.

        A response depends on the seed, the prompt's id and text, the replicate and the arm's weights, and on nothing
        else of `requests`. `on_progress` is called often; it must be quick.
        """
        ...

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return a vector of shape (hidden,) for each text, by the base with adapters off; None for an empty text."""
        ...

    def close(self) -> None:
        """Give the memory back. Nothing may be asked of the engine afterwards."""
        ...
