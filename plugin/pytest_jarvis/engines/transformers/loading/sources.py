"""Find the base model, and identify everything that determines a response."""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pytest_jarvis.engines.base import Digest, key_settings
from pytest_jarvis.files import InputError, text_digest
from pytest_jarvis.inputs.base_model import find_gguf, gguf_cache
from pytest_jarvis.types import BASE_ARM, EngineError, GenerationSettings, Identity, ModelSpec, Request

DEMO: Final = "demo"
_PACKAGES: Final = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "psutil")
_SMALL_BYTES: Final = 100_000_000
_HUB_TIMEOUT_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Location of a base model, a folder or a hub id, and its name for display."""

    location: str
    display_name: str
    is_demo: bool
    gguf: Path | None = None
    """The GGUF file that `location` is, or will be, dequantised from."""
    cached_only: bool = False
    """Whether to take a hub id's files from the cache, because the hub cannot be reached."""


def find_source(spec: ModelSpec) -> Source:
    """Return the location of the base model. Raises EngineError when it does not exist or holds no model."""
    name = spec.base_model_id
    if name == DEMO:
        from pytest_jarvis.demo import DISPLAY_NAME, base_path

        if not (base_path() / "config.json").is_file():
            raise EngineError(
                f"{DEMO}: this installation lacks the embedded model ({base_path()}); reinstall pytest-jarvis"
            )
        return Source(location=str(base_path()), display_name=DISPLAY_NAME, is_demo=True)
    folder = Path(name).expanduser()
    try:
        gguf = find_gguf(folder)
    except InputError as error:
        raise EngineError(str(error)) from error
    if gguf is not None:
        return Source(location=str(gguf_cache(gguf)), display_name=name, is_demo=False, gguf=gguf)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise EngineError(
                f"{name}: this folder holds no model (no config.json in it); "
                "give the one with the model's config.json, tokenizer and weights"
            )
        return Source(location=str(folder), display_name=name, is_demo=False)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1 or "\\" in name:
        raise EngineError(
            f"{name}: no such model folder; give a folder, a hub id such as Qwen/Qwen3-30B-A3B, or '{DEMO}'"
        )
    if _is_hub_reachable():
        return Source(location=name, display_name=name, is_demo=False)
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(name, "config.json", revision=spec.revision), str):
        raise EngineError(
            f"{name}: no such model folder, no such model in the cache, and the hub cannot be reached; "
            f"give a folder, or '{DEMO}'"
        )
    return Source(location=name, display_name=name, is_demo=False, cached_only=True)


def dequantize_gguf(source: Source) -> tuple[str, ...]:
    """Write the model of a GGUF file to the source's folder in bfloat16, once; return its quantised types.

    Empty for a source of another kind, and for a GGUF of plain numbers. Raises EngineError for a file that transformers
    cannot read, and without the package that reads it.
    """
    if source.gguf is None:
        return ()
    folder, name = Path(source.location), source.display_name
    if not folder.is_dir():
        if find_spec("gguf") is None:
            raise EngineError(f"{name}: to read a GGUF needs the package gguf: pip install 'pytest-jarvis[gguf]'")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as scratch:
            try:
                # transformers shows its progress whatever it is told.
                with redirect_stderr(StringIO()):
                    _write_dequantized(source.gguf, Path(scratch) / folder.name)
            except Exception as error:  # the readers of files raise their own, and bare `Exception`
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise EngineError(
                    f"{name}: {source.gguf.name} cannot be read as a GGUF of a model that transformers knows "
                    f"({reason}); download it again, or serve it with llama.cpp (--jarvis-engine server)"
                ) from error
            (Path(scratch) / folder.name).rename(folder)
    types: list[str] = json.loads((folder / _GGUF_TYPES).read_text(encoding="utf-8"))
    return tuple(types)


def _write_dequantized(file: Path, folder: Path) -> None:
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kinds = {tensor.tensor_type.name for tensor in GGUFReader(file).tensors}
    named: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**named).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(**named, dtype=torch.bfloat16)
    # transformers refuses to save a model that it says is quantised, which this one no longer is.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
    (folder / _GGUF_TYPES).write_text(json.dumps(sorted(kinds - {"F16", "BF16", "F32", "F64"})), encoding="utf-8")


_GGUF_TYPES: Final = "gguf_types.json"


def _is_hub_reachable() -> bool:
    """Return whether the hub can be reached; its own client would try for 25 s."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(getproxies().get(kind) for kind in ("https", "all")):
        # Behind a proxy only the client itself can tell.
        return True
    host = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((host.hostname, host.port or 443), timeout=_HUB_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def refuse_missing_packages() -> None:
    """Raise EngineError when packages that run a model are not installed, without importing any."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise EngineError(f"the transformers engine needs {', '.join(missing)}: pip install 'pytest-jarvis[local]'")


