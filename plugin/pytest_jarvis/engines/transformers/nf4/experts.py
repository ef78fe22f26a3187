"""An experts' forward pass whose rows do not depend on one another, for transformers' table of implementations.

How many rows an expert gets depends on everything in the batch, and a matrix product of few rows rounds differently
from one of many. Here each expert's rows are padded to a multiple of `TILE`, and a token adds its experts' outputs in
the order of its own ranking: a token's output then has the same bits in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.nf4.expert_adapters import PAIRS_AT_ONCE, added, shares

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


NAME: Final = "jarvis_steady"
PACKED: Final = "jarvis_packed"
"""The implementation that multiplies by experts in 4 bits, on a GPU."""
TILE: Final = 16


def use_steady_experts(model: PreTrainedModel) -> bool:
    """Make `model` use the steady experts where its family lets implementations be chosen; tell whether it does."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if not any(hasattr(module, "_apply_gate") and hasattr(module, "is_transposed") for module in model.modules()):
        return False
    if NAME not in ALL_EXPERTS_FUNCTIONS:
        ALL_EXPERTS_FUNCTIONS.register(NAME, steady_experts)
    model.set_experts_implementation(NAME)
    return True


def steady_experts(
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
    # Where each (token, expert) pair stands once every expert's rows start on a tile.
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
    add_shares(self, up_name, Products(out=inner, place=place), rows, source=place, experts=top_k_index)
    inner = self._apply_gate(inner) if self.has_gate else self.act_fn(inner)
    outer = _project(self, "down_proj", inner, bounds)
    add_shares(self, "down_proj", Products(out=outer, place=place), inner, source=place, experts=top_k_index)
    if self.has_post_expert_norm:
        outer = self.post_expert_norm(outer)
    ranked = outer[place].view(tokens, per_token, -1) * top_k_weights.unsqueeze(-1)
    total = ranked[:, 0].float()
    for rank in range(1, per_token):
        total = total + ranked[:, rank].float()
    return total.to(hidden_states.dtype)


def adds_shares(owner: Any) -> bool:
    """Tell whether the forward pass of an experts' module adds what adapters of the experts do to their rows."""
    chosen = getattr(getattr(owner, "config", None), "_experts_implementation", None)
    if chosen == PACKED:
        return True
    # On a GPU without the kernel transformers' grouped product does it all.
    return chosen == NAME and not any(tensor.is_cuda for tensor in (*owner.parameters(), *owner.buffers()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Products of (token, expert) pairs with their experts' weights, and where each pair stands in them."""

    out: torch.Tensor
    place: torch.Tensor
    """int64 of shape (pairs,)."""


def add_shares(
    owner: Any, name: str, to: Products, x: torch.Tensor, *, source: torch.Tensor, experts: torch.Tensor
) -> None:
    """Add to products with the expert tensor `name` what adapters of the experts add to the rows that are theirs.

    `source` says which of `x` each pair multiplies, int64 of shape (pairs,); `experts` is (tokens, experts per token).
    """
    tokens, per_token = experts.shape
    for share in shares(owner, name, tokens):
        for first in range(share.first * per_token, share.end * per_token, PAIRS_AT_ONCE):
            pairs = slice(first, min(first + PAIRS_AT_ONCE, share.end * per_token))
            chosen = experts.reshape(-1)[pairs]
            to.out[to.place[pairs]] += added(share, x[source[pairs]], chosen, is_transposed=owner.is_transposed)


def _project(self: Any, name: str, rows: torch.Tensor, bounds: list[tuple[int, int, int]]) -> torch.Tensor:
    """Return each expert's linear map of its own `rows`; `bounds` holds (expert, first row, last row + 1)."""
    # Read once: reading a 4-bit parameter dequantises it.
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
