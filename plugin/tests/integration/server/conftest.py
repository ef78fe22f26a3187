"""A small OpenAI-compatible server on loopback that misbehaves on command; the engine meets it over real sockets."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

import pytest

from pytest_jarvis.engines.server import client
from pytest_jarvis.engines.server.engine import ServerEngine
from pytest_jarvis.types import AdapterSpec, GenerationSettings, ModelSpec, Request

# As in the folder above: pytester forgets it after each session, and each one would import it again.
import_module("openai")

WORDS = [
    "ouvre",
    "ferme",
    "lance",
    "monte",
    "baisse",
    "le",
    "la",
    "son",
    "fenêtre",
    "musique",
    "application",
    "volume",
    "chrome",
    "dossier",
]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with an answer."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    said: str = "out of order"
    cut_after: int | None = None
    """Pieces after which the connection closes."""
    hang_after: int | None = None
    """Pieces after which nothing comes any more."""
    raw: bytes | None = None
    """Sent in place of the answer, as if it were one."""
    trickles: bool = False
    """Whether bytes come that never make an answer."""
    drops: bool = False
    """Whether the connection closes without an answer."""


@dataclass(kw_only=True)
class Server:
    """What the server is like; a test changes it before or while it is asked."""

    url: str = ""
    names: tuple[str, ...] = ("base", "lora")
    unlisted: frozenset[str] = frozenset()
    """Names that are served without being listed."""
    inert: frozenset[str] = frozenset()
    """Names that answer as the base does."""
    fault: Callable[[dict[str, Any], int], Fault | None] = lambda _body, _number: None
    """Called with a request and its number, from 0."""
    honours_seeds: bool = True
    refused: frozenset[str] = frozenset()
    """Fields that are answered with `refusal`."""
    refusal: Fault = field(default_factory=lambda: Fault(status=400))
    models: Fault | None = None
    """What the list of models is, in place of one of `names`."""
    has_logprobs: bool = True
    counts: bool = True
    fingerprint: str | None = "fp-1"
    key: str | None = None
    embeddings: object = None
    """The answer to every request for vectors, in place of the right one."""
    vectors: dict[str, int] = field(default_factory=dict)
    """Embedding models and the length of their vectors."""
    paths: dict[str, object] = field(default_factory=lambda: {"/version": {"version": "1.2.3"}})
    reply: Callable[[dict[str, Any]], tuple[str, str, str]] | None = None
    """(reasoning, text, finish reason) of a request, in place of the usual words."""
    slow_s: float = 0.0
    """How long an answer is under way at the least."""
    weights: str = ""
    """Another text stands for other weights of the adapters, under the names they had."""
    leaks: bool = False
    """Whether an adapter's request under way changes the base's answers."""
    trickles: frozenset[str] = frozenset()
    """Paths where bytes come that never make an answer; the requests for them are counted in `trickled`."""
    trickled: int = 0
    embedding_keys: list[str | None] = field(default_factory=list)
    """The authorization of each request for vectors."""
    headers: list[tuple[str, list[str]]] = field(default_factory=list)
    """The path of each request, and the names of its headers in lower case."""
    wanted_embedding_key: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of all requests, in the order they came."""
    under_way: list[str] = field(default_factory=list)
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    gone: threading.Event = field(default_factory=threading.Event)

    def words(self, body: dict[str, Any]) -> list[str]:
        """Return the answer's words: of the model, the text, and the seed where it draws at random."""
        model = "base" if body["model"] in self.inert else body["model"]
        if "/lora-adapters" in self.paths:
            # As a llama-server does: scales of a request, else those it was started with, which is all.
            scales = body.get("lora", [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 1.0}])
            model = "+".join(f"lora{one['id']}" for one in scales if one["scale"]) or "base"
        if self.leaks and any(name != "base" for name in self.under_way):
            model = "lora"
        model += self.weights if model != "base" else ""
        prompt = body.get("prompt") or body["messages"][-1]["content"]
        drawn = body["temperature"] > 0
        seed = body.get("seed") if self.honours_seeds else len(self.asked)
        name = f"{model}|{prompt}|{seed if drawn else ''}".encode()
        digest = hashlib.sha256(name).digest()
        return [WORDS[byte % len(WORDS)] for byte in digest[: 4 + digest[31] % 5]][: body["max_tokens"]]


