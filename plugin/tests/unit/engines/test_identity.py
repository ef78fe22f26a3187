"""What determines a response: whatever changes it changes its identity, and nothing else does."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_jarvis.engines.base import key_settings
from pytest_jarvis.engines.scripted import ScriptedEngine, echo
from pytest_jarvis.engines.transformers.loading.sources import (
    BaseFiles,
    IdentityBuilder,
    Source,
    engine_version,
    find_commit,
    list_files,
    template_digest,
)
from pytest_jarvis.engines.transformers.lora.files import read_adapter, refuse_changed
from pytest_jarvis.types import AdapterSpec, EngineError, GenerationSettings, Identity, ModelSpec, Request

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REQUEST = Request(prompt_id="p", text="ouvre chrome", arm="base", replicate=0)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (made / name).write_text(name, encoding="utf-8")
    return made


def of_folder(folder: Path) -> BaseFiles:
    return BaseFiles(location=str(folder), files=list_files(folder), commit=None)


def swap(folder: Path) -> None:
    (folder / "config.json").rename(folder / "swap")
    (folder / "tokenizer.json").rename(folder / "config.json")
    (folder / "swap").rename(folder / "tokenizer.json")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "modeling_own.py", "code/a.py", "swap"]
)
def test_whatever_loading_reads_is_part_of_the_fingerprint(folder, name: str) -> None:
    before = of_folder(folder).fingerprint(sha256)
    (folder / "code").mkdir()
    swap(folder) if name == "swap" else (folder / name).write_text("autre", encoding="utf-8")
    assert before is not None
    assert before != of_folder(folder).fingerprint(sha256)


def test_a_base_that_is_moved_keeps_its_fingerprint(folder) -> None:
    before = of_folder(folder).fingerprint(sha256)
    assert before == of_folder(folder.rename(folder.with_name("ailleurs"))).fingerprint(sha256)


@pytest.mark.parametrize("name", ["README.md", "optimizer.pt", ".gitattributes", "training.log"])
def test_what_loading_never_reads_is_no_part_of_the_fingerprint(folder, name: str) -> None:
    before = of_folder(folder).fingerprint(sha256)
    (folder / name).write_text("autre", encoding="utf-8")
    assert before == of_folder(folder).fingerprint(sha256)


def test_a_hub_id_without_a_commit_is_not_known(tmp_path) -> None:
    assert of_folder(tmp_path / "Qwen" / "Qwen3").fingerprint(sha256) is None


def test_a_commit_is_the_fingerprint_and_no_file_is_read() -> None:
    def never(path: Path) -> str:
        raise AssertionError(path)

    known = BaseFiles(location="Qwen/Qwen3-30B-A3B", files=(), commit=COMMIT)
    assert f"Qwen/Qwen3-30B-A3B@{COMMIT}" == known.fingerprint(never)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the hub that holds `a/b` at one commit, the head of its branch `main`."""
    from huggingface_hub import constants

    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}", encoding="utf-8")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_branch_of_the_hub_stands_for_the_commit_in_the_cache(cache, revision: str | None) -> None:
    source = Source(location="a/b", display_name="a/b", is_demo=False)
    assert find_commit(source, revision, None) == COMMIT


@pytest.mark.parametrize(
    ("location", "revision", "auto_map"),
    [("a/other", None, None), ("a/b", "other", None), ("a/b", None, {"AutoModelForCausalLM": "c/d--modeling.Model"})],
)
def test_a_commit_that_does_not_fix_all_is_none(
    cache, location: str, revision: str | None, auto_map: dict[str, str] | None
) -> None:
    assert find_commit(Source(location=location, display_name="", is_demo=False), revision, auto_map) is None


def test_a_folder_has_no_commit(folder) -> None:
    assert find_commit(Source(location=str(folder), display_name="", is_demo=False), None, None) is None


def identities(folder: Path, **changes: object) -> IdentityBuilder:
    known: dict[str, object] = {
        "base": of_folder(folder),
        "adapters": {"ft": "digest 1"},
        "storage": "NF4",
        "arithmetic": "float32 on cpu",
        "template": "raw",
        "settings": GenerationSettings(),
        "versions": {"torch": "2.9"},
    }
    return IdentityBuilder(**{**known, **changes})  # type: ignore[arg-type]


