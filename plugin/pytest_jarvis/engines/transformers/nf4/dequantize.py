"""How weights in 4 bits are read: dequantised for the pass, kept, or with an adapter's product added.

On a CPU with bfloat16 instructions, bitsandbytes repacks a linear layer's weights at its first forward pass, rounds
their scales to bfloat16 and computes in bfloat16 whatever dtype was asked for: the weights are then no longer those
that were loaded, and differ from one machine to the next. Here a 4-bit layer multiplies by its weights as quantised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


@contextmanager
def stand_ins(model: PreTrainedModel) -> Iterator[None]:
    """Show the fused experts of `model` as plain parameters of their real shape while something is attached to it.

    peft finds a parameter by the end of its name only where it is plain; a parametrized one, as experts in 4 bits are,
    it finds by its whole name, which an adapter's configuration does not hold. The stand-ins take no memory.
    """
    import torch
    from torch.nn.utils import parametrize

    readings = [(owner, name, entry[0]) for owner, name, entry in expert_readings(model)]
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


def expert_readings(model: PreTrainedModel | PeftModel) -> list[tuple[torch.nn.Module, str, Any]]:
    """Return (owner, parameter name, its list of parametrizations) of each expert tensor in 4 bits."""
    from torch.nn.utils import parametrize

    from pytest_jarvis.engines.transformers.nf4.quantize import ExpertReading

    return [
        (owner, name, entry)
        for owner in model.modules()
        if parametrize.is_parametrized(owner)
        for name, entry in owner.parametrizations.items()
        if isinstance(entry[0], ExpertReading)
    ]


KEPT_SHARE: Final = 0.05
"""Share of the free memory that dequantised copies of the weights may take, all together."""


def compute_plainly(model: PreTrainedModel) -> int:
    """Make the 4-bit layers of a model on the CPU compute with their weights as loaded; return the bytes kept.

    Dequantised copies are kept, for speed, only when all of them fit in `KEPT_SHARE` of the free memory: a large model
    is dequantised layer by layer at every step instead.
    """
    import psutil
    import torch
    from bitsandbytes.nn import Linear4bit

    from pytest_jarvis.engines.transformers.nf4.quantize import PlainLinear4bit

    linears = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for linear in linears:
        linear.__class__ = PlainLinear4bit
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
