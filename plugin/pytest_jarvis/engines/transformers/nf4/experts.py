"""Batch-invariant forward pass of experts, with each adapter's LoRA products for its own rows.

How many rows an expert gets depends on everything in the batch, and a matrix product of few rows rounds differently
from one of many. Here each expert's rows are padded to a multiple of `TILE`, and a token adds its experts' outputs in
the order of its own ranking: a token's output then has the same bits in any batch.

peft adds an adapter to the weights of all experts before it multiplies by them, which no batch of several arms can
share and which takes as long as reading the experts does. Here all rows get the base's product, and an adapter's rows
get (x @ right.T) @ left.T in addition, by the expert of each of their (token, expert) pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


BATCH_INVARIANT: Final = "jarvis_batch_invariant"
PACKED: Final = "jarvis_packed"
"""The implementation that multiplies by packed experts, on a GPU."""
TILE: Final = 16
LORA_WRAPPERS: Final = "jarvis_wrappers"
"""Attribute of an experts' module that holds peft's wrappers of its parameters, by parameter name."""
PAIRS_AT_ONCE: Final = 2048  # Pairs whose matrices are gathered at once.


def use_batch_invariant_experts(model: PreTrainedModel) -> bool:
    """Make `model` use batch-invariant experts if its family supports other implementations; return whether it does."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if not any(hasattr(module, "_apply_gate") and hasattr(module, "is_transposed") for module in model.modules()):
        return False
    if BATCH_INVARIANT not in ALL_EXPERTS_FUNCTIONS:
        ALL_EXPERTS_FUNCTIONS.register(BATCH_INVARIANT, batch_invariant_experts)
    model.set_experts_implementation(BATCH_INVARIANT)
    return True


def batch_invariant_experts(
    self: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Return the experts' output, (tokens, hidden), for `hidden_states` of that shape.

    `top_k_index` and `top_k_weights` are (tokens, experts per token). `self` is the family's experts module.
    """
    if hidden_states.is_cuda:
        # One kernel for all experts; a product per expert would cost 12,000 launches a step on the model this is for.
        from transformers.integrations.moe import grouped_mm_experts_forward

        grouped: torch.Tensor = grouped_mm_experts_forward(self, hidden_states, top_k_index, top_k_weights)
        return grouped
    import torch

    tokens, per_token = top_k_index.shape
    pairs = top_k_index.reshape(-1)
    order = torch.argsort(pairs, stable=True)
    counts = torch.bincount(pairs, minlength=self.num_experts)
    padded = (counts + (TILE - 1)) // TILE * TILE
    ends = padded.cumsum(0)
    # The place of each (token, expert) pair once every expert's rows start on a tile.
    shift = (ends - padded) - (counts.cumsum(0) - counts)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) + shift[pairs[order]]
    source = torch.zeros(int(ends[-1]), dtype=torch.long)
    source[place] = torch.arange(len(order)) // per_token
    bounds = [
        (expert, end - size, end)
        for expert, (size, end) in enumerate(zip(padded.tolist(), ends.tolist(), strict=True))
        if size
    ]

    rows = hidden_states[source]
    up_name = "gate_up_proj" if self.has_gate else "up_proj"
    inner = _project(self, up_name, rows, bounds)
    add_lora(self, up_name, rows, inner, source=place, place=place, experts=top_k_index)
    inner = self._apply_gate(inner) if self.has_gate else self.act_fn(inner)
    outer = _project(self, "down_proj", inner, bounds)
    add_lora(self, "down_proj", inner, outer, source=place, place=place, experts=top_k_index)
    if self.has_post_expert_norm:
        outer = self.post_expert_norm(outer)
    ranked = outer[place].view(tokens, per_token, -1) * top_k_weights.unsqueeze(-1)
    total = ranked[:, 0].float()
    for rank in range(1, per_token):
        total = total + ranked[:, rank].float()
    return total.to(hidden_states.dtype)


def applies_lora(owner: Any) -> bool:
    """Return whether the forward pass of an experts' module adds LoRA products by rows."""
    chosen = getattr(getattr(owner, "config", None), "_experts_implementation", None)
    if chosen == PACKED:
        return True
    # On a GPU without the kernel, transformers' grouped product does not.
    return chosen == BATCH_INVARIANT and not any(tensor.is_cuda for tensor in (*owner.parameters(), *owner.buffers()))


def add_lora(
    owner: Any,
    name: str,
    x: torch.Tensor,
    out: torch.Tensor,
    *,
    source: torch.Tensor,
    place: torch.Tensor,
    experts: torch.Tensor,
) -> None:
    """Add each adapter's LoRA products to its rows' products `out` of `x` with the expert tensor `name`.

    `source` and `place` are the rows of `x` and `out` for each (token, expert) pair, int64 of shape (pairs,);
    `experts` is (tokens, experts per token).
    """
    import torch

    wrapper: Any = getattr(owner, LORA_WRAPPERS, {}).get(name)
    if wrapper is None or wrapper.jarvis_rows.spans is None:
        return
    pairs_per_row, chosen = experts.numel() // wrapper.jarvis_rows.count, experts.reshape(-1)
    for adapter, first, end in wrapper.jarvis_rows.spans:
        if adapter not in wrapper.lora_A:
            continue
        # (experts, out, rank) and (experts, rank, in); transposed, (experts, in, rank) and (experts, rank, out).
        left, right, scale = wrapper.get_delta_factors(adapter)
        for start in range(first * pairs_per_row, end * pairs_per_row, PAIRS_AT_ONCE):
            pairs = slice(start, min(start + PAIRS_AT_ONCE, end * pairs_per_row))
            down, up = left[chosen[pairs]], right[chosen[pairs]]
            if not owner.is_transposed:
                down, up = up.transpose(1, 2), down.transpose(1, 2)
            # Each pair is its own product, which on a CPU makes it batch-invariant.
            inner = torch.bmm(x[source[pairs]].unsqueeze(1).to(down.dtype), down)
            out[place[pairs]] += (torch.bmm(inner, up).squeeze(1) * scale).to(x.dtype)


def _project(self: Any, name: str, rows: torch.Tensor, bounds: list[tuple[int, int, int]]) -> torch.Tensor:
    """Return each expert's linear map of its own `rows`; `bounds` holds (expert, first row, last row + 1)."""
    # Once: accessing a 4-bit parameter dequantises it.
    weights = getattr(self, name)
    biases = getattr(self, f"{name}_bias") if self.has_bias else None
    width = weights.shape[-1] if self.is_transposed else weights.shape[-2]
    out = rows.new_empty(len(rows), width)
    for expert, start, end in bounds:
        weight = weights[expert] if self.is_transposed else weights[expert].T
        out[start:end] = rows[start:end] @ weight.to(rows.dtype)
        if biases is not None:
            out[start:end] += biases[expert]
    return out
