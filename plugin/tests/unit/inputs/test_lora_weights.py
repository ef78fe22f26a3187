"""`lora_weights`: what of an adapter's weights no configuration of its own could explain, and what any may hold."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_jarvis.inputs.lora_files import MismatchKind, first_mismatch
from pytest_jarvis.render.french.adapters import _MISMATCHES

LAYER = "model.layers.0."
PREFIX = "base_model.model."
CONFIG = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"]}


def pair(module: str, rows: int = 4, columns: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the two matrices of an adapted module."""
    name = f"{PREFIX}{LAYER}{module}"
    return {f"{name}.lora_A.weight": (rows, 64), f"{name}.lora_B.weight": (32, rows if columns is None else columns)}


BOTH = pair("q_proj") | pair("v_proj")
EXPERTS = {"target_modules": ["q_proj"], "target_parameters": ["gate_up_proj", "experts.down_proj"]}
MAGNITUDE = {f"{PREFIX}{LAYER}q_proj.lora_magnitude_vector": (32,)}
BIAS = {f"{PREFIX}{LAYER}q_proj.lora_B.bias": (32,)}
EMBEDDING = f"{PREFIX}model.embed_tokens.lora_embedding_"

SAID: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]], str]] = {
    "no weight of a LoRA": (
        {},
        {f"{PREFIX}lm_head.weight": (9, 9)},
        "its file lacks every weight of a LoRA, and target_modules is q_proj, v_proj",
    ),
    "no weight at all": (
        {"target_modules": None, "target_parameters": ["down_proj"]},
        {},
        "its file lacks every weight of a LoRA, and target_parameters is down_proj",
    ),
    "weights of no number": (
        {},
        {**BOTH, f"{PREFIX}{LAYER}v_proj.lora_B.weight": (0,)},
        f"{PREFIX}{LAYER}v_proj.lora_B.weight holds no number (0)",
    ),
    "another rank": (
        {"r": 16},
        BOTH,
        f"{PREFIX}{LAYER}q_proj.lora_A.weight is of rank 4, and its adapter_config.json says 16",
    ),
    "another rank than peft's own": ({"r": None}, BOTH, "is of rank 4, and its adapter_config.json says 8"),
    "another rank of one module": (
        {"rank_pattern": {r".*layers\.0\.v_proj": 2}},
        BOTH,
        f"{PREFIX}{LAYER}v_proj.lora_A.weight is of rank 4, and its adapter_config.json says 2",
    ),
    "halves of two ranks": (
        {},
        pair("q_proj", 4, 8),
        f"{PREFIX}{LAYER}q_proj.lora_A.weight is of rank 4, and its lora_B is of rank 8",
    ),
    "one half alone": (
        {},
        {key: shape for key, shape in BOTH.items() if "q_proj.lora_B" not in key},
        f"its file lacks {PREFIX}{LAYER}q_proj.lora_B.weight, which goes with {PREFIX}{LAYER}q_proj.lora_A.weight",
    ),
    "the other half alone": (
        {"target_modules": ["embed_tokens"]},
        {f"{EMBEDDING}B": (64, 4)},
        f"its file lacks {EMBEDDING}A, which goes with {EMBEDDING}B",
    ),
    "modules that are not named": (
        {"target_modules": ["k", "proj", "o", "up"]},
        BOTH,
        f"its file holds weights for {LAYER}q_proj, {LAYER}v_proj, and target_modules is k, o, proj and 1 more",
    ),
    "a module that is not named": (
        {"target_modules": ["q_proj"]},
        BOTH,
        f"its file holds weights for {LAYER}v_proj, and target_modules is q_proj",
    ),
    "a pattern of no module": (
        {"target_modules": r".*\.k_proj"},
        BOTH,
        f"its file holds weights for {LAYER}q_proj, {LAYER}v_proj, and target_modules is .*\\.k_proj",
    ),
    "experts of another rank": (
        EXPERTS | {"rank_pattern": {"down_proj": 3}},
        pair("q_proj") | pair("mlp.experts", 26),
        "mlp.experts.lora_A.weight is of rank 26, and its adapter_config.json says 3, 4 for each expert",
    ),
    "a module of another rank beside experts": (
        EXPERTS,
        pair("q_proj", 8) | pair("mlp.experts", 16),
        f"{PREFIX}{LAYER}q_proj.lora_A.weight is of rank 8, and its adapter_config.json says 4",
    ),
    "DoRA without magnitudes": (
        {"use_dora": True},
        BOTH,
        "its file lacks lora_magnitude_vector, and use_dora is true",
    ),
    "magnitudes without DoRA": (
        {"use_dora": False},
        BOTH | MAGNITUDE,
        f"its file holds {PREFIX}{LAYER}q_proj.lora_magnitude_vector, and use_dora is not true",
    ),
    "no biases": ({"lora_bias": True}, BOTH, "its file lacks lora_B.bias, and lora_bias is true"),
    "biases": ({}, BOTH | BIAS, f"its file holds {PREFIX}{LAYER}q_proj.lora_B.bias, and lora_bias is not true"),
}


