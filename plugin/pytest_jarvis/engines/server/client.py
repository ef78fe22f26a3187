"""Requests in the dialect of the server, and its answers as values: fields, streams, retries."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Literal, TypeVar

from pytest_jarvis.engines.server.connection import CUT, AttemptError, Connection, client_errors, time_limit
from pytest_jarvis.types import FinishReason, GenerationSettings, Note

T = TypeVar("T")

FIRST_WAIT_S = 0.5
"""Before the first retry; doubled each time, with jitter, unless the server states a delay."""
LONGEST_WAIT_S: Final = 30.0
TOP: Final = 5
"""Log-probabilities at each place; the most that all servers give."""
_SEEDS: Final = 2**31 - 1
_FINISH: Final[Mapping[str, FinishReason]] = {"stop": "stop", "length": "length"}
Field = Literal["samplers", "thinking", "usage"]
FIELDS: Final[tuple[Field, ...]] = ("samplers", "thinking", "usage")

OnToken = Callable[[], None]


def request_seed(seed: int, prompt_id: str, replicate: int) -> int:
    """Return the seed of one response, from 1 to 2**31 - 1 as every server takes it; the same for all arms.

    0 and -1 are left out: some servers read them as "any".
    """
    name = f"{seed}\x1f{prompt_id}\x1f{replicate}".encode()
    return int.from_bytes(blake2b(name, digest_size=8, person=b"jarvis-server").digest(), "little") % _SEEDS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """The arguments of one request."""

    model: str
    text: str
    seed: int
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    is_probe: bool = False
    """Sent without the system prompt: a server that mixes up arms caches prefixes, and the run's own must not be among
    them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """A server's answer to one request."""

    text: str
    reasoning: str
    finish_reason: FinishReason
    prompt_tokens: int | None
    new_tokens: int
    counted: bool
    """Whether the server counted the tokens; else they are the chunks of its stream."""
    duration_s: float
    first_token_s: float | None
    fingerprint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """A greedy answer to a probe, with the log-probabilities of the likeliest tokens at each place."""

    text: str
    places: tuple[Mapping[str, float], ...]
    """Empty where the server gives none."""


class ServerClient:
    """Send requests with the fields that this server accepts."""

    def __init__(self, connection: Connection, settings: GenerationSettings, *, retries: int) -> None:
        self._connection = connection
        self._settings = settings
        self._retries = retries
        self.accepted: frozenset[Field] = frozenset(FIELDS)
        """The fields beyond the common core that are sent."""

    async def stream(
        self, request: ServerRequest, *, timeout_s: float | None = None, on_token: OnToken | None = None
    ) -> ServerAnswer:
        """Return the streamed answer. Raises AttemptError after the last try.

        `timeout_s` bounds each try; `on_token` is called for each piece of text.
        """
        return await self._retry(partial(self._stream, request, timeout_s, on_token))

    async def rehearse(self, request: ServerRequest) -> ServerAnswer:
        """Return the answer to a preflight request, each try bounded. Raises AttemptError."""
        return await self._retry(partial(self._stream, request, None, None), limit_s=self._connection.preflight_s)

    async def probe(self, request: ServerRequest) -> ProbeAnswer:
        """Return the whole answer, with log-probabilities where the server gives them. Raises AttemptError.

        Each try is bounded as in `rehearse`.
        """
        return await self._retry(partial(self._probe, request), limit_s=self._connection.preflight_s)

    async def try_fields(self, request: ServerRequest, fields: frozenset[Field]) -> ServerAnswer:
        """Return the answer to a request with these fields; a refusal raises AttemptError with its status."""
        client = ServerClient(self._connection, self._settings, retries=self._retries)
        client.accepted = fields
        return await client.rehearse(request)

    async def _retry(self, attempt: Callable[[], Awaitable[T]], *, limit_s: float | None = None) -> T:
        """Retry after errors that may pass, with exponential backoff or as the server asks."""
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
        from tenacity.wait import wait_random_exponential

        growing = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            asked = error.retry_after_s if isinstance(error, AttemptError) else None
            return float(growing(state)) if asked is None else asked

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._retries + 1),
            wait=wait,
            retry=retry_if_exception(lambda error: isinstance(error, AttemptError) and error.passing),
            reraise=True,
        )

        async def call() -> T:
            if limit_s is None:
                return await attempt()
            async with time_limit(limit_s):
                return await attempt()

        try:
            return await retrying(call)
        except AttemptError as error:
            tries = retrying.statistics.get("attempt_number", 1)
            if tries > 1:
                error.reason = Note("after_tries", {"tries": tries}, error.reason)
            raise

    async def _stream(self, request: ServerRequest, timeout_s: float | None, on_token: OnToken | None) -> ServerAnswer:
        """Return one try's answer; raise AttemptError for every error."""
        reader = _StreamReader(on_token)
        usage = {"stream_options": {"include_usage": True}} if "usage" in self.accepted else {}
        try:
            async with asyncio.timeout(timeout_s):
                async with await self._create(request, stream=True, **usage) as stream:
                    async for chunk in stream:
                        reader.take(chunk)
        except TimeoutError:
            raise _timeout_error(reader.pieces, timeout_s or 0.0) from None
        except client_errors() as error:
            raise self._connection.read_error(error) from error
        return reader.finish()

    async def _probe(self, request: ServerRequest) -> ProbeAnswer:
        import openai

        raw = self._settings.template == "raw"
        fields: dict[str, Any] = {"logprobs": TOP} if raw else {"logprobs": True, "top_logprobs": TOP}
        try:
            try:
                answer = await self._create(request, **fields)
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                answer = await self._create(request)
            choice = answer.choices[0]
            text = choice.text if raw else choice.message.content or ""
            if not isinstance(text, str):
                raise TypeError
            return ProbeAnswer(
                text=text + _reasoning_of(getattr(choice, "message", None)), places=_places(choice.logprobs)
            )
        except client_errors() as error:
            raise self._connection.read_error(error) from error

    async def _create(self, request: ServerRequest, **fields: Any) -> Any:
        client, settings = self._connection.client, self._settings
        body: dict[str, Any] = {
            "model": request.model,
            "seed": request.seed,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "extra_body": self._extra_fields(),
            **fields,
        }
        if settings.template == "raw":
            return await client.completions.create(prompt=request.text, **body)
        messages = [{"role": "user", "content": request.text}]
        if settings.system_prompt is not None and not request.is_probe:
            messages.insert(0, {"role": "system", "content": settings.system_prompt})
        return await client.chat.completions.create(messages=messages, **body)  # type: ignore[arg-type]  # plain dicts

    def _extra_fields(self) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        if "samplers" in self.accepted:
            # The defaults of a server are the model's own generation settings, and Qwen3's have a top-k.
            extra.update(top_k=-1, min_p=0.0, repetition_penalty=1.0)
        if "thinking" in self.accepted and self._settings.template == "chat":
            extra["chat_template_kwargs"] = {"enable_thinking": self._settings.thinking}
        return extra


