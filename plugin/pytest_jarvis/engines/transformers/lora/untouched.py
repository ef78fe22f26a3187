"""Whether weights are still those that were loaded: sums of their bytes, before and after something is attached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_jarvis.engines.transformers.nf4.dequantize import expert_readings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


class Untouched:
    """Remembers the weights of a model by the modules that hold them, whatever is wrapped around these later.

    The copies that a CPU keeps dequantised hide a change of the packed weights from every logit; the sums do not.
    """

    def __init__(self, model: PreTrainedModel | PeftModel) -> None:
        self._model = model
        packed = {id(entry.original) for _, _, entry in expert_readings(model)}
        self._places: list[tuple[str, Any, str]] = [
            (f"{path}.{name}".lstrip("."), module, name)
            for path, module in model.named_modules()
            for name, weight in module.named_parameters(recurse=False)
            if id(weight) not in packed
        ]
        self._before = list(self._sums())

    def first_change(self) -> str | None:
        """Return the name of the first weight that is not what it was, None when all are."""
        for before, now in zip(self._before, self._sums(), strict=True):
            if before != now:
                return before[0]
        return None

    def _sums(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield each weight's name with its sums: of its bytes, and of its scales where it is in 4 bits."""
        for path, module, name in self._places:
            weight = getattr(module, name)
            yield path, (_sum(weight.data), _sum_of_scales(getattr(weight, "quant_state", None)))
        for number, (_, name, entry) in enumerate(expert_readings(self._model)):
            yield f"{name} of mixture {number}", (_sum(entry.original.data), _sum_of_scales(entry[0].quant_state))


def _sum(tensor: torch.Tensor) -> int:
    """Return the sum of a tensor's bytes, taken eight at a time where they can be; 0 for one without data."""
    import torch

    if tensor.device.type == "meta":
        return 0
    data = tensor.detach().contiguous().view(-1).view(torch.uint8)
    if data.numel() % 8 == 0 and data.storage_offset() % 8 == 0:
        data = data.view(torch.int64)
    return int(data.sum(dtype=torch.int64))


def _sum_of_scales(state: Any) -> int:
    return 0 if state is None else _sum(state.absmax)
