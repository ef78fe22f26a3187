"""Attach adapters to the base: none is merged, changes the base's weights, or changes another arm."""

from __future__ import annotations

import copy
import functools
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.lora.arms import peft_name, restore_arm_names, restore_layers, use_row_slices
from pytest_jarvis.engines.transformers.lora.files import AdapterFiles, read_bin, refuse_variants_in_4_bits
from pytest_jarvis.engines.transformers.nf4.compute import find_packed_experts, substitute_placeholders
from pytest_jarvis.types import EngineError, Note

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from peft.tuners.lora.layer import ParamWrapper as _PeftLayer
    from transformers import PreTrainedConfig, PreTrainedModel
else:
    _PeftLayer = object


_ATTACH_ERRORS: Final = (
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    re.error,
)
"""Exceptions of peft and torch for files that do not fit."""
_SIZES: Final = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[([\d, ]*)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[([\d, ]*)\]\)"
)
_LONGEST: Final = 300
OnAttached = Callable[["PeftModel", AdapterFiles], None]


def attach(model: PreTrainedModel, adapters: list[AdapterFiles], on_attached: OnAttached | None = None) -> PeftModel:
    """Return `model` with every adapter attached by name, frozen, in evaluation mode; none is merged.

    `on_attached` is called with each adapter before the next is attached. Raises EngineError when an adapter's file
    does not match its configuration or the shapes of this base, or when attaching changes a weight of the base.
    """
    from bitsandbytes.nn import Linear4bit

    checksums = WeightChecksums(model)
    peft_model: PeftModel | None = None
    for adapter in adapters:
        if any(isinstance(module, Linear4bit) for module in model.modules()):
            refuse_variants_in_4_bits(adapter.name, adapter.config)
        peft_model = _attach_one(model, peft_model, adapter)
        changed = checksums.find_change()
        if changed is not None:
            own = restore_arm_names(changed)
            what = "the base itself" if own == changed else "another adapter"
            raise EngineError(
                f"adapter '{adapter.name}': attaching it changed {what} ({own.removeprefix('base_model.model.')}), so "
                "the arms could not be compared on the same base; save it as a plain LoRA, or use another adapter"
            )
        if adapter is not adapters[-1]:
            checksums = WeightChecksums(peft_model)
        use_row_slices(peft_model)
        if on_attached is not None:
            on_attached(peft_model, adapter)
    if peft_model is None:
        raise ValueError("attach needs at least one adapter")
    return peft_model


def rehearse(config: PreTrainedConfig, adapters: list[AdapterFiles]) -> None:
    """Attach the adapters to a model without weights, if it can be built, and refuse wrong ones in seconds."""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights():
        try:
            model = AutoModelForCausalLM.from_config(copy.deepcopy(config))
        except Exception:  # noqa: BLE001  # whatever a model's own code raises
            return
        if adapters:
            attach(model, adapters)


def _attach_one(model: PreTrainedModel, peft_model: PeftModel | None, adapter: AdapterFiles) -> PeftModel:
    from peft import LoraConfig, PeftModelForCausalLM
    from peft.tuners.lora.layer import ParamWrapper

    name = peft_name(adapter.name)
    try:
        with warnings.catch_warnings(), substitute_placeholders(model):
            # peft warns of conversions and tied weights; keys and logits are checked below and in `proof`.
            warnings.simplefilter("ignore")
            config = LoraConfig.from_pretrained(str(adapter.folder))
            config.inference_mode = True
            # An initialisation may rewrite the base; every weight comes from the file, or is refused as missing.
            config.init_lora_weights = False
            # All arms share the base's biases: different ones in the file are refused.
            config.bias = "none"
            if peft_model is None:
                peft_model = PeftModelForCausalLM(model, config, adapter_name=name)
            else:
                restore_layers(peft_model)
                # To add to its wrappers, peft finds them by their class's name.
                _replace_class(peft_model, _wrapper_class(), ParamWrapper)
                with _hide_target_parameters(peft_model):
                    peft_model.add_adapter(name, config)
                _refuse_other_parameters(peft_model, adapter)
            _refuse_replaced_in_4_bits(peft_model, adapter)
            _refuse_base_weights(peft_model, adapter)
            # safetensors cannot read to the meta device.
            device = "cpu" if model.device.type == "meta" else str(model.device)
            outcome = peft_model.load_adapter(str(adapter.folder), name, torch_device=device)
    except _ATTACH_ERRORS as error:
        raise EngineError(_explain(adapter, error, model)) from error
    # peft lists a key as missing when it contains the adapter's name anywhere: `lora_A.other` for an adapter `a`.
    own = re.compile(rf"\.{re.escape(name)}(\.|$)")
    missing = [key for key in outcome.missing_keys if own.search(key)]
    _refuse_keys(adapter, missing=[own.sub(r"\1", key) for key in missing], unexpected=list(outcome.unexpected_keys))
    _replace_class(peft_model, ParamWrapper, _wrapper_class())
    _cast_expert_matrices(peft_model, name)
    peft_model.eval()
    peft_model.requires_grad_(requires_grad=False)
    return peft_model


