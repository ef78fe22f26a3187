"""The connection to a server: one client on an event loop of its own, the API key, and typed errors."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from pytest_jarvis.types import Note, Stage

if TYPE_CHECKING:
    import openai
    from httpx2 import Request
    from openai import AsyncOpenAI


T = TypeVar("T")

KEY_VARIABLES: Final = ("JARVIS_API_KEY", "OPENAI_API_KEY")
"""Variables with the key, by priority; no file of ours ever holds it."""
EMBEDDING_KEY_VARIABLE: Final = "JARVIS_EMBEDDING_API_KEY"
"""The key for an embeddings server of another origin, which never gets the other key."""
CONNECT_S: Final = 10.0
SILENCE_S: Final = 600.0
"""Longest wait for the next byte of a scored answer, unless `--jarvis-timeout` is shorter."""
PREFLIGHT_S = 120.0
"""Longest time for one try of a preflight request: short answers, but a model may have to load first."""
LONGEST_RETRY_AFTER_S: Final = 120.0
_NO_KEY: Final = "no-key"
"""Placeholder for the client, which requires a key; no server ever sees it."""
_CLOSING_S: Final = 5.0
"""Longest wait for cancelled tasks when a connection is closed."""
ADVICE_ON_SILENCE: Final = "see in its log whether it still loads a model or is busy, and start again when it answers"
CUT: Final = Note("connection_cut")
_LONGEST_DETAIL: Final = 200
_PASSING_STATUS: Final = frozenset({408, 409, 425, 429})


class AttemptError(Exception):
    """A request without an answer: stage, reason, and whether and when to retry."""

    def __init__(
        self,
        reason: Note,
        *,
        stage: Stage = "generate",
        passing: bool = False,
        lost: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
    ) -> None:
        """Take why; `passing`: a retry may help; `lost`: nothing came back at all, as from a server that is down."""
        super().__init__(str(reason))
        self.reason = reason
        self.stage = stage
        self.passing = passing
        self.lost = lost
        self.retry_after_s = retry_after_s
        self.status = status

    @property
    def is_silence(self) -> bool:
        """Whether the server accepted the request without answering: it is up, but loading or busy."""
        return self.stage == "timeout" and not self.passing


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that `repr` hides."""

    value: str

    def __repr__(self) -> str:
        return "<key>"


