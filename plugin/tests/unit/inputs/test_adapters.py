"""`inputs.adapters`: adapters whole and damaged, the values of their configuration, which of them `auto` takes."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_jarvis.demo import adapter_path
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.adapters import (
    FoundAdapter,
    Problem,
    arm_name,
    count_weights,
    detect,
    files_digest,
    find_adapters,
    first_fault,
    inspect_adapter,
    matcher,
    problem_of_keys,
    problem_of_weights,
    read_shapes,
    targets_of,
    unsupported_variant,
)
from pytest_jarvis.inputs.base_model import may_fit
from pytest_jarvis.render.french.notes import list_lines, problem_and_remedy

CONFIG = {"peft_type": "LORA", "r": 8, "target_modules": ["v_proj", "q_proj"], "base_model_name_or_path": "demo"}
WEIGHTS = "adapter_model.safetensors"
PROJECTION = "base_model.model.blocks.0.q_proj"


def safetensors(*shapes: tuple[int, ...], missing: int = 0) -> bytes:
    """Return a safetensors file of 32-bit numbers that are not zero, its last `missing` bytes left out."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for number, shape in enumerate(shapes):
        size = 4 * shape[0] * shape[1]
        header[f"{PROJECTION}.lora_{'AB'[number]}.weight"] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"\1" * (end - missing)


def printed(line: str) -> str:
    """Return a line with plain spaces."""
    return line.replace("\u00a0", " ").replace("\u202f", " ")


