"""A checkpoint of Qwen3-MoE's architecture with random weights, and a LoRA on its attention, for `full_size.py`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest_jarvis

if TYPE_CHECKING:
    import torch

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
