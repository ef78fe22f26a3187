"""Find LoRA adapters in folders, inspect their files without torch, and choose the newest usable one.

What their files alone can tell is refused here; the rest by peft, on a model without weights, before the base loads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec.structs import replace

from pytest_jarvis.files import InputError, convert, read_bytes, shorten, time_limit
from pytest_jarvis.inputs.base_model import fits_base, plain_shapes
from pytest_jarvis.inputs.config import AUTO, arm_name
from pytest_jarvis.inputs.safetensors_header import Shapes, WeightsError, are_zero, is_pointer, read_header, shapes_of
from pytest_jarvis.types import Note, NoteValue

ADAPTER_CONFIG: Final = "adapter_config.json"
WEIGHT_FILES: Final = ("adapter_model.safetensors", "adapter_model.bin")
"""The weights of an adapter, in the order peft looks for them."""

# fmt: off
Problem = Literal[
    "no_weights", "renamed", "inside", "no_config", "bad_config", "bad_value", "not_lora", "mlx", "variant", "pointer",
    "cut", "no_lora", "foreign_keys", "other_rank", "not_targeted", "half", "untrained", "other_base", "missing_keys",
    "other_shapes", "tokens_beside", "gguf", "in_parts",
]
# fmt: on

_DEPTH: Final = 4  # Levels of folders searched below a configured one: run/date/checkpoint/adapter.
_SKIPPED: Final = frozenset({"node_modules", "__pycache__", "site-packages"})
GIVE: Final = "give the folder that peft's save_pretrained wrote"
_SAVE: Final = "save it again with peft's save_pretrained"
_PREDICATES: Final[Mapping[Problem, str]] = {
    "no_weights": f"holds none of {', '.join(WEIGHT_FILES)}",
    "renamed": f"holds {{found}} where peft looks for {' or '.join(WEIGHT_FILES)}",
    "inside": "holds no adapter itself: there is one in {found}",
    "gguf": "holds weights for llama.cpp ({found}), which peft cannot read",
    "in_parts": "holds its weights in parts ({found}), which peft does not read",
    "no_config": f"holds no {ADAPTER_CONFIG}",
    "bad_config": f"has an {ADAPTER_CONFIG} that is not a JSON table",
    "bad_value": f"has an {ADAPTER_CONFIG} with a value that cannot be used",
    "not_lora": "is not a LoRA",
    "mlx": "is an adapter of mlx-lm ({key} in its adapter_config.json), which peft cannot read",
    "variant": "is a LoRA that cannot be compared with its base on the same weights",
    "pointer": "holds a pointer of Git LFS instead of the weights (git lfs pull fetches them)",
    "cut": "has weights that are cut or damaged",
    "no_lora": "has a file without the LoRA weights that it names, or with empty ones",
    "foreign_keys": "has weights under names that peft does not match: '{key}' in {found}, expected {expected}",
    "other_rank": "has weights of another rank than its configuration says: {key} has {found}, expected {expected}",
    "not_targeted": "has weights of a module that its configuration does not target: {found}, expected {expected}",
    "half": "lacks a weight: it has {found}, without {key}",
    "untrained": "is untrained: every lora_B in its file is zero, so that it changes nothing",
    "other_base": "was trained on another base",
    "missing_keys": "lacks weights for modules of the base that its configuration names, the first is {found}",
    "other_shapes": "has weights of other shapes than the base: {key} is for {found}, expected {expected}",
    "tokens_beside": "trains single tokens (trainable_token_indices), and cannot be attached beside other adapters",
}
_CURES: Final[Mapping[Problem, str]] = {
    "renamed": "give that file this name",
    "inside": "give that folder",
    "gguf": "give the folder that it was converted from, or ask a llama-server that serves it (--jarvis-engine server)",
    "in_parts": f"join them in one {WEIGHT_FILES[0]}",
    "mlx": "train it with peft, or convert it to peft's names",
    "foreign_keys": f"{_SAVE} from the model itself, without its wrapper",
    "other_rank": "correct r or rank_pattern, or copy the configuration and the weights of one training together",
    "not_targeted": "copy the configuration and the weights of one training together",
    "half": _SAVE,
    "untrained": "train it, or set model.allow_inert_adapter to run it all the same",
    "missing_keys": f"{_SAVE}, or give its own base",
    "other_shapes": "use the base it was trained on",
    "tokens_beside": "compare it with the base in its own run",
}
"""What to do about a problem; `GIVE` for any other."""


class FoundAdapter(msgspec.Struct, frozen=True, kw_only=True):
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
    """What is behind the problem, where its sentence names it."""
    config: Mapping[str, Any] | None = None
    shapes: Shapes | None = None
    """Of its weights; None for a file of torch, and for one that is damaged."""

    @property
    def name(self) -> str:
        """Default name of its arm."""
        return arm_name(self.folder)

    def reason(self, problem: Problem) -> str:
        """Return why it cannot be used, as a predicate in English."""
        place = "" if self.broken_at is None else f" (line {self.broken_at[0]}, column {self.broken_at[1]})"
        sentence = _PREDICATES[problem]
        if "{" in sentence:
            return sentence.format_map(self.problem_values(problem))
        return f"{sentence}{place if self.fault is None else f' ({self.fault})'}"

    def sentence(self, problem: Problem) -> str:
        """Return why it cannot be used and what to do, as a predicate in English."""
        return f"{self.reason(problem)}; {_CURES.get(problem, GIVE)}"

    def problem_values(self, problem: Problem) -> dict[str, NoteValue]:
        """Return why it cannot be used, with the place or the value, as values of a note."""
        values: dict[str, NoteValue] = {"problem": problem}
        if self.fault is not None:
            values |= {"key": self.fault.key, "found": self.fault.found, "expected": self.fault.expected}
        elif self.broken_at is not None:
            values |= {"line": self.broken_at[0], "column": self.broken_at[1]}
        return values

    @property
    def files(self) -> tuple[Path, ...]:
        """Its configuration and weights, as far as they exist."""
        weights = weights_in(self.folder)
        return tuple(file for file in (self.folder / ADAPTER_CONFIG, weights) if file is not None and file.is_file())


class Detection(msgspec.Struct, frozen=True, kw_only=True):
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
    problem, fault = _problem(folder, config, weights)
    if problem is None and config is not None and weights is not None and shapes is not None:
        problem, fault = problem_of_keys(config, shapes) or (None, None)
        if problem is None and _is_untrained(weights, shapes):
            problem = "untrained"
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
        fault=fault,
        config=config,
        shapes=shapes,
    )


def detect(folders: Iterable[Path], base: str, *, arm: str | None = None) -> Detection:
    """Return the newest usable adapter under `folders` that fits `base`, as far as `matcher` can tell.

    Raises InputError with what was found when there is none.
    """
    looked, match = tuple(folders), matcher(base)
    passed_over: list[tuple[FoundAdapter, Problem]] = []
    usable: list[FoundAdapter] = []
    for found in map(match, find_adapters(looked)):
        if found.problem is None:
            usable.append(found)
        elif not usable:
            passed_over.append((found, found.problem))
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
        config = json.loads(read_bytes(file).decode())
    except json.JSONDecodeError as error:
        return None, (error.lineno, error.colno)
    except (ValueError, OSError, RecursionError):
        return None, None
    return (config if isinstance(config, dict) else None), None


def _problem(
    folder: Path, config: Mapping[str, Any] | None, weights: Path | None
) -> tuple[Problem | None, Fault | None]:
    """Return what is wrong with the files of a folder, apart from the names and shapes of its weights."""
    lacking: Problem | None = None if (folder / ADAPTER_CONFIG).is_file() else "no_config"
    mlx = next((key for key in _MLX_KEYS if key in (config or ())), None)
    if mlx is not None and "peft_type" not in (config or ()):
        return "mlx", _fault(mlx, None, "")
    if lacking is None and config is None:
        return "bad_config", None
    for problem, fault_of in _FAULTS.items() if config is not None else ():
        fault = fault_of(config or {})
        if fault is not None:
            return problem, fault
    if lacking is None and weights is not None:
        return problem_of_weights(weights), None
    if weights is None and (other := _elsewhere(folder)) is not None:
        return other
    return lacking or "no_weights", None


def _elsewhere(folder: Path) -> tuple[Problem, Fault] | None:
    """Return the adapter in a folder below one without weights, or its weights under another name, or None."""
    below = [one for one in _walk(folder, _DEPTH, set()) if one != folder and weights_in(one)]
    if below:
        return "inside", Fault(key="", found=str(max(below, key=_numeric_key)), expected="")
    for file in sorted(folder.glob("*")):
        if (match := _OTHER_NAME.fullmatch(file.name)) is not None:
            problem: Problem = "gguf" if file.suffix == ".gguf" else "in_parts" if match["part"] else "renamed"
            return problem, Fault(key="", found=file.name, expected=WEIGHT_FILES[0])
    return None


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


def problem_of_keys(config: Mapping[str, Any], shapes: Shapes) -> tuple[Problem, Fault | None] | None:
    """Return what is wrong with the names and shapes of an adapter's weights, judging by its configuration, or None."""
    try:
        with time_limit(_MATCH_S, "the patterns of an adapter take too long"):
            return _problem_of_keys(config, shapes)
    except InputError:
        expected = "names of modules, or a pattern that is quick to match"
        return "bad_value", _fault("target_modules", config.get("target_modules"), expected)


