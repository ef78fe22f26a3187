"""The protocol of engines, what is known of one before it is built, and how its answers are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import msgspec
from msgspec.structs import asdict

from pytest_jarvis.files import text_digest
from pytest_jarvis.types import (
    EngineDescription,
    Failure,
    GenerationSettings,
    Identity,
    ModelSpec,
    Progress,
    Request,
    Response,
    ToolCall,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Vector: TypeAlias = "npt.NDArray[np.float32]"

PROBES: Final = (
    "Quel temps fera-t-il demain ?",
    "Lance la musique.",
    "Peux-tu fermer la fenêtre qui est devant et me lire le dernier message que j'ai reçu ?",
    "éteins l'écran",
)
"""Prompts to compare arms on: several lengths, none of the benchmark's."""

OnProgress = Callable[[Progress], None]
Digest = Callable[[Path], str]
"""Returns the hexadecimal SHA-256 of a file; that of a store remembers large files."""

_NOT_IN_SETTINGS: Final = frozenset({"seed", "timeout_s", "batch_size"})
"""Generation settings that `Identity` has apart, or that no text depends on."""


class Engine(Protocol):
    """Generate responses of every arm. Construction loads the model; it raises `EngineError` when that fails."""

    def describe(self) -> EngineDescription:
        """Return a description of the loaded model, as measured; memory as of now."""
        ...

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield one Response or Failure for each request, in completion order.

        A response depends on the seed, the prompt's id and text, the replicate and the arm's weights, and on nothing
        else of `requests`. `on_progress` is called often; it must be quick.
        """
        ...

    def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return a vector of shape (hidden,) for each text, by the base with adapters off; None for an empty text."""
        ...

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        """Return everything that determines the response to `request`: the key of the response store.

        None where the engine cannot know all of it (a server that may change its model unnoticed): such responses are
        neither stored nor reused. Called for each request, so keep what an arm's requests share.
        """
        ...

    def close(self) -> None:
        """Release memory and connections. The engine must not be used afterwards."""
        ...


class EngineKind(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an engine before it is built; the target of an entry point of `pytest_jarvis.engines`."""

    build: str | Callable[[ModelSpec, GenerationSettings], Engine]
    """The engine's class or factory; as `module:name` it is imported when called."""
    needs: tuple[str, ...] = ()
    """Required libraries."""
    extra: str | None = None
    """The extra of pytest-jarvis that installs them."""
    holds_model: bool = False
    """Whether the model is in this process: with pytest-xdist one worker a device, any number otherwise."""
    asks_server: bool = False
    """Whether adapters are names on a server at `model.base_url`."""
    offers_tools: bool = True
    """Whether the tools of `GenerationSettings` reach the model; `--jarvis-tools` is refused otherwise."""

    def load(self, spec: ModelSpec, settings: GenerationSettings) -> Engine:
        """Return the engine, loaded; an EngineError passes through."""
        from pkgutil import resolve_name  # not needed to collect tests

        build: Callable[[ModelSpec, GenerationSettings], Engine]
        build = resolve_name(self.build) if isinstance(self.build, str) else self.build
        return build(spec, settings)

    def missing(self) -> list[str]:
        """Return the required libraries that are not installed; imports none."""
        return [name for name in self.needs if find_spec(name) is None]


def key_settings(settings: GenerationSettings) -> dict[str, str | int | float | bool | None]:
    """Return the generation settings that determine a text, by name, for `Identity.settings`; tools by a digest."""
    found = {name: value for name, value in asdict(settings).items() if name not in _NOT_IN_SETTINGS}
    shown = json.dumps([asdict(tool) for tool in settings.tools], sort_keys=True, ensure_ascii=False)
    return {**found, "tools": text_digest(shown) if settings.tools else None}


OPEN: Final = "<think>"
CLOSE: Final = "</think>"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an answer; `text` is None when the thinking never closed."""

    text: str | None
    thinking: str | None
    cut_chars: int
    tool_calls: tuple[ToolCall, ...] | None = None
    """Calls in the whole answer; None when no tools were offered."""


def split_answer(said: str, *, thinking_open: bool, max_chars: int, with_calls: bool = False) -> Answer:
    """Return the parts of a text, its calls too `with_calls`; `text` is None when thinking did not close."""
    said = said.strip()
    thinking: str | None = None
    if thinking_open or said.startswith(OPEN):
        block, closed, said = said.removeprefix(OPEN).partition(CLOSE)
        thinking = block.strip() or None
        if not closed:
            return Answer(text=None, thinking=thinking, cut_chars=0)
        said = said.strip()
    cut = max(0, len(said) - max_chars)
    calls = read_calls(said) if with_calls else None
    return Answer(text=said[:max_chars], thinking=thinking, cut_chars=cut, tool_calls=calls)


OPEN_CALL: Final = "<tool_call>"
CLOSE_CALL: Final = "</tool_call>"
_BLOCK: Final = re.compile(r"<tool_call>(.*?)(</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)


def read_calls(text: str) -> tuple[ToolCall, ...]:
    """Return the calls of a text in order: each `<tool_call>` is one, with a `problem` if unreadable."""
    calls = [_read_call(block, closed=bool(end)) for block, end in _BLOCK.findall(text)]
    if not calls and CLOSE_CALL in text:
        calls = [ToolCall(name=None, problem="not_opened")]
    return tuple(calls)


def _read_call(block: str, *, closed: bool) -> ToolCall:
    if not closed:
        return ToolCall(name=None, problem="not_closed")
    try:
        call = msgspec.json.decode(block.strip())  # strict: no NaN, no lone surrogate, which no file can hold
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return ToolCall(name=None, problem="not_json")
    if not isinstance(call, dict):
        return ToolCall(name=None, problem="not_object")
    name, arguments = call.get("name"), call.get("arguments", {})
    if not isinstance(name, str) or not name.strip():
        return ToolCall(name=None, problem="no_name")
    if not isinstance(arguments, dict):
        return ToolCall(name=name.strip(), problem="arguments_not_object")
    return ToolCall(name=name.strip(), arguments=arguments)
