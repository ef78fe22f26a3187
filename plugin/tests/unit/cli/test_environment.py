"""`cli.check.environment` and `inputs.base_model`: what is on a machine, read from what its tools and folders say."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_jarvis.cli.check import environment
from pytest_jarvis.cli.check.environment import (
    Gpu,
    TorchBuild,
    driver_too_old,
    find_gpus,
    find_requirements,
    find_torch,
    free_disk,
    free_memory,
    read_gpus,
)
from pytest_jarvis.files import nearest_existing
from pytest_jarvis.inputs.base_model import find_base, fits_base, hub_cache, other_known_shape

LISTING = """\
0, GPU-5a1c, NVIDIA GeForce RTX 4090, 24564, 23028, 550.54.15
1, GPU-9b2d, NVIDIA GeForce RTX 3090, 24576, 24260, 550.54.15
No devices were found
2, GPU-0000, NVIDIA X, [N/A], [N/A], 550.54.15
"""


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, [0, 1]), ("0", [0]), ("1,0", [0, 1]), ("GPU-9b", [1]), ("", []), ("-1", []), ("7", [])],
)
def test_the_gpus_that_a_process_may_use_are_listed(visible: str | None, expected: list[int]) -> None:
    assert expected == [gpu.index for gpu in read_gpus(LISTING, visible)]


def test_a_gpu_has_its_name_its_memory_and_its_driver() -> None:
    first = next(read_gpus(LISTING, None))
    assert first == Gpu(
        index=0, name="NVIDIA GeForce RTX 4090", total_bytes=24564 << 20, free_bytes=23028 << 20, driver="550.54.15"
    )


def write_tool(folder: Path, body: str) -> None:
    """Write an `nvidia-smi` that runs a line of Python."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\n{body}\n", encoding="utf-8")
    tool.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
@pytest.mark.parametrize(
    ("body", "count"),
    [(f"print({LISTING!r})", 2), ("raise SystemExit(9)", 0), ("import time; time.sleep(9)", 0)],
    ids=["answers", "fails", "hangs"],
)
def test_the_driver_is_asked_and_not_waited_for(tmp_path, monkeypatch, body: str, count: int) -> None:
    write_tool(tmp_path, body)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "_GPU_TIMEOUT_S", 0.5)
    assert count == len(find_gpus(None))


def test_without_a_driver_there_are_no_gpus(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus(None) == ()


@pytest.mark.parametrize(
    ("cuda", "driver", "expected"),
    [
        ("12.8", "550.54.15", None),
        ("13.0", "550.54.15", 580),
        ("12.8", "470.1", 525),
        (None, "470.1", None),
        ("99.0", "470.1", None),
        ("12.8", "", None),
    ],
)
def test_a_driver_that_is_too_old_for_torch_is_seen(cuda: str | None, driver: str, expected: int | None) -> None:
    gpu = Gpu(index=0, name="x", total_bytes=1, free_bytes=1, driver=driver)
    assert expected == driver_too_old(TorchBuild(version="2", cuda=cuda), [gpu])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuda: Optional[str] = '12.8'\n", "12.8"),
        ("cuda = '11.8'", "11.8"),
        ("cuda: Optional[str] = None", None),
        (None, None),
    ],
)
def test_the_build_of_torch_is_read_without_running_it(
    tmp_path, monkeypatch, text: str | None, expected: str | None
) -> None:
    if text is not None:
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "version.py").write_text(f"__version__ = '2'\n{text}\n", encoding="utf-8")
    monkeypatch.setattr(environment, "version", lambda name: "2.9.0")
    place = SimpleNamespace(locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr(environment, "distribution", lambda name: place)
    assert find_torch() == TorchBuild(version="2.9.0", cuda=expected)


def absent(name: str) -> str:
    raise environment.PackageNotFoundError(name)


def test_no_torch_is_no_build(monkeypatch) -> None:
    monkeypatch.setattr(environment, "version", absent)
    assert find_torch() is None


def test_what_the_project_asks_for_is_held_against_what_is_there(monkeypatch) -> None:
    lines = ["numpy>=2", "scipy>=99", 'torch>=2.9; extra == "local"', 'ruff; extra == "dev"', "pytest-jarvis[local]"]
    monkeypatch.setattr(environment, "requires", lambda name: lines)
    monkeypatch.setattr(environment, "version", lambda name: "2.3" if name != "torch" else absent(name))
    found = [(one.name, one.extra, one.installed, one.good) for one in find_requirements("local")]
    assert found == [("numpy", None, "2.3", True), ("scipy", None, "2.3", False), ("torch", "local", None, False)]


def test_a_project_that_is_not_installed_asks_for_nothing(monkeypatch) -> None:
    monkeypatch.setattr(environment, "requires", absent)
    assert find_requirements("local") == []


def test_memory_and_disk_are_told(tmp_path) -> None:
    assert (free_memory() or 0) > 1e6
    assert free_disk(tmp_path / "not" / "there") > 0
    assert nearest_existing(tmp_path / "not" / "there") == tmp_path


@pytest.mark.parametrize("has_sysconf", [True, False])
def test_memory_is_told_without_psutil_where_the_system_does(monkeypatch, has_sysconf: bool) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    if has_sysconf:
        monkeypatch.setattr(os, "sysconf", lambda name: 1000, raising=False)
    else:
        monkeypatch.delattr(os, "sysconf", raising=False)
    assert free_memory() == (1_000_000 if has_sysconf else None)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b"}, "/b"),
        ({"HF_HOME": "/c"}, "/c/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
        ({}, "~/.cache/huggingface/hub"),
    ],
)
def test_the_cache_of_the_hub_is_where_the_hub_looks(environment: dict[str, str], expected: str) -> None:
    assert Path(expected).expanduser() == hub_cache(environment)