class _StreamReader:
    """Collect the chunks of a stream."""

    def __init__(self, on_token: OnToken | None) -> None:
        self._started = time.perf_counter()
        self._on_token = on_token
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._finish: str | None = None
        self._usage: Any = None
        self._fingerprint: str | None = None
        self._first_s: float | None = None
        self._last_s = 0.0
        self.pieces = 0

    def take(self, chunk: Any) -> None:
        """Add a chunk; one of unexpected shape raises one of `client_errors()`."""
        self._usage = getattr(chunk, "usage", None) or self._usage
        self._fingerprint = getattr(chunk, "system_fingerprint", None) or self._fingerprint
        for choice in chunk.choices:
            delta = getattr(choice, "delta", None)
            text = choice.text if delta is None else delta.content
            reasoning = _reasoning_of(delta)
            if text or reasoning:
                self._last_s = time.perf_counter() - self._started
                self._first_s = self._last_s if self._first_s is None else self._first_s
                self._text.append(text or "")
                self._reasoning.append(reasoning)
                self.pieces += 1
                if self._on_token is not None:
                    self._on_token()
            self._finish = choice.finish_reason or self._finish

    def finish(self) -> ServerAnswer:
        """Return the whole answer; raise AttemptError for a stream that ended early."""
        if self._finish is None:
            raise AttemptError(CUT, passing=True, lost=self.pieces == 0)
        if self._finish not in _FINISH:
            raise AttemptError(Note("server_ended", {"said": self._finish}))
        counted = self._usage is not None
        return ServerAnswer(
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            finish_reason=_FINISH[self._finish],
            prompt_tokens=int(self._usage.prompt_tokens) if counted else None,
            new_tokens=int(self._usage.completion_tokens) if counted else self.pieces,
            counted=counted,
            duration_s=self._last_s if self.pieces else time.perf_counter() - self._started,
            first_token_s=self._first_s,
            fingerprint=self._fingerprint,
        )


def _timeout_error(pieces: int, timeout_s: float) -> AttemptError:
    """Return the error of a try that took too long; one that had begun to answer would take as long again."""
    if pieces:
        return AttemptError(Note("cut_in_time", {"seconds": timeout_s, "tokens": pieces}), stage="timeout")
    return AttemptError(Note("no_token_in_time", {"seconds": timeout_s}), stage="timeout", passing=True, lost=True)


def _reasoning_of(message: Any) -> str:
    """Return the thinking that a server sends separately, under either of the names in use."""
    found = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    return found if isinstance(found, str) else ""


def _places(logprobs: Any) -> tuple[Mapping[str, float], ...]:
    """Return the log-probabilities of the likeliest tokens at each place, by token."""
    if logprobs is None:
        return ()
    if (content := getattr(logprobs, "content", None)) is not None:
        tables = [{top.token: top.logprob for top in place.top_logprobs} for place in content]
    else:
        tables = [dict(place) for place in getattr(logprobs, "top_logprobs", None) or ()]
    return tuple({token: value for token, value in table.items() if math.isfinite(value)} for table in tables)
