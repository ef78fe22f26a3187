"""Where the files of a base model are on this machine: the package, a folder, or the hub's cache; nothing is asked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_jarvis.discovery import may_fit, plain_name
from pytest_jarvis.footprint import KNOWN_CONFIGS
from pytest_jarvis.same_base import other_shape

Place = Literal["demo", "folder", "cache", "absent", "impossible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFiles:
    """A base model as it lies on this machine."""

    place: Place
    """`absent`: a hub id that would have to be downloaded; `impossible`: neither a folder nor a hub id."""
    folder: Path | None
    config: Mapping[str, Any] | None
    """Its `config.json`, or that of a model known here; None when there is none that can be read."""
    whole: bool
    """Whether all of its weights are there."""
    size_bytes: int
    """Of the weights that are there."""

    @property
    def quantized_by(self) -> str | None:
        """The method that the checkpoint itself is quantised with."""
        said = (self.config or {}).get("quantization_config")
        return str(said.get("quant_method", "?")) if isinstance(said, Mapping) else None


def find_base(name: str, revision: str | None, cache: Path) -> BaseFiles:
    """Return where the base called `name` is; `cache` is the hub's folder."""
    if name == "demo":
        from pytest_jarvis.demo import base_path

        return _look_at("demo", base_path())
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _look_at("folder", folder)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1 or "\\" in name:
        return BaseFiles(place="impossible", folder=None, config=None, whole=False, size_bytes=0)
    snapshot = _snapshot(cache / f"models--{name.replace('/', '--')}", revision or "main")
    if snapshot is not None:
        found = _look_at("cache", snapshot)
        if found.config is not None:
            return found
    return BaseFiles(place="absent", folder=None, config=KNOWN_CONFIGS.get(plain_name(name)), whole=False, size_bytes=0)


def fits_base(stated: str | None, base: str) -> bool:
    """Tell whether an adapter that names the base `stated` may belong to `base`, by all that is known here."""
    return may_fit(stated, base) and (stated is None or other_known_shape(stated, base, hub_cache()) is None)


def other_known_shape(stated: str, base: str, cache: Path) -> str | None:
    """Return in what the model called `stated` differs from `base`, where one is a folder and the other of the hub.

    By what the hub's cache, in the folder `cache`, or this package knows of the latter; None where it knows nothing, or
    nothing differs. Vocabularies may: an adapter that was trained with more tokens names the model it began with.
    """
    try:
        theirs, ours = find_base(stated, None, cache), find_base(base, None, cache)
    except (OSError, RuntimeError):
        return None  # a folder that cannot be looked into, or of a user that there is not
    if theirs.config is None or ours.config is None or (theirs.place == "folder") == (ours.place == "folder"):
        return None
    return other_shape(theirs.config, ours.config, but=("vocab_size",))


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the hub's folder of downloads, as `huggingface_hub` finds it."""
    if named := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(home).expanduser() / "hub"


def _snapshot(folder: Path, revision: str) -> Path | None:
    """Return the files of a branch, tag or commit of a cached model: `refs/NAME` holds a commit."""
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision
    found = folder / "snapshots" / commit
    return found if found.is_dir() else None


def _look_at(place: Place, folder: Path) -> BaseFiles:
    weights = [file for file in folder.iterdir() if file.suffix in {".safetensors", ".bin"}]
    index = _read(folder / "model.safetensors.index.json") or _read(folder / "pytorch_model.bin.index.json")
    wanted = set(index["weight_map"].values()) if index and isinstance(index.get("weight_map"), dict) else set()
    there = {file.name for file in weights if file.exists()}
    return BaseFiles(
        place=place,
        folder=folder,
        config=_read(folder / "config.json"),
        whole=bool(there) and wanted <= there,
        size_bytes=sum(file.stat().st_size for file in weights if file.exists()),
    )


def _read(file: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
