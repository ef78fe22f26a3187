"""Adapters found in folders, in French: the list, and which one `auto` took and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pytest_jarvis.inputs.adapters import ADAPTER_CONFIG, WEIGHT_FILES, FoundAdapter, Problem
from pytest_jarvis.render.french.formats import DASH, count_of, plural, printable, size, typeset

_PROBLEMS: Final[Mapping[Problem, str]] = {
    "no_weights": f"poids absents (ni {' ni '.join(WEIGHT_FILES)})",
    "no_config": f"{ADAPTER_CONFIG} absent",
    "bad_config": f"{ADAPTER_CONFIG} illisible",
    "bad_value": f"{ADAPTER_CONFIG} porte une valeur inutilisable",
    "not_lora": "ce n’est pas une LoRA",
    "variant": "variante de LoRA qui ne se compare pas à sa base sur les mêmes poids",
    "pointer": "un pointeur Git LFS tient lieu de poids (« git lfs pull » les apporte)",
    "cut": "poids tronqués ou abîmés : copie ou écriture inachevée",
    "no_lora": "les poids de LoRA annoncés manquent dans le fichier, ou sont vides",
    "other_base": "entraîné sur une autre base",
}

_SAVE: Final = "enregistrez de nouveau l’adaptateur avec save_pretrained de peft"
GIVE: Final = "donnez le dossier qu’a écrit save_pretrained de peft"
_REMEDIES: Final[Mapping[Problem, str]] = {
    "no_weights": f"copiez aussi le fichier des poids, ou {GIVE}",
    "no_config": f"copiez aussi {ADAPTER_CONFIG}, ou {GIVE}",
    "bad_config": f"recopiez ce fichier, ou {_SAVE}",
    "bad_value": f"corrigez cette valeur, ou {_SAVE}",
    "not_lora": "entraînez une LoRA (LoraConfig de peft) : rien d’autre ne s’attache ici",
    "variant": "entraînez une LoRA simple, ou donnez un autre adaptateur",
    "pointer": "",
    "cut": "recopiez le fichier depuis sa source",
    "no_lora": f"recopiez ensemble la configuration et les poids depuis leur source, ou {_SAVE}",
    "other_base": "choisissez sa base avec --jarvis-model ou, si c’est la même, corrigez base_model_name_or_path",
}
"""What mends a problem; what is said of a pointer says it already."""


def chosen_adapter(values: Mapping[str, Any]) -> str:
    """Return which adapter `auto` took, and why that one, from the values of its note."""
    of = "le seul utilisable"
    if values["usable"] > 1:
        of = f"le plus récent ({moment(values['modified_s'])}) de {values['usable']} utilisables"
    return f"adaptateur « {printable(values['arm'])} » choisi par « auto » : {printable(values['folder'])}, {of}"


def passed_over(values: Mapping[str, Any]) -> str:
    """Return which younger adapter could not be taken, and why, from the values of its note."""
    return f"plus récent mais écarté : {printable(values['folder'])} ({problem_of(values)})"


def list_lines(
    found: Sequence[FoundAdapter], digests: Mapping[Path, str], folders: Sequence[Path], absent: Sequence[Path] = ()
) -> list[str]:
    """Return the adapters of some folders, the newest first: two lines each, then their number.

    Where there are none, what to do; `absent` are the folders that are not there.
    """
    if not found:
        return _none_lines(folders, absent)
    lines: list[str] = []
    for adapter in found:
        mark = "✗" if adapter.problem else "✓"
        lines.append(f"{mark} {printable(adapter.name) or DASH}   {path(adapter.folder)}")
        lines.append(f"    {_facts(adapter, digests.get(adapter.folder))}")
    where = ", ".join(path(folder) for folder in folders)
    whole = sum(adapter.problem is None for adapter in found)
    counted = f"{plural(whole, 'adaptateur utilisable', 'adaptateurs utilisables')} sur {len(found)}"
    return [typeset(line) for line in [*lines, f"{counted} sous {where}"]]


def problem_of(values: Mapping[str, Any]) -> str:
    """Return why an adapter cannot be used, from `FoundAdapter.problem_values`."""
    said = _PROBLEMS[values["problem"]]
    if "key" in values:
        return f"{said} : {values['key']} vaut {printable(values['found'])}"
    return f"{said}, ligne {values['line']}, colonne {values['column']}" if "line" in values else said


def problem_and_remedy(adapter: FoundAdapter, problem: Problem) -> str:
    """Return why an adapter cannot be used, and what to do."""
    said = problem_of(adapter.problem_values(problem))
    if problem == "other_base":
        said += f" ({printable(adapter.base or DASH)})"
    return f"{said} ; {_REMEDIES[problem]}" if _REMEDIES[problem] else said


def moment(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as day and time of this machine's zone."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC).astimezone():%d/%m/%Y %H:%M}"


def path(folder: Path) -> str:
    """Return a path on one line."""
    return printable(str(folder))


def _none_lines(folders: Sequence[Path], absent: Sequence[Path]) -> list[str]:
    missing = ", ".join(path(folder) for folder in absent)
    told = f" (dossiers absents : {missing})" if missing else ""
    if absent and len(absent) == len(folders):
        told = " : ce dossier n’existe pas" if len(folders) == 1 else " : aucun de ces dossiers n’existe"
    return [
        typeset(f"Aucun adaptateur sous {', '.join(path(folder) for folder in folders)}{told}"),
        typeset(
            "    Ailleurs : pytest-jarvis adapters DOSSIER, ou model.adapter_folders de la configuration. "
            "Pour en donner un : --jarvis-adapter DOSSIER (demo:jarvis et demo:faible viennent avec le plugin)"
        ),
    ]


def _facts(adapter: FoundAdapter, digest: str | None) -> str:
    if adapter.problem is not None:
        return problem_and_remedy(adapter, adapter.problem)
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
