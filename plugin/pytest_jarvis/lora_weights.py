"""Whether an adapter's weights are those of its configuration, by names and shapes alone; nothing is loaded.

Only what no base could make right is told: peft itself would refuse the file, after the minutes that a base takes to
load. A name in `target_modules` that the file lacks is no such thing: recipes list the names of several families.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal

from pytest_jarvis.lora_config import asks_for
from pytest_jarvis.weight_files import Shapes

MismatchKind = Literal["no_lora", "empty", "half", "halves", "rank", "targets", "lacks", "more"]

_LORA: Final = ".lora_"
_HALF: Final = re.compile(r"(?P<module>.+)\.lora_(?P<part>(?:embedding_)?[AB])(?:\.weight)?")
_PREFIX: Final = "base_model.model."
"""What peft puts before the name of a module of the base."""
_SWITCHES: Final[Mapping[str, str]] = {"use_dora": ".lora_magnitude_vector", "lora_bias": ".lora_B.bias"}
"""Flag of a configuration -> what the names of the weights that it adds to every module hold."""
_DEFAULT_RANK: Final = 8
"""Of peft, for a configuration without `r`."""
_MOST_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One thing in which an adapter's file and its configuration contradict each other, or the file itself."""

    kind: MismatchKind
    key: str
    """A weight of the file, or a key of the configuration."""
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        """Return the mismatch as a part of a sentence in English."""
        return _SAID[self.kind].format(key=self.key, found=self.found, wanted=self.wanted)


_SAID: Final[Mapping[MismatchKind, str]] = {
    "no_lora": "its file lacks every weight of a LoRA, and {key} is {wanted}",
    "empty": "{key} holds no number ({found})",
    "half": "its file lacks {wanted}, which goes with {key}",
    "halves": "{key} is of rank {found}, and its lora_B is of rank {wanted}",
    "rank": "{key} is of rank {found}, and its adapter_config.json says {wanted}",
    "targets": "its file holds weights for {found}, and target_modules is {wanted}",
    "lacks": "its file lacks {wanted}, and {key} is true",
    "more": "its file holds {found}, and {key} is not true",
}


def first_mismatch(config: Mapping[str, Any], shapes: Shapes) -> Mismatch | None:
    """Return the first thing in which a LoRA's configuration and the shapes of its file contradict each other.

    None where nothing does. The configuration has to be one without a fault.
    """
    if asks_for(config, "use_bdlora"):
        return None  # its matrices are in blocks, and smaller than their rank
    return next(_mismatches(config, {key: shape for key, shape in shapes.items() if _LORA in key}), None)


def _mismatches(config: Mapping[str, Any], lora: Shapes) -> Iterator[Mismatch]:
    if not lora:
        for key in ("target_modules", "target_parameters"):
            if config.get(key):
                yield Mismatch(kind="no_lora", key=key, wanted=_few(_listed(config[key])))
        return
    # Training in parts (DeepSpeed ZeRO-3) is known to save such weights.
    for key, shape in lora.items():
        if prod(shape) == 0:
            yield Mismatch(kind="empty", key=key, found=" x ".join(map(str, shape)))
    yield from _halves(config, lora)
    yield from _targets(config, {key.partition(_LORA)[0].removeprefix(_PREFIX) for key in lora})
    for flag, part in _SWITCHES.items():
        with_it = [key for key in lora if part in key]
        if config.get(flag) and not with_it:
            yield Mismatch(kind="lacks", key=flag, wanted=part.removeprefix("."))
        elif with_it and not config.get(flag):
            yield Mismatch(kind="more", key=flag, found=with_it[0])


def _halves(config: Mapping[str, Any], lora: Shapes) -> Iterator[Mismatch]:
    """Yield what is wrong with the ranks of the two matrices of a module: (rank, in) and (out, rank)."""
    for key, shape in sorted(lora.items()):
        half = _HALF.fullmatch(key)
        if half is None:
            continue
        name = f"lora_{half['part']}"
        other = key.replace(f".{name}", f".{name[:-1]}{'B' if name[-1] == 'A' else 'A'}")
        if other not in lora:
            yield Mismatch(kind="half", key=key, wanted=other)
        elif name[-1] == "A" and len(shape) == len(lora[other]) == 2:
            yield from _ranks(config, key, half["module"].removeprefix(_PREFIX), shape[0], lora[other][1])


def _ranks(config: Mapping[str, Any], key: str, module: str, rows: int, columns: int) -> Iterator[Mismatch]:
    if rows != columns:
        yield Mismatch(kind="halves", key=key, found=str(rows), wanted=str(columns))
    wanted = _rank_of(config, module)
    if rows == wanted:
        return
    if config.get("target_parameters") and not _is_target(config, module):
        # A parameter of the module, of any name: as many ranks as there are experts, which the base alone knows.
        ranks = sorted({_rank(config), *(config.get("rank_pattern") or {}).values()})
        if all(rows % rank for rank in ranks):
            yield Mismatch(kind="rank", key=key, found=str(rows), wanted=f"{_few(map(str, ranks))} for each expert")
        return
    yield Mismatch(kind="rank", key=key, found=str(rows), wanted=str(wanted))


def _rank_of(config: Mapping[str, Any], module: str) -> int:
    """Return the rank that peft gives a module: by the first pattern that its name ends with, else `r`."""
    for pattern, rank in (config.get("rank_pattern") or {}).items():
        try:
            found = re.match(rf"(.*\.)?({pattern})$", module)
        except re.error:
            found = None  # flags in the middle: peft itself says so
        if found:
            return int(rank)
    return _rank(config)


def _rank(config: Mapping[str, Any]) -> int:
    return int(config.get("r", _DEFAULT_RANK))


def _targets(config: Mapping[str, Any], modules: set[str]) -> Iterator[Mismatch]:
    """Yield that the file holds weights for modules that the configuration does not name."""
    wanted = config.get("target_modules")
    if not wanted or config.get("target_parameters") or config.get("ensure_weight_tying"):
        return
    others = sorted(module for module in modules if not _is_target(config, module))
    # A pattern may be written for the names of another version of transformers, which peft translates.
    if others and (not isinstance(wanted, str) or len(others) == len(modules)):
        yield Mismatch(kind="targets", key="target_modules", found=_few(others), wanted=_few(_listed(wanted)))


def _is_target(config: Mapping[str, Any], module: str) -> bool:
    wanted = config.get("target_modules") or ()
    if isinstance(wanted, str):
        return wanted.lower() == "all-linear" or re.fullmatch(wanted, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in wanted)


def _listed(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else sorted(names)


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_MOST_SHOWN]) + (
        f" and {len(listed) - _MOST_SHOWN} more" if len(listed) > _MOST_SHOWN else ""
    )
