"""Read the header of a safetensors file without torch: is the file whole, and which weights does it hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each weight of a file, by its name there."""

_LONGEST_HEADER: Final = 100_000_000
"""What safetensors itself allows its header, in bytes."""
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_BITS: Final[Mapping[str, int]] = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}
"""Of the types of plain numbers; the sizes of others are left to safetensors."""


class WeightsError(ValueError):
    """A file of weights is not whole; the message goes after the name of the file."""


def is_pointer(file: Path) -> bool:
    """Tell whether a file is a pointer of Git LFS instead of the file itself."""
    with file.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


def read_header(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the dtype, shape and place of each weight by name; raise WeightsError for a file that is not whole.

    The file is: the header's length in 8 bytes, little end first; the header, JSON that gives each tensor's shape and
    place; the tensors. https://huggingface.co/docs/safetensors
    """
    size = file.stat().st_size
    if size == 0:
        raise WeightsError("is empty")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise WeightsError(f"is cut off or no safetensors file ({size} bytes)")
        text = stream.read(length)
    try:
        tensors = {key: value for key, value in json.loads(text).items() if key != "__metadata__"}
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        fits = all(map(_fits, tensors.values()))
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        raise WeightsError("is no safetensors file") from None
    if size != 8 + length + end:
        raise WeightsError(f"is cut off: it holds {size} bytes of {8 + length + end}")
    if not fits:
        raise WeightsError("is damaged: the sizes of its weights are not those of their shapes")
    return tensors


def shapes_of(header: Mapping[str, Mapping[str, Any]]) -> Shapes:
    """Return the shape of each weight of a header."""
    return {key: tuple(tensor["shape"]) for key, tensor in header.items()}


def read_layout(file: Path) -> bytes | None:
    """Return the header of a safetensors file as it stands there, names, types, shapes and places.

    None for one that is not whole, and one that holds anything but plain numbers: packed ones may have other bytes and
    mean the same.
    """
    try:
        if not all(tensor["dtype"] in _BITS for tensor in read_header(file).values()):
            return None
    except (OSError, WeightsError):
        return None
    with file.open("rb") as stream:
        return stream.read(int.from_bytes(stream.read(8), "little"))


def _fits(tensor: Mapping[str, Any]) -> bool:
    """Tell whether a tensor takes as many bytes as its shape and its type say."""
    start, end = tensor["data_offsets"]
    bits = _BITS.get(tensor["dtype"])
    size = prod(tuple(tensor["shape"]))
    return bits is None or 8 * (end - start) == bits * size
