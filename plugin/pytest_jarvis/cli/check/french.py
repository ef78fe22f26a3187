"""French sentences of `pytest-jarvis check`: one function for each kind of finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_jarvis.render.french.formats import DASH, count_of, plural, printable, size, typeset
from pytest_jarvis.render.french.notes import problem_and_remedy
from pytest_jarvis.render.french.words import word

if TYPE_CHECKING:
    from pytest_jarvis.cli.check.environment import Gpu, Requirement, TorchBuild
    from pytest_jarvis.cli.check.findings import Finding
    from pytest_jarvis.engines.footprint import MemoryNeed
    from pytest_jarvis.inputs.adapters import FoundAdapter, Problem
    from pytest_jarvis.inputs.base_model import BaseFiles
    from pytest_jarvis.types import AdapterSpec


STEPS: Final = (
    "Python",
    "PyTorch et CUDA",
    "Dépendances Python",
    "Dossiers",
    "Adaptateurs LoRA",
    "Configuration d’ensemble",
)
MARKS: Final = {"ok": "✓", "warning": "⚠", "error": "✗"}
NOT_INSTALLED: Final = "pytest-jarvis n’est pas installé dans cet environnement : ses dépendances ne sont pas connues"
UNCHECKED: Final = "pas vérifié : la configuration ne se lit pas (étape 6)"
NO_ADAPTER: Final = "A/A : la base contre elle-même, sans adaptateur"


def check_lines(findings: Sequence[Finding]) -> list[str]:
    """Return the steps, their findings with the commands that fix them, and a summary."""
    lines: list[str] = []
    for number, title in enumerate(STEPS, start=1):
        lines.append(f"{number}. {title}")
        for finding in findings:
            if finding.step == number:
                lines.append(f"   {MARKS[finding.status]} {finding.text}")
                lines += [f"       → {printable(finding.command)}"] if finding.command else []
    errors = sum(finding.status == "error" for finding in findings)
    warnings = sum(finding.status == "warning" for finding in findings)
    told = f" ({plural(warnings, 'avertissement')})" if warnings else ""
    end = f"{plural(errors, 'point à corriger', 'points à corriger')}{told}." if errors else f"Tout est prêt{told}."
    return [*(typeset(line) for line in lines), "", typeset(end)]


def python(version: str, least: str, path: str) -> str:
    return f"Python {version} (il faut {least} au moins), {path}"


def torch(build: TorchBuild | None) -> str:
    if build is None:
        return "torch n’est pas installé : aucun modèle ne peut être chargé ici"
    return f"torch {build.version} ({f'CUDA {build.cuda}' if build.cuda else 'sans CUDA, pour le processeur seul'})"


def gpus(count: int, hidden: str | None) -> str:
    if count:
        return f"{plural(count, 'GPU', 'GPU')} NVIDIA"
    why = f" (CUDA_VISIBLE_DEVICES={hidden!r})" if hidden is not None else ""
    return f"aucun GPU NVIDIA n’est visible{why} : tout sera calculé sur le processeur, en 32 bits"


def gpu(one: Gpu) -> str:
    free = f"{size(one.total_bytes)}, dont {size(one.free_bytes)} libres"
    return f"GPU {one.index} : {one.name}, {free}, pilote {one.driver}"


def no_cuda(count: int) -> str:
    verb = "servira" if count < 2 else "serviront"
    return f"ce torch est sans CUDA : {plural(count, 'GPU', 'GPU')} ne {verb} à rien"


def old_driver(driver: str, cuda: str | None, least: int) -> str:
    needed = f"il faut {least} au moins, https://www.nvidia.com/drivers"
    return f"le pilote NVIDIA {driver} est trop ancien pour CUDA {cuda} : {needed}"


def deep(devices: Sequence[str], problem: str | None) -> str:
    if problem:
        return f"un calcul en 4 bits échoue : {problem}"
    return f"un calcul en 4 bits est juste sur : {', '.join(devices)}"


def package(one: Requirement) -> str:
    asked = f" (il faut {one.asked})" if one.asked else ""
    return f"{one.name} {one.installed or 'n’est pas installé'}{asked}"


def bad_prompts(problem: str) -> str:
    return f"prompts : {problem}"


def prompts(folder: str, *, categories: int, prompts: int, tools: int) -> str:
    counts = f"{plural(categories, 'catégorie')}, {plural(prompts, 'prompt')}, {plural(tools, 'outil')}"
    return f"prompts : {folder}, {counts}"


def folder(name: str, place: str, free_bytes: int, *, there: bool) -> str:
    what = {"folder.reports": "rapports", "folder.cache": "cache des modèles"}[name]
    return f"{what} : {place}{'' if there else ' (sera créé)'}, {size(free_bytes)} libres sur ce disque"


def adapter_folder(folder: str, count: int | None) -> str:
    if count is None:
        return f"adaptateurs : {folder} n’existe pas"
    return f"adaptateurs : {folder}, {plural(count, 'adaptateur')}"


def bad_adapters(problem: str) -> str:
    return f"adaptateurs : {problem}"


def absent_adapter(spec: AdapterSpec, known: Sequence[str]) -> str:
    why = f"inconnu ; connus : {', '.join(known)}" if known else f"pas de tel dossier ; {word('adapters.give')}"
    return f"{spec.name} : {spec.source}, {why}"


def adapter(spec: AdapterSpec, found: FoundAdapter, problem: Problem | None) -> str:
    said = f"{spec.name} : {spec.source}"
    if problem is not None:
        return f"{said}, {problem_and_remedy(found, problem)}"
    weights = f", {count_of(found.parameters)} poids" if found.parameters is not None else ""
    rank = DASH if found.rank is None else found.rank
    return f"{said}, rang {rank}, {', '.join(found.targets)}{weights}, {size(found.size_bytes)}"


def served_adapter(spec: AdapterSpec) -> str:
    return f"{spec.name} : un nom du serveur ({spec.source}), que le serveur seul peut vérifier"


def bad_config(problem: str) -> str:
    return f"configuration : {problem}"


def config(file: str | None) -> str:
    return f"configuration : {file or 'aucun fichier, tout est par défaut'}"


def engine(name: str, base_url: str | None, *, lacking: bool) -> str:
    said = f"le moteur « {name} » ne charge aucun modèle ici"
    if lacking:
        return f"{said}, et il lui faut l’adresse d’un serveur : --jarvis-base-url URL, ou model.base_url"
    return f"{said} : {base_url} sera interrogé" if base_url else said


def files(model: str, base: BaseFiles) -> str:
    if base.place == "demo" and base.size_bytes:
        return f"modèle : {model}, le modèle de démonstration embarqué, {size(base.size_bytes)}"
    if base.place == "impossible":
        return f"modèle : {model} n’est ni un dossier d’ici, ni un nom du hub (tel que Qwen/Qwen3-30B-A3B)"
    if not base.size_bytes:
        return f"modèle : {base.folder} ne contient pas de modèle entier (config.json et tous ses poids)"
    return f"modèle : {model}, {size(base.size_bytes)} dans {base.folder}"


def gguf(model: str, size_bytes: int, folder: str | None, *, lacking: bool) -> str:
    said = f"modèle : {model}, un GGUF ({size(size_bytes)})"
    if lacking:
        return f"{said}, et il manque gguf pour le lire"
    return f"{said}, déjà relu en 16 bits dans {folder}" if folder else f"{said}, qui sera relu une fois en 16 bits"


def no_quantizer(method: str, missing: Sequence[str]) -> str:
    return f"modèle : ses poids sont quantifiés par {method}, et il manque {', '.join(missing)} pour les lire"


def bad_template(lacking: str) -> str:
    if lacking == "template":
        return "modèle : son tokenizer n’a pas de gabarit de conversation ; generation.template « raw » s’en passe"
    what = "n’énumère pas les outils" if lacking == "tools" else f"n’appelle pas les outils par {lacking}"
    return f"modèle : son gabarit de conversation {what}, ce que --jarvis-tools (generation.tools) demande"


def offline(model: str) -> str:
    return f"{_not_whole(model)}, et HF_HUB_OFFLINE interdit de le télécharger"


def disk(model: str, needed: int | None, free_bytes: int, cache: str) -> str:
    said, free = _not_whole(model), f"{size(free_bytes)} libres dans {cache}"
    if needed is None:
        return f"{said} : il sera téléchargé (taille inconnue), {free}"
    if needed > free_bytes:
        room = f"{size(needed)} à télécharger, {free} ; libérez de la place ou donnez un autre dossier par HF_HOME"
        return f"{said}, et le disque est trop petit : {room}"
    return f"{said} : {size(needed)} seront téléchargés, {free}"


def rough_memory(needed: int | None, free: int | None, *, on_gpu: bool) -> str:
    if needed is None:
        unknown = "besoin inconnu (pas de config.json d’une famille connue)"
        return f"{_memory(on_gpu=on_gpu)} : {_free(free)} ; {unknown}"
    return f"{_memory(on_gpu=on_gpu)} : environ {size(needed)} pour les poids, {_free(free)}"


def memory(need: MemoryNeed, rows: int, most: int, free: int | None, *, on_gpu: bool) -> str:
    parts = [f"bibliothèques {size(need.libraries)}"] if need.libraries else []
    parts.append(f"poids {size(need.weights)}")
    parts += [f"copies déquantifiées {size(need.copies)}"] if need.copies else []
    parts += [f"adaptateurs {size(need.adapters)}"] if need.adapters else []
    parts += [f"experts lus {size(need.workspace)}"] if need.workspace else []
    parts.append(f"{size(need.row)} par réponse d’un lot")
    needed = f"il faut {size(need.total(rows))} pour des lots de {rows} ({', '.join(parts)})"
    said = f"{_memory(on_gpu=on_gpu)} : {needed}, {_free(free)}"
    fitting = rows if free is None else need.max_rows(free)
    if fitting >= rows:
        longest = f"{said} ; jusqu’à {size(need.fixed + most * need.row)} pour des lots de {most} longues réponses"
        return longest if most > rows else said
    less = "un autre modèle, une carte plus grande, plusieurs GPU, ou d’autres programmes à fermer"
    return f"{said} : {f'des lots de {fitting} tiendraient (generation.batch_size)' if fitting else less}"


def time(bytes_per_step: int, *, demo: bool) -> str:
    if demo:
        return "sur le processeur : le modèle de démonstration est fait pour cela"
    return (
        f"sur le processeur, chaque pas d’un lot relit jusqu’à {size(bytes_per_step)} de poids en 32 bits : "
        "attendez-vous à une durée sans commune mesure avec celle d’un GPU, et relevez generation.timeout_s"
    )


def _not_whole(model: str) -> str:
    return f"modèle : {model} n’est pas entier sur cette machine"


def _memory(*, on_gpu: bool) -> str:
    return f"mémoire {'des GPU' if on_gpu else 'vive'}"


def _free(free_bytes: int | None) -> str:
    return "inconnue" if free_bytes is None else f"{size(free_bytes)} libres"
