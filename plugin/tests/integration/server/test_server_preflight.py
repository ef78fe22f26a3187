"""What is seen of a server before anything is scored, and what it is refused for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_jarvis.types import EngineError, GenerationSettings, Note, Storage

SETTINGS = GenerationSettings(max_new_tokens=12, timeout_s=5.0, do_sample=False)
SAMPLED = msgspec.structs.replace(SETTINGS, do_sample=True)


def test_a_name_that_is_not_served_is_refused_with_those_that_are(server, load) -> None:
    with pytest.raises(EngineError) as refused:
        load(adapters=("loar",))
    assert str(refused.value) == (
        f"{server.url}: no model 'loar' is served there (--jarvis-adapter); served: base, lora"
    )


def test_a_base_that_is_not_served_names_its_option(server, load) -> None:
    server.names = ("other",)
    with pytest.raises(EngineError, match=r"no model 'base' is served there \(--jarvis-model\); served: other"):
        load()


def test_a_name_without_a_tag_stands_for_the_latest(server, load) -> None:
    server.names = ("base:latest", "lora:latest")
    assert [model.name for model in load().describe().server.models] == ["base", "lora"]


def test_a_server_that_is_not_there_is_one_sentence(server, load) -> None:
    server.url = "http://127.0.0.1:9/v1"
    with pytest.raises(EngineError) as refused:
        load()
    assert str(refused.value) == (
        "http://127.0.0.1:9/v1: the server cannot be reached; start the server, or correct --jarvis-base-url"
    )


def test_an_address_that_is_no_api_is_one_sentence(server, load) -> None:
    server.url = server.url.replace("/v1", "/wrong")
    with pytest.raises(EngineError, match=r"the server answered 404: Not Found; give the address up to and with /v1"):
        load()


@pytest.mark.parametrize(("key", "said"), [("", "it wants a key"), ("sk-wrong", "its key is refused")])
def test_a_server_that_wants_another_key_is_refused_without_showing_any(
    server, load, monkeypatch, key: str, said: str
) -> None:
    server.key = "sk-right"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EngineError, match=f"the server answered 401: .*{said}: set JARVIS_API_KEY") as refused:
        load()
    assert "sk-" not in str(refused.value)


def test_our_own_key_comes_before_the_usual_one(server, load, monkeypatch) -> None:
    server.key = "sk-right"
    monkeypatch.setenv("JARVIS_API_KEY", "sk-right")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert load().describe().server is not None


def test_a_live_adapter_is_proven_by_what_it_changes_and_what_a_server_cannot_show_is_not_made_up(load) -> None:
    (proof,) = load().describe().adapters
    assert (proof.live, proof.probes, proof.max_logprob_drift) == (True, 4, 0.0)
    assert proof.max_logprob_change > 0
    assert proof.texts_changed > 0
    assert (proof.sha256, proof.rank, proof.weights, proof.max_logit_change, proof.base_unchanged) == (None,) * 5


@pytest.mark.parametrize("lacking", [{"has_logprobs": False}, {"refused": frozenset({"logprobs"})}], ids=str)
def test_a_server_without_log_probabilities_is_judged_by_its_texts(server, load, lacking: dict[str, Any]) -> None:
    vars(server).update(lacking)
    (proof,) = load().describe().adapters
    assert (proof.live, proof.max_logprob_change) == (True, None)
    server.inert = frozenset({"lora"})
    with pytest.raises(EngineError, match="the adapter changes nothing"):
        load()


def test_a_name_that_gives_the_bases_answers_is_refused(server, load) -> None:
    server.inert = frozenset({"lora"})
    with pytest.raises(EngineError, match=r"adapter 'lora': the adapter changes nothing, .* 4 probe prompts"):
        load()


def test_an_inert_adapter_that_is_allowed_is_noted(server, load) -> None:
    server.inert = frozenset({"lora"})
    description = load(allow_inert_adapter=True).describe()
    assert not description.adapters[0].live
    assert Note("adapter_inert", {"name": "lora"}) in description.notes


@pytest.mark.parametrize("has_logprobs", [True, False])
def test_a_server_that_lets_an_adapter_into_the_bases_rows_gets_the_arms_one_after_the_other(
    server, load, requests_of, has_logprobs: bool
) -> None:
    server.leaks, server.has_logprobs = True, has_logprobs
    server.slow_s = 0.01  # long enough for requests to meet
    engine = load(concurrency=8)
    description = engine.describe()
    assert description.batching == "two passes"
    (separate,) = [note for note in description.notes if note.code == "separate_passes"]
    assert separate.cause is not None
    assert ("logprobs_off_beside" if has_logprobs else "answers_of_another") == separate.cause.code
    before = len(server.asked)
    mixed = list(engine.generate(requests_of()))
    models = [body["model"] for body in server.asked[before:]]
    assert ["base"] * 6 + ["lora"] * 6 == models
    server.leaks = False
    server.asked.clear()
    assert sorted((one.key, one.text) for one in load().generate(requests_of())) == sorted(
        (one.key, one.text) for one in mixed
    )


def test_workers_are_refused_by_a_server_that_mixes_the_arms_up(server, load, monkeypatch) -> None:
    server.leaks, server.slow_s = True, 0.01
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    with pytest.raises(EngineError, match="the arms must run one after the other, which 2 workers do not"):
        load()


def test_a_server_that_keeps_rows_apart_gets_all_arms_at_once(load) -> None:
    assert load().describe().batching == "server"


def test_a_server_that_honours_or_ignores_seeds_is_seen_and_the_latter_is_said(server, load) -> None:
    assert load(SAMPLED).describe().server.repeats == "always"
    server.honours_seeds = False
    description = load(SAMPLED).describe()
    assert description.server.repeats == "never"
    assert {"seeds_ignored", "seeds_hold_alone"} & {note.code for note in description.notes}


def test_texts_that_hang_on_other_requests_are_seen(server, load) -> None:
    usual = server.words

    def words(body: dict[str, Any]) -> list[str]:
        crowd = body["temperature"] > 0 and len(server.under_way) > 1
        return [*usual(body), f"n{len(server.asked)}"] if crowd else usual(body)

    server.words = words
    server.slow_s = 0.01
    description = load(SAMPLED).describe()
    assert description.server.repeats == "alone"
    assert "seeds_hold_alone" in {note.code for note in description.notes}


def test_seeds_that_change_nothing_are_not_said_to_be_honoured(server, load) -> None:
    server.reply = lambda body: ("", body["model"], "stop")
    description = load(SAMPLED).describe()
    assert description.server.repeats is None
    assert "seeds_unseen" in {note.code for note in description.notes}


def test_greedy_runs_ask_nothing_about_seeds(server, load) -> None:
    assert load(SETTINGS).describe().server.repeats is None
    assert {0.0} == {body["temperature"] for body in server.asked}


def test_what_the_server_says_of_itself_is_kept(server, load) -> None:
    facts = load().describe().server
    assert (facts.base_url, facts.version, facts.system_fingerprint) == (server.url, "1.2.3", "fp-1")
    assert [(model.arm, model.facts) for model in facts.models] == [
        ("base", {"owned_by": "test"}),
        ("lora", {"owned_by": "test"}),
    ]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ({"/api/version": {"version": "0.9"}}, "0.9"),
        ({"/props": {"build_info": "b42"}}, "b42"),
        ({"/version": ["no"]}, None),
        ({}, None),
    ],
)
def test_a_version_is_looked_for_where_servers_state_it(
    server, load, paths: dict[str, object], expected: str | None
) -> None:
    server.paths = paths
    assert expected == load(adapters=()).describe().server.version


@pytest.mark.parametrize(
    ("field", "note"),
    [("top_k", "no_samplers"), ("chat_template_kwargs", "no_thinking_switch"), ("stream_options", None)],
)
def test_a_field_that_the_server_refuses_is_left_out_and_it_is_said(
    server, load, requests_of, field: str, note: str | None
) -> None:
    server.refused = frozenset({field})
    engine = load(adapters=())
    before = len(server.asked)
    list(engine.generate(requests_of(prompts=1, arms=("base",))))
    sent = set().union(*server.asked[before:])
    assert {"top_k", "chat_template_kwargs", "stream_options"} - sent == {field}
    assert note is None or note in {found.code for found in engine.describe().notes}


def test_a_server_that_refuses_even_the_common_core_is_one_sentence(server, load) -> None:
    server.refused = frozenset({"seed"})
    with pytest.raises(EngineError, match=r"the server answered 400: unknown fields: \['seed'\]"):
        load()


def test_an_embedding_model_that_makes_no_vectors_is_refused_at_once(server, load) -> None:
    with pytest.raises(
        EngineError, match=r"embedding model 'other': .* makes no vectors with it: the server answered 404"
    ):
        load(embedding=("other", None))


def test_weights_and_their_quantisation_are_not_claimed(load) -> None:
    description = load().describe()
    assert description.coverage.storage == Storage(format="server")
    assert (description.coverage.share_4bit, description.memory) == (None, ())


def test_the_address_is_no_part_of_an_identity(server, load, requests_of) -> None:
    request = requests_of()[1]
    one = load().identity(request, str)
    server.url = server.url.replace("127.0.0.1", "localhost")
    assert one == load().identity(request, str)
    assert one.adapter.startswith("lora owned_by=test answers=")


def test_another_version_is_another_identity(server, load, requests_of) -> None:
    one = load().identity(requests_of()[0], str)
    server.paths = {"/version": {"version": "1.2.4"}}
    assert one != load().identity(requests_of()[0], str)


def test_an_adapter_trained_anew_under_its_name_is_another_identity_and_the_base_is_not(
    server, load, requests_of
) -> None:
    base, lora = requests_of()[:2]
    before = load()
    server.weights = " trained anew"
    after = load()
    assert before.identity(base, str) == after.identity(base, str)
    assert before.identity(lora, str) != after.identity(lora, str)


def test_a_server_that_says_nothing_of_itself_has_no_identity(server, load, requests_of, monkeypatch) -> None:
    server.paths, server.fingerprint = {}, None
    assert load().identity(requests_of()[0], str) is None


def test_vectors_that_are_made_elsewhere_are_asked_there(server, load) -> None:
    server.vectors = {"small": 8}
    with pytest.raises(EngineError, match=r"http://127\.0\.0\.1:9/v1 makes no vectors .* cannot be reached"):
        load(embedding=("small", "http://127.0.0.1:9/v1"))
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    assert load(embedding=("small", elsewhere)).embed(["oui"])[0].shape == (8,)


LORAS = [{"id": 0, "path": "loras/jarvis.gguf", "scale": 1.0}, {"id": 1, "path": "C:\\loras\\autre.gguf", "scale": 1.0}]


@pytest.fixture
def llama(server) -> Any:
    """A llama-server with two adapters, which lists its base alone."""
    server.names = ("base",)
    server.paths["/lora-adapters"] = LORAS
    return server


@pytest.mark.parametrize("name", ["jarvis", "jarvis.gguf", "loras/jarvis.gguf"])
def test_a_llama_server_is_asked_for_each_arm_by_the_scales_of_its_adapters(
    llama, load, requests_of, name: str
) -> None:
    engine = load(adapters=(name,))
    answers = engine.generate(requests_of(arms=("base", name)))
    found = {(answer.prompt_id, answer.arm): answer.text for answer in answers}
    off, own = ([{"id": 0, "scale": scale}, {"id": 1, "scale": 0.0}] for scale in (0.0, 1.0))
    assert {"base"} == {body["model"] for body in llama.asked}
    assert all(body["lora"] in (off, own) for body in llama.asked)
    assert found["p-0", "base"] != found["p-0", name]
    (proof,) = engine.describe().adapters
    assert proof.live


def test_an_adapter_that_a_llama_server_lacks_is_named_with_those_it_has(llama, load) -> None:
    with pytest.raises(EngineError, match=r"no adapter 'jarvi' is loaded there .*; it has: jarvis\.gguf, autre\.gguf"):
        load(adapters=("jarvi",))
