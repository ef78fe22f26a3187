"""`config`: sections, defaults, adapters and servers that come of it, and its schema with the docs."""

import importlib
import json
import re
import sys
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis.cli.config import SCHEMA_FILE, keys, keys_table
from pytest_jarvis.demo import adapter_path
from pytest_jarvis.engines import find_engine
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.adapters import Detection, inspect_adapter
from pytest_jarvis.inputs.config import (
    Config,
    GenerationSection,
    LoggingSection,
    ModelSection,
    bytes_of,
    load_config,
    normalize_addresses,
    resolve_server,
)
from pytest_jarvis.run.settings import detected_adapter, parse_adapters, resolve_generation, resolve_model
from pytest_jarvis.types import AdapterSpec, GenerationSettings, ModelSpec


def specs(*named: str, base_changed: bool = False, **section: object) -> list[tuple[str, str]]:
    """Return name and source of the adapters."""
    found = parse_adapters(list(named), msgspec.convert(section, ModelSection), base_changed=base_changed)
    return [(spec.name, spec.source) for spec in found]


def test_an_empty_file_is_all_defaults(tmp_path) -> None:
    path = tmp_path / "c.json"
    path.write_text("{}", encoding="utf-8")
    assert Config() == load_config(path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("20GB", 20 * 10**9), ("1.5 GiB", 3 << 29), ("512MB", 512 * 10**6), ("1KB", 1000), (None, 7), ("much", 7)],
)
def test_a_size_is_read_in_bytes(size: str | None, expected: int) -> None:
    assert expected == bytes_of(size, 7)


def test_a_schema_may_be_named(tmp_path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"$schema": "s.json"}', encoding="utf-8")
    assert load_config(path).schema == "s.json"


@pytest.mark.parametrize("name", ["benchmark_config.json", "benchmark_config.qwen3-30b-a3b.json"])
def test_the_files_of_the_checkout_are_valid(name: str) -> None:
    loaded = load_config(Path(__file__).parents[4] / name)
    assert parse_adapters([], loaded.model)


def test_the_default_generation_is_that_of_the_engine() -> None:
    assert GenerationSettings() == resolve_generation(GenerationSection())


def test_every_setting_of_generation_is_handed_on() -> None:
    section = GenerationSection(max_new_tokens=7, temperature=0.1, timeout_s=None, template="raw", thinking=True)
    expected = GenerationSettings(max_new_tokens=7, temperature=0.1, timeout_s=None, template="raw", thinking=True)
    assert expected == resolve_generation(section)


def test_every_setting_of_the_model_is_handed_on() -> None:
    keys = {"base_model_id": "m", "quantization": "none", "max_memory": {"0": "20GB"}, "revision": "r", "retries": 1}
    conf = Config(model=msgspec.convert(keys, ModelSection), logging=LoggingSection(level="info"))
    adapters = (AdapterSpec(name="a", source="b"),)
    expected = ModelSpec(adapters=adapters, log_level="info", **keys)
    assert expected == resolve_model(conf, find_engine("scripted"), adapters)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("demo:faible", ("faible", "demo:faible")),
        ("out/mon-lora", ("mon-lora", "out/mon-lora")),
        ("out/mon-lora/", ("mon-lora", "out/mon-lora/")),
        ("quelqu-un/jarvis-lora", ("jarvis-lora", "quelqu-un/jarvis-lora")),
        ("out/étape 1.5", ("étape-1-5", "out/étape 1.5")),
        ("out/_essai_", ("essai", "out/_essai_")),
        ("mien=out/lora", ("mien", "out/lora")),
        ("mien=demo:faible", ("mien", "demo:faible")),
        ("mien=out/lr=0.1", ("mien", "out/lr=0.1")),
        ("out/lr=0.1", ("lr-0-1", "out/lr=0.1")),
    ],
)
def test_an_adapter_of_the_command_line_is(named: str, expected: tuple[str, str]) -> None:
    assert [expected] == specs(named)


def test_the_folder_one_stands_in_gives_its_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "lora").mkdir()
    monkeypatch.chdir(tmp_path / "lora")
    assert specs(".") == [("lora", ".")]


