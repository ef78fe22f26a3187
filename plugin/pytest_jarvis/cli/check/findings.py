"""Check in six steps whether this machine can run the configured benchmark, without torch and without the hub."""

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pytest_jarvis.cli.check import environment
from pytest_jarvis.engines.base import OPEN_CALL, EngineKind
from pytest_jarvis.engines.footprint import STORED_BYTES, MemoryNeed, Shapes, estimate, read_shapes, stored_bytes
from pytest_jarvis.engines.transformers.generation.memory import MOST_ROWS, MOST_ROWS_CPU
from pytest_jarvis.files import InputError, nearest_existing
from pytest_jarvis.inputs.adapters import ADAPTER_CONFIG, FoundAdapter, Problem, find_adapters, inspect_adapter, matcher
from pytest_jarvis.inputs.base_model import (
    BaseFiles,
    find_base,
    hub_cache,
    names_other_base,
    read_template,
    read_vocabulary,
)
from pytest_jarvis.inputs.config import AUTO, DEMO, Config, bytes_of
from pytest_jarvis.inputs.prompts import further_prompts, load_prompts
from pytest_jarvis.render.french.formats import DASH, printable, typeset
from pytest_jarvis.render.french.notes import french_note, problem_and_remedy
from pytest_jarvis.render.french.words import fill, table, word
from pytest_jarvis.run.settings import (
    adapter_folders,
    find_engine_kind,
    override,
    read_configuration,
    resolve_adapters,
    resolve_prompts,
)
from pytest_jarvis.types import AdapterSpec, Note

Status = Literal["ok", "warning", "error"]
_MARKS: Final[Mapping[Status, str]] = {"ok": "✓", "warning": "⚠", "error": "✗"}