class Connection:
    """One client on the event loop of its own thread; `close` ends both."""

    def __init__(self, base_url: str) -> None:
        from httpx2 import Timeout
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        found = next((value for name in KEY_VARIABLES if (value := os.environ.get(name))), "")
        self._key = _Key(found)
        self._embedding_key = _Key(os.environ.get(EMBEDDING_KEY_VARIABLE, ""))
        self.base_url = base_url
        self.preflight_s = PREFLIGHT_S
        # We retry ourselves, so that the time of a try is not the sum of several.
        self.client: AsyncOpenAI = AsyncOpenAI(
            api_key=found or _NO_KEY,
            base_url=base_url,
            max_retries=0,
            timeout=Timeout(SILENCE_S, connect=CONNECT_S),
            http_client=DefaultAsyncHttpxClient(event_hooks={"request": [_drop_placeholder_key]}),
        )
        self._under_way: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        # A daemon thread lets a program exit that forgets to close its engine.
        self._thread = threading.Thread(target=self._loop.run_forever, name="jarvis-server", daemon=True)
        self._thread.start()

    @property
    def has_key(self) -> bool:
        """Whether the environment holds a key."""
        return bool(self._key.value)

    def client_for(self, url: str, *, retries: int) -> AsyncOpenAI:
        """Return a client for `url`; it gets the server's key only for the same origin."""
        key = self._key if is_same_origin(url, self.base_url) else self._embedding_key
        return self.client.with_options(base_url=url, max_retries=retries, api_key=key.value or _NO_KEY)

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop; return its future."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`; exceptions pass through, and an interrupted wait cancels it."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel running work, close the client and end the loop's thread. Idempotent."""
        if self._loop.is_closed():
            return
        for work in tuple(self._under_way):
            work.cancel()
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        """Close the client and every stream; leave no task on the loop."""
        await _wait_for_other_tasks()
        await self.client.close()
        await self._loop.shutdown_asyncgens()
        await _wait_for_other_tasks()

    def redact(self, text: str) -> str:
        """Return `text` without the key, in case a server echoes it."""
        for key in (self._key, self._embedding_key):
            text = text.replace(key.value, "<key>") if key.value else text
        return text

    def read_error(self, error: Exception) -> AttemptError:
        """Return an exception of the client, its transport or its parser as an AttemptError."""
        import httpx2
        import openai

        kinds: tuple[type[Exception], ...]
        stage: Stage
        if isinstance(error, AttemptError):
            return error
        if isinstance(error, openai.APIStatusError):
            return self._read_status(error)
        for kinds, reason, stage in (
            ((openai.APITimeoutError, httpx2.TimeoutException), Note("server_too_slow"), "timeout"),
            ((openai.APIConnectionError,), Note("server_unreachable"), "generate"),
            ((httpx2.HTTPError,), CUT, "generate"),
        ):
            if isinstance(error, kinds):
                # A server that accepted the request and was silent this long would be silent again.
                passing = stage != "timeout" or isinstance(error.__cause__, httpx2.ConnectTimeout)
                return AttemptError(reason, stage=stage, passing=passing, lost=True)
        if isinstance(error, openai.APIError):
            return AttemptError(Note("server_error", {"said": self._brief(error.message)}), passing=True)
        return AttemptError(Note("server_broke_api"), passing=True)

    def _read_status(self, error: openai.APIStatusError) -> AttemptError:
        status = error.status_code
        wait_s = retry_after_s(error.response.headers.get("retry-after"))
        too_long = wait_s is not None and wait_s > LONGEST_RETRY_AFTER_S
        return AttemptError(
            Note("server_status", {"status": status, "said": self._brief(_said_by(error))}),
            passing=(status in _PASSING_STATUS or status >= 500) and not too_long,
            retry_after_s=wait_s,
            status=status,
        )

    def _brief(self, text: str) -> str:
        return " ".join(self.redact(text).split())[:_LONGEST_DETAIL] or "no reason given"


async def _drop_placeholder_key(request: Request) -> None:
    """Send no `Authorization` header without a key: some servers refuse an unknown one.

    The client takes `Omit` only from each request; a hook forgets none.
    """
    if request.headers.get("Authorization") == f"Bearer {_NO_KEY}":
        del request.headers["Authorization"]


async def _wait_for_other_tasks() -> None:
    """Wait for the other tasks on the loop: cancelled ones, and those that close open streams."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING_S):
            # The loop schedules the closing of a dropped generator only in its next iteration.
            await asyncio.sleep(0)
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
                await asyncio.sleep(0)


@asynccontextmanager
async def time_limit(limit_s: float) -> AsyncIterator[None]:
    """Raise AttemptError, without retry, when the body takes longer than `limit_s` in all."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise AttemptError(Note("server_silent", {"seconds": limit_s}), stage="timeout", lost=True) from None


def client_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a request: of the client, of its transport, and of an answer's shape or syntax.

    The client does not validate answers, so a malformed one ends in an AttributeError or the like where it is read.
    """
    import httpx2
    import openai

    parse_errors = (ValueError, TypeError, AttributeError, KeyError, IndexError)
    return (AttemptError, openai.OpenAIError, httpx2.HTTPError, *parse_errors)


def is_same_origin(one: str, other: str) -> bool:
    """Return whether two addresses have one scheme, host and port (RFC 6454); the port defaults to the scheme's."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def retry_after_s(header: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds in a `Retry-After` header, a number or a date; None without a valid one."""
    if header is None:
        return None
    try:
        asked = float(header)
    except ValueError:
        try:
            asked = parsedate_to_datetime(header).timestamp() - (time() if now is None else now)
        except ValueError:
            return None
    return max(0.0, asked) if asked == asked else None  # noqa: PLR0124  # not a number is not itself


def _said_by(error: openai.APIStatusError) -> str:
    """Return the server's own message in an error answer, else the client's."""
    body = error.body
    if isinstance(body, dict):
        for name in ("message", "detail", "error"):
            if isinstance(said := body.get(name), str):
                return said
    return error.message
