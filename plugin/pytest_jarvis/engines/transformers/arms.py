"""Which arm each row of a batch runs as: one adapter for all rows, none, or each row its own.

peft runs rows of several adapters in one batch by picking each adapter's rows with a list of their places, in every
adapted layer: on a GPU each list is copied to the device, and each copy waits for everything that was launched before.
The rows of a batch are ordered by arm here, so that an adapter's rows are a slice, which costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.records import BASE_ARM

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

PEFT_BASE: Final = "__base__"
"""What peft calls a row of a mixed batch that no adapter touches."""
Span = tuple[str, int, int]
"""(adapter, first row, last row + 1)."""


@dataclass(slots=True)
class Rows:
    """Which rows of the batch under way run as which adapter, for every layer that shares this object."""

    spans: tuple[Span, ...] | None = None
    """None when no batch of several arms is under way."""


def spans_of(arms: Sequence[str]) -> tuple[Span, ...] | None:
    """Return the slices of the adapters' rows, row i running as `arms[i]`; None when an arm's rows lie apart."""
    spans: list[Span] = []
    for row, arm in enumerate(arms):
        if spans and spans[-1][0] == arm:
            spans[-1] = (arm, spans[-1][1], row + 1)
        else:
            spans.append((arm, row, row + 1))
    if len({arm for arm, _, _ in spans}) < len(spans):
        return None
    return tuple(span for span in spans if span[0] != BASE_ARM)


def slice_rows(model: PeftModel) -> None:
    """Have the plain LoRA layers of `model` take an adapter's rows as a slice in a batch of several arms.

    Layers of another kind (an embedding, a convolution, another quantisation, DoRA) stay as they are.
    """
    from peft.tuners.lora.layer import LoraLayer

    rows = Rows()
    for module in model.modules():
        if isinstance(module, LoraLayer) and _is_plain(module):
            kind: Any = type(module)
            module.__class__ = _sliced_class(kind)
            module.jarvis_rows = rows


def _is_plain(layer: Any) -> bool:
    """Tell whether all that a LoRA layer does to its input is to add left(right(input)) times a number."""
    from peft.tuners.lora.bnb import Linear4bit
    from peft.tuners.lora.layer import Linear

    return (
        type(layer) in {Linear, Linear4bit}
        and len(layer.lora_A) > 0
        and not layer.lora_embedding_A
        and not layer.lora_variant
        and not layer.merged
        and hasattr(layer.base_layer, "in_features")
    )


@functools.cache
def _sliced_class(kind: Any) -> type[Any]:
    """Return the class of peft's LoRA layers of one `kind` that take slices; made on demand, its base is peft's."""

    class SlicedRows(kind):  # type: ignore[misc]  # the base is peft's, known only here
        """peft's layer, in which a batch of several arms adds each adapter's product to a slice of the rows."""

        jarvis_rows: Rows

        def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            """Return the layer's output for inputs (rows, ..., in)."""
            spans = self.jarvis_rows.spans
            if spans is None:
                plain: torch.Tensor = super().forward(x, *args, **kwargs)
                return plain
            result: torch.Tensor = self.base_layer(x, *args, **kwargs)
            for adapter, first, end in spans:
                if adapter in self.lora_A:
                    right, left = self.lora_A[adapter], self.lora_B[adapter]
                    product = left(right(x[first:end].to(right.weight.dtype))) * self.scaling[adapter]
                    result[first:end] += product.to(result.dtype)
            return result

    SlicedRows.__name__ = SlicedRows.__qualname__ = f"SlicedRows{kind.__name__}"
    return SlicedRows


def as_arms(model: Any, arms: Sequence[str]) -> AbstractContextManager[None]:
    """Return the context in which row i of a batch runs as `arms[i]`."""
    return _mixed(model, arms) if len(set(arms)) > 1 else only(model, arms[0])


@contextmanager
def only(model: Any, arm: str) -> Iterator[None]:
    """Run `model` as one arm: an adapter by name, or the base with every adapter off."""
    if not hasattr(model, "peft_config"):
        yield
    elif arm == BASE_ARM:
        with model.disable_adapter():
            yield
    else:
        model.set_adapter(arm, inference_mode=True)
        yield


@contextmanager
def _mixed(model: Any, arms: Sequence[str]) -> Iterator[None]:
    """Run `model` with row i of the batch as `arms[i]`: by slices where a layer takes them, else by peft's own way.

    peft's own context leaves its hooks behind when the forward raises (out of memory, Ctrl-C), so they are put here.
    """
    from peft.tuners.lora.layer import LoraLayer
    from peft.utils import AuxiliaryTrainingWrapper

    names = [PEFT_BASE if arm == BASE_ARM else arm for arm in arms]
    spans = spans_of(arms)

    def name_rows(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kwargs["adapter_names"] = names
        return args, kwargs

    adapted = [module for module in model.modules() if isinstance(module, LoraLayer | AuxiliaryTrainingWrapper)]
    sliced = [module for module in adapted if spans is not None and hasattr(module, "jarvis_rows")]
    rows = sliced[0].jarvis_rows if sliced else Rows()
    handles = [
        module.register_forward_pre_hook(name_rows, with_kwargs=True)
        for module in adapted
        if spans is None or not hasattr(module, "jarvis_rows")
    ]
    rows.spans = spans
    try:
        yield
    finally:
        rows.spans = None
        for handle in handles:
            handle.remove()
