"""Whatever a server sends is a right response, or a failure in one sentence."""

from __future__ import annotations

import json
import string
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_jarvis.engines.server import connection
from pytest_jarvis.types import EngineError, Failure, GenerationSettings, Note, Response

SETTINGS = GenerationSettings(max_new_tokens=12, timeout_s=5.0, do_sample=False)
TRIES = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
"""One engine asks for all examples; the fixtures need not be made anew."""

PIECES = st.lists(st.text('aé \u2028\x85{}[]<"\\😀', min_size=1, max_size=5), max_size=5)
NOTHING = st.sampled_from(
    [
        "",
        "null",
        "{}",
        *map(
            json.dumps,
            [
                {"choices": None},
                {"choices": [], "usage": None, "error": None},
                {"error": {"message": None, "code": None}, "choices": []},
                {"choices": [None]},
                {"choices": [{"delta": None}]},
                {"choices": [{"delta": {}, "logprobs": None}]},
                {"choices": [{"delta": {"role": "assistant", "content": None, "tool_calls": None}}]},
                {"choices": [{"delta": {"content": []}, "finish_reason": None}]},
                {"id": "x", "object": "chat.completion.chunk", "system_fingerprint": None},
            ],
        ),
    ]
)
"""Events that add nothing."""
USAGES = st.sampled_from(
    [None, {}, {"completion_tokens": 3}, {"prompt_tokens": None, "completion_tokens": -5}, {"total_tokens": 1e300}, []]
)
FINISHES = st.sampled_from(["stop", "eos_token", "length", "tool_calls", None])


def content_of(draw: st.DrawFn, text: str) -> object:
    """Return a text in one of the forms that a message's content takes."""
    part = {"type": "text", "text": text}
    return draw(st.sampled_from([text, [part], part, [text], [{"type": "image_url"}, part]]))


