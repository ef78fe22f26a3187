"""Memory and devices: readings, the size of a batch that fits, the number of threads, and a probe of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.engines.footprint import (
    ACTIVATION_KEYS,
    BATCH_SHARE,
    WORKSPACE_COPIES,
    activations_of,
    row_bytes,
    token_bytes,
)
from pytest_jarvis.types import DeviceMemory

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


MOST_ROWS: Final = 256  # Rows of a batch that nothing else limits.
MOST_ROWS_CPU: Final = 128
"""The same on a CPU, where a step's time grows with its rows, and a batch runs until its longest response ends."""
_CACHE_BYTES_PER_S_CPU: Final = 1.2e9
"""Bytes per second at which a step on a CPU copies, expands and reads the keys and values of its rows. Measured on two
cores with prompts of 1,400 tokens; with short prompts it hardly matters."""


def device_name(model: Any) -> str:
    """Return the names of the devices that hold `model`, for a report."""
    import torch

    return " + ".join(torch.cuda.get_device_name(index) for index in _gpus_of(model)) or "CPU"


def device_memory(model: Any) -> tuple[DeviceMemory, ...]:
    """Return a reading of each GPU that holds a part of `model`, or of this process when none does."""
    import torch

    readings = tuple(
        DeviceMemory(
            device=f"GPU {index}",
            allocated_bytes=torch.cuda.memory_allocated(index),
            peak_bytes=torch.cuda.max_memory_allocated(index),
            reserved_bytes=torch.cuda.memory_reserved(index),
            total_bytes=torch.cuda.mem_get_info(index)[1],
        )
        for index in _gpus_of(model)
    )
    return readings or (_process_memory(),)


def reset_peak_memory(model: Any) -> None:
    """Reset the peak of each GPU that holds a part of `model`; the peak of a process cannot be reset."""
    import torch

    for gpu in _gpus_of(model):
        torch.cuda.reset_peak_memory_stats(gpu)


def _gpus_of(model: Any) -> list[int]:
    return sorted({parameter.device.index for parameter in model.parameters() if parameter.device.type == "cuda"})


def _process_memory() -> DeviceMemory:
    import psutil

    now = psutil.Process().memory_info()
    return DeviceMemory(
        device="CPU",
        allocated_bytes=now.rss,
        peak_bytes=max(now.rss, _peak_resident()),
        reserved_bytes=None,
        total_bytes=psutil.virtual_memory().total,
    )


def _peak_resident() -> int:
    """Return the peak resident size of this process in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def rows_that_fit(model: PreTrainedModel, *, prompt_tokens: int, new_tokens: int, dtype: torch.dtype) -> int:
    """Return how many rows of so many tokens fit in the memory that is free now."""
    config = model.config.get_text_config(decoder=True)
    row = row_bytes(
        _token_bytes(model, dtype),
        layers=config.num_hidden_layers,
        vocabulary=config.vocab_size,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        element=dtype.itemsize,
        # By attribute: a family may map another name to a key.
        activations=activations_of({key: getattr(config, key, None) for key in ACTIVATION_KEYS}),
    )
    fitting: int = int(max(0, _free_bytes(model) - _workspace_bytes(model)) * BATCH_SHARE) // row
    return max(1, min(MOST_ROWS, fitting))


def row_cache_bytes(model: PreTrainedModel, *, tokens: int, dtype: torch.dtype) -> int:
    """Return the bytes of the keys and values of one row of `tokens` tokens."""
    return tokens * _token_bytes(model, dtype)


def _token_bytes(model: PreTrainedModel, dtype: torch.dtype) -> int:
    config = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    return token_bytes(
        layers=config.num_hidden_layers,
        key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        element=dtype.itemsize,
    )


def _workspace_bytes(model: PreTrainedModel) -> int:
    """Return the bytes a step needs whatever its rows: a layer's dequantised experts, `WORKSPACE_COPIES` times."""
    from pytest_jarvis.engines.transformers.nf4.compute import find_packed_experts

    sizes: dict[int, int] = {}
    for owner, _, entry in find_packed_experts(model):
        if entry[0].stays_packed:
            continue
        state = entry[0].quant_state
        sizes[id(owner)] = sizes.get(id(owner), 0) + state.shape.numel() * state.dtype.itemsize
    return WORKSPACE_COPIES * max(sizes.values(), default=0)


def rows_in_time(*, timeout_s: float | None, new_tokens: int, row_token_s: float, cache_bytes: int) -> int:
    """Return how many rows can generate `new_tokens` tokens in half of `timeout_s`, on a CPU.

    A step takes `row_token_s` seconds for each row and the time to read the row's keys and values, `cache_bytes`: a
    batch as large as memory allows would miss a timeout that small batches keep.
    """
    if timeout_s is None:
        return MOST_ROWS_CPU
    step_s = row_token_s + cache_bytes / _CACHE_BYTES_PER_S_CPU
    return max(1, min(MOST_ROWS_CPU, int(timeout_s / 2 / (new_tokens * step_s))))


def _free_bytes(model: PreTrainedModel) -> int:
    """Return the free bytes of the fullest device that holds a part of the model."""
    import torch

    gpus = _gpus_of(model)
    if not gpus:
        import psutil

        return int(psutil.virtual_memory().available)
    free: int = min(
        torch.cuda.mem_get_info(gpu)[0] + torch.cuda.memory_reserved(gpu) - torch.cuda.memory_allocated(gpu)
        for gpu in gpus
    )
    return free


_MODERATE: Final = 4
_WORTH: Final = 0.7  # More threads must take at most this share of the time of fewer.


def fastest_threads(run: Callable[[], object]) -> int:
    """Return the fewest threads that more do not clearly beat: one, a moderate number, or torch's own number.

    Threads that wait for a core take it from the one they wait for: a little faster on an idle machine is ten times
    slower on a busy one. The number changes no result: each thread has its own rows or columns.
    """
    import torch

    most = torch.get_num_threads()
    chosen, least = 1, float("inf")
    for count in sorted({1, min(_MODERATE, most), most}):
        with threads(count):
            started = time.perf_counter()
            run()
            seconds = time.perf_counter() - started
        if seconds < least * _WORTH:
            chosen, least = count, seconds
    return chosen


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads inside the context; None changes nothing."""
    import torch

    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def probe() -> tuple[bool, tuple[str, ...], str | None]:
    """Return whether CUDA works, the devices' names, and why a product in 4 bits failed on one of them, or None."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001  # a broken installation raises whatever it likes
        return False, (), f"import torch: {type(error).__name__}: {_brief(error)}"
    cuda = torch.cuda.is_available()
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if cuda else ["cpu"]
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if cuda else ["CPU"]
    try:
        import bitsandbytes.functional as bnb

        for device in devices:
            weights = torch.eye(64, dtype=torch.float32, device=device)
            packed, state = bnb.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
            product = weights @ bnb.dequantize_4bit(packed, state)
            if not torch.allclose(product, weights):
                return cuda, tuple(names), f"{device}: NF4 does not give back what it was given"
    except Exception as error:  # noqa: BLE001  # as above: a driver, a kernel or a library that does not fit
        return cuda, tuple(names), f"{type(error).__name__}: {_brief(error)}"
    return cuda, tuple(names), None


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