@pytest.mark.parametrize(("config", "shapes", "said"), SAID.values(), ids=list(SAID))
def test_what_contradicts_is_said(config: dict[str, Any], shapes: dict[str, tuple[int, ...]], said: str) -> None:
    whole = {key: value for key, value in (CONFIG | config).items() if (key, value) != ("r", None)}
    found = first_mismatch(whole, shapes)
    assert found is not None
    assert str(found).endswith(said)
    assert _MISMATCHES[found.kind]


FINE: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "plain": ({}, BOTH),
    "names of other families": ({"target_modules": ["q_proj", "v_proj", "w1", "query"]}, BOTH),
    "whole names": ({"target_modules": [f"{LAYER}q_proj", f"{LAYER}v_proj"]}, BOTH),
    "all linear layers": ({"target_modules": "all-linear"}, BOTH),
    "a pattern of some": ({"target_modules": r".*\.q_proj"}, BOTH),
    "ranks by pattern": (
        {"rank_pattern": {"k_proj": 9, "q_proj": 2, r"^model\.layers\.0\.v_proj": 6}},
        pair("q_proj", 2) | pair("v_proj", 6),
    ),
    "a pattern that peft itself refuses": ({"rank_pattern": {"(?i)q_proj": 2}}, BOTH),
    "whole modules beside": (
        {"modules_to_save": ["lm_head"], "trainable_token_indices": [1]},
        {**BOTH, f"{PREFIX}lm_head.weight": (9, 9)},
    ),
    "tied weights": ({"ensure_weight_tying": True}, BOTH | pair("lm_head")),
    "experts": (EXPERTS, pair("q_proj") | pair("mlp.experts", 4 * 16) | pair("mlp.experts.base_layer", 4 * 16)),
    "experts of two ranks": (EXPERTS | {"rank_pattern": {"down_proj": 3}}, pair("mlp.experts", 3 * 16)),
    "experts one by one": ({"target_modules": ["up_proj"]}, pair("mlp.experts.0.up_proj")),
    "DoRA": ({"use_dora": True}, BOTH | MAGNITUDE),
    "biases": ({"lora_bias": True}, BOTH | BIAS),
    "embeddings": ({"target_modules": ["embed_tokens"]}, {f"{EMBEDDING}A": (4, 99), f"{EMBEDDING}B": (64, 4)}),
    "convolutions": (
        {},
        {f"{PREFIX}q_proj.lora_A.weight": (9, 3, 1, 1), f"{PREFIX}q_proj.lora_B.weight": (3, 9, 1, 1)},
    ),
    "matrices in blocks": ({"use_bdlora": {"nblocks": 2}}, pair("q_proj", 4, 2)),
    "nothing asked for": ({"target_modules": None}, {}),
}


@pytest.mark.parametrize(("config", "shapes"), FINE.values(), ids=list(FINE))
def test_what_may_be_is_no_mismatch(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    assert first_mismatch(CONFIG | config, shapes) is None


def test_every_kind_is_seen_by_a_test() -> None:
    seen: set[MismatchKind] = set()
    for config, shapes, _ in SAID.values():
        found = first_mismatch(CONFIG | config if config.get("r", 0) is not None else {**CONFIG, "r": 8}, shapes)
        assert found is not None
        seen.add(found.kind)
    assert set(_MISMATCHES) == seen
