"""Many ways to get a configuration or an option wrong: one sentence each, exit 4."""

from pathlib import Path

import pytest

from pytest_jarvis import cli

DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not valid JSON: line 1, column 1: Input data was truncated"),
    "a comma too many": (
        b'{"model": {"base_model_id": "demo",}}',
        "not valid JSON: line 1, column 36: JSON is malformed: trailing comma in object",
    ),
    "not UTF-8": (b'{"output": {"folder": "\xe9t\xe9"}}', "line 1: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    "a list": (b"[]", "expected a table, found []"),
    "a section misspelt": (b'{"generations": {}}', "unknown key 'generations'; did you mean 'generation'?"),
    "a section that is a list": (b'{"model": []}', "model: expected a table, found []"),
    "a key that stands twice": (
        b'{"generation": {"seed": 1,\n"seed": 2}}',
        "line 2: the key 'seed' stands on line 1 already; keep one of the two",
    ),
    "an adapter called as the base": (
        b'{"model": {"adapters": {"base": "x"}}}',
        "model.adapters of the configuration: the name 'base' stands for the base",
    ),
}
"""What the file holds, and what is said of it after its path."""

VALUES: list[tuple[str, str, str]] = [
    ("generation", '"temprature": 0.5', "unknown key 'temprature'; did you mean 'temperature'?"),
    ("generation", '"max_tokens": 5', "unknown key 'max_tokens'; did you mean 'max_new_tokens'?"),
    ("model", '"temperature": 0.5', "unknown key 'temperature'; known: adapter_folders, adapters, "),
    ("generation", '"max_new_tokens": "128"', "max_new_tokens: expected a whole number, found '128'"),
    ("generation", '"max_new_tokens": 1.5', "max_new_tokens: expected a whole number, found 1.5"),
    ("generation", '"max_new_tokens": 0', "max_new_tokens: expected a whole number >= 1, found 0"),
    ("generation", '"do_sample": "yes"', "do_sample: expected true or false, found 'yes'"),
    ("generation", '"temperature": -1', "temperature: expected a number >= 0.0, found -1"),
    ("generation", '"top_p": 1.5', "top_p: expected a number <= 1.0, found 1.5"),
    ("generation", '"top_p": 0', "top_p: expected a number > 0.0, found 0"),
    ("generation", '"timeout_s": 0', "timeout_s: expected a number > 0.0 (null for none), found 0"),
    ("generation", '"seed": -1', "seed: expected a whole number >= 0, found -1"),
    ("generation", '"template": "alpaca"', "template: expected one of 'chat', 'raw', found 'alpaca'"),
    ("model", '"quantization": "int4"', "quantization: expected one of 'nf4', 'none', found 'int4'"),
    ("model", '"base_model_id": ""', "base_model_id: expected a string of length >= 1, found ''"),
    ("model", '"adapters": ["a"]', "adapters: expected a table or 'auto', found [\"a\"]"),
    ("model", '"adapters": {}', "adapters: expected a table of length >= 1 or 'auto', found {}"),
    ("model", '"adapters": {"a": "b", "c": 5}', "adapters: c: expected a string, found 5"),
    ("model", '"adapter_folders": []', "adapter_folders: expected a list of length >= 1, found []"),
    ("model", '"device_map": "gpu"', "device_map: expected 'auto', 'balanced', 'balanced_low_0', 'sequential'"),
    ("model", '"max_memory": {"0": "20"}', "max_memory: 0: expected a size such as '20GB', found '20'"),
    ("model", '"max_memory": {"gpu0": "20GB"}', "max_memory: expected the number of a GPU or 'cpu', found 'gpu0'"),
    ("benchmark", '"gate": "strict"', "gate: expected one of 'proven', 'point', 'off', found 'strict'"),
    ("benchmark", '"max_failure_share": 5', "max_failure_share: expected a number <= 1.0, found 5"),
    ("benchmark", '"category_floors": {"a": 60}', "category_floors: a: expected a number <= 1.0, found 60"),
    ("benchmark", '"looks": [8, 4]', "looks: expected numbers that increase, found [8, 4]"),
    (
        "benchmark",
        '"looks": [4, 8], "samples": 4',
        "looks: 'samples' fixes the number of responses; keep one of the two",
    ),
    ("benchmark", '"prompts_sha256": "abc"', "prompts_sha256: expected a string matching regex '^[0-9a-f]{64}$', "),
    ("output", '"formats": ["text", "pdf"]', "formats: unknown format 'pdf'; known: charts, html, markdown, text"),
    (
        "output",
        '"names": {"text": "../rapport.txt"}',
        "names: text: expected letters, digits, spaces and '._+-', no dot first, found '../rapport.txt'",
    ),
    (
        "output",
        '"names": {"charts": "charts.pdf"}',
        "names: charts: expected a name that ends in '.png', found 'charts.pdf'",
    ),
    ("output", '"names": {"chart": "c.png"}', "names: unknown format 'chart'; did you mean 'charts'?"),
    ("output", '"run_name": "{date}"', "run_name: expected letters, digits, spaces and '._+-', no dot first; {time}, "),
    ("logging", '"level": "loud"', "level: expected one of 'error', 'warning', 'info', 'debug', found 'loud'"),
    ("metrics", '"relevance_share": 0', "relevance_share: expected a number > 0.0, found 0"),
]
"""A section of the file, what it holds, and what is said of it after the file's path and the section."""

