"""Words for a run that is scored again, and for runs held against each other: replay, compare, history, baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pytest_jarvis.outputs.wording.formats import bar_percent, plural, printable, typeset
from pytest_jarvis.report import ReplayOf, Report

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
