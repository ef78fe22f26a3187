"""Quantise to NF4 on load, fused experts included.

Since transformers 5 a mixture's experts are two 3-D parameters a layer, which bitsandbytes' quantiser, made for linear
layers, silently leaves in 16 bits. The quantiser here covers them too while the file is read, one expert at a time
where the checkpoint stores them apart, so that not even one layer's experts are in memory in 16 bits together.

transformers does not read the experts of a checkpoint that bitsandbytes has already quantised either: saved by
transformers 5 they are in 16 bits, and saved by transformers 4, one packed linear layer per expert, they fit no
parameter of the model any more. They are unpacked and fused on load.

Imports torch and transformers: import this module where a model is loaded, not before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import bitsandbytes.functional as bnb
import torch
from bitsandbytes.nn import Linear4bit
from bitsandbytes.nn.parametrize import Bnb4bitParametrization
from torch.nn.utils import parametrize
from transformers import BitsAndBytesConfig
from transformers.core_model_loading import Concatenate, ConversionOps, MergeModulelist, Transpose, WeightConverter
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.quantizers.base import get_keys_to_not_convert
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

from pytest_jarvis.engines.transformers.checkpoint import format_shape, refuse_wrong_experts
from pytest_jarvis.engines.transformers.nf4.coverage import router_linears
from pytest_jarvis.types import EngineError

if TYPE_CHECKING:
    from bitsandbytes.functional import QuantState
    from transformers import PreTrainedConfig, PreTrainedModel


METHOD: Final = "jarvis_nf4"
"""Our quantiser's name in transformers' table, beside those that exist."""
BLOCK: Final = 64  # Weights that share one scale in NF4.


class ExpertDequantizer(Bnb4bitParametrization):  # type: ignore[misc]  # the base is untyped
    """bitsandbytes' parametrization, with a cache of the dequantised weights and an adapter's products."""

    cached: torch.Tensor | None = None
    stays_packed: bool = False
    """Whether a kernel multiplies by the packed weights; they are then dequantised for adapters on experts only."""
    products: tuple[tuple[torch.Tensor, torch.Tensor, float], ...] = ()
    """An adapter's (left, right, scale): scale * left @ right is added, expert by expert."""

    def forward(self, quantized_param: torch.Tensor) -> torch.Tensor:
        """Return the experts' weights in their original shape and dtype."""
        weights: torch.Tensor = super().forward(quantized_param) if self.cached is None else self.cached
        for left, right, scale in self.products:
            weights = torch.baddbmm(weights, left, right, alpha=scale)
        return weights

    def blank(self) -> torch.Tensor:
        """Return zeros of the weights' shape and dtype, without memory."""
        state = self.quant_state
        return torch.zeros((), dtype=state.dtype, device=state.absmax.device).expand(state.shape)


