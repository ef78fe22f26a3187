"""Adapters as files: found, read and checked before anything is attached, and again afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.base_files import hub_cache, other_known_shape
from pytest_jarvis.discovery import (
    ADAPTER_CONFIG,
    WEIGHT_FILES,
    files_digest,
    plain_name,
    targets_of,
)
from pytest_jarvis.engines.transformers.arms import PEFT_BASE
from pytest_jarvis.engines.transformers.sources import DEMO, Source
from pytest_jarvis.engines.transformers.variants import refuse_variants
from pytest_jarvis.lora_config import first_fault
from pytest_jarvis.lora_weights import first_mismatch
from pytest_jarvis.records import BASE_ARM, AdapterSpec, EngineError
from pytest_jarvis.same_base import other_model
from pytest_jarvis.weight_files import Shapes, problem_of_weights, read_shapes

if TYPE_CHECKING:
    import torch

_GIVE: Final = "give the folder that peft's save_pretrained wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """An adapter's folder, read and checked, before anything is attached."""

    name: str
    source: str
    folder: Path
    weights: Path
    config: Mapping[str, Any]
    sha256: str

    @property
    def rank(self) -> int | None:
        """The LoRA rank its configuration states."""
        rank = self.config.get("r")
        return rank if isinstance(rank, int) else None

    @property
    def targets(self) -> tuple[str, ...]:
        """What it adapts: module names, `all-linear`, or fused parameters, sorted."""
        return targets_of(self.config)


def read_adapter(spec: AdapterSpec) -> AdapterFiles:
    """Return the files of an adapter. Raises EngineError for a folder or a file that is missing or unreadable."""
    if spec.name in {BASE_ARM, PEFT_BASE} or "." in spec.name:
        raise EngineError(
            f"adapter {spec.name!r}: this name cannot be used; choose one without a dot, and not '{BASE_ARM}'"
        )
    folder = _folder(spec)
    config_file = folder / ADAPTER_CONFIG
    if not config_file.is_file():
        raise EngineError(f"adapter '{spec.name}': {spec.source} holds no {ADAPTER_CONFIG}; {_GIVE}")
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise EngineError(f"adapter '{spec.name}': {spec.source} holds none of {', '.join(WEIGHT_FILES)}; {_GIVE}")
    config = _config(spec.name, config_file)
    refuse_variants(spec.name, config)
    _refuse_mismatch(spec.name, config, weights)
    return AdapterFiles(
        name=spec.name,
        source=spec.source,
        folder=folder,
        weights=weights,
        config=config,
        sha256=files_digest(config_file, weights),
    )


def refuse_changed(adapter: AdapterFiles) -> None:
    """Raise EngineError when the files of an attached adapter are no longer those whose digest was taken.

    A training that goes on writing would else have its answers stored under the digest of an older state.
    """
    try:
        same = files_digest(adapter.folder / ADAPTER_CONFIG, adapter.weights) == adapter.sha256
    except OSError:
        same = False
    if not same:
        raise EngineError(
            f"adapter '{adapter.name}': its files changed while they were loaded; wait until its training is done"
        )


def refuse_other_base(adapter: AdapterFiles, source: Source) -> str | None:
    """Return a note when the adapter names another base than the folder that is to be loaded, None when it names that.

    Raises EngineError when it names another base and the names can be compared: the hub's, or the embedded one's. A
    folder may be called anything, so its name proves nothing: another folder that is still there is refused when the
    model in it has another shape, or plainly other weights; a name of the hub against a folder, when what is known of
    the former has another shape. The shapes of the weights are checked when the adapter is attached.
    """
    stated = str(adapter.config.get("base_model_name_or_path") or "")
    if not stated:
        return None
    difference = None
    if not source.is_demo and stated != DEMO:
        difference = other_model(stated, source.location) or other_known_shape(stated, source.location, hub_cache())
    if difference is not None:
        raise EngineError(
            f"adapter '{adapter.name}': it was trained on the model {stated!r}, which is not the base "
            f"{source.display_name!r}: {difference}; choose its own base, or, if it belongs to this one, correct "
            f"base_model_name_or_path in {adapter.folder / ADAPTER_CONFIG}"
        )
    expected = DEMO if source.is_demo else source.location
    if plain_name(stated) == (DEMO if source.is_demo else plain_name(expected)):
        return None
    if not source.is_demo and stated != DEMO and Path(source.location).is_dir():
        return (
            f"adapter '{adapter.name}' says that it was trained on {stated!r}, and the base is the folder "
            f"{source.display_name!r}: only the shapes of the weights were seen to agree"
        )
    raise EngineError(
        f"adapter '{adapter.name}': it was trained on {stated!r}, and the base here is {expected!r}; "
        "choose its own base, or, if they are the same, correct base_model_name_or_path in "
        f"{adapter.folder / ADAPTER_CONFIG}"
    )