def _replace_class(model: PeftModel, kind: type[Any], other: type[Any]) -> None:
    for module in model.modules():
        if type(module) is kind:
            module.__class__ = other


def _cast_expert_matrices(model: PeftModel, name: str) -> None:
    """Cast an adapter's matrices for experts once; peft would at every step, from twice the memory."""
    from peft.tuners.lora.layer import ParamWrapper

    for module in model.modules():
        if isinstance(module, ParamWrapper) and module.num_experts > 1 and name in module.lora_A:
            for matrix in (module.lora_A[name], module.lora_B[name]):
                matrix.to(module.get_param().dtype)


@contextmanager
def _hide_target_parameters(model: PeftModel) -> Iterator[None]:
    """Hide attached adapters' target parameters, whose lists peft compares as texts, from another one."""
    configs: list[Any] = list(model.peft_config.values())
    hidden = [config.target_parameters for config in configs]
    try:
        for config in configs:
            config.target_parameters = None
        yield
    finally:
        for config, parameters in zip(configs, hidden, strict=True):
            config.target_parameters = parameters


def _refuse_other_parameters(model: PeftModel, adapter: AdapterFiles) -> None:
    """Raise EngineError when two adapters are on different parameters, which peft wraps one by one, of a module."""
    from peft.tuners.lora.layer import ParamWrapper

    for name, module in model.named_modules():
        if not isinstance(module, ParamWrapper) or name.endswith(".base_layer"):
            continue
        wrappers = [module]
        while isinstance(wrappers[-1].base_layer, ParamWrapper):
            wrappers.append(wrappers[-1].base_layer)
        for own in {own for wrapper in wrappers for own in wrapper.lora_A}:
            parameters = sorted(wrapper.parameter_name for wrapper in wrappers if own in wrapper.lora_A)
            if len(parameters) < len(wrappers):
                every = sorted(wrapper.parameter_name for wrapper in wrappers)
                raise EngineError(
                    f"adapter '{adapter.name}': it cannot share a base with the adapters named before it: of the "
                    f"parameters {', '.join(every)} of {name.removeprefix('base_model.model.')}, adapter "
                    f"'{restore_arm_names(own)}' is on {', '.join(parameters)} only; compare them in runs of their own "
                    "(--jarvis-reuse keeps the base's responses)"
                )


def unknown_keys(adapter: AdapterFiles) -> Note | None:
    """Return a note of the keys of a configuration that this peft ignores, or None."""
    from dataclasses import fields

    from peft import LoraConfig

    known = {field.name for field in fields(LoraConfig)}
    unknown = sorted(key for key, value in adapter.config.items() if value and key not in known)
    if not unknown:
        return None
    return Note("adapter_keys_unknown", {"name": adapter.name, "keys": ", ".join(unknown)})


def _refuse_replaced_in_4_bits(peft_model: PeftModel, adapter: AdapterFiles) -> None:
    """Raise EngineError when an adapter replaces linear layers that this base holds in 4 bits."""
    from bitsandbytes.nn import Linear4bit
    from peft.utils import ModulesToSaveWrapper

    for path, module in peft_model.named_modules():
        if not isinstance(module, ModulesToSaveWrapper) or peft_name(adapter.name) not in module.modules_to_save:
            continue
        if any(isinstance(part, Linear4bit) for part in module.modules_to_save.modules()):
            raise EngineError(
                f"adapter '{adapter.name}': it replaces whole layers (modules_to_save) that this base holds in 4 bits: "
                f"{path.removeprefix('base_model.model.')}; set quantization to 'none'"
            )


