"""Quantisation coverage: how each weight of a loaded model is stored, counted on the model itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.types import EngineError, KindCoverage, ModelSpec, QuantizationCoverage, Storage, StorageFormat

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


LEAST_SHARE: Final = 0.95  # Share of the expert and linear weights that must be in 4 bits in a 4-bit model.
_KINDS: Final = ("experts", "attention", "linear", "router", "embeddings", "head", "norms", "other")
_SHOULD_BE_4BIT: Final = frozenset({"experts", "attention", "linear"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weight:
    """One stored tensor: the weights it holds, and its bytes with its scales."""

    name: str
    kind: str
    storage: str
    weights: int
    bytes: int


def measure_coverage(model: PreTrainedModel, *, requested: bool, prequantized: str | None) -> QuantizationCoverage:
    """Return the weights of `model` per kind and storage; the share in 4 bits is None unless `requested`."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    due = held = 0
    not_4bit = []
    for weight in _stored_weights(model):
        counts[weight.kind][weight.storage] += weight.weights
        sizes[weight.kind][weight.storage] += weight.bytes
        if weight.kind in _SHOULD_BE_4BIT:
            due += weight.weights
            if weight.storage.startswith(("nf4", "fp4")):
                held += weight.weights
            else:
                not_4bit.append(weight.name)
    kinds = tuple(
        KindCoverage(kind=kind, weights=dict(counts[kind]), bytes=dict(sizes[kind]))
        for kind in _KINDS
        if kind in counts
    )
    storages = {storage for kind in _SHOULD_BE_4BIT for storage in counts.get(kind, ())}
    foreign = prequantized is not None and not held and _is_packed(model)
    share = held / due if requested and due and not foreign else None
    return QuantizationCoverage(
        storage=_storage(share, storages, prequantized=prequantized if foreign else None),
        share_4bit=share,
        kinds=kinds,
        not_4bit=tuple(not_4bit) if share is not None else (),
    )


def refuse_storage(name: str, coverage: QuantizationCoverage, spec: ModelSpec, *, prequantized: str | None) -> None:
    """Raise EngineError for a model that is not stored as `spec` asks, or as its config.json says."""
    if spec.quantization != "none":
        refuse_unpacked(name, coverage, prequantized=prequantized)
    if not spec.allow_partial_4bit:
        refuse_partial(name, coverage)


def refuse_unpacked(name: str, coverage: QuantizationCoverage, *, prequantized: str | None) -> None:
    """Raise EngineError for a checkpoint that claims to be quantised and whose weights all have 16 bits or more."""
    if prequantized is None or coverage.share_4bit or coverage.storage.format == "checkpoint":
        return
    raise EngineError(
        f"{name}: its config.json says that it is quantised ({prequantized}), but once loaded none of its expert and "
        "linear weights is stored in less than 16 bits: its weights are plain, or are unpacked on this machine; "
        "remove quantization_config from config.json if the weights are plain, or run it as it is with the "
        "quantization 'none'"
    )


def refuse_partial(name: str, coverage: QuantizationCoverage) -> None:
    """Raise EngineError when less than `LEAST_SHARE` of the expert and linear weights is in 4 bits."""
    share = coverage.share_4bit
    if share is None or share >= LEAST_SHARE:
        return
    shown = ", ".join(coverage.not_4bit[:3])
    more = f" and {len(coverage.not_4bit) - 3} more" if len(coverage.not_4bit) > 3 else ""
    raise EngineError(
        f"{name}: only {share:.1%} of the expert and linear weights are in 4 bits, {LEAST_SHARE:.0%} should be; "
        f"not in 4 bits: {shown}{more} (--jarvis-allow-partial-4bit lets it run, with the label in every output)"
    )


_FORMATS: Final[tuple[StorageFormat, ...]] = ("nf4", "nf4_single", "fp4", "fp4_single")


def _storage(share: float | None, storages: set[str], *, prequantized: str | None) -> Storage:
    if prequantized is not None:
        return Storage(format="checkpoint", method=prequantized)
    if share is None:
        return Storage(format="32bit" if storages == {"float32"} else "16bit")
    return Storage(
        format=next((kind for kind in _FORMATS if kind in storages), "4bit"),
        share=None if share >= LEAST_SHARE else round(share, 3),
    )


