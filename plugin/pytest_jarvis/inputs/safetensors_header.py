"""Read the header of a safetensors file without torch: its weights, and whether it is complete."""

import json
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

Shapes = Mapping[str, tuple[int, ...]]
"""Weight name -> shape."""

_LONGEST_HEADER: Final = 100_000_000  # The limit of safetensors itself, in bytes.
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_BLOCK: Final = 1 << 20
_BITS: Final[Mapping[str, int]] = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}
"""Bits per number of the unpacked types; safetensors itself checks the sizes of others."""


class WeightsError(ValueError):
    """An incomplete or damaged weight file; the message follows the name of the file."""


def is_pointer(file: Path) -> bool:
    """Return whether a file is a Git LFS pointer instead of the file itself."""
    with file.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


def read_header(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the dtype, shape and offsets of each weight by name; raise WeightsError for an incomplete file.

    Format: length of the header (8 bytes, little-endian), header (JSON), tensors:
    https://huggingface.co/docs/safetensors
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
        fits = all(map(_has_stated_size, tensors.values()))
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        raise WeightsError("is no safetensors file") from None
    if size != 8 + length + end:
        raise WeightsError(f"is cut off: it holds {size} bytes of {8 + length + end}")
    if not fits:
        raise WeightsError("is damaged: the sizes of its weights are not those of their shapes")
    return tensors


def are_zero(file: Path, names: Iterable[str]) -> bool:
    """Return whether every byte of some weights of a whole safetensors file is zero; stops at the first that is not."""
    header = read_header(file)
    with file.open("rb") as stream:
        data = 8 + int.from_bytes(stream.read(8), "little")
        for name in names:
            start, end = header[name]["data_offsets"]
            stream.seek(data + start)
            for place in range(start, end, _BLOCK):
                if stream.read(min(_BLOCK, end - place)).strip(b"\0"):
                    return False
    return True


def shapes_of(header: Mapping[str, Mapping[str, Any]]) -> Shapes:
    """Return the shapes of the weights of a header."""
    return {key: tuple(tensor["shape"]) for key, tensor in header.items()}


def is_plain(header: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether all weights of a header are unpacked numbers."""
    return all(tensor["dtype"] in _BITS for tensor in header.values())


def read_layout(file: Path) -> bytes | None:
    """Return the header of a safetensors file as bytes.

    None for an incomplete file and for one with packed numbers, whose bytes may differ where their values are the same.
    """
    try:
        if not is_plain(read_header(file)):
            return None
    except (OSError, WeightsError):
        return None
    with file.open("rb") as stream:
        return stream.read(int.from_bytes(stream.read(8), "little"))


def _has_stated_size(tensor: Mapping[str, Any]) -> bool:
    """Return whether a tensor has as many bytes as its shape and type require."""
    start, end = tensor["data_offsets"]
    bits = _BITS.get(tensor["dtype"])
    return bits is None or 8 * (end - start) == bits * prod(tuple(tensor["shape"]))
