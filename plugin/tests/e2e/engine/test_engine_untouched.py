"""Attaching an adapter changes no weight of the base and no other adapter's arm, or it is refused by name."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_models import plain_logits

from pytest_jarvis.engines.transformers.lora import attach as attaching
from pytest_jarvis.engines.transformers.lora.attach import WeightChecksums
from pytest_jarvis.types import EngineError, Note

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
FUSED = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
PROMPTS = ["ouvre chrome", "quelle heure est-il ?"]
HEAD = "base_model.model.lm_head.weight"


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("method", ["pissa", "pissa_niter_4", "olora", "OLoRA", "corda", "lora_ga", "loftq", "new"])
def test_a_training_that_began_by_changing_the_base_is_refused_by_name(
    load_edited, method: str, quantization: str
) -> None:
    with pytest.raises(
        EngineError, match=f"adapter 'ft': it was trained with init_lora_weights '{method}', which"
    ) as no:
        load_edited(config={"init_lora_weights": method}, quantization=quantization)
    assert method != "pissa" or "path_initial_model_for_weight_conversion" in str(no.value)


@pytest.fixture
def converted(tiny_moe, tmp_path) -> tuple[Any, Path]:
    """A model trained from OLoRA, and the folder it was saved to as a plain LoRA."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", target_modules=ATTENTION, init_lora_weights="olora")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_moe, dtype=torch.float32), config)
        config.init_lora_weights = True
        model.save_pretrained(tmp_path / "initial")
        config.init_lora_weights = "olora"
        for key, weight in model.named_parameters():
            if "lora_" in key:
                weight.data.add_(torch.randn_like(weight) * 0.05)
        initial = str(tmp_path / "initial")
        model.save_pretrained(tmp_path / "plain", path_initial_model_for_weight_conversion=initial)
    return model.eval(), tmp_path / "plain"


def test_a_converted_adapter_gives_the_logits_it_was_trained_to(tiny_moe, converted, load_engine) -> None:
    model, folder = converted
    engine = load_engine(tiny_moe, ("ft", folder), quantization="none")
    found = engine.logits(PROMPTS, "ft")
    expected = plain_logits(engine, model, PROMPTS)
    assert np.abs(expected - found).max() < 2e-4 * np.abs(expected).max()


