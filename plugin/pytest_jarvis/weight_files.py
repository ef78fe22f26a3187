"""The file of an adapter's weights, by its beginning and its end: whole or not, and the shapes in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final, Literal

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each weight of a file, by its name there."""

_LONGEST_HEADER: Final = 100_000_000
"""What safetensors itself allows its header, in bytes."""
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_BITS: Final[Mapping[str, int]] = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}
"""Of the types of plain numbers; the sizes of others are left to safetensors."""


def problem_of_weights(weights: Path) -> Literal["pointer", "cut"] | None:
    """Return why a file of weights is none, from its beginning and its end; None where it looks whole."""
    try:
        with weights.open("rb") as stream:
            if stream.read(len(_POINTER)) == _POINTER:
                return "pointer"
        whole = _is_torch_file(weights) if weights.suffix == ".bin" else read_shapes(weights) is not None
    except OSError:
        return "cut"
    return None if whole else "cut"


def read_shapes(weights: Path) -> Shapes | None:
    """Return what a safetensors file holds; None for another file, or one that is not whole."""
    header = _read_header(weights)
    return None if header is None else {key: tuple(tensor["shape"]) for key, tensor in header.items()}


def read_layout(weights: Path) -> bytes | None:
    """Return the header of a safetensors file as it stands there, names, types, shapes and places.

    None for another file, one that is not whole, and one that holds anything but plain numbers: packed ones may have
    other bytes and mean the same.
    """
    header = _read_header(weights)
    if header is None or not all(tensor["dtype"] in _BITS for tensor in header.values()):
        return None
    with weights.open("rb") as stream:
        return stream.read(int.from_bytes(stream.read(8), "little"))


def _read_header(weights: Path) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the tensors that the header of a safetensors file names; None for another file, or one that is not whole.

    The file is: the header's length in 8 bytes, little end first; the header, JSON that gives each tensor's shape and
    place; the tensors. https://huggingface.co/docs/safetensors
    """
    if weights.suffix != ".safetensors":
        return None
    try:
        with weights.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _LONGEST_HEADER:
                return None
            header = json.loads(stream.read(length))
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        whole = all(_fits(tensor) for tensor in tensors.values()) and weights.stat().st_size == 8 + length + end
    except (OSError, ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return tensors if whole else None


def count_weights(shapes: Shapes) -> int:
    """Return how many numbers some weights are together."""
    return sum(prod(shape) for shape in shapes.values())


def _fits(tensor: Mapping[str, Any]) -> bool:
    """Tell whether a tensor takes as many bytes as its shape and its type say."""
    start, end = tensor["data_offsets"]
    bits = _BITS.get(tensor["dtype"])
    size = prod(tuple(tensor["shape"]))
    return bits is None or 8 * (end - start) == bits * size


def _is_torch_file(file: Path) -> bool:
    """Tell whether a file begins, and for the usual kind ends, as what `torch.save` writes."""
    import zipfile  # only where such a file is met

    with file.open("rb") as stream:
        first = stream.read(2)
    return zipfile.is_zipfile(file) if first == b"PK" else first[:1] == b"\x80"