class DequantizedLinear4bit(Linear4bit):  # type: ignore[misc]  # the base is untyped
    """A linear layer in 4 bits that multiplies by its dequantised weights, cached or made for the call."""

    cached: torch.Tensor | None = None

    def dequantized(self) -> torch.Tensor:
        """Return the weights, (out, in), in their original dtype."""
        weights: torch.Tensor = bnb.dequantize_4bit(self.weight.data, self.weight.quant_state)
        return weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output for inputs (..., in), in their dtype."""
        weights = self.dequantized() if self.cached is None else self.cached
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return torch.nn.functional.linear(x, weights.to(x.dtype), bias)


def fused_experts(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module, str]]:
    """Yield (full name, owner, name) of each fused expert tensor: 3-D, with a slice per expert its owner states."""
    for path, owner in model.named_modules():
        if type(owner).__module__.startswith("torch.nn."):
            continue
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.ndim == 3 and parameter.is_floating_point() and _holds_experts(path, owner, len(parameter)):
                yield f"{path}.{name}" if path else name, owner, name


def _holds_experts(path: str, owner: torch.nn.Module, count: int) -> bool:
    """Return whether a 3-D parameter of `owner` with `count` slices holds one slice per expert."""
    stated = [value for key, value in vars(owner).items() if "expert" in key and type(value) is int]
    return count in stated or (not stated and "expert" in f"{path}.{type(owner).__name__}".lower())


def quantize_tensor(
    tensor: torch.Tensor, kind: str = "nf4", *, double: bool = True
) -> tuple[torch.nn.Parameter, QuantState]:
    """Return a tensor of any shape in 4 bits, by default with double quantisation: (packed, quantisation state)."""
    packed, state = bnb.quantize_4bit(tensor.contiguous(), blocksize=BLOCK, compress_statistics=double, quant_type=kind)
    return torch.nn.Parameter(packed, requires_grad=False), state


def quantize_slices(
    slices: Iterator[torch.Tensor], kind: str = "nf4", *, double: bool = True
) -> tuple[torch.nn.Parameter, QuantState]:
    """Return what `quantize_tensor` returns for the slices joined along their first dimension, bit for bit.

    One slice is in memory at a time. Each must hold a multiple of `BLOCK` weights, so that no block spans two. The
    second level of quantisation needs the scales of the whole tensor, and comes last.
    """
    codes, scales, rows, first = [], [], 0, None
    for piece in slices:
        code, state = bnb.quantize_4bit(piece.contiguous(), blocksize=BLOCK, quant_type=kind)
        codes.append(code)
        scales.append(state.absmax)
        rows += len(piece)
        first = first or state
    if first is None:
        raise ValueError("no slice to quantise")
    absmax, offset, second = torch.cat(scales), None, None
    if double:
        offset = absmax.mean()
        absmax, second = bnb.quantize_blockwise(absmax - offset, blocksize=256)
    whole = bnb.QuantState(
        absmax=absmax,
        shape=torch.Size((rows, *first.shape[1:])),
        code=first.code,
        blocksize=BLOCK,
        quant_type=kind,
        dtype=first.dtype,
        offset=offset,
        state2=second,
    )
    return torch.nn.Parameter(torch.cat(codes), requires_grad=False), whole


class QuantizeExperts(ConversionOps):  # type: ignore[misc]  # the base is untyped
    """Quantise the fused expert tensors of one conversion; linear weights go to bitsandbytes' operation."""

    def __init__(self, quantizer: Any) -> None:
        self._quantizer = quantizer

    def convert(self, input_dict: Mapping[str, Any], **context: Any) -> dict[str, Any]:
        """Return the tensors of `input_dict` in NF4, by name."""
        quantized: dict[str, Any] = {}
        linear: dict[str, Any] = {}
        for name, value in input_dict.items():
            if name in self._quantizer.expert_shapes:
                tensor = value[0] if isinstance(value, list) else value
                quantized[name], self._quantizer.expert_states[name] = quantize_tensor(
                    tensor, self._quantizer.kind, double=self._quantizer.double
                )
            else:
                linear[name] = value
        if linear:
            quantized.update(self._quantizer.linear_operation().convert(linear, **context))
        return quantized


class StreamedExperts(WeightConverter):  # type: ignore[misc]  # the base is untyped
    """transformers' conversion of experts stored apart, run and quantised expert by expert."""

    __slots__ = ()

    def convert(
        self, layer_name: str, model: Any = None, config: Any = None, hf_quantizer: Any = None, loading_info: Any = None
    ) -> dict[str, Any]:
        """Return the fused tensor in NF4 by its name, or the base class's; EngineError for unlike experts."""
        if layer_name not in getattr(hf_quantizer, "expert_shapes", ()):
            plain: dict[str, Any] = super().convert(layer_name, model, config, hf_quantizer, loading_info)
            return plain
        sources, shape = self.collected_tensors, model.get_parameter(layer_name).shape
        refuse_wrong_experts(self.layer_targets[layer_name], shape[0])
        _refuse_other_counts(layer_name, sources, shape[0])
        lazy = all(callable(tensors[0]) for tensors in sources.values())
        if not lazy or shape[1:].numel() % BLOCK:
            stacked: dict[str, Any] = super().convert(layer_name, model, config, hf_quantizer, loading_info)
            return stacked
        unread = {pattern: sources.pop(pattern) for pattern in list(sources)}

        def fuse(expert: int) -> torch.Tensor:
            parts: dict[str, Any] = {pattern: [tensors[expert]()] for pattern, tensors in unread.items()}
            for operation in self.operations:
                parts = operation.convert(
                    parts,
                    source_patterns=self.source_patterns,
                    target_patterns=self.target_patterns,
                    full_layer_name=layer_name,
                    model=model,
                    config=config,
                    missing_keys=None,
                )
            (tensor,) = parts.values()
            whole: torch.Tensor = tensor[0] if isinstance(tensor, list) else tensor
            return whole

        absent = [pattern for pattern in self.source_patterns if pattern.endswith("weight") and pattern not in unread]
        slices = (_read_expert(fuse, expert, layer_name, shape, absent) for expert in range(shape[0]))
        packed, state = quantize_slices(slices, hf_quantizer.kind, double=hf_quantizer.double)
        state.dtype = model.get_parameter(layer_name).dtype
        hf_quantizer.expert_states[layer_name] = state
        return {layer_name: packed}


