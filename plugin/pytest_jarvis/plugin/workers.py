"""The processes of pytest-xdist: who is a worker, how many there are, and the device of each."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import pytest

DEVICE_KEY: Final = "jarvis_device"
"""In a worker's input: the device that the controller gives it."""
REFUSED_KEY: Final = "jarvis_refused"
"""In a worker's output: the sentence that says why the session cannot be."""
NOTES_KEY: Final = "jarvis"
"""In a worker's output: its `WorkerNotes`, as builtins."""
DEVICE_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
"""What torch reads before it looks for devices."""
_COUNT_DEVICES: Final = "import torch; print(torch.cuda.device_count())"
_COUNT_TIMEOUT_S: Final = 120


def is_worker(config: pytest.Config) -> bool:
    """Tell whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def tell_controller(config: pytest.Config, key: str, value: object) -> None:
    """Put a value of builtins into a worker's output; in another process, do nothing."""
    if hasattr(config, "workeroutput"):
        config.workeroutput[key] = value


def worker_count(config: pytest.Config) -> int:
    """Return how many processes run the tests: 1 without pytest-xdist."""
    if hasattr(config, "workerinput"):
        return int(config.workerinput["workercount"])
    if getattr(config.option, "dist", "no") == "no":
        return 1
    counts = [str(spec).partition("*") for spec in config.option.tx]
    return sum(int(head) if star and head.isdigit() else 1 for head, star, _ in counts)


def pin_device(config: pytest.Config) -> None:
    """Leave a worker only the device that the controller gave it; call this before anything imports torch."""
    device = getattr(config, "workerinput", {}).get(DEVICE_KEY)
    if device is not None:
        os.environ[DEVICE_VARIABLE] = device


def count_devices() -> int:
    """Return how many devices torch sees, counted in another process, so that this one does not import torch."""
    try:
        done = subprocess.run(  # noqa: S603  # this Python and a constant
            [sys.executable, "-c", _COUNT_DEVICES],
            check=True,
            capture_output=True,
            encoding="utf-8",
            timeout=_COUNT_TIMEOUT_S,
        )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def visible_devices(count: int, variable: str | None) -> list[str]:
    """Return the names of `count` devices: those in `CUDA_VISIBLE_DEVICES`, else their numbers."""
    named = [name.strip() for name in (variable or "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def free_device(devices: Sequence[str], taken: Mapping[str, str]) -> str | None:
    """Return the first device that is not `taken` (worker -> device); None without one."""
    in_use = set(taken.values())
    return next((device for device in devices if device not in in_use), None)


def refuse(sentence: str) -> NoReturn:
    """Raise pytest.UsageError; what a sentence quotes of a file or a server controls no terminal."""
    from pytest_jarvis.render.french.formats import printable

    raise pytest.UsageError(printable(sentence))


def refuse_more_workers_than_devices(workers: int, devices: int) -> None:
    """Raise pytest.UsageError when there are more workers than devices."""
    if workers <= devices:
        return
    found = "no GPU is visible" if devices == 0 else f"{devices} GPU{'s are' if devices > 1 else ' is'} visible"
    fewer = f"with -n {devices}, " if devices > 1 else ""
    refuse(
        f"-n {workers}: each of {workers} workers would load the model, and {found}; run {fewer}without -n, or with "
        "-n 1: responses to all prompts are generated in the same batches anyway"
    )
