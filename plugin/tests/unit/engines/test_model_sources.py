"""What the user names as a base or an adapter, found or refused before any library is imported."""

from pathlib import Path

import pytest

from pytest_jarvis.engines.transformers.loading import sources
from pytest_jarvis.engines.transformers.loading.sources import Source, find_source, refuse_missing_packages
from pytest_jarvis.engines.transformers.lora.files import AdapterFiles, read_adapter, refuse_other_base
from pytest_jarvis.types import AdapterSpec, EngineError, ModelSpec


def refuse(stated: str | None, base: str, *, is_demo: bool = False) -> str | None:
    files = {"folder": Path("/adapter"), "weights": Path("/adapter/adapter_model.safetensors")}
    config = {"base_model_name_or_path": stated}
    adapter = AdapterFiles(name="ft", source="/adapter", config=config, sha256="0", **files)
    return refuse_other_base(adapter, Source(location=base, display_name=base, is_demo=is_demo))


@pytest.mark.parametrize(
    ("stated", "base"),
    [
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B"),
        ("unsloth/Qwen3-30B-A3B-bnb-4bit", "Qwen/Qwen3-30B-A3B"),
        ("Qwen/Qwen3-30B-A3B", "/models/qwen3-30b-a3b/"),
        ("Qwen/Qwen3-30B-A3B", "/cache/models--Qwen--Qwen3-30B-A3B/snapshots/0123abcd"),
        (r"C:\\models\\Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B"),
        (None, "Qwen/Qwen3-30B-A3B"),
        ("", "Qwen/Qwen3-30B-A3B"),
    ],
)
def test_names_of_one_base_are_taken_for_the_same(stated: str | None, base: str) -> None:
    assert refuse(stated, base) is None


@pytest.mark.parametrize(
    ("stated", "base", "is_demo"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", False),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen/Qwen3-30B-A3B", False),
        ("demo", "Qwen/Qwen3-30B-A3B", False),
        ("Qwen/Qwen3-30B-A3B", "/package/demo/base", True),
    ],
)
def test_another_base_is_refused(stated: str, base: str, is_demo: bool) -> None:
    with pytest.raises(EngineError, match=f"adapter 'ft': it was trained on '{stated}'"):
        refuse(stated, base, is_demo=is_demo)


def test_a_folder_called_otherwise_than_the_adapters_base_is_noted(tmp_path) -> None:
    note = refuse("Qwen/Qwen3-30B-A3B", str(tmp_path))
    assert note is not None
    assert ["Qwen/Qwen3-30B-A3B", str(tmp_path)] == [note.values["stated"], note.values["base"]]


def test_an_adapter_of_the_demo_is_refused_on_any_folder(tmp_path) -> None:
    with pytest.raises(EngineError, match="adapter 'ft': it was trained on 'demo'"):
        refuse("demo", str(tmp_path))


def test_an_adapter_of_the_demo_fits_the_demo() -> None:
    assert refuse("demo", "/package/demo/base", is_demo=True) is None


def test_missing_packages_are_named_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda package: None if package in {"peft", "torch"} else object())
    with pytest.raises(EngineError, match=r"needs torch, peft: pip install 'pytest-jarvis\[local\]'"):
        refuse_missing_packages()


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "~/no-such-model", "a/b/c", "model"])
def test_what_looks_like_a_folder_is_not_asked_of_the_hub(name: str, monkeypatch) -> None:
    def no_hub() -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(sources, "_is_hub_reachable", no_hub)
    with pytest.raises(EngineError, match="no such model folder"):
        find_source(ModelSpec(base_model_id=name))


@pytest.mark.parametrize("name", ["base", "__base__", "v1.2"])
def test_an_adapter_may_not_be_called_so(name: str) -> None:
    with pytest.raises(EngineError, match="this name cannot be used"):
        read_adapter(AdapterSpec(name=name, source="x"))