LEAST_PYTHON: Final = (3, 11)
INSTALL: Final = 'pip install "pytest-jarvis[{extra}]"'
INSTALL_LOCAL: Final = INSTALL.format(extra="local")
INSTALL_CORE: Final = "pip install pytest-jarvis"
INSTALL_CUDA: Final = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
LIST_ADAPTERS: Final = "pytest-jarvis adapters"
SHOW_CONFIG: Final = "pytest-jarvis config show"
LEAST_ROWS: Final = 16  # Rows of the smallest batch: an arm's rows are padded to this number.
_PROMPT_TOKENS: Final = 128
"""Assumed length of a prompt with its template, which only the model's tokenizer could count."""
_TOOLS_TOKENS: Final = 1400  # Assumed length of the description of the tools.


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the check."""

    step: int
    """From 1 to 6."""
    name: str
    """Machine-readable subject: `gpu.0`, `model.memory`."""
    status: Status
    text: str
    values: Mapping[str, object]
    command: str | None
    """Shell command that fixes it."""


def _finding(
    step: int, name: str, status: Status, text: str, command: str | None = None, /, **values: object
) -> Finding:
    return Finding(step=step, name=name, status=status, text=typeset(printable(text)), values=values, command=command)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    """The configuration to check; `problem` says why it could not be read."""

    option: argparse.Namespace
    root: Path
    conf: Config
    file: Path
    problem: str | None
    kind: EngineKind

    @property
    def needs_torch(self) -> bool:
        return "torch" in self.kind.needs


def quote(word: str, *, windows: bool = os.name == "nt") -> str:
    """Return an argument quoted for the shell of this system, where it needs quotes."""
    return subprocess.list2cmdline([word]) if windows else shlex.quote(word)


def check_lines(findings: Sequence[Finding]) -> list[str]:
    """Return the steps, their findings with the commands that fix them, and a summary."""
    lines: list[str] = []
    for number, title in table("check.steps").items():
        lines.append(f"{number}. {title}")
        for finding in findings:
            if finding.step == int(number):
                lines.append(f"   {_MARKS[finding.status]} {finding.text}")
                lines += [f"       → {printable(finding.command)}"] if finding.command else []
    counts = Counter(finding.status for finding in findings)
    told = word("check.warnings", count=counts["warning"]) if counts["warning"] else ""
    end = word("check.errors" if counts["error"] else "check.ready", count=counts["error"], warnings=told)
    return [*map(typeset, lines), "", end]


def run_checks(option: argparse.Namespace, root: Path) -> list[Finding]:
    """Return the findings by step; configuration, prompts and reports are relative to `root`.

    Raises InputError for an impossible option or a missing `--jarvis-config`; a fault inside a configuration is a
    finding.
    """
    setup = _read(option, root)
    devices = environment.find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    build = environment.find_torch()
    usable = devices if build is not None and build.cuda else ()
    return [
        *_python(),
        *_torch(setup, build, devices),
        *_packages(setup),
        *_folders(setup),
        *_adapters(setup),
        *_configuration(setup, usable),
    ]


def _read(option: argparse.Namespace, root: Path) -> _Setup:
    named, kind = option.jarvis_config, find_engine_kind(option)
    if named and not Path(named).exists():
        raise InputError(f"--jarvis-config: {named}: no such file; name a configuration that is there")
    try:
        conf, file = read_configuration(named, root)
    except InputError as error:
        return _Setup(option=option, root=root, conf=Config(), file=root, problem=str(error), kind=kind)
    return _Setup(option=option, root=root, conf=override(conf, option), file=file, problem=None, kind=kind)


def _python() -> Iterator[Finding]:
    values = {"version": platform.python_version(), "least": ".".join(map(str, LEAST_PYTHON)), "path": sys.executable}
    status: Status = "ok" if sys.version_info >= LEAST_PYTHON else "error"
    yield _finding(1, "python", status, word("check.python", **values), **values)


def _torch(
    setup: _Setup, build: environment.TorchBuild | None, devices: tuple[environment.Gpu, ...]
) -> Iterator[Finding]:
    if build is None:
        absent: Status = "error" if setup.needs_torch else "warning"
        yield _finding(2, "torch", absent, word("check.no_torch"), INSTALL_LOCAL, version=None, cuda=None)
    else:
        text = word("check.torch" if build.cuda else "check.torch_without_cuda", **asdict(build))
        yield _finding(2, "torch", "ok", text, **asdict(build))
    count, hidden = len(devices), os.environ.get("CUDA_VISIBLE_DEVICES") if not devices else None
    status: Status = "ok" if devices else "warning"
    why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden!r})"
    text = word("check.gpus" if devices else "check.no_gpu", count=count, why=why)
    yield _finding(2, "gpus", status, text, count=count, hidden=hidden)
    for gpu in devices:
        yield _finding(2, f"gpu.{gpu.index}", "ok", word("check.gpu", **asdict(gpu)), **asdict(gpu))
    if build is not None and devices and build.cuda is None:
        yield _finding(2, "torch.cuda", "error", word("check.no_cuda", count=count), INSTALL_CUDA, count=count)
    if build is not None and (least := environment.driver_too_old(build, devices)) is not None:
        values = {"least": least, "driver": devices[0].driver, "cuda": build.cuda}
        yield _finding(2, "driver", "error", word("check.old_driver", **values), **values)
    if setup.option.deep:
        from pytest_jarvis.engines.transformers.generation.memory import probe

        cuda, names, problem = probe()
        text = word("check.deep_fault" if problem else "check.deep", devices=", ".join(names), problem=problem)
        yield _finding(2, "torch.deep", "error" if problem else "ok", text, cuda=cuda, devices=names, problem=problem)


def _packages(setup: _Setup) -> Iterator[Finding]:
    found = environment.find_requirements(setup.kind.extra or "local")
    if not found:
        yield _finding(3, "packages", "error", word("check.no_package"), INSTALL_CORE)
    for one in found:
        needed = one.extra is None or one.name in setup.kind.needs
        status: Status = "ok" if one.good else "error" if needed else "warning"
        command = None if one.good else INSTALL.format(extra=one.extra) if one.extra else INSTALL_CORE
        installed = one.installed or word("check.not_installed")
        text = word("check.package_asked" if one.asked else "check.package", **asdict(one) | {"installed": installed})
        yield _finding(3, f"package.{one.name}", status, text, command, **asdict(one))


def _folders(setup: _Setup) -> Iterator[Finding]:
    if setup.problem is not None:
        yield _finding(4, "unchecked", "warning", word("check.unchecked"), SHOW_CONFIG)
        return
    prompts = resolve_prompts(setup.conf, setup.option, setup.file.parent, setup.root)
    try:
        conf = setup.conf
        further = further_prompts(tools=conf.generation.tools, guards=conf.benchmark.guards)
        loaded = load_prompts(prompts, add=further)
    except InputError as error:
        yield _finding(4, "folder.prompts", "error", word("check.bad_prompts", problem=str(error)), problem=str(error))
    else:
        values = {"folder": str(prompts), "categories": len(loaded.categories)}
        values |= {"prompts": len(loaded.cases), "tools": len(loaded.tools)}
        yield _finding(4, "folder.prompts", "ok", word("check.prompts", **values), **values)
    yield _writable("reports", setup.root / setup.conf.output.folder)
    for folder in adapter_folders(setup.conf, setup.file.parent):
        there = folder.is_dir()
        if there or setup.conf.model.adapter_folders is not None:
            values = {"folder": str(folder), "found": len(find_adapters([folder])) if there else None}
            text = word("check.adapters" if there else "check.no_folder", **values)
            command = None if there else f"mkdir {quote(str(folder))}"
            yield _finding(4, "folder.adapters", "ok" if there else "warning", text, command, **values)
    if setup.conf.model.base_model_id != DEMO:
        yield _writable("cache", hub_cache())


def _writable(name: str, folder: Path) -> Finding:
    nearest = nearest_existing(folder)
    status: Status = "ok" if nearest.is_dir() and os.access(nearest, os.W_OK) else "error"
    free, there = environment.free_disk(folder), folder.is_dir()
    made = "" if there else word("check.to_be_made")
    text = word("check.folder", what=table("check.folders")[name], folder=str(folder), made=made, free=free)
    return _finding(4, f"folder.{name}", status, text, folder=str(folder), free_bytes=free, there=there)


def _adapters(setup: _Setup) -> Iterator[Finding]:
    if setup.problem is not None:
        yield _finding(5, "unchecked", "warning", word("check.unchecked"), SHOW_CONFIG)
        return
    try:
        specs, detections = resolve_adapters(setup.conf, setup.option, setup.file.parent, setup.kind)
    except InputError as error:
        # The list shows what `auto` had to choose from; for an impossible name the message suffices.
        named = {text.rpartition("=")[2] for text in setup.option.jarvis_adapter}
        where = f" --jarvis-config {quote(setup.option.jarvis_config)}" if setup.option.jarvis_config else ""
        command = f"{LIST_ADAPTERS}{where}" if not named or AUTO in named else None
        text = word("check.bad_adapters", problem=str(error))
        yield _finding(5, "adapters", "error", text, command, problem=str(error))
        return
    for detection in detections:
        yield _finding(5, "adapter.auto", "ok", " ; ".join(map(french_note, detection.notes())))
    for spec in specs:
        yield _adapter(setup, spec, alone=len(specs) == 1)
        yield from _doubts(setup, spec)


def _adapter(setup: _Setup, spec: AdapterSpec, *, alone: bool) -> Finding:
    from pytest_jarvis.demo import ADAPTERS

    folder, model = _adapter_folder(spec), setup.conf.model
    values: dict[str, object] = {"name": spec.name, "source": spec.source}
    if setup.option.jarvis_aa:
        return _finding(5, "adapter.none", "ok", word("check.no_adapter"))
    if setup.kind.asks_server:
        return _finding(5, "adapter.served", "ok", word("check.served_adapter", **values), **values)
    if folder is None or not folder.is_dir():
        known = [] if folder is not None else [f"{DEMO}:{name}" for name in ADAPTERS]
        why = (
            word("check.known", known=", ".join(known)) if known else word("check.no_such", give=word("adapters.give"))
        )
        text = word("check.adapter", **values, found=why)
        return _finding(5, "adapter", "error", text, _beside(folder), **values, problem="absent", known=known)
    found = matcher(model.base_model_id, model.revision)(inspect_adapter(folder))
    problem = None if found.problem == "untrained" and model.allow_inert_adapter else found.problem
    if problem is None and not alone and (found.config or {}).get("trainable_token_indices"):
        problem = "tokens_beside"
    details = ("base", "rank", "size_bytes", "broken_at", "fault", "targets", "parameters")
    values |= {"problem": problem, **{name: getattr(found, name) for name in details}}
    command = f"git -C {quote(str(folder))} lfs pull" if problem == "pointer" else None
    text = word("check.adapter", name=spec.name, source=spec.source, found=_facts(found, problem))
    return _finding(5, "adapter", "error" if problem else "ok", text, command, **values)


def _facts(found: FoundAdapter, problem: Problem | None) -> str:
    if problem is not None:
        return problem_and_remedy(found, problem)
    weights = word("check.weights", count=found.parameters) if found.parameters is not None else ""
    rank, targets = DASH if found.rank is None else found.rank, ", ".join(found.targets)
    return word("check.adapter_facts", rank=rank, targets=targets, weights=weights, size=found.size_bytes)


def _doubts(setup: _Setup, spec: AdapterSpec) -> Iterator[Finding]:
    """Warn of an adapter that names another base, or has a chat template or a tokenizer of its own."""
    folder, model = _adapter_folder(spec), setup.conf.model
    if setup.option.jarvis_aa or setup.kind.asks_server or folder is None or not folder.is_dir():
        return
    base, found = find_base(model.base_model_id, model.revision, hub_cache()), inspect_adapter(folder)
    if found.problem is None and names_other_base(found.base, model.base_model_id):
        values = {"name": spec.name, "stated": found.base or "", "base": model.base_model_id}
        yield _finding(5, "adapter.base", "warning", french_note(Note("adapter_of_other_base", values)), **values)
    own, tools = read_template(folder), setup.conf.generation.tools
    if own and setup.conf.generation.template == "chat" and own != base.chat_template(tools=tools):
        yield _finding(5, "adapter.template", "warning", french_note(Note("adapter_template", {"name": spec.name})))
    theirs = {} if base.folder is None else read_vocabulary(base.folder)
    if theirs and any(theirs.get(token) != number for token, number in read_vocabulary(folder).items()):
        yield _finding(5, "adapter.tokenizer", "warning", french_note(Note("adapter_tokenizer", {"name": spec.name})))


def _beside(folder: Path | None) -> str | None:
    """Return the command that lists the adapters beside a missing folder, or None where there are none."""
    try:
        there = folder is not None and any((other / ADAPTER_CONFIG).is_file() for other in folder.parent.iterdir())
    except OSError:
        return None
    return f"{LIST_ADAPTERS} {quote(str(folder.parent))}" if folder is not None and there else None


def _adapter_folder(spec: AdapterSpec) -> Path | None:
    if not spec.source.startswith(f"{DEMO}:"):
        return Path(spec.source).expanduser()
    from pytest_jarvis.demo import adapter_path

    try:
        return adapter_path(spec.source.removeprefix(f"{DEMO}:"))
    except ValueError:
        return None


def _configuration(setup: _Setup, devices: tuple[environment.Gpu, ...]) -> Iterator[Finding]:
    if setup.problem is not None:
        text = word("check.config", file=setup.problem)
        yield _finding(6, "config", "error", text, SHOW_CONFIG, problem=setup.problem)
        return
    file = str(setup.file) if setup.file.is_file() else None
    yield _finding(6, "config", "ok", word("check.config", file=file or word("check.no_config")), file=file)
    if not setup.needs_torch:
        url = setup.conf.model.base_url
        lacking = setup.kind.asks_server and url is None
        values = {"engine": setup.option.jarvis_engine, "base_url": url, "lacking": lacking}
        text = word("check.lacking_url" if lacking else "check.asked_server" if url else "check.engine", **values)
        yield _finding(6, "engine", "error" if lacking else "ok", text, **values)
        return
    model = setup.conf.model
    cache = hub_cache()
    base = find_base(model.base_model_id, model.revision, cache)
    shapes = read_shapes(base.config) if base.config else None
    yield _files(setup, base, shapes, cache)
    yield from _template(setup, base)
    yield from _memory(setup, base, shapes, devices)


def _files(setup: _Setup, base: BaseFiles, shapes: Shapes | None, cache: Path) -> Finding:
    """Check that the base's files are complete, else that the disk has room to download them."""
    name = setup.conf.model.base_model_id
    values: dict[str, object] = {"model": name, "place": base.place, "size_bytes": base.size_bytes}
    values["folder"] = None if base.folder is None else str(base.folder)
    if base.gguf is not None:
        command = None if environment.installed_version("gguf") else INSTALL.format(extra="gguf")
        text = word("check.gguf_lacking" if command else "check.gguf_read" if base.folder else "check.gguf", **values)
        return _finding(6, "model.files", "error" if command else "ok", text, command, **values)
    whole = base.whole and base.config is not None
    if whole or base.place not in {"absent", "cache"}:
        known = base.place if base.place == "impossible" or base.size_bytes else "part"
        sentences = table("check.files")
        text = fill(sentences.get(known, sentences["whole"]), values)
        return _finding(6, "model.files", "ok" if whole else "error", text, **values)
    needed = None if shapes is None else max(0, STORED_BYTES * shapes.weights - base.size_bytes)
    free = environment.free_disk(cache)
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    short = needed is not None and needed > free
    values |= {"needed_bytes": needed, "free_bytes": free, "offline": offline, "cache": str(cache), "short": short}
    how = "offline" if offline else "unknown_size" if needed is None else "short" if short else "room"
    text = fill(table("check.downloads")[how], values)
    status: Status = "error" if short or offline else "warning"
    return _finding(6, "model.disk", status, text, None if short else f"hf download {name}", **values)