def _refuse_other_counts(layer_name: str, sources: Mapping[str, Any], count: int) -> None:
    for pattern, tensors in sources.items():
        if len(tensors) != count:
            raise EngineError(
                f"{layer_name}: the checkpoint holds {len(tensors)} experts ({pattern}) where the model has {count}; "
                "download the checkpoint again, or correct the number of experts in config.json"
            )


def _read_expert(
    fuse: Callable[[int], torch.Tensor], expert: int, layer_name: str, shape: torch.Size, absent: Sequence[str]
) -> torch.Tensor:
    """Return one expert's slice of a fused tensor; EngineError for another shape. `absent`: missing projections."""
    try:
        tensor = fuse(expert)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        reason = f"the checkpoint holds no {absent[0]}" if absent else str(error).partition("\n")[0]
        raise EngineError(f"{layer_name}: the weights of expert {expert} do not fit together: {reason}") from error
    if tensor.shape != (1, *shape[1:]):
        raise EngineError(
            f"{layer_name}: expert {expert} is {format_shape(tensor.shape[1:])} in the checkpoint, and "
            f"{format_shape(shape[1:])} by config.json; download the checkpoint again, or correct config.json"
        )
    return tensor


def _make_streamed(conversion: Any) -> Any:
    """Return a conversion that runs expert by expert, if its operations treat each expert apart."""
    if not isinstance(conversion, WeightConverter) or len(conversion.target_patterns) != 1:
        return conversion
    first, *others = [each for each in conversion.operations if not isinstance(each, UnpackExperts)]
    apart = (
        isinstance(first, MergeModulelist)
        and first.dim == 0
        and all(
            (isinstance(other, Concatenate) and other.dim > 0)
            or (isinstance(other, Transpose) and min(other.dim0, other.dim1) > 0)
            for other in others
        )
    )
    if apart and not conversion.force_cpu:
        conversion.__class__ = StreamedExperts
    return conversion


def _register_dequantizers(model: PreTrainedModel, names: Iterable[str], states: Mapping[str, QuantState]) -> None:
    """Make the packed expert tensors of `model` read as dequantised weights, in the order in which it declares them."""
    # Peft nests its wrappers in that order. A tensor without a state was left in 16 bits by a prequantised checkpoint.
    for full_name in names:
        if full_name in states:
            path, _, name = full_name.rpartition(".")
            reading = ExpertDequantizer(states[full_name])
            parametrize.register_parametrization(model.get_submodule(path), name, reading, unsafe=True)


def _skip_routers(model: PreTrainedModel, quantizer: Any) -> None:
    """Keep routers in 16 bits: some families multiply by their weights. A prequantised checkpoint stays."""
    config = quantizer.quantization_config
    if quantizer.pre_quantized:
        return
    skipped = config.llm_int8_skip_modules or get_keys_to_not_convert(model)
    config.llm_int8_skip_modules = [*skipped, *router_linears(model)]


def _refuse_other_shapes(
    model: PreTrainedModel, shapes: Mapping[str, torch.Size], states: Mapping[str, QuantState]
) -> None:
    """Raise EngineError for the first 4-bit tensor of another shape than the model's: transformers compares none."""
    packed = [(name, state, shapes[name]) for name, state in states.items()]
    packed += [
        (f"{path}.weight", module.weight.quant_state, (module.out_features, module.in_features))
        for path, module in model.named_modules()
        if isinstance(module, Linear4bit) and getattr(module.weight, "quant_state", None) is not None
    ]
    for name, state, shape in packed:
        if tuple(state.shape) != tuple(shape):
            raise EngineError(
                f"{name} is {format_shape(state.shape)} in the checkpoint, and {format_shape(shape)} by config.json; "
                "download the checkpoint again, or correct config.json"
            )