def _config(name: str, file: Path) -> Mapping[str, Any]:
    """Return an adapter's configuration. Raises EngineError for one that is none, or not of a LoRA."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise EngineError(
            f"adapter '{name}': {file} is not readable JSON: {error}; save the adapter again, or copy the file anew"
        ) from error
    if not isinstance(config, dict):
        raise EngineError(f"adapter '{name}': {file} holds no JSON table; save the adapter again")
    if config.get("peft_type") != "LORA":
        found = config.get("peft_type")
        raise EngineError(
            f"adapter '{name}': its peft_type is {found!r}, this engine attaches LORA adapters only; train one with "
            "peft's LoraConfig"
        )
    fault = first_fault(config)
    if fault is not None:
        raise EngineError(f"adapter '{name}': in {file}, {fault}; correct it, or save the adapter again")
    return config


def _refuse_mismatch(name: str, config: Mapping[str, Any], weights: Path) -> None:
    """Raise EngineError when an adapter's weights are not those of its configuration, whatever the base is."""
    mismatch = first_mismatch(config, _shapes(name, weights))
    if mismatch is not None:
        raise EngineError(
            f"adapter '{name}': {mismatch}; {ADAPTER_CONFIG} and {weights.name} in {weights.parent} are not of one "
            "training: copy both from where it was trained, or save it again with peft's save_pretrained"
        )


def _shapes(name: str, file: Path) -> Shapes:
    """Return what a file of weights holds. Raises EngineError for one that holds no whole weights."""
    problem = problem_of_weights(file)
    if problem == "pointer":
        raise EngineError(
            f"adapter '{name}': {file} is a pointer of Git LFS, not the weights: fetch them with git lfs pull"
        )
    if problem == "cut":
        raise EngineError(
            f"adapter '{name}': {file} is damaged or cut short, or holds no weights: copy it again from its source"
        )
    if file.suffix == ".bin":
        return {key: tuple(tensor.shape) for key, tensor in read_bin(name, file, device="meta").items()}
    return read_shapes(file) or {}


def read_bin(name: str, file: Path, *, device: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a file of `torch.save`, by name, on a device ("meta" for their shapes alone).

    Raises EngineError for a file that is damaged, or that holds anything else: nothing in it is run.
    """
    import warnings
    from pickle import UnpicklingError

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's guess at what a file may be that it then refuses
            found = torch.load(file, map_location=device, weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"adapter '{name}': {file} is damaged, or is no file of weights alone: copy it again from its source, or "
            "save the adapter as safetensors"
        ) from error
    if not isinstance(found, dict) or not found or not all(isinstance(one, torch.Tensor) for one in found.values()):
        raise EngineError(f"adapter '{name}': {file} holds no table of weights: save the adapter again")
    return found


def _folder(spec: AdapterSpec) -> Path:
    """Return the folder of an adapter's files."""
    if spec.source.startswith(f"{DEMO}:"):
        from pytest_jarvis.demo import ADAPTERS, adapter_path

        wanted = spec.source.removeprefix(f"{DEMO}:")
        try:
            folder = Path(adapter_path(wanted))
        except (KeyError, ValueError, OSError) as error:
            known = ", ".join(f"{DEMO}:{name}" for name in ADAPTERS)
            raise EngineError(
                f"adapter '{spec.name}': there is no embedded adapter {wanted!r}; known: {known}"
            ) from error
    else:
        folder = Path(spec.source).expanduser()
    if not folder.is_dir():
        raise EngineError(
            f"adapter '{spec.name}': no such folder: {spec.source}; {_GIVE} (one of the hub is downloaded first: "
            "hf download ID --local-dir DIR)"
        )
    return folder
