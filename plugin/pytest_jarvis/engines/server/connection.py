"""The connection to a server: one client on an event loop of its own, keys, proxies, and one reader of all answers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from time import time
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pytest_jarvis.files import well_formed
from pytest_jarvis.types import EngineError, Note, Stage

if TYPE_CHECKING:
    import httpx2
    import openai
    from httpx2 import Request
    from httpx2 import Response as HttpResponse
    from openai import AsyncOpenAI


T = TypeVar("T")

KEY_VARIABLES: Final = ("JARVIS_API_KEY", "OPENAI_API_KEY")
"""Variables with the key, by priority; no file of ours ever holds it."""
EMBEDDING_KEY_VARIABLE: Final = "JARVIS_EMBEDDING_API_KEY"
"""The key for an embeddings server of another origin, which never gets the other key."""
CONNECT_S: Final = 10.0
SILENCE_S: Final = 600.0  # Longest wait for the next byte of a scored answer, unless `--jarvis-timeout` is shorter.
PREFLIGHT_S = 120.0
"""Longest time for one try of a preflight request: short answers, but a model may have to load first."""
LONGEST_RETRY_AFTER_S: Final = 120.0
_NO_KEY: Final = "no-key"  # Placeholder for the client, which requires a key; no server ever sees it.
_CLOSING_S: Final = 5.0  # Longest wait for cancelled tasks when a connection is closed.
ADVICE_ON_SILENCE: Final = "see in its log whether it still loads a model or is busy, and start again when it answers"
CUT: Final = Note("connection_cut")
BROKEN: Final = Note("server_broke_api")
LARGEST_ANSWER: Final = 2**24  # Bytes of an answer; vectors for 64 texts have half of them at most.
DONE: Final = "[DONE]"
"""The mark at the end of a stream."""
_SHORTEST_SECRET: Final = 6
"""Characters; a shorter key is a placeholder (`none`), and striking it out would change responses."""
_SAYING: Final = ("message", "msg", "detail", "error", "errors")  # Keys under which servers say what went wrong.
_FIELD: Final = re.compile(r"(data|event|id|retry|)(?:: ?(.*))?")
"""A line of an event stream; one without a name is a comment, an empty one ends an event."""
_DRAIN_S: Final = 0.2
_DEPTH: Final = 8  # Levels of an object that are looked into.
_LONGEST_DETAIL: Final = 200
_PASSING_STATUS: Final = frozenset({408, 409, 425, 429})


@dataclass(eq=False, kw_only=True)
class AttemptError(Exception):
    """A request without an answer: stage, reason, and whether and when to retry."""

    reason: Note = field(kw_only=False)
    stage: Stage = "generate"
    passing: bool = False
    """Whether a retry may help."""
    lost: bool = False
    """Whether nothing came back at all, as from a server that is down."""
    retry_after_s: float | None = None
    status: int | None = None

    def __str__(self) -> str:
        return str(self.reason)

    @property
    def may_be_refusal(self) -> bool:
        """Whether a field of the request may be why: servers answer an unknown one with any status, or hang up."""
        return self.stage != "timeout" and self.status not in {401, 403, 429}

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

    def __init__(self, base_url: str, embedding_url: str | None = None) -> None:
        """Raise EngineError for a key or a proxy that cannot be used; no request is sent."""
        from openai import AsyncOpenAI

        self._key = _read_key(*KEY_VARIABLES)
        self._embedding_key = _read_key(EMBEDDING_KEY_VARIABLE)
        self.base_url = base_url
        self.preflight_s = PREFLIGHT_S
        http_client = _make_http_client([base_url, embedding_url or base_url])
        # We retry ourselves, so that the time of a try is not the sum of several.
        self.client: AsyncOpenAI = AsyncOpenAI(
            api_key=self._key.value or _NO_KEY, base_url=base_url, max_retries=0, http_client=http_client
        )
        # They would be taken from variables that are meant for another server.
        self.client.organization = self.client.project = None
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
        await _wait_for_other_tasks()
        await self.client.close()
        await self._loop.shutdown_asyncgens()
        await _wait_for_other_tasks()

    async def ask(
        self,
        take: Callable[[object], None],
        path: str,
        body: dict[str, Any] | None = None,
        *,
        client: AsyncOpenAI | None = None,
    ) -> None:
        """Send a request, a POST with a `body`, and hand each JSON document of its answer to `take`.

        They are the events of a stream, `DONE` the last where it comes, or a whole body, whichever was asked for.
        Before a whole body, which cannot end early, `DONE` comes first. Raises AttemptError for every fault, an error
        object among the documents included.
        """
        import httpx2
        import openai

        kind: Any = {"cast_to": httpx2.Response, "stream": True, "stream_cls": openai.AsyncStream[object]}
        client = client or self.client
        try:
            answer: Any = await (client.get(path, **kind) if body is None else client.post(path, body=body, **kind))
            async with aclosing(answer):
                async for document in _documents(answer):
                    self._refuse_error(document)
                    take(document)
        except (AttemptError, openai.OpenAIError, httpx2.HTTPError, ValueError, TypeError, AttributeError) as error:
            raise self.read_error(error) from error

    async def ask_whole(self, path: str, body: dict[str, Any] | None = None, **asked: Any) -> Any:
        """Return the first JSON document of an answer, as `ask` does."""
        found: list[object] = []
        await self.ask(found.append, path, body, **asked)
        document = next((document for document in found if document != DONE), None)
        if document is None:
            raise AttemptError(BROKEN, passing=True)
        return document

    def _refuse_error(self, document: object) -> None:
        """Raise AttemptError for an error object, under a key of its own or bare, or a bare sentence."""
        fault: Any = document if isinstance(document, str) and document != DONE else None
        if isinstance(document, dict):
            is_bare = not any(map(document.get, ("choices", "data", "usage"))) and _said_in(document)
            fault = document.get("error") or document.get("errors") or (document if is_bare else None)
        if any(fault.values()) if isinstance(fault, dict) else fault:
            codes = [fault.get("code"), fault.get("status")] if isinstance(fault, dict) else []
            status = next((int(code) for code in map(str, codes) if re.fullmatch(r"[45]\d\d", code)), None)
            passing = status is None or _may_pass(status)
            raise AttemptError(Note("server_error", {"said": self._brief(fault)}), passing=passing, status=status)

    def clean(self, text: str) -> str:
        """Return a text of a server as it may be kept: well formed, and without a key that it echoes."""
        for key in (self._key.value, self._embedding_key.value):
            text = text.replace(key, "<key>") if len(key) >= _SHORTEST_SECRET else text
        return well_formed(text)

    def read_error(self, error: Exception) -> AttemptError:
        """Return an exception of the client, of its transport or of a document's shape as an AttemptError."""
        import httpx2
        import openai

        if isinstance(error, AttemptError):
            return error
        if isinstance(error, openai.APIStatusError):
            return self._read_status(error)
        if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
            # A server that accepted the request and was silent this long would be silent again.
            passing = isinstance(error.__cause__, httpx2.ConnectTimeout)
            return AttemptError(Note("server_too_slow"), stage="timeout", passing=passing, lost=True)
        if isinstance(error, openai.APIConnectionError | httpx2.HTTPError):
            reason = Note("server_unreachable") if isinstance(error, openai.APIConnectionError) else CUT
            return AttemptError(reason, passing=True, lost=True)
        return AttemptError(BROKEN, passing=True)

    def _read_status(self, error: openai.APIStatusError) -> AttemptError:
        status = error.status_code
        wait_s = retry_after_s(error.response.headers.get("retry-after"))
        too_long = wait_s is not None and wait_s > LONGEST_RETRY_AFTER_S
        return AttemptError(
            Note("server_status", {"status": status, "said": self._brief(error.body)}),
            passing=_may_pass(status) and not too_long,
            retry_after_s=wait_s,
            status=status,
        )

    def _brief(self, fault: object) -> str:
        said = _said_in(fault) or ""
        return " ".join(self.clean("" if said.startswith("<") else said).split())[:_LONGEST_DETAIL] or "no reason given"


