"""What the rest of the project asks of whatever answers the prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pytest_jarvis.types import (
    EngineDescription,
    Failure,
    GenerationSettings,
    Identity,
    ModelSpec,
    Progress,
    Request,
    Response,
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """What is known of an engine before it is built; what an entry point of `pytest_jarvis.engines` names."""

    build: str | Callable[[ModelSpec, GenerationSettings], Engine]
    """The engine's class, or a function that gives one; as `module:name` it is imported when it is called."""
    needs: tuple[str, ...] = ()
    """Libraries without which it cannot be had."""
    extra: str | None = None
    """The extra of pytest-jarvis that brings them."""
    holds_model: bool = False
    """Whether a model is held in this process: under pytest-xdist one worker a device, any number for the others."""
    asks_server: bool = False
    """Whether adapters are names of a server at `model.base_url`, which holds the weights as it likes."""
    offers_tools: bool = True
    """Whether the tools of `GenerationSettings` reach the model; `--jarvis-tools` is refused otherwise."""

    def load(self, spec: ModelSpec, settings: GenerationSettings) -> Engine:
        """Return the engine, loaded; an EngineError passes through."""
        build: Callable[[ModelSpec, GenerationSettings], Engine]
        build = resolve_name(self.build) if isinstance(self.build, str) else self.build
        return build(spec, settings)

    def missing(self) -> list[str]:
        """Return the libraries that this environment lacks; imports none."""
        return [name for name in self.needs if find_spec(name) is None]


def key_settings(settings: GenerationSettings) -> dict[str, str | int | float | bool | None]:
    """Return the generation settings on which a text depends, by name, for `Identity.settings`; tools by a digest."""
    found = {name: value for name, value in msgspec.structs.asdict(settings).items() if name not in _NOT_IN_SETTINGS}
    shown = json.dumps([asdict(tool) for tool in settings.tools], sort_keys=True, ensure_ascii=False)
    return {**found, "tools": hashlib.sha256(shown.encode()).hexdigest() if settings.tools else None}
