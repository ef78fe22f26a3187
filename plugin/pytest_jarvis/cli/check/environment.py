"""Inspect this machine without importing torch: packages, the build of torch, GPUs, memory, disk."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path
from typing import Final

from pytest_jarvis.files import nearest_existing

DISTRIBUTION: Final = "pytest-jarvis"
_GPU_TIMEOUT_S: Final = 5
_GPU_FACTS: Final = "index,uuid,name,memory.total,memory.free,driver_version"
_MIB: Final = 1 << 20
_LEAST_DRIVER: Final[Mapping[int, int]] = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> oldest driver on Linux: https://docs.nvidia.com/deploy/cuda-compatibility/ (table 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One NVIDIA GPU, as its driver describes it."""

    index: int
    name: str
    total_bytes: int
    free_bytes: int
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A package that this project requires."""

    name: str
    asked: str
    """Version specifier, such as `>=2.9`."""
    extra: str | None
    """The extra that requires it; None for the core."""
    installed: str | None
    good: bool
    """Whether the installed version meets the specifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild:
    """The installed torch."""

    version: str
    cuda: str | None
    """Version of CUDA it was built with; None for a CPU build."""


def find_requirements(extra: str) -> list[Requirement]:
    """Return the requirements of the core and of `extra`; empty when the project itself is not installed."""
    from packaging.requirements import Requirement as Line

    found: list[Requirement] = []
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    for text in lines:
        line = Line(text)
        always = line.marker is None or line.marker.evaluate({"extra": ""})
        if line.name == DISTRIBUTION or not (always or (line.marker and line.marker.evaluate({"extra": extra}))):
            continue
        installed = installed_version(line.name)
        good = installed is not None and line.specifier.contains(installed, prereleases=True)
        specifier, brought_by = str(line.specifier), None if always else extra
        found.append(Requirement(name=line.name, asked=specifier, extra=brought_by, installed=installed, good=good))
    return found


def find_torch() -> TorchBuild | None:
    """Return the installed torch, or None. Its `version.py` is read, not run."""
    installed = installed_version("torch")
    if installed is None:
        return None
    try:
        text = Path(str(distribution("torch").locate_file("torch/version.py"))).read_text(encoding="utf-8")
    except OSError:
        text = ""
    said = re.search(r"^cuda(?:\s*:[^=\n]+)?\s*=\s*['\"](?P<cuda>[\d.]+)['\"]", text, re.MULTILINE)
    return TorchBuild(version=installed, cuda=said["cuda"] if said else None)


def find_gpus(visible: str | None) -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that `nvidia-smi` lists; `visible` is `CUDA_VISIBLE_DEVICES`. Empty without a driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments
            [command, f"--query-gpu={_GPU_FACTS}", "--format=csv,noheader,nounits"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GPU_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(read_gpus(done.stdout if done.returncode == 0 else "", visible))


def read_gpus(listing: str, visible: str | None) -> Iterator[Gpu]:
    """Yield the visible GPUs of an `nvidia-smi` listing, in its order; malformed lines are skipped."""
    wanted = None if visible is None else [name.strip() for name in visible.split(",")]
    for line in listing.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 6 or not all(fields[place].isdigit() for place in (0, 3, 4)):
            continue
        index, uuid, name, total, free, driver = fields
        if wanted is None or index in wanted or any(one and uuid.startswith(one) for one in wanted):
            yield Gpu(
                index=int(index), name=name, total_bytes=int(total) * _MIB, free_bytes=int(free) * _MIB, driver=driver
            )


def driver_too_old(build: TorchBuild, devices: Sequence[Gpu]) -> int | None:
    """Return the oldest driver that runs this build of torch, if that of the GPUs is older; else None."""
    major = int(build.cuda.partition(".")[0]) if build.cuda else 0
    least = _LEAST_DRIVER.get(major)
    drivers = [int(gpu.driver.partition(".")[0]) for gpu in devices if gpu.driver[:1].isdigit()]
    return least if least is not None and drivers and min(drivers) < least else None


def free_memory() -> int | None:
    """Return the available memory in bytes; None where the system does not tell."""
    try:
        import psutil
    except ImportError:
        pass
    else:
        return int(psutil.virtual_memory().available)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, macOS
        return None


def free_disk(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist."""
    return shutil.disk_usage(nearest_existing(folder)).free


def installed_version(name: str) -> str | None:
    """Return the installed version of a package; None without one."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