@pytest.mark.parametrize("method", ["gaussian", "orthogonal", "eva", "mica", False])
def test_a_training_that_began_beside_the_base_gives_the_same_logits_however_it_began(
    load_edited, pair, method: str | bool
) -> None:
    engine = load_edited(config={"init_lora_weights": method})
    found = {arm: engine.logits(PROMPTS, arm) for arm in ("base", "ft")}
    assert [True, True] == [np.array_equal(pair.logits(PROMPTS, arm), found[arm]) for arm in ("base", "ft")]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication in its configuration does more"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens in its configuration"),
        ({"kasa_config": {}}, "kasa_config in its configuration"),
        ({"monteclora_config": {}}, "monteclora_config in its configuration"),
        ({"arrow_config": {"top_k": 1}}, "arrow_config in its configuration"),
        ({"megatron_config": {"a": 1}}, "megatron_config in its configuration"),
        ({"use_qalora": True, "qalora_group_size": 16}, "use_qalora in its configuration works on"),
        ({"use_bdlora": {"nblocks": 2}}, "use_bdlora in its configuration works on"),
    ],
)
def test_a_variant_that_is_no_product_beside_the_base_is_refused_by_name(
    load_edited, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(EngineError, match=f"adapter 'ft': {said}"):
        load_edited(config=config)


@pytest.fixture
def trained_biases(tiny_biased, make_adapter, edited_adapter) -> Callable[[str], Path]:
    """A function that returns an adapter whose training moved biases of its base."""

    def move(tensors: dict[str, Any]) -> None:
        for key in tensors:
            if key.endswith(".bias"):
                tensors[key] += 0.5

    def find(bias: str) -> Path:
        adapter = make_adapter(tiny_biased, f"bias-{bias}", target_modules=ATTENTION, bias=bias)
        return edited_adapter(adapter, weights=move)

    return find


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases_of_the_base_are_refused(tiny_biased, trained_biases, load_engine, bias: str) -> None:
    with pytest.raises(EngineError, match=rf"adapter 'ft': .*q_proj\.base_layer\.bias.*its bias is '{bias}'"):
        load_engine(tiny_biased, ("ft", trained_biases(bias)))


def test_trained_biases_are_refused_beside_a_plain_adapter(
    tiny_biased, trained_biases, make_adapter, load_engine
) -> None:
    plain = make_adapter(tiny_biased, "plain", target_modules=ATTENTION)
    with pytest.raises(EngineError, match=r"adapter 'ft': .*q_proj\.base_layer\.bias"):
        load_engine(tiny_biased, ("plain", plain), ("ft", trained_biases("all")))


def test_a_setting_for_biases_that_the_base_does_not_have_does_no_harm(live_adapter, load_edited) -> None:
    engine = load_edited(("a", live_adapter), config={"bias": "all"})
    assert np.array_equal(engine.logits(PROMPTS, "a"), engine.logits(PROMPTS, "ft"))


def with_another_head(tensors: dict[str, Any]) -> None:
    import torch

    tensors[HEAD] = torch.randn(259, 64)


@pytest.mark.parametrize("beside", [False, True])
def test_a_whole_weight_of_the_base_that_is_another_is_refused(live_adapter, load_edited, beside: bool) -> None:
    adapters = [("plain", live_adapter)] if beside else []
    with pytest.raises(EngineError, match=r"adapter 'ft': .*lm_head\.weight.*save_embedding_layers=False"):
        load_edited(*adapters, weights=with_another_head)


def test_copies_of_the_bases_own_embeddings_do_no_harm(tiny_moe, make_adapter, load_engine, pair) -> None:
    from safetensors.torch import load_file

    adapter = make_adapter(tiny_moe, "embedding", target_modules=["embed_tokens", "q_proj"])
    assert any("base_layer" in key for key in load_file(adapter / "adapter_model.safetensors")), "peft saves them"
    engine = load_engine(tiny_moe, ("ft", adapter))
    (proof,), found = engine.describe().adapters, engine.logits(PROMPTS)
    assert (True, True) == (proof.base_unchanged, np.array_equal(pair.logits(PROMPTS), found))


def test_a_changed_base_is_refused_whatever_changed_it(
    tiny_moe, live_adapter, load_engine, edited_adapter, monkeypatch
) -> None:
    leaking = edited_adapter(live_adapter, weights=with_another_head)
    monkeypatch.setattr(attaching, "_refuse_base_weights", lambda *_: None)
    with pytest.raises(EngineError, match=r"adapter 'ft': attaching it changed the base itself \(lm_head\.weight\)"):
        load_engine(tiny_moe, ("ft", leaking))
    monkeypatch.setattr(WeightChecksums, "find_change", lambda _: None)
    with pytest.raises(EngineError, match="adapter 'ft': with it off, the base's logits moved by up to"):
        load_engine(tiny_moe, ("ft", leaking))


@pytest.mark.parametrize("place", ["self_attn.q_proj.weight", "mlp.experts"])
def test_a_change_of_packed_weights_is_seen_though_their_copies_hide_it(tiny_moe, load_engine, place: str) -> None:
    engine = load_engine(tiny_moe)
    model = engine._base.model
    checksums, before = WeightChecksums(model), engine.logits(PROMPTS)
    assert checksums.find_change() is None
    weight = next(weight for name, weight in model.named_parameters() if place in name)
    weight.data[0] += 1
    assert np.array_equal(before, engine.logits(PROMPTS))
    assert checksums.find_change() is not None


KINDS: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ATTENTION},
    "head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "norm": {"target_modules": ["v_proj"], "modules_to_save": ["norm"]},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "dora": {"target_modules": ATTENTION, "use_dora": True},
    "experts": {"target_modules": ["q_proj"], "target_parameters": FUSED},
}


def answers(engine, requests) -> dict[Any, str]:
    return {answer.key: answer.text for answer in engine.generate(requests)}


@pytest.fixture(scope="module")
def alone(tiny_moe, make_adapter, load_engine, requests_for) -> Callable[[str], tuple[Path, Any, dict[Any, str]]]:
    """A function that returns an adapter of a kind, and the logits and the texts it gives alone."""

    @cache
    def drawn(kind: str) -> tuple[Path, Any, dict[Any, str]]:
        folder = make_adapter(tiny_moe, f"kind-{kind}", **KINDS[kind])
        engine = load_engine(tiny_moe, (kind, folder))
        found = engine.logits(PROMPTS, kind), answers(engine, requests_for(8, arms=("base", kind)))
        return folder, *found

    return drawn


