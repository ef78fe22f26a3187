"""Multiply by weights in 4 bits: dequantised, on a CPU, or as they are packed, by a kernel on a GPU.

On a CPU with bfloat16 instructions, bitsandbytes repacks a linear layer's weights at its first forward pass, rounds
their scales to bfloat16 and computes in bfloat16 whatever dtype was asked for: the weights are then no longer those
that were loaded, and differ from one machine to the next. Here a 4-bit layer multiplies by its weights as quantised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.footprint import CACHED_SHARE
from pytest_jarvis.engines.transformers.nf4.experts import PACKED, add_lora
from pytest_jarvis.types import Note, text_note

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


_TRIAL_TOKENS: Final = 24
_TOLERANCE: Final = {"torch.float32": 1e-5, "torch.float16": 2e-3, "torch.bfloat16": 8e-3}
"""Allowed error of the kernel against the product with dequantised weights, relative to the largest: it sums the same
weights in another order, and rounds once more."""


@contextmanager
def substitute_placeholders(model: PreTrainedModel) -> Iterator[None]:
    """Replace packed experts by plain parameters, by whose last name peft finds them, while it attaches."""
    import torch
    from torch.nn.utils import parametrize

    readings = [(owner, name, entry[0]) for owner, name, entry in find_packed_experts(model)]
    packed = []
    for owner, name, reading in readings:
        parametrize.remove_parametrizations(owner, name, leave_parametrized=False)
        packed.append(getattr(owner, name))
        setattr(owner, name, torch.nn.Parameter(reading.blank(), requires_grad=False))
    try:
        yield
    finally:
        for (owner, name, reading), original in zip(readings, packed, strict=True):
            setattr(owner, name, original)
            parametrize.register_parametrization(owner, name, reading, unsafe=True)


def find_packed_experts(model: PreTrainedModel | PeftModel) -> list[tuple[torch.nn.Module, str, Any]]:
    """Return (owner, parameter name, list of its parametrizations) of each expert tensor in 4 bits."""
    from torch.nn.utils import parametrize

    from pytest_jarvis.engines.transformers.nf4.quantize import ExpertDequantizer

    return [
        (owner, name, entry)
        for owner in model.modules()
        if parametrize.is_parametrized(owner)
        for name, entry in owner.parametrizations.items()
        if isinstance(entry[0], ExpertDequantizer)
    ]


def use_dequantized_weights(model: PreTrainedModel) -> int:
    """Make 4-bit layers on a CPU dequantise, once if all fit `CACHED_SHARE`; return the bytes cached."""
    import psutil
    import torch
    from bitsandbytes.nn import Linear4bit

    from pytest_jarvis.engines.transformers.nf4.quantize import DequantizedLinear4bit

    linears = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for linear in linears:
        linear.__class__ = DequantizedLinear4bit
    experts = [(entry[0], entry.original) for _, _, entry in find_packed_experts(model)]
    states = [linear.weight.quant_state for linear in linears] + [reading.quant_state for reading, _ in experts]
    size: int = sum(state.shape.numel() * state.dtype.itemsize for state in states)
    if size > psutil.virtual_memory().available * CACHED_SHARE:
        return 0
    with torch.inference_mode(mode=False), torch.no_grad():
        for linear in linears:
            linear.cached = linear.dequantized()
        for reading, packed in experts:
            reading.cached = reading(packed)
    return size


def use_packed_experts(model: PreTrainedModel) -> Note | None:
    """Make `model` multiply by packed experts, tried on each device; return why it cannot, or None."""
    owners = [module for module in model.modules() if hasattr(module, "_apply_gate")]
    reason = _find_obstacle(owners)
    if reason is not None:
        return reason
    for owner in {_packed(owner, "down_proj")[0].device: owner for owner in reversed(owners)}.values():
        reason = _try_experts(owner)
        if reason is not None:
            return reason
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if PACKED not in ALL_EXPERTS_FUNCTIONS:
        ALL_EXPERTS_FUNCTIONS.register(PACKED, packed_experts)
    model.set_experts_implementation(PACKED)
    for _, _, entry in find_packed_experts(model):
        entry[0].stays_packed = True
    return None


def packed_experts(
    self: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Return what `batch_invariant_experts` does; where peft adds to the weights itself, these are dequantised."""
    import torch

    from pytest_jarvis.engines.transformers.nf4 import kernel

    up, down = ("gate_up_proj" if self.has_gate else "up_proj"), "down_proj"
    if any(self.parametrizations[name][0].products for name in (up, down)):
        from transformers.integrations.moe import grouped_mm_experts_forward

        whole: torch.Tensor = grouped_mm_experts_forward(self, hidden_states, top_k_index, top_k_weights)
        return whole
    groups = kernel.group(top_k_index, self.num_experts)
    # Products with the first tensor are sorted by expert, those with the second in the order of the pairs.
    pairs = torch.arange(len(groups.order), device=groups.order.device)
    place = torch.empty_like(pairs)
    place[groups.order] = pairs
    inner = kernel.multiply(hidden_states, *_packed(self, up), groups, spread=True)
    token = pairs // top_k_index.shape[-1]
    add_lora(self, up, hidden_states, inner, source=token, place=place, experts=top_k_index)
    inner = self._apply_gate(inner) if self.has_gate else self.act_fn(inner)
    outer = kernel.multiply(inner, *_packed(self, down), groups, spread=False)
    add_lora(self, down, inner, outer, source=place, place=pairs, experts=top_k_index)
    # In place: with long prompts a copy of these products is gigabytes.
    weighted = outer.view(*top_k_index.shape, -1).mul_(top_k_weights.unsqueeze(-1).to(outer.dtype))
    return weighted.sum(dim=1).to(hidden_states.dtype)


