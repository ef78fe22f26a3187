"""Titles, heads and short labels of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pytest_jarvis.demo import DISPLAY_NAME
from pytest_jarvis.inputs.config import DEMO
from pytest_jarvis.metrics.registry import RELEVANCE, TOOL_ROUTING, UNDERSTOOD
from pytest_jarvis.render.french.formats import DASH, NBSP, count_of, number, percent, plural, signed, size, typeset
from pytest_jarvis.render.french.metrics import LABELS, digits_of_noise, find_spec, label_of
from pytest_jarvis.report.analysis.changes import Criterion
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.gate import GateVerdict
from pytest_jarvis.stats.ranking import NoiseFloor
from pytest_jarvis.types import TWIN_ARM, AdapterProof, EngineDescription, ServerFacts, Storage, StorageFormat

TITLE: Final = "RAPPORT JARVIS"
FAKE_MODEL: Final = "moteur factice (réponses écrites d’avance)"
DEMO_MODEL: Final = DISPLAY_NAME
BASE: Final = "base"
TUNED: Final = "fine-tuné"
TOTAL: Final = "Ensemble"
NOTHING_MEASURED: Final = "Rien n’a été mesuré."
NONE: Final = "aucun"

FAKE_ENGINE: Final = typeset("Attention : moteur factice, ces nombres ne mesurent aucun modèle.")
INCOMPLETE: Final = typeset("Rapport incomplet : il manque des réponses, voir les échecs.")
PARTIAL: Final = typeset("Sélection partielle : tous les prompts du banc d’essai n’ont pas été joués.")

GATE_SHORT: Final[Mapping[GateVerdict, str]] = {
    "PASS": "✓ ACCEPTÉ",
    "FAIL": "✗ REFUSÉ",
    "INCONCLUSIVE": "~ NON TRANCHÉ",
    "NOT_JUDGED": "~ NON JUGÉ",
    "OFF": "SEUIL DÉSACTIVÉ",
}
"""A gate's verdict in a word, for a badge or a heading."""


CRITERIA: Final[Mapping[Criterion, str]] = {
    "expected_tool": "Outil attendu le plus cité",
    "all_keywords": "Tous les mots-clés trouvés",
}
FLIP_RULE: Final = typeset(
    "Un bras répond juste à un prompt quand plus de la moitié de ses réponses sont justes ; entre parenthèses, les "
    "réponses justes de la base, puis de l’autre bras."
)


def tuned_arm(report: Report) -> str:
    """Return the name of the arm beside the base: in an A/A run, the twin."""
    return TWIN_ARM if TWIN_ARM in report.metadata.adapters else TUNED


STAGES: Final[Mapping[str, str]] = {
    "load": "chargement",
    "generate": "génération",
    "timeout": "délai dépassé",
    "score": "notation",
}


def cautions(report: Report) -> list[str]:
    """Return what to know before any number: a scripted engine, missing responses, a partial selection."""
    return [
        *([] if report.metadata.is_real else [FAKE_ENGINE]),
        *([] if report.complete else [INCOMPLETE]),
        *([] if report.metadata.full_selection else [PARTIAL]),
    ]


def model_label(engine: EngineDescription) -> str:
    """Return the label of the model; never a model's name for a scripted engine."""
    if not engine.is_real:
        return FAKE_MODEL
    return DEMO_MODEL if engine.is_demo else engine.display_name


def model_named(name: str) -> str:
    """Return the label of a model by its configured name, before it is loaded."""
    return DEMO_MODEL if name == DEMO else name


_STORAGES: Final[Mapping[StorageFormat, str]] = {
    "nf4": "NF4 (double quantification)",
    "fp4": "FP4",
    "4bit": "4 bits",
    "16bit": "16 bits",
    "32bit": "32 bits",
    "checkpoint": "quantifié par ses fichiers ({method})",
    "server": "non mesurée (serveur)",
    "none": "",
    "text": "{method}",
}


