"""`footprint`: what a `config.json` says a model takes; the models themselves are in the e2e tests."""

from typing import Any

import pytest

from pytest_jarvis.engines.footprint import (
    LIBRARIES_BYTES,
    MemoryNeed,
    activations_of,
    estimate,
    read_shapes,
    row_bytes,
    stored_bytes,
    token_bytes,
)
from pytest_jarvis.inputs.base_model import KNOWN_CONFIGS

TARGET = dict(KNOWN_CONFIGS["qwen3-30b-a3b"])


def test_the_target_has_30_billion_weights_and_takes_16_7_gigabytes_in_4_bits() -> None:
    shapes = read_shapes(TARGET)
    assert shapes is not None
    assert shapes.weights == 30_532_122_624
    sizes = stored_bytes(shapes, nf4=True, element=2)
    assert sum(sizes.values()) / 1e9 == pytest.approx(16.69, abs=0.01)
    assert sizes["experts"] / 1e9 == pytest.approx(14.96, abs=0.01)
    assert sum(stored_bytes(shapes, nf4=False, element=2).values()) == 2 * shapes.weights


def test_the_text_half_of_a_model_of_several_kinds_is_read() -> None:
    assert read_shapes({"model_type": "several", "text_config": TARGET}) == read_shapes(TARGET)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "mamba"},
        {"text_config": "none"},
        {"model_type": "qwen3_moe"},
        {**TARGET, "hidden_size": "large"},
        {**TARGET, "num_attention_heads": 0, "head_dim": None},
    ],
    ids=["empty", "another family", "no table", "keys missing", "wrong type", "no heads"],
)
def test_shapes_that_are_not_known_are_none(config: dict[str, Any]) -> None:
    assert read_shapes(config) is None


def test_a_mixture_without_experts_is_dense() -> None:
    shapes = read_shapes({**TARGET, "num_experts": 0})
    assert shapes is not None
    assert shapes.layer_experts == 0


ROW = {"layers": 2, "prompt_tokens": 13, "new_tokens": 4, "element": 2}


def test_a_row_takes_its_prompts_activations_where_they_are_more_than_what_comes_after() -> None:
    cache = token_bytes(layers=2, key_value_heads=3, head_size=5, element=2)
    assert row_bytes(cache, **ROW, vocabulary=7, activations=1000) == 13 * (cache + 2 * 1000)


def test_a_row_takes_its_whole_cache_and_its_logits_at_its_end() -> None:
    cache = token_bytes(layers=2, key_value_heads=3, head_size=5, element=2)
    assert row_bytes(cache, **ROW, vocabulary=7, activations=1) == 17 * cache * 3 // 2 + 24 * 7


WIDTHS: dict[str, tuple[dict[str, Any], int]] = {
    "dense": ({"intermediate_size": 30}, 120),
    "no width": ({}, 160),
    "a width a layer": ({"intermediate_size": [30, 20], "num_experts_per_tok": None}, 120),
    "top-k of sampling": ({"intermediate_size": 30, "top_k": 50}, 120),
    "narrow experts": ({"num_experts_per_tok": 8, "moe_intermediate_size": 3, "intermediate_size": 9}, 320),
    "wide experts": ({"num_experts_per_tok": 2, "intermediate_size": 50}, 2 * 210),
    "wide dense layers": ({"num_experts_per_tok": 1, "moe_intermediate_size": 1, "intermediate_size": 90}, 360),
}


@pytest.mark.parametrize(("config", "expected"), WIDTHS.values(), ids=WIDTHS)
def test_activations_are_those_of_the_widest_part(config: dict[str, Any], expected: int) -> None:
    assert activations_of({"hidden_size": 10, **config}) == 100 + expected


def test_what_is_needed_and_what_fits_agree() -> None:
    need = MemoryNeed(weights=100, adapters=10, workspace=20, row=6)
    assert need.total(3) == 160
    assert need.max_rows(160) == 3
    assert need.max_rows(130) == 0
    assert need.max_rows(0) == 0


@pytest.mark.parametrize(("nf4", "workspace"), [(True, 2 * 128 * 3 * 2048 * 768 * 2), (False, 0)])
def test_experts_are_read_out_of_4_bits_into_a_workspace(nf4: bool, workspace: int) -> None:
    shapes = read_shapes(TARGET)
    assert shapes is not None
    need = estimate(shapes, nf4=nf4, on_gpu=True, prompt_tokens=80, new_tokens=20, adapter_weights=5)
    assert (need.workspace, need.adapters) == (workspace, 20)


def test_on_a_cpu_what_is_not_in_4_bits_takes_32() -> None:
    shapes = read_shapes(TARGET)
    assert shapes is not None
    on_cpu = estimate(shapes, nf4=False, on_gpu=False, prompt_tokens=80, new_tokens=20, adapter_weights=0)
    assert on_cpu.weights == 4 * shapes.weights


SMALL = {
    "vocab_size": 10,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "num_local_experts": 4,
}


@pytest.mark.parametrize(("family", "kind"), [("llama", "linear"), ("mixtral", "experts")])
def test_the_inner_weights_of_a_family_are_linear_or_experts(family: str, kind: str) -> None:
    shapes = read_shapes({**SMALL, "model_type": family})
    assert shapes is not None
    counted = sum(tensors.weights * tensors.count for tensors in shapes.tensors if tensors.kind == kind)
    assert counted == 2 * 3 * 8 * 6 * (4 if kind == "experts" else 1)


@pytest.mark.parametrize(("free", "kept"), [(0, False), (10**13, True)])
def test_a_cpu_needs_room_for_libraries_and_for_copies_where_they_fit(free: int, kept: bool) -> None:
    shapes = read_shapes(KNOWN_CONFIGS["qwen3-30b-a3b"])
    assert shapes is not None
    given = {"nf4": True, "prompt_tokens": 80, "new_tokens": 20, "adapter_weights": 0, "free": free}
    on_cpu, on_gpu = (estimate(shapes, on_gpu=gpu, **given) for gpu in (False, True))  # type: ignore[arg-type]
    assert (kept, not kept) == (on_cpu.copies > 4 * 29e9, on_cpu.workspace > 0)
    assert (LIBRARIES_BYTES, 0, 0) == (on_cpu.libraries, on_gpu.libraries, on_gpu.copies)
    assert on_cpu.fixed == on_cpu.weights + on_cpu.copies + on_cpu.workspace + LIBRARIES_BYTES
