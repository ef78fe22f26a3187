"""Select the arm of each row of a batch: one adapter for all rows, none, or each row its own.

peft runs rows of several adapters in one batch by indexing each adapter's rows with a list, in every adapted layer: on
a GPU each list is copied to the device, and each copy waits for everything launched before. Here the rows of a batch
are ordered by arm, so that an adapter's rows are a slice, which costs nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.nf4.experts import LORA_WRAPPERS, applies_lora
from pytest_jarvis.types import BASE_ARM, Note

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from peft.tuners.lora.layer import ParamWrapper as _PeftLayer
else:
    _PeftLayer = object


PEFT_BASE: Final = "__base__"
"""peft's adapter name for the base's rows of a mixed batch."""
Span = tuple[str, int, int]
"""(adapter, first row, last row + 1)."""
_PEFT_NAME: Final = "jarvis-arm-{}-jarvis"


@dataclass(slots=True)
class Rows:
    """The adapters of the running batch's rows, shared by all layers."""

    spans: tuple[Span, ...] | None = None
    """By peft's names; None unless a mixed batch is running."""
    count: int = 0
    """Number of rows in the batch."""


def peft_name(arm: str) -> str:
    """Return peft's name of an adapter: its arm's, marked so that no module or parameter name contains it.

    peft makes the name a part of its modules' and parameters' names, searches for it anywhere in them, and finds
    modules by the end of their names.
    """
    return _PEFT_NAME.format(arm)


def restore_arm_names(text: str) -> str:
    """Return a message of peft with adapters called by their arms."""
    return re.sub(_PEFT_NAME.format("(.*?)"), r"\1", text)


def spans_of(arms: Sequence[str]) -> tuple[Span, ...] | None:
    """Return the spans of the adapters' rows, row i run as `arms[i]`; None when an arm's rows are not contiguous."""
    spans: list[Span] = []
    for row, arm in enumerate(arms):
        if spans and spans[-1][0] == arm:
            spans[-1] = (arm, spans[-1][1], row + 1)
        else:
            spans.append((arm, row, row + 1))
    if len({arm for arm, _, _ in spans}) < len(spans):
        return None
    return tuple(span for span in spans if span[0] != BASE_ARM)


def use_row_slices(model: PeftModel) -> None:
    """Make the plain LoRA layers of `model` take an adapter's rows as a slice in a mixed batch; others stay."""
    from peft.tuners.lora.layer import LoraLayer

    restore_layers(model)
    rows = Rows()
    for module in list(model.modules()):
        kind: Any = type(module)
        mixin: Any = _find_mixin(module) if isinstance(module, LoraLayer) else None
        if mixin is not None:
            module.__class__ = _mixed_type(mixin, kind)
            module.jarvis_rows = rows


def restore_layers(model: Any) -> None:
    """Undo `use_row_slices`, to attach another adapter."""
    for module in model.modules():
        module.__dict__.pop(LORA_WRAPPERS, None)
        if "jarvis_rows" in module.__dict__:
            module.__class__ = type(module).__bases__[1]
            del module.__dict__["jarvis_rows"]


@functools.cache
def _mixed_type(mixin: Any, kind: Any) -> type[Any]:
    return type(f"{mixin.__name__}{kind.__name__}", (mixin, kind), {})


def _find_mixin(layer: Any) -> type[Any] | None:
    """Return the mixin that makes a LoRA layer take slices of rows, or None; register wrappers of expert tensors."""
    from peft.tuners.lora.layer import ParamWrapper

    if not isinstance(layer, ParamWrapper):
        return SlicedRows if _is_plain(layer) else None
    owner = layer.get_base_layer()
    if layer.lora_variant or layer.merged:
        return None
    if layer.num_experts == 1 and not hasattr(owner, "parametrizations"):
        return SeparatePasses
    if layer.num_experts == 1 or not applies_lora(owner):
        return None
    owner.__dict__.setdefault(LORA_WRAPPERS, {})[layer.parameter_name] = layer
    return SlicedExperts


class SlicedExperts(_PeftLayer):  # type: ignore[misc]  # peft's is untyped
    """Mixin of peft's wrapper of an expert tensor: in a mixed batch the experts add the LoRA products."""

    jarvis_rows: Rows

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the experts' output."""
        forward = super().forward if self.jarvis_rows.spans is None else self.base_layer
        output: torch.Tensor = forward(x, *args, **kwargs)
        return output