def _refuse_base_weights(peft_model: PeftModel, adapter: AdapterFiles) -> None:
    """Raise EngineError for other weights of the base in an adapter's file: peft would give them to all arms."""
    import torch

    found = list(_read_base_tensors(adapter, _replaced_keys(peft_model, peft_name(adapter.name))))
    held: dict[str, torch.Tensor] = peft_model.state_dict() if found else {}
    others: list[str] = []
    for key, tensor in found:
        weight = held.get(key)
        if weight is None:
            continue  # refused by `_refuse_keys`
        if weight.shape != tensor.shape:
            raise EngineError(_describe_size(adapter, key, tuple(tensor.shape), tuple(weight.shape), peft_model))
        if not weight.is_meta and not torch.equal(tensor.to(device=weight.device, dtype=weight.dtype), weight):
            others.append(key)
    if not others:
        return
    shown = _join_first([key.removeprefix("base_model.model.") for key in others])
    cure = "save it with save_embedding_layers=False, or train these as modules_to_save"
    if adapter.config.get("bias", "none") != "none":
        cure = f"its bias is {adapter.config['bias']!r}, train it with bias 'none'"
    raise EngineError(
        f"adapter '{adapter.name}': its file also holds weights of the base itself that differ from this base's "
        f"({shown}), and the base would run with them; {cure}"
    )


def _replaced_keys(peft_model: PeftModel, name: str) -> set[str]:
    """Return the keys of an adapter's file for modules that it replaces, or whose tokens it trains."""
    from peft.utils import AuxiliaryTrainingWrapper

    return {
        f"{path}.{key}"
        for path, module in peft_model.named_modules()
        if isinstance(module, AuxiliaryTrainingWrapper)
        for key in module.adapter_state_dict_load_map(name)
    }


def _read_base_tensors(adapter: AdapterFiles, saved_whole: set[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the key and tensor of each weight of the base in an adapter's file."""

    def is_other(key: str) -> bool:
        return key not in saved_whole and not any(part.startswith("lora_") for part in key.split("."))

    if adapter.weights.suffix == ".bin":
        tensors = read_bin(adapter.name, adapter.weights, device="cpu")
        yield from ((key, tensor) for key, tensor in tensors.items() if is_other(key))
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter.weights, framework="pt") as file:
            yield from [(key, file.get_tensor(key)) for key in file.keys() if is_other(key)]  # noqa: SIM118  # no dict
    except SafetensorError as error:
        raise EngineError(
            f"adapter '{adapter.name}': {adapter.weights} is damaged: copy it again from its source"
        ) from error


class FourBitParameters(_PeftLayer):  # type: ignore[misc]  # peft's is untyped
    """Mixin of peft's wrapper of an adapted parameter, which makes it right for a parameter in 4 bits too.

    peft 0.21 registers its product behind the dequantisation for a forward pass. Of two parameters of a module it reads
    the second before its product is registered, and afterwards it looks for the products under another class's name and
    leaves them all on. Here the dequantisation itself adds the product. May be deleted once
    `test_logits_are_those_of_weights_merged_by_hand[fused experts-nf4]` passes without it.
    """

    def _dequantizer(self) -> Any:
        entries = getattr(self.get_base_layer(), "parametrizations", {})
        return entries[self.parameter_name][0] if self.parameter_name in entries else None

    def get_param(self) -> Any:
        """Return the parameter; for one in 4 bits a blank of its shape, which is all that peft uses."""
        reading = self._dequantizer()
        return super().get_param() if reading is None else reading.blank()

    @contextmanager
    def _activate_lora(self, active_adapters: list[str]) -> Iterator[None]:
        reading = self._dequantizer()
        if reading is None:
            with super()._activate_lora(active_adapters):
                yield
            return
        reading.stays_packed = False
        reading.products = tuple(self.get_delta_factors(name) for name in active_adapters if name in self.lora_A)
        try:
            yield
        finally:
            reading.products = ()


@functools.cache
def _wrapper_class() -> type[Any]:
    from peft.tuners.lora.layer import ParamWrapper

    return type("FourBitParamWrapper", (FourBitParameters, ParamWrapper), {})


def _refuse_keys(adapter: AdapterFiles, *, missing: list[str], unexpected: list[str]) -> None:
    """Raise EngineError for weights that the file or the model lacks."""
    for found, what in ((missing, "its file lacks"), (unexpected, "the model has no place for")):
        if found:
            raise EngineError(
                f"adapter '{adapter.name}': {what} {len(found)} of its weights: {_join_first(found)}; its "
                "adapter_config.json and its file are from different trainings, or it is for another base: save it "
                "again with peft's save_pretrained"
            )


def _join_first(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(sorted(keys)[:3]) + more


def _explain(adapter: AdapterFiles, error: BaseException, model: PreTrainedModel) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, KeyError):
        key = restore_arm_names(str(error.args[0])) if error.args else "unnamed"
        return f"adapter '{adapter.name}': its file lacks a weight that its configuration names: {key}"
    sizes = _SIZES.search(message)
    if sizes is not None:
        theirs, ours = (tuple(int(one) for one in found.split(",") if one.strip()) for found in sizes.groups()[1:])
        return _describe_size(adapter, sizes[1].replace(f".{peft_name(adapter.name)}", ""), theirs, ours, model)
    message = restore_arm_names(message)
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST].rpartition(' ')[0]}…"
    return f"adapter '{adapter.name}': it cannot be attached to this base: {message or type(error).__name__}"


