"""Load the base model and its tokenizer, or raise EngineError with one sentence that says why it cannot be loaded."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.checkpoint import (
    format_shape,
    refuse_damaged,
    refuse_unequal_experts,
    refuse_wrong_experts,
)
from pytest_jarvis.engines.transformers.loading.sources import Source, find_commit
from pytest_jarvis.engines.transformers.nf4.coverage import expert_counts
from pytest_jarvis.types import EngineError, ModelSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


_PACKAGES: Final = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "tokenizers")
_NO_METHOD: Final = "unknown"
_REPORTING: Final = frozenset({"_finalize_model_loading", "log_state_dict_report"})
"""Functions of transformers whose frames hold the weights that did not fit."""
_HEAVIEST: Final = "transformers.modeling_utils"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A loaded base model, in evaluation mode, with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    """The device of its inputs."""
    compute_dtype: torch.dtype
    prequantized: str | None
    """The method that quantised the checkpoint itself (`bitsandbytes`, `gptq`, ...), or None."""
    stops: tuple[int, ...]
    """The tokens that end a response."""
    commit: str | None
    """The hub's commit that was loaded; None for a folder, or when unknown."""


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that compute, by name."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def quiet_libraries(level: str = "error") -> Iterator[None]:
    """Silence the libraries' messages below a level inside the context, and progress bars above `info`."""
    least = getattr(logging, level.upper())
    # bitsandbytes warns as it is imported, so its logger must be quiet before transformers brings it in.
    loggers = [logging.getLogger(name) for name in ("bitsandbytes", "bitsandbytes.backends.cpu.ops", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(least)
    _import_libraries()
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(least)
    if least > logging.INFO:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


def _import_libraries() -> None:
    """Import the libraries without the cyclic garbage collector, and without torch's compiler.

    They make some 600,000 objects that live as long as the process: scanning them takes a quarter of their import, and
    as much in every full collection. They are frozen once per process, before there are weights. On import bitsandbytes
    compiles four fallbacks, which work uncompiled; to import the compiler takes longer than all the rest (3 s).
    """
    first, enabled = _HEAVIEST not in sys.modules, gc.isenabled()
    if first:
        gc.disable()
    try:
        import torch

        def leave_plain(function: Any = None, **_: Any) -> Any:
            return function or (lambda decorated: decorated)

        compiler, torch.compile = torch.compile, leave_plain
        try:
            import bitsandbytes  # noqa: F401
        finally:
            torch.compile = compiler
        import peft  # noqa: F401
        import transformers.generation
        import transformers.modeling_utils
        import transformers.quantizers.auto  # noqa: F401
    finally:
        if first:
            gc.freeze()
        if first and enabled:
            gc.enable()


def load_base(
    spec: ModelSpec, source: Source, check: Callable[[PreTrainedConfig, PreTrainedTokenizerBase], None] | None = None
) -> Base:
    """Return the base model of `spec`, on the GPUs if there are any, else on the CPU.

    On the CPU in 32 bits: near-ties between tokens are then decided the same way on any machine, and products of 16
    rows and more are batch-invariant. On a GPU in bfloat16. `check` gets configuration and tokenizer before any weight
    is read. Raises EngineError for whatever transformers cannot load.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from pytest_jarvis.engines.transformers.nf4.quantize import ExpertQuantizer, nf4_config, use_expert_quantizer

    refuse_device(source.display_name, spec.device_map)
    common: dict[str, Any] = {
        "revision": spec.revision,
        "trust_remote_code": spec.trust_remote_code,
        "local_files_only": source.cached_only,
    }
    try:
        config = AutoConfig.from_pretrained(source.location, **common)
    except Exception as error:  # see `explain_load_error`
        raise explain_load_error(error, source) from error
    commit = find_commit(source, spec.revision, getattr(config, "auto_map", None))
    refuse_files(source)
    refuse_config(source.display_name, config)
    # From here on this very commit: a branch may move between two files.
    common["revision"] = commit or spec.revision
    on_gpu = torch.cuda.is_available() and spec.device_map != "cpu"
    compute_dtype: torch.dtype = getattr(torch, spec.compute_dtype or ("bfloat16" if on_gpu else "float32"))
    prequantized = quantization_of(config)
    if spec.quantization != "none":
        _refuse_unknown_method(source.display_name, prequantized)
    kwargs: dict[str, Any] = dict(common, config=config, dtype=compute_dtype)
    if on_gpu:
        # Without a GPU a device map would only add a hook to every module.
        kwargs.update(device_map=spec.device_map, max_memory=_max_memory(spec))
    if spec.quantization != "none" and prequantized is None:
        kwargs["quantization_config"] = nf4_config(compute_dtype, spec.quantization, double=spec.double_quant)
    tokenizer = _load_tokenizer(source, common)
    if check is not None:
        check(config, tokenizer)
    try:
        with use_expert_quantizer(ExpertQuantizer, config, compute_dtype=compute_dtype):
            model, report = AutoModelForCausalLM.from_pretrained(source.location, output_loading_info=True, **kwargs)
    except Exception as error:  # see `explain_load_error`
        raise explain_load_error(error, source, nf4=spec.quantization != "none") from error
    refuse_incomplete(source.display_name, report)
    if not on_gpu and hasattr(model, "hf_device_map"):
        # peft would take it for an offloaded model and put its hooks on every module.
        del model.hf_device_map
    if compute_dtype == torch.float32:
        _to_32_bits(model)
    model.eval()
    model.requires_grad_(requires_grad=False)
    _prepare_tokenizer(tokenizer, source.display_name, vocabulary=vocabulary_size(model))
    stops = _stop_tokens(model.generation_config, model.config, tokenizer)
    # `generate` takes unset values from here: a repetition penalty or a top-k would come in this way.
    model.generation_config = GenerationConfig()
    return Base(
        model=model,
        tokenizer=tokenizer,
        device=model.device,
        compute_dtype=compute_dtype,
        prequantized=prequantized,
        stops=stops,
        commit=commit,
    )


def _stop_tokens(*holders: Any) -> tuple[int, ...]:
    """Return the end tokens of `holders`: generation settings, config and tokenizer."""
    found: list[int] = []
    for holder in holders:
        value = getattr(holder, "eos_token_id", None)
        found.extend(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return tuple(dict.fromkeys(found))


def vocabulary_size(model: PreTrainedModel) -> int:
    """Return the number of tokens in a model's embeddings."""
    return len(model.get_input_embeddings().weight)


def _load_tokenizer(source: Source, common: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """Return the tokenizer; raise EngineError when it cannot be loaded, or gives no token for a text."""
    from transformers import AutoTokenizer

    name = source.display_name
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source.location, **common)
        tokens = tokenizer.encode("Bonjour", add_special_tokens=False)
    except Exception as error:
        raise EngineError(
            f"{name}: its tokenizer cannot be loaded ({describe_error(error)}); copy tokenizer.json and "
            "tokenizer_config.json again from the model's source"
        ) from error
    if not tokens:
        raise EngineError(
            f"{name}: its tokenizer is missing or empty: it gives no token for a text; copy tokenizer.json and "
            "tokenizer_config.json from the model's source"
        )
    return tokenizer


def _prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str, *, vocabulary: int) -> None:
    """Make the tokenizer pad on the left, with a token of the model's vocabulary, which some lack."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= vocabulary:
        if tokenizer.eos_token_id is None or tokenizer.eos_token_id >= vocabulary:
            raise EngineError(
                f"{name}: its tokenizer has neither a padding token nor an end token among the {vocabulary} tokens of "
                "the model"
            )
        tokenizer.pad_token = tokenizer.eos_token


def quantization_of(config: PreTrainedConfig) -> str | None:
    """Return the method that quantised a checkpoint, or None."""
    stated = getattr(config, "quantization_config", None)
    if stated is None:
        stated = getattr(config.get_text_config(decoder=True), "quantization_config", None)
    if stated is None:
        return None
    method = stated.get("quant_method") if isinstance(stated, dict) else stated.quant_method
    if isinstance(stated, dict) and method is None and (stated.get("load_in_4bit") or stated.get("load_in_8bit")):
        return "bitsandbytes"
    return str(getattr(method, "value", method) or _NO_METHOD)


def _refuse_unknown_method(name: str, method: str | None) -> None:
    """Raise EngineError for a quantisation method that transformers would ignore."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    known = {known.removesuffix("_4bit").removesuffix("_8bit") for known in AUTO_QUANTIZATION_CONFIG_MAPPING}
    if method is not None and method != _NO_METHOD and method not in known:
        raise EngineError(
            f"{name}: its config.json says that it is quantised with '{method}', which transformers does not know; "
            "remove quantization_config from config.json if the weights are plain, or use another checkpoint"
        )


def _to_32_bits(model: PreTrainedModel) -> None:
    """Convert the 16-bit weights of a prequantised checkpoint, norms and embeddings, to 32 bits."""
    import torch

    for parameter in model.parameters():
        if parameter.dtype in {torch.bfloat16, torch.float16}:
            parameter.data = parameter.data.float()


def _max_memory(spec: ModelSpec) -> dict[int | str, str] | None:
    """Return the memory limits with GPU numbers as integers, as accelerate expects."""
    if spec.max_memory is None:
        return None
    return {int(device) if device.isdigit() else device: cap for device, cap in spec.max_memory.items()}


def explain_load_error(error: Exception, source: Source, *, nf4: bool = False) -> EngineError:
    """Return the error of a load as an EngineError of one sentence, with what to do where that is known.

    For any type: transformers, tokenizers, a model's own code and file readers raise their own, and bare `Exception`.
    """
    name = source.display_name
    try:
        if isinstance(error, EngineError):
            raise error
        reason = _no_memory(error, source.location, nf4=nf4)
        if reason is None:
            refuse_files(source, alike=True)
            refuse_incomplete(name, _loading_info(error))
            reason = first_line(error)
    except EngineError as known:
        reason = str(known)
    return EngineError(reason if reason.startswith(f"{name}: ") else f"{name}: the model cannot be loaded: {reason}")


def refuse_files(source: Source, *, alike: bool = False) -> None:
    """Raise EngineError for a folder's files that are damaged or lack experts; `alike`: for unequal experts too."""
    folder = Path(source.location)
    if not folder.is_dir():
        return
    try:
        shapes = refuse_damaged(folder)
        refuse_wrong_experts(shapes)
        if alike:
            refuse_unequal_experts(shapes)
    except EngineError as error:
        raise EngineError(f"{source.display_name}: the model cannot be loaded: {error}") from error


def refuse_incomplete(name: str, report: Mapping[str, Any]) -> None:
    """Raise EngineError when the checkpoint lacks weights, which would be random, or has some the model does not.

    `report` is transformers' loading info.
    """
    missing = sorted(report.get("missing_keys") or ())
    mismatched = sorted(report.get("mismatched_keys") or (), key=lambda entry: str(entry[0]))
    unexpected = sorted(report.get("unexpected_keys") or ())
    errors = report.get("conversion_errors") or {}
    if mismatched:
        key, found, expected = mismatched[0]
        raise EngineError(
            f"{name}: {len(mismatched)} weights have another shape than config.json says, the first is {key}: "
            f"{format_shape(found)} in the checkpoint, {format_shape(expected)} in the model; correct config.json, or "
            "download the checkpoint again"
        )
    if errors:
        raise EngineError(
            f"{name}: {len(errors)} weights cannot be converted, the first is {next(iter(errors))}; "
            "config.json is not of this checkpoint, or the checkpoint is damaged"
        )
    if missing:
        raise EngineError(
            f"{name}: the checkpoint lacks {len(missing)} weights of the model, the first is {missing[0]}; "
            "config.json is not of this checkpoint, or a file of it is missing"
        )
    if unexpected:
        more = f" and {len(unexpected) - 3} more" if len(unexpected) > 3 else ""
        raise EngineError(
            f"{name}: the checkpoint holds {len(unexpected)} weights that the model has no place for: "
            f"{', '.join(unexpected[:3])}{more}; config.json is not of this checkpoint (number of layers, of experts?)"
        )


def refuse_device(name: str, device_map: str) -> None:
    """Raise EngineError when `device_map` names a GPU that does not exist."""
    import torch

    if not device_map.startswith("cuda"):
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device_map.partition(":")[2] or 0) < count:
        return
    found = f"has cuda:0 to cuda:{count - 1}" if count > 1 else "has cuda:0 alone" if count else "has no GPU to use"
    raise EngineError(
        f"{name}: device_map asks for '{device_map}', and this machine {found}; use 'auto', which takes the CPU where "
        "there is no GPU, or 'cpu'"
    )


