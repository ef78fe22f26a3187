"""Checkpoints that are quantised already: bitsandbytes' own load whole, experts included; others say what they are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis.types import EngineError, Storage

PACKED = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "bfloat16",
}


def state_quantization(folder: Path, stated: dict[str, Any]) -> None:
    """Say in a checkpoint's configuration how it is quantised."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "quantization_config": stated}), encoding="utf-8")


@pytest.fixture(scope="module")
def packed_by_4(tiny_moe, tmp_path_factory) -> Path:
    """The tiny mixture as transformers 4 and bitsandbytes saved it: each expert's projections packed linear layers."""
    import bitsandbytes.functional as bnb
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("packed") / "by-4"
    shutil.copytree(tiny_moe, folder)
    tensors = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        tensors[name] = weight
        if "_proj" in name:
            code, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
            tensors[name] = code
            tensors |= {f"{name}.{part}": tensor for part, tensor in state.as_dict(packed=True).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    state_quantization(folder, PACKED)
    return folder


@pytest.fixture(scope="module")
def packed_by_5(packed_by_4, tiny_moe) -> Path:
    """The same as transformers 5 saves it: its experts in 16 bits."""
    from safetensors.torch import load_file, save_file

    folder = packed_by_4.with_name("by-5")
    shutil.copytree(packed_by_4, folder)
    packed, plain = (load_file(source / "model.safetensors") for source in (packed_by_4, tiny_moe))
    tensors = {name: tensor for name, tensor in packed.items() if ".experts." not in name}
    tensors |= {name: tensor for name, tensor in plain.items() if ".experts." in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def experts(engine: Any) -> dict[str, tuple[Any, Any]]:
    """Each fused expert tensor of an engine's base: (4-bit codes, weights as they are read)."""
    from pytest_jarvis.engines.transformers.nf4.compute import find_packed_experts

    model = engine._base.model
    return {
        f"{index}.{name}": (getattr(owner.parametrizations, name).original.data, getattr(owner, name))
        for index, (owner, name, _) in enumerate(find_packed_experts(model))
    }


@pytest.mark.parametrize(("folder", "tolerance"), [("packed_by_4", 0.03), ("packed_by_5", 0.0)])
def test_a_packed_mixture_holds_the_experts_that_packing_on_load_gives(
    folder: str, tolerance: float, tiny_moe, load_engine, request
) -> None:
    # The codes are the same to the bit. Scales that were packed once more, experts together, move by the error of
    # their own 8 bits.
    import torch

    engine, plain = load_engine(request.getfixturevalue(folder)), load_engine(tiny_moe)
    expected = experts(plain)
    for name, (codes, weights) in experts(engine).items():
        assert torch.equal(expected[name][0], codes)
        torch.testing.assert_close(weights, expected[name][1], rtol=tolerance, atol=0.0)
    assert engine.describe().coverage.share_4bit == 1.0
    assert engine.describe().coverage.storage == Storage(format="nf4")


def test_a_packed_dense_model_gives_the_logits_of_its_own_weights(load_engine, tiny_dense, tmp_path) -> None:
    import bitsandbytes.functional as bnb
    import numpy as np
    from safetensors.torch import load_file, save_file

    packed, unpacked = tmp_path / "packed", tmp_path / "unpacked"
    files: dict[Path, dict[str, Any]] = {packed: {}, unpacked: {}}
    for name, weight in load_file(tiny_dense / "model.safetensors").items():
        files[packed][name] = files[unpacked][name] = weight
        if "_proj" in name:
            code, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
            files[packed][name], files[unpacked][name] = code, bnb.dequantize_4bit(code, state).float()
            files[packed] |= {f"{name}.{part}": tensor for part, tensor in state.as_dict(packed=True).items()}
    for folder, tensors in files.items():
        shutil.copytree(tiny_dense, folder)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    state_quantization(packed, PACKED)
    logits = load_engine(packed).logits(["ouvre chrome"])
    expected = load_engine(unpacked, quantization="none").logits(["ouvre chrome"])
    # The weights of the reference went through 16 bits on their way out of 4.
    np.testing.assert_allclose(logits, expected, atol=0.02 * np.abs(expected).max())


def test_transformers_keeps_its_own_reader_for_others(packed_by_4, load_engine) -> None:
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    before = dict(AUTO_QUANTIZER_MAPPING)
    load_engine(packed_by_4)
    assert before == {name: AUTO_QUANTIZER_MAPPING[name] for name in before}


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_quantisation_whose_library_is_missing_is_one_sentence(
    method: str, tiny_dense, load_engine, edited_model
) -> None:
    stated = {"quant_method": method, "bits": 4, "group_size": 64}
    folder = edited_model(source=tiny_dense, quantization_config=stated)
    with pytest.raises(EngineError, match="the model cannot be loaded") as refused:
        load_engine(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", ["parameter", "buffer"])
def test_weights_of_another_quantisation_are_labelled_by_its_name(tiny_dense, place: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from pytest_jarvis.engines.transformers.nf4.coverage import measure_coverage, refuse_partial, refuse_unpacked

    model = AutoModelForCausalLM.from_pretrained(tiny_dense, dtype=torch.float32)
    for projection in [module for module in model.modules() if isinstance(module, torch.nn.Linear)]:
        codes = torch.zeros(projection.weight.shape, dtype=torch.int8)
        if place == "parameter":
            projection.weight = torch.nn.Parameter(codes, requires_grad=False)
        else:
            projection.register_buffer("qweight", codes.int())
    coverage = measure_coverage(model, requested=True, prequantized="gptq")
    assert coverage.storage == Storage(format="checkpoint", method="gptq")
    assert coverage.share_4bit is None
    refuse_unpacked("model", coverage, prequantized="gptq")
    refuse_partial("model", coverage)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"quant_method": "foo"}, "quantised with 'foo', which transformers does not know"),
        ({"quant_method": "fp8"}, r"quantised \(fp8\), but once loaded none of .* less than 16 bits"),
        (PACKED, r"quantised \(bitsandbytes\), but once loaded none of .* less than 16 bits"),
        (
            {"quant_method": "bitsandbytes", "load_in_8bit": True},
            r"quantised \(bitsandbytes\), but once loaded none of .* less than 16 bits",
        ),
    ],
)
def test_plain_weights_that_are_said_to_be_quantised_are_refused(
    stated: dict[str, Any], said: str, tiny_dense, load_engine, edited_model
) -> None:
    with pytest.raises(EngineError, match=said):
        load_engine(edited_model(source=tiny_dense, quantization_config=stated))


@pytest.mark.parametrize(
    ("memory", "gpus"), [({0: "24GB", "cpu": "64GB"}, {0}), ({0: "12GB", 1: "12GB", "cpu": "64GB"}, {0, 1})]
)
def test_the_full_model_is_placed_by_its_size_in_4_bits(memory: dict[int | str, str], gpus: set[int]) -> None:
    # transformers' own placement, on the real shapes without weights: in 16 bits it would need 61 GB.
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM
    from transformers.integrations.accelerate import _get_device_map

    from pytest_jarvis.engines.transformers.nf4.quantize import ExpertQuantizer, nf4_config

    config = Qwen3MoeConfig(
        vocab_size=151936,
        hidden_size=2048,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        intermediate_size=6144,
        moe_intermediate_size=768,
        num_experts=128,
        num_experts_per_tok=8,
        dtype=torch.bfloat16,
    )
    with torch.device("meta"):
        model = Qwen3MoeForCausalLM(config).to(torch.bfloat16)
    quantizer = ExpertQuantizer(nf4_config(torch.bfloat16), pre_quantized=False)
    quantizer.preprocess_model(model=model, device_map="auto")
    placed = _get_device_map(model, "auto", memory, quantizer)
    assert gpus == set(placed.values())
