"""Adapters found in folders, in French: the list, and which one `auto` took and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pytest_jarvis.discovery import ADAPTER_CONFIG, WEIGHT_FILES, Detection, FoundAdapter, Problem
from pytest_jarvis.lora_config import Fault, Wanted
from pytest_jarvis.outputs.wording.formats import DASH, count_of, plural, printable, size, typeset

_PROBLEMS: Final[Mapping[Problem, str]] = {
    "no_weights": f"poids absents (ni {' ni '.join(WEIGHT_FILES)})",
    "no_config": f"{ADAPTER_CONFIG} absent",
    "bad_config": f"{ADAPTER_CONFIG} illisible",
    "bad_value": f"{ADAPTER_CONFIG} porte une valeur inutilisable",
    "not_lora": "ce n’est pas une LoRA",
    "variant": "variante de LoRA qui ne se compare pas à sa base sur les mêmes poids",
    "pointer": "un pointeur Git LFS tient lieu de poids (« git lfs pull » les apporte)",
    "cut": "poids tronqués ou abîmés : copie ou écriture inachevée",
    "other_base": "entraîné sur une autre base",
}


_WANTED: Final[Mapping[Wanted, str]] = {
    "rank": "un nombre entier à partir de 1",
    "number": "un nombre",
    "share": "un nombre de 0 inclus à 1 exclu",
    "flag": "true ou false",
    "names": "une liste de noms",
    "regex or names": "une liste de noms ou une expression régulière",
    "ranks": "une table de noms avec des nombres entiers à partir de 1",
    "numbers": "une table de noms avec des nombres",
    "layers": "un numéro de couche ou une liste de tels numéros",
    "tokens": "une liste de numéros de jetons, ou une table de noms avec de telles listes",
    "bias": "« none », « all » ou « lora_only »",
    "init": "true, false ou le nom d’une méthode",
    "plain": "une LoRA qui laisse sa base telle quelle",
}


def detection_sentence(detection: Detection) -> str:
    """Return which adapter was taken, and why that one."""
    chosen = detection.chosen
    of = "le seul utilisable"
    if detection.usable > 1:
        of = f"le plus récent ({moment(chosen.modified_s)}) de {detection.usable} utilisables"
    said = f"adaptateur « {printable(detection.arm)} » choisi par « auto » : {path(chosen.folder)}, {of}"
    if detection.passed_over:
        others = ", ".join(
            f"{path(found.folder)} ({problem_of(problem, found.broken_at, found.fault)})"
            for found, problem in detection.passed_over
        )
        said += f" ; plus récents mais écartés : {others}"
    return typeset(said)


def list_lines(found: Sequence[FoundAdapter], digests: Mapping[Path, str], folders: Sequence[Path]) -> list[str]:
    """Return the adapters of some folders, the newest first: two lines each, then their number."""
    lines: list[str] = []
    for adapter in found:
        mark = "✗" if adapter.problem else "✓"
        lines.append(f"{mark} {printable(adapter.name) or DASH}   {path(adapter.folder)}")
        lines.append(f"    {_facts(adapter, digests.get(adapter.folder))}")
    where = ", ".join(path(folder) for folder in folders)
    whole = sum(adapter.problem is None for adapter in found)
    counted = f"{plural(whole, 'adaptateur utilisable', 'adaptateurs utilisables')} sur {len(found)}"
    return [
        typeset(line) for line in [*lines, f"{counted} sous {where}" if found else f"Aucun adaptateur sous {where}"]
    ]


def problem_of(problem: Problem, broken_at: tuple[int, int] | None, fault: Fault | None) -> str:
    """Return why an adapter cannot be used.

    `broken_at` is the place where its configuration stops being JSON, `fault` its first value that cannot be used.
    """
    if fault is not None:
        return f"{ADAPTER_CONFIG} : {fault.key} vaut {printable(fault.found)} (attendu : {_WANTED[fault.wanted]})"
    if broken_at is None:
        return _PROBLEMS[problem]
    return f"{_PROBLEMS[problem]}, ligne {broken_at[0]}, colonne {broken_at[1]}"


def moment(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as day and time of this machine's zone."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC).astimezone():%d/%m/%Y %H:%M}"


def path(folder: Path) -> str:
    """Return a path on one line."""
    return printable(str(folder))


def _facts(adapter: FoundAdapter, digest: str | None) -> str:
    if adapter.problem is not None:
        return problem_of(adapter.problem, adapter.broken_at, adapter.fault)
    parts = [
        f"base {printable(adapter.base) if adapter.base else DASH}",
        f"rang {adapter.rank if adapter.rank is not None else DASH}",
        printable(", ".join(adapter.targets)) or DASH,
        size(adapter.size_bytes),
        f"{count_of(adapter.parameters)} poids" if adapter.parameters is not None else "",
        moment(adapter.modified_s),
        f"sha256 {digest[:16]}" if digest else "",
    ]
    return " | ".join(part for part in parts if part)
