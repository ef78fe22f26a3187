"""Why a base model cannot be loaded, in one sentence: what, where, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.transformers.checkpoint import (
    refuse_damaged,
    refuse_unlike_experts,
    refuse_wrong_experts,
    shown,
)
from pytest_jarvis.engines.transformers.loading.sources import Source
from pytest_jarvis.engines.transformers.nf4.coverage import expert_counts
from pytest_jarvis.types import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


_REPORTING: Final = frozenset({"_finalize_model_loading", "log_state_dict_report"})
"""Functions of transformers that know which weights did not fit, once all of them were read."""


def explained(error: Exception, source: Source, *, nf4: bool = False) -> EngineError:
    """Return what stopped a load as one sentence, with what to do where that is known.

    Whatever it is: transformers, the tokenizers, a model's own code and the readers of files raise types of their own,
    the bare `Exception` among them.
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
    """Raise EngineError for files of a folder that are damaged, or hold other experts than those from 0 on.

    `alike`: also for experts of different shapes, which some models do have.
    """
    folder = Path(source.location)
    if not folder.is_dir():
        return
    try:
        shapes = refuse_damaged(folder)
        refuse_wrong_experts(shapes)
        if alike:
            refuse_unlike_experts(shapes)
    except EngineError as error:
        raise EngineError(f"{source.display_name}: the model cannot be loaded: {error}") from error


def refuse_incomplete(name: str, report: Mapping[str, Any]) -> None:
    """Raise EngineError when the checkpoint did not fill the model, where the rest would be random, or holds more.

    `report` is what transformers tells of a load: the weights it names as unexpected are those that the family does
    not declare to be of no use.
    """
    missing = sorted(report.get("missing_keys") or ())
    mismatched = sorted(report.get("mismatched_keys") or (), key=lambda entry: str(entry[0]))
    unexpected = sorted(report.get("unexpected_keys") or ())
    errors = report.get("conversion_errors") or {}
    if mismatched:
        key, found, expected = mismatched[0]
        raise EngineError(
            f"{name}: {len(mismatched)} weights have another shape than config.json says, the first is {key}: "
            f"{shown(found)} in the checkpoint, {shown(expected)} in the model; correct config.json, or download the "
            "checkpoint again"
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
    """Raise EngineError for a GPU that is asked for and is not there; which there are, is left to `auto`."""
    import torch

    if not device_map.startswith("cuda"):
        return
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(device_map.partition(":")[2] or 0)
    if number < there:
        return
    found = f"has cuda:0 to cuda:{there - 1}" if there > 1 else "has cuda:0 alone" if there else "has no GPU to use"
    raise EngineError(
        f"{name}: device_map asks for '{device_map}', and this machine {found}; use 'auto', which takes the CPU where "
        "there is no GPU, or 'cpu'"
    )


def refuse_config(name: str, config: PreTrainedConfig) -> None:
    """Raise EngineError for a model that is stated to be of a kind that cannot be run here."""
    text = config.get_text_config(decoder=True)
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
def trial(name: str) -> Iterator[None]:
    """Have whatever goes wrong in a trial of a loaded model end as one sentence."""
    try:
        yield
    except EngineError:
        raise
    except torch_memory_errors() as error:
        raise EngineError(f"{name}: it fits the memory, but no prompt does beside it: free some memory") from error
    except Exception as error:
        raise EngineError(
            f"{name}: it is loaded, and fails at the first prompt with {named(error)}; its config.json is not of this "
            "checkpoint, or this kind of model is not supported"
        ) from error


def named(error: BaseException) -> str:
    """Return an exception as a sentence has it: its type and its first line."""
    line = first_line(error)
    kind = type(error).__name__
    return kind if line == kind else f"{kind}: {line}"


def first_line(error: BaseException) -> str:
    """Return the first sentence of an exception's message, or its type when it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _loading_info(error: BaseException) -> Mapping[str, Any]:
    """Return what transformers knew of the weights when it gave up: it raises a pointer to a report it logs."""
    traceback, found = error.__traceback__, None
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name in _REPORTING:
            found = frame.f_locals.get("loading_info") or found
        traceback = traceback.tb_next
    kinds = ("missing_keys", "mismatched_keys", "conversion_errors")
    return {kind: getattr(found, kind, ()) for kind in kinds} if found is not None else {}


def _no_memory(error: BaseException, location: str, *, nf4: bool) -> str | None:
    """Return what a load that ran out of memory needs; None for any other error."""
    import torch

    if isinstance(error, MemoryError):
        return "it does not fit the free memory; free some, or take a smaller model"
    if not isinstance(error, torch.OutOfMemoryError) and "dispatched on the CPU or the disk" not in str(error):
        return None
    there = sum(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))
    files = sum(file.stat().st_size for file in Path(location).glob("*.safetensors"))
    # 4 bits and a scale of 8 bits for 64 weights, of files that hold 16 bits a weight.
    needed = f"needs about {files * (4.13 / 16 if nf4 else 1) / 1e9:.1f}GB and " if files else ""
    return (
        f"it {needed}does not fit the free GPU memory ({there / 1e9:.1f}GB); free some, add a GPU, "
        "or hide the GPUs (CUDA_VISIBLE_DEVICES='') to run on the CPU"
    )


def torch_memory_errors() -> tuple[type[BaseException], ...]:
    """Return the exceptions that say by their type that memory ran out."""
    import torch

    return (MemoryError, torch.OutOfMemoryError)
