"""The words of `report.html`, of its script and of the charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_jarvis.render.french.formats import DASH, NBSP, percent, plural, typeset
from pytest_jarvis.render.french.words import table, word

THEMES: Final = ("Couleurs du système", "Couleurs claires", "Couleurs sombres")


CHANGE_HEADS: Final = ("Cas", "Prompt", "Pertinence", "Écart")


_SCRIPT_WORDS: Final[Mapping[str, object]] = {
    "dash": DASH,
    "base": word("page.base"),
    "themes": THEMES,
    "ascending": "Croissant ↑",
    "descending": "Décroissant ↓",
    "count": ("{n} cas sur {total}", "{n} cas sur {total}"),
    "unknownCase": "Ce cas n’est pas dans ce rapport.",
    "filtersLifted": typeset("Filtres levés : ils cachaient le cas demandé."),
    "linkToCase": "Lien vers ce cas",
    "intended": typeset("Voulu :"),
    "expectedTool": typeset("Outil attendu :"),
    "provenWorse": "Régression prouvée",
    "leaked": word("explanations.badge"),
    "pValue": typeset("Le bruit n’explique pas cette baisse : p = {p}"),
    "worse": "Régression",
    "identical": "Réponses identiques",
    "failed": "Échec",
    "keywordsLabel": "Mots-clés attendus",
    "deeds": table("labels.criteria")["deeds"],
    "echoed": "(déjà dans la commande)",
    "keywordFound": typeset("Réponses où ce mot-clé est trouvé : base {base}, {tuned_arm} {tuned}"),
    "nothingDrawn": "Aucune réponse n’a été tirée.",
    "notDrawn": "Réponse non tirée.",
    "failedAt": typeset("Échec ({stage}) :"),
    "emptyResponse": "Réponse vide",
    "thinking": "Réflexion",
    "relevance": "Pertinence",
    "keywords": "Mots-clés",
    "cosine": "Cosinus",
    "tools": typeset("Outils nommés :"),
    "choice": typeset("Choix :"),
    "tokens": (typeset("{n} token"), typeset("{n} tokens")),
    "finish": ("", "limite de tokens atteinte", "délai dépassé"),
    "cut": ("coupée de {n} caractère", "coupée de {n} caractères"),
    "others": ("{n} autre réponse par bras", "{n} autres réponses par bras"),
    "replicate": "Réponse {n}",
}


def script_words(tuned: str) -> dict[str, object]:
    """Return the words of the script; a pair is a singular and a plural. `tuned` is the name of the other arm."""
    found = str(_SCRIPT_WORDS["keywordFound"])
    return {**_SCRIPT_WORDS, "keywordFound": found.replace("{tuned_arm}", tuned)}


def responses_each(lowest: int, highest: int) -> str:
    each = str(highest) if lowest == highest else f"{lowest} à {highest}"
    return f"{each} {'réponse' if highest < 2 else 'réponses'} {word('page.per_prompt')}"


def against_random(cosine: str, adapter: str = "") -> str:
    """Return the mismatched cosine; with several adapters, that of `adapter`."""
    pair = f"de la base et de {adapter} " if adapter else ""
    return f"deux réponses {pair}{word('page.random_pairs')}{NBSP}: {cosine}"


def of_planned(responses: int) -> str:
    return f"sur {plural(responses, 'réponse prévue', 'réponses prévues')}"


def prompts_counted(count: int) -> str:
    return f"ces {plural(count, 'prompt')}"


def bar_label(min_gain: float) -> str:
    return f"seuil {percent(min_gain, 0, signed=True)}"


def key_gain(look: str, *, several: bool) -> str:
    """Return the label of the gain, with « à 4 réponses » of an early verdict; short before a name."""
    return f"Gain{look}" if look and several else f"{word('page.key_gain')}{look}"


def chart_note(shown: int, total: int) -> str:
    left_out = f" ; {shown} catégories sur {total}" if shown < total else ""
    return typeset(f"traits : intervalles{left_out}")


def with_mean(mean: str) -> str:
    return f" (moy. {mean})"


def subtitle(timestamp: str, quantization: str, device: str, adapters: int) -> str:
    when = f"{timestamp.replace('T', ' ').removesuffix('+00:00')} UTC"
    others = "" if adapters < 2 else plural(adapters, "adaptateur")
    return " · ".join(part for part in (when, quantization, device, others) if part)