CHANGES: dict[str, Callable[[], dict[str, object]]] = {
    "the adapter retrained in place": lambda: {"adapters": {"ft": "digest 2"}},
    "the coverage": lambda: {"storage": "NF4, 0.9"},
    "the arithmetic": lambda: {"arithmetic": "bfloat16 on H100"},
    "the template": lambda: {"template": template_digest("{{ other }}")},
    "the seed": lambda: {"settings": GenerationSettings(seed=1)},
    "a setting": lambda: {"settings": GenerationSettings(system_prompt="Sois bref.")},
    "a library": lambda: {"versions": {"torch": "2.10"}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_a_response_changes_its_identity(folder, change: Callable[[], dict[str, object]]) -> None:
    request = replace(REQUEST, arm="ft")
    before = identities(folder).build(request, "ouvre chrome", sha256)
    assert before is not None
    assert before != identities(folder, **change()).build(request, "ouvre chrome", sha256)


@pytest.mark.parametrize("changed", ["prompt_id", "replicate", "arm", "rendered"])
def test_another_request_or_another_rendered_prompt_has_another_identity(folder, changed: str) -> None:
    known, other = identities(folder), {"prompt_id": "q", "replicate": 1, "arm": "ft"}
    request = replace(REQUEST, **{changed: other[changed]}) if changed in other else REQUEST  # type: ignore[arg-type]
    rendered = "<user>ouvre" if changed == "rendered" else "ouvre"
    assert known.build(REQUEST, "ouvre", sha256) != known.build(request, rendered, sha256)


def test_the_name_of_an_adapter_and_how_long_one_waits_are_no_part_of_the_identity(folder) -> None:
    waits = GenerationSettings(timeout_s=None)
    one = identities(folder).build(replace(REQUEST, arm="ft"), "ouvre", sha256)
    other = identities(folder, adapters={"v2": "digest 1"}, settings=waits)
    assert one == other.build(replace(REQUEST, arm="v2"), "ouvre", sha256)


def test_a_base_that_is_not_known_has_no_identity(folder) -> None:
    known = identities(folder)
    (folder / "model.safetensors").write_text("other weights", encoding="utf-8")
    assert known.build(REQUEST, "ouvre", sha256) is None


def test_the_files_of_a_base_are_read_once(folder) -> None:
    read: list[Path] = []

    def digest(path: Path) -> str:
        read.append(path)
        return sha256(path)

    known = identities(folder)
    for replicate in range(3):
        known.build(replace(REQUEST, replicate=replicate), "ouvre", digest)
    assert [path.name for path in read] == ["config.json", "model.safetensors", "tokenizer.json"]


def test_all_settings_determine_but_timeout_batch_size_and_the_seed_that_stands_apart() -> None:
    named = set(GenerationSettings.__struct_fields__)
    assert named - {"timeout_s", "batch_size", "seed"} == set(key_settings(GenerationSettings()))


def test_the_engine_is_known_by_its_source() -> None:
    name, digest = engine_version().rsplit(" ", 1)
    assert name.startswith("transformers engine ")
    assert len(digest) == 16


def test_an_adapter_that_changes_while_it_is_loaded_is_refused(tmp_path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    weights = tmp_path / "adapter_model.safetensors"
    header = b'{"a": {"dtype": "U8", "shape": [6], "data_offsets": [0, 6]}}'
    weights.write_bytes(len(header).to_bytes(8, "little") + header + b"step 1")
    adapter = read_adapter(AdapterSpec(name="ft", source=str(tmp_path)))
    refuse_changed(adapter)
    weights.write_bytes(weights.read_bytes().replace(b"step 1", b"step 2"))
    with pytest.raises(EngineError, match="adapter 'ft': its files changed while being loaded"):
        refuse_changed(adapter)
    os.remove(weights)  # noqa: PTH107  # as a training does that begins anew
    with pytest.raises(EngineError, match="adapter 'ft': its files changed while being loaded"):
        refuse_changed(adapter)


def scripted(script: Callable[[Request], str] = echo, source: str = "x") -> ScriptedEngine:
    spec = ModelSpec(adapters=(AdapterSpec(name="ft", source=source),))
    return ScriptedEngine(spec, GenerationSettings(), script)


def test_a_script_is_known_by_its_source() -> None:
    def other(request: Request) -> str:
        return request.text

    known = [scripted(script).identity(REQUEST, sha256) for script in (echo, echo, other)]
    assert all(isinstance(one, Identity) for one in known)
    assert known[0] == known[1]
    assert known[0] != known[2]


def test_a_script_without_source_has_no_identity() -> None:
    class Callable_:  # noqa: N801  # an object that is called, not a function
        def __call__(self, request: Request) -> str:
            return request.text

    assert scripted(Callable_()).identity(REQUEST, sha256) is None


def test_the_scripted_arms_are_apart() -> None:
    ft = replace(REQUEST, arm="ft")
    found = [
        scripted().identity(REQUEST, sha256),
        scripted().identity(ft, sha256),
        scripted(source="y").identity(ft, sha256),
    ]
    assert len({(one.base, one.adapter) for one in found if one is not None}) == 3