_MOST_LAYERS: Final = 1000


def refuse_config(name: str, config: PreTrainedConfig) -> None:
    """Raise EngineError for a model without attention, of too many layers, or of fewer experts than a token chooses."""
    text = config.get_text_config(decoder=True)
    if (getattr(text, "num_hidden_layers", None) or 0) > _MOST_LAYERS:
        # Building them, even without weights, would take hours and all memory.
        raise EngineError(
            f"{name}: its config.json has {text.num_hidden_layers} layers (num_hidden_layers), at most {_MOST_LAYERS} "
            "are built; correct it"
        )
    if not getattr(text, "num_attention_heads", None):
        raise EngineError(
            f"{name}: models without attention ({config.model_type}) are not supported, as they keep no keys and "
            "values; use a model with attention layers"
        )
    chosen, counts = getattr(text, "num_experts_per_tok", None), expert_counts(config)
    if type(chosen) is int and counts and chosen > max(counts):
        raise EngineError(
            f"{name}: its config.json has each token choose {chosen} experts (num_experts_per_tok) of {max(counts)}; "
            "correct it"
        )


@contextmanager
def explain_trial_errors(name: str) -> Iterator[None]:
    """Raise EngineError of one sentence for any exception in a trial of a loaded model."""
    try:
        yield
    except EngineError:
        raise
    except torch_memory_errors() as error:
        raise EngineError(f"{name}: it fits in memory, but no prompt fits beside it: free some memory") from error
    except Exception as error:
        raise EngineError(
            f"{name}: it is loaded, and fails at the first prompt with {describe_error(error)}; its config.json is not "
            "of this checkpoint, or this kind of model is not supported"
        ) from error


