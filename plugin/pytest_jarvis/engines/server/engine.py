"""The engine itself: every arm's answers from one server, many requests under way at once."""

from __future__ import annotations

import asyncio
import os
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from pytest_jarvis.engines.answers import CLOSE, split_answer
from pytest_jarvis.engines.base import Digest, OnProgress, key_settings
from pytest_jarvis.engines.server.client import ServerAnswer, ServerClient, ServerRequest, request_seed
from pytest_jarvis.engines.server.connection import AttemptError, Connection
from pytest_jarvis.engines.server.embeddings import choose_embedder
from pytest_jarvis.engines.server.preflight import inspect
from pytest_jarvis.types import (
    BASE_ARM,
    EngineDescription,
    EngineError,
    Failure,
    GenerationSettings,
    Identity,
    ModelSpec,
    Note,
    Progress,
    QuantizationCoverage,
    Request,
    Response,
    ServedModel,
    ServerFacts,
    Stage,
    Storage,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_NOT_MEASURED: Final = "not measured (server)"
_PROGRESS_EVERY_S: Final = 0.1
_LEAST_LOST: Final = 8
"""Requests in a row, each with all its tries, to which nothing came back: after so many a server counts as gone."""


@dataclass(slots=True)
class _Drawing:
    """One call of `generate` as its requests go: what is out, what came in, whether the server still answers."""

    gone_after: int
    outcomes: queue.SimpleQueue[Response | Failure] = field(default_factory=queue.SimpleQueue)
    tokens: int = 0
    lost_in_a_row: int = 0

    @property
    def is_gone(self) -> bool:
        """Whether the server stopped answering."""
        return self.lost_in_a_row >= self.gone_after

    def count_token(self) -> None:
        """Count a piece of text that came in."""
        self.tokens += 1


class ServerEngine:
    """Asks a server that holds the base and the adapters under names of their own.

    Raises EngineError, one sentence, for a server, a name or an adapter that cannot be used.
    """

    def __init__(self, spec: ModelSpec, settings: GenerationSettings) -> None:
        """`spec.server` says where it is."""
        if spec.server is None:
            raise ValueError("the server engine needs spec.server")
        self._spec = spec
        self._server = spec.server
        self._settings = settings
        self._names = {BASE_ARM: spec.base_model, **{adapter.name: adapter.source for adapter in spec.adapters}}
        self._connection = Connection(self._server)
        self._client = ServerClient(self._connection, settings, retries=self._server.retries)
        self._notes: list[Note] = []
        try:
            self._seen = self._connection.run(inspect(self._connection, self._client, spec, sampled=self._is_sampled))
            self._refuse_company()
            self._embedder = choose_embedder(self._server, self._connection)
        except BaseException:
            self._connection.close()
            raise

    def _refuse_company(self) -> None:
        """Raise EngineError when arms must run apart and other workers of pytest-xdist ask the same server."""
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        if workers > 1 and not self._seen.proven.mixes:
            raise EngineError(
                f"{self._server.base_url}: {self._seen.proven.mixing_fault}: the arms have to run one after the other, "
                f"which {workers} workers do not; run without -n"
            )

    def describe(self) -> EngineDescription:
        """Return what the server says of itself and what was seen of it; what a server cannot show is None."""
        seen = self._seen
        return EngineDescription(
            engine="server",
            base_model=self._spec.base_model,
            display_name=self._spec.base_model,
            is_demo=False,
            is_real=True,
            device="server",
            compute_dtype="server",
            coverage=QuantizationCoverage(storage=Storage(format="server"), share_4bit=None),
            adapters=seen.proven.proofs,
            batching="server" if seen.proven.mixes else "two passes",
            memory=(),
            versions={"openai": version("openai")},
            notes=(*self._stated_notes(), *self._notes),
            server=ServerFacts(
                base_url=self._server.base_url,
                version=seen.version,
                models=seen.models,
                system_fingerprint=seen.fingerprint,
                repeats=seen.repeats,
            ),
            embedding=None if self._embedder is None else self._embedder.label,
        )

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield one Response or Failure for each request, as they come in.

        At most `concurrency` are under way, begun in the order given, so that a server finds rows of all arms to batch.
        Raises ValueError for an arm that is not served.
        """
        unknown = {request.arm for request in requests} - set(self._names)
        if unknown:
            raise ValueError(f"unknown arm {min(unknown)!r}; served: {', '.join(self._names)}")
        drawing = _Drawing(gone_after=max(_LEAST_LOST, self._server.concurrency))
        started = time.perf_counter()

        def tell(done: int) -> None:
            if on_progress is not None:
                elapsed_s = time.perf_counter() - started
                on_progress(
                    Progress(
                        responses_done=done,
                        responses_planned=len(requests),
                        tokens=drawing.tokens,
                        elapsed_s=elapsed_s,
                    )
                )

        work = self._connection.start(self._draw_all(requests, drawing))
        try:
            for done in range(len(requests)):
                yield _wait_for(drawing, work, partial(tell, done))
                tell(done + 1)
        finally:
            work.cancel()

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return a vector of shape (hidden,) for each text; None for no text, and for all when none can be had."""
        said = [text for text in texts if text.strip()]
        if self._embedder is None or not said:
            return [None] * len(texts)
        try:
            vectors = dict(zip(said, self._embedder.embed(said), strict=True))
        except AttemptError as error:
            self._notes.append(Note("cosine_not_measured", {"model": self._embedder.label}, error.reason))
            return [None] * len(texts)
        return [vectors.get(text) for text in texts]

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        """Return what the server says that determines a response, for a store; None for one that says nothing.

        A server cannot prove its weights. What counts is the name, what the list says of it, the version, the
        fingerprint and the greedy answers to the probes; not the address, which may change, nor the time it started.
        Weights replaced under all of these are not noticed.
        """
        from pytest_jarvis import __version__

        del digest
        seen = self._seen
        if seen.version is None and seen.fingerprint is None:
            return None
        says = {model.arm: f"{_stated(model)} answers={seen.proven.answers[model.arm]}" for model in seen.models}
        return Identity(
            engine=f"server engine {__version__}",
            base=says[BASE_ARM],
            adapter=None if request.arm == BASE_ARM else says[request.arm],
            storage=_NOT_MEASURED,
            arithmetic=_NOT_MEASURED,
            template=self._settings.template,
            prompt=request.text,
            prompt_id=request.prompt_id,
            replicate=request.replicate,
            seed=self._settings.seed,
            settings={**key_settings(self._settings), "fields": " ".join(sorted(self._client.taken))},
            versions={"server": seen.version or "", "fingerprint": seen.fingerprint or ""},
        )

    def close(self) -> None:
        """Close the connections. Nothing may be asked of the engine afterwards."""
        self._connection.close()

    @property
    def _is_sampled(self) -> bool:
        return not self._settings.is_greedy

    async def _draw_all(self, requests: Sequence[Request], drawing: _Drawing) -> None:
        """Put an outcome for each request into the drawing: all arms together, or one after the other."""
        if self._seen.proven.mixes:
            await self._draw(requests, drawing)
            return
        for arm in self._names:
            await self._draw([request for request in requests if request.arm == arm], drawing)

    async def _draw(self, requests: Sequence[Request], drawing: _Drawing) -> None:
        """Put an outcome for each request into the drawing, with a bounded number under way."""
        waiting = iter(requests)

        async def work() -> None:
            for request in waiting:
                drawing.outcomes.put(await self._outcome(request, drawing))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._server.concurrency, len(requests))):
                group.create_task(work())

    async def _outcome(self, request: Request, drawing: _Drawing) -> Response | Failure:
        """Return what one request came to."""
        if drawing.is_gone:
            return _failure(request, "generate", Note("server_gone"))
        settings = self._settings
        asked = ServerRequest(
            model=self._names[request.arm],
            text=request.text,
            seed=request_seed(settings.seed, request.prompt_id, request.replicate),
            max_tokens=settings.max_new_tokens,
            temperature=settings.temperature if self._is_sampled else 0.0,
            top_p=settings.top_p if self._is_sampled else 1.0,
        )
        try:
            said = await self._client.stream(asked, timeout_s=settings.timeout_s, on_token=drawing.count_token)
        except AttemptError as error:
            drawing.lost_in_a_row = drawing.lost_in_a_row + 1 if error.lost else 0
            return _failure(request, error.stage, error.reason)
        drawing.lost_in_a_row = 0
        return self._read(request, said)

    def _read(self, request: Request, said: ServerAnswer) -> Response | Failure:
        """Return the response that an answer makes; one whose thinking never closed makes none."""
        reasoning = said.reasoning.strip()
        if reasoning and not said.text.strip():
            return _failure(request, "generate", Note("thinking_not_closed", {"tokens": said.new_tokens}))
        # A template may open the thinking in the prompt: then only its end stands in the answer.
        answer = split_answer(
            said.text,
            thinking_open=not reasoning and CLOSE in said.text,
            max_chars=self._settings.max_response_chars,
        )
        if answer.text is None:
            return _failure(request, "generate", Note("thinking_not_closed", {"tokens": said.new_tokens}))
        return Response(
            prompt_id=request.prompt_id,
            arm=request.arm,
            replicate=request.replicate,
            text=answer.text,
            thinking=reasoning or answer.thinking,
            finish_reason=said.finish_reason,
            prompt_tokens=said.prompt_tokens,
            new_tokens=said.new_tokens,
            duration_s=said.duration_s,
            first_token_s=said.first_token_s,
            cut_chars=answer.cut_chars,
        )

    def _stated_notes(self) -> Iterator[Note]:
        """Yield what a reader of the report should know."""
        yield Note("server_unmeasured")
        if self._seen.proven.mixing_fault is not None:
            yield Note("separate_passes", cause=self._seen.proven.mixing_fault)
        yield from self._notes_on_seeds()
        if "samplers" not in self._client.taken:
            yield Note("no_samplers")
        if "thinking" not in self._client.taken and self._settings.template == "chat":
            yield Note("no_thinking_switch")
        if not self._seen.counted:
            yield Note("no_token_count")
        if self._embedder is None:
            yield Note("no_embedding_model")
        for seen in self._seen.proven.proofs:
            if not seen.live:
                yield Note("adapter_inert", {"name": seen.name})

    def _notes_on_seeds(self) -> Iterator[Note]:
        """Yield what a reader should know of how texts are drawn."""
        if self._seen.repeats == "never":
            yield Note("seeds_ignored")
        if self._seen.repeats == "alone":
            yield Note("seeds_hold_alone")
        if self._is_sampled and self._seen.repeats is None:
            yield Note("seeds_unseen")


def _wait_for(drawing: _Drawing, work: Future[None], tell: Callable[[], None]) -> Response | Failure:
    """Return the next outcome; tell how far things are while there is none."""
    while True:
        try:
            # With a limit: on Windows a wait without one does not hear Ctrl-C.
            return drawing.outcomes.get(timeout=_PROGRESS_EVERY_S)
        except queue.Empty:
            if work.done():
                work.result()
            tell()


def _stated(model: ServedModel) -> str:
    """Return a model's name and what the server's list says of it."""
    return " ".join([model.name, *(f"{name}={value}" for name, value in sorted(model.facts.items()))])


def _failure(request: Request, stage: Stage, reason: Note) -> Failure:
    return Failure(
        prompt_id=request.prompt_id, arm=request.arm, replicate=request.replicate, stage=stage, reason=reason
    )
