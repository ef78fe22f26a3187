"""What the files of a checkpoint hold, read before transformers does: whole files, and every expert there once.

Stacking experts goes by their order, not by their numbers: with expert 0 missing, each one would answer for the one
before it, and nothing that is measured on the loaded model would show it.
"""

from __future__ import annotations

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
    """Raise EngineError for the first file of a model's folder that is no more than a pointer, empty or cut off.

    Returns what `read_shapes` does, which sees the most of it.
    """
    for file in sorted(folder.iterdir()):
        if file.suffix in _KINDS and file.is_file() and file.stat().st_size <= _LARGEST_POINTER:
            _refuse_pointer(file)
    return read_shapes(folder)


def read_shapes(folder: Path) -> Shapes:
    """Return the shape of each weight in the safetensors files of a model's folder; nothing where it has none.

    Raises EngineError for a file that is not there, empty, cut off, or of another kind.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in _files(folder):
        _refuse_pointer(file)
        try:
            shapes.update(shapes_of(read_header(file)))
        except WeightsError as error:
            raise EngineError(f"{file.name} {error}; download it again") from error
    return shapes


def refuse_wrong_experts(names: Iterable[str], count: int | None = None) -> None:
    """Raise EngineError unless the experts in a checkpoint's `names` are numbered from 0 on, each projection's.

    `count` is the number of experts that the model has, where it is known.
    """
    places: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        if found := _EXPERT.match(name):
            places[found["place"]][found["part"]].add(int(found["number"]))
    for place, parts in sorted(places.items()):
        for part, numbers in sorted(parts.items()):
            # Some families have experts that lack a projection, so only its own numbers say how many there are.
            wanted = set(range(count or 1 + max(numbers)))
            if numbers != wanted:
                raise EngineError(
                    f"{place}: {_difference(numbers, wanted)} in the checkpoint ({part}): it holds {len(numbers)} "
                    f"where {len(wanted)} are expected, 0 to {max(wanted)}; download the checkpoint again, "
                    "or correct the number of experts in config.json"
                )


def refuse_unlike_experts(shapes: Shapes) -> None:
    """Raise EngineError for the first expert whose weights have another shape than those of its neighbours."""
    first: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}
    for name in sorted(shapes):
        found = _EXPERT.match(name)
        if found is None or not found["part"].endswith(("weight", "bias")):
            continue
        other, shape = first.setdefault((found["place"], found["part"]), (name, shapes[name]))
        if shapes[name] != shape:
            raise EngineError(
                f"{name} is {shown(shapes[name])} in the checkpoint and {other} is {shown(shape)}, "
                "the experts of a layer must be alike; download the checkpoint again"
            )


def shown(shape: Iterable[int]) -> str:
    """Return a shape as a sentence has it."""
    return " x ".join(str(size) for size in shape) or "a number"


def _difference(numbers: set[int], wanted: set[int]) -> str:
    missing, more = sorted(wanted - numbers), sorted(numbers - wanted)
    said = [f"expert {missing[0]} is missing"] if missing else []
    said += [f"expert {more[0]} is one too many"] if more else []
    return " and ".join(said)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the safetensors files that transformers reads."""
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
