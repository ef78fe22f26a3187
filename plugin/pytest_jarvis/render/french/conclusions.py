"""What a comparison of two runs shows, in words: never more than its intervals do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pytest_jarvis.metrics.registry import RELEVANCE
from pytest_jarvis.render.french.formats import bracket, number, percent, plural, printable, signed, typeset
from pytest_jarvis.render.french.regression import OBSTACLES
from pytest_jarvis.report.comparison import ArmComparison, MetricDifference, RunComparison
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.regression import OVERALL, Direction, Obstacle

CONCLUSION: Final = "Conclusion"
_ROUNDED: Final = 0.0005
_FORBIDDING: Final[frozenset[Obstacle]] = frozenset({"other_kind", "other_dictionary"})
"""With these two relevances have no difference; others are a reserve."""
_RESERVES: Final[Mapping[Obstacle, str]] = {
    "run_not_judged": "l’essai d’après est interrompu ou partiel, a trop d’échecs ou il lui manque des réponses",
    "stored_not_judged": "l’essai d’avant est interrompu ou partiel, a trop d’échecs ou il lui manque des réponses",
}
_EXPECTED: Final = ("adapter.", "generation.seed", "responses")
"""What is compared, or differs between two draws of one experiment: names of settings that begin so."""
_SAME: Final[Mapping[Direction, str]] = {"rise": "a monté", "drop": "a baissé"}
_OTHER: Final[Mapping[Direction, str]] = {"rise": "est plus haute", "drop": "est plus basse"}


def is_of_other_scale(found: RunComparison, metric: str) -> bool:
    """Whether the two runs count this metric by other rules, so that its difference means nothing."""
    return metric == RELEVANCE and "other_dictionary" in found.obstacles


def conclusion(found: RunComparison, arm: ArmComparison, report: Report) -> list[str]:
    """Return what the comparison of two adapters shows of their relevance; `report` has the categories' labels."""
    first, *others = _sentences(found, arm, report)
    return [typeset(f"{CONCLUSION} : {first}"), *map(typeset, others)]


def _sentences(found: RunComparison, arm: ArmComparison, report: Report) -> Iterator[str]:
    relevance = {one.category: one for one in arm.metrics if one.metric == RELEVANCE and not one.of_base}
    forbidding = [OBSTACLES[one] for one in found.obstacles if one in _FORBIDDING]
    if OVERALL not in relevance:
        forbidding.append(OBSTACLES["not_measured"])
    if forbidding:
        yield f"rien n’est conclu sur la pertinence : {' ; '.join(forbidding)}."
        return
    overall = relevance.pop(OVERALL)
    if _is_the_same(arm, overall):
        names = dict.fromkeys((printable(arm.stored_adapter), printable(arm.new_adapter)))
        yield (
            f"les réponses communes de {' et de '.join(names)} sont les mêmes, mot pour mot : rien n’y distingue les "
            "deux essais."
        )
        return
    yield _overall(found, arm, overall)
    labels = {name: item.label for name, item in report.by_category.items()}
    moved = [f"{printable(labels.get(name, name))} {_figures(one)}" for name, one in relevance.items() if one.proven]
    if moved:
        yield f"Par catégorie, au-delà du bruit : {', '.join(moved)}."
    worse = sum(one.p_worse is not None for one in arm.prompts)
    if worse:
        yield f"En baisse avérée : {plural(worse, 'prompt')} sur {len(arm.prompts)} (▼)."
    if overall.proven is not None or moved:
        yield from _causes(found, arm, overall.proven)
    for one in found.obstacles:
        if one in _RESERVES:
            yield f"Réserve : {_RESERVES[one]}."


def _is_the_same(arm: ArmComparison, overall: MetricDifference) -> bool:
    return not overall.difference.difference and not any(one.texts_changed for one in arm.prompts)


def _overall(found: RunComparison, arm: ArmComparison, one: MetricDifference) -> str:
    """Return whether the relevance over all prompts moved by more than noise explains."""
    before, after = printable(arm.stored_adapter), printable(arm.new_adapter)
    means = (number(one.difference.first_mean, 3), number(one.difference.second_mean, 3))
    where = f"sur {plural(one.prompts, 'prompt commun', 'prompts communs')}"
    if one.proven is not None:
        proof = f"{_figures(one)}, ce que le bruit n’explique pas (erreur ≤ {percent(found.alpha, 0)} de chaque côté)"
        if before == after:
            return f"{where}, la pertinence de {after} {_SAME[one.proven]}, de {means[0]} à {means[1]} : {proof}."
        return (
            f"{where}, la pertinence de {after} ({means[1]}) {_OTHER[one.proven]} que celle de {before} ({means[0]}) : "
            f"{proof}."
        )
    whose = f"pour {after}" if before == after else f"de {before} à {after}"
    said = f"{where}, ni hausse ni baisse de la pertinence n’est montrée {whose}"
    seen = f"l’écart vu, {signed(one.difference.difference)}, peut être du bruit"
    if one.corrected is None:
        return f"{said} : {seen}, dont une seule réponse ne dit rien."
    # An end that rounds to 0 would seem to leave 0 out.
    digits = 3 if min(map(abs, one.corrected)) >= _ROUNDED else 4
    low, high = (signed(end, digits) for end in one.corrected)
    return f"{said} : {seen} ; le vrai écart peut aller de {low} à {high}."


def _figures(one: MetricDifference) -> str:
    return f"{signed(one.difference.difference)} {bracket(one.corrected, signed)}"


def _causes(found: RunComparison, arm: ArmComparison, moved: Direction | None) -> Iterator[str]:
    """Yield what else than the adapter the change may come from; `moved` is the way its relevance went overall."""
    of_base = (one for one in arm.metrics if one.metric == RELEVANCE and one.of_base and one.category == OVERALL)
    base = next(of_base, None)
    if base is not None and base.proven is not None:
        subject = "La base aussi" if base.proven == moved else "La base, elle,"
        yield f"{subject} {_SAME[base.proven]} ({_figures(base)}) : l’écart ne vient pas du seul adaptateur."
    elif any(not change.name.startswith(_EXPECTED) for change in found.changes):
        yield "Des réglages diffèrent aussi (voir plus haut) : l’écart n’est peut-être pas celui des seuls poids."
