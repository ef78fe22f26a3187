"""Whether this machine can run the configured benchmark: six steps of findings, without torch and without the hub."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pytest_jarvis.cli.check import environment
from pytest_jarvis.engines import EXTRAS, NEEDS
from pytest_jarvis.engines.footprint import STORED_BYTES, Need, Shapes, estimate, read_shapes, stored_bytes
from pytest_jarvis.files import InputError, nearest_existing
from pytest_jarvis.inputs.adapters import ADAPTER_CONFIG, AUTO, FoundAdapter, find_adapters, inspect_adapter
from pytest_jarvis.inputs.base_model import BaseFiles, find_base, fits_base, hub_cache
from pytest_jarvis.inputs.config import DEMO, Config, bytes_of
from pytest_jarvis.inputs.prompts import load_prompts
from pytest_jarvis.run.settings import (
    DEFAULT_ENGINE,
    SERVER,
    adapter_folders,
    override,
    read_configuration,
    resolve_adapters,
    resolve_prompts,
)
from pytest_jarvis.types import AdapterSpec

Status = Literal["ok", "warning", "error"]

LEAST_PYTHON: Final = (3, 11)
INSTALL: Final = 'pip install "pytest-jarvis[{extra}]"'
INSTALL_LOCAL: Final = INSTALL.format(extra="local")
INSTALL_CORE: Final = "pip install pytest-jarvis"
INSTALL_CUDA: Final = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
LIST_ADAPTERS: Final = "pytest-jarvis adapters"
SHOW_CONFIG: Final = "pytest-jarvis config show"
LEAST_ROWS: Final = 16
"""Rows of the smallest batch that is planned for: an arm's rows are filled up to as many."""
_PROMPT_TOKENS: Final = 128
"""Room for a prompt and its template, which only the model's tokenizer could count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the check."""

    step: int
    """From 1 to 6."""
    name: str
    """What was looked at, for a machine: `gpu.0`, `model.memory`."""
    status: Status
    values: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None
    """What mends it, to be typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What torch itself says, once imported."""

    cuda: bool
    devices: tuple[str, ...]
    problem: str | None
    """Why a computation failed; None when it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The configuration that is checked, or why it cannot be read."""

    option: argparse.Namespace
    root: Path
    conf: Config
    file: Path
    problem: str | None

    @property
    def engine(self) -> str:
        return self.option.jarvis_engine or DEFAULT_ENGINE

    @property
    def needs_torch(self) -> bool:
        return "torch" in NEEDS.get(self.engine, ())


def typed(word: str, *, windows: bool = os.name == "nt") -> str:
    """Return an argument as it is typed: in the quotes that the shell of this system knows, where it needs some."""
    return subprocess.list2cmdline([word]) if windows else shlex.quote(word)


def check_up(option: argparse.Namespace, root: Path, probe: Probe | None = None) -> list[Finding]:
    """Return the findings, by step; `root` is where the configuration, the prompts and the reports lie.

    Raises InputError for an option that cannot be, and a named configuration that is not there; what a configuration
    says wrong is a finding.
    """
    asked = _read(option, root)
    devices = environment.gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    build = environment.torch_build()
    usable = devices if build is not None and build.cuda else ()
    return [
        *_python(),
        *_torch(asked, build, devices, probe),
        *_packages(asked),
        *_folders(asked),
        *_adapters(asked),
        *_configuration(asked, usable),
    ]


def _read(option: argparse.Namespace, root: Path) -> _Asked:
    named = option.jarvis_config
    if named and not Path(named).is_file():
        raise InputError(f"--jarvis-config: {named}: no such file; name a configuration that is there")
    try:
        conf, file = read_configuration(named, root)
    except InputError as error:
        return _Asked(option=option, root=root, conf=Config(), file=root, problem=str(error))
    return _Asked(option=option, root=root, conf=override(conf, option), file=file, problem=None)


def _python() -> Iterator[Finding]:
    good = sys.version_info >= LEAST_PYTHON
    values = {"version": platform.python_version(), "least": ".".join(map(str, LEAST_PYTHON)), "path": sys.executable}
    yield Finding(step=1, name="python", status="ok" if good else "error", values=values)


