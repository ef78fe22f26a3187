"""What becomes of requests when the server, or the way to it, fails: those affected are failures, the others stand."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from pytest_jarvis.types import Failure, GenerationSettings, Response

SETTINGS = GenerationSettings(max_new_tokens=12, timeout_s=5.0, do_sample=False)
HURT = "ouvre le dossier 1"


def is_hurt(body: dict[str, Any]) -> bool:
    """Whether a request is one of the prompt that the tests hurt."""
    return bool(body["messages"][-1]["content"] == HURT)


def hurt(server: Any, fault: Any) -> None:
    """Have every request of one prompt go wrong."""
    server.fault = lambda body, _number: fault if is_hurt(body) else None


def outcomes_by_prompt(engine: Any, requests: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for outcome in engine.generate(requests):
        found.setdefault(outcome.prompt_id, []).append(outcome)
    return found


@pytest.mark.parametrize(
    "wrong_and_reason",
    [
        ({"status": 500}, "the server answered 500: out of order (after 3 tries)"),
        ({"status": 503}, "the server answered 503: out of order (after 3 tries)"),
        ({"status": 429}, "the server answered 429: out of order (after 3 tries)"),
        ({"status": 400}, "the server answered 400: out of order"),
        ({"status": 404}, "the server answered 404: out of order"),
        ({"cut_after": 0}, "the connection was cut in the middle of the answer (after 3 tries)"),
        ({"cut_after": 2}, "the connection was cut in the middle of the answer (after 3 tries)"),
        ({"raw": b"data: {oops\n\n"}, "the server's answer is not what the API promises (after 3 tries)"),
        ({"raw": b'data: {"choices": [3]}\n\n'}, "the server's answer is not what the API promises (after 3 tries)"),
        ({"raw": b"<html>busy</html>"}, "the server answered with a web page (after 3 tries)"),
        (
            {"raw": b'data: {"error": {"message": "lost a card"}}\n\n'},
            "the server reported an error in its answer: lost a card (after 3 tries)",
        ),
    ],
    ids=lambda case: str(case[0]),
)
def test_a_fault_costs_its_own_responses_after_the_retries(
    server, load, requests_of, fault, wrong_and_reason: tuple[dict[str, Any], str]
) -> None:
    wrong, reason = wrong_and_reason
    engine = load(adapters=())
    hurt(server, fault(**wrong))
    found = outcomes_by_prompt(engine, requests_of(arms=("base",)))
    assert {(failure.stage, str(failure.reason)) for failure in found.pop("p-1")} == {("generate", reason)}
    assert all(isinstance(outcome, Response) for outcomes in found.values() for outcome in outcomes)


@pytest.mark.parametrize("wrong", [{"status": 500}, {"status": 429}, {"cut_after": 1}, {"raw": b"data: {oops\n\n"}])
def test_a_fault_that_passes_costs_nothing(server, load, requests_of, fault, wrong: dict[str, Any]) -> None:
    engine = load(adapters=())
    first = len(server.asked)
    server.fault = lambda _body, number: fault(**wrong) if number == first else None
    outcomes = list(engine.generate(requests_of(arms=("base",))))
    assert all(isinstance(outcome, Response) for outcome in outcomes)
    assert len(server.asked) - first == len(outcomes) + 1


def test_retry_after_is_waited_for(server, load, requests_of, fault) -> None:
    engine = load(adapters=())
    first = len(server.asked)
    busy = fault(status=429, headers={"Retry-After": "0.5"})
    server.fault = lambda _body, number: busy if number == first else None
    started = time.monotonic()
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert isinstance(outcome, Response)
    assert time.monotonic() - started >= 0.5
    assert outcome.duration_s < 0.5, "the wait before the try that gave the answer is no part of its time"


def test_retry_after_of_an_hour_is_not_waited_for(server, load, requests_of, fault) -> None:
    engine = load(adapters=())
    hurt(server, fault(status=429, headers={"Retry-After": "3600"}))
    (outcome,) = [one for one in engine.generate(requests_of(replicates=1, arms=("base",))) if one.prompt_id == "p-1"]
    assert str(outcome.reason) == "the server answered 429: out of order"


def test_a_server_that_hangs_is_a_timeout_after_the_retries(server, load, requests_of, fault) -> None:
    engine = load(msgspec.structs.replace(SETTINGS, timeout_s=0.2), adapters=(), retries=1)
    hurt(server, fault(hang_after=0))
    found = outcomes_by_prompt(engine, requests_of(replicates=1, arms=("base",)))
    (failure,) = found.pop("p-1")
    assert (failure.stage, str(failure.reason)) == ("timeout", "no token within 0.2 s (after 2 tries)")
    assert all(isinstance(outcome, Response) for outcomes in found.values() for outcome in outcomes)


def test_an_answer_that_stops_coming_is_a_timeout_and_not_tried_again(server, load, requests_of, fault) -> None:
    engine = load(msgspec.structs.replace(SETTINGS, timeout_s=0.2), adapters=())
    hurt(server, fault(hang_after=2))
    (failure,) = outcomes_by_prompt(engine, requests_of(replicates=1, arms=("base",)))["p-1"]
    assert (failure.stage, str(failure.reason)) == ("timeout", "cut after 0.2 s at 2 tokens (finish reason: timeout)")


def test_a_server_that_dies_midway_leaves_what_it_gave_and_failures(server, load, requests_of, fault) -> None:
    engine = load(adapters=(), retries=1, concurrency=2)
    last = len(server.asked) + 10
    server.fault = lambda _body, number: fault(cut_after=0) if number >= last else None
    outcomes = list(engine.generate(requests_of(prompts=60, arms=("base",))))
    assert len(outcomes) == 120
    assert sum(isinstance(outcome, Response) for outcome in outcomes) == 10
    reasons = [str(outcome.reason) for outcome in outcomes if isinstance(outcome, Failure)]
    assert reasons.count("not asked: the server stopped answering") >= 120 - 10 - (8 + 2)
    assert len(server.asked) - last <= 2 * (8 + 2), "a server that is gone is not asked for every response"


def test_a_server_that_comes_back_is_asked_again(server, load, requests_of, fault) -> None:
    engine = load(adapters=(), retries=0, concurrency=2)
    server.fault = lambda _body, _number: fault(cut_after=0)
    assert all(isinstance(outcome, Failure) for outcome in engine.generate(requests_of(prompts=20, arms=("base",))))
    server.fault = lambda _body, _number: None
    assert all(isinstance(outcome, Response) for outcome in engine.generate(requests_of(prompts=2, arms=("base",))))


def test_a_key_is_in_no_reason_even_when_the_server_sends_it_back(
    server, load, requests_of, fault, monkeypatch
) -> None:
    monkeypatch.setenv("JARVIS_API_KEY", "sk-very-secret")
    server.key = "sk-very-secret"
    engine = load(adapters=())
    server.fault = lambda _body, _number: fault(status=400, said="bad request with sk-very-secret")
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert str(outcome.reason) == "the server answered 400: bad request with <key>"
    assert "sk-very-secret" not in repr(engine.describe())
    assert "sk-very-secret" not in repr(vars(engine._connection))
