"""What is proved of a server's answers: live adapters, rows that keep apart in a batch, seeds that are honoured."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pytest_jarvis.engines.base import PROBES
from pytest_jarvis.engines.server.client import Ask, Asker, Probed, largest_change
from pytest_jarvis.types import BASE_ARM, AdapterProof, EngineError, ModelSpec, Note

Arms = Mapping[str, str]
"""Arm -> the name its model is served under; the base first."""
Repeats = Literal["always", "alone", "never"]

PROBE_TOKENS: Final = 16
_LEAST_CHANGE: Final = 1e-5
_SEED_PROBES: Final = PROBES[:2]
_SEEDS: Final = (1, 2, 3)
_TEMPERATURE: Final = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What the probes showed."""

    proofs: tuple[AdapterProof, ...]
    mixing_fault: Note | None
    """Why requests of several arms may not be under way together; None where they may."""
    answers: Mapping[str, str]
    """By arm: the digest of its greedy answers to the probes, by which other weights under one name show."""

    @property
    def mixes(self) -> bool:
        """Whether requests of all arms may be under way together."""
        return self.mixing_fault is None


async def prove(asker: Asker, spec: ModelSpec, arms: Arms) -> Proven:
    """Return what each adapter's name changes, and whether each arm keeps its answers beside requests of the others.

    The answers are greedy. Each arm is asked by itself, the base once more after all adapters, then all together: a
    server may ignore an adapter's name (vLLM #49354) or let an adapter into the base's rows of a batch (vLLM #48421).
    """
    alone = {arm: await _ask_all(asker, [name]) for arm, name in arms.items()}
    answers = {arm: _digest(found) for arm, found in alone.items()}
    if not spec.adapters:
        return Proven(proofs=(), mixing_fault=None, answers=answers)
    again = await _ask_all(asker, [arms[BASE_ARM]])
    together = await _ask_all(asker, list(arms.values()))
    mixed = {arm: together[index :: len(arms)] for index, arm in enumerate(arms)}
    proofs = tuple(
        _prove_one(adapter.name, adapter.source, alone[adapter.name], alone[BASE_ARM], again)
        for adapter in spec.adapters
    )
    live = {seen.name for seen in proofs if seen.live}
    faults = (_mixing_fault(arm, mixed[arm], alone, live) for arm in arms)
    fault = next((fault for fault in faults if fault is not None), None)
    return Proven(proofs=proofs, mixing_fault=fault, answers=answers)


def refuse_inert(proofs: Sequence[AdapterProof]) -> None:
    """Raise EngineError when the answers under an adapter's name are the base's."""
    for seen in proofs:
        if not seen.live:
            raise EngineError(
                f"adapter '{seen.name}': the adapter changes nothing, the server gives the base's answers to "
                f"{seen.probes} probe prompts under the name {seen.source!r}; see how it was told to load it "
                "(--jarvis-allow-inert-adapter accepts it, to compare the base with itself)"
            )


async def see_seeds(asker: Asker, names: Sequence[str]) -> Repeats | None:
    """Return when the same request with the same seed gives the same text; None when no seed changes a text.

    Alone, one after the other; then twice beside many others, in another order, as requests of the run are.
    """

    def ask(text: str, seed: int, name: str) -> Ask:
        return Ask(model=name, text=text, seed=seed, max_tokens=PROBE_TOKENS, temperature=_TEMPERATURE)

    alone = [[(await asker.rehearse(ask(text, 1, names[0]))).text for text in _SEED_PROBES] for _ in range(2)]
    if alone[0] != alone[1]:
        return "never"
    asks = [ask(text, seed, name) for text in _SEED_PROBES for seed in _SEEDS for name in names]
    first = [said.text for said in await asyncio.gather(*map(asker.rehearse, asks))]
    second = [said.text for said in await asyncio.gather(*map(asker.rehearse, reversed(asks)))]
    if first != second[::-1]:
        return "alone"
    texts: dict[tuple[str, str], set[str]] = {}
    for one, text in zip(asks, first, strict=True):
        texts.setdefault((one.text, one.model), set()).add(text)
    return "always" if any(len(found) > 1 for found in texts.values()) else None


async def _ask_all(asker: Asker, names: Sequence[str]) -> list[Probed]:
    """Return greedy answers to the probes by each of `names`, all at once, those to a probe beside each other."""
    asks = [
        Ask(model=name, text=text, seed=1, max_tokens=PROBE_TOKENS, temperature=0.0, is_probe=True)
        for text in PROBES
        for name in names
    ]
    return await asyncio.gather(*map(asker.probe, asks))


def _digest(found: Sequence[Probed]) -> str:
    """Return the digest of the texts of answers."""
    return hashlib.sha256("\x1f".join(one.text for one in found).encode()).hexdigest()


def _prove_one(
    name: str, source: str, found: Sequence[Probed], base: Sequence[Probed], again: Sequence[Probed]
) -> AdapterProof:
    """Return the proof of one adapter from its answers and the base's, asked before and after."""
    change, drift = largest_change(found, base), largest_change(base, again)
    # A text counts only where the base gave the same one twice.
    changed = sum(tuned.text != one.text == other.text for tuned, one, other in zip(found, base, again, strict=True))
    # Twice what the base's own answers differ by: rounding in a batch moves log-probabilities too.
    live = changed > 0 if change is None or drift is None else change > 2 * drift + _LEAST_CHANGE
    return AdapterProof(
        name=name,
        source=source,
        sha256=None,
        rank=None,
        targets=(),
        weights=None,
        max_logit_change=None,
        base_unchanged=None,
        max_base_drift=None,
        live=live,
        max_logprob_change=change,
        max_logprob_drift=drift,
        texts_changed=changed,
        probes=len(found),
    )


def _mixing_fault(
    arm: str, mixed: Sequence[Probed], alone: Mapping[str, Sequence[Probed]], live: set[str]
) -> Note | None:
    """Return how an arm's answers beside those of other arms differ from its own, None when they do not.

    Half of what tells two arms apart is too much: the arm is then not itself any more.
    """
    for other in alone:
        if other == arm or not {arm, other} & live:
            continue
        error, apart = largest_change(mixed, alone[arm]), largest_change(alone[arm], alone[other])
        if error is not None and apart is not None:
            if error >= apart / 2 > 0:
                return Note("logprobs_off_beside", {"other": other, "name": arm, "size": error, "apart": apart})
            continue
        for seen, own, others in zip(mixed, alone[arm], alone[other], strict=True):
            if seen.text == others.text != own.text:
                return Note("answers_of_another", {"other": other, "name": arm})
    return None
