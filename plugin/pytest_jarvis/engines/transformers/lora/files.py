"""Read and check an adapter's files before anything is attached, and check them again afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from pytest_jarvis.engines.transformers.loading.sources import DEMO, Source
from pytest_jarvis.engines.transformers.lora.arms import PEFT_BASE
from pytest_jarvis.inputs.adapters import (
    ADAPTER_CONFIG,
    GIVE,
    PLAIN_INITS,
    asks_for,
    files_digest,
    inspect_adapter,
    problem_of_keys,
    targets_of,
    unsupported_variant,
    weights_in,
)
from pytest_jarvis.inputs.base_model import hub_cache, other_known_shape, other_model, plain_name
from pytest_jarvis.types import BASE_ARM, AdapterSpec, EngineError, Note

if TYPE_CHECKING:
    import torch


class AdapterFiles(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter's folder, read and checked."""

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
        """Names of adapted modules, `all-linear`, or fused parameters, sorted."""
        return targets_of(self.config)


def read_adapters(specs: Sequence[AdapterSpec], *, allow_inert: bool = False) -> list[AdapterFiles]:
    """Return the files of adapters that share a base. Raises EngineError for what their files alone show is wrong."""
    found = [read_adapter(spec, allow_inert=allow_inert) for spec in specs]
    names = [adapter.name for adapter in found]
    for adapter in found:
        if names.count(adapter.name) > 1:
            raise EngineError(f"two adapters are called '{adapter.name}'; give each its own name (NAME=PATH)")
        if len(found) > 1 and adapter.config.get("trainable_token_indices"):
            # peft applies it to all of them.
            raise EngineError(
                f"adapter '{adapter.name}': it trains single tokens (trainable_token_indices), and such an adapter "
                "cannot be attached beside others; compare it with the base in its own run"
            )
    return found


def read_adapter(spec: AdapterSpec, *, allow_inert: bool = False) -> AdapterFiles:
    """Return the files of an adapter; EngineError for what is missing, unreadable, or wrong by names and shapes."""
    if spec.name in {BASE_ARM, PEFT_BASE} or "." in spec.name:
        raise EngineError(
            f"adapter {spec.name!r}: this name cannot be used; choose one without a dot, other than '{BASE_ARM}'"
        )
    folder = _folder(spec)
    found, weights = inspect_adapter(folder), weights_in(folder)
    config, problem = found.config, found.problem
    if config is not None and problem == "variant":
        refuse_variants(spec.name, config)
    if problem == "untrained" and allow_inert:
        problem = None
    if problem is None and config is not None and weights is not None and weights.suffix == ".bin":
        shapes = {key: tuple(one.shape) for key, one in read_bin(spec.name, weights, device="meta").items()}
        problem, fault = problem_of_keys(config, shapes) or (None, None)
        found = replace(found, fault=fault)
    if problem is not None or config is None or weights is None:
        raise EngineError(f"adapter '{spec.name}': {folder} {found.sentence(problem or 'no_weights')}")
    return AdapterFiles(
        name=spec.name,
        source=spec.source,
        folder=folder,
        weights=weights,
        config=config,
        sha256=files_digest(*found.files),
    )


def refuse_changed(adapter: AdapterFiles) -> None:
    """Raise EngineError when an adapter's files changed since their digest: a training may still write them."""
    try:
        same = files_digest(adapter.folder / ADAPTER_CONFIG, adapter.weights) == adapter.sha256
    except OSError:
        same = False
    if not same:
        raise EngineError(
            f"adapter '{adapter.name}': its files changed while being loaded; wait until its training is done"
        )


def refuse_other_base(adapter: AdapterFiles, source: Source) -> Note | None:
    """Return a note when the adapter names another base than the folder to load, or None.

    Raises EngineError when it names another base and names can be compared: the hub's, or the embedded one's. The name
    of a folder proves nothing: another folder that exists is refused when its model has another shape or plainly other
    weights; a hub id against a folder, when the shape known of it differs. `attach` checks the shapes of the weights.
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
    expected = DEMO if source.is_demo else source.location if source.gguf is None else str(source.gguf)
    if plain_name(stated) == (DEMO if source.is_demo else plain_name(expected)):
        return None
    if not source.is_demo and stated != DEMO and Path(source.location).is_dir():
        values = {"name": adapter.name, "stated": stated, "base": source.display_name}
        return Note("adapter_of_other_base", values)
    raise EngineError(
        f"adapter '{adapter.name}': it was trained on {stated!r}, and the base here is {expected!r}; "
        "choose its own base, or, if they are the same, correct base_model_name_or_path in "
        f"{adapter.folder / ADAPTER_CONFIG}"
    )


def read_bin(name: str, file: Path, *, device: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a `torch.save` file by name; EngineError for any other content, of which no code runs."""
    import warnings
    from pickle import UnpicklingError

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of files that it then refuses
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
            f"adapter '{spec.name}': no such folder: {spec.source}; {GIVE} (one of the hub is downloaded first: "
            "hf download ID --local-dir DIR)"
        )
    return folder


_CHANGING_INITS: Final = ("pissa", "olora", "corda", "lora_ga")
"""Initialisations that change the base's weights first, so that what is saved does not fit the base as loaded."""
_UNQUANTIZED_ONLY: Final = ("use_qalora", "use_bdlora", "velora_config")
"""Variants that peft computes right on weights in 16 or 32 bits only."""


def refuse_variants(name: str, config: Mapping[str, Any]) -> None:
    """Raise EngineError for a configuration that does more than add a product to weights of the base."""
    fault = unsupported_variant(config)
    if fault is None:
        return
    if fault.key != "init_lora_weights":
        raise EngineError(
            f"adapter '{name}': {fault.key} in its configuration does more than add a product to the base's weights, "
            "so base and adapter cannot be compared on the same weights; train a plain LoRA, or use another adapter"
        )
    init = str(config[fault.key])
    if init.lower().startswith(_CHANGING_INITS):
        reason = (
            "which changes the base's weights first, so it does not fit the base as it is; save it with "
            "save_pretrained(..., path_initial_model_for_weight_conversion=...), which makes a plain LoRA of it"
        )
    elif init.lower() == "loftq":
        reason = (
            "which replaces the base's weights, so it does not fit the base as it is; use the base that LoftQ made, "
            "with init_lora_weights true"
        )
    else:
        reason = f"which is not known to leave the base as it is; known: true, false, {', '.join(PLAIN_INITS)}"
    raise EngineError(f"adapter '{name}': it was trained with init_lora_weights {init!r}, {reason}")


def refuse_variants_in_4_bits(name: str, config: Mapping[str, Any]) -> None:
    """Raise EngineError for a variant that works on an unquantised base only."""
    for key in _UNQUANTIZED_ONLY:
        if asks_for(config, key):
            raise EngineError(
                f"adapter '{name}': {key} in its configuration works on an unquantised base only; "
                "set quantization to 'none', or use another adapter"
            )
