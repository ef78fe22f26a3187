"""Experts in NF4 multiplied as they are, on a GPU: the forward pass, and the trial that says whether it may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.nf4.dequantize import expert_readings
from pytest_jarvis.engines.transformers.nf4.experts import PACKED, Products, add_shares
from pytest_jarvis.types import Note, text_note

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


_TRIAL_TOKENS: Final = 24
_TOLERANCE: Final = {"torch.float32": 1e-5, "torch.float16": 2e-3, "torch.bfloat16": 8e-3}
"""How far the kernel may be from the product with the weights read out, relative to the largest: sums are of the same
weights, in another order, and rounded once more."""


def use_packed_experts(model: PreTrainedModel) -> Note | None:
    """Make `model` multiply by its experts in 4 bits, not read out; return why it cannot, None when it does.

    Tried first on the first experts of each device, against the product with the weights as they are read out.
    """
    owners = [module for module in model.modules() if hasattr(module, "_apply_gate")]
    reason = _unfit(owners) or _trials(owners)
    if reason is not None:
        return reason
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if PACKED not in ALL_EXPERTS_FUNCTIONS:
        ALL_EXPERTS_FUNCTIONS.register(PACKED, packed_experts)
    model.set_experts_implementation(PACKED)
    for _, _, entry in expert_readings(model):
        entry[0].stays_packed = True
    return None


def packed_experts(
    self: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Return the experts' output, (tokens, hidden), for `hidden_states` of that shape.

    `top_k_index` and `top_k_weights` are (tokens, experts per token). `self` is the family's experts module. Where peft
    itself adds an adapter to the experts' weights, they are read out.
    """
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
    to, token = Products(out=inner, place=place), pairs // top_k_index.shape[-1]
    add_shares(self, up, to, hidden_states, source=token, experts=top_k_index)
    inner = self._apply_gate(inner) if self.has_gate else self.act_fn(inner)
    outer = kernel.multiply(inner, *_packed(self, down), groups, spread=False)
    add_shares(self, down, Products(out=outer, place=pairs), inner, source=place, experts=top_k_index)
    # In place: with long prompts a copy of these products is gigabytes.
    weighted = outer.view(*top_k_index.shape, -1).mul_(top_k_weights.unsqueeze(-1).to(outer.dtype))
    return weighted.sum(dim=1).to(hidden_states.dtype)


def _packed(owner: Any, name: str) -> tuple[torch.Tensor, Any]:
    """Return an expert tensor as it is stored, and what describes it."""
    entry = owner.parametrizations[name]
    return entry.original, entry[0].quant_state


def _unfit(owners: list[Any]) -> Note | None:
    """Return why the experts of a family are not what the kernel multiplies by, None when they are."""
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
    """Tell whether the kernel reads weights that are described by `state`."""
    return bool(
        len(state.shape) == 3
        and state.blocksize == 64
        and state.shape[-1] % state.blocksize == 0
        and state.quant_type == "nf4"
        and state.nested
    )


def _trials(owners: list[Any]) -> Note | None:
    """Return how the kernel fails on a device that holds experts, None where it does on none: cards may differ."""
    firsts = {_packed(owner, "down_proj")[0].device: owner for owner in reversed(owners)}
    return next((reason for owner in firsts.values() if (reason := _trial(owner)) is not None), None)


def _trial(owner: Any) -> Note | None:
    """Return how the kernel fails on the experts of `owner`, None when its products are those of the weights read out.

    Few rows and many: programs are compiled for both.
    """
    import torch

    try:
        from pytest_jarvis.engines.transformers.nf4 import kernel

        for name in ("gate_up_proj" if owner.has_gate else "up_proj", "down_proj"):
            packed, state = _packed(owner, name)
            whole = getattr(owner, name)
            # As many as make programs of each number of rows.
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
    """Return how far the products of `tokens` random rows are from those with `whole`, None when near enough."""
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
    # Of tensors: Python's own maximum passes over what is not a number.
    error = float(torch.stack([(one - expected).abs().max() for one in (found, again[groups.order])]).max())
    return None if error <= allowed else Note("products_off", {"size": error, "allowed": allowed})