def _read_key(*variables: str) -> _Key:
    """Return the key in the first of `variables` that has one; raise EngineError for one that no header can carry."""
    name, value = next(((name, value) for name in variables if (value := os.environ.get(name))), ("", ""))
    for char in value:
        if not "!" <= char <= "~":
            raise EngineError(
                f"{name}: the key holds the character U+{ord(char):04X}, which no key has; copy it again, without "
                "quotes, spaces and line breaks"
            )
    return _Key(value)


def _make_http_client(urls: list[str]) -> httpx2.AsyncClient:
    """Return a client that obeys NO_PROXY and asks loopback directly; EngineError for a proxy that cannot be used."""
    import httpx2
    from openai import DefaultAsyncHttpxClient

    direct = [urlsplit(url).hostname or "" for url in urls if proxy_variable(url) is None]
    try:
        return DefaultAsyncHttpxClient(
            timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S),
            event_hooks={"request": [_drop_placeholder_key], "response": [_refuse_other_host]},
            verify=httpx2.create_ssl_context(),  # with the certificates that the environment names
            trust_env=len(direct) < len(urls),
            mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in direct},
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        # It reads them all, whichever it would use.
        names = [name for kind in ("http", "https", "all") if (name := _variable_of(kind))]
        raise EngineError(
            f"{', '.join(names) or 'proxies'}: no such proxy can be used; give an address such as http://proxy:3128, "
            "for a SOCKS proxy install socksio, or unset it"
        ) from error


