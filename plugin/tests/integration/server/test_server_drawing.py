"""What a server that behaves is asked, and what its answers become."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from pytest_jarvis.engines.server.client import request_seed
from pytest_jarvis.types import Failure, GenerationSettings, Note, Progress, Response

SETTINGS = GenerationSettings(max_new_tokens=12, timeout_s=5.0, do_sample=False)


def asked_in_the_run(server: Any) -> list[dict[str, Any]]:
    """Return the requests after those of the preflight."""
    return [body for body in server.asked if "dossier" in str(body.get("messages") or body.get("prompt"))]


def test_each_request_is_answered_once(load, requests_of) -> None:
    outcomes = list(load().generate(requests_of()))
    assert {request.key for request in requests_of()} == {outcome.key for outcome in outcomes}
    assert all(isinstance(outcome, Response) and outcome.text for outcome in outcomes)


def test_no_request_no_answer(load) -> None:
    assert list(load().generate([])) == []


def test_an_arm_that_is_not_served_is_a_mistake_of_the_caller(load, requests_of) -> None:
    with pytest.raises(ValueError, match="unknown arm 'other'; served: base, lora"):
        list(load().generate(requests_of(arms=("other",))))


def test_both_arms_of_a_replicate_have_one_seed_and_replicates_have_others(server, load, requests_of) -> None:
    list(load(msgspec.structs.replace(SETTINGS, do_sample=True)).generate(requests_of(prompts=1, replicates=2)))
    seeds = {(body["model"], body["seed"]) for body in asked_in_the_run(server)}
    expected = {(name, request_seed(0, "p-0", replicate)) for name in ("base", "lora") for replicate in (0, 1)}
    assert expected == seeds


def test_what_is_asked_for_is_what_the_settings_say(server, load, requests_of) -> None:
    settings = msgspec.structs.replace(
        SETTINGS, do_sample=True, temperature=0.3, top_p=0.8, system_prompt="Tu es JARVIS."
    )
    list(load(settings).generate(requests_of(prompts=1, replicates=1, arms=("base",))))
    (body,) = asked_in_the_run(server)
    assert {
        "temperature": 0.3,
        "top_p": 0.8,
        "max_tokens": 12,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": False},
    }.items() <= body.items()
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_greedy_settings_ask_for_temperature_0(server, load, requests_of) -> None:
    list(load().generate(requests_of(prompts=1)))
    assert {(0.0, 1.0)} == {(body["temperature"], body["top_p"]) for body in asked_in_the_run(server)}


def test_raw_prompts_go_to_completions_as_they_are(server, load, requests_of) -> None:
    (outcome,) = load(msgspec.structs.replace(SETTINGS, template="raw"), adapters=()).generate(
        requests_of(prompts=1, replicates=1, arms=("base",))
    )
    (body,) = asked_in_the_run(server)
    assert isinstance(outcome, Response)
    assert (body["path"], body["prompt"]) == ("/v1/completions", "ouvre le dossier 0")
    assert "chat_template_kwargs" not in body


def test_raw_adapters_are_proven_too(load) -> None:
    (proof,) = load(msgspec.structs.replace(SETTINGS, template="raw")).describe().adapters
    assert proof.live
    assert proof.max_logprob_change is not None


def test_requests_under_way_are_many_and_bounded(server, load, requests_of) -> None:
    engine = load(concurrency=3)
    server.most_under_way = 0
    server.slow_s = 0.05  # so that requests that are sent at once meet, however busy the machine
    list(engine.generate(requests_of(prompts=12)))
    assert 1 < server.most_under_way <= 3


def test_rows_of_both_arms_are_asked_beside_each_other(server, load, requests_of) -> None:
    list(load(concurrency=1).generate(requests_of()))
    models = [body["model"] for body in asked_in_the_run(server)]
    assert ["base", "lora"] * 6 == models


def test_tokens_and_times_are_the_servers_and_the_streams(load, requests_of) -> None:
    (outcome,) = load(adapters=()).generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert (outcome.prompt_tokens, outcome.new_tokens) == (7, len(outcome.text.split()))
    assert 0 < outcome.first_token_s <= outcome.duration_s


def test_tokens_that_a_server_does_not_count_are_the_streams_pieces_and_it_is_said(server, load, requests_of) -> None:
    server.counts = False
    engine = load()
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert (outcome.prompt_tokens, outcome.new_tokens) == (None, len(outcome.text.split()))
    assert "no_token_count" in {note.code for note in engine.describe().notes}


def test_thinking_is_kept_apart_however_it_is_sent(server, load, requests_of) -> None:
    engine = load(adapters=())
    said = {
        ("", "oui"): ("oui", None),
        ("je pense", "oui"): ("oui", "je pense"),
        ("", "<think>je pense</think>\n\noui"): ("oui", "je pense"),
        ("", "je pense</think>oui"): ("oui", "je pense"),
        ("", "<think>\n\n</think>\n\noui"): ("oui", None),
    }
    seen = {}
    for reasoning, text in said:
        server.reply = lambda _body, said=(reasoning, text): (*said, "stop")
        (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
        seen[reasoning, text] = (outcome.text, outcome.thinking)
    assert said == seen


@pytest.mark.parametrize("said", [("je pense encore", ""), ("", "<think>je pense encore")])
def test_thinking_that_never_closed_is_a_failure(server, load, requests_of, said: tuple[str, str]) -> None:
    engine = load(adapters=())
    server.reply = lambda _body: (*said, "length")
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert isinstance(outcome, Failure)
    assert outcome.reason == Note("thinking_not_closed", {"tokens": 1})


def test_a_long_answer_is_cut_and_the_cut_is_counted(server, load, requests_of) -> None:
    engine = load(msgspec.structs.replace(SETTINGS, max_response_chars=5))
    server.reply = lambda _body: ("", "x" * 8, "length")
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert (outcome.text, outcome.cut_chars, outcome.finish_reason) == ("xxxxx", 3, "length")


def test_an_answer_that_ends_otherwise_than_a_text_is_a_failure(server, load, requests_of) -> None:
    engine = load()
    server.reply = lambda _body: ("", "oui", "content_filter")
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert outcome.reason == Note("server_ended", {"said": "content_filter"})


def test_progress_is_told_to_the_last_response(load, requests_of) -> None:
    told: list[Progress] = []
    responses = list(load().generate(requests_of(), told.append))
    assert (told[-1].responses_done, told[-1].responses_planned) == (12, 12)
    assert told[-1].tokens == sum(response.new_tokens for response in responses)


def test_a_generator_that_is_left_asks_no_more(server, load, requests_of) -> None:
    engine = load(adapters=(), concurrency=2)
    outcomes = engine.generate(requests_of(prompts=500, arms=("base",)))
    next(outcomes)
    outcomes.close()
    before = len(server.asked)
    assert len(list(engine.generate(requests_of(prompts=1, arms=("base",))))) == 2
    assert len(server.asked) - before <= 2 + 2


def test_an_engine_closed_in_the_middle_of_answers_leaves_nothing_open(load, requests_of, caplog) -> None:
    engine = load(adapters=(), concurrency=4)
    outcomes = engine.generate(requests_of(prompts=500, arms=("base",)))
    next(outcomes)
    engine.close()
    outcomes.close()
    del engine, outcomes
    # A task or a stream that was not ended says so when it is collected: in the log, or as a warning.
    gc.collect()
    assert [] == [record.getMessage() for record in caplog.records]


def test_an_engine_may_be_closed_twice(load) -> None:
    engine = load()
    engine.close()
    engine.close()


def test_vectors_come_from_the_configured_model_and_it_is_named(server, load) -> None:
    server.vectors = {"small": 8}
    engine = load(embedding=("small", None))
    one, none, again = engine.embed(["oui", " ", "oui"])
    assert none is None
    assert one.shape == (8,)
    assert (one == again).all()
    assert engine.describe().embedding == "small (/v1/embeddings)"


def test_without_an_embedding_model_there_are_no_vectors(load) -> None:
    engine = load()
    assert engine.embed(["oui", "non"]) == [None, None]
    assert engine.describe().embedding is None
    assert "no_embedding_model" in {note.code for note in engine.describe().notes}


def test_vectors_that_cannot_be_had_any_more_are_none_and_it_is_said(server, load) -> None:
    server.vectors = {"small": 8}
    engine = load(embedding=("small", None))
    server.vectors = {}
    assert engine.embed(["oui"]) == [None]
    (missing,) = [note for note in engine.describe().notes if note.code == "cosine_not_measured"]
    assert {"model": "small (/v1/embeddings)"} == missing.values
