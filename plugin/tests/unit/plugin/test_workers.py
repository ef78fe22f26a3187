"""The processes of pytest-xdist, and the device of each."""

import os
from types import SimpleNamespace

import pytest

from pytest_jarvis.plugin.workers import (
    DEVICE_KEY,
    free_device,
    pin_device,
    refuse_more_workers_than_devices,
    visible_devices,
    worker_count,
)


@pytest.mark.parametrize(
    ("count", "devices", "said"),
    [(2, 0, "no GPU is visible; run without -n"), (4, 2, "2 GPUs are visible; run with -n 2, without -n")],
)
def test_more_workers_than_devices_are_told_what_to_do(count: int, devices: int, said: str) -> None:
    with pytest.raises(pytest.UsageError, match=said):
        refuse_more_workers_than_devices(count, devices)


def test_as_many_workers_as_devices_are_let_through() -> None:
    refuse_more_workers_than_devices(2, 2)


def test_a_worker_sees_only_the_device_it_was_given(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    pin_device(SimpleNamespace(workerinput={DEVICE_KEY: "1"}))  # type: ignore[arg-type]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_process_that_was_given_none_sees_what_it_saw(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    pin_device(SimpleNamespace())  # type: ignore[arg-type]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SimpleNamespace(option=SimpleNamespace()), 1),
        (SimpleNamespace(option=SimpleNamespace(dist="no", tx=[])), 1),
        (SimpleNamespace(option=SimpleNamespace(dist="load", tx=["popen", "popen"])), 2),
        (SimpleNamespace(option=SimpleNamespace(dist="load", tx=["3*popen", "ssh=a*b"])), 4),
        (SimpleNamespace(workerinput={"workercount": 5}), 5),
    ],
)
def test_processes_are_counted(config: SimpleNamespace, expected: int) -> None:
    assert expected == worker_count(config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "variable", "expected"),
    [(0, None, []), (2, None, ["0", "1"]), (2, "3, 5", ["3", "5"]), (1, "GPU-a", ["GPU-a"]), (0, "", [])],
)
def test_devices_are_named_as_the_environment_names_them(count: int, variable: str | None, expected: list[str]) -> None:
    assert expected == visible_devices(count, variable)


@pytest.mark.parametrize(
    ("taken", "expected"), [({}, "3"), ({"gw0": "3"}, "5"), ({"gw1": "5"}, "3"), ({"gw0": "3", "gw2": "5"}, None)]
)
def test_a_worker_gets_a_device_that_no_living_one_has(taken: dict[str, str], expected: str | None) -> None:
    assert expected == free_device(["3", "5"], taken)