def _template(setup: _Setup, base: BaseFiles) -> Iterator[Finding]:
    """Check that the packages of the base's quantisation are here, and that its template does what is asked of it."""
    method, missing = base.quantized_by, base.missing_packages()
    if missing:
        text = word("check.no_quantizer", method=method or "", missing=", ".join(missing))
        command = f"pip install {' '.join(missing)}"
        yield _finding(6, "model.quantization", "error", text, command, method=method, missing=missing)
    asked = setup.conf.generation
    if asked.template != "chat" or base.config is None or base.folder is None:
        return
    template = base.chat_template(tools=asked.tools)
    lacking = None if template else "template"
    if template and asked.tools:
        lacking = next((asked for asked in ("tools", OPEN_CALL) if asked not in template), None)
    if lacking is not None:
        sentences = table("check.templates")
        text = fill(sentences.get(lacking, sentences["calls"]), {"lacking": lacking})
        yield _finding(6, "model.template", "error", text, lacking=lacking)


def _memory(
    setup: _Setup, base: BaseFiles, shapes: Shapes | None, devices: tuple[environment.Gpu, ...]
) -> Iterator[Finding]:
    """Compare the memory that the model needs with what is free; warn of the time it takes on a CPU."""
    on_gpu = bool(devices) and setup.conf.model.device_map != "cpu"
    caps = setup.conf.model.max_memory or {}
    on_gpus = sum(min(gpu.free_bytes, bytes_of(caps.get(str(gpu.index)), gpu.free_bytes)) for gpu in devices)
    free = on_gpus if on_gpu else environment.free_memory()
    quantization = setup.conf.model.quantization
    values: dict[str, object] = {"on_gpu": on_gpu, "free_bytes": free, "quantization": quantization}
    told = word("check.free_unknown") if free is None else word("check.free", size=free)
    said = {"where": word("check.of_gpus") if on_gpu else word("check.of_cpu"), "free": told}
    if shapes is None or base.quantized_by is not None:
        # Unknown architecture, or weights quantised already: estimate from the size of the files.
        shrunk = quantization != "none" and base.quantized_by is None
        files = int(base.size_bytes * (0.516 / STORED_BYTES if shrunk else 1)) or None
        short = free is not None and files is not None and files > free
        status: Status = "error" if short else "ok" if files else "warning"
        text = word("check.rough_memory" if files else "check.unknown_memory", **said, needed=files)
        yield _finding(6, "model.memory", status, text, **values, needed_bytes=files, exact=False)
    else:
        need = _need(setup, shapes, free or 0, on_gpu=on_gpu)
        rows = setup.conf.generation.batch_size or LEAST_ROWS
        fitting = None if free is None else need.max_rows(free)
        most = setup.conf.generation.batch_size or min(fitting or 0, MOST_ROWS if on_gpu else MOST_ROWS_CPU)
        values |= {f"{part}_bytes": size for part, size in asdict(need).items()}
        values |= {"needed_bytes": need.total(rows), "rows": rows, "rows_that_fit": fitting, "exact": True}
        values |= {"largest_bytes": need.fixed + most * need.row, "largest_rows": most}
        status = "error" if free is not None and need.total(rows) > free else "ok" if free else "warning"
        yield _finding(6, "model.memory", status, _need_sentence(need, values, said), **values)
    if not on_gpu and shapes is not None:
        dense, demo = sum(stored_bytes(shapes, nf4=False, element=4).values()), base.place == "demo"
        status = "warning" if dense > 4e9 else "ok"
        text = word("check.demo_time") if demo else word("check.time", size=dense)
        yield _finding(6, "model.time", status, text, bytes_per_step=dense, demo=demo)


