"""Adapters give the logits of weights merged by hand, in one batch with the base or in a pass of their own."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_models import plain_logits, plain_model, quantised_after_load

from pytest_jarvis.types import EngineError, Request, Response

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
FUSED = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
PROMPTS = ["ouvre chrome", "quelle heure est-il ?"]
PREFIX = "base_model.model."
LORA = {
    "attention only": {"target_modules": ATTENTION},
    "all linear layers": {"target_modules": "all-linear"},
    "rsLoRA": {"target_modules": ATTENTION, "use_rslora": True},
    "modules_to_save": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "fused experts": {"target_modules": ["q_proj"], "target_parameters": FUSED},
    "DoRA": {"target_modules": ATTENTION, "use_dora": True},
}
# peft does not mix rows of DoRA; nor of adapters on experts, which "all linear layers" means too, but this engine does.
MIXED = {*LORA, "transformers 4 experts"} - {"DoRA"}


def base_weights(folder: Path, quantization: str) -> Any:
    """The plain model, its expert and linear weights through NF4 and back where that is the quantization."""
    return quantised_after_load(folder)[0] if quantization == "nf4" else plain_model(folder)


def merge_by_hand(model: Any, adapter: Path) -> Any:
    """Add an adapter's product to the weights it names, by the formulas of LoRA, rsLoRA and DoRA."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    tensors = {
        key.removeprefix(PREFIX): value.float()
        for key, value in load_file(adapter / "adapter_model.safetensors").items()
    }
    rank = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config["use_rslora"] else rank)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for key, a in tensors.items():
            if not key.endswith("lora_A.weight"):
                if "lora_" not in key:
                    weights[key].copy_(a)
                continue
            path = key.removesuffix(".lora_A.weight")
            b = tensors[f"{path}.lora_B.weight"]
            if f"{path}.weight" not in weights:
                for part, product in expert_parts(weights, path, a, b):
                    part.add_(scale * product)
                continue
            weight = weights[f"{path}.weight"]
            merged = weight + scale * b @ a
            magnitude = tensors.get(f"{path}.lora_magnitude_vector")
            if magnitude is not None:
                merged = merged * (magnitude / merged.norm(dim=1)).unsqueeze(-1)
            weight.copy_(merged)
    return model