def _problem_of_keys(config: Mapping[str, Any], shapes: Shapes) -> tuple[Problem, Fault | None] | None:
    lora = {key: shape for key, shape in shapes.items() if ".lora_" in key}
    promised = config.get("target_modules") or config.get("target_parameters")
    if (promised and not lora) or any(prod(shape) == 0 for shape in lora.values()):
        return "no_lora", None
    found = {key: match for key in lora if (match := _MATRIX.fullmatch(key))}
    for key in shapes:
        if (foreign := _FOREIGN.search(key)) is not None:
            return "foreign_keys", Fault(key=foreign[0], found=key, expected=_FOREIGN.sub("", key))
    for key, match in found.items():
        other = f"{match['module']}.{match['kind']}{'B' if match['half'] == 'A' else 'A'}{match['rest']}"
        if match["rest"] in {"", ".weight"} and other not in shapes:
            return "half", Fault(key=other, found=key, expected=other)
        module = match["module"].removeprefix(_PREFIX)
        targets = config.get("target_modules")
        if not config.get("target_parameters") and not _targets(targets, module):
            return "not_targeted", Fault(key=key, found=module, expected=json.dumps(targets, ensure_ascii=False))
        rank, length = _rank_of(config, module), lora[key][:2][0 if match["half"] == "A" else -1]
        # The ranks of all experts are stacked where a whole parameter is adapted.
        if match["rest"] in {"", ".weight"} and (length % rank if config.get("target_parameters") else length != rank):
            return "other_rank", Fault(key=key, found=str(length), expected=str(rank))
    return None


