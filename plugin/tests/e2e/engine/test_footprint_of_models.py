"""`footprint` against models themselves: the weights of each family, and the bytes measured once loaded."""

import json
from typing import Any

import pytest

from pytest_jarvis.demo import adapter_path, base_path
from pytest_jarvis.engines.footprint import read_shapes, stored_bytes
from pytest_jarvis.inputs.adapters import inspect_adapter
from pytest_jarvis.inputs.base_model import KNOWN_CONFIGS
from pytest_jarvis.types import AdapterSpec, ModelSpec

SMALL = {
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 160,
}
MIXTURE = {"num_experts": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "llama with biases": {"model_type": "llama", **SMALL, "attention_bias": True},
    "mistral": {"model_type": "mistral", **SMALL},
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 8},
    "qwen2": {"model_type": "qwen2", **SMALL, "head_dim": 16},
    "qwen3": {"model_type": "qwen3", **SMALL, "tie_word_embeddings": True},
    "qwen3_moe": {"model_type": "qwen3_moe", **SMALL, **MIXTURE},
    "qwen3_moe, some layers dense": {"model_type": "qwen3_moe", **SMALL, **MIXTURE, "mlp_only_layers": [1]},
    "qwen3_moe, every second layer": {"model_type": "qwen3_moe", **SMALL, **MIXTURE, "decoder_sparse_step": 2},
    "Qwen3-30B-A3B": dict(KNOWN_CONFIGS["qwen3-30b-a3b"]),
}


@pytest.mark.parametrize("config", FAMILIES.values(), ids=list(FAMILIES))
def test_the_weights_of_a_family_are_those_of_its_model(config: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    shapes = read_shapes(config)
    assert shapes is not None
    assert shapes.weights == sum(parameter.numel() for parameter in model.parameters())


def test_the_bytes_of_the_embedded_pair_are_those_measured() -> None:
    from pytest_jarvis.engines.transformers.engine import TransformersEngine
    from pytest_jarvis.types import GenerationSettings

    adapter = AdapterSpec(name="jarvis", source="demo:jarvis")
    engine = TransformersEngine(ModelSpec(adapters=(adapter,)), GenerationSettings(max_new_tokens=4))
    description = engine.describe()
    engine.close()
    shapes = read_shapes(json.loads((base_path() / "config.json").read_text(encoding="utf-8")))
    assert shapes is not None
    computed = stored_bytes(shapes, nf4=True, element=4)
    measured = {kind.kind: sum(kind.bytes.values()) for kind in description.coverage.kinds}
    assert computed.keys() == measured.keys()
    for kind, size in measured.items():
        assert computed[kind] == pytest.approx(size, rel=0.02), kind  # type: ignore[index]
    assert inspect_adapter(adapter_path("jarvis")).parameters == description.adapters[0].weights


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 96},
        {"model_type": "mpt", "d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 96},
        {"model_type": "qwen3", **SMALL},
        {"model_type": "qwen3_moe", **SMALL, **MIXTURE},
    ],
    ids=lambda settings: settings["model_type"],
)
def test_rows_are_planned_for_families_that_call_their_sizes_otherwise(settings: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from pytest_jarvis.engines.transformers.generation.memory import MOST_ROWS, rows_that_fit

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))
    few, many = (
        rows_that_fit(model, prompt_tokens=tokens, new_tokens=9, dtype=torch.float32) for tokens in (20_000_000, 20)
    )
    assert 1 <= few < many == MOST_ROWS