def make_model(folder: Path, *, files: tuple[str, ...] = ("model.safetensors",), **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}), encoding="utf-8")
    for name in files:
        (folder / name).write_bytes(b"1234")
    return folder


def test_the_embedded_base_is_whole() -> None:
    base = find_base("demo", None, Path("nowhere"))
    assert (base.place, base.whole) == ("demo", True)
    assert base.size_bytes > 1e6


def test_a_folder_is_a_base(tmp_path) -> None:
    base = find_base(str(make_model(tmp_path / "m")), None, tmp_path)
    assert (base.place, base.whole, base.size_bytes, base.quantized_by) == ("folder", True, 4, None)


@pytest.mark.parametrize(
    ("there", "whole"), [(("a.safetensors", "b.safetensors"), True), (("a.safetensors",), False), ((), False)]
)
def test_a_base_is_whole_when_all_files_of_its_index_are_there(tmp_path, there: tuple[str, ...], whole: bool) -> None:
    folder = make_model(tmp_path / "m", files=there)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert whole == find_base(str(folder), None, tmp_path).whole


def test_a_checkpoint_says_by_what_it_was_quantised(tmp_path) -> None:
    folder = make_model(tmp_path / "m", quantization_config={"quant_method": "gptq"})
    assert find_base(str(folder), None, tmp_path).quantized_by == "gptq"


@pytest.mark.parametrize("text", ["[]", "{", None])
def test_a_base_without_a_readable_config_has_none(tmp_path, text: str | None) -> None:
    folder = make_model(tmp_path / "m")
    if text is None:
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(text, encoding="utf-8")
    assert find_base(str(folder), None, tmp_path).config is None


@pytest.mark.parametrize("revision", [None, "main", "0123"])
def test_a_base_of_the_cache_is_found_by_branch_and_by_commit(tmp_path, revision: str | None) -> None:
    cached = tmp_path / "models--Qwen--Qwen3-8B"
    make_model(cached / "snapshots" / "0123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123", encoding="utf-8")
    base = find_base("Qwen/Qwen3-8B", revision, tmp_path)
    assert (base.place, base.folder) == ("cache", cached / "snapshots" / "0123")


def test_a_snapshot_without_config_is_as_if_it_were_not_there(tmp_path) -> None:
    (tmp_path / "models--a--b" / "snapshots" / "main").mkdir(parents=True)
    assert find_base("a/b", None, tmp_path).place == "absent"


def test_the_target_is_known_before_it_is_there(tmp_path) -> None:
    base = find_base("Qwen/Qwen3-30B-A3B", None, tmp_path)
    assert (base.place, base.whole) == ("absent", False)
    assert base.config is not None
    assert find_base("Qwen/Qwen3-8B", None, tmp_path).config is None


@pytest.mark.parametrize("name", ["/nowhere/m", "./m", "~/no-such", "a/b/c", "m", "a\\b"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_impossible(tmp_path, name: str) -> None:
    assert find_base(name, None, tmp_path).place == "impossible"


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """Return a cache of the hub with a model of two layers, beside a folder `local` with one of three."""
    make_model(tmp_path / "hub" / "models--a--two" / "snapshots" / "main", num_hidden_layers=2, vocab_size=9)
    make_model(tmp_path / "local", num_hidden_layers=3, vocab_size=10)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("stated", "base", "said"),
    [
        ("a/two", "./local", "num_hidden_layers is 2 there and 3 here"),
        ("./local", "a/two", "num_hidden_layers is 3 there and 2 here"),
        ("a/unknown", "./local", None),
        ("a/two", "a/two", None),
        ("./gone", "a/two", None),
        ("./local", "./local", None),
        ("~no-such-user/m", "a/two", None),
    ],
)
def test_a_model_of_the_hub_and_a_folder_are_two_when_what_is_cached_has_another_shape(
    hub, stated: str, base: str, said: str | None
) -> None:
    assert said == other_known_shape(stated, base, hub)


def test_a_vocabulary_that_grew_does_not_make_two_models_of_one(hub) -> None:
    (hub.parent / "local" / "config.json").write_text('{"num_hidden_layers": 2, "vocab_size": 10}', encoding="utf-8")
    assert other_known_shape("a/two", "local", hub) is None


@pytest.mark.parametrize(
    ("stated", "base", "expected"),
    [(None, "local", True), ("a/unknown", "local", True), ("a/two", "local", False), ("a/two", "a/three", False)],
)
def test_an_adapter_fits_a_base_unless_something_here_says_otherwise(
    hub, stated: str | None, base: str, expected: bool
) -> None:
    assert hub.is_dir()
    assert expected == fits_base(stated, base)