def _describe_size(
    adapter: AdapterFiles, key: str, theirs: tuple[int, ...], ours: tuple[int, ...], model: PreTrainedModel | PeftModel
) -> str:
    """Return the sentence for a weight of another size than this base's, or for another vocabulary."""
    embeddings: Any = model.get_input_embeddings()
    vocabulary = embeddings.weight.shape[0]
    differing = [sizes for sizes in zip(theirs, ours, strict=False) if sizes[0] != sizes[1]]
    if len(theirs) == len(ours) and len(differing) == 1 and differing[0][1] == vocabulary:
        return (
            f"adapter '{adapter.name}': it was trained with a vocabulary of {differing[0][0]} tokens, and this base "
            f"has {vocabulary}; use the base it was trained on, with its tokenizer"
        )
    return (
        f"adapter '{adapter.name}': it cannot be attached to this base: size mismatch, {key} is of "
        f"shape {theirs} in its file and {ours} here; use the base it was trained on, or correct the ranks in its "
        "configuration"
    )


class WeightChecksums:
    """Checksums of a model's weights by module: cached copies on a CPU hide a change from logits, not from sums."""

    def __init__(self, model: PreTrainedModel | PeftModel) -> None:
        self._model = model
        packed = {id(entry.original) for _, _, entry in find_packed_experts(model)}
        self._places: list[tuple[str, Any, str]] = [
            (f"{path}.{name}".lstrip("."), module, name)
            for path, module in model.named_modules()
            for name, weight in module.named_parameters(recurse=False)
            if id(weight) not in packed
        ]
        self._before = list(self._sums())

    def find_change(self) -> str | None:
        """Return the name of the first weight that changed, or None."""
        for before, now in zip(self._before, self._sums(), strict=True):
            if before != now:
                return before[0]
        return None

    def _sums(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for path, module, name in self._places:
            weight = getattr(module, name)
            yield path, _sums(weight.data, getattr(weight, "quant_state", None))
        for number, (_, name, entry) in enumerate(find_packed_experts(self._model)):
            yield f"{name} of mixture {number}", _sums(entry.original.data, entry[0].quant_state)


def _sum(tensor: torch.Tensor) -> int:
    """Return the sum of a tensor's bytes, eight at a time where possible; 0 for one without data."""
    import torch

    if tensor.device.type == "meta":
        return 0
    data = tensor.detach().contiguous().view(-1).view(torch.uint8)
    if data.numel() % 8 == 0 and data.storage_offset() % 8 == 0:
        data = data.view(torch.int64)
    return int(data.sum(dtype=torch.int64))


def _sums(data: torch.Tensor, state: Any) -> tuple[int, int]:
    return _sum(data), 0 if state is None else _sum(state.absmax)