def storage(found: Storage, nothing: str = DASH) -> str:
    """Return the storage of the weights; `nothing` where there are none."""
    label = _STORAGES[found.format].format(method=found.method) or nothing
    if found.share is None:
        return label
    return typeset(f"{label}, partiel : {percent(found.share)} des poids d’experts et linéaires")


def compute_dtype(name: str) -> str:
    """Return the type of the arithmetic; empty without a model."""
    return "" if name == "none" else _STORAGES["server"] if name == "server" else name


def device(name: str) -> str:
    """Return the device; « aucun » without a model."""
    return NONE if name == "none" else "serveur" if name == "server" else name


SECTIONS: Final[Mapping[str, str]] = {
    "identity": "Ce qui a été comparé",
    "verdict": "Verdict",
    "explanation": "Ce que dit la mesure",
    "recommendations": "Recommandations",
    "thresholds": "Seuils",
    "adapters": "Les adaptateurs côte à côte",
    "regression": "Régression",
    "noise": "Le bruit de fond (A/A)",
    "statistics": "Statistiques globales",
    "categories": "Par catégorie",
    "added": "Autres métriques",
    "tools": LABELS[TOOL_ROUTING][0],
    "understanding": LABELS[UNDERSTOOD][0],
    "improvements": "Les plus fortes améliorations",
    "weaknesses": "Les points faibles",
    "regressions": "Les baisses avérées",
    "flips": "Bascules",
    "responses": "Longueur et remplissage",
    "failures": "Échecs",
    "provenance": "Provenance",
}

FIELDS: Final[Mapping[str, str]] = {
    "model": "Modèle de base",
    "adapter": "Adaptateur",
    "twin": "Second bras",
    "others": "Autres adaptateurs",
    "storage": "Poids",
    "device": "Matériel",
    "engine": "Moteur",
    "date": "Date (UTC)",
    "prompts": "Prompts mesurés",
    "responses": "Réponses",
    "rule": "Règle",
    "relevance": LABELS[RELEVANCE][0],
    "characters": LABELS["characters"][0],
    "tokens": LABELS["tokens"][0],
    "tools": "Outils nommés",
    "stuffed": "Réponses de 5 outils et plus",
    "empty": "Réponses vides",
    "cut": "Réponses coupées",
    "gain_then": "gain au verdict",
    "responses_then": "réponses au verdict",
    "measure": "Mesure",
    "change": "écart",
    "gain": "gain",
    "interval": "intervalle",
    "floor": "plancher",
    "relative": "en part",
    "counted": "prompts",
    "threshold": "Seuil",
    "value": "valeur",
    "bar": "demandé",
    "judged": "verdict",
    "why": "pourquoi",
    "arm": "Bras",
    "stage": "étape",
    "failed": "réponses",
    "prompt": "Prompt",
    "response": "Réponse",
    "reason": "Raison la plus fréquente",
    "digest": "Empreinte (SHA-256)",
    "rank": "Rang",
    "targets": "Couches visées",
    "weights": "Poids entraînés",
    "proof": "Preuve",
    "coverage": "Quantification",
    "share_4bit": "Part en 4 bits",
    "not_4bit": "Pas en 4 bits",
    "compute": "Type de calcul",
    "batching": "Lots",
    "commit": "Commit",
    "seed": "Graine",
    "prompt_hash": "Prompts (SHA-256)",
    "dictionary_hash": "Dictionnaire (SHA-256)",
    "generation": "Génération",
    "system_prompt": "Consigne système",
    "machine": "Machine",
    "python": "Python",
    "versions": "Versions",
    "timings": "Durées",
    "reused": "Réponses reprises",
    "memory": "Mémoire",
    "notes": "Notes",
    "server": "Serveur",
    "served": "Modèles servis",
    "embedding": "Cosinus fait par",
    "mismatched": "Cosinus de référence",
}

