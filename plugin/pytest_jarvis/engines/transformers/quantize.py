"""NF4 on load, fused experts included.

Since transformers 5 a mixture's experts are two 3-D parameters a layer, which bitsandbytes' quantiser, made for linear
layers, leaves in 16 bits without a word. The quantiser here covers them too, tensor by tensor while the file is read,
so that the model never stands in 16 bits as a whole.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from bitsandbytes.functional import QuantState
    from transformers import PreTrainedModel

METHOD: Final = "jarvis_nf4"
"""Our quantiser's name in transformers' table; nothing that exists there is replaced."""
BLOCK: Final = 64
"""Weights that share one scale in NF4."""


def fused_experts(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module, str]]:
    """Yield (full name, owner, parameter name) of each fused expert tensor of `model`.

    Found by shape and ownership, whatever the family: a 3-D floating parameter whose first dimension is the number of
    experts that its owner states, or whose owner's name says that it holds experts.
    """
    for path, owner in model.named_modules():
        if type(owner).__module__.startswith("torch.nn."):
            continue
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.ndim == 3 and parameter.is_floating_point() and _holds_experts(path, owner, len(parameter)):
                yield f"{path}.{name}" if path else name, owner, name


def _holds_experts(path: str, owner: torch.nn.Module, count: int) -> bool:
    """Tell whether a 3-D parameter with `count` slices in `owner` holds one slice an expert."""
    stated = [value for key, value in vars(owner).items() if "expert" in key and type(value) is int]
    return count in stated or (not stated and "expert" in f"{path}.{type(owner).__name__}".lower())


@functools.cache
def _operation_class() -> type[Any]:
    """Return the class of the conversion that quantises; made on demand because its base needs transformers."""
    import bitsandbytes.functional as bnb
    import torch
    from transformers.core_model_loading import ConversionOps

    class QuantizeExperts(ConversionOps):  # type: ignore[misc]  # the base is untyped
        """Quantises the fused expert tensors of one conversion; linear weights go to bitsandbytes' operation."""

        def __init__(self, quantizer: Any) -> None:
            self._quantizer = quantizer

        def convert(self, input_dict: Mapping[str, Any], **context: Any) -> dict[str, Any]:
            """Return the tensors of `input_dict` in NF4, by name."""
            quantized: dict[str, Any] = {}
            linear: dict[str, Any] = {}
            for name, value in input_dict.items():
                if name not in self._quantizer.expert_names:
                    linear[name] = value
                    continue
                tensor = value[0] if isinstance(value, list) else value
                packed, state = bnb.quantize_4bit(
                    tensor.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
                )
                self._quantizer.expert_states[name] = state
                quantized[name] = torch.nn.Parameter(packed, requires_grad=False)
            if linear:
                quantized.update(self._quantizer.linear_operation().convert(linear, **context))
            return quantized

    return QuantizeExperts


@functools.cache
def _quantizer_class() -> type[Any]:
    """Return the quantiser class; made on demand because its base needs torch and transformers."""
    from bitsandbytes.nn.parametrize import Bnb4bitParametrization
    from torch.nn.utils import parametrize
    from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

    operation_class = _operation_class()

    class ExpertQuantizer(Bnb4BitHfQuantizer):  # type: ignore[misc]  # the base is untyped
        """bitsandbytes' 4-bit quantiser for linear layers, and the same for fused experts."""

        def __init__(self, quantization_config: Any, **kwargs: Any) -> None:
            super().__init__(quantization_config, **kwargs)
            self.expert_names: frozenset[str] = frozenset()
            self.expert_states: dict[str, QuantState] = {}

        def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **kwargs: Any) -> bool:
            """Tell whether a parameter is to be quantised while it is loaded."""
            if param_name in self.expert_names:
                return True
            return bool(super().param_needs_quantization(model, param_name, **kwargs))

        def get_quantize_ops(self) -> Any:
            """Return the operation that quantises what `param_needs_quantization` named."""
            return operation_class(self)

        def linear_operation(self) -> Any:
            """Return bitsandbytes' own operation, for linear weights."""
            return super().get_quantize_ops()

        def _process_model_before_weight_loading(self, model: PreTrainedModel, device_map: Any, **kwargs: Any) -> None:
            super()._process_model_before_weight_loading(model, device_map, **kwargs)
            self.expert_names = frozenset(name for name, _, _ in fused_experts(model))

        def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> PreTrainedModel:
            model = super()._process_model_after_weight_loading(model, **kwargs)
            for full_name, state in self.expert_states.items():
                path, _, name = full_name.rpartition(".")
                owner = model.get_submodule(path)
                parametrize.register_parametrization(owner, name, Bnb4bitParametrization(state), unsafe=True)
            self.expert_states.clear()
            return model

    return ExpertQuantizer


def nf4_config(compute_dtype: torch.dtype) -> Any:
    """Return a quantisation configuration for `from_pretrained`: NF4, double quantisation, our quantiser.

    Adds our quantiser to transformers' table under a name of its own, once.
    """
    from transformers import BitsAndBytesConfig
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    AUTO_QUANTIZER_MAPPING.setdefault(METHOD, _quantizer_class())
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )
    config.quant_method = METHOD
    return config
