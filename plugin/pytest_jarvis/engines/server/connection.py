"""The connection to a server: one client on an event loop of its own, the key, and what its errors come to."""

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

from pytest_jarvis.types import Note, ServerSpec, Stage

if TYPE_CHECKING:
    import openai
    from httpx2 import Request
    from openai import AsyncOpenAI


T = TypeVar("T")

KEY_VARIABLES: Final = ("JARVIS_API_KEY", "OPENAI_API_KEY")
"""Where a key is looked for, in this order; nowhere else, so that it stands in no file of ours."""
EMBEDDING_KEY_VARIABLE: Final = "JARVIS_EMBEDDING_API_KEY"
"""The key for a server of embeddings at another origin, which never gets the other one."""
CONNECT_S: Final = 10.0
SILENCE_S: Final = 600.0
"""The longest wait for the next byte of an answer that is scored, where no `--jarvis-timeout` is shorter."""
PREFLIGHT_S = 120.0
"""The longest time for one try of a request before anything is scored: short answers, behind the load of a model."""
LONGEST_RETRY_AFTER_S: Final = 120.0
_NO_KEY: Final = "no-key"
"""What the client is given where there is none, as it will have one; no server ever sees it."""
_CLOSING_S: Final = 5.0
"""The longest wait for what is cut off to end, when a connection is closed."""
ADVICE_ON_SILENCE: Final = "see in its log whether it still loads a model or is busy, and start again when it answers"
CUT: Final = Note("connection_cut")
_LONGEST_DETAIL: Final = 200
_PASSING_STATUS: Final = frozenset({408, 409, 425, 429})


class AttemptError(Exception):
    """A request that gave no answer: at which stage, why, whether trying again may help, and how soon."""

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
        """`lost`: nothing came back at all, as from a server that is gone."""
        super().__init__(str(reason))
        self.reason = reason
        self.stage = stage
        self.passing = passing
        self.lost = lost
        self.retry_after_s = retry_after_s
        self.status = status

    @property
    def is_silence(self) -> bool:
        """Whether the server took the request and did not answer it: it is there, and loads or is busy."""
        return self.stage == "timeout" and not self.passing


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that no `repr` shows."""

    value: str

    def __repr__(self) -> str:
        return "<key>"


class Connection:
    """One client on the event loop of a thread of its own; `close` ends both."""

    def __init__(self, spec: ServerSpec) -> None:
        from httpx2 import Timeout
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        found = next((value for name in KEY_VARIABLES if (value := os.environ.get(name))), "")
        self._key = _Key(found)
        self._embedding_key = _Key(os.environ.get(EMBEDDING_KEY_VARIABLE, ""))
        self.base_url = spec.base_url
        self.preflight_s = PREFLIGHT_S
        """The longest time, in seconds, for one try of a request before anything is scored."""
        # Tries are counted by us, so that a try's time is not the sum of several.
        self.client: AsyncOpenAI = AsyncOpenAI(
            api_key=found or _NO_KEY,
            base_url=spec.base_url,
            max_retries=0,
            timeout=Timeout(SILENCE_S, connect=CONNECT_S),
            http_client=DefaultAsyncHttpxClient(event_hooks={"request": [_drop_placeholder_key]}),
        )
        self._under_way: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        # A daemon: a program that forgets to close its engine must be able to end.
        self._thread = threading.Thread(target=self._loop.run_forever, name="jarvis-server", daemon=True)
        self._thread.start()

    @property
    def has_key(self) -> bool:
        """Whether the environment holds a key."""
        return bool(self._key.value)

    def client_for(self, url: str, *, retries: int) -> AsyncOpenAI:
        """Return a client for `url`; the server's key goes with it only to the origin that it is for."""
        key = self._key if is_same_origin(url, self.base_url) else self._embedding_key
        return self.client.with_options(base_url=url, max_retries=retries, api_key=key.value or _NO_KEY)

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin `work` on the loop; return its future."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` gives; what it raises passes through, and an interrupted wait cancels it."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cut off what is under way, close the client and end the loop's thread. Does nothing the second time."""
        if self._loop.is_closed():
            return
        for work in tuple(self._under_way):
            work.cancel()
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        """Close the client and every stream; nothing of theirs is left on the loop."""
        await _wait_for_other_tasks()
        await self.client.close()
        await self._loop.shutdown_asyncgens()
        await _wait_for_other_tasks()

    def redact(self, text: str) -> str:
        """Return `text` without a key, should a server have sent one back."""
        for key in (self._key, self._embedding_key):
            text = text.replace(key.value, "<key>") if key.value else text
        return text

    def read_error(self, error: Exception) -> AttemptError:
        """Return what an exception of the client, its transport or its parser comes to."""
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
                # A server that took the request and was silent this long would be so again.
                passing = stage != "timeout" or isinstance(error.__cause__, httpx2.ConnectTimeout)
                return AttemptError(reason, stage=stage, passing=passing, lost=True)
        if isinstance(error, openai.APIError):
            return AttemptError(Note("server_error", {"said": self._brief(error.message)}), passing=True)
        return AttemptError(Note("server_broke_api"), passing=True)

    def _read_status(self, error: openai.APIStatusError) -> AttemptError:
        """Return what an answer with an error status comes to."""
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
        """Return what a server said on one line, shortened, without the key."""
        return " ".join(self.redact(text).split())[:_LONGEST_DETAIL] or "no reason given"


async def _drop_placeholder_key(request: Request) -> None:
    """Send no `Authorization` at all where there is no key: some servers refuse one that they do not know.

    The client takes `Omit` only from each request; here none is forgotten.
    """
    if request.headers.get("Authorization") == f"Bearer {_NO_KEY}":
        del request.headers["Authorization"]


async def _wait_for_other_tasks() -> None:
    """Wait for the other tasks on the loop: those cut off, and those that close what a stream's reader left open."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING_S):
            # The loop makes a task of closing a generator that was dropped only in its next round.
            await asyncio.sleep(0)
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
                await asyncio.sleep(0)


@asynccontextmanager
async def time_limit(limit_s: float) -> AsyncIterator[None]:
    """Raise AttemptError, not to be tried again, when what is done inside takes longer than `limit_s` in all."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise AttemptError(Note("server_silent", {"seconds": limit_s}), stage="timeout", lost=True) from None


def client_errors() -> tuple[type[Exception], ...]:
    """Return what a request may end in: errors of the client, of its transport, and of an answer's shape or syntax.

    The client does not check that an answer holds what the API promises, so one that does not ends in an AttributeError
    or the like where it is read.
    """
    import httpx2
    import openai

    parse_errors = (ValueError, TypeError, AttributeError, KeyError, IndexError)
    return (AttemptError, openai.OpenAIError, httpx2.HTTPError, *parse_errors)


def is_same_origin(one: str, other: str) -> bool:
    """Return whether two addresses have one scheme, host and port (RFC 6454); a port left out is the scheme's."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def retry_after_s(header: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, a number or a date; None without or with another."""
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
    """Return the server's own sentence in an error answer, else the client's."""
    body = error.body
    if isinstance(body, dict):
        for name in ("message", "detail", "error"):
            if isinstance(said := body.get(name), str):
                return said
    return error.message
