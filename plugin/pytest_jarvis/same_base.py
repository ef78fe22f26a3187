"""Whether two folders hold the same base model, by what can be read of them without loading anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pytest_jarvis.weight_files import read_layout

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


def other_model(stated: str, base: str) -> str | None:
    """Return in what the model in the folder `stated` differs from the one in `base`, as a part of a sentence.

    None when nothing shows that they are two, when they are one folder, or when one of them is no folder with a model
    (any more). Weights are compared by a few bytes of each file, and only where all files are laid out alike: another
    format or precision of a model has other bytes too.
    """
    there, here = _folder(stated), _folder(base)
    if there is None or here is None or there.samefile(here):
        return None
    difference = other_shape(_config(there), _config(here))
    if difference is not None:
        return difference
    theirs, ours = dict(_layouts(there)), dict(_layouts(here))
    if theirs != ours or None in theirs.values():
        return None
    other = next((name for name in sorted(theirs) if _sample(there / name) != _sample(here / name)), None)
    return None if other is None else f"{other} has other weights there, of the same names and shapes"


def other_shape(theirs: Mapping[str, Any], ours: Mapping[str, Any], but: Iterable[str] = ()) -> str | None:
    """Return in what two configurations of models differ, as a part of a sentence; `but` names keys that may differ.

    Of a model of several parts, its text part. What one of them leaves open is no difference.
    """
    theirs, ours = _text_part(theirs), _text_part(ours)
    for key in _SHAPE:
        there, here = theirs.get(key), ours.get(key)
        known = key not in but and there is not None and here is not None
        if known and _plain(there) != _plain(here):
            return f"{key} is {there!r} there and {here!r} here"
    return None


def _plain(value: object) -> object:
    """Return a value as two versions of transformers write it: the type of a text part has an ending in one of them."""
    return value.removesuffix("_text") if isinstance(value, str) else value


def is_another(stated: str, base: str) -> bool:
    """Tell whether two folders hold models that are surely not the same: of another shape, or with other weights."""
    return other_model(stated, base) is not None


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
    """Return a model's configuration; empty when it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def _layouts(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """Yield the name of each file of weights, and how it is laid out; None where its bytes prove nothing."""
    for file in folder.glob("*.safetensors"):
        yield file.name, read_layout(file)


def _sample(file: Path) -> list[bytes]:
    """Return a few bytes of a file, from its beginning to its end."""
    size, found = file.stat().st_size, []
    with file.open("rb") as stream:
        for share in (0, 1, 2, 3, 4):
            stream.seek(max(0, (size - _SAMPLE_BYTES) * share // 4))
            found.append(stream.read(_SAMPLE_BYTES))
    return found