@pytest.mark.parametrize(
    ("named", "section", "expected"),
    [
        pytest.param([], {}, {"jarvis": "demo:jarvis"}, id="the demo has its own"),
        pytest.param([], {"adapters": {"b": "x", "a": "demo:faible"}}, {"b": "x", "a": "demo:faible"}, id="in order"),
        pytest.param(["c=z"], {"adapters": {"a": "x"}}, {"c": "z"}, id="the command line wins"),
        pytest.param(
            [], {"adapters": {"a": "x"}, "base_changed": True}, {"jarvis": "demo:jarvis"}, id="the file's, another base"
        ),
        pytest.param([], {"adapters": "auto"}, {"auto": "auto"}, id="auto"),
        pytest.param([], {"adapter_folders": ["runs"]}, {"auto": "auto"}, id="folders"),
        pytest.param([], {"adapters": "auto", "base_model_id": "a/b"}, {"auto": "auto"}, id="auto for a base"),
        pytest.param(
            [],
            {"adapters": "auto", "base_model_id": "a/b", "base_changed": True},
            {"auto": "auto"},
            id="auto for another base",
        ),
        pytest.param(["auto"], {}, {"auto": "auto"}, id="auto by the command line"),
        pytest.param(["mien=auto"], {}, {"mien": "auto"}, id="auto by a name"),
    ],
)
def test_adapters_are_those_of_the_command_line_else_of_the_file_else_the_demos(named, section, expected) -> None:
    assert list(expected.items()) == specs(*named, **section)


@pytest.mark.parametrize("named", ["", "demo:", "a=", "=b", "a b=c", "a.b=c", "__base__=c", "..", "/"])
def test_what_cannot_name_an_adapter_is_refused(named: str) -> None:
    with pytest.raises(InputError) as caught:
        specs(named)
    expected = f"expected PATH or NAME=PATH, found '{named}'; NAME is made of letters, digits, '_' and '-'"
    assert f"--jarvis-adapter: {expected}, with a letter or digit first" == str(caught.value)


