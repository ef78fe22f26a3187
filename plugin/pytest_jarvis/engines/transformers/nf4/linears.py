"""4-bit linear layers and experts on the CPU: the same weights in any batch, dequantised once where memory allows.

On a CPU with bfloat16 instructions, bitsandbytes repacks a linear layer's weights at its first forward pass, rounds
their scales to bfloat16 and computes in bfloat16 whatever dtype was asked for: the weights are then no longer those
that were loaded, and differ from one machine to the next. Here a 4-bit layer multiplies by its weights as quantised.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.nf4.dequantize import expert_readings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


KEPT_SHARE: Final = 0.05
"""Share of the free memory that dequantised copies of the weights may take, all together."""


@functools.cache
def _linear_class() -> type[Any]:
    """Return the class of a linear layer; made on demand because its base needs bitsandbytes."""
    import bitsandbytes.functional as bnb
    import torch
    from bitsandbytes.nn import Linear4bit

    class PlainLinear4bit(Linear4bit):  # type: ignore[misc]  # the base is untyped
        """A linear layer in 4 bits that multiplies by its dequantised weights, kept or made for the call."""

        kept: torch.Tensor | None = None

        def dequantized(self) -> torch.Tensor:
            """Return the weights, (out, in), in the dtype they were quantised from."""
            weights: torch.Tensor = bnb.dequantize_4bit(self.weight.data, self.weight.quant_state)
            return weights

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return the layer's output for inputs (..., in), in their dtype."""
            weights = self.dequantized() if self.kept is None else self.kept
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return torch.nn.functional.linear(x, weights.to(x.dtype), bias)

    return PlainLinear4bit


def compute_plainly(model: PreTrainedModel) -> int:
    """Make the 4-bit layers of a model on the CPU compute with their weights as loaded; return the bytes kept.

    Dequantised copies are kept, for speed, only when all of them fit in `KEPT_SHARE` of the free memory: a large model
    is dequantised layer by layer at every step instead.
    """
    import psutil
    import torch
    from bitsandbytes.nn import Linear4bit

    linears = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for linear in linears:
        linear.__class__ = _linear_class()
    experts = [(entry[0], entry.original) for _, _, entry in expert_readings(model)]
    states = [linear.weight.quant_state for linear in linears] + [reading.quant_state for reading, _ in experts]
    size: int = sum(state.shape.numel() * state.dtype.itemsize for state in states)
    if size > psutil.virtual_memory().available * KEPT_SHARE:
        return 0
    with torch.inference_mode(mode=False), torch.no_grad():
        for linear in linears:
            linear.kept = linear.dequantized()
        for reading, packed in experts:
            reading.kept = reading(packed)
    return size
