"""Checkpoints that bitsandbytes has already quantised: their experts, stored apart, are fused in 4 bits on load.

transformers reads such a checkpoint's linear layers as they are. Of its experts it knows nothing: saved by
transformers 5 they are in 16 bits, and saved by transformers 4, one packed linear layer an expert, they fit no
parameter of the model any more.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig


_STOCK: Final = "bitsandbytes_4bit"
_ASYNC_LOAD_OFF: Final = "HF_DEACTIVATE_ASYNC_LOAD"


@contextmanager
def read_by(quantizer: type[Any], config: PreTrainedConfig, *, compute_dtype: torch.dtype) -> Iterator[bool]:
    """Have a checkpoint that bitsandbytes packed in 4 bits read by `quantizer`; tell whether `config` is of one.

    The table of transformers gets its own quantiser back at the end. Tensors are read one at a time, as transformers
    does by itself where it quantises: reading ahead would have all experts of a layer stand unpacked together.
    """
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

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


@functools.cache
def unpacking_class() -> type[Any]:
    """Return the class of the conversion that unpacks; made on demand because its base needs transformers."""
    from transformers.core_model_loading import ConversionOps

    class UnpackExperts(ConversionOps):  # type: ignore[misc]  # the base is untyped
        """Gives packed expert weights back in 32 bits; weights that are not packed go through.

        32 bits, because packing them again then finds the same 4-bit codes: a block's largest weight is its scale.
        """

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

    return UnpackExperts


def _unpack(packed: torch.Tensor, parts: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return one packed weight in 32 bits, of the shape it was packed from."""
    import bitsandbytes.functional as bnb
    import torch

    state = bnb.QuantState.from_dict(parts, device=packed.device)
    state.dtype = torch.float32
    weight: torch.Tensor = bnb.dequantize_4bit(packed, state)
    return weight
