"""Preflight of a server before anything is scored: names, fields, version, live adapters, batches and seeds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

from pytest_jarvis.engines.base import PROBES
from pytest_jarvis.engines.server.client import FIELDS, Field, ServerAnswer, ServerClient, ServerRequest
from pytest_jarvis.engines.server.connection import (
    ADVICE_ON_SILENCE,
    AttemptError,
    Connection,
    proxy_variable,
    time_limit,
)
from pytest_jarvis.files import shorten, text_digest, well_formed
from pytest_jarvis.types import BASE_ARM, AdapterProof, EngineError, ModelSpec, Note, ServedModel

_FACTS: Final = ("owned_by", "root", "parent", "max_model_len")
_VERSION_PATHS: Final = (("/version", "version"), ("/api/version", "version"), ("/props", "build_info"))
"""Paths beside `/v1` where vLLM, Ollama and llama.cpp state their version."""
_LIST_S: Final = 30.0  # Longest time for the list of models, which needs no model loaded.
_SHORT_S: Final = 5.0
_MOST_NAMES: Final = 10  # Names shown of a long list.
_VERSION: Final = re.compile(r"/v\d\w*/?$")
_STATUS_OF_PROXY: Final = frozenset({407, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Result of the preflight."""

    models: tuple[ServedModel, ...]
    version: str | None
    fingerprint: str | None
    counted: bool
    """Whether the server counts tokens."""
    probes: ProbeResults
    repeats: Repeats | None


async def inspect(connection: Connection, client: ServerClient, spec: ModelSpec, *, sampled: bool) -> Inspection:
    """Return what the preflight finds; EngineError for an unusable server. `sampled`: seeds matter."""
    arms = {BASE_ARM: spec.base_model_id, **{adapter.name: adapter.source for adapter in spec.adapters}}
    try:
        models = await _served(connection, client, arms)
        fingerprint, counted = await _learn_fields(client, spec.base_model_id)
        probes = await prove(client, spec, arms)
        repeats = await check_seeds(client, list(arms.values())[: 2 if probes.mixes else 1]) if sampled else None
    except AttemptError as error:
        raise EngineError(f"{connection.base_url}: {error.reason}{_advice(connection, error)}") from error
    if not spec.allow_inert_adapter:
        refuse_inert(probes.proofs)
    return Inspection(
        models=models,
        version=await _version(connection),
        fingerprint=fingerprint,
        counted=counted,
        probes=probes,
        repeats=repeats,
    )


async def _served(connection: Connection, client: ServerClient, arms: Arms) -> tuple[ServedModel, ...]:
    """Return each arm's model, by the list or an answer (lists may be short); EngineError for a name not served."""
    try:
        async with time_limit(min(_LIST_S, connection.preflight_s)):
            listed = _entries(await connection.ask_whole("/models"))
    except AttemptError as error:
        if error.lost or error.status in {401, 403} or error.reason.code in {"server_web_page", "server_redirects"}:
            raise
        listed = {}
    found, loras, numbers = [], None, {}
    for arm, name in arms.items():
        # Ollama lists a name without a tag under `:latest`.
        entry = listed.get(name, listed.get(f"{name}:latest"))
        if entry is None and arm != BASE_ARM:
            loras = await _lora_adapters(connection) if loras is None else loras
            number = next((number for number, path in loras.items() if name in _names_of(path)), None)
            if number is not None:
                numbers[name], entry = number, {"root": loras[number]}
            elif loras:
                has = ", ".join(shorten(_file_of(path).name) for path in loras.values())
                raise EngineError(
                    f"{connection.base_url}: no adapter {name!r} is loaded there (--jarvis-adapter); it has: {has}"
                )
        if entry is None:
            await _ask_unlisted(connection, client, listed, arm, name)
        facts = {key: connection.clean(str(value)) for key in _FACTS if (value := (entry or {}).get(key)) is not None}
        found.append(ServedModel(arm=arm, name=name, facts=facts))
    if loras and numbers:
        base = arms[BASE_ARM]
        client.loras = {
            name: {"model": base, "lora": [{"id": one, "scale": float(one == numbers.get(name))} for one in loras]}
            for name in (base, *numbers)
        }
    return tuple(found)


