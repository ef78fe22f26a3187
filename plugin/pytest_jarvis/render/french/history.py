"""Words for the list of saved runs and its trend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_jarvis.render.french.comparing import day_of, setting_label
from pytest_jarvis.render.french.formats import plural, printable, typeset
from pytest_jarvis.render.french.labels import storage
from pytest_jarvis.report.history import HistoryEntry, Series
from pytest_jarvis.stats.gate import GateVerdict

TITLE: Final = "Gain de pertinence au fil des essais"
HEADS: Final = ("date (UTC)", "commit", "adaptateur", "k", "gain", "intervalle", "verdict")
TREND_OF: Final = "Tendance"
VERDICTS: Final[Mapping[GateVerdict, str]] = {
    "PASS": "accepté",
    "FAIL": "refusé",
    "INCONCLUSIVE": "non tranché",
    "NOT_JUDGED": "non jugé",
    "OFF": "sans seuil",
}
NO_TREND: Final = typeset(
    "Pas de tendance : aucun essai mené à son terme dans cette série n’a de gain qui lui soit propre."
)
GAIN_AXIS: Final = "gain de pertinence"
REPLAY: Final = "relecture"
TWIN: Final = "A/A"
INTERRUPTED: Final = "interrompu"
SELECTION: Final = "sélection"


def no_run(folder: str) -> str:
    """Return that a folder holds no saved run."""
    return typeset(f"Aucun essai sous {printable(folder)} : pytest tests/ --jarvis-report en enregistre un.")


def series_title(place: int, series: Series) -> str:
    """Return what a series of comparable runs shares, and what sets it apart from the one before."""
    fake = "" if series.is_real else ", moteur factice"
    said = (
        f"Série {place} : {printable(series.base_model)}, {printable(storage(series.quantization))}, prompts "
        f"{series.prompt_hash[:8]}{fake} ({plural(series.runs, 'essai')})"
    )
    if not series.differs:
        return typeset(said)
    return typeset(f"{said}. Pas comparable à la précédente : {', '.join(map(setting_label, series.differs))}.")


def verdict_of(entry: HistoryEntry) -> str:
    """Return the verdict of a run in a word; for one that has none of its own, what it is."""
    if entry.is_twin:
        return TWIN
    if entry.is_replay:
        return REPLAY
    if entry.is_interrupted:
        return INTERRUPTED
    return SELECTION if entry.is_selection else VERDICTS[entry.verdict]


def trend_title(adapter: str) -> str:
    """Return whose trend follows, where a series has several."""
    return typeset(f"{TREND_OF} : {printable(adapter)}")


def commit_of(entry: HistoryEntry) -> str:
    """Return the first seven digits of the commit, with a plus where files differed from it."""
    return "–" if entry.commit is None else f"{printable(entry.commit)[:7]}{'+' if entry.dirty else ''}"


def date_of(entry: HistoryEntry) -> str:
    """Return when the run was made."""
    return day_of(entry.timestamp)


def baseline_line(entry: HistoryEntry) -> str:
    """Return which of the runs is the baseline."""
    return typeset(f"Référence : {date_of(entry)} · {printable(entry.report)}")


def skipped(sentence: str) -> str:
    """Return that a damaged report was passed over."""
    return typeset(f"Rapport ignoré : {printable(sentence)}")


def written(path: str) -> str:
    """Return where the trend was drawn."""
    return typeset(f"Tendance dessinée : {printable(path)}")


def legend(*, dirty: bool) -> str:
    """Return how the list is to be read."""
    return typeset(
        "[──o──] : intervalle et gain vu ; │ : gain nul. k : réponses par prompt sur lesquelles porte le verdict."
        + (" + : fichiers modifiés depuis le commit." if dirty else "")
    )
