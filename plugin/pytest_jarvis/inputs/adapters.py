"""Find LoRA adapters in folders, inspect their files without torch, and choose the newest usable one.

Whether the weights fit their configuration and the base is checked by peft, before the engine loads the base.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from pytest_jarvis.files import InputError, convert, shorten
from pytest_jarvis.inputs.base_model import may_fit
from pytest_jarvis.inputs.safetensors_header import Shapes, WeightsError, is_pointer, read_header, shapes_of
from pytest_jarvis.types import Note, NoteValue

ADAPTER_CONFIG: Final = "adapter_config.json"
WEIGHT_FILES: Final = ("adapter_model.safetensors", "adapter_model.bin")
"""The weights of an adapter, in the order peft looks for them."""
AUTO: Final = "auto"
"""In place of a path: the newest usable adapter under the configured folders."""

Problem = Literal[
    "no_weights",
    "no_config",
    "bad_config",
    "bad_value",
    "not_lora",
    "variant",
    "pointer",
    "cut",
    "no_lora",
    "other_base",
]

_DEPTH: Final = 4
"""Levels of folders searched below a configured one: run/date/checkpoint/adapter."""
_SKIPPED: Final = frozenset({"node_modules", "__pycache__", "site-packages"})
_PREDICATES: Final[Mapping[Problem, str]] = {
    "no_weights": f"holds none of {', '.join(WEIGHT_FILES)}",
    "no_config": f"holds no {ADAPTER_CONFIG}",
    "bad_config": f"has an {ADAPTER_CONFIG} that is not a JSON table",
    "bad_value": f"has an {ADAPTER_CONFIG} with a value that cannot be used",
    "not_lora": "is not a LoRA",
    "variant": "is a LoRA that cannot be compared with its base on the same weights",
    "pointer": "holds a pointer of Git LFS instead of the weights (git lfs pull fetches them)",
    "cut": "has weights that are cut or damaged",
    "no_lora": "has a file without the LoRA weights that it names, or with empty ones",
    "other_base": "was trained on another base",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAdapter:
    """A folder with an adapter, or a part of one."""

    folder: Path
    base: str | None
    """The base model in its configuration."""
    rank: int | None
    targets: tuple[str, ...]
    """Sorted names of the modules and parameters it adapts."""
    parameters: int | None
    """Number of weights; None where only loading the file would tell."""
    size_bytes: int
    """Size of the weight file; 0 without one."""
    modified_s: float
    """Last modification of its configuration or weights, in seconds since 1970."""
    problem: Problem | None
    """Why it cannot be used, or None."""
    broken_at: tuple[int, int] | None = None
    """Line and column, from 1, of the JSON error of its configuration."""
    fault: Fault | None = None
    """The unusable value behind a problem `bad_value`, `variant` or `not_lora`."""

    @property
    def name(self) -> str:
        """Default name of its arm."""
        return arm_name(self.folder)

    def reason(self, problem: Problem) -> str:
        """Return why it cannot be used, as a predicate in English."""
        place = "" if self.broken_at is None else f" (line {self.broken_at[0]}, column {self.broken_at[1]})"
        return f"{_PREDICATES[problem]}{place if self.fault is None else f' ({self.fault})'}"

    def problem_values(self, problem: Problem) -> dict[str, NoteValue]:
        """Return why it cannot be used, with the place or the value, as values of a note."""
        values: dict[str, NoteValue] = {"problem": problem}
        if self.fault is not None:
            values |= {"key": self.fault.key, "found": self.fault.found}
        elif self.broken_at is not None:
            values |= {"line": self.broken_at[0], "column": self.broken_at[1]}
        return values

    @property
    def files(self) -> tuple[Path, ...]:
        """Its configuration and weights, as far as they exist."""
        weights = weights_in(self.folder)
        return tuple(file for file in (self.folder / ADAPTER_CONFIG, weights) if file is not None and file.is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The adapter chosen for `auto`, and why."""

    arm: str
    chosen: FoundAdapter
    usable: int
    """Number of usable adapters, this one included."""
    passed_over: tuple[tuple[FoundAdapter, Problem], ...]
    """Newer ones that are unusable, with the reason."""
    folders: tuple[Path, ...]

    def notes(self) -> Iterator[Note]:
        """Yield a note for the chosen adapter and for each newer one that is unusable."""
        folder, modified_s = str(self.chosen.folder), self.chosen.modified_s
        yield Note(
            "adapter_chosen", {"arm": self.arm, "folder": folder, "modified_s": modified_s, "usable": self.usable}
        )
        for found, problem in self.passed_over:
            yield Note("adapter_passed_over", {"folder": str(found.folder), **found.problem_values(problem)})