TIMINGS: Final[Mapping[str, str]] = {"load": "chargement", "generate": "génération", "embed": "embeddings"}
BATCHING: Final[Mapping[str, str]] = {
    "mixed": "tous les bras dans les mêmes lots",
    "two passes": "un passage par bras",
    "server": "par le serveur, tous les bras en même temps",
    "none": "sans adaptateur",
}
POLICIES: Final[Mapping[str, str]] = {
    "proven": "un gain de {bar} doit être prouvé (erreur ≤ {error}), {looks} par prompt et par bras",
    "point": "le gain vu doit atteindre {bar}, {looks} par prompt et par bras",
    "off": "aucun seuil, {looks} par prompt et par bras",
}
KINDS: Final[Mapping[str, str]] = {
    "experts": "experts",
    "attention": "attention",
    "embeddings": "embeddings",
    "head": "tête",
    "norms": "normes",
    "router": "routeur",
    "other": "autres",
}
IMPROVEMENTS_RULE: Final = typeset("Par hausse de pertinence, la plus forte d’abord ; première réponse de chaque bras.")
WEAKNESSES_RULE: Final = typeset(
    "Les plus faibles écarts de pertinence : des baisses, qui peuvent être du bruit, ou les hausses les plus petites."
)
NO_IMPROVEMENT: Final = "Aucun prompt ne s’est amélioré."
NO_OTHER_PROMPT: Final = "Aucun autre prompt."
NO_FLIP: Final = "aucun"
GAINED: Final = "Gagnés"
LOST: Final = "Perdus"
EMPTY_RESPONSE: Final = "(réponse vide)"
NO_FAILURE: Final = "Aucun échec."
MISSING_RESPONSES: Final = "Aucun échec, mais toutes les réponses prévues n’ont pas été tirées."
RANKING: Final = "Classement"
RANK: Final = "Rang"
SHOWN: Final = "écart montré"
NOT_SHOWN: Final = "écart non montré"
INTERVALS_RULE: Final = typeset(
    "Entre crochets : les intervalles au niveau du verdict. Ceux des catégories sont à lire, ils ne sont pas jugés."
)
UNCOMMITTED: Final = "avec des changements non validés"
NOISE_RULE: Final = typeset(
    "La base contre elle-même, avec un bruit indépendant : un écart plus petit que le plancher est du bruit."
)
GREEDY: Final = "déterministe"
THINKING: Final = "réflexion"
NO_COMMIT: Final = "inconnu (pas un dépôt git)"


def sampling(temperature: float, top_p: float) -> str:
    return f"température {number(temperature)}, top-p {number(top_p)}"


def noise_cells(name: str, floor: NoiseFloor) -> tuple[str, str, str, str]:
    """Return the name of a metric, its difference in an A/A run, its noise floor, and that relative to the mean."""
    digits = digits_of_noise(name)
    return (
        label_of(find_spec(name)),
        signed(floor.difference.difference, digits),
        f"± {number(floor.floor, digits)}",
        f"± {percent(floor.relative_floor)}",
    )


def adapter_proof_sentence(change: float | None, *, base_unchanged: bool | None) -> str:
    """Return the measured effect of an adapter; empty where its logits were not compared."""
    if change is None:
        return ""
    base = "la base reste la même, bit pour bit" if base_unchanged else "la base en est changée"
    return typeset(f"change les logits de {number(change, 3)} au plus ; sans lui, {base}")


def mismatched_sentence(cosine: float, adapter: str = "") -> str:
    """Return the mismatched cosine; with several adapters, that of `adapter`."""
    whose = f", de la base et de {adapter}" if adapter else ""
    return typeset(f"{number(cosine)} entre réponses de prompts différents{whose} : une similarité se lit au-dessus")


def ahead(better: str, worse: str) -> str:
    return f"{better} devant {worse}"


def shown_sentence(better: str, worse: str, *, shown: bool) -> str:
    return f"{ahead(better, worse)}, {SHOWN if shown else NOT_SHOWN}"


