"""What a report and the progress say of memory."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_jarvis.render import terminal
from pytest_jarvis.render.french.formats import NBSP
from pytest_jarvis.render.french.memory import memory_of_a_run
from pytest_jarvis.types import DeviceMemory, EngineDescription, Progress, QuantizationCoverage

LOADED = DeviceMemory(
    device="GPU 0",
    allocated_bytes=17 * 10**9,
    peak_bytes=18 * 10**9,
    reserved_bytes=20 * 10**9,
    total_bytes=24 * 10**9,
)
NOW = dataclasses.replace(LOADED, allocated_bytes=17 * 10**9 + 1, peak_bytes=21 * 10**9)


def described(*now: DeviceMemory, loaded: tuple[DeviceMemory, ...] = ()) -> EngineDescription:
    return EngineDescription(
        engine="transformers",
        base_model="m",
        display_name="m",
        is_demo=False,
        is_real=True,
        device="GPU",
        compute_dtype="bfloat16",
        coverage=QuantizationCoverage(label="NF4", share_4bit=1.0),
        adapters=(),
        batching="none",
        memory=now,
        loaded_memory=loaded,
    )


def test_the_peaks_of_loading_and_of_what_came_after_are_told_apart() -> None:
    assert (
        "GPU 0 : 17,0 Go (20,0 Go réservés) sur 24,0 Go une fois chargé, "
        "au plus 18,0 Go au chargement et 21,0 Go ensuite"
    ) == memory_of_a_run(described(NOW, loaded=(LOADED,))).replace(NBSP, " ")


def test_a_report_from_before_loads_were_read_has_one_peak() -> None:
    cpu = dataclasses.replace(NOW, device="CPU", reserved_bytes=None)
    assert "CPU : 17,0 Go sur 24,0 Go, au plus 21,0 Go" == memory_of_a_run(described(cpu)).replace(NBSP, " ")


def test_an_engine_without_readings_says_nothing_of_memory() -> None:
    assert memory_of_a_run(described()) == ""


def test_the_progress_ends_with_the_memory_of_each_device() -> None:
    progress = Progress(responses_done=1, responses_planned=2, tokens=10, elapsed_s=1.0, memory=(LOADED,))
    line = terminal.progress_line(4, progress, progress.memory)
    assert line.endswith(" | GPU 0: 17.0GB / 20.0GB reserved / 24.0GB total")


@pytest.mark.parametrize("memory", [True, False])
def test_the_configuration_can_switch_the_memory_off(pytester: pytest.Pytester, memory: bool) -> None:
    from pytest_jarvis.inputs.config import LoggingSection
    from pytest_jarvis.plugin.terminal import LiveTerminal

    live = LiveTerminal(pytester.parseconfigure(), "m", logging=LoggingSection(gpu_memory=memory))
    said: list[str] = []
    live._line = said.append  # type: ignore[method-assign]
    live.drawn(4, Progress(responses_done=2, responses_planned=2, tokens=10, elapsed_s=1.0, memory=(LOADED,)))
    assert memory == ("reserved" in said[0])
