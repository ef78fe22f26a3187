"""Checks of a checkpoint's files before transformers reads them: files are whole, and each expert is there once.

transformers stacks experts by their order, not by their numbers: with expert 0 missing, each would stand for the one
before it, and nothing measured on the loaded model would show it.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pytest_jarvis.inputs.safetensors_header import Shapes, WeightsError, is_pointer, read_header, shapes_of
from pytest_jarvis.types import EngineError

INDEX: Final = "model.safetensors.index.json"
_LARGEST_POINTER: Final = 1024
_KINDS: Final = frozenset({".safetensors", ".bin", ".json", ".model", ".jinja", ".txt"})
_EXPERT: Final = re.compile(r"^(?P<place>.*\bexperts)\.(?P<number>\d+)\.(?P<part>.+)$")


def refuse_damaged(folder: Path) -> Shapes:
    """Return what `read_shapes` does; raise EngineError for the first file that is a git LFS pointer, too."""
    for file in sorted(folder.iterdir()):
        if file.suffix in _KINDS and file.is_file() and file.stat().st_size <= _LARGEST_POINTER:
            _refuse_pointer(file)
    return read_shapes(folder)


def read_shapes(folder: Path) -> Shapes:
    """Return the shape of each weight in a folder's safetensors files, by name; EngineError for an unreadable file."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in _files(folder):
        _refuse_pointer(file)
        try:
            shapes.update(shapes_of(read_header(file)))
        except WeightsError as error:
            raise EngineError(f"{file.name} {error}; download it again") from error
    return shapes


def refuse_wrong_experts(names: Iterable[str], count: int | None = None) -> None:
    """Raise EngineError unless the experts in `names` are numbered from 0 on; `count` is their number, if known."""
    places: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        if found := _EXPERT.match(name):
            places[found["place"]][found["part"]].add(int(found["number"]))
    for place, parts in sorted(places.items()):
        for part, numbers in sorted(parts.items()):
            # In some families experts lack a projection, so only its own numbers tell how many there are.
            wanted = set(range(count or 1 + max(numbers)))
            if numbers != wanted:
                faults = [f"expert {min(wanted - numbers)} is missing"] if wanted - numbers else []
                faults += [f"expert {min(numbers - wanted)} is one too many"] if numbers - wanted else []
                raise EngineError(
                    f"{place}: {' and '.join(faults)} in the checkpoint ({part}): it holds {len(numbers)} "
                    f"where {len(wanted)} are expected, 0 to {max(wanted)}; download the checkpoint again, "
                    "or correct the number of experts in config.json"
                )


def refuse_unequal_experts(shapes: Shapes) -> None:
    """Raise EngineError for the first expert whose weights differ in shape from those of its layer's others."""
    first: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}
    for name in sorted(shapes):
        found = _EXPERT.match(name)
        if found is None or not found["part"].endswith(("weight", "bias")):
            continue
        other, shape = first.setdefault((found["place"], found["part"]), (name, shapes[name]))
        if shapes[name] != shape:
            raise EngineError(
                f"{name} is {format_shape(shapes[name])} in the checkpoint and {other} is {format_shape(shape)}, "
                "the experts of a layer must be alike; download the checkpoint again"
            )


def format_shape(shape: Iterable[int]) -> str:
    """Return a shape as "2 x 3"."""
    return " x ".join(str(size) for size in shape) or "a number"


def _files(folder: Path) -> Iterator[Path]:
    index = folder / INDEX
    if (folder / "model.safetensors").is_file() or not index.is_file():
        yield from [folder / "model.safetensors"] if (folder / "model.safetensors").is_file() else []
        return
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{INDEX} cannot be read as the list of the weights' files; download it again") from error
    for name in names:
        if not (folder / name).is_file():
            raise EngineError(f"{INDEX} names {name}, which is not there; download it again")
        yield folder / name


def _refuse_pointer(file: Path) -> None:
    if is_pointer(file):
        raise EngineError(
            f"{file.name} is a pointer of git LFS and not the file itself; run 'git lfs pull' in the model's folder"
        )
