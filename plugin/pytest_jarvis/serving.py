"""Where a server is and how it is asked, from the section `model` of the configuration."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from pytest_jarvis.config import DEMO, ModelSection
from pytest_jarvis.reading import InputError
from pytest_jarvis.records import ServerSpec

BASE_URL: Final = "model.base_url (--jarvis-base-url)"
EMBEDDING_URL: Final = "model.embedding_url"


def server_spec(section: ModelSection) -> ServerSpec:
    """Return where the server is and how it is asked; raise InputError without an address, or for one with a key."""
    where = "--jarvis-engine server"
    if section.base_url is None:
        raise InputError(
            f"{where}: which server? give its address with --jarvis-base-url (such as http://localhost:8000/v1) "
            "or in model.base_url of the configuration"
        )
    if section.base_model_id == DEMO:
        raise InputError(f"{where}: which model is the base? give the name it is served under with --jarvis-model")
    return ServerSpec(
        base_url=_address(section.base_url, BASE_URL),
        concurrency=section.concurrency,
        retries=section.retries,
        embedding_model=section.embedding_model,
        embedding_url=None if section.embedding_url is None else _address(section.embedding_url, EMBEDDING_URL),
    )


def refuse_addresses(section: ModelSection) -> None:
    """Raise InputError for an address of a server that none could have, or with a key; whatever engine is asked for.

    Addresses are printed where no server is asked too, and what is no address may hold a key as well.
    """
    if section.base_url is not None:
        _address(section.base_url, BASE_URL)
    if section.embedding_url is not None:
        _address(section.embedding_url, EMBEDDING_URL)


def _address(text: str, where: str) -> str:
    """Return a server's address without a closing slash, with the `/v1` that an address without a path lacks.

    The message of an error does not repeat what could hold a key.
    """
    try:
        parts = urlsplit(text)
        named = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named:
        raise InputError(f"{where}: expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"{where}: an address stands in reports: give it without user, password or query, "
            "and a key in the environment variable JARVIS_API_KEY"
        )
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"
