"""The adapters attached and proved, one after the other: each alive, the base and each other as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_jarvis.engines.transformers import proof
from pytest_jarvis.engines.transformers.adapter_files import AdapterFiles
from pytest_jarvis.engines.transformers.adapters import attach
from pytest_jarvis.engines.transformers.loading import Base
from pytest_jarvis.records import BASE_ARM, AdapterProof

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A base with its adapters, and what was seen of them."""

    model: Any
    proofs: tuple[AdapterProof, ...]
    mixed: proof.MixedTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Prompts, and what the base answered to them before anything was attached to it."""

    name: str
    """Of the base, for sentences."""
    prompts: Sequence[Sequence[int]]
    pad: int
    before: torch.Tensor
    steadiness: proof.Steadiness


def attach_and_prove(base: Base, files: list[AdapterFiles], probes: Probes, *, allow_inert: bool) -> Proven:
    """Return `base` with the adapters of `files` attached and proved.

    Raises EngineError for an adapter that cannot be attached, gives logits that are not finite, changes the base or
    another adapter, or, unless `allow_inert`, changes nothing.
    """
    prompts, pad, dtype = probes.prompts, probes.pad, base.compute_dtype
    alone: dict[str, torch.Tensor] = {}

    def look(model: Any, adapter: AdapterFiles) -> None:
        if adapter is not files[-1]:
            alone.update(proof.logits_by_arm(model, [adapter.name], prompts, pad=pad))

    model: Any = attach(base.model, files, look)
    logits = proof.logits_by_arm(model, [BASE_ARM, *(adapter.name for adapter in files)], prompts, pad=pad)
    proof.refuse_not_finite(probes.name, logits, dtype=dtype)
    rounding = proof.may_round(dtype, base.device, probes.steadiness)
    proof.refuse_moved_base(files, logits, probes.before, rounding=rounding)
    proof.refuse_moved_adapters(alone, logits, rounding=proof.tolerance(dtype))
    proofs = proof.prove_adapters(model, files, logits, probes.before)
    if not allow_inert:
        proof.refuse_inert(proofs)
    live = {seen.name for seen in proofs if seen.live}
    return Proven(model=model, proofs=proofs, mixed=proof.try_mixed(model, logits, prompts, pad=pad, live=live))