async def _lora_adapters(connection: Connection) -> dict[int, str]:
    """Return the files of the adapters that a llama-server applies by request, by number; empty for any other server.

    https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md (GET /lora-adapters)
    """
    try:
        async with time_limit(_SHORT_S):
            listed = await connection.ask_whole(_beside(connection, "/lora-adapters"))
    except AttemptError:
        return {}
    entries = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {
        one["id"]: connection.clean(one["path"])
        for one in entries
        if type(one.get("id")) is int and isinstance(one.get("path"), str)
    }


def _file_of(path: str) -> PurePosixPath:
    return PurePosixPath(path.replace("\\", "/"))


def _names_of(path: str) -> set[str]:
    """Return the names by which a file may be given: its path, its name, and that without its ending."""
    return {path, _file_of(path).name, _file_of(path).stem}


def _entries(document: object) -> dict[str, dict[str, object]]:
    """Return the entries of a list of models by name; the list may be bare, and an entry a mere name."""
    found = document.get("data") or document.get("models") if isinstance(document, dict) else document
    listed = {}
    for item in found if isinstance(found, list) else []:
        entry = item if isinstance(item, dict) else {"id": item}
        name = next((entry[key] for key in ("id", "name", "model") if entry.get(key)), None)
        if isinstance(name, str):
            listed[well_formed(name)] = entry
    return listed


async def _ask_unlisted(
    connection: Connection, client: ServerClient, listed: Mapping[str, object], arm: str, name: str
) -> None:
    """Raise EngineError for a name that is a slip of a listed one, or under which the server does not answer."""
    shown, why = [known for known in listed if _is_slip(name, known)], ""
    if not shown:
        try:
            await client.try_fields(_first_request(name), frozenset())
        except AttemptError as error:
            if not listed:
                raise
            why = f" ({error.reason})" if error.passing else ""
        else:
            return
        shown = get_close_matches(name, listed, n=_MOST_NAMES, cutoff=0.0)
    option = "--jarvis-model" if arm == BASE_ARM else "--jarvis-adapter"
    names = ", ".join(map(shorten, sorted(listed) if len(listed) <= _MOST_NAMES else shown)) or "none"
    more = f" and {len(listed) - len(shown)} more" if len(listed) > _MOST_NAMES else ""
    raise EngineError(
        f"{connection.base_url}: no model {name!r} is served there ({option}){why}; served: {names}{more}"
    )


def _is_slip(name: str, known: str) -> bool:
    """Return whether two names differ by one slip of the keyboard; a digit is none: it tells versions apart."""
    changes = SequenceMatcher(None, name, known, autojunk=False).get_opcodes()
    changed = "".join(name[a:b] + known[c:d] for kind, a, b, c, d in changes if kind != "equal")
    return len(changed) <= 2 < min(len(name), len(known)) and not any(map(str.isdigit, changed))


def _advice(connection: Connection, error: AttemptError) -> str:
    proxy = proxy_variable(connection.base_url)
    if error.status in {401, 403}:
        said = "its key is refused" if connection.has_key else "it wants a key"
        return f"; {said}: set JARVIS_API_KEY"
    if error.is_silence:
        return f"; {ADVICE_ON_SILENCE}"
    if proxy and (error.lost or error.status in _STATUS_OF_PROXY):
        return f"; it is asked through the proxy in {proxy}: correct that, or name the server in NO_PROXY"
    if error.lost:
        return "; start the server, or correct --jarvis-base-url"
    is_page = error.reason.code == "server_web_page"
    if is_page or error.status in {404, 405} or not _VERSION.search(connection.base_url):
        return "; give the address up to and with /v1"
    return ""


async def _learn_fields(client: ServerClient, model: str) -> tuple[str | None, bool]:
    """Set the fields that `client` sends, if refused each tried alone; return fingerprint and whether tokens count."""
    request = _first_request(model)
    try:
        answer = await client.try_fields(request, frozenset(FIELDS))
    except AttemptError as error:
        if not error.may_be_refusal:
            raise
        answer = await client.try_fields(request, frozenset())
        client.accepted = frozenset([field for field in FIELDS if await _accepts(client, request, field)])
        if "usage" in client.accepted:
            answer = await client.try_fields(request, client.accepted)
    return answer.fingerprint, answer.counted