def _torch(
    asked: _Asked, build: environment.TorchBuild | None, devices: tuple[environment.Gpu, ...], probe: Probe | None
) -> Iterator[Finding]:
    absent: Status = "error" if asked.needs_torch else "warning"
    if build is None:
        yield Finding(
            step=2, name="torch", status=absent, values={"version": None, "cuda": None}, command=INSTALL_LOCAL
        )
    else:
        yield Finding(step=2, name="torch", status="ok", values={"version": build.version, "cuda": build.cuda})
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") if not devices else None
    yield Finding(
        step=2, name="gpus", status="ok" if devices else "warning", values={"count": len(devices), "hidden": hidden}
    )
    for gpu in devices:
        values = {
            "index": gpu.index,
            "name": gpu.name,
            "total_bytes": gpu.total_bytes,
            "free_bytes": gpu.free_bytes,
            "driver": gpu.driver,
        }
        yield Finding(step=2, name=f"gpu.{gpu.index}", status="ok", values=values)
    if build is not None and devices and build.cuda is None:
        yield Finding(step=2, name="torch.cuda", status="error", values={"count": len(devices)}, command=INSTALL_CUDA)
    if build is not None and (least := environment.driver_too_old(build, devices)) is not None:
        values = {"least": least, "driver": devices[0].driver, "cuda": build.cuda}
        yield Finding(step=2, name="driver", status="error", values=values)
    if probe is not None:
        told = {"cuda": probe.cuda, "devices": list(probe.devices), "problem": probe.problem}
        yield Finding(step=2, name="torch.deep", status="error" if probe.problem else "ok", values=told)


def _packages(asked: _Asked) -> Iterator[Finding]:
    found = environment.requirements(EXTRAS.get(asked.engine, "local"))
    if not found:
        yield Finding(step=3, name="packages", status="error", command=INSTALL_CORE)
    for one in found:
        needed = one.extra is None or one.name in NEEDS.get(asked.engine, ())
        values = {"name": one.name, "installed": one.installed, "asked": one.asked, "extra": one.extra}
        yield Finding(
            step=3,
            name=f"package.{one.name}",
            status="ok" if one.good else "error" if needed else "warning",
            values=values,
            command=None if one.good else INSTALL.format(extra=one.extra) if one.extra else INSTALL_CORE,
        )


def _folders(asked: _Asked) -> Iterator[Finding]:
    if asked.problem is not None:
        yield Finding(step=4, name="unchecked", status="warning", command=SHOW_CONFIG)
        return
    prompts = resolve_prompts(asked.conf, asked.option, asked.file.parent, asked.root)
    try:
        loaded = load_prompts(prompts, with_tools=asked.conf.generation.tools)
    except InputError as error:
        yield Finding(step=4, name="folder.prompts", status="error", values={"problem": str(error)})
    else:
        values: dict[str, Any] = {"folder": str(prompts), "categories": len(loaded.categories)}
        values |= {"prompts": len(loaded.cases), "tools": len(loaded.tools)}
        yield Finding(step=4, name="folder.prompts", status="ok", values=values)
    yield _writable("folder.reports", asked.root / asked.conf.output.folder)
    for folder in adapter_folders(asked.conf, asked.file.parent):
        there = folder.is_dir()
        if there or asked.conf.model.adapter_folders is not None:
            values = {"folder": str(folder), "found": there and len(find_adapters([folder]))}
            command = None if there else f"mkdir {typed(str(folder))}"
            yield Finding(
                step=4, name="folder.adapters", status="ok" if there else "warning", values=values, command=command
            )
    if asked.conf.model.base_model_id != DEMO:
        yield _writable("folder.cache", hub_cache())


def _writable(name: str, folder: Path) -> Finding:
    nearest = nearest_existing(folder)
    good = nearest.is_dir() and os.access(nearest, os.W_OK)
    values = {"folder": str(folder), "free_bytes": environment.free_disk(folder), "there": folder.is_dir()}
    return Finding(step=4, name=name, status="ok" if good else "error", values=values)


