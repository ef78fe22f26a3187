"""`config_schema`: the schema that ships is the one the types give, every key is described, and the docs have all."""

import json
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis.inputs.config import Config
from pytest_jarvis.inputs.config_schema import SCHEMA_FILE, encode_schema, keys, keys_table, refresh, schema

ROOT = Path(__file__).parents[4]
AGAIN = "python -m pytest_jarvis.inputs.config_schema writes it anew"
SECTIONS = ("model", "generation", "benchmark", "metrics", "output", "logging")


def test_the_schema_that_ships_is_that_of_the_types() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == encode_schema(), AGAIN


@pytest.mark.parametrize("name", ["benchmark_config.json", "benchmark_config.qwen3-30b-a3b.json"])
def test_a_configuration_of_the_checkout_names_the_schema(name: str) -> None:
    named = json.loads((ROOT / name).read_text(encoding="utf-8"))["$schema"]
    assert (ROOT / named).resolve() == SCHEMA_FILE.resolve()


def test_there_are_six_sections_with_every_key_of_the_types() -> None:
    found = [(key.section, key.name) for key in keys()]
    defaults = msgspec.to_builtins(Config())
    assert [(section, name) for section in SECTIONS for name in defaults[section]] == found


def test_every_key_is_described_and_has_its_default() -> None:
    defaults = msgspec.to_builtins(Config())
    for key in keys():
        assert key.description, f"{key.section}.{key.name}"
        assert defaults[key.section][key.name] == key.default


def test_what_a_key_takes_is_said_in_words() -> None:
    allowed = {key.name: key.allowed for key in keys()}
    assert allowed["top_p"] == "a number > 0 and ≤ 1"
    assert allowed["gate"] == '`"off"` or `"point"` or `"proven"`'
    assert allowed["category_floors"] == "a table, name to a number ≥ 0 and ≤ 1"
    assert allowed["batch_size"] == "a whole number ≥ 1 or null"


def test_an_unknown_key_is_refused_by_the_schema_too() -> None:
    assert {rule["additionalProperties"] for rule in schema()["$defs"].values()} == {False}


def test_the_documentation_has_the_table_of_the_keys() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert keys_table() in page, AGAIN


def test_both_are_written_anew(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pytest_jarvis.inputs.config_schema.SCHEMA_FILE", tmp_path / "s.json")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "configuration.md"
    page.write_text("# T\n\n## Every key\n\nold\n", encoding="utf-8")
    refresh(tmp_path)
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == encode_schema()
    assert page.read_text(encoding="utf-8") == f"# T\n\n## Every key\n\n{keys_table()}"
