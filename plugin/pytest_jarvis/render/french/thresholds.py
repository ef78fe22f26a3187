"""The words for thresholds: what each is on, its bar and value, its verdict and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pytest_jarvis.render.french.formats import DASH, NBSP, number, percent, points, typeset
from pytest_jarvis.stats.thresholds import Threshold, ThresholdName, ThresholdVerdict, WhyCode

THRESHOLD_VERDICTS: Final[Mapping[ThresholdVerdict, str]] = {
    "PASS": "✓ tenu",
    "FAIL": "✗ manqué",
    "INCONCLUSIVE": "~ non tranché",
    "NOT_JUDGED": "~ non jugé",
}

THRESHOLD_NAMES: Final[Mapping[ThresholdName, str]] = {
    "relevance_gain": "Gain de pertinence",
    "absolute_gain": "Gain absolu de pertinence",
    "keyword_gain": "Gain de mots-clés",
    "routing_accuracy": "Bon outil choisi",
    "routing_gain": "Gain du choix de l’outil",
    "category_floor": "Pertinence plancher",
    "failure_share": "Part d’échecs",
    "latency_ratio": "Rapport des durées",
    "metric_gain": "Gain",
    "metric_mean": "Moyenne",
}

WHY: Final[Mapping[WhyCode, str]] = {
    "proven": "prouvé",
    "disproven": "écarté",
    "undecided": "intervalle à cheval",
    "seen": "valeur vue",
    "not_seen": "valeur vue",
    "nothing_to_compare": "deux bras à 0",
    "out_of_reach": "hors d’atteinte",
    "not_measured": "non mesuré",
    "no_interval": "bruit inconnu",
    "gate_off": "seuil désactivé",
    "run_not_judged": "session non jugée",
}

LATENCY_RULE: Final = typeset(
    "Rapport des durées : celles de réponses entières, longueur comprise ; un bras plus bavard est plus lent."
)

SHARED_BATCHES: Final = typeset(
    "Ici les bras partagent leurs lots, où un token prend à tous le même temps : le rapport ne dit que la longueur."
)


def threshold_rules(thresholds: Sequence[Threshold], batching: str) -> list[str]:
    """Return how to read the bars: what the ratio of durations compares, where that bar is set."""
    if not any(one.name == "latency_ratio" for one in thresholds):
        return []
    return [LATENCY_RULE, *([SHARED_BATCHES] if batching == "mixed" else [])]


def threshold_value(threshold: Threshold, value: float | None) -> str:
    """Return a value, or the bar, of a threshold in its unit."""
    if value is None:
        return DASH
    if threshold.name in {"relevance_gain", "keyword_gain"}:
        return percent(value, signed=True)
    if threshold.name in {"failure_share", "routing_accuracy"}:
        return percent(value)
    if threshold.name == "routing_gain":
        return points(value)
    return number(value, 3)


def whose(threshold: Threshold, *, several: bool) -> str:
    """Return the arm of a bar in brackets, where it says something: failures have a bar for each arm."""
    return f"({threshold.adapter})" if threshold.adapter and (several or threshold.name == "failure_share") else ""


def bar_of(threshold: Threshold) -> str:
    """Return the bar of a threshold with its direction."""
    sign = "≥" if threshold.direction == "at_least" else "≤"
    return f"{sign}{NBSP}{threshold_value(threshold, threshold.bar)}"
