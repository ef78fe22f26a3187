"""Where the base model that the user named is: the embedded one, a folder, the hub or its cache."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pytest_jarvis.types import EngineError, ModelSpec

DEMO: Final = "demo"
_PACKAGES: Final = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "psutil")
_SMALL_BYTES: Final = 100_000_000
_HUB_TIMEOUT_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a base model is: a folder or a hub id for transformers, and its name for a reader."""

    location: str
    display_name: str
    is_demo: bool
    cached_only: bool = False
    """A hub id whose files are taken from the cache, because the hub cannot be reached."""


def find_source(spec: ModelSpec) -> Source:
    """Return where the base model is. Raises EngineError for a folder that is not there or holds no model."""
    name = spec.base_model
    if name == DEMO:
        from pytest_jarvis.demo import DISPLAY_NAME, base_path

        if not (base_path() / "config.json").is_file():
            raise EngineError(
                f"{DEMO}: this installation lacks the embedded model ({base_path()}); reinstall pytest-jarvis"
            )
        return Source(location=str(base_path()), display_name=DISPLAY_NAME, is_demo=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise EngineError(
                f"{name}: this folder holds no model (no config.json in it); "
                "give the one that holds the model's config.json, tokenizer and weights"
            )
        return Source(location=str(folder), display_name=name, is_demo=False)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1 or "\\" in name:
        raise EngineError(
            f"{name}: no such model folder; give a folder, a hub id such as Qwen/Qwen3-30B-A3B, or '{DEMO}'"
        )
    if _hub_answers():
        return Source(location=name, display_name=name, is_demo=False)
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(name, "config.json", revision=spec.revision), str):
        raise EngineError(
            f"{name}: no such model folder, no such model in the cache, and the hub cannot be reached; "
            f"give a folder, or '{DEMO}'"
        )
    return Source(location=name, display_name=name, is_demo=False, cached_only=True)


def _hub_answers() -> bool:
    """Tell whether the hub can be reached; its own client would try for 25 s before it gave up."""
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
    """Raise EngineError when the packages that run a model are not installed; none of them is imported."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise EngineError(f"the transformers engine needs {', '.join(missing)}: pip install 'pytest-jarvis[local]'")


def is_small(source: Source) -> bool:
    """Tell whether a base model's files are small enough for one thread to load it as fast as several."""
    sizes = [file.stat().st_size for file in Path(source.location).glob("*.safetensors")]
    return 0 < sum(sizes) < _SMALL_BYTES