def arm_name(folder: Path) -> str:
    """Return a folder's name as a valid name of a torch module, which takes no dot."""
    return re.sub(r"[^\w-]+", "-", folder.absolute().name).strip("-_")


def find_adapters(folders: Iterable[Path]) -> list[FoundAdapter]:
    """Return every folder with an adapter or a part of one, in `folders` and below, the newest first.

    Of two with the same modification time, as after a copy, the one with the higher number in its path comes first.
    """
    seen: dict[Path, Path] = {}
    for top in folders:
        for folder in _walk(top, _DEPTH, set()):
            seen.setdefault(folder.resolve(), folder)
    found = [inspect_adapter(folder) for folder in seen.values()]
    return sorted(found, key=lambda adapter: (adapter.modified_s, _numeric_key(adapter.folder)), reverse=True)


def inspect_adapter(folder: Path) -> FoundAdapter:
    """Return an adapter's description from its configuration and the header of its weights."""
    config_file, weights = folder / ADAPTER_CONFIG, weights_in(folder)
    config, broken_at = read_config(config_file)
    shapes = None if weights is None else read_shapes(weights)
    rank = config.get("r") if config else None
    base = config.get("base_model_name_or_path") if config else None
    stats = [file.stat() for file in (config_file, weights) if file is not None and file.is_file()]
    problem = _problem(config_file, config, weights)
    if problem is None and config is not None and shapes is not None and lacks_lora(config, shapes):
        problem = "no_lora"
    return FoundAdapter(
        folder=folder,
        base=base if isinstance(base, str) and base else None,
        rank=rank if isinstance(rank, int) else None,
        targets=targets_of(config or {}),
        parameters=None if shapes is None else count_weights(shapes),
        size_bytes=0 if weights is None else weights.stat().st_size,
        modified_s=max((stat.st_mtime for stat in stats), default=0.0),
        problem=problem,
        broken_at=broken_at,
        fault=_FAULTS[problem](config) if config is not None and problem is not None and problem in _FAULTS else None,
    )


def detect(
    folders: Iterable[Path], base: str, *, arm: str | None = None, fits: Callable[[str | None, str], bool] | None = None
) -> Detection:
    """Return the newest usable adapter under `folders` for which `fits(its base, base)` holds, by default `may_fit`.

    Raises InputError with what was found when there is none.
    """
    looked = tuple(folders)
    passed_over: list[tuple[FoundAdapter, Problem]] = []
    usable: list[FoundAdapter] = []
    for found in find_adapters(looked):
        problem = found.problem or (None if (fits or may_fit)(found.base, base) else "other_base")
        if problem is None:
            usable.append(found)
        elif not usable:
            passed_over.append((found, problem))
    if not usable:
        raise InputError(_no_adapter_message(looked, base, passed_over))
    return Detection(
        arm=arm or usable[0].name, chosen=usable[0], usable=len(usable), passed_over=tuple(passed_over), folders=looked
    )


def targets_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sorted targets of an adapter's configuration: modules, `all-linear`, or parameters."""
    found: list[str] = []
    for key in ("target_modules", "target_parameters", "modules_to_save"):
        value = config.get(key) or ()
        found.extend([str(one) for one in value] if isinstance(value, list | tuple | set) else [str(value)])
    return tuple(sorted(found))


def files_digest(*files: Path) -> str:
    """Return the SHA-256 of files, each preceded by its name and size, in hexadecimal."""
    from hashlib import sha256  # only where an adapter is read, which collecting tests does not

    digest = sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _walk(folder: Path, depth: int, ancestors: set[Path]) -> Iterator[Path]:
    """Yield the folders with a file of an adapter, skipping unreadable ones."""
    try:
        here = folder.resolve()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name for entry in entries}
    if names.intersection((ADAPTER_CONFIG, *WEIGHT_FILES)):
        yield folder
    if depth == 0 or here in ancestors:
        return
    for entry in entries:
        if entry.name not in _SKIPPED and not entry.name.startswith(".") and entry.is_dir():
            yield from _walk(folder / entry.name, depth - 1, {*ancestors, here})


def weights_in(folder: Path) -> Path | None:
    """Return the weight file that peft would load, or None."""
    return next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)


def read_config(file: Path) -> tuple[Mapping[str, Any] | None, tuple[int, int] | None]:
    """Return a configuration (None unless it is a JSON table), and the line and column of its JSON error."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        return None, (error.lineno, error.colno)
    except (ValueError, OSError, RecursionError):
        return None, None
    return (config if isinstance(config, dict) else None), None


def _problem(config_file: Path, config: Mapping[str, Any] | None, weights: Path | None) -> Problem | None:
    if not config_file.is_file():
        return "no_config"
    if config is None:
        return "bad_config"
    for problem, fault_of in _FAULTS.items():
        if fault_of(config) is not None:
            return problem
    return "no_weights" if weights is None else problem_of_weights(weights)


def _numeric_key(folder: Path) -> tuple[tuple[int, str], ...]:
    """Return a sort key of a path that puts `checkpoint-1000` after `checkpoint-500`."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", folder.as_posix()) if part
    )


