"""The responses of a look: the store's, and for what it lacks the engine's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from pytest_jarvis.engines.base import Engine
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.types import (
    BASE_ARM,
    TWIN_ARM,
    TWIN_REPLICATES,
    EngineDescription,
    Failure,
    Progress,
    PromptCase,
    Request,
    Response,
    ResponseKey,
    StoreProblem,
)

if TYPE_CHECKING:
    from pytest_jarvis.metrics.similarity import Embedding


class Listener(Protocol):
    """Is told how a run goes, to show it."""

    def loading(self) -> None:
        """Show that the engine begins to load."""

    def loaded(self, description: EngineDescription, seconds: float) -> None:
        """Show what is loaded and how long it took."""

    def recalled(self, look: int, taken: int, planned: int) -> None:
        """Show how many of a look's responses the store had."""

    def store_failed(self, problem: StoreProblem) -> None:
        """Show that the run goes on without its store."""

    def drawing(self, look: int, progress: Progress) -> None:
        """Show how far the drawing is, up to `look` per prompt and arm."""

    def drawn(self, look: int, progress: Progress) -> None:
        """Show that all responses of a look are there."""


class Drawing:
    """Gives the responses that are asked for, and remembers where each came from."""

    def __init__(self, cache: ResponseCache, listener: Listener) -> None:
        """Draw with what may be done with a store, and tell `listener` of it."""
        self.cache = cache
        self.reused: set[ResponseKey] = set()
        """The responses that the store gave."""
        self.generated: Counter[str] = Counter()
        """By arm: responses asked of the engine."""
        self._listener = listener

    def reused_of(self, arm: str) -> int:
        """Return how many responses of an arm the store gave."""
        return sum(key[1] == arm for key in self.reused)

    def draw(self, engine: Engine, look: int, requests: Sequence[Request]) -> Iterator[Response | Failure]:
        """Yield the outcome of every request of a look: first what the store holds, then the rest as it completes."""
        held = self.cache.get(requests)
        if held:
            self._listener.recalled(look, len(held), len(requests))
        for response in held:
            named = _name_twin(response)
            self.reused.add(named.key)
            yield named
        taken = {response.key for response in held}
        missing = [request for request in requests if request.key not in taken]
        if missing:
            yield from self._generate(engine, look, missing)

    def vectors(self, engine: Engine, anchor: Request, texts: Sequence[str]) -> dict[str, Embedding]:
        """Return the vector of each text: the store's, else the engine's; `anchor` is any request of the base."""
        found = self.cache.get_vectors(anchor, texts)
        missing = [text for text in texts if text not in found]
        made = dict(zip(missing, engine.embed(missing), strict=True)) if missing else {}
        self.cache.put_vectors(anchor, made)
        return {**found, **made}

    def _generate(self, engine: Engine, look: int, requests: Sequence[Request]) -> Iterator[Response | Failure]:
        progress = Progress(responses_done=0, responses_planned=len(requests), tokens=0, elapsed_s=0.0)
        self._listener.drawing(look, progress)

        def on_progress(now: Progress) -> None:
            nonlocal progress
            progress = now
            self._listener.drawing(look, now)

        asked = {request.key: request for request in requests}
        for outcome in engine.generate(requests, on_progress):
            if isinstance(outcome, Response):
                self.cache.put(asked[outcome.key], outcome)
            named = _name_twin(outcome)
            self.generated[named.arm] += 1
            yield named
        self._listener.drawn(look, progress)


def ask(case: PromptCase, arm: str, number: int) -> Request:
    """Return the request of a response; the twin's is one of the base, with noise that no other response has."""
    if arm == TWIN_ARM:
        arm, number = BASE_ARM, number + TWIN_REPLICATES
    return Request(prompt_id=case.prompt_id, text=case.text, arm=arm, replicate=number)


def _name_twin(outcome: Response | Failure) -> Response | Failure:
    """Return the outcome under the twin's name when it answers a request of the twin."""
    if outcome.replicate < TWIN_REPLICATES:
        return outcome
    return replace(outcome, arm=TWIN_ARM, replicate=outcome.replicate - TWIN_REPLICATES)
