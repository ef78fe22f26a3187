"""Which server a configuration names, and what is no address."""

import msgspec
import pytest

from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.config import ModelSection, refuse_addresses, server_spec
from pytest_jarvis.types import ServerSpec


def server(**section: object) -> ServerSpec:
    return server_spec(msgspec.convert({"base_model_id": "base", **section}, ModelSection))


def test_a_server_takes_its_keys_from_the_model_section() -> None:
    found = server(base_url="http://h:8000/v1/", concurrency=4, retries=0, embedding_model="small")
    assert found == ServerSpec(base_url="http://h:8000/v1", concurrency=4, retries=0, embedding_model="small")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("https://h/api/v1", "https://h/api/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(given: str, expected: str) -> None:
    assert expected == server(base_url=given).base_url


@pytest.mark.parametrize("given", ["h:8000", "ftp://h/v1", "http://", "http://h:0/v1", "http://h:port/v1", ""])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="expected an address such as http://localhost:8000/v1"):
        server(base_url=given)


@pytest.mark.parametrize("given", ["http://me:key@h/v1", "http://key@h/v1", "http://h/v1?key=key", "http://h/v1#key"])
def test_an_address_with_a_key_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(InputError, match="JARVIS_API_KEY") as refused:
        server(base_url=given)
    assert given not in str(refused.value)


def test_a_server_needs_an_address_and_the_name_of_a_base() -> None:
    with pytest.raises(InputError, match="which server"):
        server()
    with pytest.raises(InputError, match="which model is the base"):
        server(base_model_id="demo", base_url="http://h/v1")


def test_vectors_may_be_made_elsewhere() -> None:
    assert server(base_url="http://h/v1", embedding_url="http://e:8001").embedding_url == "http://e:8001/v1"
    with pytest.raises(InputError, match=r"^model.embedding_url: expected an address"):
        server(base_url="http://h/v1", embedding_url="e:8001")


@pytest.mark.parametrize("key", ["base_url", "embedding_url"])
@pytest.mark.parametrize("given", ["http://me:key@h/v1", "me:key@h", "http://me:key@[h/v1"])
def test_an_address_with_a_key_is_refused_where_no_server_is_asked(key: str, given: str) -> None:
    with pytest.raises(InputError, match=rf"^model\.{key}") as refused:
        refuse_addresses(msgspec.convert({key: given}, ModelSection))
    assert "me:key" not in str(refused.value)


def test_addresses_that_are_some_are_not_refused() -> None:
    refuse_addresses(msgspec.convert({"base_url": "http://h", "embedding_url": "http://e"}, ModelSection))
    refuse_addresses(ModelSection())