def _no_adapter_message(folders: tuple[Path, ...], base: str, passed_over: list[tuple[FoundAdapter, Problem]]) -> str:
    where = ", ".join(str(folder) for folder in folders)
    message = f"--jarvis-adapter {AUTO}: no usable adapter for {base} under {where}"
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if len(missing) == len(folders):
        message += ", which is not there" if len(folders) == 1 else ", none of which is there"
    elif missing:
        message += f" (no such folder: {', '.join(missing)})"
    if passed_over:
        shown = "; ".join(f"{found.folder} {found.reason(problem)}" for found, problem in passed_over[:3])
        more = f"; and {len(passed_over) - 3} more" if len(passed_over) > 3 else ""
        message += f": {shown}{more}"
    return f"{message}; give a folder with --jarvis-adapter PATH, or name others in model.adapter_folders"


def problem_of_weights(weights: Path) -> Literal["pointer", "cut"] | None:
    """Return what is wrong with a weight file, judging by its header and size, or None."""
    try:
        if is_pointer(weights):
            return "pointer"
        whole = _is_torch_file(weights) if weights.suffix == ".bin" else read_shapes(weights) is not None
    except OSError:
        return "cut"
    return None if whole else "cut"


def read_shapes(weights: Path) -> Shapes | None:
    """Return the shapes in a safetensors file; None for another or an incomplete file."""
    try:
        return shapes_of(read_header(weights)) if weights.suffix == ".safetensors" else None
    except (OSError, WeightsError):
        return None


def count_weights(shapes: Shapes) -> int:
    """Return the total number of weights."""
    return sum(prod(shape) for shape in shapes.values())


def lacks_lora(config: Mapping[str, Any], shapes: Shapes) -> bool:
    """Return whether LoRA weights that the configuration names are missing, or empty (DeepSpeed ZeRO-3)."""
    lora = [shape for key, shape in shapes.items() if ".lora_" in key]
    promised = config.get("target_modules") or config.get("target_parameters")
    return bool(promised and not lora) or any(prod(shape) == 0 for shape in lora)


def _is_torch_file(file: Path) -> bool:
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
"""Types of the LoraConfig keys in use; peft accepts a value of another type and fails much later."""
PLAIN_INITS: Final = ("gaussian", "orthogonal", "eva", "mica")
"""Initialisations that leave the base unchanged."""
_VARIANTS: Final = (
    "layer_replication",
    "alora_invocation_tokens",
    "kasa_config",
    "monteclora_config",
    "arrow_config",
    "megatron_config",
)
"""Keys of variants that do more than add a product to weights of the base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An unusable value of a configuration."""

    key: str
    found: str
    """The value as JSON, shortened."""
    expected: str

    def __str__(self) -> str:
        """Return the fault as a clause in English."""
        return f"{self.key} is {self.found}, expected {self.expected}"


def first_fault(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value of a LoRA configuration with a wrong type, or None."""
    for key, kind in _TYPES.items():
        if key in config:
            try:
                convert(config[key], kind, key)
            except InputError as error:
                expected = str(error).partition("expected ")[2].rpartition(", found ")[0]
                return _fault(key, config[key], expected)
    return None


def other_method(config: Mapping[str, Any]) -> Fault | None:
    """Return the fault of a configuration of another method than LoRA, or None."""
    method = config.get("peft_type")
    return None if method == "LORA" else _fault("peft_type", method, '"LORA"')


def unsupported_variant(config: Mapping[str, Any]) -> Fault | None:
    """Return the first value that makes a LoRA change its base's own weights, or None.

    Such an adapter cannot be compared with its base on the same weights.
    """
    plain = "a LoRA that leaves its base as it is"
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        return _fault("init_lora_weights", init, plain)
    return next((_fault(key, config[key], plain) for key in _VARIANTS if asks_for(config, key)), None)


def asks_for(config: Mapping[str, Any], key: str) -> bool:
    """Return whether a key enables its variant; an empty table does too, with default settings."""
    value = config.get(key)
    return bool(value) or isinstance(value, dict)


def _fault(key: str, value: object, expected: str) -> Fault:
    return Fault(key=key, found=shorten(json.dumps(value, ensure_ascii=False, default=str)), expected=expected)


_FAULTS: Final[Mapping[Problem, Callable[[Mapping[str, Any]], Fault | None]]] = {
    "not_lora": other_method,
    "bad_value": first_fault,
    "variant": unsupported_variant,
}
"""Problem of a configuration -> the function that finds its value, in the order of the search."""
