"""From what the user named to a loaded base model and its tokenizer; whatever cannot be used is one sentence."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.loading.errors import (
    explained,
    named,
    refuse_config,
    refuse_device,
    refuse_files,
    refuse_incomplete,
)
from pytest_jarvis.engines.transformers.loading.sources import Source, commit_of
from pytest_jarvis.types import EngineError, ModelSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


_PACKAGES: Final = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "tokenizers")
_NO_METHOD: Final = "unknown"
_HEAVIEST: Final = "transformers.modeling_utils"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A loaded base model, in evaluation mode, with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    """Where its inputs go."""
    compute_dtype: torch.dtype
    prequantized: str | None
    """How the checkpoint itself was quantised (`bitsandbytes`, `gptq`, ...), None when it was not."""
    stops: tuple[int, ...]
    """The tokens that end an answer."""
    commit: str | None
    """The commit of the hub that was loaded; None for a folder, or where it is not known."""


def package_versions() -> dict[str, str]:
    """Return the versions of what computes, by package; a package that is not installed is left out."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def quiet_libraries(level: str = "error") -> Iterator[None]:
    """Keep what the libraries say below a level off the terminal while something loads; put their settings back after.

    Their progress bars are shown from `info` on.
    """
    least = getattr(logging, level.upper())
    # bitsandbytes warns as it is imported, so its logger must be quiet before transformers brings it in.
    loggers = [logging.getLogger(name) for name in ("bitsandbytes", "bitsandbytes.backends.cpu.ops", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(least)
    with _collector_at_rest():
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


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Import without the cyclic garbage collector, and keep what was imported out of its later rounds.

    The libraries make some 600,000 objects that live as long as the process. Looking through them again and again
    takes a quarter of their import, and as much again in every full round: when the engine closes, twice when pytest
    ends, and when the interpreter exits. Done once in a process, before any weights are there to be kept with them.
    """
    if _HEAVIEST in sys.modules:
        yield
        return
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _import_libraries() -> None:
    """Import what loading, attaching and generating need."""
    _import_bitsandbytes()
    import peft  # noqa: F401
    import transformers.generation
    import transformers.modeling_utils
    import transformers.quantizers.auto  # noqa: F401


def _import_bitsandbytes() -> None:
    """Import bitsandbytes without torch's compiler, whose own import takes longer than all the rest of it (3 s).

    It compiles four fallbacks, for devices that have no kernels of their own, as it is imported; they work uncompiled.
    """
    import torch

    def leave_plain(function: Any = None, **_: Any) -> Any:
        return function or (lambda decorated: decorated)

    compiler, torch.compile = torch.compile, leave_plain
    try:
        import bitsandbytes  # noqa: F401
    finally:
        torch.compile = compiler


def load_base(spec: ModelSpec, source: Source, check: Callable[[PreTrainedConfig], None] | None = None) -> Base:
    """Return the base model that `spec` asks for, on the GPUs when there are any, else on the CPU.

    On the CPU everything is computed in 32 bits: near-ties between tokens are then decided the same way on any machine,
    and products of 16 rows and more give the same bits whatever the batch. On a GPU, in bfloat16.
    `check` sees the configuration before any weight is read, unless the checkpoint replaces layers by packed ones.
    Raises EngineError with one sentence for whatever transformers cannot load.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from pytest_jarvis.engines.transformers.nf4.quantize import ExpertQuantizer, nf4_config, read_by

    refuse_device(source.display_name, spec.device_map)
    common: dict[str, Any] = {
        "revision": spec.revision,
        "trust_remote_code": spec.trust_remote_code,
        "local_files_only": source.cached_only,
    }
    try:
        config = AutoConfig.from_pretrained(source.location, **common)
    except Exception as error:  # see `explained`
        raise explained(error, source) from error
    commit = commit_of(source, spec.revision, getattr(config, "auto_map", None))
    refuse_files(source)
    refuse_config(source.display_name, config)
    # From here on exactly this commit: a branch may move between the loading of one file and the next.
    common["revision"] = commit or spec.revision
    on_gpu = torch.cuda.is_available() and spec.device_map != "cpu"
    compute_dtype = torch.bfloat16 if on_gpu else torch.float32
    prequantized = _prequantized(config)
    if spec.quantization == "nf4":
        _refuse_unknown_method(source.display_name, prequantized)
    kwargs: dict[str, Any] = dict(common, config=config, dtype=compute_dtype)
    if on_gpu:
        # Without a GPU a device map would only add a hook to every module.
        kwargs.update(device_map=spec.device_map, max_memory=_max_memory(spec))
    if spec.quantization == "nf4" and prequantized is None:
        kwargs["quantization_config"] = nf4_config(compute_dtype)
    if check is not None and prequantized is None:
        check(config)
    tokenizer = _load_tokenizer(source, common)
    try:
        with read_by(ExpertQuantizer, config, compute_dtype=compute_dtype):
            model, report = AutoModelForCausalLM.from_pretrained(source.location, output_loading_info=True, **kwargs)
    except Exception as error:  # see `explained`
        raise explained(error, source, nf4=spec.quantization == "nf4") from error
    refuse_incomplete(source.display_name, report)
    if not on_gpu and hasattr(model, "hf_device_map"):
        # peft would take it for an offloaded model and put its hooks on every module.
        del model.hf_device_map
    if not on_gpu:
        _to_32_bits(model)
    model.eval()
    model.requires_grad_(requires_grad=False)
    _prepare_tokenizer(tokenizer, source.display_name, vocabulary=vocabulary_of(model))
    stops = _stop_tokens(model.generation_config, model.config, tokenizer)
    # `generate` fills what it is not told from here: a repetition penalty or a top-k would come in by this way.
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
    """Return the tokens that end an answer: those of the model's generation settings, its config and its tokenizer."""
    found: list[int] = []
    for holder in holders:
        value = getattr(holder, "eos_token_id", None)
        found.extend(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return tuple(dict.fromkeys(found))


def vocabulary_of(model: PreTrainedModel) -> int:
    """Return how many tokens a model knows."""
    return len(model.get_input_embeddings().weight)


def _load_tokenizer(source: Source, common: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """Return the tokenizer; EngineError for one that cannot be loaded, or makes nothing of a text."""
    from transformers import AutoTokenizer

    name = source.display_name
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source.location, **common)
        tokens = tokenizer.encode("Bonjour", add_special_tokens=False)
    except Exception as error:
        raise EngineError(
            f"{name}: its tokenizer cannot be loaded ({named(error)}); copy tokenizer.json and tokenizer_config.json "
            "anew from where the model comes from"
        ) from error
    if not tokens:
        raise EngineError(
            f"{name}: its tokenizer is missing or empty: it makes no token of a text; copy tokenizer.json and "
            "tokenizer_config.json from where the model comes from"
        )
    return tokenizer


def _prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str, *, vocabulary: int) -> None:
    """Have the tokenizer pad on the left, with a token that the model knows: some were given one that it does not."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= vocabulary:
        if tokenizer.eos_token_id is None or tokenizer.eos_token_id >= vocabulary:
            raise EngineError(
                f"{name}: its tokenizer has neither a padding token nor an end token among the {vocabulary} tokens of "
                "the model"
            )
        tokenizer.pad_token = tokenizer.eos_token


def _prequantized(config: PreTrainedConfig) -> str | None:
    """Return the method a checkpoint is already quantised with, or None."""
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
    """Raise EngineError for a method of quantisation that transformers would pass over."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    known = {known.removesuffix("_4bit").removesuffix("_8bit") for known in AUTO_QUANTIZATION_CONFIG_MAPPING}
    if method is not None and method != _NO_METHOD and method not in known:
        raise EngineError(
            f"{name}: its config.json says that it is quantised with '{method}', which transformers does not know; "
            "take quantization_config out of config.json where the weights are plain, or use another checkpoint"
        )


def _to_32_bits(model: PreTrainedModel) -> None:
    """Turn the 16-bit weights that an already quantised checkpoint keeps, norms and embeddings, to 32 bits."""
    import torch

    for parameter in model.parameters():
        if parameter.dtype in {torch.bfloat16, torch.float16}:
            parameter.data = parameter.data.float()


def _max_memory(spec: ModelSpec) -> dict[int | str, str] | None:
    """Return the memory caps with GPU numbers as integers, as accelerate wants them."""
    if spec.max_memory is None:
        return None
    return {int(device) if device.isdigit() else device: cap for device, cap in spec.max_memory.items()}
