"""Words for a run that is scored again, and for runs held against each other: replay, compare, history, baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.render.french.formats import bar_percent, percent, plural, printable, typeset
from pytest_jarvis.render.french.labels import storage
from pytest_jarvis.render.french.metrics import LABELS
from pytest_jarvis.report.schema import ReplayOf, Report
from pytest_jarvis.stats.regression import Direction, PromptOverlap, SettingChange
from pytest_jarvis.types import Storage

_MOST_IDS: Final = 8


def replaying_label(source: str) -> str:
    """Return what is loaded when nothing is: a recorded run."""
    return f"relecture de {printable(source)}"


def replay_notes(report: Report) -> list[str]:
    """Return what a reader must know of a report whose responses were recorded; empty for any other."""
    replay = report.provenance.replay
    return [] if replay is None else [typeset(sentence) for sentence in _replay_sentences(report, replay)]


def replay_mark(report: Report) -> str:
    """Return the short form, for a place with room for no more; empty for a run that drew its responses."""
    replay = report.provenance.replay
    return "" if replay is None else replaying_label(replay.report)


def listed_ids(names: Sequence[str]) -> str:
    """Return ids as a sentence has them, the first ones of many."""
    more = len(names) - _MOST_IDS
    return printable(", ".join(names[:_MOST_IDS])) + (f" … (+ {more})" if more > 0 else "")


def day_of(timestamp: str) -> str:
    """Return the date and time of a timestamp, to the minute."""
    return printable(timestamp)[:16].replace("T", " ")


def _replay_sentences(report: Report, replay: ReplayOf) -> Iterator[str]:
    commit = f", commit {printable(replay.commit)[:12]}" if replay.commit else ""
    yield (
        f"Relecture de {printable(replay.report)} (du {day_of(replay.timestamp)}{commit}) : réponses, durées et "
        "mémoire sont celles d’alors ; notes et verdict sont refaits, aucun modèle n’a été chargé."
    )
    for names, what in (
        (replay.prompts_changed, "dont le texte a changé depuis, non notés"),
        (replay.prompts_gone, "qui n’existent plus ici, non notés"),
    ):
        if names:
            yield f"Prompts enregistrés {what} : {listed_ids(names)}."
    if replay.prompts_new:
        yield f"Prompts jamais enregistrés, non notés : {listed_ids(replay.prompts_new)}."
    if replay.stopped_short:
        yield (
            f"L’enregistrement s’arrête à {plural(replay.replicates, 'réponse')} par prompt : un essai réel en aurait "
            "tiré d’autres."
        )
    if replay.cosines == "prompts":
        yield "Cosinus : moyennes enregistrées par prompt, sur toutes leurs réponses (rapport plus ancien)."
    yield from _changed_rules(report, replay)


def _changed_rules(report: Report, replay: ReplayOf) -> Iterator[str]:
    plan, before = report.metadata.plan, replay.plan
    if plan.min_gain != before.min_gain:
        yield f"Gain demandé : {bar_percent(plan.min_gain)} (enregistré : {bar_percent(before.min_gain)})."
    for name, now, then in (
        ("--jarvis-gate", plan.policy, before.policy),
        ("--jarvis-require", plan.require, before.require),
    ):
        if now != then:
            yield f"{name} : {now} (enregistré : {then})."
    if report.provenance.dictionary_hash != replay.dictionary_hash:
        yield "Le dictionnaire des outils a changé depuis : la pertinence est comptée avec celui d’aujourd’hui."
    if report.provenance.prompt_hash != replay.prompt_hash:
        yield "Les prompts (mots-clés, outils attendus ou leur nombre) ont changé depuis."


COMPARISON: Final = "COMPARAISON DE DEUX ESSAIS"
BEFORE: Final = "avant"
AFTER: Final = "après"
METRIC_HEADS: Final = ("Mesure", "prompts", BEFORE, AFTER, "écart", "intervalle")
PROMPT_HEADS: Final = ("Prompt", "pertinence", "mots-clés", "cosinus", "textes")
SAME_SETTINGS: Final = typeset("Mêmes réglages, mêmes versions, même machine.")
NOTHING_CHANGED: Final = typeset("Aucun prompt n’a changé : mêmes notes, mêmes textes.")
NO_COMMON_PROMPT: Final = typeset("Aucun prompt commun (même identifiant et même texte) : rien ne peut être comparé.")
DIFFERENT_SETTINGS: Final = "Ce qui diffère entre les deux essais"
PROMPTS_CHANGED: Final = "Prompt par prompt"
_MARKS: Final[Mapping[Direction | None, str]] = {"rise": " ▲", "drop": " ▼", None: ""}

_SETTINGS: Final[Mapping[str, str]] = {
    "base_model": "modèle de base",
    "quantization": "stockage des poids",
    "engine": "moteur",
    "device": "appareil",
    "dtype": "calcul",
    "generation.seed": "graine",
    "generation.timeout_s": "délai (s)",
    "generation.template": "gabarit",
    "generation.thinking": "réflexion",
    "generation.tools": "outils proposés au modèle",
    "generation.system_prompt": "consigne système",
    "responses": "réponses par prompt",
    "prompts": "empreinte des prompts (textes, mots-clés, outils)",
    "dictionary": "empreinte du dictionnaire des outils",
    "keyword_mode": "recherche des mots-clés",
    "relevance_share": "part du dictionnaire qui vaut une pertinence de 1",
    "real": "moteur réel ou factice",
    "machine": "machine",
}


def metric_label(spec: MetricSpec, *, of_base: bool) -> str:
    """Return what a metric is called; one that others added keeps its name."""
    if spec.name not in LABELS:
        return printable(spec.name)
    label = LABELS[spec.name][1]
    return f"{label[:1].upper()}{label[1:]}{', base' if of_base else ''}"


def run_line(path: str, report: Report) -> str:
    """Return what names a run: its file, date, commit, model, adapters, responses per prompt."""
    commit, dirty = report.provenance.commit, report.provenance.dirty
    parts = [
        path,
        day_of(report.metadata.timestamp),
        f"commit {commit[:12]}{' (modifié)' if dirty else ''}" if commit else "sans commit",
        f"{report.metadata.base_model} + {', '.join(report.metadata.adapters)}",
        f"{plural(report.metadata.samples_per_prompt, 'réponse')} par prompt",
    ]
    return " · ".join(map(printable, parts))


def overlap_sentence(overlap: PromptOverlap) -> str:
    """Return on which prompts two runs are compared, and which are left out."""
    left = [
        f"{what} : {listed_ids(names)}"
        for names, what in (
            (overlap.only_stored, "seulement avant"),
            (overlap.only_new, "seulement après"),
            (overlap.changed, "texte changé"),
        )
        if names
    ]
    said = f"Comparaison sur {plural(len(overlap.common), 'prompt commun', 'prompts communs')}"
    more = f" ; laissés de côté – {' ; '.join(left)}" if left else ""
    return typeset(f"{said}{more}.")


def setting_label(name: str) -> str:
    """Return what a setting is called."""
    if name.startswith("adapter."):
        return f"poids de l’adaptateur {name.removeprefix('adapter.').replace('.', ' → ')}"
    if name.startswith("versions."):
        return f"version de {name.removeprefix('versions.')}"
    return _SETTINGS.get(name, name.removeprefix("generation."))


def change_sentence(change: SettingChange) -> str:
    """Return one setting that differs: its name, before and after."""
    label = setting_label(change.name)
    values = (storage(one) if isinstance(one, Storage) else one for one in (change.stored, change.new))
    before, after = (printable(value) or "–" for value in values)
    return typeset(f"{printable(label)} : {before} → {after}")


def pair_sentence(stored: str, new: str) -> str:
    """Return which adapters are compared."""
    if stored == new:
        return typeset(f"Adaptateur {printable(new)} : avant et après.")
    return typeset(f"Adaptateurs comparés : {printable(stored)} (avant) et {printable(new)} (après).")


def interval_rule(alpha: float) -> str:
    """Return what the intervals of a comparison are."""
    return typeset(
        f"Intervalles à {percent(1 - 2 * alpha, 0)} de l’écart (après − avant) sur ces prompts, bruits indépendants. "
        f"▲ et ▼ : hausse et baisse que le bruit n’explique pas (erreur ≤ {percent(alpha, 0)} de chaque côté pour "
        "toutes les lignes d’une mesure, et pour toute la liste des prompts)."
    )


def mark_of(proven: Direction | None) -> str:
    """Return the mark of a change that noise does not explain, with the space before it."""
    return _MARKS[proven]


def unchanged_sentence(count: int) -> str:
    """Return how many prompts are not listed because nothing of them changed."""
    return typeset(f"{plural(count, 'autre prompt', 'autres prompts')} sans aucun changement.")


def baseline_is(path: str, report: Report) -> str:
    """Return which run is the baseline."""
    return typeset(f"Référence : {run_line(path, report)}")


def baseline_was(report: Report) -> str:
    """Return which run was the baseline until now."""
    commit = report.provenance.commit
    shown = f" · commit {commit[:12]}" if commit else ""
    return typeset(f"Référence remplacée : essai du {day_of(report.metadata.timestamp)}{printable(shown)}")


def no_baseline(path: str) -> str:
    """Return that there is no baseline, and how to set one."""
    return typeset(f"Aucune référence ({printable(path)}) : pytest-jarvis baseline set REPORT.json en fixe une.")


def baseline_cleared(path: str) -> str:
    """Return that the baseline is gone."""
    return typeset(f"Référence retirée : {printable(path)}")
