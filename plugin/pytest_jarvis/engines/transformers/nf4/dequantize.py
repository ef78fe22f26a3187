"""How an expert tensor in 4 bits is read: dequantised for the pass, kept, or with an adapter's product added."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


@functools.cache
def expert_reading_class() -> type[Any]:
    """Return the class that reads an expert tensor in 4 bits; made on demand because its base needs bitsandbytes."""
    import torch
    from bitsandbytes.nn.parametrize import Bnb4bitParametrization

    class ExpertReading(Bnb4bitParametrization):  # type: ignore[misc]  # the base is untyped
        """bitsandbytes' parametrization, whose dequantised weights may be kept, and to which an adapter may add."""

        kept: torch.Tensor | None = None
        stays_packed: bool = False
        """Whether a kernel multiplies by the weights in 4 bits: they are then read out for adapters on experts only."""
        products: tuple[tuple[torch.Tensor, torch.Tensor, float], ...] = ()
        """An adapter's (left, right, scale): scale * left @ right is added, expert by expert."""

        def forward(self, quantized_param: torch.Tensor) -> torch.Tensor:
            """Return the experts' weights, of the shape and dtype they were quantised from."""
            weights: torch.Tensor = super().forward(quantized_param) if self.kept is None else self.kept
            for left, right, scale in self.products:
                weights = torch.baddbmm(weights, left, right, alpha=scale)
            return weights

        def blank(self) -> torch.Tensor:
            """Return zeros of the weights' shape and dtype that take no memory."""
            state = self.quant_state
            return torch.zeros((), dtype=state.dtype, device=state.absmax.device).expand(state.shape)

    return ExpertReading


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

    reading_class = expert_reading_class()
    return [
        (owner, name, entry)
        for owner in model.modules()
        if parametrize.is_parametrized(owner)
        for name, entry in owner.parametrizations.items()
        if isinstance(entry[0], reading_class)
    ]
