"""What peft itself saves is never taken for weights of another configuration; what it would refuse is told early."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis.engines.transformers.lora.files import read_adapter
from pytest_jarvis.inputs.adapters import look_at
from pytest_jarvis.types import AdapterSpec, EngineError

Make = Callable[..., Path]
BOTH = ["q_proj", "v_proj"]
FUSED = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
PREFIX = "base_model.model.model.layers."

SAVED: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": BOTH},
    "rank-stabilised": {"target_modules": BOTH, "use_rslora": True},
    "ranks by name": {"target_modules": BOTH, "rank_pattern": {"q_proj": 2, r".*layers\.1\.self_attn\.v_proj": 6}},
    "ranks from the start": {"target_modules": BOTH, "rank_pattern": {"^model.layers.1.self_attn.v_proj": 6}},
    "whole modules": {"target_modules": BOTH, "modules_to_save": ["lm_head", "embed_tokens"]},
    "one layer": {"target_modules": BOTH, "layers_to_transform": [1]},
    "all linear layers": {"target_modules": "all-linear"},
    "a pattern": {"target_modules": r".*self_attn\.(q|v)_proj"},
    "a pattern of experts": {"target_modules": r".*\.(q_proj|gate_proj|up_proj|down_proj)"},
    "experts by old names": {"target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"]},
    "experts": {"target_modules": ["q_proj"], "target_parameters": FUSED},
    "experts alone": {"target_modules": [], "target_parameters": ["down_proj"]},
    "experts of two ranks": {
        "target_modules": ["q_proj"],
        "target_parameters": FUSED,
        "rank_pattern": {"experts.down_proj": 3},
    },
    "router": {"target_modules": ["q_proj"], "target_parameters": ["mlp.gate.weight"]},
    "DoRA": {"target_modules": BOTH, "use_dora": True},
    "DoRA of embeddings": {"target_modules": ["q_proj", "embed_tokens", "lm_head"], "use_dora": True},
    "single tokens": {"target_modules": BOTH, "trainable_token_indices": [1, 2]},
    "biases": {"target_modules": BOTH, "lora_bias": True},
    "names of other families": {"target_modules": ["q_proj", "query", "w1"]},
    "without some": {"target_modules": BOTH, "exclude_modules": ["layers.0.self_attn.q_proj"]},
    "whole names": {"target_modules": ["model.layers.0.self_attn.q_proj"]},
    "in blocks": {"target_modules": BOTH, "use_bdlora": {"target_modules_bd_a": BOTH, "nblocks": 2}},
}


@pytest.mark.parametrize("lora", SAVED.values(), ids=list(SAVED))
def test_what_peft_saves_is_never_refused(
    tiny_moe: Path, make_adapter: Make, lora: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    folder = make_adapter(tiny_moe, f"shapes-{request.node.callspec.id}", **lora)
    found = look_at(folder)
    assert (None, None) == (found.problem, found.mismatch)
    assert read_adapter(AdapterSpec(name="ft", source=str(folder))).rank == 4


def test_an_adapter_of_transformers_4_on_each_expert_is_not_refused(
    tiny_moe: Path, make_adapter: Make, edited_adapter: Make
) -> None:
    def rename(tensors: dict[str, Any]) -> None:
        for key in list(tensors):
            name, tensor = key.partition(".self_attn.q_proj"), tensors.pop(key)
            for expert in range(8):
                for projection in ("gate_proj", "up_proj", "down_proj"):
                    tensors[f"{name[0]}.mlp.experts.{expert}.{projection}{name[2]}"] = tensor.clone()

    source = make_adapter(tiny_moe, "shapes-q", target_modules=["q_proj"])
    targets = ["gate_proj", "up_proj", "down_proj"]
    folder = edited_adapter(source, config={"target_modules": targets}, weights=rename)
    assert look_at(folder).problem is None


def no_magnitudes(tensors: dict[str, Any]) -> None:
    for key in [key for key in tensors if "magnitude" in key]:
        del tensors[key]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another rank": (
        {},
        {"config": {"r": 16}},
        rf"{PREFIX}0\.self_attn\.q_proj\.lora_A\.weight is of rank 4, and its adapter_config\.json says 16",
    ),
    "a module that is not named": (
        {},
        {"config": {"target_modules": ["q_proj"]}},
        r"its file holds weights for model\.layers\.0\.self_attn\.v_proj",
    ),
    "DoRA without magnitudes": (
        {"use_dora": True},
        {"weights": no_magnitudes},
        "its file lacks lora_magnitude_vector, and use_dora is true",
    ),
    "magnitudes without DoRA": (
        {"use_dora": True},
        {"config": {"use_dora": False}},
        "its file holds .*lora_magnitude_vector, and use_dora is not true",
    ),
    "no weight": (
        {},
        {"weights": dict.clear},
        "its file lacks every weight of a LoRA, and target_modules is q_proj, v_proj",
    ),
}
"""How peft saved an adapter, how it was changed since, and what is said of it."""


@pytest.fixture
def spoilt(tiny_moe: Path, make_adapter: Make, edited_adapter: Make) -> Make:
    """A function that writes an adapter of the table by its name there."""

    def write(name: str) -> Path:
        lora, change, _ = REFUSED[name]
        source = make_adapter(tiny_moe, f"shapes-{'dora' if lora else 'plain'}", target_modules=BOTH, **lora)
        return edited_adapter(source, **change)

    return write


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_peft_would_refuse_is_said_before_the_base_is_loaded(
    tiny_moe: Path, load_engine: Callable[..., Any], spoilt: Make, name: str
) -> None:
    folder, said = spoilt(name), REFUSED[name][-1]
    assert "mismatch" == look_at(folder).problem
    with pytest.raises(EngineError, match=rf"^adapter 'ft': {said}[^\n]*; adapter_config\.json and [^\n]*$"):
        load_engine(tiny_moe, ("ft", folder), device_map="cuda:9")


@pytest.mark.parametrize("name", list(REFUSED)[:4])
def test_a_file_of_torch_is_held_against_its_configuration_too(spoilt: Make, name: str) -> None:
    import torch
    from safetensors.torch import load_file

    folder = spoilt(name)
    file = folder / "adapter_model.safetensors"
    torch.save(load_file(file), folder / "adapter_model.bin")
    file.unlink()
    with pytest.raises(EngineError, match=rf"^adapter 'ft': {REFUSED[name][-1]}"):
        read_adapter(AdapterSpec(name="ft", source=str(folder)))
