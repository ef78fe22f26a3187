"""A checkpoint that does not hold the model that its configuration states is one sentence, in 4 bits as in 16."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis.types import EngineError

Load = Callable[..., Any]
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 16\n"
LAYER = "model.layers.0.mlp.experts"
both_storages = pytest.mark.parametrize("quantization", ["nf4", "none"])


def refusal(load_engine: Load, folder: Path, **spec: Any) -> str:
    """The sentence that a folder is refused with."""
    with pytest.raises(EngineError) as refused:
        load_engine(folder, **spec)
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)
    return str(refused.value)


def drop(*marks: str) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if all(mark in name for mark in marks)]:
            del tensors[name]

    return change


def shift(tensors: dict[str, Any]) -> None:
    """Give expert 0 of the first layer the number 8."""
    for name in [name for name in tensors if f"{LAYER}.0." in name]:
        tensors[name.replace(f"{LAYER}.0.", f"{LAYER}.8.")] = tensors.pop(name)


def narrow(tensors: dict[str, Any]) -> None:
    tensors[f"{LAYER}.3.down_proj.weight"] = tensors[f"{LAYER}.3.down_proj.weight"][:, :10].contiguous()


def narrow_pair(tensors: dict[str, Any]) -> None:
    for name in [name for name in tensors if f"{LAYER}.3." in name]:
        tensors[name] = tensors[name][:32].contiguous() if "down" not in name else tensors[name][:, :32].contiguous()


@both_storages
@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(drop(f"{LAYER}.0."), [": expert 0 is missing in the checkpoint"], id="expert 0"),
        pytest.param(
            drop(f"{LAYER}.0.", "down_proj"),
            [": expert 0 is missing in the checkpoint (down_proj.weight)"],
            id="one projection",
        ),
        pytest.param(drop(f"{LAYER}.3."), [": expert 3 is missing in the checkpoint"], id="expert 3"),
        pytest.param(shift, [": expert 0 is missing"], id="numbered from 1"),
        pytest.param(drop(".experts.7."), ["7", "8"], id="the last of every layer"),
        pytest.param(narrow, ["3", "10"], id="another shape"),
        pytest.param(narrow_pair, ["3", "32"], id="another width"),
    ],
)
def test_experts_that_are_not_those_of_the_model_are_refused_by_name(
    change: Any, said: list[str], quantization, edited_model, load_engine
) -> None:
    found = refusal(load_engine, edited_model(change), quantization=quantization).partition(LAYER)[2]
    assert [part for part in said if part not in found] == []


@both_storages
@pytest.mark.parametrize(("stated", "found"), [(16, "8"), (4, "8")])
def test_another_number_of_experts_than_the_configuration_states_is_refused_with_both(
    stated: int, found: str, quantization, edited_model, load_engine
) -> None:
    file = edited_model()
    key = next(key for key in json.loads((file / "config.json").read_text("utf-8")) if key.endswith("_experts"))
    shutil.rmtree(file)
    said = refusal(load_engine, edited_model(**{key: stated}), quantization=quantization)
    assert found in said
    assert str(stated) in said


def test_a_kind_of_weights_that_a_layer_has_none_of_is_named(edited_model, load_engine) -> None:
    said = refusal(load_engine, edited_model(drop(f"{LAYER}.", ".up_proj.")))
    assert "gate_up_proj: the weights of expert 0 do not fit together: the checkpoint holds no mlp.experts" in said
    assert "up_proj" in said.partition("holds no")[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [(drop(f"{LAYER}.0."), f"{LAYER}: expert 0 is missing"), (narrow, "expert 3"), (narrow_pair, "expert 3")],
)
def test_experts_that_come_from_the_hub_are_checked_as_they_are_quantised(
    change: Any, said: str, edited_model, load_engine, monkeypatch
) -> None:
    # A folder is looked at beforehand; files that are only now downloaded are not.
    monkeypatch.setattr("pytest_jarvis.engines.transformers.loading.base.refuse_files", lambda *_, **__: None)
    assert said in refusal(load_engine, edited_model(change))


@both_storages
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"hidden_size": 128}, "64 in the checkpoint"),
        ({"moe_intermediate_size": 32}, "64 in the checkpoint"),
        ({"num_hidden_layers": 3}, "lacks "),
        ({"num_experts_per_tok": 99}, "choose 99 experts (num_experts_per_tok) of 8"),
        ({"num_hidden_layers": 1}, "holds 11 weights that the model has no place for: model.layers.1."),
    ],
)
def test_a_configuration_of_another_checkpoint_is_refused_by_the_first_weight(
    config: dict[str, Any], said: str, quantization, edited_model, load_engine
) -> None:
    found = refusal(load_engine, edited_model(**config), quantization=quantization)
    assert said in found
    assert "report" not in found


def test_a_dense_layer_of_another_shape_than_its_configuration_is_refused(
    tiny_dense, edited_model, load_engine
) -> None:
    said = refusal(load_engine, edited_model(source=tiny_dense, intermediate_size=64))
    assert "gate_proj.weight is 128 x 64 in the checkpoint, and 64 x 64 by config.json" in said


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", "", "model.safetensors is empty"),
        ("model.safetensors", LFS_POINTER, "run 'git lfs pull'"),
        ("chat_template.jinja", "{% for x in %}", "its chat template cannot be used (TemplateSyntaxError: "),
        ("chat_template.jinja", "{{ raise_exception('no') }}", "its chat template cannot be used (TemplateError: no)"),
        ("tokenizer.json", "{}", "its tokenizer cannot be loaded (KeyError: 'added_tokens')"),
        ("tokenizer.json", "nope", "its tokenizer cannot be loaded (JSONDecodeError: "),
        ("tokenizer.json", None, "its tokenizer is missing or empty: it gives no token for a text"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    file: str, content: str | None, said: str, edited_model, load_engine
) -> None:
    folder = edited_model()
    if content is None:
        for path in folder.glob("tokenizer*"):
            path.unlink()
    else:
        (folder / file).write_text(content, encoding="utf-8")
    assert said in refusal(load_engine, folder)


def test_a_vocabulary_that_is_not_the_tokenizers_is_refused_with_both_sizes(edited_model, load_engine) -> None:
    def shorten(tensors: dict[str, Any]) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = tensors[name][:100].contiguous()

    said = refusal(load_engine, edited_model(shorten, vocab_size=100))
    assert "its tokenizer (259 tokens) is not the model's (100)" in said


def test_a_padding_token_that_the_model_does_not_know_is_not_used(edited_model, load_engine) -> None:
    folder = edited_model()
    file = folder / "tokenizer_config.json"
    config = {**json.loads(file.read_text("utf-8")), "pad_token": "<|new|>"}
    file.write_text(json.dumps(config), encoding="utf-8")
    engine = load_engine(folder)
    assert 1 == engine._pad


@both_storages
@pytest.mark.parametrize("family", ["Mamba", "Mamba2"])
def test_a_model_without_attention_is_refused_by_its_kind(
    family: str, quantization, tiny_model, load_engine, tmp_path
) -> None:
    none = dict.fromkeys(("num_attention_heads", "num_key_value_heads", "num_experts_per_tok"))
    shape = (
        {"state_size": 8} if family == "Mamba" else {"state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 1}
    )
    folder = tiny_model(family, tmp_path, seed=5, max_position_embeddings=None, **none, **shape)
    said = refusal(load_engine, folder, quantization=quantization)
    assert f"models without attention ({family.lower()}) are not supported" in said


def test_whatever_fails_at_the_first_prompt_is_one_sentence_with_its_cause(
    tiny_dense, load_engine, monkeypatch
) -> None:
    from transformers import Qwen3Model

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("no luck\nat all")

    monkeypatch.setattr(Qwen3Model, "forward", fail)
    with pytest.raises(EngineError, match="fails at the first prompt with ZeroDivisionError: no luck;") as refused:
        load_engine(tiny_dense)
    assert isinstance(refused.value.__cause__, ZeroDivisionError)
    assert str(tiny_dense) in str(refused.value)
