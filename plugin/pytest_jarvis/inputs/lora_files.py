"""Whether an adapter's weights are those of its configuration, by names and shapes alone; nothing is loaded.

Only what no base could make right is told: peft itself would refuse the file, after the minutes that a base takes to
load. A name in `target_modules` that the file lacks is no such thing: recipes list the names of several families.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, prod
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


Wanted = Literal[
    "rank",
    "number",
    "share",
    "flag",
    "names",
    "regex or names",
    "ranks",
    "numbers",
    "layers",
    "tokens",
    "bias",
    "init",
    "plain",
    "lora",
]

SAID: Final[Mapping[Wanted, str]] = {
    "rank": "a whole number from 1",
    "number": "a number",
    "share": "a number from 0 up to 1",
    "flag": "true or false",
    "names": "a list of names",
    "regex or names": "a list of names or a regular expression",
    "ranks": "a table of names, each with a whole number from 1",
    "numbers": "a table of names, each with a number",
    "layers": "the number of a layer or a list of such numbers",
    "tokens": "a list of token numbers, or a table of names with such lists",
    "bias": '"none", "all" or "lora_only"',
    "init": "true, false or the name of a method",
    "plain": "a LoRA that leaves its base as it is",
    "lora": '"LORA"',
}
"""What a key wants, for a sentence in English."""
PLAIN_INITS: Final = ("gaussian", "orthogonal", "eva", "mica")
"""Ways to begin a training that leave the base as it was: what is saved is a plain LoRA, however it began."""
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
    wanted: Wanted

    def __str__(self) -> str:
        """Return the fault as a part of a sentence in English."""
        return f"{self.key} is {self.found}, expected {SAID[self.wanted]}"


def first_fault(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value of a LoRA's configuration that is not of the kind its key wants; None when all are."""
    for key, wanted in _WANTED.items():
        value = config.get(key)
        if key not in config or (value is None and key not in _NEVER_NULL) or _FITS[wanted](value):
            continue
        return _fault(key, value, wanted)
    return None


def other_method(config: Mapping[str, Any]) -> Fault | None:
    """Return what peft calls another method than LoRA in a configuration; None for a LoRA's."""
    method = config.get("peft_type")
    return None if method == "LORA" else _fault("peft_type", method, "lora")