def make(folder: Path, *, when: float = 1000.0, weights: bytes | None = None, **config: object) -> Path:
    """Write a whole adapter, last changed at `when`, and return its folder."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(safetensors((8, 4), (4, 8)) if weights is None else weights)
    for file in folder.iterdir():
        os.utime(file, (when, when))
    return folder


def test_a_whole_adapter_tells_its_base_rank_targets_and_size(tmp_path) -> None:
    found = inspect_adapter(make(tmp_path / "jarvis v1.5", target_parameters=["experts.down_proj"]))
    assert found.problem is None
    assert (found.name, found.base, found.rank) == ("jarvis-v1-5", "demo", 8)
    assert found.targets == ("experts.down_proj", "q_proj", "v_proj")
    assert (found.parameters, found.modified_s) == (64, 1000.0)
    assert found.size_bytes == (found.folder / "adapter_model.safetensors").stat().st_size
    assert [file.name for file in found.files] == ["adapter_config.json", "adapter_model.safetensors"]


def test_the_embedded_adapters_are_whole() -> None:
    assert inspect_adapter(adapter_path("jarvis")).parameters == 86_016


CONTENTS: dict[str, tuple[str, bytes, Problem]] = {
    "half a configuration": ("adapter_config.json", b'{"peft_type": ', "bad_config"),
    "a configuration that is a list": ("adapter_config.json", b"[]", "bad_config"),
    "another method": ("adapter_config.json", json.dumps({**CONFIG, "peft_type": "IA3"}).encode(), "not_lora"),
    "weights of another name": (WEIGHTS, safetensors((8, 4)).replace(b".lora_", b".more_"), "no_lora"),
    "empty weights": (WEIGHTS, safetensors((8, 4), (0, 8)), "no_lora"),
    "weights cut at the end": (WEIGHTS, safetensors((8, 4), missing=1), "cut"),
    "a torn archive": ("adapter_model.bin", b"PK\x03\x04", "cut"),
    "text": ("adapter_model.bin", b"oops", "cut"),
}


KEYS = {
    "torch.compile": ({}, lambda key: f"_orig_mod.{key}", "foreign_keys"),
    "torch.compile inside": ({}, lambda key: key.replace("blocks", "_orig_mod.blocks"), "foreign_keys"),
    "checkpointing": ({}, lambda key: key.replace(".0.", ".0._checkpoint_wrapped_module."), "foreign_keys"),
    "data-parallel training": ({}, lambda key: f"module.{key}", "foreign_keys"),
    "a state dict": ({}, lambda key: key.replace(".weight", ".default.weight"), "foreign_keys"),
    "half of a pair": ({}, lambda key: key.replace("lora_B", "lora_C"), "half"),
    "another rank": ({"r": 4}, str, "other_rank"),
    "a pattern of ranks": ({"r": 4, "rank_pattern": {r"blocks\.0\.q_proj": 8}}, str, None),
    "another target": ({"target_modules": ["k_proj"]}, str, "not_targeted"),
    "a part of a name": ({"target_modules": ["proj"]}, str, "not_targeted"),
    "a pattern": ({"target_modules": r"blocks\.\d+\.[qv]_proj"}, str, None),
    "a bad pattern": ({"target_modules": "("}, str, None),
    "a pattern without an end": ({"target_modules": r"(([a-z._0-9]+)+)+!"}, str, "bad_value"),
    "every layer": ({"target_modules": "all-linear"}, str, None),
    "stacked ranks": ({"r": 4, "target_modules": None, "target_parameters": ["blocks.0.q_proj"]}, str, None),
}


@pytest.mark.parametrize("what", KEYS)
def test_names_and_ranks_that_contradict_the_configuration_are_found(what: str, monkeypatch) -> None:
    monkeypatch.setattr("pytest_jarvis.inputs.adapters._MATCH_S", 0.2)
    changed, rename, problem = KEYS[what]
    shapes = {rename(f"{PROJECTION}.lora_{half}.weight"): shape for half, shape in (("A", (8, 4)), ("B", (4, 8)))}
    found = problem_of_keys({**CONFIG, **changed}, shapes)
    assert problem == (None if found is None else found[0])


def damage(folder: Path, what: str) -> None:
    name, content, _ = CONTENTS[what]
    if name.endswith(".bin"):
        (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("what", CONTENTS)
def test_a_partial_adapter_says_what_is_wrong_with_it(tmp_path, what: str) -> None:
    damage(make(tmp_path / "a"), what)
    assert [CONTENTS[what][-1]] == [found.problem for found in find_adapters([tmp_path])]


@pytest.mark.parametrize(("name", "problem"), [(WEIGHTS, "no_weights"), ("adapter_config.json", "no_config")])
def test_an_adapter_that_lacks_a_file_says_which(tmp_path, name: str, problem: Problem) -> None:
    (make(tmp_path / "a") / name).unlink()
    assert [problem] == [found.problem for found in find_adapters([tmp_path])]


ELSEWHERE: dict[str, tuple[dict[str, str], Problem]] = {
    "renamed": ({WEIGHTS: "pytorch_lora_weights.safetensors"}, "renamed"),
    "renamed by torch": ({WEIGHTS: "my_lora.bin"}, "renamed"),
    "in parts": ({WEIGHTS: "adapter_model-00001-of-00002.safetensors"}, "in_parts"),
    "of llama.cpp": ({WEIGHTS: "jarvis.gguf"}, "gguf"),
    "of the whole model": ({WEIGHTS: "model.safetensors"}, "no_weights"),
    "in a checkpoint": ({WEIGHTS: f"checkpoint-9/{WEIGHTS}"}, "inside"),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_weights_that_lie_elsewhere_are_named(tmp_path, what: str) -> None:
    (names, problem), folder = ELSEWHERE[what], make(tmp_path / "a")
    (folder / "checkpoint-9").mkdir()
    for name, other in names.items():
        (folder / name).rename(folder / other)
    found = inspect_adapter(folder)
    assert problem == found.problem
    named = {"inside": "checkpoint-9", "no_weights": "save_pretrained"}.get(problem, names[WEIGHTS])
    assert [True, True] == [named in text for text in (found.sentence(problem), problem_and_remedy(found, problem))]


def test_the_latest_checkpoint_of_an_output_folder_is_named(tmp_path) -> None:
    for number in (500, 1000):
        make(tmp_path / f"checkpoint-{number}")
    found = inspect_adapter(tmp_path)
    assert ("inside", str(tmp_path / "checkpoint-1000")) == (found.problem, found.fault and found.fault.found)


def test_an_adapter_of_mlx_is_not_called_damaged(tmp_path) -> None:
    (make(tmp_path / "a") / "adapter_config.json").write_text('{"fine_tune_type": "lora", "lora_parameters": {}}')
    found = inspect_adapter(tmp_path / "a")
    assert "mlx" == found.problem
    assert "mlx-lm (fine_tune_type in its adapter_config.json)" in found.reason("mlx")


def test_an_adapter_whose_every_b_is_zero_is_untrained(tmp_path) -> None:
    file = make(tmp_path / "a") / WEIGHTS
    file.write_bytes(file.read_bytes().rstrip(b"\1") + bytes(256))
    assert "untrained" == inspect_adapter(tmp_path / "a").problem
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    assert inspect_adapter(tmp_path / "a").problem is None


def embedded(edit: Callable[[dict[str, tuple[int, ...]]], None]) -> FoundAdapter:
    found = inspect_adapter(adapter_path("jarvis"))
    shapes = dict(found.shapes or {})
    edit(shapes)
    return matcher("demo")(replace(found, shapes=shapes))


LAST = "base_model.model.model.layers.1.self_attn.v_proj.lora_"


def test_an_adapter_is_held_against_the_names_and_shapes_of_the_base() -> None:
    fitting = embedded(lambda shapes: None)
    lacking = embedded(lambda shapes: [shapes.pop(f"{LAST}{half}.weight") for half in "AB"])
    wider = embedded(lambda shapes: shapes.update({f"{LAST}A.weight": (16, 999)}))
    assert [None, "missing_keys", "other_shapes"] == [found.problem for found in (fitting, lacking, wider)]
    assert "first is model.layers.1.self_attn.v_proj;" in lacking.sentence("missing_keys")
    assert "model.layers.1.self_attn.v_proj is for (" in wider.sentence("other_shapes")


def test_half_a_configuration_says_where_it_ends(tmp_path) -> None:
    damage(make(tmp_path / "a"), "half a configuration")
    damage(make(tmp_path / "b"), "a configuration that is a list")
    assert [(1, 15), None] == [inspect_adapter(tmp_path / name).broken_at for name in "ab"]
    with pytest.raises(
        InputError, match=r"a has an adapter_config\.json that is not a JSON table \(line 1, column 15\)"
    ):
        detect([tmp_path], "demo")
    assert any("illisible, ligne 1, colonne 15" in line for line in list_lines(find_adapters([tmp_path]), {}, []))


def test_a_value_of_the_wrong_kind_leaves_the_other_adapters_of_the_folder_usable(tmp_path) -> None:
    make(tmp_path / "bad", when=2.0, target_modules=5)
    make(tmp_path / "good", when=1.0)
    found = detect([tmp_path], "demo")
    assert (tmp_path / "good", [("bad", "bad_value")]) == (
        found.chosen.folder,
        [(one.name, problem) for one, problem in found.passed_over],
    )
    lines = list_lines(find_adapters([tmp_path]), {}, [tmp_path])
    assert lines[0].startswith("✗ bad")
    assert "adapter_config.json porte une valeur inutilisable : target_modules vaut 5" in printed(lines[1])


def test_a_value_of_the_wrong_kind_is_said_when_nothing_else_is_there(tmp_path) -> None:
    make(tmp_path / "bad", r="four")
    with pytest.raises(InputError, match=r'a value that cannot be used \(r is "four", expected a whole number\)'):
        detect([tmp_path], "demo")


def test_a_variant_that_is_refused_is_not_listed_as_usable(tmp_path) -> None:
    make(tmp_path / "pissa", when=2.0, init_lora_weights="pissa")
    make(tmp_path / "plain", when=1.0)
    found = detect([tmp_path], "demo")
    assert ("plain", ["variant"]) == (found.arm, [problem for _, problem in found.passed_over])
    line = printed(list_lines(find_adapters([tmp_path]), {}, [])[1])
    assert 'ne se compare pas à sa base sur les mêmes poids : init_lora_weights vaut "pissa"' in line


def test_a_pointer_of_git_lfs_is_not_called_damaged(tmp_path) -> None:
    make(tmp_path / "a", weights=b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert "pointer" == inspect_adapter(tmp_path / "a").problem
    assert "git lfs pull" in printed(list_lines(find_adapters([tmp_path]), {}, [])[1])


def test_weights_that_cannot_be_read_are_no_weights(tmp_path) -> None:
    assert "cut" == problem_of_weights(tmp_path / "absent.bin")


@pytest.mark.parametrize("kind", ["archive", "pickle"])
def test_weights_of_torch_count_as_whole_without_being_loaded(tmp_path, kind: str) -> None:
    folder = make(tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    binary = folder / "adapter_model.bin"
    if kind == "archive":
        with zipfile.ZipFile(binary, "w") as archive:
            archive.writestr("data.pkl", b"")
    else:
        binary.write_bytes(b"\x80\x02}.")
    found = inspect_adapter(folder)
    assert (found.problem, found.parameters) == (None, None)


def test_folders_are_looked_into_four_levels_deep_and_hidden_ones_are_not(tmp_path) -> None:
    make(tmp_path / "1/2/3/4")
    make(tmp_path / "a/b/c/d/e")
    make(tmp_path / ".cache/x")
    make(tmp_path / "node_modules/x")
    assert [found.folder for found in find_adapters([tmp_path, tmp_path / "absent"])] == [tmp_path / "1/2/3/4"]


def test_a_folder_within_another_is_listed_once(tmp_path) -> None:
    make(tmp_path / "runs/a")
    assert len(find_adapters([tmp_path, tmp_path / "runs", tmp_path / "runs/a"])) == 1


def test_a_link_back_to_a_folder_ends(tmp_path) -> None:
    make(tmp_path / "a")
    try:
        (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    assert len(find_adapters([tmp_path])) == 1


def test_the_newest_comes_first_and_numbers_settle_equal_times(tmp_path) -> None:
    make(tmp_path / "old", when=1.0)
    make(tmp_path / "checkpoint-1000", when=5.0)
    make(tmp_path / "checkpoint-500", when=5.0)
    make(tmp_path / "new", when=9.0)
    names = [found.name for found in find_adapters([tmp_path])]
    assert names == ["new", "checkpoint-1000", "checkpoint-500", "old"]


def test_auto_takes_the_newest_whole_one_of_its_base_and_keeps_why(tmp_path) -> None:
    make(tmp_path / "old", when=1.0)
    make(tmp_path / "good", when=2.0)
    make(tmp_path / "other", when=3.0, base_model_name_or_path="Qwen/Qwen3-8B")
    make(tmp_path / "torn", when=4.0, weights=safetensors((2, 2), missing=3))
    make(tmp_path / "broken and older", when=0.5, weights=b"")
    found = detect([tmp_path], "demo")
    assert (found.arm, found.chosen.folder, found.usable) == ("good", tmp_path / "good", 2)
    assert [(one.name, problem) for one, problem in found.passed_over] == [("torn", "cut"), ("other", "other_base")]


def test_auto_passes_over_a_newer_adapter_of_another_folder(tmp_path) -> None:
    for name, size in (("mine", 64), ("theirs", 128)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"hidden_size": size}), encoding="utf-8")
    make(tmp_path / "a" / "good", when=1.0, base_model_name_or_path=str(tmp_path / "mine"))
    make(tmp_path / "a" / "other", when=2.0, base_model_name_or_path=str(tmp_path / "theirs"))
    make(tmp_path / "a" / "older", when=0.5, base_model_name_or_path=str(tmp_path / "gone"))
    found = detect([tmp_path / "a"], str(tmp_path / "mine"))
    assert (found.arm, found.usable) == ("good", 2)
    assert [(one.name, problem) for one, problem in found.passed_over] == [("other", "other_base")]


def test_auto_may_be_given_a_name(tmp_path) -> None:
    make(tmp_path / "a")
    assert detect([tmp_path], "demo", arm="mine").arm == "mine"


def test_nothing_to_choose_from_is_said_with_where_it_was_looked_for(tmp_path, monkeypatch, golden) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vide").mkdir()

    def refusal(*folders: str) -> str:
        with pytest.raises(InputError) as caught:
            detect(map(Path, folders), "demo")
        return str(caught.value)

    a, b = Path("a"), Path("b")
    lists = [list_lines([], {}, [a, b], absent) for absent in ([], [a], [a, b])]
    lists.append(list_lines([], {}, [a], [a]))
    said = [refusal("a", "b"), refusal("a"), refusal("vide"), *("\n".join(lines) for lines in lists)]
    assert golden == "\n\n".join(map(printed, said))


def test_auto_without_any_usable_adapter_says_what_it_saw(tmp_path) -> None:
    for number in range(4):
        make(tmp_path / f"a{number}", when=number, weights=b"")
    with pytest.raises(InputError) as caught:
        detect([tmp_path, tmp_path / "absent"], "demo")
    said = str(caught.value)
    assert said.startswith(f"--jarvis-adapter auto: no usable adapter for demo under {tmp_path}, {tmp_path / 'absent'}")
    assert f"(no such folder: {tmp_path / 'absent'}): {tmp_path / 'a3'} has weights that are cut or damaged" in said
    assert "; and 1 more; give a folder with --jarvis-adapter PATH" in said


@pytest.mark.parametrize(
    ("stated", "base", "expected"),
    [
        (None, "Qwen/Qwen3-30B-A3B", True),
        ("unsloth/Qwen3-30B-A3B-bnb-4bit", "Qwen/Qwen3-30B-A3B", True),
        ("/cache/models--Qwen--Qwen3-30B-A3B/snapshots/0123", "Qwen/Qwen3-30B-A3B", True),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", False),
        ("demo", "Qwen/Qwen3-30B-A3B", False),
        ("demo", "demo", True),
        ("Qwen/Qwen3-8B", "demo", False),
        ("Qwen/Qwen3-8B", ".", True),
    ],
)
def test_an_adapter_fits_the_base_it_names(stated: str | None, base: str, expected: bool) -> None:
    assert expected == may_fit(stated, base)


def test_a_single_target_may_be_a_word() -> None:
    assert targets_of({"target_modules": "all-linear"}) == ("all-linear",)


def test_the_name_of_a_folder_loses_what_no_module_may_have() -> None:
    assert arm_name(Path("out/_étape 1.5_")) == "étape-1-5"


def test_the_digest_changes_with_a_byte_and_with_a_name(tmp_path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    assert len({files_digest(tmp_path / name) for name in "abc"}) == 3


WHOLE = {
    "r": 8,
    "lora_alpha": 16.5,
    "lora_dropout": 0.05,
    "target_modules": ["q_proj"],
    "target_parameters": None,
    "rank_pattern": {"q_proj": 4},
    "alpha_pattern": {},
    "layers_to_transform": [0, 1],
    "trainable_token_indices": {"embed_tokens": [1, 2]},
    "bias": "none",
    "init_lora_weights": True,
    "use_rslora": False,
    "unknown": object(),
}


@pytest.mark.parametrize(
    "config",
    [
        {},
        WHOLE,
        {"target_modules": "all-linear", "layers_to_transform": 3, "trainable_token_indices": [1]},
        {"target_modules": r".*\.(q|v)_proj", "init_lora_weights": "gaussian", "use_dora": None},
    ],
)
def test_values_of_the_right_kind_have_no_fault(config: dict[str, object]) -> None:
    assert first_fault(config) is None


FAULTS: dict[str, list[object]] = {
    "r": ["four", True, None, 0, "x" * 100],
    "lora_alpha": [None],
    "lora_dropout": [5],
    "target_modules": [5, [1]],
    "modules_to_save": ["lm_head"],
    "rank_pattern": [[1]],
    "alpha_pattern": [{"q": "x"}],
    "layers_to_transform": ["1"],
    "trainable_token_indices": [3],
    "bias": ["some"],
    "init_lora_weights": [1.5],
    "use_dora": ["yes"],
}


def test_a_fault_says_the_key_what_was_found_and_what_is_expected(golden) -> None:
    faults = [str(first_fault({**WHOLE, key: value})) for key, values in FAULTS.items() for value in values]
    assert golden == "\n".join(faults)


@pytest.mark.parametrize("init", [True, False, "gaussian", "EVA", "mica"])
def test_a_lora_is_plain_however_its_training_began_beside_the_base(init: object) -> None:
    assert unsupported_variant({"init_lora_weights": init, "alora_invocation_tokens": [], "kasa_config": None}) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("init_lora_weights", "PiSSA"), ("layer_replication", [[0, 1]]), ("kasa_config", {}), ("arrow_config", {"k": 1})],
)
def test_a_lora_that_does_more_than_add_is_not_plain(key: str, value: object) -> None:
    fault = unsupported_variant({**WHOLE, key: value})
    assert fault is not None
    assert (key, "a LoRA that leaves its base as it is") == (fault.key, fault.expected)


def write_weights(folder: Path, header: object, *, body: int) -> Path:
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
    file = write_weights(tmp_path, header, body=30)
    shapes = read_shapes(file)
    assert {"a": (2, 3), "b": (2,), "packed": (3,), "none": (0,)} == shapes
    assert (None, 11) == (problem_of_weights(file), count_weights(shapes or {}))


def test_a_file_without_a_tensor_is_whole(tmp_path) -> None:
    assert {} == read_shapes(write_weights(tmp_path, {}, body=0))


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
    file = write_weights(tmp_path, header, body=body)
    assert (None, "cut") == (read_shapes(file), problem_of_weights(file))


@pytest.mark.parametrize("content", [b"", b"\xff" * 16, (9).to_bytes(8, "little") + b'{"a": {}', b"1234567"])
def test_a_file_that_is_no_safetensors_file_is_cut(tmp_path, content: bytes) -> None:
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(content)
    assert (None, "cut") == (read_shapes(file), problem_of_weights(file))


def test_a_file_of_torch_gives_no_shapes(tmp_path) -> None:
    assert read_shapes(tmp_path / "adapter_model.bin") is None
