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
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest_jarvis
from pytest_jarvis.prompts import load_prompts, packaged_prompts
from pytest_jarvis.records import (
    AdapterSpec,
    EngineDescription,
    GenerationSettings,
    ModelSpec,
    Progress,
)
from pytest_jarvis.session import BenchmarkRun, Plan

if TYPE_CHECKING:
    import torch

    from pytest_jarvis.engines.transformers import TransformersEngine

MEMORY_BARS: Final = {"peak, load included": 20e9}
SECONDS_BAR: Final = 15.0
RATIO_BAR: Final = 20.0
RANK: Final = 16
ATTENTION: Final = ("q_proj", "k_proj", "v_proj", "o_proj")
TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
SHARD_BYTES: Final = 4_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a Qwen3-MoE."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    experts_per_token: int
    expert_width: int
    vocabulary: int

    def config(self, tokenizer_config: dict[str, Any]) -> dict[str, Any]:
        """Return what `config.json` says."""
        return {
            "architectures": ["Qwen3MoeForCausalLM"],
            "model_type": "qwen3_moe",
            "dtype": "bfloat16",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": 3 * self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "num_experts": self.experts,
            "num_experts_per_tok": self.experts_per_token,
            "moe_intermediate_size": self.expert_width,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "max_position_embeddings": 40960,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "tie_word_embeddings": False,
            "vocab_size": self.vocabulary,
            **{key: tokenizer_config[key] for key in ("eos_token_id", "pad_token_id")},
        }

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of each tensor, as the hub's checkpoint has them."""
        yield "model.embed_tokens.weight", (self.vocabulary, self.hidden)
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        for layer in range(self.layers):
            block = f"model.layers.{layer}"
            yield f"{block}.input_layernorm.weight", (self.hidden,)
            yield f"{block}.post_attention_layernorm.weight", (self.hidden,)
            yield f"{block}.self_attn.q_norm.weight", (self.head_dim,)
            yield f"{block}.self_attn.k_norm.weight", (self.head_dim,)
            for name, out, into in (
                ("q_proj", queries, self.hidden),
                ("k_proj", keys, self.hidden),
                ("v_proj", keys, self.hidden),
                ("o_proj", self.hidden, queries),
            ):
                yield f"{block}.self_attn.{name}.weight", (out, into)
            yield f"{block}.mlp.gate.weight", (self.experts, self.hidden)
            for expert in range(self.experts):
                for name, out, into in (
                    ("gate_proj", self.expert_width, self.hidden),
                    ("up_proj", self.expert_width, self.hidden),
                    ("down_proj", self.hidden, self.expert_width),
                ):
                    yield f"{block}.mlp.experts.{expert}.{name}.weight", (out, into)
        yield "model.norm.weight", (self.hidden,)
        yield "lm_head.weight", (self.vocabulary, self.hidden)


SHAPES: Final = {
    # https://huggingface.co/Qwen/Qwen3-30B-A3B/blob/main/config.json
    "full": Shape(
        hidden=2048,
        layers=48,
        heads=32,
        kv_heads=4,
        head_dim=128,
        experts=128,
        experts_per_token=8,
        expert_width=768,
        vocabulary=151_936,
    ),
    "small": Shape(
        hidden=256,
        layers=4,
        heads=8,
        kv_heads=2,
        head_dim=32,
        experts=16,
        experts_per_token=4,
        expert_width=96,
        vocabulary=4096,
    ),
}