def is_small(source: Source) -> bool:
    """Return whether a base model is so small that one thread loads it as fast as several."""
    sizes = [file.stat().st_size for file in Path(source.location).glob("*.safetensors")]
    return 0 < sum(sizes) < _SMALL_BYTES


_NOT_THE_MODEL: Final = frozenset(
    {"optimizer.pt", "optimizer.bin", "scheduler.pt", "training_args.bin", "trainer_state.json", "scaler.pt"}
)
"""Files of a training that loading never reads; an optimizer is twice the size of the weights."""
_NOT_READ: Final = frozenset({".md", ".png", ".jpg", ".svg", ".pdf", ".log", ".lock"})
FileState = tuple[Path, int, int]
"""A file, its size, and its modification time in nanoseconds."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFiles:
    """Source of a loaded base: a folder, with its files as they were before the load, or a commit of the hub."""

    location: str
    files: tuple[FileState, ...]
    commit: str | None

    def fingerprint(self, digest: Digest) -> str | None:
        """Return the identity of the base, or None when it is unknown or a file has changed since the load."""
        if self.commit is not None:
            return f"{self.location}@{self.commit}"
        if not self.files or self.files != list_files(Path(self.location)):
            return None
        lines = (f"{path.relative_to(self.location).as_posix()} {digest(path)}" for path, *_ in self.files)
        return f"sha256:{text_digest(chr(10).join(lines))}"


@dataclass(kw_only=True)
class IdentityBuilder:
    """Build the identities of the requests of one loaded pair."""

    base: BaseFiles
    adapters: Mapping[str, str]
    """Digests by arm."""
    storage: str
    arithmetic: str
    template: str
    settings: GenerationSettings
    versions: Mapping[str, str]
    _fingerprint: str | None = field(default=None, init=False)

    @functools.cached_property
    def _settings(self) -> dict[str, str | int | float | bool | None]:
        return key_settings(self.settings)

    def build(self, request: Request, prompt: str, digest: Digest) -> Identity | None:
        """Return the identity of `request`, rendered as `prompt`, or None; the first call reads the files."""
        self._fingerprint = self._fingerprint or self.base.fingerprint(digest)
        if self._fingerprint is None:
            return None
        return Identity(
            engine=engine_version(),
            base=self._fingerprint,
            adapter=None if request.arm == BASE_ARM else self.adapters[request.arm],
            storage=self.storage,
            arithmetic=self.arithmetic,
            template=self.template,
            prompt=prompt,
            prompt_id=request.prompt_id,
            replicate=request.replicate,
            seed=self.settings.seed,
            settings=self._settings,
            versions=self.versions,
        )


def list_files(folder: Path) -> tuple[FileState, ...]:
    """Return the files of a model's folder that loading may read, rather one too many; empty without a folder."""
    found = []
    for path in sorted((*folder.glob("*"), *folder.glob("*/**/*.py"), *folder.glob("*/*.jinja"))):
        is_read = path.suffix not in _NOT_READ and path.name not in _NOT_THE_MODEL and not path.name.startswith(".")
        if is_read and path.is_file():
            status = path.stat()
            found.append((path, status.st_size, status.st_mtime_ns))
    return tuple(found)


def find_commit(source: Source, revision: str | None, auto_map: Mapping[str, Any] | None) -> str | None:
    """Return the hub's commit of `revision` in the cache; None for a folder, or with code of another repository."""
    if Path(source.location).is_dir() or "--" in str(auto_map or ""):
        return None
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(source.location, "config.json", revision=revision)
    commit = Path(file).parent.name if isinstance(file, str) else ""
    return commit if _COMMIT.fullmatch(commit) else None


def template_digest(template: Any) -> str:
    """Return the digest of a chat template, or of several by name."""
    return text_digest(json.dumps(template, sort_keys=True))


def device_kinds(names: str) -> str:
    """Return what computes and so decides rounding: the names of the GPUs, or the processor's kernels."""
    import torch

    return names if names != "CPU" else f"cpu {torch.backends.cpu.get_cpu_capability()}"


@functools.cache
def engine_version() -> str:
    """Return the engine's name, the package's version, and a digest of its source, which checkouts change."""
    from pytest_jarvis import __version__

    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        # As text: line ends may differ between checkouts.
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.read_text(encoding='utf-8')}\0".encode())
    return f"transformers engine {__version__} {digest.hexdigest()[:16]}"
