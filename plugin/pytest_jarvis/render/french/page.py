"""The words of `report.html`, of its script and of the charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_jarvis.render.french.explanations import BADGE
from pytest_jarvis.render.french.formats import DASH, NBSP, percent, plural, typeset

TITLE: Final = "Rapport JARVIS"
SKIP_TO_CASES: Final = "Aller aux cas"
NO_SCRIPT: Final = typeset("Les cas ne s’affichent pas sans JavaScript ; tout le reste du rapport est là.")
THEMES: Final = ("Couleurs du système", "Couleurs claires", "Couleurs sombres")
CHANGE_THEME: Final = typeset("Changer de couleurs : système, claires, sombres")

SECTIONS: Final[Mapping[str, str]] = {
    "verdict": "Verdict",
    "categories": "Catégories",
    "outils": "Bon outil choisi",
    "graphiques": "Graphiques",
    "changements": "Changements",
    "reponses": "Longueur et remplissage",
    "echecs": "Échecs",
    "liste": "Cas",
    "provenance": "Provenance",
}
"""The parts of the page, by their anchors."""
NAVIGATION: Final = "Parties du rapport"

DEMO_MODEL: Final = typeset("Modèle de démonstration embarqué : un modèle miniature, livré avec l’outil. ")
DEMO_MEANING: Final = typeset("Ces nombres montrent l’outil au travail ; ils ne disent rien d’un vrai JARVIS.")

NEW_PROMPTS: Final = "Nouveaux prompts"
THESE_PROMPTS_MEANING: Final = "les prompts du banc d’essai, d’autres tirages"
NEW_PROMPTS_MEANING: Final = "d’autres prompts du même genre"
GAIN_AXIS: Final = "Gain de pertinence, fine-tuné contre base"
ABSOLUTE_AXIS: Final = "Gain absolu de pertinence, en points de score"
INTERVALS_CAPTION: Final = typeset(
    "Chaque trait est l’intervalle du vrai gain, le point la valeur vue. Le gain est prouvé quand tout le trait est à "
    "droite du seuil."
)
NOT_ESTIMABLE: Final = "non estimable"
NO_DECISION: Final = typeset("Pas d’intervalle : rien n’a pu être comparé.")
EXPLANATION: Final = "Ce que dit la mesure"

KEY_NUMBERS: Final = "Chiffres clés"
COSINE_MEANING: Final = "entre les deux réponses"
DURATION: Final = "Durée d’une réponse"
MEASURED: Final = "Prompts mesurés"
FAILED: Final = "Échecs"
BASE: Final = "Base"
AGAINST_BASE: Final = "contre la base"
RANDOM_PAIRS: Final = "au hasard"
PER_PROMPT: Final = "par prompt et par bras"

VARIANCE: Final = "D’où vient le bruit"
DECODING: Final = "Décodage"
PROMPTS: Final = "Différences entre prompts"
VARIANCE_MEANING: Final = typeset(
    "Part de chaque source dans la variance de l’écart moyen d’un prompt. Plus de réponses par prompt réduisent la "
    "première, plus de prompts la seconde."
)
NO_VARIANCE: Final = typeset("Le partage demande au moins deux réponses par prompt, et du bruit.")

CHANGE: Final = "Écart"
CHANGE_HEADS: Final = ("Cas", "Prompt", "Pertinence", "Écart")
NO_CHART: Final = typeset("Pas de graphique dans ce rapport.")
VIEWS: Final[Mapping[str, str]] = {
    "all": "Tous",
    "worse": "Régressions",
    "proven": "Régressions prouvées",
    "better": "Améliorations",
    "different": "Différents",
    "failed": "Échecs",
}
SHOW: Final = "Montrer"
SEARCH: Final = "Chercher"
SEARCH_HINT: Final = "prompt, réponse, mot-clé…"
CATEGORY: Final = "Catégorie"
EVERY_CATEGORY: Final = "Toutes les catégories"
ADAPTER: Final = "Adaptateur"
EVERY_ADAPTER: Final = "Tous les adaptateurs"
SORT: Final = "Trier par"
SORTS: Final[Mapping[str, str]] = {
    "order": "ordre du rapport",
    "change": "changement de pertinence",
    "relevance-tuned": "pertinence, {tuned}",
    "relevance-base": "pertinence, base",
    "keywords-change": "changement de mots-clés",
    "keywords-tuned": "mots-clés, {tuned}",
    "keywords-base": "mots-clés, base",
    "cosine": "cosinus",
    "length-change": "changement de longueur",
    "length-tuned": "longueur, {tuned}",
    "seconds-tuned": "durée, {tuned}",
}
EXTRA_CHANGE: Final = "changement de {name}"
EXTRA_TUNED: Final = "{name}, {tuned}"
DIFFERENCES: Final = "Différences de mots"
UNFOLD: Final = "Déplier les réponses"
RESET: Final = "Tout montrer"
NO_CASE: Final = "Aucun cas ne répond à ces filtres."
KEYBOARD: Final = "Clavier"
KEYBOARD_ON: Final = "Raccourcis actifs"
KEYS: Final[Mapping[str, str]] = {
    "j →": "cas suivant",
    "k ←": "cas précédent",
    "/": "chercher",
    "o": "déplier les autres réponses",
    "d": "différences de mots",
    "Échap": "vider la recherche",
}
LEGEND_KEYWORD: Final = "mot-clé attendu"
LEGEND_TERM: Final = "terme JARVIS"
LEGEND_GONE: Final = "seulement dans la base"
LEGEND_NEW: Final = "seulement dans le bras {tuned}"
LEGEND: Final = typeset("Dans les réponses :")

_SCRIPT_WORDS: Final[Mapping[str, object]] = {
    "dash": DASH,
    "base": BASE,
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
    "leaked": BADGE,
    "pValue": typeset("Le bruit n’explique pas cette baisse : p = {p}"),
    "worse": "Régression",
    "identical": "Réponses identiques",
    "failed": "Échec",
    "keywordsLabel": "Mots-clés attendus",
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
    "understood": ("non comprise", "comprise"),
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


PROVENANCE_SUMMARY: Final = "Modèles, versions, réglages, machine"


def responses_each(lowest: int, highest: int) -> str:
    each = str(highest) if lowest == highest else f"{lowest} à {highest}"
    return f"{each} {'réponse' if highest < 2 else 'réponses'} {PER_PROMPT}"


def against_random(cosine: str, adapter: str = "") -> str:
    """Return the mismatched cosine; with several adapters, that of `adapter`."""
    pair = f"de la base et de {adapter} " if adapter else ""
    return f"deux réponses {pair}{RANDOM_PAIRS}{NBSP}: {cosine}"


def of_planned(responses: int) -> str:
    return f"sur {plural(responses, 'réponse prévue', 'réponses prévues')}"


def prompts_counted(count: int) -> str:
    return f"ces {plural(count, 'prompt')}"


def bar_label(min_gain: float) -> str:
    return f"seuil {percent(min_gain, 0, signed=True)}"


CHART_RELEVANCE: Final = "Pertinence JARVIS par catégorie"
CHART_KEYWORDS: Final = "Mots-clés trouvés par catégorie"
CHART_SCORES: Final = "Distribution des scores de pertinence"
CHART_SCORE_AXIS: Final = typeset("pertinence d’une réponse (traits verticaux : moyennes)")
CHART_SHARE_AXIS: Final = "part des réponses"
KEY_GAIN: Final = "Gain de pertinence"
CHART_TEXTS: Final[Mapping[str, str]] = {
    "relevance": typeset("Barres : pertinence moyenne de chaque bras, par catégorie, avec intervalles."),
    "keywords": typeset("Barres : part des mots-clés trouvés par chaque bras, par catégorie."),
    "scores": typeset("Histogramme : distribution des scores de pertinence des réponses de chaque bras."),
    "key_numbers": typeset("Encadré : le verdict et les chiffres à retenir."),
}
"""What each chart shows, for who cannot see it."""


def key_gain(look: str, *, several: bool) -> str:
    """Return the label of the gain, with « à 4 réponses » of an early verdict; short before a name."""
    return f"Gain{look}" if look and several else f"{KEY_GAIN}{look}"


def chart_note(shown: int, total: int) -> str:
    left_out = f" ; {shown} catégories sur {total}" if shown < total else ""
    return typeset(f"traits : intervalles{left_out}")


CHART_KEY_NUMBERS: Final = "Les chiffres à retenir"


def with_mean(mean: str) -> str:
    return f" (moy. {mean})"


def subtitle(timestamp: str, quantization: str, device: str, adapters: int) -> str:
    when = f"{timestamp.replace('T', ' ').removesuffix('+00:00')} UTC"
    others = "" if adapters < 2 else plural(adapters, "adaptateur")
    return " · ".join(part for part in (when, quantization, device, others) if part)
