"""The words of the charts: titles, axes, and what each shows for who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_jarvis.render.french.formats import plural, typeset

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
    """Return what the gain of a verdict is called, with « à 4 réponses » of an early one; short before a name."""
    return f"Gain{look}" if look and several else f"{KEY_GAIN}{look}"


def chart_note(shown: int, total: int) -> str:
    """Return how to read the bars' intervals, and which categories are left out."""
    left_out = f" ; {shown} catégories sur {total}" if shown < total else ""
    return typeset(f"traits : intervalles{left_out}")


KEY_NUMBERS: Final = "Les chiffres à retenir"


def with_mean(mean: str) -> str:
    """Return what stands behind an arm's name: its mean."""
    return f" (moy. {mean})"


def subtitle(timestamp: str, quantization: str, device: str, adapters: int) -> str:
    """Return when and on what a run was made."""
    when = f"{timestamp.replace('T', ' ').removesuffix('+00:00')} UTC"
    others = "" if adapters < 2 else plural(adapters, "adaptateur")
    return " · ".join(part for part in (when, quantization, device, others) if part)