def _is_plain(layer: Any) -> bool:
    """Return whether a LoRA layer only adds left(right(input)) times a number."""
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


class SlicedRows(_PeftLayer):  # type: ignore[misc]  # peft's is untyped
    """Mixin of peft's LoRA layer: a mixed batch adds each adapter's product to a slice of the rows."""

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


class SeparatePasses(_PeftLayer):  # type: ignore[misc]  # peft's is untyped
    """Mixin of peft's wrapper of another parameter (a router's weights): a pass for each adapter's rows."""

    jarvis_rows: Rows

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the module's output, one tensor or several, each with a row for every row of `x`."""
        rows = self.jarvis_rows
        if rows.spans is None:
            return super().forward(x, *args, **kwargs)
        # All rows, so that the base's do not depend on their number.
        whole = self.base_layer(x, *args, **kwargs)
        tensors = whole if isinstance(whole, tuple) else (whole,)
        per_row, rest = divmod(len(x), rows.count)
        if rest or any(len(tensor) != len(x) for tensor in tensors):
            raise ValueError(f"the output of {type(self.get_base_layer()).__name__} lacks a row for each of the batch")
        for adapter, first, end in rows.spans:
            if adapter in self.lora_A:
                part = slice(first * per_row, end * per_row)
                with self._activate_lora([adapter]):
                    own = self.base_layer(x[part], *args, **kwargs)
                for tensor, one in zip(tensors, own if isinstance(own, tuple) else (own,), strict=True):
                    tensor[part] = one
        return whole


def find_mixing_obstacle(adapters: Sequence[str], model: Any) -> Note | None:
    """Return why rows cannot share a batch, or None: some adapters replace a module, and peft asks one for all."""
    from peft.utils import AuxiliaryTrainingWrapper

    for module in model.modules() if len(adapters) > 1 else ():
        if not isinstance(module, AuxiliaryTrainingWrapper):
            continue
        owners = [name for name in adapters if module.adapter_state_dict_load_map(peft_name(name))]
        if 0 < len(owners) < len(adapters):
            return Note("adapter_replaces_module", {"name": owners[0]})
    return None


def select_arms(model: Any, arms: Sequence[str]) -> AbstractContextManager[None]:
    """Return a context in which row i runs as `arms[i]`, an adapter alone as beside others: its rounding is its own."""
    alone = len(set(arms)) == 1
    if alone and (arms[0] == BASE_ARM or not hasattr(model, "peft_config") or needs_row_lists(model)):
        return select_arm(model, arms[0])
    return _select_rows(model, arms)


def needs_row_lists(model: Any) -> bool:
    """Return whether peft indexes the rows of an adapted module of `model` by lists in a mixed batch."""
    from peft.tuners.lora.layer import LoraLayer
    from peft.utils import AuxiliaryTrainingWrapper

    adapted = (module for module in model.modules() if isinstance(module, LoraLayer | AuxiliaryTrainingWrapper))
    return any(not hasattr(module, "jarvis_rows") for module in adapted)


@contextmanager
def select_arm(model: Any, arm: str) -> Iterator[None]:
    """Run `model` as one arm inside the context: an adapter, or the base with every adapter off."""
    if not hasattr(model, "peft_config"):
        yield
    elif arm == BASE_ARM:
        with model.disable_adapter():
            yield
    else:
        model.set_adapter(peft_name(arm), inference_mode=True)
        yield


@contextmanager
def _select_rows(model: Any, arms: Sequence[str]) -> Iterator[None]:
    """Run row i as `arms[i]`, with hooks of our own: peft's stay behind when the forward pass raises."""
    from peft.tuners.lora.layer import LoraLayer
    from peft.utils import AuxiliaryTrainingWrapper

    names = [PEFT_BASE if arm == BASE_ARM else peft_name(arm) for arm in arms]
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
    rows.spans = None if spans is None else tuple((peft_name(arm), first, end) for arm, first, end in spans)
    rows.count = len(arms)
    try:
        yield
    finally:
        rows.spans = None
        for handle in handles:
            handle.remove()