def _is_packed(model: PreTrainedModel) -> bool:
    """Return whether a layer keeps codes: integers below 64 bits, 8-bit floats, or tensors of another class."""
    import torch

    for module in model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if type(tensor.data) is not torch.Tensor:
                return True
            small = tensor.element_size() == 1 if tensor.is_floating_point() else tensor.element_size() < 8
            if tensor.ndim > 1 and small and tensor.dtype != torch.bool:
                return True
    return False


def _stored_weights(model: PreTrainedModel) -> Iterator[_Weight]:
    """Yield every weight of the model, tied tensors once."""
    seen: set[int] = set()
    experts = expert_counts(model.config)
    # The embeddings last, so that a tied pair counts as embeddings.
    ends = {id(model.get_output_embeddings()): "head", id(model.get_input_embeddings()): "embeddings"}
    for path, module in model.named_modules():
        # torch keeps a parametrized tensor, such as experts in 4 bits, as `OWNER.parametrizations.NAME.original`.
        owner_path, parametrized, attribute = path.partition(".parametrizations.")
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            state = getattr(parameter, "quant_state", None)
            if parametrized:
                state = next((child.quant_state for child in module.children() if hasattr(child, "quant_state")), None)
            full = f"{owner_path}.{attribute}" if parametrized else f"{path}.{name}" if path else name
            shape = parameter.shape if state is None else state.shape
            kind = ends.get(id(module)) or _classify(model.get_submodule(owner_path), full, shape, experts)
            yield _Weight(
                name=full,
                kind=kind,
                storage=str(parameter.dtype).removeprefix("torch.") if state is None else _format_of(state),
                weights=shape.numel(),
                bytes=parameter.numel() * parameter.element_size() + _scale_bytes(state),
            )


def _format_of(state: Any) -> str:
    return str(state.quant_type) if state.nested else f"{state.quant_type}_single"


def _scale_bytes(state: object) -> int:
    import torch

    total = 0
    for holder in (state, getattr(state, "state2", None)):
        for value in vars(holder).values() if holder is not None else ():
            if isinstance(value, torch.Tensor):
                total += value.numel() * value.element_size()
    return total


def _classify(owner: torch.nn.Module, name: str, shape: torch.Size, experts: frozenset[int]) -> str:
    """Return the kind of a tensor by its owner, name and shape; `experts` holds the model's numbers of experts."""
    import torch

    lowered, holder = name.lower(), type(owner).__name__.lower()
    dimensions = len(shape)
    rules = (
        ("embeddings", isinstance(owner, torch.nn.Embedding)),
        ("norms", dimensions < 2 and ("norm" in lowered or "norm" in holder)),
        ("other", dimensions < 2 or lowered.endswith("bias")),
        ("router", dimensions == 2 and is_router(name.rpartition(".")[0], holder, shape[0], experts)),
        ("experts", "experts" in lowered or "expert" in holder),
        ("attention", "attn" in lowered or "attention" in lowered),
        ("linear", isinstance(owner, torch.nn.Linear) or dimensions == 2),
    )
    return next((kind for kind, matches in rules if matches), "other")


def expert_counts(config: Any) -> frozenset[int]:
    """Return the numbers of experts in a model's configuration, including its text part."""
    found: set[int] = set()
    for part in (config, config.get_text_config(decoder=True)):
        for key, value in vars(part).items():
            counts = key.endswith("experts") and not any(word in key for word in ("shared", "top"))
            if counts and type(value) is int and value > 1:
                found.add(value)
    return frozenset(found)


def is_router(path: str, holder: str, outputs: int | None, counts: frozenset[int]) -> bool:
    """Return whether a module routes: by its path or class, or as a gate with one output per expert."""
    parts = path.lower().split(".")
    if "router" in holder.lower() or any("router" in part for part in parts):
        return True
    return "gate" in parts and outputs in counts


def router_linears(model: PreTrainedModel) -> Iterator[str]:
    """Yield the full names of the linear layers of `model` that route to experts."""
    import torch

    counts = expert_counts(model.config)
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and is_router(path, type(module).__name__, module.out_features, counts):
            yield path
