"""Adapters on fused experts in a batch of several arms: each pair's own low-rank product, added to its expert's output.

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
