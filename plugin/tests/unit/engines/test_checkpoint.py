"""What the files of a checkpoint hold is known before transformers reads them."""

import json

import pytest

from pytest_jarvis.engines.transformers.checkpoint import (
    read_shapes,
    refuse_damaged,
    refuse_unequal_experts,
    refuse_wrong_experts,
)
from pytest_jarvis.types import EngineError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 16060556\n"


def header(**weights: list[int]) -> bytes:
    """A safetensors file of weights with these shapes, of bytes."""
    entries, start = {}, 0
    for name, shape in weights.items():
        size = shape[0] * shape[1]
        entries[name] = {"dtype": "U8", "shape": shape, "data_offsets": [start, start + size]}
        start += size
    said = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    return len(said).to_bytes(8, "little") + said + bytes(start)


def test_shapes_are_those_that_the_file_states(tmp_path) -> None:
    (tmp_path / "model.safetensors").write_bytes(header(a=[2, 3], b=[4, 5]))
    refuse_damaged(tmp_path)
    assert {"a": (2, 3), "b": (4, 5)} == read_shapes(tmp_path)


def test_shapes_are_read_from_all_the_files_that_the_index_names(tmp_path) -> None:
    (tmp_path / "1.safetensors").write_bytes(header(a=[2, 3]))
    (tmp_path / "2.safetensors").write_bytes(header(b=[4, 5]))
    (tmp_path / "3.safetensors").write_bytes(b"")
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert {"a": (2, 3), "b": (4, 5)} == read_shapes(tmp_path)


def test_a_folder_without_safetensors_states_no_shape(tmp_path) -> None:
    assert {} == read_shapes(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "model.safetensors is empty"),
        (POINTER.encode(), "model.safetensors is a pointer of git LFS .* run 'git lfs pull'"),
        (b"1234", "model.safetensors is cut off or no safetensors file"),
        (header(a=[2, 3])[:20], "model.safetensors is cut off or no safetensors file"),
        (header(a=[20, 30])[:-5], r"model.safetensors is cut off: it holds \d+ bytes of \d+; download it again"),
        ((4).to_bytes(8, "little") + b"nope", "model.safetensors is no safetensors file"),
        ((2).to_bytes(8, "little") + b"[]", "model.safetensors is no safetensors file"),
        ((7).to_bytes(8, "little") + b'{"a":1}', "model.safetensors is no safetensors file"),
    ],
    ids=["empty", "pointer", "too short", "header cut", "weights cut", "no JSON", "a list", "no entry"],
)
def test_a_damaged_file_is_named(content: bytes, said: str, tmp_path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(EngineError, match=said):
        refuse_damaged(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tokenizer.json", "config.json"])
def test_a_pointer_in_place_of_any_file_is_named(name: str, tmp_path) -> None:
    (tmp_path / name).write_text(POINTER, encoding="utf-8")
    with pytest.raises(EngineError, match=f"{name} is a pointer of git LFS"):
        refuse_damaged(tmp_path)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ('{"weight_map": {"a": "2.safetensors"}}', "names 2.safetensors, which is not there"),
        ("{", "cannot be read as the list of the weights' files"),
        ("[]", "cannot be read as the list of the weights' files"),
        ('{"weight_map": {"a": [1]}}', "cannot be read as the list of the weights' files"),
    ],
)
def test_an_index_that_names_no_file_is_refused(index: str, said: str, tmp_path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    with pytest.raises(EngineError, match=said):
        refuse_damaged(tmp_path)


def experts(*numbers: int, part: str = "up.weight") -> list[str]:
    return [f"layers.0.experts.{number}.{part}" for number in numbers]


@pytest.mark.parametrize(
    ("names", "count", "said"),
    [
        (experts(1, 2), None, r"layers.0.experts: expert 0 is missing .*\(up.weight\): it holds 2 where 3 "),
        (experts(0, 2), None, "expert 1 is missing"),
        (experts(0, 1), 3, "expert 2 is missing .* it holds 2 where 3 are expected, 0 to 2"),
        (experts(0, 1, 2), 2, "expert 2 is one too many"),
        (experts(1, 2), 2, "expert 0 is missing and expert 2 is one too many"),
        ([*experts(0, 1), *experts(1, part="down.weight")], None, r"expert 0 is missing .*\(down.weight\)"),
        ([*experts(0, 1), *experts(0, part="down.weight")], 2, r"expert 1 is missing .*\(down.weight\)"),
    ],
)
def test_experts_other_than_those_from_0_on_are_refused(names: list[str], count: int | None, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        refuse_wrong_experts(names, count)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["layers.7.mlp.shared_experts.up.weight"],
        experts(2, 1, 0),
        [*experts(0, 1), *experts(0, part="down.weight")],
    ],
)
def test_all_experts_from_0_on_are_accepted(names: list[str]) -> None:
    refuse_wrong_experts(names)


def test_an_expert_of_another_shape_is_named_with_its_neighbour() -> None:
    shapes = dict.fromkeys(experts(0, 1, 2), (4, 5))
    refuse_unequal_experts(shapes)
    said = r"layers.0.experts.2.up.weight is 4 x 6 in the checkpoint and layers.0.experts.0.up.weight is 4 x 5"
    with pytest.raises(EngineError, match=said):
        refuse_unequal_experts({**shapes, "layers.0.experts.2.up.weight": (4, 6)})