def _packed(owner: Any, name: str) -> tuple[torch.Tensor, Any]:
    entry = owner.parametrizations[name]
    return entry.original, entry[0].quant_state


def _find_obstacle(owners: list[Any]) -> Note | None:
    """Return why the kernel does not support the experts of a family, or None when it does."""
    if not owners:
        return Note("experts_not_exchangeable")
    for owner in owners:
        if owner.is_transposed or owner.has_bias or owner.has_post_expert_norm:
            return Note("experts_in_another_layout")
        for name in ("gate_up_proj" if owner.has_gate else "up_proj", "down_proj"):
            entries = getattr(owner, "parametrizations", {})
            if name not in entries:
                return Note("experts_not_all_4bit")
            if not _is_readable(entries[name][0].quant_state):
                return Note("experts_not_in_blocks")
    return None


def _is_readable(state: Any) -> bool:
    return bool(
        len(state.shape) == 3
        and state.blocksize == 64
        and state.shape[-1] % state.blocksize == 0
        and state.quant_type == "nf4"
        and state.nested
    )


def _try_experts(owner: Any) -> Note | None:
    """Return how the kernel fails on the experts of `owner`, or None when its products are right."""
    import torch

    try:
        from pytest_jarvis.engines.transformers.nf4 import kernel

        for name in ("gate_up_proj" if owner.has_gate else "up_proj", "down_proj"):
            packed, state = _packed(owner, name)
            whole = getattr(owner, name)
            # Enough to compile the program for each number of rows.
            for tokens in (_TRIAL_TOKENS, *(state.shape[0] * rows // 2 for rows in (32, kernel.MOST_ROWS))):
                reason = _compare(kernel, packed, state, whole, tokens=tokens)
                if reason is not None:
                    return reason
            del whole
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # a compiler or a driver that does not fit raises whatever it likes
        return text_note(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return None


def _compare(kernel: Any, packed: torch.Tensor, state: Any, whole: torch.Tensor, *, tokens: int) -> Note | None:
    """Return how far the products of `tokens` random rows are from those with `whole`, or None when near enough."""
    import torch

    experts, _, depth = state.shape
    generator = torch.Generator(device=whole.device).manual_seed(0)
    x = torch.randn((tokens, depth), generator=generator, device=whole.device).to(whole.dtype)
    # Two experts a token, a few in all: the rest have no row, as most have at the end of a batch.
    used = torch.randint(0, experts, (4,), generator=generator, device=whole.device)
    index = used[torch.randint(0, 4, (tokens, 2), generator=generator, device=whole.device)]
    groups = kernel.group(index, experts)
    found = kernel.multiply(x, packed, state, groups, spread=True).float()
    chosen = index.reshape(-1)[groups.order]
    expected = torch.empty_like(found)
    for expert in used.unique():
        rows = chosen == expert
        expected[rows] = x[groups.token[rows]].float() @ whole[expert].float().T
    again = kernel.multiply(x[groups.token], packed, state, groups, spread=False).float()
    allowed = _TOLERANCE.get(str(whole.dtype), 1e-5) * float(expected.abs().max())
    # By torch: Python's own maximum passes over NaN.
    error = float(torch.stack([(one - expected).abs().max() for one in (found, again[groups.order])]).max())
    return None if error <= allowed else Note("products_off", {"size": error, "allowed": allowed})