def proxy_variable(url: str) -> str | None:
    """Return the name of the variable with the proxy that `url` is asked by; None where it is asked directly."""
    scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    found = _variable_of(scheme) or _variable_of("all")
    return found or ("the system's settings" if {scheme, "all"} & getproxies().keys() else None)


def _variable_of(kind: str) -> str | None:
    return next((name for name in (f"{kind}_proxy", f"{kind}_proxy".upper()) if os.environ.get(name)), None)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        address = ip_address(host)
        return address.is_loopback or address.is_unspecified
    return host.rpartition(".")[2] == "localhost"


async def _refuse_other_host(response: HttpResponse) -> None:
    """Raise AttemptError for a redirect to another origin: the prompts would go to a server that nobody named."""
    if response.has_redirect_location:
        asked = response.request.url
        other = asked.join(response.headers["location"])
        upgrade = (asked.scheme, other.scheme, asked.host) == ("http", "https", other.host)
        if not (upgrade or is_same_origin(str(asked), str(other))):
            raise AttemptError(Note("server_redirects", {"where": f"{other.scheme}://{other.netloc.decode()}"}))


async def _drop_placeholder_key(request: Request) -> None:
    """Send no `Authorization` without a key, which some servers refuse; the client takes no default `Omit`."""
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


def _may_pass(status: int) -> bool:
    return status in _PASSING_STATUS or status >= 500


def _said_in(value: object, depth: int = _DEPTH) -> str | None:
    """Return the message in an error object, however deep it stands; None without one."""
    if isinstance(value, str):
        return value.strip() or None
    parts = [value.get(key) for key in _SAYING] if isinstance(value, dict) else value
    if not isinstance(parts, list) or depth == 0:
        return None
    return next((said for part in parts if (said := _said_in(part, depth - 1))), None)


async def _documents(answer: HttpResponse) -> AsyncIterator[object]:
    """Yield an answer's JSON documents, events on any number of lines; AttemptError for one cut, too long, or none."""
    is_stream: bool | None = None
    pending: list[str] = []
    lines = _lines(answer)
    async for line in lines:
        field = _FIELD.fullmatch(line)
        if line and is_stream is None:
            is_stream = field is not None
        if not is_stream:
            pending.append(line)
        elif not line or (field is not None and field[1] == "data"):
            pending += [field[2]] if field is not None and field[2] else []
            documents = _decode(pending) if len(pending) == 1 or not line else []
            if pending and not line and not documents:
                raise AttemptError(BROKEN, passing=True)
            pending = [] if documents else pending
            for document in documents:
                yield document
            if documents == [DONE]:
                await _drain(lines)
    for document in _rest(pending, is_stream=bool(is_stream)):
        yield document


def _rest(lines: list[str], *, is_stream: bool) -> list[object]:
    """Return what stands at the end of an answer: a whole body, or an event that nothing ended."""
    documents = _decode(lines)
    if any(lines) and not documents:
        is_page = "".join(lines).lstrip().startswith("<")
        reason = CUT if is_stream else Note("server_web_page") if is_page else BROKEN
        raise AttemptError(reason, passing=True)
    return documents if is_stream or not documents else [DONE, *documents]


async def _drain(lines: AsyncIterator[str]) -> None:
    """Read what comes behind the end of a stream, so that its connection can be used again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in lines:
                pass


def _decode(lines: list[str]) -> list[object]:
    """Return the JSON document, or the mark `DONE`, on these lines, in a list; an empty one where there is neither."""
    text = "\n".join(lines).strip()
    if text == DONE:
        return [DONE]
    with suppress(ValueError, RecursionError):
        return [json.loads(text)]
    return []


async def _lines(answer: HttpResponse) -> AsyncIterator[str]:
    """Yield the lines of an answer. `str.splitlines` would also divide at separators that JSON allows in a string."""
    size = 0
    parts: list[bytes] = []
    async for data in answer.aiter_bytes():
        size += len(data)
        if size > LARGEST_ANSWER:
            raise AttemptError(Note("answer_too_large", {"bytes": LARGEST_ANSWER}))
        *ends, rest = re.split(rb"\r\n|\n|\r", data)
        for end in ends:
            yield b"".join([*parts, end]).decode("utf-8-sig", errors="replace")
            parts = []
        parts.append(rest)
    yield b"".join(parts).decode("utf-8-sig", errors="replace")