def _targets(targets: object, module: str) -> bool:
    """Return whether `target_modules` names a module, by the rules of peft."""
    if isinstance(targets, str):
        try:
            return targets == "all-linear" or re.fullmatch(targets, module) is not None
        except re.error:
            return True  # peft will say so
    names = targets if isinstance(targets, list) else []
    return any(module == name or module.endswith(f".{name}") for name in names)


def _rank_of(config: Mapping[str, Any], module: str) -> int:
    """Return the rank that a configuration states for a module: that of the first pattern that matches, or `r`."""
    patterns: Mapping[str, int] = config.get("rank_pattern") or {}
    return next((patterns[key] for key in patterns if re.match(rf"(.*\.)?({key})$", module)), config.get("r", 8))


def _is_untrained(weights: Path, shapes: Shapes) -> bool:
    """Return whether a file holds nothing but LoRA weights, and every B of them is zero, as before a training."""
    left = [key for key in shapes if ".lora_B." in key or ".lora_embedding_B" in key]
    return bool(left) and all(".lora_" in key for key in shapes) and are_zero(weights, left)


def matcher(base: str, revision: str | None = None) -> Callable[[FoundAdapter], FoundAdapter]:
    """Return a function that returns an adapter with the problem that it has with `base`, if it has none of its own.

    By the base that it names, and by the names and shapes of the weights in the base's files, where they are here.
    """
    here = plain_shapes(base, revision)
    modules = {key.removesuffix(".weight"): shape for key, shape in here.items() if key.endswith(".weight")}

    def match(found: FoundAdapter) -> FoundAdapter:
        if found.problem is not None:
            return found
        if not fits_base(found.base, base):
            return replace(found, problem="other_base")
        problem, fault = _problem_with(modules, found.config or {}, found.shapes or {}) or (None, None)
        return replace(found, problem=problem, fault=fault)

    return match


