"""How a report says what memory a run took."""

from __future__ import annotations

from pytest_jarvis.render.french.formats import NBSP, number, typeset
from pytest_jarvis.types import DeviceMemory, EngineDescription


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