def _need_sentence(need: MemoryNeed, values: Mapping[str, Any], said: Mapping[str, str]) -> str:
    parts = ((sentence, getattr(need, part)) for part, sentence in table("check.parts").items())
    told = word(
        "check.memory", **said, **values, parts=", ".join(fill(one, {"size": size}) for one, size in parts if size)
    )
    rows, fitting, most = (values[name] for name in ("rows", "rows_that_fit", "largest_rows"))
    if fitting is not None and fitting < rows:
        return told + (word("check.fewer_rows", rows=fitting) if fitting else word("check.too_large"))
    return told + (word("check.longest", **values) if most > rows else "")


def _need(setup: _Setup, shapes: Shapes, free: int, *, on_gpu: bool) -> MemoryNeed:
    try:
        specs, _ = resolve_adapters(setup.conf, setup.option, setup.file.parent, setup.kind)
    except InputError:
        specs = ()
    folders = [folder for spec in specs if (folder := _adapter_folder(spec)) is not None]
    return estimate(
        shapes,
        nf4=setup.conf.model.quantization != "none",
        on_gpu=on_gpu,
        element={None: None, "float32": 4}.get(setup.conf.model.compute_dtype, 2),
        free=free,
        prompt_tokens=_PROMPT_TOKENS + (_TOOLS_TOKENS if setup.conf.generation.tools else 0),
        new_tokens=setup.conf.generation.max_new_tokens,
        adapter_weights=sum(inspect_adapter(folder).parameters or 0 for folder in folders if folder.is_dir()),
    )