def build_checkpoint(folder: Path, shape: Shape, *, seed: int = 0) -> int:
    """Write a random checkpoint of `shape` in shards; return its bytes."""
    import torch
    from safetensors.torch import save_file

    demo = Path(pytest_jarvis.__file__).parent / "demo" / "base"
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(demo, folder, shape.vocabulary)
    stated = shape.config(json.loads((demo / "config.json").read_text(encoding="utf-8")))
    (folder / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(seed)
    shard: dict[str, torch.Tensor] = {}
    places: dict[str, str] = {}
    total = held = 0
    numbers = count(1)

    def flush() -> None:
        nonlocal held
        file = f"model-{next(numbers):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, file))
        shard.clear()
        held = 0

    for name, size in shape.tensors():
        if len(size) == 1:
            tensor = torch.ones(size, dtype=torch.bfloat16)
        else:
            drawn = torch.randn(size, generator=generator, device=device, dtype=torch.float32)
            tensor = (drawn * size[1] ** -0.5).to(torch.bfloat16).cpu()
        shard[name] = tensor
        held += tensor.nbytes
        total += tensor.nbytes
        if held > SHARD_BYTES:
            flush()
    flush()
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return total


def _write_tokenizer(demo: Path, folder: Path, vocabulary: int) -> None:
    """Write the demo's tokenizer with made-up words up to `vocabulary`, so that any token drawn is a text."""
    for name in TOKENIZER_FILES:
        shutil.copyfile(demo / name, folder / name)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    for number in range(len(words), vocabulary):
        words[f"Ġmot{number}"] = number
    file.write_text(json.dumps(tokenizer), encoding="utf-8")


def build_adapter(folder: Path, shape: Shape, base: Path, *, seed: int = 1) -> None:
    """Write a random LoRA of rank 16 on the attention."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, size in shape.tensors():
        if name.endswith(tuple(f"self_attn.{one}.weight" for one in ATTENTION)):
            key = f"base_model.model.{name.removesuffix('.weight')}"
            out, into = size
            tensors[f"{key}.lora_A.weight"] = torch.randn(RANK, into, generator=generator) * into**-0.5
            tensors[f"{key}.lora_B.weight"] = torch.randn(out, RANK, generator=generator) * 0.1
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    stated = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": list(ATTENTION),
    }
    (folder / "adapter_config.json").write_text(json.dumps(stated), encoding="utf-8")


class Silent:
    """Shows nothing, and keeps how many tokens were drawn."""

    def __init__(self) -> None:
        self.tokens = 0

    def loading(self) -> None:
        """Show nothing."""

    def loaded(self, _description: EngineDescription, _seconds: float) -> None:
        """Show nothing."""

    def drawing(self, _look: int, _progress: Progress) -> None:
        """Show nothing."""

    def drawn(self, _look: int, progress: Progress) -> None:
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
    """Reading all experts out of 4 bits once, as each step does."""


def measure(base: Path, adapter: Path, *, new_tokens: int, alone: int) -> Measured:
    """Run the 30 prompts on both arms in the same batches, then `alone` responses of each arm one by one."""
    from pytest_jarvis.engines.transformers import TransformersEngine

    spec = AdapterSpec(name="lora", source=str(adapter))
    settings = GenerationSettings(max_new_tokens=new_tokens, timeout_s=None)
    prompts = load_prompts(packaged_prompts())
    listener = Silent()
    plan = Plan(cases=prompts.cases, adapters=(spec,), looks=(1,), tools=prompts.tools)
    run = BenchmarkRun(
        plan,
        load=lambda: TransformersEngine(ModelSpec(base_model=str(base), adapters=(spec,)), settings),
        listener=listener,
    )
    run.draw()
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
    )
    run.close()
    return measured


def draw_one_by_one(engine: TransformersEngine, texts: list[str], *, arms: tuple[str, ...]) -> float:
    """Return the seconds that one response of each arm to each of `texts` takes, a batch of one row each.

    On the same weights, without the rows that steady the arithmetic of small batches, which would only slow it down.
    """
    from pytest_jarvis.engines.transformers.batching import Row, make_batch
    from pytest_jarvis.records import Request

    started = time.perf_counter()
    for number, text in enumerate(texts):
        for arm in arms:
            request = Request(prompt_id=f"alone-{number}", text=text, arm=arm, replicate=0)
            row = Row(index=0, request=request, tokens=engine._chat.encode(text))
            engine._runner.run(make_batch([row]), fill=False)
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

    from pytest_jarvis.engines.transformers.readings import expert_readings

    device = engine._base.device
    best = float("inf")
    with torch.inference_mode():
        for _ in range(3):
            _wait(device)
            started = time.perf_counter()
            for owner, name, _ in expert_readings(engine._base.model):
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
    yield f"weights: {description.coverage.label}, {sum(_sizes(description)) / 1e9:.2f} GB stored"
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


def bars(measured: Measured) -> Iterator[str]:
    """Yield each bar of the full size on a GPU, and whether it holds."""
    readings = (*measured.description.loaded_memory, *measured.description.memory)
    peak = max(reading.peak_bytes for reading in readings)
    generate = measured.timings_s["generate"]
    ratio = measured.one_by_one_s / generate
    for name, value, bar, holds in (
        ("peak memory (GB)", peak / 1e9, MEMORY_BARS["peak, load included"] / 1e9, peak <= 20e9),
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