class ExpertQuantizer(Bnb4BitHfQuantizer):  # type: ignore[misc]  # the base is untyped
    """bitsandbytes' 4-bit quantiser, extended to fused experts."""

    def __init__(self, quantization_config: Any, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self.kind: str = quantization_config.bnb_4bit_quant_type
        self.double: bool = quantization_config.bnb_4bit_use_double_quant
        self.expert_shapes: dict[str, torch.Size] = {}
        self.expert_states: dict[str, QuantState] = {}

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **kwargs: Any) -> bool:
        """Return whether a parameter is quantised on load."""
        if param_name in self.expert_shapes:
            return True
        return bool(super().param_needs_quantization(model, param_name, **kwargs))

    def get_quantize_ops(self) -> Any:
        """Return the operation that quantises experts and linear weights."""
        return QuantizeExperts(self)

    def linear_operation(self) -> Any:
        """Return bitsandbytes' own operation, for linear weights."""
        return super().get_quantize_ops()

    def get_load_operations(self) -> dict[str, Any]:
        """Return the operations that read a prequantised checkpoint: linear layers as they are, experts unpacked."""
        return {**super().get_load_operations(), "dequantize": UnpackExperts}

    def update_weight_conversions(self, weight_conversions: list[Any], model: PreTrainedModel) -> list[Any]:
        """Return the checkpoint's conversions, with those that fuse experts run expert by expert."""
        return [_make_streamed(each) for each in super().update_weight_conversions(weight_conversions, model)]

    def _process_model_before_weight_loading(self, model: PreTrainedModel, device_map: Any, **kwargs: Any) -> None:
        _skip_routers(model, self)
        super()._process_model_before_weight_loading(model, device_map, **kwargs)
        self.expert_shapes = {name: getattr(owner, kind).shape for name, owner, kind in fused_experts(model)}

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> PreTrainedModel:
        model = super()._process_model_after_weight_loading(model, **kwargs)
        _refuse_other_shapes(model, self.expert_shapes, self.expert_states)
        _register_dequantizers(model, self.expert_shapes, self.expert_states)
        self.expert_states.clear()
        return model


def nf4_config(compute_dtype: torch.dtype, kind: str = "nf4", *, double: bool = True) -> Any:
    """Return a quantisation configuration for `from_pretrained`: 4 bits by `ExpertQuantizer`."""
    AUTO_QUANTIZER_MAPPING.setdefault(METHOD, ExpertQuantizer)

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=kind,
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=compute_dtype,
    )
    config.quant_method = METHOD
    return config


_STOCK: Final = "bitsandbytes_4bit"
_ASYNC_LOAD_OFF: Final = "HF_DEACTIVATE_ASYNC_LOAD"


@contextmanager
def use_expert_quantizer(
    quantizer: type[Any], config: PreTrainedConfig, *, compute_dtype: torch.dtype
) -> Iterator[bool]:
    """Read a checkpoint packed in 4 bits by `quantizer` inside the context, one tensor at a time."""
    stated = getattr(config, "quantization_config", None)
    if not isinstance(stated, dict) or not stated.get("load_in_4bit"):
        yield False
        return
    stated["bnb_4bit_compute_dtype"] = str(compute_dtype).removeprefix("torch.")
    stock, asynchronous = AUTO_QUANTIZER_MAPPING[_STOCK], os.environ.get(_ASYNC_LOAD_OFF)
    AUTO_QUANTIZER_MAPPING[_STOCK] = quantizer
    os.environ[_ASYNC_LOAD_OFF] = "1"
    try:
        yield True
    finally:
        AUTO_QUANTIZER_MAPPING[_STOCK] = stock
        del os.environ[_ASYNC_LOAD_OFF]
        if asynchronous is not None:
            os.environ[_ASYNC_LOAD_OFF] = asynchronous


class UnpackExperts(ConversionOps):  # type: ignore[misc]  # the base is untyped
    """Unpack expert weights to 32 bits, where packing them again gives the same codes; pass others through."""

    def __init__(self, quantizer: Any) -> None:
        self.hf_quantizer = quantizer

    def convert(self, input_dict: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        """Return a list of weights for each pattern of `input_dict` that ends in `.weight`."""
        unpacked: dict[str, Any] = {}
        for pattern, tensors in input_dict.items():
            if not pattern.endswith("weight"):
                continue
            parts = {
                name.removeprefix(f"{pattern}."): values
                for name, values in input_dict.items()
                if name.startswith(f"{pattern}.")
            }
            unpacked[pattern] = [
                _unpack(tensor, {name: values[index] for name, values in parts.items()}) if parts else tensor
                for index, tensor in enumerate(tensors)
            ]
        return unpacked


def _unpack(packed: torch.Tensor, parts: dict[str, torch.Tensor]) -> torch.Tensor:
    state = bnb.QuantState.from_dict(parts, device=packed.device)
    state.dtype = torch.float32
    weight: torch.Tensor = bnb.dequantize_4bit(packed, state)
    return weight
