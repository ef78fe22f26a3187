"""The server engine: responses of every arm from one server, with many requests in flight."""

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
from typing import Final

from pytest_jarvis.engines.base import CLOSE, Digest, OnProgress, Vector, key_settings, split_answer
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
    NoteCode,
    Progress,
    QuantizationCoverage,
    Request,
    Response,
    ServedModel,
    ServerFacts,
    Storage,
)

_NOT_MEASURED: Final = "not measured (server)"
_UNDER_REASONING: Final = Note("answer_under_reasoning")
_PROGRESS_EVERY_S: Final = 0.1
_SEED: Final[dict[str | None, NoteCode]] = {"never": "seeds_ignored", "alone": "seeds_hold_alone", None: "seeds_unseen"}
_LEAST_LOST: Final = 8  # Consecutive requests lost, retries included, after which a server counts as gone.


@dataclass(slots=True)
class _Generation:
    """State of one call of `generate`: outcomes, tokens, and whether the server still answers."""

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
    """Generate with a server that has all arms under names of their own; EngineError for one that cannot be used."""

    def __init__(self, spec: ModelSpec, settings: GenerationSettings) -> None:
        """Raise ValueError without `spec.base_url`, the server's address."""
        if spec.base_url is None:
            raise ValueError("the server engine needs spec.base_url")
        self._spec = spec
        self._settings = settings
        self._is_sampled = not settings.is_greedy
        self._names = {BASE_ARM: spec.base_model_id, **{adapter.name: adapter.source for adapter in spec.adapters}}
        self._connection = Connection(spec.base_url, spec.embedding_url)
        self._client = ServerClient(self._connection, settings, retries=spec.retries)
        self._notes: list[Note] = []
        try:
            self._preflight = self._connection.run(
                inspect(self._connection, self._client, spec, sampled=self._is_sampled)
            )
            self._refuse_shared_server()
            self._embedder = choose_embedder(spec, self._connection)
        except BaseException:
            self._connection.close()
            raise

    def _refuse_shared_server(self) -> None:
        """Raise EngineError when arms must run separately but several pytest-xdist workers share the server."""
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        if workers > 1 and not self._preflight.probes.mixes:
            raise EngineError(
                f"{self._connection.base_url}: {self._preflight.probes.mixing_fault}: the arms must run one after the "
                f"other, which {workers} workers do not; run without -n"
            )

    def describe(self) -> EngineDescription:
        """Return what the server states and what was observed; what a server cannot show is None."""
        found = self._preflight
        return EngineDescription(
            engine="server",
            base_model=self._spec.base_model_id,
            display_name=self._spec.base_model_id,
            is_demo=False,
            is_real=True,
            device="server",
            compute_dtype="server",
            coverage=QuantizationCoverage(storage=Storage(format="server"), share_4bit=None),
            adapters=found.probes.proofs,
            batching="server" if found.probes.mixes else "two passes",
            versions={"openai": version("openai")},
            notes=(*self._list_notes(), *self._notes),
            server=ServerFacts(
                base_url=self._connection.base_url,
                version=found.version,
                models=found.models,
                system_fingerprint=found.fingerprint,
                repeats=found.repeats,
            ),
            embedding=None if self._embedder is None else self._embedder.label,
        )

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield an outcome per request, as completed, `concurrency` at a time; ValueError for an arm not served."""
        unknown = {request.arm for request in requests} - set(self._names)
        if unknown:
            raise ValueError(f"unknown arm {min(unknown)!r}; served: {', '.join(self._names)}")
        generation = _Generation(gone_after=max(_LEAST_LOST, self._spec.concurrency))
        started = time.perf_counter()

        def report(done: int) -> None:
            if on_progress is not None:
                elapsed_s, planned = time.perf_counter() - started, len(requests)
                on_progress(
                    Progress(
                        responses_done=done, responses_planned=planned, tokens=generation.tokens, elapsed_s=elapsed_s
                    )
                )

        work = self._connection.start(self._generate_all(requests, generation))
        try:
            for done in range(len(requests)):
                yield _wait_for(generation, work, partial(report, done))
                report(done + 1)
        finally:
            work.cancel()

    def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return a vector of shape (hidden,) for each text; None for an empty text, and for all without an embedder."""
        answer = [text for text in texts if text.strip()]
        if self._embedder is None or not answer:
            return [None] * len(texts)
        try:
            vectors = dict(zip(answer, self._embedder.embed(answer), strict=True))
        except AttemptError as error:
            self._notes.append(Note("cosine_not_measured", {"model": self._embedder.label}, error.reason))
            return [None] * len(texts)
        return [vectors.get(text) for text in texts]

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        """Return everything the server states that determines a response; None when it states nothing.

        A server cannot prove its weights. The key holds the name, its entry in the list, the version, the fingerprint
        and the greedy answers to the probes; not the address or start time, which may change. Weights replaced under
        all of these go unnoticed.
        """
        from pytest_jarvis import __version__

        del digest
        found = self._preflight
        if found.version is None and found.fingerprint is None:
            return None
        says = {
            model.arm: f"{_describe_model(model)} answers={found.probes.answers[model.arm]}" for model in found.models
        }
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
            settings={**key_settings(self._settings), "fields": " ".join(sorted(self._client.accepted))},
            versions={"server": found.version or "", "fingerprint": found.fingerprint or ""},
        )

    def close(self) -> None:
        """Close the connections. The engine must not be used afterwards."""
        self._connection.close()

    async def _generate_all(self, requests: Sequence[Request], generation: _Generation) -> None:
        if self._preflight.probes.mixes:
            await self._generate_bounded(requests, generation)
            return
        for arm in self._names:
            await self._generate_bounded([request for request in requests if request.arm == arm], generation)

    async def _generate_bounded(self, requests: Sequence[Request], generation: _Generation) -> None:
        waiting = iter(requests)

        async def work() -> None:
            for request in waiting:
                generation.outcomes.put(await self._outcome(request, generation))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._spec.concurrency, len(requests))):
                group.create_task(work())

    async def _outcome(self, request: Request, generation: _Generation) -> Response | Failure:
        if generation.is_gone:
            return request.failure("generate", Note("server_gone"))
        settings = self._settings
        query = ServerRequest(
            model=self._names[request.arm],
            text=request.text,
            seed=request_seed(settings.seed, request.prompt_id, request.replicate),
            max_tokens=settings.max_new_tokens,
            temperature=settings.temperature if self._is_sampled else 0.0,
            top_p=settings.top_p if self._is_sampled else 1.0,
        )
        try:
            answer = await self._client.stream(query, timeout_s=settings.timeout_s, on_token=generation.count_token)
        except AttemptError as error:
            generation.lost_in_a_row = generation.lost_in_a_row + 1 if error.lost else 0
            return request.failure(error.stage, error.reason)
        generation.lost_in_a_row = 0
        return self._read(request, answer)

    def _read(self, request: Request, answer: ServerAnswer) -> Response | Failure:
        """Return the response of an answer; a Failure when its thinking never closed."""
        text, reasoning = answer.text, answer.reasoning.strip()
        if reasoning and not text.strip() and answer.finish_reason == "stop" and not self._settings.thinking:
            # The server's parser looks for the end of a thought that was never begun.
            text, reasoning = reasoning, ""
            if _UNDER_REASONING not in self._notes:
                self._notes.append(_UNDER_REASONING)
        # A template may open the thinking in the prompt: then the answer has only its end.
        thinking_open = not reasoning and CLOSE in text
        parts = split_answer(text, thinking_open=thinking_open, max_chars=self._settings.max_response_chars)
        if parts.text is None or (reasoning and not text.strip()):
            return request.failure("generate", Note("thinking_not_closed", {"tokens": answer.new_tokens}))
        return Response(
            prompt_id=request.prompt_id,
            arm=request.arm,
            replicate=request.replicate,
            text=parts.text,
            thinking=reasoning or parts.thinking,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            new_tokens=answer.new_tokens,
            duration_s=answer.duration_s,
            first_token_s=answer.first_token_s,
            cut_chars=parts.cut_chars,
        )

    def _list_notes(self) -> Iterator[Note]:
        yield Note("server_unmeasured")
        if self._preflight.probes.mixing_fault is not None:
            yield Note("separate_passes", cause=self._preflight.probes.mixing_fault)
        if self._is_sampled and (seeds := _SEED.get(self._preflight.repeats)):
            yield Note(seeds)
        if "samplers" not in self._client.accepted:
            yield Note("no_samplers")
        if "thinking" not in self._client.accepted and self._settings.template == "chat":
            yield Note("no_thinking_switch")
        if not self._preflight.counted:
            yield Note("no_token_count")
        if self._embedder is None:
            yield Note("no_embedding_model")
        for seen in self._preflight.probes.proofs:
            if not seen.live:
                yield Note("adapter_inert", {"name": seen.name})


def _wait_for(generation: _Generation, work: Future[None], report: Callable[[], None]) -> Response | Failure:
    while True:
        try:
            # On Windows, Ctrl-C does not interrupt a wait without a timeout.
            return generation.outcomes.get(timeout=_PROGRESS_EVERY_S)
        except queue.Empty:
            if work.done():
                work.result()
            report()


def _describe_model(model: ServedModel) -> str:
    return " ".join([model.name, *(f"{name}={value}" for name, value in sorted(model.facts.items()))])
