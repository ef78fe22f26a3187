"""Proofs at load: adapters are live, the base is unchanged, arithmetic is batch-invariant, arms may share a batch."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_jarvis.engines.base import PROBES
from pytest_jarvis.engines.transformers.generation.batching import padded_length
from pytest_jarvis.engines.transformers.generation.forward import greedy_tokens, last_logits
from pytest_jarvis.engines.transformers.generation.steps import distance, may_reroute, tolerance
from pytest_jarvis.engines.transformers.loading.base import Base
from pytest_jarvis.engines.transformers.lora.arms import find_mixing_obstacle, peft_name, restore_arm_names
from pytest_jarvis.engines.transformers.lora.attach import attach
from pytest_jarvis.engines.transformers.lora.files import AdapterFiles
from pytest_jarvis.types import BASE_ARM, AdapterProof, EngineError, Note, text_note

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInvariance:
    """Whether a row gave the same bits in two batches of different shapes."""

    holds: bool
    largest_difference: float
    """Of a logit, between the two batches."""
    row_token_s: float
    """Seconds per token and row in the larger batch."""
    exact: bool = True
    """Whether the arithmetic has 32 bits; in 16 bits, near-ties elsewhere may show what the probes do not."""
    tokens: int = 0
    """Number of positions of the probes whose most probable token was compared between two batches."""
    other_tokens: int = 0
    """Number of those where it differed."""

    def notes(self) -> Iterator[Note]:
        """Yield the notes of the report."""
        if self.holds:
            yield Note("same_bits" if self.exact else "same_bits_of_probes")
        else:
            yield Note("batch_changes_bits", {"size": self.largest_difference})
        if self.tokens:
            yield Note("batch_changes_tokens", {"others": self.other_tokens, "tokens": self.tokens})


def check_batch_invariance(model: Any, prompts: Sequence[Sequence[int]], *, pad: int) -> BatchInvariance:
    """Compare a probe's logits alone with those in a batch; in 16 bits, also tokens in one five times as large."""
    shortest = min(prompts, key=len)
    alone = last_logits(model, [shortest], [BASE_ARM], pad=pad)[0]
    crowd = [*prompts, *prompts, *prompts, *prompts, *prompts, shortest]
    started = time.perf_counter()
    among = last_logits(model, crowd, [BASE_ARM] * len(crowd), pad=pad)[-1]
    difference = float((alone - among).abs().max())
    seconds = time.perf_counter() - started
    exact = model.dtype.itemsize >= 4
    pairs: list[tuple[int, int]] = []
    if not exact:
        few, many = (greedy_tokens(model, [*prompts] * times, pad=pad, first=len(prompts)) for times in (1, 5))
        pairs = [pair for both in map(zip, few, many) for pair in both]
    return BatchInvariance(
        holds=bool((alone == among).all()),
        largest_difference=difference,
        row_token_s=seconds / (len(crowd) * padded_length(max(map(len, crowd)))),
        exact=exact,
        tokens=len(pairs),
        other_tokens=sum(one != other for one, other in pairs),
    )


def logits_by_arm(
    model: Any, arms: Sequence[str], prompts: Sequence[Sequence[int]], *, pad: int
) -> dict[str, torch.Tensor]:
    """Return each arm's logits after each prompt, (prompts, vocabulary), in one pass per arm."""
    return {arm: last_logits(model, prompts, [arm] * len(prompts), pad=pad) for arm in arms}


def refuse_not_finite(name: str, logits: Mapping[str, torch.Tensor], *, dtype: torch.dtype) -> None:
    """Raise EngineError for the first arm whose `logits`, by arm, are not all finite."""
    import torch

    for arm, found in logits.items():
        if bool(found.isfinite().all()):
            continue
        who = "the base" if arm == BASE_ARM else f"adapter '{arm}'"
        cure = "" if dtype == torch.float32 else ", or set device_map to 'cpu' to compute in 32 bits"
        raise EngineError(
            f"{name}: {who} gives logits that are not finite on the probe prompts: its weights are damaged, or they "
            f"overflow in {str(dtype).removeprefix('torch.')}; compare its files with their source{cure}"
        )


def try_mixed(
    model: Any, apart: Mapping[str, torch.Tensor], prompts: Sequence[Sequence[int]], *, pad: int, live: Collection[str]
) -> Note | None:
    """Return why one batch of all arms does not give the logits `apart`, showing the `live` adapters, or None."""
    import torch

    reason = find_mixing_obstacle([arm for arm in apart if arm != BASE_ARM], model)
    if reason is not None:
        return reason
    rows = [prompt for _ in apart for prompt in prompts]
    names = [arm for arm in apart for _ in prompts]
    try:
        together = last_logits(model, rows, names, pad=pad)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        message = restore_arm_names(" ".join(str(error).split())).rstrip(".")
        return text_note(message or type(error).__name__)
    if not bool(together.isfinite().all()):
        return Note("mixed_not_finite")
    allowed = tolerance(model.dtype) * max(1.0, *(float(logits.abs().max()) for logits in apart.values()))
    found = dict(zip(apart, together.split(len(prompts)), strict=True))
    rerouted = may_reroute(model)
    difference = max(distance(found[arm], logits, rerouted=rerouted) for arm, logits in apart.items())
    if difference > allowed:
        return Note("mixed_logits_differ", {"size": difference})
    reasons = (
        _find_lost_effect(arm, found[arm], own=apart[arm], base=apart[BASE_ARM], rerouted=rerouted)
        for arm in apart
        if arm in live
    )
    return next((reason for reason in reasons if reason is not None), None)


