"""GPUs that are host memory, for a whole process: `python -m pytest -p simulated_gpus`, before anything imports torch.

`gpus.cpp` runs what is asked of a "cuda" tensor on the CPU and forbids what a GPU forbids; here `torch.cuda` is made to
know of it. For a torch built without CUDA. `JARVIS_SIMULATED_GPUS` names the compiled library, see `build`.
"""

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

LIBRARY = "JARVIS_SIMULATED_GPUS"
NAME = "Simulated GPU"
TOTAL_BYTES = 24_000_000_000


def build(folder: Path, compiler: str) -> Path:
    """Compile the library into `folder` and return it. Raises subprocess.CalledProcessError when that fails."""
    torch_folder = _torch_folder()
    library = folder / "simulated_gpus.so"
    includes = [torch_folder / "include", torch_folder / "include" / "torch" / "csrc" / "api" / "include"]
    command = [
        compiler,
        *("-std=c++20", "-O1", "-shared", "-fPIC"),
        *(word for include in includes for word in ("-isystem", str(include))),
        str(Path(__file__).with_name("gpus.cpp")),
        *("-o", str(library)),
        *(f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"),
    ]
    subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return library


def _torch_folder() -> Path:
    """Where torch is installed, without importing it."""
    spec = find_spec("torch")
    assert spec is not None, "torch is not installed"
    return Path(str(spec.origin)).parent


def _load(library: str) -> Any:
    """Load torch's own library, then ours, then torch: as it is imported, it asks once who speaks for CUDA."""
    assert "torch" not in sys.modules, "torch is imported already: name this plugin with -p"
    for name in (str(_torch_folder() / "lib" / "libtorch_cpu.so"), library):
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    import torch

    return torch.ops.jarvis_simulated_gpus


class Gpus:
    """The simulated GPUs of this process."""

    def __init__(self, operations: Any) -> None:
        self._operations = operations
        self.replays = 0
        """Graphs replayed since the last `set`."""
        self.set()

    def set(self, count: int = 1, total_bytes: int = TOTAL_BYTES) -> None:
        """Have `count` GPUs with so much memory each; nothing may lie on them."""
        self._operations.set_devices(count, total_bytes)
        self.count, self.total_bytes, self.replays = count, total_bytes, 0
        self.waits()
        self.refusals()

    def limit(self, total_bytes: int) -> None:
        """Have so much memory each from now on, with what lies there."""
        self._operations.set_devices(self.count, total_bytes)
        self.total_bytes = total_bytes

    def allocated_bytes(self, gpu: int = 0) -> int:
        return int(self._operations.memory(gpu, 0))

    def peak_bytes(self, gpu: int = 0) -> int:
        """The most that was taken since `forget_peak`."""
        return int(self._operations.memory(gpu, 1))

    def forget_peak(self) -> None:
        for gpu in range(self.count):
            self._operations.forget_peak(gpu)

    def refusals(self) -> int:
        """How often memory ran out since it was asked last."""
        return int(self._operations.take_refusals())

    def waits(self) -> dict[str, int]:
        """What the processor waited for since it was asked last: operation -> times."""
        return {name: int(times) for times, _, name in (one.partition(" ") for one in self._operations.take_waits())}


def _take_over(operations: Any, gpus: Gpus) -> None:  # noqa: C901  # a table of one-liners
    """Make `torch.cuda` know the simulated GPUs, once the libraries that look for real ones are imported."""
    import bitsandbytes  # noqa: F401  # looks for its own CUDA library where there is a GPU
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    def index(device: Any = None) -> int:
        if device is None or isinstance(device, int):
            return operations.get_device() if device is None or device < 0 else device
        found = torch.device(device).index
        return operations.get_device() if found is None else found

    @contextmanager
    def on(device: Any) -> Iterator[None]:
        before = operations.get_device()
        operations.set_device(index(device))
        try:
            yield
        finally:
            operations.set_device(before)

    class Stream:
        def __init__(self, device: Any = None, **_: Any) -> None:
            self.device = device

    class CUDAGraph:
        number: int | None = None

        def replay(self) -> None:
            gpus.replays += 1
            operations.replay(self.number)

        def __del__(self) -> None:
            if self.number is not None:
                operations.forget(self.number)

    @contextmanager
    def graph(cuda_graph: CUDAGraph, **_: Any) -> Iterator[None]:
        operations.begin_capture()
        try:
            yield
        finally:
            cuda_graph.number = operations.end_capture()

    streams = [Stream()]
    known: dict[str, Callable[..., Any] | type[Any]] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: gpus.count,
        "current_device": operations.get_device,
        "set_device": lambda device: operations.set_device(index(device)),
        "get_device_name": lambda _device=None: NAME,
        "get_device_capability": lambda _device=None: (9, 0),
        "get_device_properties": lambda _device=None: SimpleNamespace(
            name=NAME, total_memory=gpus.total_bytes, major=9, minor=0, multi_processor_count=132
        ),
        "is_bf16_supported": lambda *_: True,
        "memory_allocated": lambda device=None: gpus.allocated_bytes(index(device)),
        "memory_reserved": lambda device=None: gpus.allocated_bytes(index(device)),
        "max_memory_allocated": lambda device=None: gpus.peak_bytes(index(device)),
        "max_memory_reserved": lambda device=None: gpus.peak_bytes(index(device)),
        "mem_get_info": lambda device=None: (gpus.total_bytes - gpus.allocated_bytes(index(device)), gpus.total_bytes),
        "reset_peak_memory_stats": lambda device=None: operations.forget_peak(index(device)),
        "empty_cache": lambda: None,
        "synchronize": lambda _device=None: None,
        "device": on,
        "device_of": lambda tensor: on(tensor.device if tensor.is_cuda else None),
        "Stream": Stream,
        "current_stream": lambda _device=None: streams[0],
        "set_stream": lambda stream: streams.__setitem__(0, stream),
        "CUDAGraph": CUDAGraph,
        "graph": graph,
    }
    for name, what in known.items():
        setattr(torch.cuda, name, what)

    plain_clone = torch.UntypedStorage.clone

    def clone(storage: Any) -> Any:
        """torch makes an empty storage itself here, which it cannot on a device that it was not built for."""
        if storage.device.type != "cuda":
            return plain_clone(storage)
        whole = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, 0, (storage.nbytes(),))
        return whole.clone().untyped_storage()

    torch.UntypedStorage.clone = clone  # type: ignore[method-assign]


GPUS: Gpus | None = None
if LIBRARY in os.environ:
    _operations = _load(os.environ[LIBRARY])
    GPUS = Gpus(_operations)
    _take_over(_operations, GPUS)


@pytest.fixture
def gpus() -> Iterator[Gpus]:
    """The simulated GPUs, empty: one of 24 GB until a test sets others."""
    assert GPUS is not None, f"{LIBRARY} names no library: run test_engine_on_gpus.py"
    gc.collect()
    GPUS.set()
    GPUS.forget_peak()
    yield GPUS
    GPUS.set()