async def _accepts(client: ServerClient, request: ServerRequest, field: Field) -> bool:
    try:
        await client.try_fields(request, frozenset({field}))
    except AttemptError as error:
        if not error.may_be_refusal:
            raise
        return False
    return True


def _first_request(model: str) -> ServerRequest:
    return ServerRequest(model=model, text=PROBES[0], seed=1, max_tokens=1, temperature=0.0)


def _beside(connection: Connection, path: str) -> str:
    """Return the address of a path beside `/v1`."""
    address = urlsplit(connection.base_url)
    root = address.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((address.scheme, address.netloc, root + path, "", ""))


async def _version(connection: Connection) -> str | None:
    """Return the version that a server states at one of the usual paths."""
    for path, key in _VERSION_PATHS:
        try:
            async with time_limit(_SHORT_S):
                answer = await connection.ask_whole(_beside(connection, path))
        except AttemptError:
            continue
        if isinstance(answer, dict) and isinstance(found := answer.get(key), str):
            return connection.clean(found)
    return None


Arms = Mapping[str, str]
"""Arm -> the name its model is served under; the base first."""
Repeats = Literal["always", "alone", "never"]

PROBE_TOKENS: Final = 16
_LEAST_CHANGE: Final = 1e-5
_SEED_PROBES: Final = PROBES[:2]
_SEEDS: Final = (1, 2, 3)
_TEMPERATURE: Final = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResults:
    """Result of the probes."""

    proofs: tuple[AdapterProof, ...]
    mixing_fault: Note | None
    """Why requests of several arms may not be in flight together; None where they may."""
    answers: Mapping[str, str]
    """By arm: the digest of its greedy answers to the probes, which tells other weights under the same name."""

    @property
    def mixes(self) -> bool:
        """Whether requests of all arms may be in flight together."""
        return self.mixing_fault is None


async def prove(client: ServerClient, spec: ModelSpec, arms: Arms) -> ProbeResults:
    """Return what each adapter's name changes, and whether each arm keeps its answers beside requests of the others.

    The answers are greedy. Each arm is asked alone, the base once more after all adapters, then all together: a server
    may ignore an adapter's name (vLLM #49354) or let an adapter into the base's rows of a batch (vLLM #48421).
    """
    alone = {arm: await _ask_all(client, [name]) for arm, name in arms.items()}
    answers = {arm: text_digest("\x1f".join(one.said for one in found)) for arm, found in alone.items()}
    if not spec.adapters:
        return ProbeResults(proofs=(), mixing_fault=None, answers=answers)
    again = await _ask_all(client, [arms[BASE_ARM]])
    together = await _ask_all(client, list(arms.values()))
    mixed = {arm: together[index :: len(arms)] for index, arm in enumerate(arms)}
    proofs = tuple(
        _prove_one(adapter.name, adapter.source, alone[adapter.name], alone[BASE_ARM], again)
        for adapter in spec.adapters
    )
    live = {seen.name for seen in proofs if seen.live}
    faults = (_mixing_fault(arm, mixed[arm], alone, live) for arm in arms)
    fault = next((fault for fault in faults if fault is not None), None)
    return ProbeResults(proofs=proofs, mixing_fault=fault, answers=answers)


def refuse_inert(proofs: Sequence[AdapterProof]) -> None:
    """Raise EngineError when the answers under an adapter's name are the base's."""
    for seen in proofs:
        if not seen.live:
            raise EngineError(
                f"adapter '{seen.name}': the adapter changes nothing, the server gives the base's answers to "
                f"{seen.probes} probe prompts under the name {seen.source!r}; see how it was told to load it "
                "(--jarvis-allow-inert-adapter accepts it, to compare the base with itself)"
            )