def _adapters(asked: _Asked) -> Iterator[Finding]:
    if asked.problem is not None:
        yield Finding(step=5, name="unchecked", status="warning", command=SHOW_CONFIG)
        return
    try:
        specs, detections = resolve_adapters(asked.conf, asked.option, asked.file.parent)
    except InputError as error:
        # The list shows what `auto` had to choose from; of a name that cannot be, the sentence says all there is.
        named = {text.rpartition("=")[2] for text in asked.option.jarvis_adapter}
        where = f" --jarvis-config {typed(asked.option.jarvis_config)}" if asked.option.jarvis_config else ""
        command = f"{LIST_ADAPTERS}{where}" if not named or AUTO in named else None
        yield Finding(step=5, name="adapters", status="error", values={"problem": str(error)}, command=command)
        return
    for detection in detections:
        yield Finding(step=5, name="adapter.auto", status="ok", values={"detection": detection})
    for spec in specs:
        yield _adapter(asked, spec)


def _adapter(asked: _Asked, spec: AdapterSpec) -> Finding:
    folder, base = _adapter_folder(spec), asked.conf.model.base_model_id
    if asked.option.jarvis_aa:
        return Finding(step=5, name="adapter.none", status="ok")
    values: dict[str, Any] = {"name": spec.name, "source": spec.source}
    if asked.engine == SERVER:
        return Finding(step=5, name="adapter.served", status="ok", values=values)
    if folder is None or not folder.is_dir():
        values |= {"problem": "absent", "known": [] if folder is not None else _embedded()}
        return Finding(step=5, name="adapter", status="error", values=values, command=_beside(folder))
    found: FoundAdapter = inspect_adapter(folder)
    problem = found.problem or (None if fits_base(found.base, base) else "other_base")
    values |= {"problem": problem, "base": found.base, "rank": found.rank, "size_bytes": found.size_bytes}
    values |= {"broken_at": found.broken_at, "fault": found.fault, "adapter": found}
    values |= {"targets": list(found.targets), "parameters": found.parameters}
    return Finding(
        step=5,
        name="adapter",
        status="error" if problem else "ok",
        values=values,
        command=f"git -C {typed(str(folder))} lfs pull" if problem == "pointer" else None,
    )


def _beside(folder: Path | None) -> str | None:
    """Return the command that lists the adapters beside a folder that is not there; None where there are none."""
    try:
        there = folder is not None and any((other / ADAPTER_CONFIG).is_file() for other in folder.parent.iterdir())
    except OSError:
        return None
    return f"{LIST_ADAPTERS} {typed(str(folder.parent))}" if folder is not None and there else None


def _embedded() -> list[str]:
    from pytest_jarvis.demo import ADAPTERS

    return [f"{DEMO}:{name}" for name in ADAPTERS]


def _adapter_folder(spec: AdapterSpec) -> Path | None:
    if not spec.source.startswith(f"{DEMO}:"):
        return Path(spec.source).expanduser()
    from pytest_jarvis.demo import adapter_path

    try:
        return adapter_path(spec.source.removeprefix(f"{DEMO}:"))
    except ValueError:
        return None


def _configuration(asked: _Asked, devices: tuple[environment.Gpu, ...]) -> Iterator[Finding]:
    if asked.problem is not None:
        yield Finding(step=6, name="config", status="error", values={"problem": asked.problem}, command=SHOW_CONFIG)
        return
    yield Finding(
        step=6, name="config", status="ok", values={"file": str(asked.file) if asked.file.is_file() else None}
    )
    if not asked.needs_torch:
        url = asked.conf.model.base_url
        lacking = asked.engine == SERVER and url is None
        values = {"engine": asked.engine, "base_url": url, "lacking": lacking}
        yield Finding(step=6, name="engine", status="error" if lacking else "ok", values=values)
        return
    model = asked.conf.model
    cache = hub_cache()
    base = find_base(model.base_model_id, model.revision, cache)
    shapes = read_shapes(base.config) if base.config else None
    yield _files(asked, base, shapes, cache)
    yield from _memory(asked, base, shapes, devices)


