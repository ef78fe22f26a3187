"""Many ways to get a configuration or an option wrong: one sentence each, exit 4."""

import json
import os
import shlex
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_jarvis import cli
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.config import Config, load_config
from pytest_jarvis.inputs.options import OPTIONS as DECLARED
from pytest_jarvis.render.french.formats import printable
from pytest_jarvis.run.settings import resolve_prompts

DOCUMENTS = {
    "nothing": b"",
    "a comma too many": b'{"model": {"base_model_id": "demo",}}',
    "not UTF-8": b'{"output": {"folder": "\xe9t\xe9"}}',
    "a list": b"[]",
    "a section misspelt": b'{"generations": {}}',
    "a section that is a list": b'{"model": []}',
    "a key that stands twice": b'{"generation": {"seed": 1,\n"seed": 2}}',
    "an adapter called as the base": b'{"model": {"adapters": {"base": "x"}}}',
}
GENERATION = """
"temprature": 0.5 | "max_tokens": 5 | "max_new_tokens": "128" | "max_new_tokens": 1.5 | "max_new_tokens": 0
"do_sample": "yes" | "temperature": -1 | "top_p": 1.5 | "top_p": 0 | "timeout_s": 0 | "seed": -1 | "template": "alpaca"
"""
MODEL = """
"quantization": "int4" | "base_model_id": "" | "adapters": ["a"] | "adapters": {} | "adapters": {"a": "b", "c": 5}
"adapter_folders": [] | "device_map": "gpu" | "max_memory": {"0": "20"} | "max_memory": {"gpu0": "20GB"}
"""
BENCHMARK = """
"gate": "strict" | "max_failure_share": 5 | "category_floors": {"a": 60} | "looks": [8, 4]
"looks": [4, 8], "samples": 4 | "prompts_sha256": "abc"
"""
OUTPUT = """
"formats": ["text", "pdf"] | "names": {"text": "../rapport.txt"} | "names": {"charts": "charts.pdf"}
"names": {"chart": "c.png"} | "run_name": "{date}"
"""
VALUES = {
    "generation": GENERATION,
    "model": MODEL,
    "benchmark": BENCHMARK,
    "output": OUTPUT,
    "logging": '"level": "loud"',
    "metrics": '"relevance_share": 0',
}
"""Section -> what it holds, one wrong thing after the other."""
OPTIONS = """
--jarvis-samples 0 | --jarvis-samples quatre | --jarvis-min-gain inf | --jarvis-timeout -2 | --jarvis-seed -1
--jarvis-gate oui | --jarvis-sample-count 4 | --jarvis-model | --jarvis-model '' | --jarvis-engine transformer
--jarvis-adapter a= | --jarvis-adapter a=x --jarvis-adapter a=y | --jarvis-adapter base=x | --jarvis-model a/b
--jarvis-adapter auto | --jarvis-aa --jarvis-adapter a=x | --jarvis-config rien.json
"""


def each(table: str) -> list[str]:
    """Return the entries of a table."""
    return [entry.strip() for line in table.strip().splitlines() for entry in line.split("|")]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that ends with exit status 4; return the one line that it says."""
    try:
        status: object = cli.main(["config", "show", *arguments])
    except SystemExit as stopped:
        status = stopped.code
    assert status == cli.USAGE_ERROR
    out, error = capsys.readouterr()
    assert out == ""
    (line,) = error.splitlines()
    return line


def refused(capsys: pytest.CaptureFixture[str], content: bytes) -> str:
    """Return what is said of a configuration after its path, which is left out of what the rules between keys say."""
    Path("benchmark_config.json").write_bytes(content)
    return said(capsys).removeprefix("pytest-jarvis: ").removeprefix("benchmark_config.json: ")


def test_a_configuration_is_refused_with_the_place(capsys, golden) -> None:
    assert golden == "".join(f"{what}\n    {refused(capsys, content)}\n" for what, content in DOCUMENTS.items())


@pytest.mark.parametrize("section", VALUES)
def test_a_value_is_refused_with_its_section_and_key(capsys, section: str, golden) -> None:
    cases = [(values, refused(capsys, f'{{"{section}": {{{values}}}}}'.encode())) for values in each(VALUES[section])]
    assert golden == "".join(f"{values}\n    {said_of}\n" for values, said_of in cases)


def test_an_unknown_key_is_refused_with_those_that_are_known(capsys) -> None:
    said_of = refused(capsys, b'{"model": {"temperature": 0.5}}')
    assert said_of.startswith("model: unknown key 'temperature'; known: adapter_folders, adapters, ")


def test_an_option_is_refused_with_its_name(capsys, golden) -> None:
    assert golden == "".join(f"{line}\n    {said(capsys, *shlex.split(line))}\n" for line in each(OPTIONS))


PLACES = [lambda path: path.symlink_to("gone"), lambda path: path.symlink_to(path.name), os.mkfifo, Path.mkdir]


@pytest.mark.parametrize("put", PLACES, ids=["broken link", "loop", "pipe", "folder"])
def test_what_is_no_file_in_the_place_of_the_configuration_is_not_taken_for_none(
    capsys, put: Callable[[Path], None]
) -> None:
    put(Path("benchmark_config.json"))
    assert said(capsys).startswith("pytest-jarvis: benchmark_config.json: ")


def test_a_file_in_the_place_of_the_prompts_is_not_taken_for_none(tmp_path) -> None:
    Path("jarvis_prompts").touch()
    option = Namespace(jarvis_prompts=None)
    assert tmp_path / "jarvis_prompts" == resolve_prompts(Config(), option, tmp_path, tmp_path)


@pytest.mark.parametrize("flag", [one.flag for one in DECLARED if one.metavar or one.choices])
def test_an_option_without_a_value_is_refused_by_name(capsys, flag: str) -> None:
    assert f"{flag}: " in said(capsys, f"{flag}=")


KEYS = [(section, key) for section in VALUES for key in msgspec.to_builtins(getattr(Config(), section))]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("a" * 300),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=5,
)


@given(keys=st.dictionaries(st.sampled_from(KEYS), ANY, min_size=1, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_configuration_is_read_or_refused_in_one_sentence(tmp_path, keys: dict[tuple[str, str], object]) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({section: {key: value} for (section, key), value in keys.items()}), encoding="utf-8")
    try:
        said_of = repr(load_config(file))
    except InputError as error:
        said_of = str(error)
    assert said_of.startswith((f"{file}: ", "Config("))
    assert 1 == len(printable(said_of).splitlines())