def unlike_plain(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value that makes a LoRA more than a product beside weights of its base; None for a plain one.

    Such an adapter and its base cannot be compared on the same weights.
    """
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        return _fault("init_lora_weights", init, "plain")
    return next((_fault(key, config[key], "plain") for key in _VARIANTS if asks_for(config, key)), None)


def asks_for(config: Mapping[str, Any], key: str) -> bool:
    """Tell whether a key asks for its variant; an empty table of settings does, with all settings at their defaults."""
    value = config.get(key)
    return bool(value) or isinstance(value, dict)


def _fault(key: str, value: object, wanted: Wanted) -> Fault:
    found = json.dumps(value, ensure_ascii=False, default=str)
    return Fault(key=key, found=found if len(found) <= _LONGEST else f"{found[:_LONGEST]}…", wanted=wanted)


def _is_whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_rank(value: object) -> bool:
    return _is_whole(value, 1)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_regex(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _are(kind: Callable[[object], bool], value: object) -> bool:
    return isinstance(value, list) and all(kind(one) for one in value)


def _are_names(value: object) -> bool:
    return _are(lambda one: isinstance(one, str) and one != "", value)


def _are_regex_or_names(value: object) -> bool:
    return _is_regex(value) or _are_names(value)


def _are_layers(value: object) -> bool:
    return _is_whole(value) or _are(_is_whole, value)


def _by_name(kind: Callable[[object], bool], value: object) -> bool:
    return isinstance(value, dict) and all(_is_regex(name) and kind(one) for name, one in value.items())


def _are_tokens(value: object) -> bool:
    return _are(_is_whole, value) or _by_name(lambda one: _are(_is_whole, one), value)


_FITS: Final[Mapping[Wanted, Callable[[Any], bool]]] = {
    "rank": _is_rank,
    "number": _is_number,
    "share": _is_share,
    "flag": lambda value: isinstance(value, bool),
    "names": _are_names,
    "regex or names": _are_regex_or_names,
    "ranks": lambda value: _by_name(_is_rank, value),
    "numbers": lambda value: _by_name(_is_number, value),
    "layers": _are_layers,
    "tokens": _are_tokens,
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "init": lambda value: isinstance(value, bool | str),
    "plain": lambda _: True,
    "lora": lambda value: value == "LORA",
}
_WANTED: Final[Mapping[str, Wanted]] = {
    "r": "rank",
    "lora_alpha": "number",
    "lora_dropout": "share",
    "target_modules": "regex or names",
    "exclude_modules": "regex or names",
    "target_parameters": "names",
    "modules_to_save": "names",
    "rank_pattern": "ranks",
    "alpha_pattern": "numbers",
    "layers_to_transform": "layers",
    "layers_pattern": "regex or names",
    "trainable_token_indices": "tokens",
    "bias": "bias",
    "init_lora_weights": "init",
    "use_rslora": "flag",
    "use_dora": "flag",
    "lora_bias": "flag",
    "fan_in_fan_out": "flag",
}
_NEVER_NULL: Final = frozenset({"r", "lora_alpha", "lora_dropout", "bias"})


MismatchKind = Literal["no_lora", "empty", "half", "halves", "rank", "targets", "lacks", "more"]

_LORA: Final = ".lora_"
_HALF: Final = re.compile(r"(?P<module>.+)\.lora_(?P<part>(?:embedding_)?[AB])(?:\.weight)?")
_PREFIX: Final = "base_model.model."
"""What peft puts before the name of a module of the base."""
_SWITCHES: Final[Mapping[str, str]] = {"use_dora": ".lora_magnitude_vector", "lora_bias": ".lora_B.bias"}
"""Flag of a configuration -> what the names of the weights that it adds to every module hold."""
_DEFAULT_RANK: Final = 8
"""Of peft, for a configuration without `r`."""
_MOST_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One thing in which an adapter's file and its configuration contradict each other, or the file itself."""

    kind: MismatchKind
    key: str
    """A weight of the file, or a key of the configuration."""
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        """Return the mismatch as a part of a sentence in English."""
        return _SAID[self.kind].format(key=self.key, found=self.found, wanted=self.wanted)


_SAID: Final[Mapping[MismatchKind, str]] = {
    "no_lora": "its file lacks every weight of a LoRA, and {key} is {wanted}",
    "empty": "{key} holds no number ({found})",
    "half": "its file lacks {wanted}, which goes with {key}",
    "halves": "{key} is of rank {found}, and its lora_B is of rank {wanted}",
    "rank": "{key} is of rank {found}, and its adapter_config.json says {wanted}",
    "targets": "its file holds weights for {found}, and target_modules is {wanted}",
    "lacks": "its file lacks {wanted}, and {key} is true",
    "more": "its file holds {found}, and {key} is not true",
}


def first_mismatch(config: Mapping[str, Any], shapes: Shapes) -> Mismatch | None:
    """Return the first thing in which a LoRA's configuration and the shapes of its file contradict each other.

    None where nothing does. The configuration has to be one without a fault.
    """
    if asks_for(config, "use_bdlora"):
        return None  # its matrices are in blocks, and smaller than their rank
    return next(_mismatches(config, {key: shape for key, shape in shapes.items() if _LORA in key}), None)


def _mismatches(config: Mapping[str, Any], lora: Shapes) -> Iterator[Mismatch]:
    if not lora:
        for key in ("target_modules", "target_parameters"):
            if config.get(key):
                yield Mismatch(kind="no_lora", key=key, wanted=_few(_listed(config[key])))
        return
    # Training in parts (DeepSpeed ZeRO-3) is known to save such weights.
    for key, shape in lora.items():
        if prod(shape) == 0:
            yield Mismatch(kind="empty", key=key, found=" x ".join(map(str, shape)))
    yield from _halves(config, lora)
    yield from _targets(config, {key.partition(_LORA)[0].removeprefix(_PREFIX) for key in lora})
    for flag, part in _SWITCHES.items():
        with_it = [key for key in lora if part in key]
        if config.get(flag) and not with_it:
            yield Mismatch(kind="lacks", key=flag, wanted=part.removeprefix("."))
        elif with_it and not config.get(flag):
            yield Mismatch(kind="more", key=flag, found=with_it[0])


def _halves(config: Mapping[str, Any], lora: Shapes) -> Iterator[Mismatch]:
    """Yield what is wrong with the ranks of the two matrices of a module: (rank, in) and (out, rank)."""
    for key, shape in sorted(lora.items()):
        half = _HALF.fullmatch(key)
        if half is None:
            continue
        name = f"lora_{half['part']}"
        other = key.replace(f".{name}", f".{name[:-1]}{'B' if name[-1] == 'A' else 'A'}")
        if other not in lora:
            yield Mismatch(kind="half", key=key, wanted=other)
        elif name[-1] == "A" and len(shape) == len(lora[other]) == 2:
            yield from _ranks(config, key, half["module"].removeprefix(_PREFIX), shape[0], lora[other][1])


def _ranks(config: Mapping[str, Any], key: str, module: str, rows: int, columns: int) -> Iterator[Mismatch]:
    if rows != columns:
        yield Mismatch(kind="halves", key=key, found=str(rows), wanted=str(columns))
    wanted = _rank_of(config, module)
    if rows == wanted:
        return
    if config.get("target_parameters") and not _is_target(config, module):
        # A parameter of the module, of any name: as many ranks as there are experts, which the base alone knows.
        ranks = sorted({_rank(config), *(config.get("rank_pattern") or {}).values()})
        if all(rows % rank for rank in ranks):
            yield Mismatch(kind="rank", key=key, found=str(rows), wanted=f"{_few(map(str, ranks))} for each expert")
        return
    yield Mismatch(kind="rank", key=key, found=str(rows), wanted=str(wanted))


def _rank_of(config: Mapping[str, Any], module: str) -> int:
    """Return the rank that peft gives a module: by the first pattern that its name ends with, else `r`."""
    for pattern, rank in (config.get("rank_pattern") or {}).items():
        try:
            found = re.match(rf"(.*\.)?({pattern})$", module)
        except re.error:
            found = None  # flags in the middle: peft itself says so
        if found:
            return int(rank)
    return _rank(config)


def _rank(config: Mapping[str, Any]) -> int:
    return int(config.get("r", _DEFAULT_RANK))


def _targets(config: Mapping[str, Any], modules: set[str]) -> Iterator[Mismatch]:
    """Yield that the file holds weights for modules that the configuration does not name."""
    wanted = config.get("target_modules")
    if not wanted or config.get("target_parameters") or config.get("ensure_weight_tying"):
        return
    others = sorted(module for module in modules if not _is_target(config, module))
    # A pattern may be written for the names of another version of transformers, which peft translates.
    if others and (not isinstance(wanted, str) or len(others) == len(modules)):
        yield Mismatch(kind="targets", key="target_modules", found=_few(others), wanted=_few(_listed(wanted)))


def _is_target(config: Mapping[str, Any], module: str) -> bool:
    wanted = config.get("target_modules") or ()
    if isinstance(wanted, str):
        return wanted.lower() == "all-linear" or re.fullmatch(wanted, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in wanted)


def _listed(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else sorted(names)


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_MOST_SHOWN]) + (
        f" and {len(listed) - _MOST_SHOWN} more" if len(listed) > _MOST_SHOWN else ""
    )
