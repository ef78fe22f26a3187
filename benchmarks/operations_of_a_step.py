"""Count what a step of Qwen3-30B-A3B asks of a processor: on a GPU each operation is a launch, whatever its size.

Builds the full depth (48 layers of 128 experts) at a width that computes next to nothing, loads it with a LoRA on its
attention, and steps both arms in one batch: by slices, as this project does, and by lists of places, as peft does. The
experts go through transformers' grouped product, as on a GPU without this project's kernel.

    python benchmarks/operations_of_a_step.py      # a minute on a CPU
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from full_size_checkpoint import SHAPES, build_adapter, build_checkpoint
from pytest_jarvis.engines.transformers.generation.batching import padded_length
from pytest_jarvis.engines.transformers.generation.steps import GrowingSteps, pad_left, prefill
from pytest_jarvis.engines.transformers.lora import arms as arms_module
from pytest_jarvis.engines.transformers.lora.arms import select_arms, spans_of
from pytest_jarvis.types import AdapterSpec, GenerationSettings, ModelSpec

if TYPE_CHECKING:
    import torch

NARROW: Final = replace(SHAPES["full"], hidden=64, heads=4, kv_heads=2, head_dim=16, expert_width=64, vocabulary=4096)
ROWS: Final = 2
VIEWS: Final = ("view", "transpose", "slice", "unsqueeze", "expand", "select", "split", "chunk", "alias", "detach")
"""Operations that launch nothing."""
COPIES: Final = "aten.lift_fresh.default"
"""A list of Python made a tensor: on a GPU it is copied there, and the copy waits for what was launched before."""


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count torch's operations by name."""
    from torch.utils._python_dispatch import TorchDispatchMode

    found: Counter[str] = Counter()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found[str(func)] += 1
            return func(*args, **(kwargs or {}))

    with Counting():
        yield found


def load(folder: Path) -> Any:
    """Return the engine on a narrow model of full depth, its linear layers and experts as on a GPU."""
    from bitsandbytes.nn import Linear4bit

    from pytest_jarvis.engines.transformers.engine import TransformersEngine

    base, adapter = folder / "base", folder / "lora"
    build_checkpoint(base, NARROW)
    build_adapter(adapter, NARROW, base)
    spec = ModelSpec(base_model_id=str(base), adapters=(AdapterSpec(name="lora", source=str(adapter)),))
    engine: Any = TransformersEngine(spec, GenerationSettings(max_new_tokens=64, timeout_s=None))
    for module in engine._base.model.modules():
        if isinstance(module, Linear4bit):
            module.__class__ = Linear4bit
            module.support_avx512bf16_for_cpu = False
    engine._base.model.set_experts_implementation("grouped_mm")
    return engine


def step(engine: Any, *, steps: int) -> tuple[Counter[str], list[float]]:
    """Return the operations of one step of both arms, and the seconds of each of `steps` others."""
    import torch

    prompt = engine._chat.encode("ouvre chrome")
    names = ["base"] * (ROWS // 2) + ["lora"] * (ROWS // 2)
    input_ids, mask = pad_left([prompt] * ROWS, padded_length(len(prompt)), engine._pad, engine._model.device)
    with torch.inference_mode():
        cache = prefill(engine._model, names, [prompt] * ROWS, input_ids, mask)
        run = GrowingSteps(engine._model, cache, mask)
        tokens: torch.Tensor = input_ids[:, -1]
        with select_arms(engine._model, names):
            run(tokens)
            with counting() as found:
                run(tokens)
            seconds = []
            for _ in range(steps):
                started = time.process_time()
                run(tokens)
                seconds.append(time.process_time() - started)
    return found, seconds


def main() -> None:
    """Build, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = load(Path(folder))
    took = {}
    for name, spans in (("lists of places", lambda _arms: None), ("slices", spans_of)):
        arms_module.spans_of = spans
        found, seconds = step(engine, steps=options.steps)
        launches = sum(count for operation, count in found.items() if not any(view in operation for view in VIEWS))
        took[name] = statistics.median(seconds)
        print(
            f"{name}: {launches} operations a step, {found[COPIES]} copies of lists to the device, "
            f"{took[name] * 1e3:.0f} ms of processor time a step of {ROWS} rows"
        )
    print(f"ratio: {took['lists of places'] / took['slices']:.2f}")


if __name__ == "__main__":
    main()