@st.composite
def right_streams(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a text and a stream that carries it, in one of the dialects of servers."""
    pieces = draw(PIECES)
    events = [json.dumps({"choices": [{"delta": {"content": content_of(draw, piece)}}]}) for piece in pieces]
    finish = draw(FINISHES) if pieces else "stop"
    events.append(json.dumps({"choices": [{"delta": draw(st.sampled_from([None, {}])), "finish_reason": finish}]}))
    events.append(json.dumps({"choices": draw(st.sampled_from([None, []])), "usage": draw(USAGES)}))
    for place in draw(st.lists(st.integers(0, len(events)), max_size=4)):
        events.insert(place, draw(NOTHING))
    if finish is None or draw(st.booleans()):
        events.append("[DONE]")
    end, space = draw(st.sampled_from(["\n", "\r\n", "\r"])), draw(st.sampled_from(["", " "]))
    between = draw(st.sampled_from([end, "", f"{end}: ping{end}{end}", f"{end}event: message{end}id: 1{end}"]))
    return "".join(pieces), "".join(f"data:{space}{event}{end}{between}" for event in events).encode()


@st.composite
def right_wholes(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a text and a whole answer that carries it."""
    text = "".join(draw(PIECES))
    finish = draw(FINISHES) if text else "stop"
    carried: dict[str, object] = {"message": {"role": "assistant", "content": content_of(draw, text)}}
    choice = {**draw(st.sampled_from([carried, {"text": text}])), "finish_reason": finish}
    whole = {"choices": [choice], "usage": draw(USAGES), "error": None}
    return text, draw(st.sampled_from(["", "\ufeff", "\n\n"])).encode() + json.dumps(whole, indent=1).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a right answer with some of its bytes replaced."""
    _, body = draw(right_streams() | right_wholes())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 20))
        body = body[:start] + draw(st.binary(max_size=6) | st.just(b"null") | st.just(b"[[")) + body[start + length :]
    return body


KEYS = st.sampled_from(
    ["choices", "delta", "message", "content", "text", "error", "usage", "logprobs", "finish_reason", "data", "id"]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable + "\ud83d\x1b", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
"""Documents of any shape, with the keys that are read."""


@pytest.fixture
def outcome_of(server, load, requests_of, fault) -> Any:
    """Return what asks one prompt of a server that answers with these bytes."""
    engine = load(SETTINGS, adapters=(), retries=0)

    def ask(body: bytes) -> Any:
        server.fault = lambda _body, _number: fault(raw=body)
        started = time.monotonic()
        (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
        assert time.monotonic() - started < 5
        return outcome

    return ask


def is_sentence(outcome: Any) -> bool:
    return isinstance(outcome, Failure) and "\n" not in str(outcome.reason) and len(str(outcome.reason)) < 300


@TRIES
@given(answer=right_streams() | right_wholes())
def test_a_text_is_read_in_every_dialect(outcome_of, answer: tuple[str, bytes]) -> None:
    text, body = answer
    outcome = outcome_of(body)
    assert isinstance(outcome, Response), outcome.reason
    assert text.strip() == outcome.text


@TRIES
@given(body=damaged() | st.binary(max_size=40))
def test_a_damaged_answer_is_a_response_or_a_sentence(outcome_of, body: bytes) -> None:
    outcome = outcome_of(body)
    assert isinstance(outcome, Response) or is_sentence(outcome)


@TRIES
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=3), stream=st.booleans())
def test_a_document_of_any_shape_is_a_response_or_a_sentence(outcome_of, documents: list[Any], stream: bool) -> None:
    lines = [json.dumps(document) for document in documents]
    outcome = outcome_of("".join(f"data: {line}\n\n" for line in lines).encode() if stream else lines[0].encode())
    assert is_sentence(outcome) if isinstance(outcome, Failure) else outcome.text.encode() is not None


@settings(TRIES, max_examples=30)
@given(document=DOCUMENTS)
def test_a_list_of_models_of_any_shape_is_passed_over_or_a_sentence(server, load, fault, document: Any) -> None:
    server.models = fault(raw=json.dumps(document).encode())
    try:
        load(adapters=(), retries=0)
    except EngineError as error:
        refused = str(error)
    else:
        refused = ""
    assert "\n" not in refused


ERRORS = [
    {"error": {"message": "no card is free", "code": 503}},
    {"error": "no card is free"},
    {"error": {"error": {"msg": "no card is free"}}},
    {"errors": [{"detail": "no card is free"}]},
    {"detail": [{"loc": ["body"], "msg": "no card is free"}]},
    {"object": "error", "message": "no card is free", "code": 400},
    {"error": {"message": "no card is free"}, "choices": [{"delta": {"content": "oui"}, "finish_reason": "error"}]},
    "no card is free",
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
@pytest.mark.parametrize("form", ["{}", "data: {}\n\n", 'data: {"choices": []}\n\nevent: error\ndata: {}\n\n'])
def test_what_a_server_says_went_wrong_is_shown(outcome_of, error: object, form: str) -> None:
    outcome = outcome_of(form.replace("{}", json.dumps(error)).encode())
    assert outcome.reason == Note("server_error", {"said": "no card is free"})


@pytest.mark.parametrize("page", [b"<!doctype html><p>Hi", b"\n\n  <html>\n<body>"])
def test_a_web_page_is_named_and_the_address_with_it(server, load, fault, outcome_of, page: bytes) -> None:
    assert outcome_of(page).reason == Note("server_web_page")
    server.models = fault(raw=page)
    with pytest.raises(EngineError, match="answered with a web page; give the address up to and with /v1"):
        load()


def test_an_answer_without_end_is_not_kept_in_memory(monkeypatch, outcome_of) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 10_000)
    assert outcome_of(b"data: " + b"a" * 20_000).reason == Note("answer_too_large", {"bytes": 10_000})


@pytest.mark.parametrize("ending", [b"", b"data: [DO", b'data: {"choices": [{"del'])
def test_a_stream_without_its_end_is_cut(outcome_of, ending: bytes) -> None:
    assert (
        outcome_of(b'data: {"choices": [{"delta": {"content": "oui"}}]}\n\n' + ending).reason.code == "connection_cut"
    )


def stream_of(*texts: str, field: str = "content") -> bytes:
    chunks = [{"choices": [{"delta": {field: text}}]} for text in texts]
    ended = [*chunks, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in ended).encode()


def test_half_an_emoji_is_a_replacement_and_two_halves_are_one(outcome_of) -> None:
    assert outcome_of(stream_of("a \ud83d", "\ude00 b \ud83d", " c")).text == "a 😀 b \ufffd c"


def test_half_an_emoji_in_a_fingerprint_loses_no_report(project, server) -> None:
    server.fingerprint = "fp \ud83d"
    server.reply = lambda body: ("", f"{body['model']} ouvre {body.get('seed')} \udc00", "stop")
    arguments = ("--jarvis-model", "base", "--jarvis-adapter", "lora", "--jarvis-report-dir", "out", "-p", "no:xdist")
    project.run("--jarvis-base-url", server.url, *arguments, "--jarvis-samples", "1", engine="server")
    report = project.report()
    assert report.provenance.engine.server.system_fingerprint == "fp \ufffd"
    assert {sample.response.text[-1] for row in report.results for sample in row.samples} == {"\ufffd"}


def test_a_key_in_an_answer_is_struck_out_wherever_the_stream_divides_it(server, monkeypatch, request) -> None:
    monkeypatch.setenv("JARVIS_API_KEY", "sk-very-secret")
    server.key = "sk-very-secret"
    outcome = request.getfixturevalue("outcome_of")(stream_of("voici sk-very", "-secret, gardez-le"))
    assert outcome.text == "voici <key>, gardez-le"


def test_an_answer_under_reasoning_though_none_was_asked_for_is_the_answer_and_it_is_said(
    server, load, requests_of
) -> None:
    server.reply = lambda body: (f"ouvre {body['model']}", "", "stop")
    engine = load()
    outcomes = list(engine.generate(requests_of(prompts=1, replicates=1)))
    assert sorted((one.text, one.thinking) for one in outcomes) == [("ouvre base", None), ("ouvre lora", None)]
    assert Note("answer_under_reasoning") in engine.describe().notes


@pytest.mark.parametrize(("thinking", "finish"), [(True, "stop"), (False, "length")])
def test_a_thought_that_was_cut_or_asked_for_is_no_answer(
    server, load, requests_of, thinking: bool, finish: str
) -> None:
    server.reply = lambda body: (f"voyons {body['model']}", "", finish)
    asked = GenerationSettings(max_new_tokens=12, do_sample=False, thinking=thinking)
    (outcome,) = load(asked, adapters=()).generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert outcome.reason.code == "thinking_not_closed"


REFUSALS: list[dict[str, Any]] = [
    *({"status": status} for status in (404, 422, 500, 501)),
    {"drops": True},
    {"raw": b'{"error": {"message": "unknown field"}}'},
]


@pytest.fixture(params=REFUSALS, ids=str)
def refusal(request, fault) -> Any:
    return fault(**request.param)


@pytest.mark.parametrize("field", ["top_k", "min_p", "chat_template_kwargs", "stream_options", "logprobs"])
def test_a_field_that_is_refused_in_any_way_is_left_out(server, load, requests_of, refusal: Any, field: str) -> None:
    server.refused, server.refusal = frozenset({field}), refusal
    engine = load(retries=1)
    before = len(server.asked)
    assert all(isinstance(outcome, Response) for outcome in engine.generate(requests_of(prompts=1)))
    sent = set().union(*server.asked[before:])
    assert field not in sent
    assert len({"top_k", "chat_template_kwargs", "stream_options"} & sent) == (3 if field == "logprobs" else 2)


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"content": [{"token": "a", "logprob": None, "top_logprobs": None}]}]
)
def test_log_probabilities_that_are_null_are_none(server, load, fault, logprobs: object) -> None:
    def answer(body: dict[str, Any], _: int) -> Any:
        said = {"message": {"content": body["model"]}, "logprobs": logprobs, "finish_reason": "stop"}
        return None if body.get("stream") else fault(raw=json.dumps({"choices": [said]}).encode())

    server.fault = answer
    (proof,) = load().describe().adapters
    assert (proof.live, proof.max_logprob_change) == (True, None)


@pytest.mark.parametrize(
    "models",
    [
        {"status": 404},
        {"status": 501},
        {"raw": b"[]"},
        {"raw": b'["base", "lora"]'},
        {"raw": b'[{"id": "base"}, {"id": "lora"}]'},
        {"raw": b'{"models": [{"name": "base"}, {"model": "lora"}]}'},
        {"raw": b'{"object": "list", "data": null}'},
        {"raw": b'{"object": "list", "data": [{"id": "base"}]}'},
    ],
    ids=str,
)
def test_a_name_that_is_served_is_used_however_it_is_listed(server, load, fault, models: dict[str, Any]) -> None:
    server.models = fault(**models)
    assert [model.name for model in load().describe().server.models] == ["base", "lora"]


def test_a_name_that_is_served_but_not_listed_is_asked_once(server, load) -> None:
    server.names, server.unlisted = ("base",), frozenset({"lora"})
    load()
    assert [body["model"] for body in server.asked[:2]] == ["lora", "base"]


def test_of_many_names_the_nearest_are_shown(server, load) -> None:
    server.names = (*(f"provider-{number}/some-model-{number}" for number in range(400)), "base", "lora")
    with pytest.raises(EngineError, match=r"no model 'lroa' is served there .*; served: lora and 401 more$"):
        load(adapters=("lroa",))
    with pytest.raises(EngineError, match=r"some-model-37.* and 392 more$") as refused:
        load(adapters=("provider-37/model",))
    assert len(str(refused.value)) < 600


def test_names_that_differ_by_a_digit_are_two(server, load) -> None:
    server.names, server.unlisted = ("base", "jarvis-1"), frozenset({"jarvis-2"})
    assert load(adapters=("jarvis-2",)).describe().server is not None


def test_vectors_without_numbers_are_in_the_order_of_the_texts(server, load) -> None:
    server.embeddings = {"data": [{"embedding": [1.0, 2.0]}]}
    assert load(adapters=(), embedding=("small", None)).embed(["oui"])[0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": {"message": "no such task"}}, "reported an error in its answer: no such task"),
        ({"data": None}, "is not what the API promises"),
        ({"data": [{"index": 3, "embedding": [1.0]}]}, "is not what the API promises"),
        ({"data": [{"index": 0, "embedding": None}]}, "is not what the API promises"),
        ({"data": [{"index": 0, "embedding": [[1.0]]}]}, "is not what the API promises"),
        ({"data": ["x"]}, "is not what the API promises"),
    ],
)
def test_vectors_of_another_shape_are_one_sentence(server, load, answer: object, reason: str) -> None:
    server.embeddings = answer
    with pytest.raises(EngineError, match=f"makes no vectors with it: the server(?:'s answer)? {reason}; "):
        load(adapters=(), embedding=("small", None))