def test_an_adapter_of_the_file_without_a_path_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^model\.adapters of the configuration: expected PATH or NAME=PATH, found 'a='"
    ):
        specs(adapters={"a": ""})


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["a=x", "a=y"], "the name 'a' is used twice"),
        (["x/lora", "y/lora"], "the name 'lora' is used twice"),
        (["out/base"], "the name 'base' stands for the base model"),
        (["base_bis=x"], "the name 'base_bis' stands for the base model"),
    ],
)
def test_a_name_that_is_taken_is_refused(named: list[str], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        specs(*named)
    assert f"--jarvis-adapter: {expected}; give each adapter a name of its own: NAME=PATH" == str(caught.value)


def test_what_is_possible_is_let_through(tmp_path) -> None:
    path = tmp_path / "c.json"
    path.write_text(
        '{"model": {"device_map": "cuda:1", "max_memory": {"0": "20GB", "cpu": "1.5 GiB"}}, '
        '"benchmark": {"looks": [2, 4, 8]}, '
        '"output": {"run_name": "{model} {time}", "names": {"text": "a.txt", "charts": "b.png"}}}',
        encoding="utf-8",
    )
    assert load_config(path).benchmark.looks == (2, 4, 8)


def test_what_was_detected_becomes_an_adapter_by_its_name_and_folder() -> None:
    whole = inspect_adapter(adapter_path("jarvis"))
    detection = Detection(arm="mien", chosen=whole, usable=1, passed_over=(), folders=())
    assert detected_adapter(detection, "out/x") == AdapterSpec(name="mien", source="out/x")


ROOT = Path(__file__).parents[4]
AGAIN = "python docs/reference.py writes it anew"
sys.path.insert(0, str(ROOT / "docs"))
reference = importlib.import_module("reference")
SECTIONS = ("model", "generation", "benchmark", "metrics", "output", "logging")


def test_the_schema_that_ships_is_that_of_the_types() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == reference.encode_schema(), AGAIN


@pytest.mark.parametrize("name", ["benchmark_config.json", "benchmark_config.qwen3-30b-a3b.json"])
def test_a_configuration_of_the_checkout_names_the_schema(name: str) -> None:
    named = json.loads((ROOT / name).read_text(encoding="utf-8"))["$schema"]
    assert (ROOT / named).resolve() == SCHEMA_FILE.resolve()


def test_there_are_six_sections_with_every_key_of_the_types() -> None:
    found = [(key.section, key.name) for key in keys()]
    defaults = msgspec.to_builtins(Config())
    assert [(section, name) for section in SECTIONS for name in defaults[section]] == found


def test_every_key_is_described_and_has_its_default() -> None:
    defaults = json.loads(msgspec.json.encode(Config()))
    for key in keys():
        assert key.description, f"{key.section}.{key.name}"
        assert defaults[key.section][key.name] == key.default


def test_what_a_key_takes_is_said_in_words() -> None:
    allowed = {key.name: key.allowed for key in keys()}
    assert allowed["top_p"] == "a number > 0 and ≤ 1"
    assert allowed["gate"] == '`"off"` or `"point"` or `"proven"`'
    assert allowed["category_floors"] == "a table, name to a number ≥ 0 and ≤ 1"
    assert allowed["batch_size"] == "a whole number ≥ 1 and ≤ 1000000 or null"


def test_an_unknown_key_is_refused_by_the_schema_too() -> None:
    assert {rule["additionalProperties"] for rule in reference.schema()["$defs"].values()} == {False}


def test_the_documentation_has_the_table_of_the_keys() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert keys_table() in page, AGAIN


def test_both_are_written_anew(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(reference, "SCHEMA_FILE", tmp_path / "s.json")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "configuration.md"
    page.write_text("# T\n\n## Every key\n\nold\n", encoding="utf-8")
    reference.refresh(tmp_path)
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == reference.encode_schema()
    assert page.read_text(encoding="utf-8") == f"# T\n\n## Every key\n\n{keys_table()}"


def server(**section: object) -> ModelSection:
    return resolve_server(msgspec.convert({"base_model_id": "base", **section}, ModelSection))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("https://h/api/v1", "https://h/api/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_without_a_path_gets_the_usual_one(given: str, expected: str) -> None:
    assert expected == server(base_url=given).base_url


@pytest.mark.parametrize("given", ["h:8000", "ftp://h/v1", "http://", "http://h:0/v1", "http://h:port/v1", ""])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="expected an address such as http://localhost:8000/v1"):
        server(base_url=given)


@pytest.mark.parametrize("given", ["http://me:key@h/v1", "http://key@h/v1", "http://h/v1?key=key", "http://h/v1#key"])
def test_an_address_with_a_key_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(InputError, match="JARVIS_API_KEY") as refused:
        server(base_url=given)
    assert given not in str(refused.value)


def test_a_server_needs_an_address_and_the_name_of_a_base() -> None:
    with pytest.raises(InputError, match="no address of a server"):
        server()
    with pytest.raises(InputError, match="no base model"):
        server(base_model_id="demo", base_url="http://h/v1")


def test_vectors_may_be_made_elsewhere() -> None:
    assert server(base_url="http://h/v1", embedding_url="http://e:8001").embedding_url == "http://e:8001/v1"
    with pytest.raises(InputError, match=r"^model.embedding_url: expected an address"):
        server(base_url="http://h/v1", embedding_url="e:8001")


@pytest.mark.parametrize("key", ["base_url", "embedding_url"])
@pytest.mark.parametrize("given", ["http://me:key@h/v1", "me:key@h", "http://me:key@[h/v1"])
def test_an_address_with_a_key_is_refused_where_no_server_is_asked(key: str, given: str) -> None:
    with pytest.raises(InputError, match=rf"^model\.{key}") as refused:
        normalize_addresses(msgspec.convert({key: given}, ModelSection))
    assert "me:key" not in str(refused.value)


def test_addresses_that_are_some_are_not_refused() -> None:
    normalize_addresses(msgspec.convert({"base_url": "http://h", "embedding_url": "http://e"}, ModelSection))
    normalize_addresses(ModelSection())


def load_model(folder: Path, **keys: object) -> ModelSection:
    file = folder / "benchmark_config.json"
    file.write_text(json.dumps({"model": keys}), encoding="utf-8")
    return load_config(file).model


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "nf4"),
        ({"load_in_4bit": True}, "nf4"),
        ({"load_in_4bit": False}, "none"),
        ({"load_in_4bit": True, "quant_type": "fp4", "double_quant": False}, "fp4"),
        ({"quant_type": "fp4"}, "fp4"),
        ({"quantization": "fp4", "quant_type": "fp4", "load_in_4bit": True}, "fp4"),
        ({"quantization": "none", "load_in_4bit": False, "compute_dtype": "float32"}, "none"),
    ],
)
def test_keys_of_bitsandbytes_ask_for_a_quantization(tmp_path, keys: dict[str, object], expected: str) -> None:
    assert expected == load_model(tmp_path, **keys).quantization


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"quantization": "nf4", "load_in_4bit": False}, "load_in_4bit: 'quantization' is 'nf4'; keep one of the two"),
        ({"quantization": "none", "load_in_4bit": True}, "load_in_4bit: 'quantization' is 'none'"),
        ({"quantization": "nf4", "quant_type": "fp4"}, "quant_type: 'quantization' is 'nf4'"),
        ({"load_in_4bit": False, "quant_type": "nf4"}, "quant_type: it is about weights in 4 bits, and none are asked"),
        ({"quantization": "none", "double_quant": False}, "double_quant: it is about weights in 4 bits"),
        ({"quant_type": "int4"}, "quant_type: expected one of 'nf4', 'fp4'"),
    ],
)
def test_keys_that_ask_for_different_quantizations_are_refused(tmp_path, keys: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=f"benchmark_config.json: model: {re.escape(said)}"):
        load_model(tmp_path, **keys)
