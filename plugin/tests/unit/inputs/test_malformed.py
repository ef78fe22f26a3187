"""Many ways to get a configuration, a prompt file, a tool file or an option wrong: one sentence each, exit 4."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_jarvis import cli
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.prompts import load_prompts

CONFIGURATIONS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not valid JSON: line 1, column 1: Input data was truncated"),
    "a comma too many": (
        b'{"model": {"base_model_id": "demo",}}',
        "not valid JSON: line 1, column 36: JSON is malformed: trailing comma in object",
    ),
    "cut in the middle": (b'{"model": {', "not valid JSON: line 1, column 12: Input data was truncated"),
    "a comment": (b"{} // mine", "not valid JSON: line 1, column 4: JSON is malformed: trailing characters"),
    "not UTF-8": (b'{"output": {"folder": "\xe9t\xe9"}}', "line 1: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    "a list": (b"[]", "expected a table, found []"),
    "a number too large": (b'{"generation": {"seed": 1e400}}', "not valid JSON: Number out of range"),
    "a section misspelt": (b'{"generations": {}}', "unknown key 'generations'; did you mean 'generation'?"),
    "a section that is a list": (b'{"model": []}', "model: expected a table, found []"),
    "a key that stands twice": (
        b'{"generation": {"seed": 1,\n"seed": 2}}',
        "line 2: the key 'seed' stands on line 1 already; keep one of the two",
    ),
    "a key misspelt": (
        b'{"generation": {"temprature": 0.5}}',
        "generation: unknown key 'temprature'; did you mean 'temperature'?",
    ),
    "a key of another section": (
        b'{"model": {"temperature": 0.5}}',
        "model: unknown key 'temperature'; known: adapter_folders, adapters, ",
    ),
    "a string for a number": (
        b'{"generation": {"max_new_tokens": "128"}}',
        "generation: max_new_tokens: expected a whole number, found '128'",
    ),
    "a fraction for a whole number": (
        b'{"generation": {"max_new_tokens": 1.5}}',
        "generation: max_new_tokens: expected a whole number, found 1.5",
    ),
    "a word for true": (
        b'{"generation": {"do_sample": "yes"}}',
        "generation: do_sample: expected true or false, found 'yes'",
    ),
    "a temperature below 0": (
        b'{"generation": {"temperature": -1}}',
        "generation: temperature: expected a number >= 0.0, found -1",
    ),
    "a top_p above 1": (b'{"generation": {"top_p": 1.5}}', "generation: top_p: expected a number <= 1.0, found 1.5"),
    "a timeout of 0": (
        b'{"generation": {"timeout_s": 0}}',
        "generation: timeout_s: expected a number > 0.0 (null for none), found 0",
    ),
    "a seed below 0": (b'{"generation": {"seed": -1}}', "generation: seed: expected a whole number >= 0, found -1"),
    "a template of no kind": (
        b'{"generation": {"template": "alpaca"}}',
        "generation: template: expected one of 'chat', 'raw', found 'alpaca'",
    ),
    "a quantisation of no kind": (
        b'{"model": {"quantization": "int4"}}',
        "model: quantization: expected one of 'nf4', 'none', found 'int4'",
    ),
    "a model without a name": (
        b'{"model": {"base_model_id": ""}}',
        "model: base_model_id: expected a string of length >= 1, found ''",
    ),
    "adapters in a list": (
        b'{"model": {"adapters": ["a"]}}',
        "model: adapters: expected a table or 'auto', found [\"a\"]",
    ),
    "no adapter": (
        b'{"model": {"adapters": {}}}',
        "model: adapters: expected a table of length >= 1 or 'auto', found {}",
    ),
    "a path that is a number": (b'{"model": {"adapters": {"a": 1}}}', "model: adapters: a: expected a string, found 1"),
    "an adapter called as the base": (
        b'{"model": {"adapters": {"base": "x"}}}',
        "model.adapters of the configuration: the name 'base' stands for the base",
    ),
    "a device of no kind": (
        b'{"model": {"device_map": "gpu"}}',
        "model: device_map: expected 'auto', 'balanced', 'balanced_low_0', 'sequential'",
    ),
    "memory without a unit": (
        b'{"model": {"max_memory": {"0": "20"}}}',
        "model: max_memory: 0: expected a size such as '20GB', found '20'",
    ),
    "memory of no device": (
        b'{"model": {"max_memory": {"gpu0": "20GB"}}}',
        "model: max_memory: expected the number of a GPU or 'cpu', found 'gpu0'",
    ),
    "a gate of no kind": (
        b'{"benchmark": {"gate": "strict"}}',
        "benchmark: gate: expected one of 'proven', 'point', 'off', found 'strict'",
    ),
    "a share above 1": (
        b'{"benchmark": {"max_failure_share": 5}}',
        "benchmark: max_failure_share: expected a number <= 1.0, found 5",
    ),
    "floors per cent": (
        b'{"benchmark": {"category_floors": {"tool_routing": 60}}}',
        "benchmark: category_floors: tool_routing: expected a number <= 1.0, found 60",
    ),
    "looks that decrease": (
        b'{"benchmark": {"looks": [8, 4]}}',
        "benchmark: looks: expected numbers that increase, found [8, 4]",
    ),
    "looks and samples": (
        b'{"benchmark": {"looks": [4, 8], "samples": 4}}',
        "benchmark: looks: 'samples' fixes the number of responses; keep one of the two",
    ),
    "a hash that is none": (
        b'{"benchmark": {"prompts_sha256": "abc"}}',
        "benchmark: prompts_sha256: expected a string matching regex '^[0-9a-f]{64}$', found 'abc'",
    ),
    "a format of no kind": (
        b'{"output": {"formats": ["pdf"]}}',
        "output: formats: entry 1: expected one of 'text', 'charts', 'html', 'markdown', found 'pdf'",
    ),
    "a file in another folder": (
        b'{"output": {"names": {"text": "../rapport.txt"}}}',
        "output: names: text: expected letters, digits, spaces and '._+-', no dot first, found '../rapport.txt'",
    ),
    "a file of another kind": (
        b'{"output": {"names": {"charts": "charts.pdf"}}}',
        "output: names: charts: expected a name that ends in '.png', found 'charts.pdf'",
    ),
    "the name of no file": (
        b'{"output": {"names": {"chart": "c.png"}}}',
        "output: names: unknown format 'chart'; did you mean 'charts'?",
    ),
    "a run named by an unknown word": (
        b'{"output": {"run_name": "{date}"}}',
        "output: run_name: expected letters, digits, spaces and '._+-', no dot first; {time}, ",
    ),
    "a level of no kind": (
        b'{"logging": {"level": "loud"}}',
        "logging: level: expected one of 'error', 'warning', 'info', 'debug', found 'loud'",
    ),
    "a share of relevance of 0": (
        b'{"metrics": {"relevance_share": 0}}',
        "metrics: relevance_share: expected a number > 0.0, found 0",
    ),
}
"""What the file holds, and what is said of it after its path."""

PROMPT = '[[prompts]]\nid = "p-1"\ntext = "ouvre chrome"\nkeywords = ["ouvre", "chrome"]\n'
TOOL = '[[tools]]\nname = "a"\ndescription = "x"\nterms = ["x"]\nparameters = {type = "object"}\n'

FILES: dict[str, tuple[str, str, str]] = {
    "no TOML": ("a.toml", "prompts = [", "not valid TOML: Invalid value (at end of document)"),
    "no prompt": ("a.toml", "label = 'A'", "the key 'prompts' is missing"),
    "an empty list of prompts": ("a.toml", "prompts = []", "prompts: expected a list of length >= 1, found []"),
    "a key misspelt": (
        "a.toml",
        PROMPT.replace("keywords", "keyword"),
        "prompts: entry 1 ('p-1'): unknown key 'keyword'; did you mean 'keywords'?",
    ),
    "a number for a text": (
        "a.toml",
        PROMPT.replace('"ouvre chrome"', "3"),
        "prompts: entry 1 ('p-1'): text: expected a string, found 3",
    ),
    "a text without a word": (
        "a.toml",
        PROMPT.replace('"ouvre chrome"', '"?!"'),
        "prompt 'p-1': text: expected at least one word, found '?!'",
    ),
    "one keyword": (
        "a.toml",
        PROMPT.replace('["ouvre", "chrome"]', '["ouvre"]'),
        "prompt 'p-1': keywords: expected 2 to 5 of them, found 1",
    ),
    "a keyword twice": (
        "a.toml",
        PROMPT.replace('["ouvre", "chrome"]', '["Éteins", "eteins"]'),
        "prompt 'p-1': keywords: 'Éteins' and 'eteins' are the same (case and accents do not count)",
    ),
    "an id twice": ("a.toml", PROMPT + PROMPT, "prompt 'p-1': the id is already used in a.toml; ids must differ"),
    "an id with a space": (
        "a.toml",
        PROMPT.replace("p-1", "p 1"),
        "prompt 'p 1': id: expected letters without accents, digits, '.', '_' and '-', no sign first",
    ),
    "a tool nobody knows": (
        "a.toml",
        PROMPT + 'expected_tool = "mute_tol"\n',
        "prompt 'p-1': unknown tool 'mute_tol'; did you mean 'mute_tool'?",
    ),
    "a category with an accent": (
        "é.toml",
        PROMPT,
        "the file's name is that of the category: expected letters without accents, digits, '_' and '-'",
    ),
    "a tool that expects nothing": (
        "tools.toml",
        '[[tools]]\nname = "a_tool"\n',
        "tools: entry 1 ('a_tool'): the key 'description' is missing",
    ),
    "a tool named with a capital": (
        "tools.toml",
        TOOL.replace('"a"', '"A"'),
        "tool 'A': name: expected small letters without accents, digits and '_'",
    ),
    "a tool without terms": (
        "tools.toml",
        TOOL.replace('["x"]', "[]"),
        "tools: entry 1 ('a'): terms: expected a list of length >= 1, found []",
    ),
    "parameters that are no schema": (
        "tools.toml",
        TOOL.replace('type = "object"', ""),
        "tool 'a': parameters: expected a JSON schema with type = \"object\", found type None",
    ),
    "a tool twice": (
        "tools.toml",
        TOOL + TOOL.replace('["x"]', '["y"]'),
        "tool 'a': the name is used twice; names must differ",
    ),
    "a term twice": (
        "tools.toml",
        TOOL.replace('["x"]', '["x", "X"]'),
        "tool 'a': term 'X' already belongs to 'a'; a term names one tool, once (case and accents do not count)",
    ),
}
"""A file of a folder of prompts, what it holds, and what is said of it after its path."""

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
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(("content", "expected"), CONFIGURATIONS.values(), ids=list(CONFIGURATIONS))
def test_a_configuration_is_refused_with_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, expected: str
) -> None:
    file = tmp_path / "benchmark_config.json"
    file.write_bytes(content)
    line = said(capsys)
    assert line.removeprefix("pytest-jarvis: ").removeprefix(f"{file.name}: ").startswith(expected)


@pytest.mark.parametrize(("name", "content", "expected"), FILES.values(), ids=list(FILES))
def test_a_file_of_prompts_or_tools_is_refused_with_the_place(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    (tmp_path / "tools.toml").write_text(TOOL.replace('"a"', '"mute_tool"'), encoding="utf-8")
    (tmp_path / "correct.toml").write_text(PROMPT.replace("p-1", "c-1"), encoding="utf-8")
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_prompts(tmp_path)
    assert str(caught.value) == f"{tmp_path / name}: {expected}"


@pytest.mark.parametrize(("arguments", "expected"), OPTIONS.values(), ids=list(OPTIONS))
def test_an_option_is_refused_with_its_name(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert expected in said(capsys, *arguments)
