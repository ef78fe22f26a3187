"""What is seen of a server before anything is scored: its names, its fields, its version, and what the proofs say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from pytest_jarvis.engines.base import PROBES
from pytest_jarvis.engines.server.client import FIELDS, Ask, Asker, Field
from pytest_jarvis.engines.server.connection import (
    ADVICE_ON_SILENCE,
    AttemptError,
    Connection,
    answered_within,
    client_errors,
)
from pytest_jarvis.engines.server.proof import Arms, Proven, Repeats, prove, refuse_inert, see_seeds
from pytest_jarvis.types import BASE_ARM, EngineError, ModelSpec, ServedModel

_FACTS: Final = ("owned_by", "root", "parent", "max_model_len")
_VERSION_PATHS: Final = (("/version", "version"), ("/api/version", "version"), ("/props", "build_info"))
"""Where vLLM, Ollama and llama.cpp say their version, beside `/v1`."""
_LIST_S: Final = 30.0
"""The longest time for the list of models, which waits for no model."""
_SHORT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that the preflight saw."""

    models: tuple[ServedModel, ...]
    version: str | None
    fingerprint: str | None
    counted: bool
    """Whether the server counts tokens."""
    proven: Proven
    repeats: Repeats | None


async def inspect(connection: Connection, asker: Asker, spec: ModelSpec, *, sampled: bool) -> Inspection:
    """Return what is seen of the server; raise EngineError for one that cannot be used.

    `sampled`: whether the run draws at random, so that seeds matter. `asker` learns which fields the server takes.
    """
    arms = {BASE_ARM: spec.base_model, **{adapter.name: adapter.source for adapter in spec.adapters}}
    models = await _served(connection, arms)
    try:
        fingerprint, counted = await _learn_fields(asker, spec.base_model)
        proven = await prove(asker, spec, arms)
        repeats = await see_seeds(asker, list(arms.values())[: 2 if proven.mixes else 1]) if sampled else None
    except AttemptError as error:
        raise EngineError(f"{connection.base_url}: {error.reason}{_advice(connection, error)}") from error
    if not spec.allow_inert_adapter:
        refuse_inert(proven.proofs)
    return Inspection(
        models=models,
        version=await _version(connection),
        fingerprint=fingerprint,
        counted=counted,
        proven=proven,
        repeats=repeats,
    )


async def _served(connection: Connection, arms: Arms) -> tuple[ServedModel, ...]:
    """Return each arm's model as the server lists it; raise EngineError for a name that is not listed."""
    try:
        async with answered_within(min(_LIST_S, connection.preflight_s)):
            page = await connection.client.models.list()
        listed = {str(model.id): model for model in page.data}
    except client_errors() as error:
        read = connection.read_error(error)
        raise EngineError(f"{connection.base_url}: {read.reason}{_advice(connection, read)}") from error
    found = []
    for arm, name in arms.items():
        # Ollama lists a name without a tag under `:latest`.
        model = listed.get(name) or listed.get(f"{name}:latest")
        if model is None:
            option = "--jarvis-model" if arm == BASE_ARM else "--jarvis-adapter"
            raise EngineError(
                f"{connection.base_url}: no model {name!r} is served there ({option}); "
                f"served: {', '.join(sorted(listed)) or 'none'}"
            )
        facts = {key: str(value) for key in _FACTS if (value := getattr(model, key, None)) is not None}
        found.append(ServedModel(arm=arm, name=name, facts=facts))
    return tuple(found)


def _advice(connection: Connection, error: AttemptError) -> str:
    """Return what a user can do about a server that does not answer as hoped."""
    if error.status in {401, 403}:
        said = "its key is refused" if connection.has_key else "it wants a key"
        return f"; {said}: set JARVIS_API_KEY"
    if error.status == 404:
        return "; give the address up to and with /v1"
    if error.is_silence:
        return f"; {ADVICE_ON_SILENCE}"
    return "; start the server, or correct --jarvis-base-url" if error.lost else ""


async def _learn_fields(asker: Asker, model: str) -> tuple[str | None, bool]:
    """Have `asker` send what this server takes; return its fingerprint and whether it counts tokens.

    A refused request is asked again with nothing but the common core, then with each further field alone.
    """
    ask = Ask(model=model, text=PROBES[0], seed=1, max_tokens=1, temperature=0.0)
    try:
        said = await asker.once(ask, frozenset(FIELDS))
    except AttemptError as error:
        if error.status not in {400, 422}:
            raise
        said = await asker.once(ask, frozenset())
        asker.taken = frozenset([field for field in FIELDS if await _takes(asker, ask, field)])
        if "usage" in asker.taken:
            said = await asker.once(ask, asker.taken)
    return said.fingerprint, said.counted


async def _takes(asker: Asker, ask: Ask, field: Field) -> bool:
    try:
        await asker.once(ask, frozenset({field}))
    except AttemptError as error:
        if error.status not in {400, 422}:
            raise
        return False
    return True


async def _version(connection: Connection) -> str | None:
    """Return the version that a server states, where one of the usual places has it."""
    address = urlsplit(connection.base_url)
    for path, key in _VERSION_PATHS:
        root = address.path.rstrip("/").removesuffix("/v1")
        url = urlunsplit((address.scheme, address.netloc, root + path, "", ""))
        try:
            async with answered_within(_SHORT_S):
                said: Any = await connection.client.get(url, cast_to=object)
        except client_errors():
            continue
        if isinstance(said, dict) and isinstance(found := said.get(key), str):
            return connection.without_key(found)
    return None
