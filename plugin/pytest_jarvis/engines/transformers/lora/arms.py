"""Which arm each row of a batch runs as: one adapter for all rows, none, or each row its own.

peft runs rows of several adapters in one batch by picking each adapter's rows with a list of their places, in every
adapted layer: on a GPU each list is copied to the device, and each copy waits for everything that was launched before.
The rows of a batch are ordered by arm here, so that an adapter's rows are a slice, which costs nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.nf4.experts import WRAPPERS, adds_shares
from pytest_jarvis.types import BASE_ARM, Note

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from peft.tuners.lora.layer import ParamWrapper as _PeftLayer
else:
    _PeftLayer = object


PEFT_BASE: Final = "__base__"
"""What peft calls a row of a mixed batch that no adapter touches."""
Span = tuple[str, int, int]
"""(adapter, first row, last row + 1)."""
_PEFT_NAME: Final = "jarvis-arm-{}-jarvis"


@dataclass(slots=True)
class Rows:
    """Which rows of the batch under way run as which adapter, for every layer that shares this object."""

    spans: tuple[Span, ...] | None = None
    """By the names that peft knows; None when no batch is under way in which rows are told apart."""
    count: int = 0
    """The rows of the batch."""


def peft_name(arm: str) -> str:
    """Return what peft calls an adapter: its arm's name within what no module or parameter of a model has.

    peft makes the name a part of its modules' and parameters' names, looks for it anywhere in them, and looks for
    modules by how their names end.
    """
    return _PEFT_NAME.format(arm)


def with_own_names(text: str) -> str:
    """Return what peft says, with the adapters called as their arms are."""
    return re.sub(_PEFT_NAME.format("(.*?)"), r"\1", text)


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

    whole_rows(model)
    rows = Rows()
    for module in list(model.modules()):
        kind: Any = type(module)
        mixin: Any = _mixin(module) if isinstance(module, LoraLayer) else None
        if mixin is not None:
            module.__class__ = _mixed_class(mixin, kind)
            module.jarvis_rows = rows


def whole_rows(model: Any) -> None:
    """Give the LoRA layers of `model` back the classes that peft made them of, to attach another adapter to them."""
    for module in model.modules():
        module.__dict__.pop(WRAPPERS, None)
        if "jarvis_rows" in module.__dict__:
            module.__class__ = type(module).__bases__[1]
            del module.__dict__["jarvis_rows"]


@functools.cache
def _mixed_class(mixin: Any, kind: Any) -> type[Any]:
    return type(f"{mixin.__name__}{kind.__name__}", (mixin, kind), {})


def _mixin(layer: Any) -> type[Any] | None:
    """Return what makes a LoRA layer take slices of rows, None for a layer that stays as it is.

    A wrapper of an expert tensor is noted with the experts, by the name of the tensor.
    """
    from peft.tuners.lora.layer import ParamWrapper

    if not isinstance(layer, ParamWrapper):
        return SlicedRows if _is_plain(layer) else None
    owner = layer.get_base_layer()
    if layer.lora_variant or layer.merged:
        return None
    if layer.num_experts == 1 and not hasattr(owner, "parametrizations"):
        return RowsApart
    if layer.num_experts == 1 or not adds_shares(owner):
        return None
    owner.__dict__.setdefault(WRAPPERS, {})[layer.parameter_name] = layer
    return SlicedExperts


class SlicedExperts(_PeftLayer):  # type: ignore[misc]  # peft's is untyped
    """Mixed into peft's wrapper of an expert tensor: a batch whose rows are told apart is left to the experts."""

    jarvis_rows: Rows

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the experts' output, by whatever peft does when rows are not told apart."""
        plain = self.jarvis_rows.spans is None
        found: torch.Tensor = super().forward(x, *args, **kwargs) if plain else self.base_layer(x, *args, **kwargs)
        return found


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


class SlicedRows(_PeftLayer):  # type: ignore[misc]  # peft's is untyped
    """Mixed into peft's LoRA layer: a batch of several arms adds each adapter's product to a slice of the rows."""

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


class RowsApart(_PeftLayer):  # type: ignore[misc]  # peft's is untyped
    """Mixed into peft's wrapper of another parameter (a router's weights): each adapter's rows have their own pass."""

    jarvis_rows: Rows

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the module returns, a tensor or several, each with a row for every one of `x`."""
        rows = self.jarvis_rows
        if rows.spans is None:
            return super().forward(x, *args, **kwargs)
        # All rows, so that the base's do not hang on how many of them there are.
        whole = self.base_layer(x, *args, **kwargs)
        tensors = whole if isinstance(whole, tuple) else (whole,)
        per_row, rest = divmod(len(x), rows.count)
        if rest or any(len(tensor) != len(x) for tensor in tensors):
            raise ValueError(f"the output of {type(self.get_base_layer()).__name__} has no row for each of the batch")
        for adapter, first, end in rows.spans:
            if adapter in self.lora_A:
                part = slice(first * per_row, end * per_row)
                with self._activate_lora([adapter]):
                    own = self.base_layer(x[part], *args, **kwargs)
                for tensor, one in zip(tensors, own if isinstance(own, tuple) else (own,), strict=True):
                    tensor[part] = one
        return whole


def unmixable(adapters: Sequence[str], model: Any) -> Note | None:
    """Return why rows of some adapters cannot share a batch for sure, None where it takes a trial to know.

    peft asks the adapter that is on whether a module is replaced at all: what a row gets where only some adapters
    replace a module would hang on what ran before.
    """
    from peft.utils import AuxiliaryTrainingWrapper

    for module in model.modules() if len(adapters) > 1 else ():
        if not isinstance(module, AuxiliaryTrainingWrapper):
            continue
        owners = [name for name in adapters if module.adapter_state_dict_load_map(peft_name(name))]
        if 0 < len(owners) < len(adapters):
            return Note("adapter_replaces_module", {"name": owners[0]})
    return None


def as_arms(model: Any, arms: Sequence[str]) -> AbstractContextManager[None]:
    """Return the context in which row i of a batch runs as `arms[i]`.

    An adapter alone runs as it does beside others, wherever it can: its rounding must not hang on them.
    """
    alone = len(set(arms)) == 1
    if alone and (arms[0] == BASE_ARM or not hasattr(model, "peft_config") or picks_by_lists(model)):
        return only(model, arms[0])
    return _mixed(model, arms)


def picks_by_lists(model: Any) -> bool:
    """Tell whether an adapted module of `model` has its rows picked by peft's lists of places in a mixed batch."""
    from peft.tuners.lora.layer import LoraLayer
    from peft.utils import AuxiliaryTrainingWrapper

    adapted = (module for module in model.modules() if isinstance(module, LoraLayer | AuxiliaryTrainingWrapper))
    return any(not hasattr(module, "jarvis_rows") for module in adapted)


@contextmanager
def only(model: Any, arm: str) -> Iterator[None]:
    """Run `model` as one arm: an adapter by name, or the base with every adapter off."""
    if not hasattr(model, "peft_config"):
        yield
    elif arm == BASE_ARM:
        with model.disable_adapter():
            yield
    else:
        model.set_adapter(peft_name(arm), inference_mode=True)
        yield


@contextmanager
def _mixed(model: Any, arms: Sequence[str]) -> Iterator[None]:
    """Run `model` with row i of the batch as `arms[i]`: by slices where a layer takes them, else by peft's own way.

    peft's own context leaves its hooks behind when the forward raises (out of memory, Ctrl-C), so they are put here.
    """
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
