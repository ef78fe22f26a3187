"""What the kernel for experts in 4 bits computes, by the processor: Triton has no device here to run on.

One operation, which a simulated GPU runs as it runs any other: recorded, and without memory of its own.
"""

import functools
from typing import Any

import pytest

_SCHEMA = (
    "multiply(Tensor x, Tensor source, Tensor packed, Tensor scales, Tensor scale_values, Tensor scale_scales, "
    "Tensor scale_offset, Tensor row_ends, Tensor(a!) out, Tensor target, int[] shape, int words, int scale_block) "
    "-> ()"
)


def put_in_place(patch: pytest.MonkeyPatch) -> None:
    """Have the kernel's launches computed here."""
    patch.setenv("TRITON_INTERPRET", "1")  # a kernel that is compiled asks for a driver as it is imported
    from pytest_jarvis.engines.transformers.nf4 import kernel

    patch.setattr(kernel, "_rows_by_packed_experts", _Launches())


class _Launches:
    def __getitem__(self, _grid: tuple[int, int]) -> Any:
        return _launch


def _launch(*given: Any, **constants: Any) -> None:
    """Take what the kernel takes."""
    import torch

    *tensors, _values, row_ends, _tile_ends, out, target, width, depth, experts = given
    _define()
    torch.ops.jarvis_packed_products.multiply(
        *tensors,
        row_ends,
        out,
        target,
        [experts, width, depth],
        constants["CHUNK"] // 8,
        constants["SCALES_OF_A_SCALE"],
    )


@functools.cache
def _define() -> Any:
    """Define the operation, once in a process; who holds the library keeps it defined."""
    import torch

    library = torch.library.Library("jarvis_packed_products", "DEF")
    library.define(_SCHEMA)
    library.impl("multiply", _multiply, "CPU")
    return library


def _multiply(*given: Any) -> None:
    """Take what the schema says."""
    import torch

    x, source, packed, scales, values, scale_scales, offset, row_ends, out, target, shape, words, scale_block = given
    absmax = torch.ops.bitsandbytes.dequantize_blockwise(scales, scale_scales, values, scale_block, torch.float32)
    weights = torch.ops.bitsandbytes.dequantize_4bit(
        packed.view(torch.uint8).view(-1, 1), absmax + offset, 64, "nf4", shape, x.dtype
    )
    rows = x.reshape(len(x), -1, 8, words).transpose(2, 3).reshape(len(x), -1)[:, : shape[-1]].float()
    first = 0
    for expert, end in enumerate(row_ends.tolist()):
        if end > first:
            found = rows[source[first:end]] @ weights[expert].float().T
            out[target[first:end]] = found.to(out.dtype)
        first = end
