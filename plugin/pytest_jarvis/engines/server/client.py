"""Requests in the dialect of the server, and its answers as values: fields, parts, retries."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from random import random
from typing import Any, Final, Literal, TypedDict

from pytest_jarvis.engines.server.connection import BROKEN, CUT, DONE, AttemptError, Connection, time_limit
from pytest_jarvis.types import FinishReason, GenerationSettings, Note

FIRST_WAIT_S = 0.5  # Before the first retry; doubled each time, with jitter, unless the server states a delay.
LONGEST_WAIT_S: Final = 30.0
TOP: Final = 5  # Log-probabilities at each place; the most that all servers give.
_SEEDS: Final = 2**31 - 1
_MOST_TOKENS: Final = 2**31
_FINISH: Final[Mapping[str, FinishReason]] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "model_length"), "length"),
}
_LONGEST_REASON: Final = 60
Field = Literal["samplers", "thinking", "usage"]
FIELDS: Final[tuple[Field, ...]] = ("samplers", "thinking", "usage")

OnToken = Callable[[], None]


def request_seed(seed: int, prompt_id: str, replicate: int) -> int:
    """Return a response's seed, the same for all arms: from 1 (some servers read 0 and -1 as "any") to 2**31 - 1."""
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
    them. Its answer is asked for as a whole, and may end for any reason."""
    with_logprobs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """A server's answer to one request."""

    text: str
    reasoning: str = ""
    places: tuple[Mapping[str, float], ...] = ()
    """The log-probabilities of the likeliest tokens at each place; empty where the server gives none."""
    finish_reason: FinishReason = "stop"
    prompt_tokens: int | None = None
    new_tokens: int = 0
    counted: bool = False
    """Whether the server counted the tokens; else they are the chunks of its stream."""
    duration_s: float = 0.0
    first_token_s: float | None = None
    """None for an answer that came as a whole."""
    fingerprint: str | None = None

    @property
    def said(self) -> str:
        """Everything that came, wherever the server filed it."""
        return self.text + self.reasoning


class LoraRequest(TypedDict):
    """The fields of a request to a llama-server with adapters."""

    model: str
    lora: list[dict[str, float]]


class ServerClient:
    """Send requests with the fields that this server accepts."""

    def __init__(self, connection: Connection, settings: GenerationSettings, *, retries: int) -> None:
        self._connection = connection
        self._settings = settings
        self._retries = retries
        self.accepted: frozenset[Field] = frozenset(FIELDS)
        """The fields beyond the common core that are sent."""
        self.loras: Mapping[str, LoraRequest] = {}
        """Model name -> how a llama-server is asked for it: its base's name, and the scale of each of its adapters."""
        self._gives_logprobs = True

    async def stream(
        self, request: ServerRequest, *, timeout_s: float | None = None, on_token: OnToken | None = None
    ) -> ServerAnswer:
        """Return the streamed answer, each try within `timeout_s`. Raises AttemptError after the last try."""
        return await self._retry(partial(self._ask, request, timeout_s, on_token))

    async def rehearse(self, request: ServerRequest) -> ServerAnswer:
        """Return the answer to a preflight request, each try bounded. Raises AttemptError."""

        async def attempt() -> ServerAnswer:
            async with time_limit(self._connection.preflight_s):
                return await self._ask(request)

        return await self._retry(attempt)

    async def probe(self, request: ServerRequest) -> ServerAnswer:
        """Return the whole answer, as `rehearse`, with log-probabilities where the server gives them."""
        if not self._gives_logprobs:
            return await self.rehearse(request)
        try:
            return await self.rehearse(replace(request, with_logprobs=True))
        except AttemptError as error:
            if not error.may_be_refusal:
                raise
        answer = await self.rehearse(request)
        self._gives_logprobs = False
        return answer

    async def try_fields(self, request: ServerRequest, fields: frozenset[Field]) -> ServerAnswer:
        """Return the answer to a request with these fields; a refusal raises AttemptError with its status."""
        client = ServerClient(self._connection, self._settings, retries=self._retries)
        client.accepted, client.loras = fields, self.loras
        return await client.rehearse(request)

    async def _retry(self, attempt: Callable[[], Awaitable[ServerAnswer]]) -> ServerAnswer:
        tries = 1
        while True:
            try:
                return await attempt()
            except AttemptError as error:
                if not error.passing or tries > self._retries:
                    error.reason = Note("after_tries", {"tries": tries}, error.reason) if tries > 1 else error.reason
                    raise
                growing_s = min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_WAIT_S)
                wait_s = random() * growing_s if error.retry_after_s is None else error.retry_after_s  # noqa: S311  # no key
            await asyncio.sleep(wait_s)
            tries += 1

    async def _ask(
        self, request: ServerRequest, timeout_s: float | None = None, on_token: OnToken | None = None
    ) -> ServerAnswer:
        reader = _AnswerReader(request, self._connection.clean, on_token)
        raw = self._settings.template == "raw"
        try:
            async with asyncio.timeout(timeout_s):
                path = "/completions" if raw else "/chat/completions"
                await self._connection.ask(reader.take, path, self._body(request, raw=raw))
        except TimeoutError:
            raise _timeout_error(reader.pieces, timeout_s or 0.0) from None
        return reader.finish()

    def _body(self, request: ServerRequest, *, raw: bool) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {
            **self.loras.get(request.model, {"model": request.model}),
            "seed": request.seed,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
        }
        if "samplers" in self.accepted:
            # The defaults of a server are the model's own generation settings, and Qwen3's have a top-k.
            body.update(top_k=-1, min_p=0.0, repetition_penalty=1.0)
        if "thinking" in self.accepted and not raw:
            body["chat_template_kwargs"] = {"enable_thinking": settings.thinking}
        if request.with_logprobs:
            body.update({"logprobs": TOP} if raw else {"logprobs": True, "top_logprobs": TOP})
        if not request.is_probe:
            body["stream"] = True
            if "usage" in self.accepted:
                body["stream_options"] = {"include_usage": True}
        if raw:
            return {"prompt": request.text, **body}
        messages = [{"role": "user", "content": request.text}]
        if settings.system_prompt is not None and not request.is_probe:
            messages.insert(0, {"role": "system", "content": settings.system_prompt})
        return {"messages": messages, **body}