def from_zero_to(most: float) -> str:
    """Return the head of a column of drawings with the right end `most`."""
    return f"de 0 à {number(most, 1)}"


def quotation(text: str) -> str:
    return f"«{NBSP}{text}{NBSP}»"


def responses_planned(per_prompt: int, total: int) -> str:
    return f"{per_prompt} par prompt et par bras, {total} prévues en tout"


def machine(system: str, processor: str, cores: int) -> str:
    return ", ".join(part for part in (system, processor, plural(cores, "cœur")) if part)


def drop(change: float, p_value: float | None) -> str:
    """Return a drop of relevance and, where it is proven, its p-value."""
    shown = f"{signed(change, 2)}, p{NBSP}={NBSP}{number(p_value, 4)}"
    return shown.replace(f"={NBSP}0,0000", f"<{NBSP}0,0001") if p_value is not None else signed(change, 2)


def looks(counts: Sequence[int]) -> str:
    """Return « 4 réponses », or « 4, 8 puis 16 réponses »."""
    first, last = counts[:-1], plural(counts[-1], "réponse")
    return f"{', '.join(map(str, first))} puis {last}" if first else last


def short_digest(digest: str | None, length: int = 16) -> str:
    """Return the first `length` digits of a digest; empty for None."""
    if digest is None:
        return ""
    return digest if len(digest) <= length else f"{digest[:length]}…"


def weight_count(count: int, storage: str, size_bytes: int) -> str:
    return f"{count_of(count)} en {storage} ({size(size_bytes)})"


def more_entries(count: int) -> str:
    return f"… et {count} de plus"


def more_in_json(count: int) -> str:
    return f"{more_entries(count)}, dans report.json."


def failed_responses(count: int) -> str:
    return plural(count, "réponse en échec", "réponses en échec")


def flip_counts(before: int, after: int, prompts: int) -> str:
    return f"{before} → {after} prompts sur {prompts}"


def prompts_measured(prompts: str, responses: int) -> str:
    return f"{prompts}, {plural(responses, 'réponse')} par bras"


SHORTENED: Final = typeset("… Le résumé est coupé ici ; report.txt et report.json disent le reste.")


def file_failed(file: str, reason: str) -> str:
    return typeset(f"{file} : impossible à faire ({reason}) ; les nombres et le verdict restent dans report.json.")


def file_written(file: str) -> str:
    return typeset(f"Écrit : {file}")


CHARTS_OF_PAGE: Final = "graphiques de report.html"

REPEATS: Final = {
    "always": "mêmes textes à chaque fois",
    "alone": "mêmes textes seulement pour une requête seule",
    "never": "graine ignorée",
    None: typeset("graine : pas vu"),
}


def server_sentence(server: ServerFacts) -> str:
    parts = [server.base_url]
    if server.version is not None:
        parts.append(f"version {server.version}")
    if server.system_fingerprint is not None:
        parts.append(server.system_fingerprint)
    return ", ".join([*parts, REPEATS[server.repeats]])


def served_sentence(server: ServerFacts) -> str:
    """Return the name of each arm on the server, with the facts of the server's list."""
    return typeset(" ; ").join(
        typeset(f"{model.arm} : {model.name}") + "".join(f", {name} {value}" for name, value in model.facts.items())
        for model in server.models
    )


def served_proof_sentence(adapter: AdapterProof) -> str:
    """Return the measured effect of an adapter on a server; empty without probes."""
    if adapter.probes is None:
        return ""
    seen = f"change {adapter.texts_changed} des {adapter.probes} textes témoins"
    if adapter.max_logprob_change is not None and adapter.max_logprob_drift is not None:
        seen += (
            f" et les log-probabilités de {number(adapter.max_logprob_change, 3)} au plus "
            f"(la base, redemandée, de {number(adapter.max_logprob_drift, 3)})"
        )
    return typeset(seen)
