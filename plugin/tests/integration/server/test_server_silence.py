"""A server that takes requests and does not answer them, or answers byte by byte, holds no session up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import openai
import pytest

from pytest_jarvis.engines.server import connection, preflight
from pytest_jarvis.engines.server.connection import Connection
from pytest_jarvis.types import EngineError, Failure, GenerationSettings, Note

SETTINGS = GenerationSettings(max_new_tokens=12, timeout_s=None, do_sample=False)
"""Without `--jarvis-timeout`."""
LIMIT_S = 0.7
ADVICE = "see in its log whether it still loads a model or is busy, and start again when it answers"


@pytest.fixture(autouse=True)
def limit(monkeypatch) -> None:
    """Have the preflight give up soon."""
    monkeypatch.setattr(connection, "PREFLIGHT_S", LIMIT_S)


def refusal(load: Any, **asked: Any) -> str:
    """Return why no engine was made, soon after the limit."""
    started = time.monotonic()
    with pytest.raises(EngineError) as refused:
        load(asked.pop("settings", SETTINGS), **asked)
    assert LIMIT_S <= time.monotonic() - started < 5
    return str(refused.value)


def test_a_list_of_models_that_trickles_is_one_sentence(server, load) -> None:
    server.trickles = frozenset({"/v1/models"})
    assert refusal(load) == f"{server.url}: the server did not answer within 0.7 s; {ADVICE}"
    assert server.trickled == 1


@pytest.mark.parametrize("wrong", [{"hang_after": 0}, {"trickles": True}], ids=str)
def test_a_first_answer_that_never_ends_is_asked_for_once(server, load, fault, wrong: dict[str, Any]) -> None:
    server.fault = lambda _body, _number: fault(**wrong)
    assert refusal(load) == f"{server.url}: the server did not answer within 0.7 s; {ADVICE}"
    assert len(server.asked) == 1


def test_a_probe_that_trickles_is_not_tried_again(server, load, fault) -> None:
    server.fault = lambda body, _number: None if body.get("stream") else fault(trickles=True)
    assert refusal(load).endswith(f"the server did not answer within 0.7 s; {ADVICE}")
    assert len(server.asked) == 1 + 4, "one answer to learn the fields, and each of the four probes once"


def test_a_request_about_seeds_that_trickles_is_not_tried_again(server, load, fault) -> None:
    server.fault = lambda body, _number: fault(trickles=True) if body["temperature"] else None
    sampled = msgspec.structs.replace(SETTINGS, do_sample=True)
    assert refusal(load, settings=sampled, adapters=()).endswith(f"did not answer within 0.7 s; {ADVICE}")
    assert len(server.asked) == 1 + 4 + 1, "the fields, each of the four probes, and the seeds once"


def test_vectors_that_trickle_are_one_sentence(server, load) -> None:
    server.vectors, server.trickles = {"small": 8}, frozenset({"/v1/embeddings"})
    said = refusal(load, embedding=("small", None))
    assert said.endswith(f"makes no vectors with it: the server did not answer within 0.7 s; {ADVICE}")
    assert server.trickled == 1


def test_a_version_that_trickles_is_not_known(server, load, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "_SHORT_S", 0.05)
    server.trickles = frozenset({"/version"})
    server.paths = {"/api/version": {"version": "9"}}
    assert load(SETTINGS).describe().server.version == "9"


def test_a_silent_server_is_asked_once_for_a_response_without_a_timeout(
    server, load, requests_of, fault, monkeypatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE_S", LIMIT_S)
    engine = load(SETTINGS, adapters=())
    before = len(server.asked)
    server.fault = lambda _body, _number: fault(hang_after=0)
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert isinstance(outcome, Failure)
    assert (outcome.stage, outcome.reason) == ("timeout", Note("server_too_slow"))
    assert len(server.asked) - before == 1


@pytest.fixture
def connected() -> Iterator[Connection]:
    made = Connection("http://127.0.0.1:9/v1")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "again"), [(httpx2.ConnectTimeout, True), (httpx2.ReadTimeout, False), (httpx2.WriteTimeout, False)]
)
def test_only_a_connection_that_was_not_made_in_time_is_tried_again(
    connected, kind: type[httpx2.TimeoutException], again: bool
) -> None:
    error = openai.APITimeoutError(request=httpx2.Request("GET", "http://127.0.0.1:9/v1"))
    error.__cause__ = kind("")
    read = connected.read_error(error)
    assert (read.stage, read.passing, read.is_silence) == ("timeout", again, not again)
