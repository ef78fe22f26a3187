"""The devices of a report are those that hold the model, not those of the machine."""

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_jarvis.engines.transformers.generation.memory import (
    MOST_ROWS_CPU,
    device_memory,
    device_name,
    reset_peak_memory,
    rows_in_time,
)
from pytest_jarvis.engines.transformers.loading.base import refuse_device
from pytest_jarvis.types import EngineError

torch = pytest.importorskip("torch")


def model_on(*devices: str) -> Any:
    """Return what has a parameter on each of `devices`."""
    parameters = [SimpleNamespace(device=torch.device(device)) for device in devices]
    return SimpleNamespace(parameters=lambda: iter(parameters))


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    for reading in ("memory_allocated", "max_memory_allocated", "memory_reserved"):
        monkeypatch.setattr(torch.cuda, reading, lambda index: index)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (0, index))


def test_only_the_gpus_that_hold_the_model_are_read() -> None:
    model = model_on("cuda:3", "cuda:1", "cuda:3")
    assert ["GPU 1", "GPU 3"] == [reading.device for reading in device_memory(model)]
    assert device_name(model) == "card 1 + card 3"


def test_a_model_on_the_cpu_of_a_machine_with_gpus_is_on_the_cpu() -> None:
    assert ["CPU"] == [reading.device for reading in device_memory(model_on("cpu"))]
    assert device_name(model_on("cpu")) == "CPU"


def test_the_peak_starts_again_on_the_gpus_that_hold_the_model(monkeypatch) -> None:
    reset: list[int] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    reset_peak_memory(model_on("cuda:3", "cuda:1", "cpu"))
    assert reset == [1, 3]


def test_rows_with_long_prompts_are_fewer_for_the_same_time() -> None:
    def rows(cache_bytes: int) -> int:
        return rows_in_time(timeout_s=30, new_tokens=100, row_token_s=0.001, cache_bytes=cache_bytes)

    assert (MOST_ROWS_CPU, 30) == (rows(0), rows(4_800_000))
    assert 1 == rows(10**12)
    assert MOST_ROWS_CPU == rows_in_time(timeout_s=None, new_tokens=100, row_token_s=1.0, cache_bytes=10**12)


@pytest.mark.parametrize("device_map", ["auto", "cpu", "balanced", "cuda", "cuda:0", "cuda:3"])
def test_a_gpu_that_is_there_may_be_asked_for(device_map: str) -> None:
    refuse_device("the model", device_map)


@pytest.mark.parametrize(
    ("count", "device_map", "found"),
    [(4, "cuda:4", "cuda:0 to cuda:3"), (1, "cuda:9", "cuda:0 alone"), (0, "cuda:0", "no GPU"), (0, "cuda", "no GPU")],
)
def test_a_gpu_that_is_not_there_is_refused_and_never_replaced_by_the_cpu(
    count: int, device_map: str, found: str, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    with pytest.raises(EngineError, match=rf"the model: device_map asks for '{device_map}', .* has {found}"):
        refuse_device("the model", device_map)
