"""Which weights choose experts: they stay in 16 bits, in every family, and are no part of what 4 bits are due for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def expert_counts(config: Any) -> frozenset[int]:
    """Return the numbers of experts that a model's configuration states, those of its parts included."""
    found: set[int] = set()
    for part in (config, config.get_text_config(decoder=True)):
        for key, value in vars(part).items():
            counts = key.endswith("experts") and not any(word in key for word in ("shared", "top"))
            if counts and type(value) is int and value > 1:
                found.add(value)
    return frozenset(found)


def is_router(path: str, holder: str, outputs: int | None, counts: frozenset[int]) -> bool:
    """Tell whether the module at `path`, of class `holder`, with `outputs` rows of weights, chooses experts.

    By its name, or as a gate that has one output an expert; a dense layer's gate and an attention's have more.
    """
    parts = path.lower().split(".")
    if "router" in holder.lower() or any("router" in part for part in parts):
        return True
    return "gate" in parts and outputs in counts


def router_linears(model: PreTrainedModel) -> Iterator[str]:
    """Yield the full names of the linear layers of `model` that choose experts."""
    import torch

    counts = expert_counts(model.config)
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and is_router(path, type(module).__name__, module.out_features, counts):
            yield path
