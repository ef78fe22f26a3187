"""Whether two folders hold the same base model, by what can be read of them without loading anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_SHAPE: Final = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "moe_intermediate_size",
    "num_experts",
    "num_local_experts",
    "vocab_size",
)
"""What two configurations of one model have in common, whatever its precision."""
_SAMPLE_BYTES: Final = 4096


def other_shape(stated: str, base: str) -> str | None:
    """Return in what the model in the folder `stated` differs from the one in `base`, as a part of a sentence.

    None when nothing in their configurations does, when they are one folder, or when one of them is no folder with a
    model (any more).
    """
    there, here = _folder(stated), _folder(base)
    if there is None or here is None or there.samefile(here):
        return None
    theirs, ours = _config(there), _config(here)
    for key in _SHAPE:
        if key in theirs and key in ours and theirs[key] != ours[key]:
            return f"{key} is {theirs[key]!r} there and {ours[key]!r} here"
    return None


def is_another(stated: str, base: str) -> bool:
    """Tell whether two folders hold models that are surely not the same: of another shape, or with other weights.

    Weights are compared by a few bytes of each file, and only where files of the same names and sizes hold them.
    """
    there, here = _folder(stated), _folder(base)
    if there is None or here is None or there.samefile(here):
        return False
    if other_shape(stated, base) is not None:
        return True
    theirs, ours = dict(_weights(there)), dict(_weights(here))
    return theirs == ours and any(_sample(there / name) != _sample(here / name) for name in theirs)


def is_folder_of_a_model(name: str) -> bool:
    """Tell whether a name of a base model is that of a folder that holds one."""
    return _folder(name) is not None


def _folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if (folder / "config.json").is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _config(folder: Path) -> Mapping[str, Any]:
    """Return a model's configuration, its text part where it has several; empty when it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(config, dict):
        return {}
    part = config.get("text_config")
    return part if isinstance(part, dict) else config


def _weights(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the size of each file of weights."""
    for file in folder.glob("*.safetensors"):
        yield file.name, file.stat().st_size


def _sample(file: Path) -> list[bytes]:
    """Return a few bytes from the beginning, the middle and the end of a file."""
    size, found = file.stat().st_size, []
    with file.open("rb") as stream:
        for share in (0, 1, 2, 3, 4):
            stream.seek(max(0, (size - _SAMPLE_BYTES) * share // 4))
            found.append(stream.read(_SAMPLE_BYTES))
    return found