async def check_seeds(client: ServerClient, names: Sequence[str]) -> Repeats | None:
    """Return when a request repeats with its seed: alone, or beside others as in a run; None when no seed matters."""

    def ask(text: str, seed: int, name: str) -> ServerRequest:
        return ServerRequest(model=name, text=text, seed=seed, max_tokens=PROBE_TOKENS, temperature=_TEMPERATURE)

    alone = [[(await client.rehearse(ask(text, 1, names[0]))).said for text in _SEED_PROBES] for _ in range(2)]
    if alone[0] != alone[1]:
        return "never"
    requests = [ask(text, seed, name) for text in _SEED_PROBES for seed in _SEEDS for name in names]
    first = [answer.said for answer in await asyncio.gather(*map(client.rehearse, requests))]
    second = [answer.said for answer in await asyncio.gather(*map(client.rehearse, reversed(requests)))]
    if first != second[::-1]:
        return "alone"
    texts: dict[tuple[str, str], set[str]] = {}
    for one, text in zip(requests, first, strict=True):
        texts.setdefault((one.text, one.model), set()).add(text)
    return "always" if any(len(found) > 1 for found in texts.values()) else None


async def _ask_all(client: ServerClient, names: Sequence[str]) -> list[ServerAnswer]:
    """Return greedy answers to the probes by each of `names`, all in flight at once, grouped by probe."""
    requests = [
        ServerRequest(model=name, text=text, seed=1, max_tokens=PROBE_TOKENS, temperature=0.0, is_probe=True)
        for text in PROBES
        for name in names
    ]
    return await asyncio.gather(*map(client.probe, requests))


def _prove_one(
    name: str, source: str, found: Sequence[ServerAnswer], base: Sequence[ServerAnswer], again: Sequence[ServerAnswer]
) -> AdapterProof:
    """Return the proof of one adapter from its answers and the base's, asked before and after."""
    change, drift = largest_change(found, base), largest_change(base, again)
    # A text counts only where the base repeated its own.
    changed = sum(tuned.said != one.said == other.said for tuned, one, other in zip(found, base, again, strict=True))
    # Twice the base's own drift: rounding in a batch moves log-probabilities too.
    live = changed > 0 if change is None or drift is None else change > 2 * drift + _LEAST_CHANGE
    return AdapterProof(
        name=name,
        source=source,
        live=live,
        max_logprob_change=change,
        max_logprob_drift=drift,
        texts_changed=changed,
        probes=len(found),
    )


def _mixing_fault(
    arm: str, mixed: Sequence[ServerAnswer], alone: Mapping[str, Sequence[ServerAnswer]], live: set[str]
) -> Note | None:
    """Return how an arm's answers beside others are off by half of what tells two arms apart or more, or None."""
    for other in alone:
        if other == arm or not {arm, other} & live:
            continue
        error, apart = largest_change(mixed, alone[arm]), largest_change(alone[arm], alone[other])
        if error is not None and apart is not None:
            if error >= apart / 2 > 0:
                return Note("logprobs_off_beside", {"other": other, "name": arm, "size": error, "apart": apart})
            continue
        for seen, own, others in zip(mixed, alone[arm], alone[other], strict=True):
            if seen.said == others.said != own.said:
                return Note("answers_of_another", {"other": other, "name": arm})
    return None


def largest_change(one: Sequence[ServerAnswer], other: Sequence[ServerAnswer]) -> float | None:
    """Return the largest difference of a log-probability between two lists of answers; None without any.

    Compared as long as the likeliest tokens agree: from there on the texts differ. A token that only one of two places
    lists counts with the bound given by the other's least likely one.
    """
    changes = [
        _change(left, right)
        for first, second in zip(one, other, strict=True)
        for left, right in _common_places(first.places, second.places)
    ]
    return max(changes, default=None)


def _common_places(
    one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]
) -> list[tuple[Mapping[str, float], Mapping[str, float]]]:
    found = []
    for left, right in zip(one, other, strict=False):
        if not left or not right:
            break
        found.append((left, right))
        if max(left, key=left.__getitem__) != max(right, key=right.__getitem__):
            break
    return found


def _change(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    shared = [abs(left[token] - right[token]) for token in left.keys() & right.keys()]
    alone = [
        here[token] - min(there.values())
        for here, there in ((left, right), (right, left))
        for token in here.keys() - there.keys()
    ]
    return max([*shared, *alone, 0.0])
