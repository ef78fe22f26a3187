"""Many ways to get a configuration or an option wrong: one sentence each, exit 4."""

import shlex
from pathlib import Path

import pytest

from pytest_jarvis import cli

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
