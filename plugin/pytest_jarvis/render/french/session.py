"""What a pytest session says of itself on the terminal, in French."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pytest_jarvis.metrics.registry import COSINE
from pytest_jarvis.render.french.formats import NBSP, number, percent, plural, printable, seconds, typeset
from pytest_jarvis.render.french.labels import BASE, STAGES, device, model_label, quantised
from pytest_jarvis.render.french.metrics import LABELS, digits_of_noise, short_label, spec_named
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.report.schema import FailureRow
from pytest_jarvis.stats.ranking import NoiseFloor
from pytest_jarvis.types import TWIN_ARM, DeviceMemory, EngineDescription

NOT_ASKED_TO_JUDGE: Final = typeset(
    "Non jugé : ajoutez --jarvis-report pour un verdict, un code de sortie et un rapport."
)
NOT_ASKED_TO_JUDGE_PART: Final = typeset(
    "Non jugé : une partie des prompts seulement ; un verdict les veut tous, avec --jarvis-report."
)
RESUME: Final = typeset("Interrompu : la même commande avec --jarvis-reuse reprend les réponses déjà tirées.")
TABLE_HEADS: Final = ("prompts", "clés", "pertinence", "gain", "cosinus")
TOTAL: Final = "Ensemble"
NOISE_HEAD: Final = typeset(
    "A/A : la base contre elle-même, avec un bruit indépendant. Un écart plus petit que le plancher est du bruit :"
)

_BATCHING: Final[Mapping[str, str]] = {
    "mixed": "tous les bras dans les mêmes lots",
    "two passes": "un passage par bras",
    "server": "tous les bras en même temps",
    "none": "sans adaptateur",
}


def hook_sentence(error: str) -> str:
    """Return what is said when a hook of another raised on the report."""
    return typeset(f"pytest_jarvis_report a échoué ({printable(error)}) : le rapport est écrit sans ses changements.")


def all_died() -> str:
    """Return what is said when every process died before it had measured a prompt."""
    return (
        "Aucun processus n’a vécu assez pour mesurer un prompt : il n’y a donc pas de rapport. "
        "Relancez sans -n pour voir ce qui les arrête."
    )


def loading(label: str) -> str:
    """Return what is shown while the engine loads."""
    return typeset(f"JARVIS : chargement : {label}…")


def loaded(engine: EngineDescription, load_s: float) -> list[str]:
    """Return the parts of the line that says what is loaded."""
    named = ", ".join(printable(adapter.name) for adapter in engine.adapters)
    parts = [
        f"JARVIS{NBSP}: {printable(model_label(engine))}",
        quantised(engine.coverage.storage),
        device(engine.device),
        _BATCHING[engine.batching],
        f"adaptateur{'s' if len(engine.adapters) > 1 else ''}{NBSP}: {named}" if named else "",
        f"chargé en {seconds(load_s)}",
    ]
    return [part for part in parts if part]


def case_columns(adapter: str) -> tuple[str, str, str]:
    """Return the heads of a prompt's line: keywords found, relevance, seconds of both arms."""
    return "mots-clés", "pertinence", f"{BASE} | {TWIN_ARM if adapter == TWIN_ARM else 'LoRA'}"


def responses_done(done: int, planned: int) -> str:
    """Return how many responses are drawn."""
    return f"JARVIS{NBSP}: {done}/{planned} réponses"


def time_left(value: float) -> str:
    """Return how long the drawing will take."""
    return f"reste {_whole_seconds(value)}"


def time_spent(value: float) -> str:
    """Return how long the drawing took so far."""
    return f"écoulé {_whole_seconds(value)}"


def per_prompt(look: int) -> str:
    """Return how many responses a prompt gets in each arm."""
    return f"{look} par prompt et par bras"


def responses_each(count: int) -> str:
    """Return how many responses per prompt the means are over."""
    return f"{plural(count, 'réponse')}/prompt"


def noise_line(name: str, floor: NoiseFloor) -> str:
    """Return what an A/A run says of a metric: the difference seen and the noise floor."""
    digits, label = digits_of_noise(name), short_label(spec_named(name))
    seen = number(floor.difference.difference, digits)
    return (
        f"{label:<22} écart vu {seen:>8}   plancher ± {number(floor.floor, digits)} (± {percent(floor.relative_floor)})"
    )


def cosine_line(cosine: float) -> str:
    """Return what two draws of one model reach."""
    return typeset(
        f"{LABELS[COSINE][1]:<22} {number(cosine)} entre deux tirages : un cosinus plus bas montre une différence"
    )


def failure_line(failure: FailureRow) -> str:
    """Return which response could not be made, at which stage and why."""
    stage = STAGES.get(failure.stage, failure.stage)
    return typeset(
        f"échec {failure.prompt_id} ({failure.arm}, réponse {failure.replicate + 1}), étape {stage} : "
        f"{printable(french_note(failure.reason))}"
    )


def more_failures(count: int) -> str:
    """Return how many failures are not shown."""
    return f"… et {plural(count, 'autre échec', 'autres échecs')}"


def demo_model(label: str, storage: str) -> str:
    """Return that the model is the embedded one."""
    return typeset(f"Modèle : {label}, {storage}.")


def folder(path: Path) -> str:
    """Return where the report is."""
    return typeset(f"Rapport : {path}")


def misheard_label(category: str) -> str:
    """Return the label of a category made of misheard prompts."""
    return f"{category.replace('_', ' ').capitalize()}, mal entendues"


def misheard_description(category: str, seed: int) -> str:
    """Return where the prompts of such a category come from."""
    return typeset(
        f"Fabriqués à partir de « {category} » par pytest-jarvis prompts generate (graine {seed}) ; à relire."
    )


def _whole_seconds(value: float) -> str:
    return f"{number(value, 0)}{NBSP}s" if round(value) < 120 else seconds(value)


def memory_of_a_run(engine: EngineDescription) -> str:
    """Return the memory of each device after the load, at its peak, and at the peak of what came after.

    A process says only what its largest size was, whenever that was.
    """
    loaded = {reading.device: reading for reading in engine.loaded_memory}
    parts = []
    for now in engine.memory:
        before = loaded.get(now.device)
        if before is None:
            parts.append(f"{_state(now)}, au plus {_gigabytes(now.peak_bytes)}")
            continue
        peaks = f"au plus {_gigabytes(before.peak_bytes)} au chargement et {_gigabytes(now.peak_bytes)} ensuite"
        parts.append(f"{_state(before)} une fois chargé, {peaks}")
    return typeset(" ; ".join(parts))


def _state(reading: DeviceMemory) -> str:
    """Return the memory of a device: in use, set aside where that is known, and in all."""
    reserved = reading.reserved_bytes
    aside = "" if reserved is None else f" ({_gigabytes(reserved)} réservés)"
    return f"{reading.device}{NBSP}: {_gigabytes(reading.allocated_bytes)}{aside} sur {_gigabytes(reading.total_bytes)}"


def _gigabytes(value: int) -> str:
    return f"{number(value / 1e9, 1)}{NBSP}Go"
