"""What `pytest-jarvis check` says, in French: six numbered steps, a line for each finding, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.render.french.adapters import GIVE, detection_sentence, problem_and_remedy
from pytest_jarvis.render.french.formats import DASH, count_of, plural, printable, size, typeset

if TYPE_CHECKING:
    from pytest_jarvis.cli.check.findings import Finding


Values = Mapping[str, Any]

STEPS: Final = (
    "Python",
    "PyTorch et CUDA",
    "Dépendances Python",
    "Dossiers",
    "Adaptateurs LoRA",
    "Configuration d’ensemble",
)
MARKS: Final = {"ok": "✓", "warning": "⚠", "error": "✗"}


def check_lines(findings: Sequence[Finding]) -> list[str]:
    """Return the check for a reader: steps, findings with what mends them, and the end."""
    lines: list[str] = []
    for number, title in enumerate(STEPS, start=1):
        lines.append(f"{number}. {title}")
        for finding in findings:
            if finding.step == number:
                lines.append(f"   {MARKS[finding.status]} {finding_sentence(finding)}")
                lines += [f"       → {printable(finding.command)}"] if finding.command else []
    errors = sum(finding.status == "error" for finding in findings)
    warnings = sum(finding.status == "warning" for finding in findings)
    told = f" ({plural(warnings, 'avertissement')})" if warnings else ""
    end = f"{plural(errors, 'point à corriger', 'points à corriger')}{told}." if errors else f"Tout est prêt{told}."
    return [*(typeset(line) for line in lines), "", typeset(end)]


def finding_sentence(finding: Finding) -> str:
    """Return one finding as a sentence; the command that mends it stands apart."""
    kind = finding.name if finding.name in _SENTENCES else finding.name.partition(".")[0]
    return typeset(printable(_SENTENCES[kind](finding.values)))


def _python(values: Values) -> str:
    return f"Python {values['version']} (il faut {values['least']} au moins), {values['path']}"


def _torch(values: Values) -> str:
    if values["version"] is None:
        return "torch n’est pas installé : aucun modèle ne peut être chargé ici"
    built = f"CUDA {values['cuda']}" if values["cuda"] else "sans CUDA, pour le processeur seul"
    return f"torch {values['version']} ({built})"


def _gpus(values: Values) -> str:
    if values["count"]:
        return f"{plural(values['count'], 'GPU', 'GPU')} NVIDIA"
    why = f" (CUDA_VISIBLE_DEVICES={values['hidden']!r})" if values["hidden"] is not None else ""
    return f"aucun GPU NVIDIA n’est visible{why} : tout sera calculé sur le processeur, en 32 bits"


def _gpu(values: Values) -> str:
    return (
        f"GPU {values['index']} : {values['name']}, {size(values['total_bytes'])}, dont {size(values['free_bytes'])} "
        f"libres, pilote {values['driver']}"
    )


def _no_cuda(values: Values) -> str:
    verb = "servira" if values["count"] < 2 else "serviront"
    return f"ce torch est sans CUDA : {plural(values['count'], 'GPU', 'GPU')} ne {verb} à rien"


def _driver(values: Values) -> str:
    return (
        f"le pilote NVIDIA {values['driver']} est trop ancien pour CUDA {values['cuda']} : "
        f"il faut {values['least']} au moins, https://www.nvidia.com/drivers"
    )


def _deep(values: Values) -> str:
    if values["problem"]:
        return f"un calcul en 4 bits échoue : {values['problem']}"
    return f"un calcul en 4 bits est juste sur : {', '.join(values['devices'])}"


def _packages(values: Values) -> str:  # noqa: ARG001  # the shape of all sentences
    return "pytest-jarvis n’est pas installé dans cet environnement : ses dépendances ne sont pas connues"


def _package(values: Values) -> str:
    asked = f" (il faut {values['asked']})" if values["asked"] else ""
    return f"{values['name']} {values['installed'] or 'n’est pas installé'}{asked}"


def _unchecked(values: Values) -> str:  # noqa: ARG001
    return "pas vérifié : la configuration ne se lit pas (étape 6)"


def _prompts(values: Values) -> str:
    if "problem" in values:
        return f"prompts : {values['problem']}"
    return (
        f"prompts : {values['folder']}, {plural(values['categories'], 'catégorie')}, "
        f"{plural(values['prompts'], 'prompt')}, {plural(values['tools'], 'outil')}"
    )


def _reports(values: Values) -> str:
    return f"rapports : {_place(values)}"


def _cache(values: Values) -> str:
    return f"cache des modèles : {_place(values)}"


def _place(values: Values) -> str:
    later = "" if values["there"] else " (sera créé)"
    return f"{values['folder']}{later}, {size(values['free_bytes'])} libres sur ce disque"


def _adapter_folder(values: Values) -> str:
    if values["found"] is False:
        return f"adaptateurs : {values['folder']} n’existe pas"
    return f"adaptateurs : {values['folder']}, {plural(values['found'], 'adaptateur')}"


def _auto(values: Values) -> str:
    return detection_sentence(values["detection"])


def _no_adapter(values: Values) -> str:  # noqa: ARG001
    return "A/A : la base contre elle-même, sans adaptateur"


def _adapters(values: Values) -> str:
    return f"adaptateurs : {values['problem']}"


def _adapter(values: Values) -> str:
    said = f"{values['name']} : {values['source']}"
    problem = values["problem"]
    if problem == "absent":
        known = values["known"]
        return f"{said}, " + (f"inconnu ; connus : {', '.join(known)}" if known else f"pas de tel dossier ; {GIVE}")
    if problem is not None:
        return f"{said}, {problem_and_remedy(values['adapter'], problem)}"
    weights = f", {count_of(values['parameters'])} poids" if values["parameters"] is not None else ""
    rank = DASH if values["rank"] is None else values["rank"]
    return f"{said}, rang {rank}, {', '.join(values['targets'])}{weights}, {size(values['size_bytes'])}"


def _config(values: Values) -> str:
    if "problem" in values:
        return f"configuration : {values['problem']}"
    return f"configuration : {values['file'] or 'aucun fichier, tout est par défaut'}"


def _served(values: Values) -> str:
    return f"{values['name']} : un nom du serveur ({values['source']}), que le serveur seul peut vérifier"


def _engine(values: Values) -> str:
    said = f"le moteur « {values['engine']} » ne charge aucun modèle ici"
    if values["lacking"]:
        return f"{said}, et il lui faut l’adresse d’un serveur : --jarvis-base-url URL, ou model.base_url"
    return f"{said} : {values['base_url']} sera interrogé" if values["base_url"] else said


def _files(values: Values) -> str:
    if values["place"] == "demo" and values["size_bytes"]:
        return f"modèle : {values['model']}, le modèle de démonstration embarqué, {size(values['size_bytes'])}"
    if values["place"] == "impossible":
        return f"modèle : {values['model']} n’est ni un dossier d’ici, ni un nom du hub (tel que Qwen/Qwen3-30B-A3B)"
    if not values["size_bytes"]:
        return f"modèle : {values['folder']} ne contient pas de modèle entier (config.json et tous ses poids)"
    return f"modèle : {values['model']}, {size(values['size_bytes'])} dans {values['folder']}"


def _disk(values: Values) -> str:
    needed, free = values["needed_bytes"], size(values["free_bytes"])
    said = f"modèle : {values['model']} n’est pas entier sur cette machine"
    if values["offline"]:
        return f"{said}, et HF_HUB_OFFLINE interdit de le télécharger"
    if needed is None:
        return f"{said} : il sera téléchargé (taille inconnue), {free} libres dans {values['cache']}"
    if values["short"]:
        return (
            f"{said}, et le disque est trop petit : {size(needed)} à télécharger, {free} libres dans "
            f"{values['cache']} ; libérez de la place ou donnez un autre dossier par HF_HOME"
        )
    return f"{said} : {size(needed)} seront téléchargés, {free} libres dans {values['cache']}"


def _memory(values: Values) -> str:
    where = "des GPU" if values["on_gpu"] else "vive"
    there = "inconnue" if values["free_bytes"] is None else f"{size(values['free_bytes'])} libres"
    if values["needed_bytes"] is None:
        return f"mémoire {where} : {there} ; besoin inconnu (pas de config.json d’une famille connue)"
    if not values["exact"]:
        return f"mémoire {where} : environ {size(values['needed_bytes'])} pour les poids, {there}"
    parts = [f"poids {size(values['weights_bytes'])}"]
    parts += [f"adaptateurs {size(values['adapters_bytes'])}"] if values["adapters_bytes"] else []
    parts += [f"experts lus {size(values['workspace_bytes'])}"] if values["workspace_bytes"] else []
    parts.append(f"{size(values['row_bytes'])} par réponse d’un lot")
    said = (
        f"mémoire {where} : il faut {size(values['needed_bytes'])} pour des lots de {values['rows']} "
        f"({', '.join(parts)}), {there}"
    )
    fits = values["rows_that_fit"]
    if fits is None or fits >= values["rows"]:
        return said
    less = "un autre modèle, une carte plus grande, plusieurs GPU, ou d’autres programmes à fermer"
    return f"{said} : {f'des lots de {fits} tiendraient (generation.batch_size)' if fits else less}"


def _time(values: Values) -> str:
    if values["demo"]:
        return "sur le processeur : le modèle de démonstration est fait pour cela"
    return (
        f"sur le processeur, chaque pas d’un lot relit jusqu’à {size(values['bytes_per_step'])} de poids en 32 bits : "
        "attendez-vous à une durée sans commune mesure avec celle d’un GPU, et relevez generation.timeout_s"
    )


_SENTENCES: Final[Mapping[str, Callable[[Values], str]]] = {
    "python": _python,
    "torch": _torch,
    "torch.cuda": _no_cuda,
    "torch.deep": _deep,
    "gpus": _gpus,
    "gpu": _gpu,
    "driver": _driver,
    "packages": _packages,
    "package": _package,
    "unchecked": _unchecked,
    "folder.prompts": _prompts,
    "folder.reports": _reports,
    "folder.cache": _cache,
    "folder.adapters": _adapter_folder,
    "adapters": _adapters,
    "adapter": _adapter,
    "adapter.auto": _auto,
    "adapter.none": _no_adapter,
    "adapter.served": _served,
    "config": _config,
    "engine": _engine,
    "model.files": _files,
    "model.disk": _disk,
    "model.memory": _memory,
    "model.time": _time,
}
