"""What Qwen3-30B-A3B's own layers take on a GPU, allocation by allocation, on a GPU that is simulated.

Builds a checkpoint of the full shape with a few of its 48 layers (random weights), loads it through the product's own
path with a LoRA on its attention, and draws the 30 prompts for both arms; prints what is taken after the load and at
the peaks of the load, of the proofs and of the drawing, and what follows for 48 layers. Bytes are counted as torch asks
for them: without what a CUDA context, libraries and a real allocator's rounding take, and nothing is said of time.

Needs Linux, a C++ compiler, a torch built without CUDA, 8 GB of memory and as many on the disk, and some five minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

SIMULATION: Final = Path(__file__).parents[1] / "plugin" / "tests" / "e2e" / "engine" / "on_gpus"
ALL_LAYERS: Final = 48
SHARDS: Final = "model.safetensors.index.json"


def main() -> None:
    """Compile the simulation and build the checkpoint, then measure in a process that begins with the former."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--new-tokens", type=int, default=8)
    parser.add_argument("--plain", action="store_true", help="read experts out of 4 bits, without the kernel")
    options = parser.parse_args()
    if "JARVIS_SIMULATED_GPUS" in os.environ:
        measure(Path(os.environ["JARVIS_MEASURED"]), options)
        return
    sys.path.insert(0, str(SIMULATION))
    from simulated_gpus import build

    compiler = shutil.which("c++")
    if compiler is None:
        sys.exit("no C++ compiler (c++) is there to simulate a GPU with")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = build(folder, compiler)
        _build(folder, options.layers)
        environment = {**os.environ, "JARVIS_SIMULATED_GPUS": str(library), "JARVIS_MEASURED": temporary}
        subprocess.run([sys.executable, __file__, *sys.argv[1:]], check=True, env=environment)


def _build(folder: Path, layers: int) -> None:
    from full_size_checkpoint import SHAPES, build_adapter, build_checkpoint

    shape = replace(SHAPES["full"], layers=layers)
    build_checkpoint(folder / "base", shape)
    build_adapter(folder / "adapter", shape, folder / "base")


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Load, draw, and print what was taken."""
    sys.path.insert(0, str(SIMULATION))
    import packed_on_host
    import pytest
    import simulated_gpus

    gpus: Any = simulated_gpus.GPUS
    from pytest_jarvis.engines.transformers import engine
    from pytest_jarvis.engines.transformers.engine import TransformersEngine
    from pytest_jarvis.engines.transformers.loading import base as loading
    from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
    from pytest_jarvis.types import AdapterSpec, GenerationSettings, ModelSpec, Request

    peaks: dict[str, int] = {}

    def followed(name: str, function: Any) -> Any:
        def run(*arguments: Any, **named: Any) -> Any:
            gpus.forget_peak()
            found = function(*arguments, **named)
            peaks[name] = gpus.peak_bytes() - gpus.allocated_bytes()
            return found

        return run

    with pytest.MonkeyPatch.context() as patch:
        packed_on_host.put_in_place(patch)
        patch.setattr(loading, "load_base", followed("load", loading.load_base))
        patch.setattr(engine, "use_packed_experts", followed("trial of the kernel", engine.use_packed_experts))
        patch.setattr(TransformersEngine, "_prove", followed("proofs", TransformersEngine._prove))
        spec = ModelSpec(
            base_model_id=str(folder / "base"),
            adapters=(AdapterSpec(name="lora", source=str(folder / "adapter")),),
            plain_gpu=options.plain,
        )
        settings = GenerationSettings(max_new_tokens=options.new_tokens, timeout_s=None)
        loaded = TransformersEngine(spec, settings)
        held = gpus.allocated_bytes()
        cases = load_prompts(packaged_prompts()).cases
        requests = [
            Request(prompt_id=case.prompt_id, text=case.text, arm=arm, replicate=0)
            for case in cases
            for arm in ("base", "lora")
        ]
        draw = followed("drawing", lambda: list(loaded.generate(requests)))
        answers = draw()
    for note in loaded.describe().notes:
        print(f"note: {note}")
    layer = (held - 2 * 151_936 * 2048 * 2) / options.layers
    whole = 2 * 151_936 * 2048 * 2 + ALL_LAYERS * layer
    print(f"after the load: {held / 1e9:.3f} GB with {options.layers} layers; {whole / 1e9:.2f} GB with {ALL_LAYERS}")
    for name, bytes_above in peaks.items():
        print(f"peak of the {name}: {bytes_above / 1e9:.3f} GB above what is there after it")
    tokens = sum(answer.prompt_tokens + options.new_tokens for answer in answers)
    print(f"{len(answers)} answers of {tokens} tokens in all; keys and values take 98,304 bytes a token in 48 layers")


if __name__ == "__main__":
    main()
