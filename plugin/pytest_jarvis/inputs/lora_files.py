"""Read the files of a LoRA without torch: is it one, is it whole, what does its header say.

Whether its weights fit its configuration and its base is left to peft, which the engine asks before it loads the base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

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


def lacks_lora(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Tell whether a file lacks the LoRA weights its configuration promises, or holds empty ones (DeepSpeed ZeRO-3)."""
    lora = [shape for key, shape in shapes.items() if ".lora_" in key]
    promised = config.get("target_modules") or config.get("target_parameters")
    return bool(promised and not lora) or any(prod(shape) == 0 for shape in lora)


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


_Rank = Annotated[int, msgspec.Meta(ge=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Names = list[Annotated[str, msgspec.Meta(min_length=1)]]
_Tokens = list[_Count]
_TYPES: Final[Mapping[str, Any]] = {
    "r": _Rank,
    "lora_alpha": float,
    "lora_dropout": Annotated[float, msgspec.Meta(ge=0, lt=1)],
    "target_modules": str | _Names | None,
    "exclude_modules": str | _Names | None,
    "target_parameters": _Names | None,
    "modules_to_save": _Names | None,
    "rank_pattern": dict[str, _Rank] | None,
    "alpha_pattern": dict[str, float] | None,
    "layers_to_transform": _Count | list[_Count] | None,
    "layers_pattern": str | _Names | None,
    "trainable_token_indices": _Tokens | dict[str, _Tokens] | None,
    "bias": Literal["none", "all", "lora_only"],
    "init_lora_weights": bool | str | None,
    "use_rslora": bool | None,
    "use_dora": bool | None,
    "lora_bias": bool | None,
    "fan_in_fan_out": bool | None,
}
"""Keys of peft's LoraConfig whose values are used; peft itself takes a value of another type and fails much later."""
PLAIN_INITS: Final = ("gaussian", "orthogonal", "eva", "mica")
"""Initialisations that leave the base as it was: what is saved is a plain LoRA."""
_VARIANTS: Final = (
    "layer_replication",
    "alora_invocation_tokens",
    "kasa_config",
    "monteclora_config",
    "arrow_config",
    "megatron_config",
)
"""Keys that ask for more than to add a product to weights of the base."""
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A value of a configuration that cannot be used."""

    key: str
    found: str
    """The value as JSON, shortened."""
    expected: str

    def __str__(self) -> str:
        """Return the fault as a part of a sentence in English."""
        return f"{self.key} is {self.found}, expected {self.expected}"


def first_fault(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value of a LoRA's configuration that has another type than its key needs; None without one."""
    for key, kind in _TYPES.items():
        if key in config:
            try:
                msgspec.convert(config[key], kind)
            except msgspec.ValidationError as error:
                expected = str(error).split(", got ")[0].removeprefix("Expected ").partition(" - at ")[0]
                return _fault(key, config[key], expected.replace("`", ""))
    return None


def other_method(config: Mapping[str, Any]) -> Fault | None:
    """Return the method a configuration names when that is not LoRA."""
    method = config.get("peft_type")
    return None if method == "LORA" else _fault("peft_type", method, '"LORA"')


def unsupported_variant(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value that makes a LoRA more than a product beside weights of its base; None for a plain one.

    Such an adapter and its base cannot be compared on the same weights.
    """
    plain = "a LoRA that leaves its base as it is"
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        return _fault("init_lora_weights", init, plain)
    return next((_fault(key, config[key], plain) for key in _VARIANTS if asks_for(config, key)), None)


def asks_for(config: Mapping[str, Any], key: str) -> bool:
    """Tell whether a key asks for its variant; an empty table does too, with all settings at their defaults."""
    value = config.get(key)
    return bool(value) or isinstance(value, dict)


def _fault(key: str, value: object, expected: str) -> Fault:
    found = json.dumps(value, ensure_ascii=False, default=str)
    return Fault(key=key, found=found if len(found) <= _LONGEST else f"{found[:_LONGEST]}…", expected=expected)