def _files(asked: _Asked, base: BaseFiles, shapes: Shapes | None, cache: Path) -> Finding:
    """Return whether the base is there, else whether the disk has room for it."""
    name = asked.conf.model.base_model_id
    values: dict[str, Any] = {"model": name, "place": base.place, "size_bytes": base.size_bytes}
    values["folder"] = None if base.folder is None else str(base.folder)
    if base.whole and base.config is not None:
        return Finding(step=6, name="model.files", status="ok", values=values)
    if base.place not in {"absent", "cache"}:
        return Finding(step=6, name="model.files", status="error", values=values)
    asked_bytes = None if shapes is None else max(0, STORED_BYTES * shapes.weights - base.size_bytes)
    free = environment.free_disk(cache)
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    values |= {"needed_bytes": asked_bytes, "free_bytes": free, "offline": offline, "cache": str(cache)}
    short = asked_bytes is not None and asked_bytes > free
    return Finding(
        step=6,
        name="model.disk",
        status="error" if short or offline else "warning",
        values={**values, "short": short},
        command=None if short else f"hf download {name}",
    )


def _memory(
    asked: _Asked, base: BaseFiles, shapes: Shapes | None, devices: tuple[environment.Gpu, ...]
) -> Iterator[Finding]:
    """Yield what the model needs in memory against what is there, and what the CPU means for time."""
    on_gpu = bool(devices) and asked.conf.model.device_map != "cpu"
    caps = asked.conf.model.max_memory or {}
    on_gpus = sum(min(gpu.free_bytes, bytes_of(caps.get(str(gpu.index)), gpu.free_bytes)) for gpu in devices)
    free = on_gpus if on_gpu else environment.free_memory()
    nf4 = asked.conf.model.quantization == "nf4"
    values: dict[str, Any] = {"on_gpu": on_gpu, "free_bytes": free, "quantization": asked.conf.model.quantization}
    if shapes is None or base.quantized_by is not None:
        # A family that is not known here, or weights that are packed already: the files themselves say about as much.
        files = base.size_bytes * (0.516 / STORED_BYTES if nf4 and base.quantized_by is None else 1)
        values |= {"needed_bytes": int(files) or None, "exact": False}
        short = free is not None and int(files) > free
        yield Finding(
            step=6, name="model.memory", status="error" if short else "ok" if files else "warning", values=values
        )
    else:
        need = _need(asked, shapes, on_gpu=on_gpu)
        rows = asked.conf.generation.batch_size or LEAST_ROWS
        values |= {
            "needed_bytes": need.total(rows),
            "weights_bytes": need.weights,
            "adapters_bytes": need.adapters,
            "workspace_bytes": need.workspace,
            "row_bytes": need.row,
            "rows": rows,
            "rows_that_fit": None if free is None else need.rows_in(free),
            "exact": True,
        }
        short = free is not None and need.total(rows) > free
        yield Finding(
            step=6, name="model.memory", status="error" if short else "ok" if free else "warning", values=values
        )
    if not on_gpu and shapes is not None:
        dense = sum(stored_bytes(shapes, nf4=False, element=4).values())
        yield Finding(
            step=6,
            name="model.time",
            status="warning" if dense > 4e9 else "ok",
            values={"bytes_per_step": dense, "demo": base.place == "demo"},
        )


def _need(asked: _Asked, shapes: Shapes, *, on_gpu: bool) -> Need:
    try:
        specs, _ = resolve_adapters(asked.conf, asked.option, asked.file.parent)
    except InputError:
        specs = ()
    folders = [folder for spec in specs if (folder := _adapter_folder(spec)) is not None]
    return estimate(
        shapes,
        nf4=asked.conf.model.quantization == "nf4",
        on_gpu=on_gpu,
        prompt_tokens=_PROMPT_TOKENS,
        new_tokens=asked.conf.generation.max_new_tokens,
        adapter_weights=sum(inspect_adapter(folder).parameters or 0 for folder in folders if folder.is_dir()),
    )
