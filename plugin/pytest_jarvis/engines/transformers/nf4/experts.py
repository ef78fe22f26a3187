"""An experts' forward pass whose rows do not depend on one another, for transformers' table of implementations.

How many rows an expert gets depends on everything in the batch, and a matrix product of few rows rounds differently
from one of many. Here each expert's rows are padded to a multiple of `TILE`, and a token adds its experts' outputs in
the order of its own ranking: a token's output then has the same bits in any batch.

peft adds an adapter to the weights of all experts before it multiplies by them, which no batch of several arms can
share and which takes as long as reading the experts does. Here the experts' product is the base's for all rows, and the
adapter's rows get their own share: (x @ right.T) @ left.T, by the expert each of their (token, expert) pairs goes to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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


WRAPPERS: Final = "jarvis_wrappers"
"""Where an experts' module keeps peft's wrappers of its parameters, by the parameters' names."""
PAIRS_AT_ONCE: Final = 2048
"""Each pair's matrices are copied out of its expert's: this many at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one adapter adds to one expert tensor, for the tokens of its rows."""

    first: int
    """The first of its tokens."""
    end: int
    """The last, + 1."""
    left: torch.Tensor
    """(experts, out, rank), or (experts, in, rank) for weights that are stored the other way round."""
    right: torch.Tensor
    """(experts, rank, in), or (experts, rank, out)."""
    scale: float


def shares(owner: Any, name: str, tokens: int) -> Iterator[Share]:
    """Yield what each adapter of the batch under way adds to the expert tensor `name` of `owner`.

    `tokens` are those of all rows, as many of each, row by row.
    """
    wrapper: Any = getattr(owner, WRAPPERS, {}).get(name)
    if wrapper is None or wrapper.jarvis_rows.spans is None:
        return
    rows = wrapper.jarvis_rows
    per_row = tokens // rows.count
    for adapter, first, end in rows.spans:
        if adapter in wrapper.lora_A:
            left, right, scale = wrapper.get_delta_factors(adapter)
            yield Share(first=first * per_row, end=end * per_row, left=left, right=right, scale=scale)


def added(share: Share, x: torch.Tensor, experts: torch.Tensor, *, is_transposed: bool) -> torch.Tensor:
    """Return what an adapter adds to the products of `x`, (pairs, in), with the experts of each pair: (pairs, out).

    `experts` is (pairs,). Each pair is a product of its own: on a CPU its bits do not hang on the others.
    """
    import torch

    left, right = share.left[experts], share.right[experts]
    first, second = (left, right) if is_transposed else (right.transpose(1, 2), left.transpose(1, 2))
    inner = torch.bmm(x.unsqueeze(1).to(first.dtype), first)
    return (torch.bmm(inner, second).squeeze(1) * share.scale).to(x.dtype)
