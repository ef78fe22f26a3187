"""Measure Qwen3-30B-A3B at its real size: its load in 4 bits, its memory, and how fast both arms answer.

Builds the full architecture with random weights as a sharded checkpoint (laid out as on the hub, each expert apart),
and a LoRA on its attention; loads both through the product's own path, and draws the 30 prompts for both arms in the
same batches. Prints the memory at the peak of the load and of the generation, seconds per phase, tokens per second,
the ratio to one-by-one generation, and the ratio to the floor: the bytes that must move, at the bandwidth measured.

    python benchmarks/full_size.py                 # 61 GB of memory-backed storage (/dev/shm), one GPU of 24 GB
    python benchmarks/full_size.py --size small    # the same on a CPU, in a minute
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from full_size_checkpoint import SHAPES, build_adapter, build_checkpoint
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
from pytest_jarvis.run.runner import BenchmarkRun, Plan
from pytest_jarvis.types import (
    AdapterSpec,
    EngineDescription,
    GatePlan,
    GenerationSettings,
    ModelSpec,
    Progress,
    PromptCase,
)

if TYPE_CHECKING:
    import torch

    from pytest_jarvis.engines.transformers.engine import TransformersEngine

PEAK_BAR_BYTES: Final = 20e9
"""The load included."""
SECONDS_BAR: Final = 15.0
RATIO_BAR: Final = 20.0


class Silent:
    """Shows nothing, and keeps how many tokens were drawn."""

    def __init__(self) -> None:
        self.tokens = 0

    def show_loading(self) -> None:
        """Show nothing."""

    def show_loaded(self, _description: EngineDescription, _seconds: float) -> None:
        """Show nothing."""

    def show_progress(self, _look: int, _progress: Progress) -> None:
        """Show nothing."""

    def show_look(self, _look: int, progress: Progress) -> None:
        """Keep the tokens."""
        self.tokens = progress.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run took."""

    description: EngineDescription
    timings_s: dict[str, float]
    responses: int
    tokens: int
    failures: int
    one_by_one_s: float
    """Of as many responses as the run drew, from those that were drawn one by one."""
    floor_s: float
    dequantise_s: float
    """Reading all experts out of 4 bits once, as each step does without the kernel."""
    plain_s: float | None
    """Of the same responses without the kernel for experts in 4 bits and without recorded steps; None on a CPU."""


def measure(base: Path, adapter: Path, *, new_tokens: int, alone: int) -> Measured:
    """Run the 30 prompts on both arms in the same batches, then `alone` responses of each arm one by one."""
    from pytest_jarvis.engines.transformers.engine import TransformersEngine

    spec = AdapterSpec(name="lora", source=str(adapter))
    settings = GenerationSettings(max_new_tokens=new_tokens, timeout_s=None)
    prompts = load_prompts(packaged_prompts())
    listener = Silent()
    plan = Plan(cases=prompts.cases, adapters=(spec,), gate=GatePlan(looks=(1,)), tools=prompts.tools)
    run = BenchmarkRun(
        plan,
        load=lambda: TransformersEngine(ModelSpec(base_model_id=str(base), adapters=(spec,)), settings),
        listener=listener,
    )
    run.generate()
    facts = run.facts()
    if facts is None:
        raise SystemExit("nothing was loaded")
    engine: Any = run.engine
    planned = len(prompts.cases) * len(plan.arms)
    failures = sum(len(run.failures(case)) for case in prompts.cases)
    texts = [case.text for case in prompts.cases[:alone]]
    one_by_one = draw_one_by_one(engine, texts, arms=plan.arms) / (len(texts) * len(plan.arms)) * planned
    measured = Measured(
        description=facts.engine,
        timings_s=facts.timings_s,
        responses=planned - failures,
        tokens=listener.tokens,
        failures=failures,
        one_by_one_s=one_by_one,
        floor_s=new_tokens * bytes_of_a_step(facts.engine) / bandwidth(engine._base.device),
        dequantise_s=dequantise_all(engine),
        plain_s=draw_plainly(engine, prompts.cases, arms=plan.arms),
    )
    run.close()
    return measured


def draw_one_by_one(engine: TransformersEngine, texts: list[str], *, arms: tuple[str, ...]) -> float:
    """Return the seconds that one response of each arm to each of `texts` takes, a batch of one row each.

    On the same weights, without the rows that steady the arithmetic of small batches, which would only slow it down.
    """
    from pytest_jarvis.engines.transformers.generation.batching import Row, make_batch
    from pytest_jarvis.types import Request

    started = time.perf_counter()
    for number, text in enumerate(texts):
        for arm in arms:
            request = Request(prompt_id=f"alone-{number}", text=text, arm=arm, replicate=0)
            row = Row(index=0, request=request, tokens=engine._chat.encode(text))
            engine._runner.run(make_batch([row]), fill=False)
    return time.perf_counter() - started


