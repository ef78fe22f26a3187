"""What the rest of the project asks of whatever answers the prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pytest_jarvis.types import EngineDescription, Failure, GenerationSettings, Identity, Progress, Request, Response

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


PROBES: Final = (
    "Quel temps fera-t-il demain ?",
    "Lance la musique.",
    "Peux-tu fermer la fenêtre qui est devant et me lire le dernier message que j'ai reçu ?",
    "éteins l'écran",
)
"""Prompts on which arms are compared; of several lengths, and none of the benchmark's."""


OnProgress = Callable[[Progress], None]
Digest = Callable[[Path], str]
"""Returns the SHA-256 of a file, hexadecimal; the one that a store gives remembers those of large files."""

_NOT_IN_SETTINGS: Final = frozenset({"seed", "timeout_s"})
"""Of the generation settings: what `Identity` holds by itself, and what no text depends on."""


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

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        """Return everything that determines the response to `request`, by which a stored one may stand for it.

        None where the engine cannot know all of it (a server that may change its model without a word): such responses
        are neither stored nor reused. Asked once for each request, so what an arm's requests share is kept.
        """
        ...

    def close(self) -> None:
        """Give the memory back. Nothing may be asked of the engine afterwards."""
        ...


def determining(settings: GenerationSettings) -> dict[str, str | int | float | bool | None]:
    """Return the generation settings on which a text depends, by name, for `Identity.settings`; tools by a digest."""
    found = {
        field.name: getattr(settings, field.name) for field in fields(settings) if field.name not in _NOT_IN_SETTINGS
    }
    shown = json.dumps([asdict(tool) for tool in settings.tools], sort_keys=True, ensure_ascii=False)
    return {**found, "tools": hashlib.sha256(shown.encode()).hexdigest() if settings.tools else None}