@pytest.mark.parametrize(
    "kinds",
    [
        ("plain", "head"),
        ("head", "plain"),
        ("head", "norm"),
        ("plain", "embedding"),
        ("head", "embedding", "plain"),
        ("dora", "plain"),
        ("plain", "dora"),
        ("plain", "experts"),
        ("experts", "head"),
    ],
    ids="+".join,
)
def test_each_of_several_adapters_gives_the_logits_and_the_texts_it_gives_alone(
    tiny_moe, alone, load_engine, requests_for, kinds: tuple[str, ...]
) -> None:
    engine = load_engine(tiny_moe, *((kind, alone(kind)[0]) for kind in kinds))
    found = {kind: engine.logits(PROMPTS, kind) for kind in reversed(kinds)}
    together = answers(engine, requests_for(8, arms=("base", *kinds)))
    texts: dict[Any, str] = {}
    for kind in kinds:
        _, logits, by_itself = alone(kind)
        assert np.abs(logits - found[kind]).max() < 1e-4 * np.abs(logits).max(), kind
        texts |= by_itself
    assert texts == together


def test_an_adapter_that_others_change_is_refused(
    tiny_moe, live_adapter, make_adapter, load_engine, monkeypatch
) -> None:
    attach_one = attaching._attach_one

    def change_the_first(model: Any, peft_model: Any, adapter: Any) -> Any:
        if peft_model is not None:
            next(weight for name, weight in peft_model.named_parameters() if "lora_B" in name).data.mul_(2)
        return attach_one(model, peft_model, adapter)

    monkeypatch.setattr(attaching, "_attach_one", change_the_first)
    other = make_adapter(tiny_moe, "kind-plain", **KINDS["plain"])
    with pytest.raises(EngineError, match=r"adapter 'b': attaching it changed another adapter \(.*lora_B\.a\.weight\)"):
        load_engine(tiny_moe, ("a", live_adapter), ("b", other))
    monkeypatch.setattr(WeightChecksums, "find_change", lambda _: None)
    with pytest.raises(EngineError, match=r"adapter 'a': its logits moved by up to .* when the other adapters were"):
        load_engine(tiny_moe, ("a", live_adapter), ("b", other))


@pytest.mark.parametrize("first", ["tokens", "plain"])
def test_an_adapter_of_single_tokens_is_compared_by_itself(
    tiny_moe, live_adapter, make_adapter, load_engine, first: str
) -> None:
    tokens = make_adapter(tiny_moe, "tokens", target_modules=["q_proj"], trainable_token_indices=[5, 70])
    adapters = [("tokens", tokens), ("plain", live_adapter)]
    with pytest.raises(EngineError, match=r"adapter 'tokens': it trains single tokens .* in its own run"):
        load_engine(tiny_moe, *(adapters if first == "tokens" else adapters[::-1]))
    engine = load_engine(tiny_moe, adapters[0])
    assert engine.describe().adapters[0].base_unchanged


def test_a_replaced_layer_that_the_base_holds_in_4_bits_is_refused(tiny_moe, make_adapter, load_engine) -> None:
    adapter = make_adapter(tiny_moe, "whole-layer", target_modules=["q_proj"], modules_to_save=["o_proj"])
    with pytest.raises(EngineError, match=r"adapter 'ft': it replaces whole layers .*layers\.0\.self_attn\.o_proj"):
        load_engine(tiny_moe, ("ft", adapter))
    engine = load_engine(tiny_moe, ("ft", adapter), quantization="none")
    assert engine.describe().adapters[0].base_unchanged


def test_a_key_of_the_configuration_that_peft_does_not_know_is_noted(
    tiny_moe, live_adapter, load_engine, edited_adapter
) -> None:
    engine = load_engine(
        tiny_moe, ("ft", edited_adapter(live_adapter, config={"use_newlora": True, "use_other": None}))
    )
    notes = engine.describe().notes
    assert Note("adapter_keys_unknown", {"name": "ft", "keys": "use_newlora"}) in notes