OPTIONS: dict[str, tuple[list[str], str]] = {
    "no response at all": (
        ["--jarvis-samples", "0"],
        "argument --jarvis-samples: expected a whole number from 1, found '0'",
    ),
    "a word for a count": (["--jarvis-samples", "quatre"], "expected a whole number from 1, found 'quatre'"),
    "a gain that is no number": (["--jarvis-min-gain", "inf"], "expected a percentage such as 5, found 'inf'"),
    "a timeout in the past": (["--jarvis-timeout", "-2"], "expected seconds such as 30, or 0 for none, found '-2'"),
    "a seed below 0": (["--jarvis-seed", "-1"], "expected a whole number from 0, found '-1'"),
    "a gate of no kind": (
        ["--jarvis-gate", "oui"],
        "argument --jarvis-gate: expected one of proven, point, off, found 'oui'",
    ),
    "an option misspelt": (["--jarvis-sample-count", "4"], "--jarvis-sample-count"),
    "an option without its value": (["--jarvis-model"], "argument --jarvis-model: expected one argument"),
    "a model without a name": (
        ["--jarvis-model", ""],
        "--jarvis-model: base_model_id: expected a string of length >= 1",
    ),
    "an engine of no kind": (["--jarvis-engine", "transformer"], "did you mean 'transformers'?"),
    "an adapter without a path": (["--jarvis-adapter", "a="], "expected PATH or NAME=PATH, found 'a='"),
    "two adapters of one name": (["--jarvis-adapter", "a=x", "--jarvis-adapter", "a=y"], "the name 'a' is used twice"),
    "an adapter called as the base": (["--jarvis-adapter", "base=x"], "the name 'base' stands for the base model"),
    "a real base without an adapter": (["--jarvis-model", "a/b"], "there is no adapter to compare it with"),
    "nothing to choose from": (["--jarvis-adapter", "auto"], "--jarvis-adapter auto: no usable adapter for demo"),
    "an adapter in an A/A run": (["--jarvis-aa", "--jarvis-adapter", "a=x"], "leave --jarvis-adapter out"),
    "a configuration that is not there": (["--jarvis-config", "rien.json"], "rien.json: cannot be read"),
}
"""Arguments, and what is said of them."""


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


@pytest.mark.parametrize(("content", "expected"), DOCUMENTS.values(), ids=list(DOCUMENTS))
def test_a_configuration_is_refused_with_the_place(capsys, content: bytes, expected: str) -> None:
    assert refused(capsys, content).startswith(expected)


@pytest.mark.parametrize(("section", "values", "expected"), VALUES, ids=[f"{row[0]} {row[1]}" for row in VALUES])
def test_a_value_is_refused_with_its_section_and_key(capsys, section: str, values: str, expected: str) -> None:
    assert refused(capsys, f'{{"{section}": {{{values}}}}}'.encode()).startswith(f"{section}: {expected}")


@pytest.mark.parametrize(("arguments", "expected"), OPTIONS.values(), ids=list(OPTIONS))
def test_an_option_is_refused_with_its_name(capsys, arguments: list[str], expected: str) -> None:
    assert expected in said(capsys, *arguments)
