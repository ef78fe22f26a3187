"""What a report and the progress say of memory."""

import dataclasses

import pytest

from pytest_jarvis.render import terminal
from pytest_jarvis.types import DeviceMemory, EngineDescription, Progress, QuantizationCoverage, Storage

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
        coverage=QuantizationCoverage(storage=Storage(format="nf4"), share_4bit=1.0),
        adapters=(),
        batching="none",
        memory=now,
        loaded_memory=loaded,
    )


def test_the_progress_ends_with_the_memory_of_each_device() -> None:
    progress = Progress(responses_done=1, responses_planned=2, tokens=10, elapsed_s=1.0, memory=(LOADED,))
    line = terminal.progress_line(4, progress, progress.memory)
    assert line.endswith(" | GPU 0: 17.0GB / 20.0GB reserved / 24.0GB total")


@pytest.mark.parametrize("memory", [True, False])
def test_the_configuration_can_switch_the_memory_off(pytester, memory: bool) -> None:
    from pytest_jarvis.inputs.config import LoggingSection
    from pytest_jarvis.plugin.terminal import LiveTerminal

    live = LiveTerminal(pytester.parseconfigure(), "m", logging=LoggingSection(gpu_memory=memory))
    said: list[str] = []
    live._line = said.append  # type: ignore[method-assign]
    live.drawn(4, Progress(responses_done=2, responses_planned=2, tokens=10, elapsed_s=1.0, memory=(LOADED,)))
    assert memory == ("reserved" in said[0])
