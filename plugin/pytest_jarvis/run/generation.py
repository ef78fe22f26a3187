"""Responses of a look: from the store, and the missing ones from the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

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
    """Shows the progress of a run."""

    def show_loading(self) -> None:
        """Show that the engine loads."""

    def show_loaded(self, description: EngineDescription, seconds: float) -> None:
        """Show the loaded model and the time it took."""

    def show_reuse(self, look: int, taken: int, planned: int) -> None:
        """Show how many of a look's responses the store held."""

    def show_store_problem(self, problem: StoreProblem) -> None:
        """Show that the run continues without its store."""

    def show_progress(self, look: int, progress: Progress) -> None:
        """Show how many responses there are, up to `look` per prompt and arm."""

    def show_look(self, look: int, progress: Progress) -> None:
        """Show that all responses of a look are generated."""


class ResponseSource:
    """Takes responses from the store, else from the engine, and counts them."""

    def __init__(self, cache: ResponseCache, listener: Listener) -> None:
        self.cache = cache
        self.reused: set[ResponseKey] = set()
        """Responses from the store."""
        self.generated: Counter[str] = Counter()
        """Arm -> number of responses from the engine."""
        self._listener = listener

    def fetch(self, engine: Engine, look: int, requests: Sequence[Request]) -> Iterator[Response | Failure]:
        """Yield the outcome of every request of a look: those in the store first, then the others as they complete."""
        held = self.cache.get(requests)
        if held:
            self._listener.show_reuse(look, len(held), len(requests))
        for response in held:
            named = _name_twin(response)
            self.reused.add(named.key)
            yield named
        taken = {response.key for response in held}
        missing = [request for request in requests if request.key not in taken]
        if missing:
            yield from self._generate(engine, look, missing)

    def embed(self, engine: Engine, anchor: Request, texts: Sequence[str]) -> dict[str, Embedding]:
        """Return text -> vector, from the store or the engine; `anchor` is any request to the base."""
        found = self.cache.get_vectors(anchor, texts)
        missing = [text for text in texts if text not in found]
        made = dict(zip(missing, engine.embed(missing), strict=True)) if missing else {}
        self.cache.put_vectors(anchor, made)
        return {**found, **made}

    def _generate(self, engine: Engine, look: int, requests: Sequence[Request]) -> Iterator[Response | Failure]:
        progress = Progress(responses_done=0, responses_planned=len(requests), tokens=0, elapsed_s=0.0)
        self._listener.show_progress(look, progress)

        def on_progress(now: Progress) -> None:
            nonlocal progress
            progress = now
            self._listener.show_progress(look, now)

        asked = {request.key: request for request in requests}
        for outcome in engine.generate(requests, on_progress):
            if isinstance(outcome, Response):
                self.cache.put(asked[outcome.key], outcome)
            named = _name_twin(outcome)
            self.generated[named.arm] += 1
            yield named
        self._listener.show_look(look, progress)


def make_request(case: PromptCase, arm: str, number: int) -> Request:
    """Return the request for a replicate; the twin's goes to the base, with noise of its own."""
    if arm == TWIN_ARM:
        arm, number = BASE_ARM, number + TWIN_REPLICATES
    return Request(prompt_id=case.prompt_id, text=case.text, arm=arm, replicate=number)


def _name_twin(outcome: Response | Failure) -> Response | Failure:
    """Return the outcome as the twin's where it answers a request of the twin."""
    if outcome.replicate < TWIN_REPLICATES:
        return outcome
    return replace(outcome, arm=TWIN_ARM, replicate=outcome.replicate - TWIN_REPLICATES)