def _problem_with(modules: Shapes, config: Mapping[str, Any], shapes: Shapes) -> tuple[Problem, Fault] | None:
    """Return how an adapter does not fit the modules of a base, or None; experts are left to peft."""
    # None too where no name is common to both: some models rename their weights as they load.
    halves: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        match = _MATRIX.fullmatch(key)
        if match and not match["kind"].endswith("embedding_") and match["rest"] == ".weight":
            halves.setdefault(match["module"].removeprefix(_PREFIX), {})[match["half"]] = shape
    common = [module for module in halves if module in modules]
    for module in () if asks_for(config, "use_bdlora") or asks_for(config, "use_qalora") else common:
        into, out = halves[module]["A"][1:2], halves[module]["B"][:1]
        if len(modules[module]) == 2 and sorted(out + into) != sorted(modules[module]):
            return "other_shapes", Fault(key=module, found=str(out + into), expected=str(modules[module]))
    targets, whole = config.get("target_modules"), config.get("modules_to_save")
    narrowed = config.get("exclude_modules") or config.get("layers_to_transform") is not None
    if not common or narrowed or targets == "all-linear":
        return None
    saved = {key.removeprefix(_PREFIX).removesuffix(".weight") for key in shapes}
    for module, shape in modules.items():
        named = len(shape) == 2 and ".experts." not in module and (_targets(targets, module) or _targets(whole, module))
        if named and not any(f"{name}.".startswith(f"{module}.") for name in saved):
            return "missing_keys", Fault(key=module, found=module, expected="a weight")
    return None


def _is_torch_file(file: Path) -> bool:
    import zipfile  # only where such a file is met

    with file.open("rb") as stream:
        first = stream.read(2)
    return zipfile.is_zipfile(file) if first == b"PK" else first[:1] == b"\x80"


_MATCH_S: Final = 5.0
_PREFIX: Final = "base_model.model."
_MATRIX: Final = re.compile(r"(?P<module>.+?)\.(?P<kind>lora_(embedding_)?)(?P<half>[AB])(?P<rest>.*)")
_FOREIGN: Final = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\."
    r"|^module\.|(?<=^base_model\.model\.)module\.|(?<=\.lora_[AB]\.)(?!weight$|bias$)\w+\."
)
"""What torch.compile, FSDP, data-parallel training or a state dict of peft's model itself add to the names."""
_OTHER_NAME: Final = re.compile(
    r"(?!model)[^.].*?(?P<part>-\d+-of-\d+)?\.(safetensors|gguf)|.*(lora|adapter).*?\.(bin|pt|pth)", re.IGNORECASE
)
"""Names of files that may be an adapter's weights; `model...` are those of a whole model."""
_MLX_KEYS: Final = ("fine_tune_type", "lora_parameters")
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


class Fault(msgspec.Struct, frozen=True, kw_only=True):
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
