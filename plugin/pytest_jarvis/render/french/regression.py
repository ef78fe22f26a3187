"""Words for a candidate held against its former self: the verdict, its tests, and why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_jarvis.render.french.comparing import change_sentence, day_of, overlap_sentence
from pytest_jarvis.render.french.formats import bracket, number, percent, plural, printable, signed, typeset
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.regression import Choice, Obstacle, RegressionOutcome, ScopeTest, StoredRun

HEADS: Final = ("Pertinence", "prompts", "avant", "après", "écart", "intervalle", "jugement")
_MOST_CHANGES: Final = 8

OBSTACLES: Final[Mapping[Obstacle, str]] = {
    "nothing_stored": "aucune référence fixée (pytest-jarvis baseline set) ni essai comparable sous le dossier des "
    "rapports",
    "run_not_judged": "cet essai est interrompu ou partiel, a trop d’échecs ou il lui manque des réponses",
    "stored_not_judged": "la référence est interrompue ou partielle, a trop d’échecs ou il lui manque des réponses",
    "other_kind": "l’un des deux essais est un essai A/A, ou vient d’un moteur factice et l’autre non",
    "other_dictionary": "le dictionnaire des outils (ou la part qui vaut 1) a changé, les pertinences ne sont pas à la "
    "même échelle ; notez la référence à nouveau avec --jarvis-replay",
    "no_common_prompt": "aucun prompt commun (même identifiant et même texte)",
    "not_measured": "la pertinence n’a pas été mesurée des deux côtés",
}
_CHOICES: Final[Mapping[Choice, str]] = {
    "named": "essai nommé",
    "baseline": "référence fixée",
    "newest": "essai comparable le plus récent, aucune référence n’étant fixée",
}


def regression_sentence(outcome: RegressionOutcome) -> str:
    """Return what the comparison says, in one sentence."""
    name = printable(outcome.adapter)
    if outcome.verdict == "NOT_JUDGED":
        return typeset(f"~ RÉGRESSION NON JUGÉE : {' ; '.join(OBSTACLES[one] for one in outcome.obstacles)}.")
    if outcome.verdict == "DROP":
        return typeset(
            f"✗ RÉGRESSION PROUVÉE : la pertinence de {name} a baissé (erreur ≤ {percent(outcome.alpha, 0)})."
        )
    return typeset(f"✓ Aucune régression prouvée de {name} (erreur ≤ {percent(outcome.alpha, 0)}).")


def drop_notes(report: Report) -> list[str]:
    """Return what must stand beside a verdict that says nothing of it: a proven drop; empty without one."""
    outcome = report.regression
    return [] if outcome is None or outcome.verdict != "DROP" else [regression_sentence(outcome)]


def regression_details(outcome: RegressionOutcome, report: Report) -> list[str]:
    """Return what a reader must know beside: the stored run, what dropped, what differs, the exit status."""
    return [typeset(sentence) for sentence in _details(outcome, report)]


def cells_of(test: ScopeTest, report: Report) -> Sequence[str]:
    """Return the cells of one test, under `HEADS`."""
    difference = test.difference
    return (
        scope_label(test, report),
        str(test.prompts),
        number(difference.first_mean, 3),
        number(difference.second_mean, 3),
        signed(difference.difference),
        bracket(difference.interval, signed),
        "✗ baisse" if test.proven_drop else "–",
    )


def scope_label(test: ScopeTest, report: Report) -> str:
    """Return what a test is about: all prompts, or a category's label."""
    if not test.category:
        return "Ensemble"
    known = report.by_category.get(test.category)
    return known.label if known else test.category


def _details(outcome: RegressionOutcome, report: Report) -> Iterator[str]:
    if outcome.stored is not None:
        yield _stored_sentence(outcome.stored, outcome.adapter)
    for test in outcome.drops:
        difference = test.difference
        yield (
            f"{printable(scope_label(test, report))} : {number(difference.first_mean, 3)} → "
            f"{number(difference.second_mean, 3)}, {signed(difference.difference)} "
            f"{bracket(difference.interval, signed)} sur {plural(test.prompts, 'prompt')}."
        )
    overlap = outcome.overlap
    if overlap is not None and (overlap.only_stored or overlap.only_new or overlap.changed):
        yield overlap_sentence(overlap)
    if outcome.changes:
        shown = [change_sentence(change) for change in outcome.changes[:_MOST_CHANGES]]
        more = len(outcome.changes) - len(shown)
        yield f"Diffère de la référence : {' ; '.join(shown)}{f' ; … et {more} de plus' if more else ''}."
    if outcome.exit_failed:
        asked = "--jarvis-fail-on-regression" if outcome.verdict == "DROP" else "--jarvis-strict"
        yield f"La session échoue, comme {asked} le demande."
    elif outcome.verdict == "DROP":
        yield "Le code de sortie n’en dépend pas : ajoutez --jarvis-fail-on-regression."


def _stored_sentence(stored: StoredRun, adapter: str) -> str:
    commit = f", commit {printable(stored.commit)[:12]}" if stored.commit else ""
    named = (
        "" if stored.adapter == adapter else f" ; {printable(stored.adapter)} alors, {printable(adapter)} maintenant"
    )
    when = day_of(stored.timestamp)
    return f"Comparé à {printable(stored.report)} ({_CHOICES[stored.chosen]}, du {when}{commit}{named})."