def draw_plainly(engine: Any, cases: Sequence[PromptCase], *, arms: tuple[str, ...]) -> float | None:
    """Return the seconds of a response of each arm to each case, the experts read out at every step, nothing recorded.

    None on a CPU, where it is no other way.
    """
    from pytest_jarvis.engines.transformers.nf4.compute import find_packed_experts
    from pytest_jarvis.engines.transformers.nf4.experts import BATCH_INVARIANT
    from pytest_jarvis.types import Request

    if engine._base.device.type != "cuda":
        return None
    engine._base.model.set_experts_implementation(BATCH_INVARIANT)
    engine._runner._fixed = False
    for _, _, entry in find_packed_experts(engine._base.model):
        entry[0].stays_packed = False  # a batch leaves room for them again
    asked = [Request(prompt_id=case.prompt_id, text=case.text, arm=arm, replicate=0) for case in cases for arm in arms]
    started = time.perf_counter()
    list(engine.generate(asked))
    return time.perf_counter() - started


def bytes_of_a_step(description: EngineDescription) -> int:
    """Return the bytes a step must read: every weight that is stored but the embeddings, of which it looks up rows.

    With 60 rows of 8 experts out of 128, a step needs 98 % of all experts.
    """
    return sum(size for kind in description.coverage.kinds if kind.kind != "embeddings" for size in kind.bytes.values())


def bandwidth(device: torch.device) -> float:
    """Return the bytes per second that a copy reads and writes on a device."""
    import torch

    source = torch.empty(1 << (30 if device.type == "cuda" else 27), dtype=torch.uint8, device=device).zero_()
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        _wait(device)
        started = time.perf_counter()
        target.copy_(source)
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * source.nbytes / best


def dequantise_all(engine: TransformersEngine) -> float:
    """Return the seconds that reading every expert tensor out of 4 bits takes."""
    import torch

    from pytest_jarvis.engines.transformers.nf4.compute import find_packed_experts

    device = engine._base.device
    best = float("inf")
    with torch.inference_mode():
        for _ in range(3):
            _wait(device)
            started = time.perf_counter()
            for owner, name, _ in find_packed_experts(engine._base.model):
                getattr(owner, name)
            _wait(device)
            best = min(best, time.perf_counter() - started)
    return best


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def lines(measured: Measured) -> Iterator[str]:
    """Yield what was measured, a line each."""
    description, seconds = measured.description, measured.timings_s
    yield f"device: {description.device}, computing in {description.compute_dtype}, batches: {description.batching}"
    yield f"weights: {description.coverage.storage.format}, {sum(_sizes(description)) / 1e9:.2f} GB stored"
    for reading in description.loaded_memory:
        yield f"after the load: {reading}; peak of the load {reading.peak_bytes / 1e9:.1f}GB"
    for reading in description.memory:
        yield f"at the end: {reading}; peak since the load {reading.peak_bytes / 1e9:.1f}GB"
    yield "seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    yield f"responses: {measured.responses} ({measured.failures} failures), {measured.tokens} new tokens"
    generate = seconds["generate"]
    yield f"generation: {measured.tokens / generate:.0f} tokens/s in {generate:.2f} s"
    alone = measured.one_by_one_s
    yield f"one by one: {alone:.1f} s for as many responses, ratio {alone / generate:.1f}"
    yield f"floor: {measured.floor_s:.2f} s of moving weights, ratio {generate / measured.floor_s:.1f} to it"
    yield f"reading all experts out of 4 bits once: {measured.dequantise_s * 1e3:.1f} ms"
    if measured.plain_s is not None:
        plain = measured.plain_s
        yield f"without the kernel and without recorded steps: {plain:.1f} s, ratio {plain / generate:.2f}"
    for note in description.notes:
        yield f"note: {note}"


def bars(measured: Measured) -> Iterator[str]:
    """Yield each bar of the full size on a GPU, and whether it holds."""
    readings = (*measured.description.loaded_memory, *measured.description.memory)
    peak = max(reading.peak_bytes for reading in readings)
    generate = measured.timings_s["generate"]
    ratio = measured.one_by_one_s / generate
    for name, value, bar, holds in (
        ("peak memory (GB)", peak / 1e9, PEAK_BAR_BYTES / 1e9, peak <= PEAK_BAR_BYTES),
        ("generation (s)", generate, SECONDS_BAR, generate <= SECONDS_BAR),
        ("times faster than one by one", ratio, RATIO_BAR, ratio >= RATIO_BAR),
    ):
        yield f"{'holds' if holds else 'MISSED'}: {name}: {value:.1f}, bar {bar:g}"


def _sizes(description: EngineDescription) -> Iterator[int]:
    for kind in description.coverage.kinds:
        yield from kind.bytes.values()


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SHAPES), default="full")
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--alone", type=int, default=2, help="prompts that are drawn one by one, for both arms")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is kept (default: a temporary folder)")
    options = parser.parse_args()
    memory_backed = Path("/dev/shm")  # noqa: S108  # named to be fast, not to be shared
    parent = memory_backed if options.size == "full" and memory_backed.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent) as temporary:
        folder = options.folder or Path(temporary)
        started = time.perf_counter()
        base, adapter = folder / f"qwen3-moe-{options.size}", folder / f"lora-{options.size}"
        if not (base / "model.safetensors.index.json").is_file():
            size = build_checkpoint(base, SHAPES[options.size])
            build_adapter(adapter, SHAPES[options.size], base)
            print(f"built {size / 1e9:.1f} GB in {time.perf_counter() - started:.0f} s", flush=True)
        measured = measure(base, adapter, new_tokens=options.new_tokens, alone=options.alone)
    for line in lines(measured):
        print(line)
    if options.size == "full":
        for line in bars(measured):
            print(line)


if __name__ == "__main__":
    main()
