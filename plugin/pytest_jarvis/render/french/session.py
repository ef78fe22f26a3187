"""The terminal of a pytest session, and the response store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import structs

from pytest_jarvis.render.french.formats import DASH, NBSP, count_of, number, printable, seconds, size, typeset
from pytest_jarvis.render.french.labels import device, model_label, storage
from pytest_jarvis.render.french.metrics import digits_of_noise, find_spec, short_label
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.schema import FailureRow
from pytest_jarvis.stats.ranking import NoiseFloor
from pytest_jarvis.types import ANSWERS, EngineDescription, StoreProblem

if TYPE_CHECKING:
    from pytest_jarvis.run.store import StoreStats


CASE_HEADS: Final = ("actions faites", "mots-clés", "pertinence")
"""Heads of the line of a prompt."""
TABLE_HEADS: Final = ("prompts", "faites", "clés", "pertinence", "gain")


def engine_parts(engine: EngineDescription, load_s: float) -> list[str]:
    """Return the parts of the line on a loaded engine."""
    named = ", ".join(printable(adapter.name) for adapter in engine.adapters)
    parts = [
        f"JARVIS{NBSP}: {printable(model_label(engine))}",
        storage(engine.coverage.storage, ""),
        device(engine.device),
        table("session.batching")[engine.batching],
        f"adaptateur{'s' if len(engine.adapters) > 1 else ''}{NBSP}: {named}" if named else "",
        f"chargé en {seconds(load_s)}",
    ]
    return parts[:1] if engine.engine == ANSWERS else [part for part in parts if part]


def noise_line(name: str, floor: NoiseFloor) -> str:
    """Return the difference of a metric in an A/A run and its noise floor."""
    digits = digits_of_noise(name)
    return word(
        "session.noise_floor",
        label=short_label(find_spec(name)),
        seen=number(floor.difference.difference, digits),
        floor=number(floor.floor, digits),
        share=floor.relative_floor,
    )


def failure_line(failure: FailureRow) -> str:
    return word(
        "session.failure",
        prompt=failure.prompt_id,
        arm=failure.arm,
        number=failure.replicate + 1,
        stage=table("labels.stages").get(failure.stage, failure.stage),
        reason=french_note(failure.reason),
    )


def whole_seconds(value: float) -> str:
    return f"{number(value, 0)}{NBSP}s" if round(value) < 120 else seconds(value)


def memory_of_a_run(engine: EngineDescription) -> str:
    """Return the memory of each device after the load, at its peak, and at the peak afterwards.

    A process reports only its largest size ever.
    """
    loaded = {reading.device: reading for reading in engine.loaded_memory}
    parts = []
    for now in engine.memory:
        shown = loaded.get(now.device, now)
        sizes = {name: value / 1e9 for name, value in structs.asdict(shown).items() if isinstance(value, int)}
        aside = "" if shown.reserved_bytes is None else word("session.memory_reserved", **sizes)
        state = word("session.memory", device=now.device, aside=aside, **sizes)
        peak = word(
            "session.memory_peaks" if shown is not now else "session.memory_peak", **sizes, now=now.peak_bytes / 1e9
        )
        parts.append(f"{state}{peak}")
    return typeset(" ; ".join(parts))


YES: Final = frozenset({"o", "oui", "y", "yes"})


def problem_sentence(problem: StoreProblem) -> str:
    if problem.kind == "edited":
        return word("store.edited", path=problem.path, count=int(problem.reason))
    return word("store.problem", path=problem.path, why=table("store.why")[problem.kind], reason=problem.reason)


def reused_sentence(reused: Mapping[str, int], generated: Mapping[str, int]) -> str:
    """Return the reused responses of each arm; empty for none."""
    arms = (f"{arm} {count_of(count)}/{count_of(count + generated.get(arm, 0))}" for arm, count in reused.items())
    return word("store.reused", arms=", ".join(arms)) if any(reused.values()) else ""


def stats_lines(stats: StoreStats, path: str) -> list[str]:
    counts = [
        word(
            code, name=one.name, digest=one.digest.removeprefix("sha256:").rpartition("@")[2][:12], count=one.responses
        )
        for code, arms in (("store.base", stats.bases), ("store.adapter", stats.adapters))
        for one in arms
    ]
    return [
        word("store.path", path=path),
        word("store.counted", responses=stats.responses, vectors=stats.vectors, size=size(stats.size_bytes)),
        word("store.written", oldest=_when(stats.oldest), newest=_when(stats.newest)),
        *counts,
    ]


def _when(moment: float | None) -> str:
    return DASH if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