class Handler(BaseHTTPRequestHandler):
    """Answers as `Server` says."""

    state: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def parse_request(self) -> bool:
        """Remember the names of the headers, as they came over the socket."""
        whole = super().parse_request()
        self.path = self.path.removeprefix("http://models.example")  # as a proxy is asked
        if whole:
            self.state.headers.append((self.path, [name.lower() for name in self.headers]))
        return whole

    def do_GET(self) -> None:
        if self.path in self.state.trickles:
            self._trickle()
        elif self.path == "/v1/models" and self.state.models is not None:
            self._fail({}, self.state.models)
        elif self.path == "/v1/models":
            if self.state.key and self.headers.get("Authorization") != f"Bearer {self.state.key}":
                self._send({"error": {"message": f"not a key: {self.headers.get('Authorization')}"}}, 401)
                return
            self._send({"object": "list", "data": [{"id": name, "owned_by": "test"} for name in self.state.names]})
        elif self.path in self.state.paths:
            self._send(self.state.paths[self.path])
        else:
            self._send({"detail": "Not Found"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state = self.state
        if self.path == "/v1/embeddings":
            if self.path in self.state.trickles:
                self._trickle()
                return
            self._embed(body)
            return
        with state.lock:
            number = len(state.asked)
            state.asked.append({**body, "path": self.path})
            state.under_way.append(body["model"])
            state.most_under_way = max(state.most_under_way, len(state.under_way))
        try:
            state.gone.wait(state.slow_s)
            self._answer(body, state.fault(body, number))
        finally:
            with state.lock:
                state.under_way.remove(body["model"])

    def _answer(self, body: dict[str, Any], fault: Fault | None) -> None:
        served = {name.removesuffix(":latest") for name in (*self.state.names, *self.state.unlisted)}
        if not self.path.startswith("/v1/"):
            self._send({"detail": "Not Found"}, 404)
        elif body["model"] not in served:
            self._send({"error": {"message": f"no model {body['model']}"}}, 404)
        elif refused := self.state.refused & body.keys():
            self._fail(body, replace(self.state.refusal, said=f"unknown fields: {sorted(refused)}"))
        else:
            self._fail(body, fault or Fault())

    def _fail(self, body: dict[str, Any], fault: Fault) -> None:
        if fault.status is not None:
            self._send({"error": {"message": fault.said}}, fault.status, fault.headers)
        elif fault.raw is not None:
            self._begin("text/event-stream" if body.get("stream") else "application/json")
            self.wfile.write(fault.raw)
        elif fault.trickles:
            self._trickle()
        elif fault.drops:
            self.close_connection = True
        elif body.get("stream"):
            self._stream(body, fault)
        else:
            self._whole(body)

    def _said(self, body: dict[str, Any]) -> tuple[str, list[str], str]:
        if self.state.reply is not None:
            reasoning, text, finish = self.state.reply(body)
            return reasoning, [text] if text else [], finish
        words = self.state.words(body)
        return "", [f" {word}" for word in words], "length" if len(words) == body["max_tokens"] else "stop"

    def _stream(self, body: dict[str, Any], fault: Fault) -> None:
        self._begin("text/event-stream")
        reasoning, pieces, finish = self._said(body)
        is_chat = self.path.endswith("/chat/completions")
        deltas = [{"reasoning_content": reasoning}] * bool(reasoning) + [{"content": piece} for piece in pieces]
        for place, delta in enumerate(deltas):
            if place == fault.cut_after:
                return
            if place == fault.hang_after:
                self.state.gone.wait(30)
                return
            self._event(
                [{"index": 0, "finish_reason": None, **({"delta": delta} if is_chat else {"text": delta["content"]})}]
            )
        ending = {"delta": {}} if is_chat else {"text": ""}
        self._event([{"index": 0, "finish_reason": finish, **ending}])
        if self.state.counts:
            self._event(
                [], usage={"prompt_tokens": 7, "completion_tokens": len(deltas), "total_tokens": 7 + len(deltas)}
            )
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choices: list[dict[str, Any]], **more: object) -> None:
        event = {"id": "x", "object": "chunk", "created": 0, "model": "m", "system_fingerprint": self.state.fingerprint}
        self.wfile.write(f"data: {json.dumps({**event, 'choices': choices, **more})}\n\n".encode())
        self.wfile.flush()

    def _whole(self, body: dict[str, Any]) -> None:
        reasoning, pieces, finish = self._said(body)
        is_chat = self.path.endswith("/chat/completions")
        tables = [{piece: -0.1, "x": -2.0 - len(piece) / 10} for piece in pieces]
        logprobs: object = None
        if self.state.has_logprobs and body.get("logprobs"):
            tops = [[{"token": token, "logprob": value} for token, value in table.items()] for table in tables]
            content = [{"token": top[0]["token"], "logprob": top[0]["logprob"], "top_logprobs": top} for top in tops]
            logprobs = {"content": content} if is_chat else {"top_logprobs": tables}
        text = "".join(pieces)
        message = {"role": "assistant", "content": text, "reasoning_content": reasoning}
        said = {"message": message} if is_chat else {"text": text}
        self._send({"id": "x", "choices": [{"index": 0, "finish_reason": finish, "logprobs": logprobs, **said}]})

    def _embed(self, body: dict[str, Any]) -> None:
        given = self.headers.get("Authorization")
        self.state.embedding_keys.append(given)
        if (wanted := self.state.wanted_embedding_key) and given != f"Bearer {wanted}":
            self._send({"error": {"message": f"not a key: {given}"}}, 401)
            return
        if self.state.embeddings is not None:
            self._send(self.state.embeddings)
            return
        length = self.state.vectors.get(body["model"])
        if length is None:
            self._send({"error": {"message": "no such embedding model"}}, 404)
            return
        rows = [
            {"index": index, "embedding": [float(byte) + 1 for byte in hashlib.sha256(text.encode()).digest()[:length]]}
            for index, text in enumerate(body["input"])
        ]
        self._send({"object": "list", "data": rows[::-1]})

    def _trickle(self) -> None:
        self.state.trickled += 1
        self._begin("text/event-stream")
        while not self.state.gone.wait(0.02):
            self.wfile.write(b":\n\n")
            self.wfile.flush()

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _send(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data)


class Quiet(ThreadingHTTPServer):
    """Does not print what becomes of a connection that a client closed."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    """Return a server that behaves, on a free port of loopback."""
    keys = ("JARVIS_API_KEY", "OPENAI_API_KEY", "JARVIS_EMBEDDING_API_KEY")
    for name in (*keys, "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.001)
    state = Server()
    httpd = Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    state.gone.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()


SETTINGS = GenerationSettings(max_new_tokens=12, timeout_s=5.0, do_sample=False)
"""Greedy, where seeds do not matter: they would be seen to first."""


@dataclass
class Loader:
    """Makes engines for a server, and closes them."""

    server: Server
    engines: list[ServerEngine] = field(default_factory=list)

    def __call__(
        self,
        settings: GenerationSettings = SETTINGS,
        *,
        adapters: tuple[str, ...] = ("lora",),
        retries: int = 2,
        concurrency: int = 4,
        embedding: tuple[str | None, str | None] = (None, None),
        **spec: Any,
    ) -> ServerEngine:
        """`embedding` is a model and where it is served."""
        model = ModelSpec(
            base_model_id="base",
            adapters=tuple(AdapterSpec(name=name, source=name) for name in adapters),
            base_url=self.server.url,
            retries=retries,
            concurrency=concurrency,
            embedding_model=embedding[0],
            embedding_url=embedding[1],
            **spec,
        )
        engine = ServerEngine(model, settings)
        self.engines.append(engine)
        return engine


@pytest.fixture
def load(server) -> Iterator[Loader]:
    """Return what makes an engine for the server."""
    loader = Loader(server)
    yield loader
    for engine in loader.engines:
        engine.close()


def plan(prompts: int = 3, replicates: int = 2, arms: tuple[str, ...] = ("base", "lora")) -> list[Request]:
    """Return requests in the order that a run asks them."""
    return [
        Request(prompt_id=f"p-{number}", text=f"ouvre le dossier {number}", arm=arm, replicate=replicate)
        for number in range(prompts)
        for replicate in range(replicates)
        for arm in arms
    ]


@pytest.fixture
def requests_of() -> Callable[..., list[Request]]:
    """Return what makes a plan's requests."""
    return plan


@pytest.fixture
def fault() -> type[Fault]:
    """Return what says what goes wrong; a conftest cannot be imported."""
    return Fault
