"""An adapter is attached to a base without weights first: what peft saves passes, what does not fit is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis.engines.transformers.lora.attach import rehearse
from pytest_jarvis.engines.transformers.lora.files import read_adapter
from pytest_jarvis.inputs.adapters import inspect_adapter, matcher
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


def rehearse_on(base: Path, folder: Path) -> None:
    from transformers import AutoConfig

    rehearse(AutoConfig.from_pretrained(base), [read_adapter(AdapterSpec(name="ft", source=str(folder)))])


@pytest.mark.parametrize("lora", SAVED.values(), ids=list(SAVED))
def test_what_peft_saves_is_never_refused(tiny_moe, make_adapter, lora: dict[str, Any], request) -> None:
    folder = make_adapter(tiny_moe, f"shapes-{request.node.callspec.id}", **lora)
    assert matcher(str(tiny_moe))(inspect_adapter(folder)).problem is None
    rehearse_on(tiny_moe, folder)


def test_an_adapter_of_transformers_4_on_each_expert_is_not_refused(tiny_moe, make_adapter, edited_adapter) -> None:
    def rename(tensors: dict[str, Any]) -> None:
        for key in list(tensors):
            name, tensor = key.partition(".self_attn.q_proj"), tensors.pop(key)
            for expert in range(8):
                for projection in ("gate_proj", "up_proj", "down_proj"):
                    tensors[f"{name[0]}.mlp.experts.{expert}.{projection}{name[2]}"] = tensor.clone()

    source = make_adapter(tiny_moe, "shapes-q", target_modules=["q_proj"])
    targets = ["gate_proj", "up_proj", "down_proj"]
    folder = edited_adapter(source, config={"target_modules": targets}, weights=rename)
    assert matcher(str(tiny_moe))(inspect_adapter(folder)).problem is None
    rehearse_on(tiny_moe, folder)


def no_magnitudes(tensors: dict[str, Any]) -> None:
    for key in [key for key in tensors if "magnitude" in key]:
        del tensors[key]


def no_second_half(tensors: dict[str, Any]) -> None:
    del tensors[f"{PREFIX}0.self_attn.v_proj.lora_B.weight"]


def widen(tensors: dict[str, Any]) -> None:
    for key in [key for key in tensors if "lora_A" in key]:
        tensors[key] = tensors[key].repeat(1, 2)


def empty(tensors: dict[str, Any]) -> None:
    key = f"{PREFIX}0.self_attn.v_proj.lora_B.weight"
    tensors[key] = tensors[key][:0]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another rank": ({}, {"config": {"r": 16}}, r".* of another rank .*q_proj\.lora_A\.weight has 4, expected 16"),
    "another width": ({}, {"weights": widen}, r".*size mismatch, .*q_proj\.lora_A\.weight is of shape \(4, 128\)"),
    "a module that is not named": (
        {},
        {"config": {"target_modules": ["q_proj"]}},
        r'.* its configuration does not target: model\.layers\.0\.self_attn\.v_proj, expected \["q_proj"\]',
    ),
    "no module that is there": ({}, {"config": {"target_modules": ["c"]}}, ".* its configuration does not target"),
    "half a pair": ({}, {"weights": no_second_half}, r".* lacks a weight: .*lora_A\.weight, without .*v_proj\.lora_B"),
    "empty": ({}, {"weights": empty}, ".* a file without the LoRA weights"),
    "no weight": ({}, {"weights": dict.clear}, ".* a file without the LoRA weights"),
    "no magnitudes": ({"use_dora": True}, {"weights": no_magnitudes}, "its file lacks .*lora_magnitude_vector"),
    "magnitudes": ({"use_dora": True}, {"config": {"use_dora": False}}, "the model has no place for 4 of its weights"),
    "a broken pattern": ({}, {"config": {"target_modules": "(("}}, "it cannot be attached to this base: .*subpattern"),
}
"""How peft saved an adapter, how it was changed since, and what is said of it."""


@pytest.fixture
def spoilt(tiny_moe, make_adapter, edited_adapter) -> Make:
    """A function that writes an adapter of the table by its name there."""

    def write(name: str) -> Path:
        lora, change, _ = REFUSED[name]
        source = make_adapter(tiny_moe, f"shapes-{'dora' if lora else 'plain'}", target_modules=BOTH, **lora)
        return edited_adapter(source, **change)

    return write


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_does_not_fit_is_one_sentence(tiny_moe, spoilt, name: str) -> None:
    with pytest.raises(EngineError, match=rf"^adapter 'ft': {REFUSED[name][-1]}[^\n]*$"):
        rehearse_on(tiny_moe, spoilt(name))


def test_what_does_not_fit_is_refused_before_a_weight_of_the_base_is_read(
    tiny_moe, load_engine, spoilt, monkeypatch
) -> None:
    monkeypatch.setattr("pytest_jarvis.engines.transformers.engine.is_small", lambda _: False)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    with pytest.raises(EngineError, match="size mismatch"):
        load_engine(tiny_moe, ("ft", spoilt("another width")))


def test_a_model_that_cannot_be_built_without_weights_is_left_to_the_load(tiny_moe, spoilt, monkeypatch) -> None:
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_config", None)
    rehearse_on(tiny_moe, spoilt("another width"))


@pytest.mark.parametrize(("name", "said"), [("another width", "size mismatch"), ("another rank", "of another rank")])
def test_a_file_of_torch_is_rehearsed_too(tiny_moe, spoilt, name: str, said: str) -> None:
    import torch
    from safetensors.torch import load_file

    folder = spoilt(name)
    file = folder / "adapter_model.safetensors"
    torch.save(load_file(file), folder / "adapter_model.bin")
    file.unlink()
    with pytest.raises(EngineError, match=said):
        rehearse_on(tiny_moe, folder)