def describe_error(error: BaseException) -> str:
    """Return an exception's type and first line."""
    line = first_line(error)
    kind = type(error).__name__
    return kind if line == kind else f"{kind}: {line}"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type when it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _loading_info(error: BaseException) -> Mapping[str, Any]:
    """Return transformers' loading info from the frames of a failed load: its exception only points to a log."""
    traceback, found = error.__traceback__, None
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name in _REPORTING:
            found = frame.f_locals.get("loading_info") or found
        traceback = traceback.tb_next
    kinds = ("missing_keys", "mismatched_keys", "conversion_errors")
    return {kind: getattr(found, kind, ()) for kind in kinds} if found is not None else {}


def _no_memory(error: BaseException, location: str, *, nf4: bool) -> str | None:
    """Return the memory that a failed load needs and what to do, or None for any other error."""
    import torch

    if isinstance(error, MemoryError):
        return "it does not fit the free memory; free some, or take a smaller model"
    if not isinstance(error, torch.OutOfMemoryError) and "dispatched on the CPU or the disk" not in str(error):
        return None
    free = sum(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))
    files = sum(file.stat().st_size for file in Path(location).glob("*.safetensors"))
    # 4 bits and a scale of 8 bits for 64 weights, of files that hold 16 bits a weight.
    needed = f"needs about {files * (4.13 / 16 if nf4 else 1) / 1e9:.1f}GB and " if files else ""
    return (
        f"it {needed}does not fit the free GPU memory ({free / 1e9:.1f}GB); free some, add a GPU, "
        "or hide the GPUs (CUDA_VISIBLE_DEVICES='') to run on the CPU"
    )


def torch_memory_errors() -> tuple[type[BaseException], ...]:
    """Return the exceptions for memory that ran out."""
    import torch

    return (MemoryError, torch.OutOfMemoryError)
