"""Whether two folders hold the same base model."""

import json
from pathlib import Path

import pytest

from pytest_jarvis.inputs.base_model import other_model, other_shape

CONFIG = {"model_type": "qwen3", "hidden_size": 64, "num_hidden_layers": 2}


def weights(*, dtype: str = "BF16", last: bytes = b"\0", **metadata: str) -> bytes:
    """Return a file of safetensors with a tensor of 20 kB."""
    tensor = {"dtype": dtype, "shape": [10_000], "data_offsets": [0, 20_000]}
    header = json.dumps({"__metadata__": {"format": "pt", **metadata}, "a": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(20_000 - len(last)) + last


WEIGHTS = weights()


def model(folder: Path, *, weights: bytes = WEIGHTS, config: object = CONFIG) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return str(folder)


def test_a_copy_is_the_same(tmp_path) -> None:
    a, b = model(tmp_path / "a"), model(tmp_path / "b")
    assert other_model(a, b) is None


def test_a_folder_is_the_same_by_any_path(tmp_path) -> None:
    a = model(tmp_path / "a")
    (tmp_path / "link").symlink_to(a)
    assert other_model(a, str(tmp_path / "link")) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**CONFIG, "hidden_size": 128}, "hidden_size is 64 there and 128 here"),
        ({"text_config": {**CONFIG, "model_type": "qwen2"}}, "model_type is 'qwen3' there and 'qwen2' here"),
    ],
)
def test_another_shape_is_said(tmp_path, config: object, said: str) -> None:
    a, b = model(tmp_path / "a"), model(tmp_path / "b", config=config)
    assert said == other_model(a, b)


def test_other_weights_of_the_same_shape_are_another(tmp_path) -> None:
    a, b = model(tmp_path / "a"), model(tmp_path / "b", weights=weights(last=b"!"))
    said = "model.safetensors has other weights there, of the same names and shapes"
    assert said == other_model(a, b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WEIGHTS, b"short"),
        (WEIGHTS, weights(dtype="F16", last=b"!")),
        (WEIGHTS, weights(by="me", last=b"!")),
        (weights(dtype="U8"), weights(dtype="U8", last=b"!")),
    ],
    ids=["no weights", "another precision", "another header", "packed"],
)
def test_weights_that_are_not_laid_out_alike_and_plain_prove_nothing(tmp_path, one: bytes, other: bytes) -> None:
    a, b = model(tmp_path / "a", weights=one), model(tmp_path / "b", weights=other)
    assert other_model(a, b) is None


def test_a_key_may_be_left_out_of_the_shape() -> None:
    assert other_shape({"vocab_size": 1}, {"vocab_size": 2}, but=["vocab_size"]) is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"num_key_value_heads": None}, {"num_key_value_heads": 32}),
        ({"model_type": "qwen2_5_vl"}, {"text_config": {"model_type": "qwen2_5_vl_text"}}),
        ({"intermediate_size": [3, 4]}, {"intermediate_size": [3, 4]}),
    ],
    ids=["left open", "a text part", "a list"],
)
def test_what_two_versions_of_transformers_write_is_one_shape(
    theirs: dict[str, object], ours: dict[str, object]
) -> None:
    assert other_shape(theirs, ours) is None
    assert other_shape(ours, theirs) is None


@pytest.mark.parametrize("config", ["{", [], "text"])
def test_a_configuration_that_cannot_be_read_proves_nothing(tmp_path, config: object) -> None:
    a, b = model(tmp_path / "a"), model(tmp_path / "b", config=config)
    if config == "{":
        (tmp_path / "b" / "config.json").write_text("{", encoding="utf-8")
    assert other_model(a, b) is None


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "a\0b", "~no-such-user/model"])
def test_a_name_that_is_no_folder_proves_nothing(tmp_path, name: str) -> None:
    here = model(tmp_path / "a")
    assert other_model(name, here) is None
