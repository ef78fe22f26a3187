"""The way to a server: a redirect leads to no other, loopback is asked directly, and a proxy is named."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pytest_jarvis.types import EngineError, Note, Response

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def elsewhere(server: Any) -> str:
    """Return the address of the same machine under another name: another origin."""
    return str(server.url.replace("127.0.0.1", "localhost"))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_nothing_is_sent_there(
    server, load, requests_of, fault, status: int
) -> None:
    engine = load(adapters=())
    where = f"{elsewhere(server)}/chat/completions"
    server.fault = lambda _body, _number: fault(status=status, headers={"Location": where})
    before = len(server.asked)
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert outcome.reason == Note("server_redirects", {"where": elsewhere(server).removesuffix("/v1")})
    assert len(server.asked) - before == 1


def test_a_list_of_models_elsewhere_is_not_fetched(server, load, fault) -> None:
    server.models = fault(status=302, headers={"Location": f"{elsewhere(server)}/models"})
    with pytest.raises(EngineError, match=r"sends on to http://localhost:\d+, where nothing is asked"):
        load()


def test_a_redirect_on_the_same_server_is_followed(server, load, requests_of, fault) -> None:
    engine = load(adapters=())
    first = len(server.asked)
    moved = fault(status=307, headers={"Location": "/v1/chat/completions"})
    server.fault = lambda _body, number: moved if number == first else None
    (outcome,) = engine.generate(requests_of(prompts=1, replicates=1, arms=("base",)))
    assert isinstance(outcome, Response)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9", "nonsense://x"])
def test_loopback_is_asked_directly(server, load, monkeypatch, variable: str, proxy: str) -> None:
    monkeypatch.setenv(variable, proxy)
    assert load(adapters=()).describe().server is not None
    server.url = elsewhere(server)
    assert load(adapters=()).describe().server is not None


def test_a_server_in_no_proxy_is_asked_directly_whatever_the_proxies_are(server, load, monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")
    monkeypatch.setenv("NO_PROXY", "models.example")
    server.url = "http://models.example:9/v1"
    with pytest.raises(EngineError, match=r"cannot be reached; start the server, or correct --jarvis-base-url$"):
        load()


@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_one_sentence_with_its_variable(
    server, load, monkeypatch, variable: str, proxy: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(variable, proxy)
    server.url = "http://models.example/v1"
    with pytest.raises(EngineError, match=f"^{variable}: no such proxy can be used; "):
        load()


def test_a_dead_proxy_is_named_and_not_the_server(server, load, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.url = "http://models.example/v1"
    with pytest.raises(EngineError, match="cannot be reached; it is asked through the proxy in http_proxy: correct"):
        load()


def test_a_proxy_that_refuses_is_named(server, load, fault, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    server.fault = lambda _body, _number: fault(status=502)
    server.url = "http://models.example/v1"
    with pytest.raises(EngineError, match="it is asked through the proxy in HTTP_PROXY: correct"):
        load(retries=0)
