"""Which server gets which key: the server's own goes to no other."""

import re
from typing import Any

import pytest

from pytest_jarvis.types import EngineError


@pytest.fixture(autouse=True)
def keys(server, monkeypatch) -> None:
    """Have the server want a key, which the environment holds, and make vectors."""
    monkeypatch.setenv("JARVIS_API_KEY", "sk-server")
    server.key = "sk-server"
    server.vectors = {"small": 8}


def elsewhere(server: Any) -> str:
    """Return the address of the same machine under another name: another origin."""
    return str(server.url.replace("127.0.0.1", "localhost"))


def test_the_servers_own_embeddings_get_its_key(server, load, monkeypatch) -> None:
    monkeypatch.setenv("JARVIS_EMBEDDING_API_KEY", "sk-vectors")
    load(embedding=("small", server.url))
    load(embedding=("small", None))
    assert server.embedding_keys == ["Bearer sk-server"] * 2


def test_another_server_of_embeddings_does_not_get_the_servers_key(server, load) -> None:
    engine = load(embedding=("small", elsewhere(server)))
    assert engine.embed(["oui"])[0].shape == (8,)
    assert server.embedding_keys
    assert not any("sk-server" in (given or "") for given in server.embedding_keys)


def test_another_server_of_embeddings_gets_a_key_of_its_own(server, load, monkeypatch) -> None:
    monkeypatch.setenv("JARVIS_EMBEDDING_API_KEY", "sk-vectors")
    server.wanted_embedding_key = "sk-vectors"
    engine = load(embedding=("small", elsewhere(server)))
    assert engine.embed(["oui"])[0].shape == (8,)
    assert set(server.embedding_keys) == {"Bearer sk-vectors"}


@pytest.mark.parametrize("key", ["", "sk-wrong"])
def test_another_server_that_wants_its_own_key_is_refused_naming_the_variable_and_no_key(
    server, load, monkeypatch, key: str
) -> None:
    monkeypatch.setenv("JARVIS_EMBEDDING_API_KEY", key)
    server.wanted_embedding_key = "sk-vectors"
    with pytest.raises(EngineError, match=r"answered 401: .*: set its own key in JARVIS_EMBEDDING_API_KEY$") as refused:
        load(embedding=("small", elsewhere(server)))
    assert "sk-" not in str(refused.value)


@pytest.mark.parametrize("elsewhere_too", [False, True])
def test_without_a_key_no_request_has_an_authorization(
    server, load, requests_of, monkeypatch, *, elsewhere_too: bool
) -> None:
    monkeypatch.delenv("JARVIS_API_KEY")
    server.key = None
    engine = load(embedding=("small", elsewhere(server) if elsewhere_too else server.url))
    list(engine.generate(requests_of()))
    engine.embed(["oui"])
    asked = {path for path, _ in server.headers}
    assert asked >= {"/v1/models", "/version", "/v1/chat/completions", "/v1/embeddings"}
    assert [] == [path for path, names in server.headers if "authorization" in names]


@pytest.mark.parametrize("variable", ["JARVIS_API_KEY", "OPENAI_API_KEY", "JARVIS_EMBEDDING_API_KEY"])
@pytest.mark.parametrize(
    ("key", "char"), [("“sk-secret”", "U+201C"), ("sk-secret\n", "U+000A"), ("sk secret", "U+0020")]
)
def test_a_key_that_no_header_can_carry_is_one_sentence_with_its_variable(
    load, monkeypatch, variable: str, key: str, char: str
) -> None:
    monkeypatch.delenv("JARVIS_API_KEY")
    monkeypatch.setenv(variable, key)
    with pytest.raises(EngineError, match=f"^{variable}: the key holds the character {re.escape(char)}, ") as refused:
        load()
    assert "secret" not in str(refused.value)


def test_a_key_of_the_servers_does_not_become_one_where_the_embeddings_have_none(server, load) -> None:
    load(embedding=("small", elsewhere(server))).embed(["oui"])
    assert {None} == set(server.embedding_keys)
    assert all("authorization" in names for path, names in server.headers if path == "/v1/models")