class _AnswerReader:
    """Collect the documents of an answer: the chunks of a stream, or one whole document."""

    def __init__(self, request: ServerRequest, clean: Callable[[str], str], on_token: OnToken | None) -> None:
        self._request = request
        self._clean = clean
        self._started = time.perf_counter()
        self._on_token = on_token
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._places: list[Mapping[str, float]] = []
        self._finish: str | None = None
        self._is_done = False
        self._tokens: dict[str, int] = {}
        self._fingerprint: str | None = None
        self._first_s: float | None = None
        self._last_s = 0.0
        self.pieces = 0

    def take(self, document: Any) -> None:
        """Add a document; one of another shape raises TypeError or AttributeError. What is null adds nothing."""
        if document is None or document == DONE:
            self._is_done = self._is_done or document == DONE
            return
        counts = document.get("usage")
        for name, count in counts.items() if isinstance(counts, dict) else ():
            if type(count) is int and 0 <= count < _MOST_TOKENS:
                self._tokens[name] = count
        if isinstance(fingerprint := document.get("system_fingerprint"), str):
            self._fingerprint = self._clean(fingerprint) or None
        for choice in document.get("choices") or ():
            if choice is not None:
                self._take_choice(choice)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        # A last chunk may repeat the whole message.
        said = choice.get("delta") or (None if self.pieces else choice.get("message")) or {}
        text = _text_of(said.get("content")) or _text_of(choice.get("text"))
        reasoning = _text_of(said.get("reasoning_content")) or _text_of(said.get("reasoning"))
        if text or reasoning:
            self._last_s = time.perf_counter() - self._started
            if self._first_s is None and not self._is_done:
                self._first_s = self._last_s
            self._text.append(text)
            self._reasoning.append(reasoning)
            self.pieces += 1
            if self._on_token is not None:
                self._on_token()
        self._places += _places(choice.get("logprobs"))
        if finish := choice.get("finish_reason"):
            self._finish = str(finish)

    def finish(self) -> ServerAnswer:
        """Return the whole answer; raise AttemptError for one that ended early."""
        counted = "completion_tokens" in self._tokens
        new_tokens = self._tokens.get("completion_tokens", self.pieces)
        finish = self._finish
        if finish is None:
            if not self._is_done:
                raise AttemptError(CUT, passing=True, lost=self.pieces == 0)
            if not self.pieces:
                raise AttemptError(BROKEN, passing=True)
            finish = "length" if new_tokens >= self._request.max_tokens else "stop"
        if finish not in _FINISH and not self._request.is_probe:
            raise AttemptError(Note("server_ended", {"said": self._clean(finish)[:_LONGEST_REASON]}))
        return ServerAnswer(
            text=self._clean("".join(self._text)),
            reasoning=self._clean("".join(self._reasoning)),
            places=tuple(self._places),
            finish_reason=_FINISH.get(finish, "stop"),
            prompt_tokens=self._tokens.get("prompt_tokens"),
            new_tokens=new_tokens,
            counted=counted,
            duration_s=self._last_s if self.pieces else time.perf_counter() - self._started,
            first_token_s=self._first_s,
            fingerprint=self._fingerprint,
        )


def _timeout_error(pieces: int, timeout_s: float) -> AttemptError:
    if pieces:
        return AttemptError(Note("cut_in_time", {"seconds": timeout_s, "tokens": pieces}), stage="timeout")
    return AttemptError(Note("no_token_in_time", {"seconds": timeout_s}), stage="timeout", passing=True, lost=True)


def _text_of(content: object, depth: int = 4) -> str:
    """Return the text of a message's content: a string, or parts with one each; other parts have none."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content.get("text", content.get("content"))]
    if not isinstance(content, list | None) or depth == 0:
        raise TypeError
    return "".join(_text_of(part, depth - 1) for part in content or ())


def _places(logprobs: object) -> tuple[Mapping[str, float], ...]:
    """Return the log-probabilities of the likeliest tokens at each place, by token."""
    found = logprobs if isinstance(logprobs, dict) else {}
    tables = [table for table in found.get("top_logprobs") or () if isinstance(table, dict)]
    for place in found.get("content") or ():
        tops = place.get("top_logprobs") if isinstance(place, dict) else None
        tables.append({str(top.get("token")): top.get("logprob") for top in tops or () if isinstance(top, dict)})
    return tuple(
        {token: value for token, value in table.items() if isinstance(value, float | int) and math.isfinite(value)}
        for table in tables
    )
