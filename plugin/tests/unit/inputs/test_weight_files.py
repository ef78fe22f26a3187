"""`inputs.safetensors_header`: the shapes in the header of a safetensors file, and whether the file is whole."""

import json
from pathlib import Path

import pytest

from pytest_jarvis.inputs.adapters import count_weights, problem_of_weights, read_shapes


def write(folder: Path, header: object, *, body: int) -> Path:
    text = json.dumps(header).encode()
    file = folder / "adapter_model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(body))
    return file


def tensor(*shape: int, start: int = 0, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def test_a_whole_file_gives_its_shapes(tmp_path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": tensor(2, 3, end=24),
        "b": tensor(2, start=24, end=28, dtype="BF16"),
        "packed": tensor(3, start=28, end=30, dtype="F4"),
        "none": tensor(0, start=30, end=30),
    }
    file = write(tmp_path, header, body=30)
    shapes = read_shapes(file)
    assert {"a": (2, 3), "b": (2,), "packed": (3,), "none": (0,)} == shapes
    assert (None, 11) == (problem_of_weights(file), count_weights(shapes or {}))


def test_a_file_without_a_tensor_is_whole(tmp_path) -> None:
    assert {} == read_shapes(write(tmp_path, {}, body=0))


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"a": tensor(2, 3, end=24)}, 23),
        ({"a": tensor(2, 3, end=24)}, 25),
        ({"a": tensor(2, 3, end=24, dtype="F64")}, 24),
        ({"a": tensor(2, 3, end=20)}, 20),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, 4),
        ({"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}, 4),
        ({"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}, 4),
        ([], 0),
        ({"a": 5}, 0),
    ],
)
def test_a_file_that_contradicts_its_header_is_cut_or_damaged(tmp_path, header: object, body: int) -> None:
    file = write(tmp_path, header, body=body)
    assert (None, "cut") == (read_shapes(file), problem_of_weights(file))


@pytest.mark.parametrize("content", [b"", b"\xff" * 16, (9).to_bytes(8, "little") + b'{"a": {}', b"1234567"])
def test_a_file_that_is_no_safetensors_file_is_cut(tmp_path, content: bytes) -> None:
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(content)
    assert (None, "cut") == (read_shapes(file), problem_of_weights(file))


def test_a_file_of_torch_gives_no_shapes(tmp_path) -> None:
    assert read_shapes(tmp_path / "adapter_model.bin") is None