def _find_lost_effect(
    arm: str, found: torch.Tensor, *, own: torch.Tensor, base: torch.Tensor, rerouted: bool
) -> Note | None:
    """Return how an adapter's rows in a mixed batch lack its effect, for which `tolerance` is too wide, or None."""
    change, error = (distance(one, own, rerouted=rerouted) for one in (base, found))
    if error >= change / 2:
        return Note("mixed_adapter_off", {"name": arm, "size": error, "change": change})
    if bool(((found - own).norm(dim=-1) > (found - base).norm(dim=-1)).any()):
        return Note("mixed_adapter_lost", {"name": arm})
    return None


def prove_adapters(
    model: Any, adapters: Sequence[AdapterFiles], logits: Mapping[str, torch.Tensor], before: torch.Tensor
) -> tuple[AdapterProof, ...]:
    """Return each adapter's proof, from `logits` by arm and the base's `before`: (prompts, vocabulary)."""
    off = logits[BASE_ARM]
    drift = float((off - before).abs().max())
    changes = {adapter.name: float((logits[adapter.name] - off).abs().max()) for adapter in adapters}
    return tuple(
        AdapterProof(
            name=adapter.name,
            source=adapter.source,
            sha256=adapter.sha256,
            rank=adapter.rank,
            targets=adapter.targets,
            weights=sum(
                parameter.numel()
                for name, parameter in model.named_parameters()
                if f".{peft_name(adapter.name)}." in f"{name}."
            ),
            max_logit_change=changes[adapter.name],
            base_unchanged=bool((off == before).all()),
            max_base_drift=drift,
            live=changes[adapter.name] > drift,
        )
        for adapter in adapters
    )


def refuse_moved_base(
    adapters: Sequence[AdapterFiles], logits: Mapping[str, torch.Tensor], before: torch.Tensor, *, rounding: float
) -> None:
    """Raise EngineError when the base, all adapters off, is further than `rounding` from its logits `before`."""
    moved = _measure_drift(logits[BASE_ARM], before, rounding)
    if moved is not None:
        names = ", ".join(f"'{adapter.name}'" for adapter in adapters)
        who = f"adapter {names}: with it off" if len(adapters) == 1 else f"adapters {names}: with all of them off"
        raise EngineError(
            f"{who}, the base's logits moved by up to {moved:.2g} on the probe prompts, so that there is no base left "
            "to compare with; save the adapter as a plain LoRA, or take another one"
        )


def refuse_moved_adapters(
    alone: Mapping[str, torch.Tensor], logits: Mapping[str, torch.Tensor], *, rounding: float
) -> None:
    """Raise EngineError when an adapter is further than `rounding` from its logits `alone`."""
    for name, expected in alone.items():
        moved = _measure_drift(logits[name], expected, rounding)
        if moved is not None:
            raise EngineError(
                f"adapter '{name}': its logits moved by up to {moved:.2g} on the probe prompts when the other adapters "
                "were attached; compare it with the base in a run of its own"
            )


def allowed_rounding(dtype: torch.dtype, device: torch.device, batch_invariance: BatchInvariance) -> float:
    """Return how far the base's logits may move, relative to the largest: 0 on a CPU whose arithmetic is invariant."""
    import torch

    exact = dtype == torch.float32 and device.type == "cpu" and batch_invariance.holds
    return 0.0 if exact else tolerance(dtype)


def _measure_drift(found: torch.Tensor, expected: torch.Tensor, rounding: float) -> float | None:
    distance = float((found - expected).abs().max())
    return None if distance <= rounding * max(1.0, float(expected.abs().max())) else distance


def refuse_inert(proofs: Sequence[AdapterProof]) -> None:
    """Raise EngineError when an adapter moves no logit of any probe by more than rounding does."""
    for seen in proofs:
        if not seen.live:
            least = f" by more than the {seen.max_base_drift:.2g} of rounding" if seen.max_base_drift else ""
            raise EngineError(
                f"adapter '{seen.name}': the adapter changes nothing, no logit of {len(PROBES)} probe prompts moves "
                f"with it on{least} (--jarvis-allow-inert-adapter accepts it, to compare the base with itself)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Probe prompts, and the base's logits for them before any adapter was attached."""

    name: str
    """Of the base, for errors."""
    prompts: Sequence[Sequence[int]]
    pad: int
    before: torch.Tensor
    batch_invariance: BatchInvariance


def attach_and_prove(
    base: Base, files: list[AdapterFiles], probes: Probes, *, allow_inert: bool
) -> tuple[Any, tuple[AdapterProof, ...], Note | None]:
    """Return (model, proofs, why arms share no batch or None); EngineError for an adapter that cannot be used."""
    prompts, pad, dtype = probes.prompts, probes.pad, base.compute_dtype
    alone: dict[str, torch.Tensor] = {}

    def keep_logits(model: Any, adapter: AdapterFiles) -> None:
        if adapter is not files[-1]:
            alone.update(logits_by_arm(model, [adapter.name], prompts, pad=pad))

    model: Any = attach(base.model, files, keep_logits)
    logits = logits_by_arm(model, [BASE_ARM, *(adapter.name for adapter in files)], prompts, pad=pad)
    refuse_not_finite(probes.name, logits, dtype=dtype)
    rounding = allowed_rounding(dtype, base.device, probes.batch_invariance)
    refuse_moved_base(files, logits, probes.before, rounding=rounding)
    refuse_moved_adapters(alone, logits, rounding=tolerance(dtype))
    proofs = prove_adapters(model, files, logits, probes.before)
    if not allow_inert:
        refuse_inert(proofs)
    live = {seen.name for seen in proofs if seen.live}
    return model, proofs, try_mixed(model, logits, prompts, pad=pad, live=live)