def expert_parts(weights: dict[str, Any], path: str, a: Any, b: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (a part of fused experts, the product to add to it) for one pair of matrices of an adapter."""
    owner, _, last = path.rpartition(".")
    if owner.rpartition(".")[2].isdigit():
        # As transformers 4 named it: one projection of one expert.
        owner, _, number = owner.rpartition(".")
        part = weights[f"{owner}.{'down_proj' if last == 'down_proj' else 'gate_up_proj'}"][int(number)]
        half = len(part) // 2
        yield part[{"gate_proj": slice(0, half), "up_proj": slice(half, None), "down_proj": slice(None)}[last]], b @ a
        return
    # As peft names a whole tensor: the experts' ranks stacked. Both tensors of a module have the module's name.
    owner = path.removesuffix(".base_layer")
    (whole,) = (
        tensor
        for name in ("gate_up_proj", "down_proj")
        if (tensor := weights[f"{owner}.{name}"]).shape[1:] == (b.shape[0], a.shape[1])
    )
    experts = len(whole)
    downs, ups = a.reshape(experts, -1, a.shape[1]), b.reshape(b.shape[0], -1, experts)
    for expert in range(experts):
        yield whole[expert], ups[:, :, expert] @ downs[expert]


def per_expert_adapter(base: Path, folder: Path) -> Path:
    """An adapter as transformers 4 wrote it: one pair of matrices for every projection of every expert."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig

    torch.manual_seed(5)
    folder.mkdir()
    config = AutoConfig.from_pretrained(base)
    hidden, inner = config.hidden_size, config.moe_intermediate_size
    tensors = {}
    for layer in range(config.num_hidden_layers):
        for expert in range(config.num_experts):
            for name, (out, into) in {
                "gate_proj": (inner, hidden),
                "up_proj": (inner, hidden),
                "down_proj": (hidden, inner),
            }.items():
                path = f"{PREFIX}model.layers.{layer}.mlp.experts.{expert}.{name}"
                tensors[f"{path}.lora_A.weight"] = torch.randn(4, into) * 0.2
                tensors[f"{path}.lora_B.weight"] = torch.randn(out, 4) * 0.2
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": 4,
        "lora_alpha": 8,
        "use_rslora": False,
        "target_modules": ["gate_proj", "up_proj", "down_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture
def adapter_of(tiny_moe, make_adapter, tmp_path) -> Callable[..., Path]:
    """A function that returns the folder of an adapter of one of the kinds."""

    def find(kind: str, *, seed: int = 0) -> Path:
        if kind in LORA:
            return make_adapter(tiny_moe, f"{kind.replace(' ', '-')}-{seed}", seed=seed, **LORA[kind])
        return per_expert_adapter(tiny_moe, tmp_path / "v4")

    return find


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("kind", [*LORA, "transformers 4 experts"])
def test_logits_are_those_of_weights_merged_by_hand(
    tiny_moe, adapter_of, load_engine, kind: str, quantization: str
) -> None:
    adapter = adapter_of(kind)
    engine = load_engine(tiny_moe, ("ft", adapter), quantization=quantization)
    base = base_weights(tiny_moe, quantization)
    expected = {"base": plain_logits(engine, base, PROMPTS)}
    expected["ft"] = plain_logits(engine, merge_by_hand(base, adapter), PROMPTS)
    found = {arm: engine.logits(PROMPTS, arm) for arm in ("base", "ft")}
    described = engine.describe()
    for arm, logits in expected.items():
        assert np.abs(logits - found[arm]).max() < 2e-4 * np.abs(logits).max(), arm
    assert ("mixed" if kind in MIXED else "two passes") == described.batching
    assert described.adapters[0].base_unchanged
    assert np.abs(expected["ft"] - expected["base"]).max() > 0.01


@pytest.mark.parametrize(
    ("kinds", "quantization"),
    [
        (("fused experts", "transformers 4 experts"), "none"),
        (("fused experts", "transformers 4 experts"), "nf4"),
        (("transformers 4 experts", "fused experts"), "nf4"),
        (("all linear layers", "all linear layers"), "none"),
        (("all linear layers", "all linear layers"), "nf4"),
        (("all linear layers", "fused experts"), "nf4"),
        (("fused experts", "all linear layers"), "nf4"),
        (("attention only", "fused experts"), "nf4"),
        (("all linear layers", "attention only"), "nf4"),
    ],
)
def test_two_adapters_of_which_one_is_on_experts_give_the_logits_of_weights_merged_by_hand(
    tiny_moe, adapter_of, load_engine, kinds: tuple[str, str], quantization: str
) -> None:
    adapters = {"a": adapter_of(kinds[0]), "b": adapter_of(kinds[1], seed=1)}
    engine = load_engine(tiny_moe, *adapters.items(), quantization=quantization)
    found = {arm: engine.logits(PROMPTS, arm) for arm in ("base", "a", "b")}
    expected = {"base": plain_logits(engine, base_weights(tiny_moe, quantization), PROMPTS)}
    for arm, folder in adapters.items():
        expected[arm] = plain_logits(engine, merge_by_hand(base_weights(tiny_moe, quantization), folder), PROMPTS)
    described = engine.describe()
    for arm, logits in expected.items():
        assert np.abs(logits - found[arm]).max() < 2e-4 * np.abs(logits).max(), arm
    assert "mixed" == described.batching
    assert np.abs(expected["a"] - expected["b"]).max() > 0.01


def test_adapters_on_different_parameters_of_one_module_are_refused_by_name(
    tiny_moe, make_adapter, load_engine
) -> None:
    both = make_adapter(tiny_moe, "both", target_modules=["q_proj"], target_parameters=FUSED)
    one = make_adapter(tiny_moe, "one", target_modules=["q_proj"], target_parameters=FUSED[:1])
    for first, second, lesser in (("both", "one", "one"), ("one", "both", "one")):
        folders = {"both": both, "one": one}
        with pytest.raises(EngineError, match=rf"'{second}': .* adapter '{lesser}' is on gate_up_proj only; compare"):
            load_engine(tiny_moe, (first, folders[first]), (second, folders[second]))


def test_one_batch_and_two_passes_give_the_same_texts(pair, requests_for) -> None:
    from pytest_jarvis.engines.transformers.generation.runner import BatchRunner

    together = {answer.key: answer for answer in pair.generate(requests_for(4))}
    runner = pair._runner
    try:
        pair._runner = BatchRunner(
            pair._model, settings=pair._settings, stops=pair._base.stops, pad=pair._pad, two_passes=True
        )
        apart = {answer.key: answer for answer in pair.generate(requests_for(4))}
    finally:
        pair._runner = runner
    assert {key: one.text for key, one in together.items()} == {key: one.text for key, one in apart.items()}


def test_several_adapters_answer_in_the_same_batch(tiny_moe, live_adapter, make_adapter, load_engine) -> None:
    other = make_adapter(tiny_moe, "other", seed=9, target_modules=["v_proj"], r=2)
    engine = load_engine(tiny_moe, ("a", live_adapter), ("b", other))
    requests = [Request(prompt_id="p", text="ouvre chrome", arm=arm, replicate=0) for arm in ("base", "a", "b")]
    answers = list(engine.generate(requests))
    described = engine.describe()
    assert all(isinstance(answer, Response) for answer in answers)
    assert ["a", "b"] == [proof.name for proof in described.adapters]
    assert "mixed" == described.batching
    assert 3 == len({answer.text for answer in answers})


def test_the_proof_says_what_was_attached(pair, live_adapter) -> None:
    (proof,) = pair.describe().adapters
    assert (4, tuple(sorted(ATTENTION)), True, True, 0.0) == (
        proof.rank,
        proof.targets,
        proof.live,
        proof.base_unchanged,
        proof.max_base_drift,
    )
    assert proof.max_logit_change > 0.01
    assert 64 == len(proof.sha256)
    assert 2 * 4 * ((64 + 64) * 2 + (64 + 32) * 2) == proof.weights


@pytest.mark.parametrize("name", ["0", "layers", "q_proj", "model", "weight", "lora_A", "default"])
def test_an_adapter_may_be_called_as_a_part_of_the_model(tiny_moe, live_adapter, load_engine, pair, name: str) -> None:
    engine = load_engine(tiny_moe, (name, live_adapter))
    found, (proof,) = engine.logits(PROMPTS, name), engine.describe().adapters
    assert (name, pair.describe().adapters[0].weights) == (proof.name, proof.weights)
    assert np.array_equal(pair.logits(PROMPTS, "ft"), found)


def test_the_digest_changes_with_the_files(tiny_moe, live_adapter, load_engine, edited_adapter, pair) -> None:
    def nudge(tensors: dict[str, Any]) -> None:
        tensors[min(tensors)] *= 1.5

    engine = load_engine(tiny_moe, ("ft", edited_adapter(live_adapter, weights=nudge)))
    digest = engine.describe().adapters[0].sha256
    assert digest != pair.describe().adapters[0].sha256


def test_a_bin_file_gives_the_logits_of_its_safetensors(tiny_moe, live_adapter, load_engine, tmp_path, pair) -> None:
    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(live_adapter, tmp_path / "bin")
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    engine = load_engine(tiny_moe, ("ft", folder))
    found = engine.logits(PROMPTS, "ft")
    assert np.array_equal(pair.logits(PROMPTS, "ft"), found)


def test_a_bin_file_that_is_a_program_is_refused(tiny_moe, live_adapter, load_engine, tmp_path) -> None:
    import pickle

    class Program:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    folder = shutil.copytree(live_adapter, tmp_path / "bin")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"a": Program()}))
    with pytest.raises(EngineError, match=r"adapter_model\.bin is damaged, or is no file of weights alone") as refused:
        load_engine(tiny_moe, ("ft", folder))
    assert "weights_only" not in str(refused.value)
    assert not (tmp_path / "ran").exists()
