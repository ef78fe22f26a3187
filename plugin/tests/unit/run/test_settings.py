"""`settings`: options over file over defaults, and where each value comes from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reports import options

from pytest_jarvis.demo import adapter_path
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.config import Config
from pytest_jarvis.inputs.options import OPTIONS, Option
from pytest_jarvis.inputs.prompts import packaged_prompts
from pytest_jarvis.run.settings import Origin, Settings, origins, resolve

TYPED = {
    "--jarvis-model": ("demo", "demo"),
    "--jarvis-base-url": ("http://h/v1", "http://h/v1"),
    "--jarvis-concurrency": ("5", 5),
    "--jarvis-seed": ("7", 7),
    "--jarvis-batch-size": ("3", 3),
    "--jarvis-max-new-tokens": ("9", 9),
    "--jarvis-template": ("raw", "raw"),
    "--jarvis-timeout": ("2.5", 2.5),
    "--jarvis-samples": ("2", 2),
    "--jarvis-gate": ("point", "point"),
    "--jarvis-min-gain": ("7,5 %", 7.5),
    "--jarvis-inconclusive": ("warn", "warn"),
    "--jarvis-unjudged": ("warn", "warn"),
    "--jarvis-require": ("all", "all"),
}
"""Option -> what is typed, and what the configuration then holds; the others of the table are flags."""
SERVED = ("--jarvis-engine", "server", "--jarvis-model", "base", "--jarvis-adapter", "lora")


def resolved(folder: Path, text: str = "{}", *arguments: str) -> Settings:
    (folder / "benchmark_config.json").write_text(text, encoding="utf-8")
    return resolve(options(*arguments), folder)


@pytest.mark.parametrize("option", [one for one in OPTIONS if one.key and one.verbatim], ids=lambda one: one.flag)
def test_an_option_overrides_its_key(tmp_path, option: Option) -> None:
    typed, expected = TYPED.get(option.flag, (None, True))
    needed = {"--jarvis-base-url": SERVED, "--jarvis-strict": ("--jarvis-report",)}.get(option.flag, ())
    settings = resolved(tmp_path, "{}", *needed, *([option.flag] if typed is None else [option.flag, typed]))
    section, _, key = str(option.key).partition(".")
    assert expected == getattr(getattr(settings.config, section), key)


def test_the_documentation_says_which_option_overrides_which_key() -> None:
    page = (Path(__file__).parents[4] / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [f"| `{one.flag}` | `{one.key}` |" for one in OPTIONS if one.key]
    assert [row for row in rows if row not in page] == []


def test_without_file_and_options_all_is_default(tmp_path) -> None:
    settings = resolve(options(), tmp_path)
    assert settings.config == Config()
    assert (settings.engine, settings.gate.looks, settings.write_report) == ("transformers", (4, 8, 16), False)
    assert [adapter.source for adapter in settings.adapters] == ["demo:jarvis"]


def test_the_file_overrides_the_defaults_and_an_option_the_file(tmp_path) -> None:
    text = '{"generation": {"seed": 5, "batch_size": 2}}'
    settings = resolved(tmp_path, text, "--jarvis-seed", "6")
    assert (settings.generation.seed, settings.generation.batch_size) == (6, 2)


def test_no_timeout_is_asked_for_by_zero(tmp_path) -> None:
    assert resolved(tmp_path, "{}", "--jarvis-timeout", "0").generation.timeout_s is None


@pytest.mark.parametrize(
    ("section", "arguments", "expected"),
    [
        ("{}", (), (4, 8, 16)),
        ('{"looks": [2, 5]}', (), (2, 5)),
        ('{"looks": [2, 5]}', ("--jarvis-samples", "3"), (3,)),
        ('{"looks": [2, 5], "gate": "point"}', (), (4,)),
        ('{"samples": 6}', (), (6,)),
        ("{}", ("--jarvis-aa",), (4,)),
    ],
)
def test_the_looks_are(tmp_path, section: str, arguments: tuple[str, ...], expected: tuple[int, ...]) -> None:
    assert expected == resolved(tmp_path, f'{{"benchmark": {section}}}', *arguments).gate.looks


def test_greedy_decoding_takes_one_look(tmp_path) -> None:
    assert resolved(tmp_path, '{"generation": {"temperature": 0}}').gate.looks == (1,)


@pytest.mark.parametrize(
    ("name", "expected"), [("{time}", "{time}"), ("{model} {adapter} nuit", "Qwen3-30B-A3B a nuit")]
)
def test_the_name_of_a_run_is_filled_in_but_for_the_time(tmp_path, name: str, expected: str) -> None:
    text = f'{{"output": {{"run_name": "{name}"}}}}'
    arguments = ("--jarvis-model", "Qwen/Qwen3-30B-A3B", "--jarvis-adapter", "a=x")
    assert expected == resolved(tmp_path, text, *arguments).run_name


def test_adapters_of_the_file_are_beside_it(tmp_path) -> None:
    settings = resolved(tmp_path, '{"model": {"adapters": {"a": "lora", "b": "demo:faible"}}}')
    assert [adapter.source for adapter in settings.adapters] == [str(tmp_path / "lora"), "demo:faible"]


def test_each_value_says_where_it_comes_from(tmp_path) -> None:
    file = tmp_path / "benchmark_config.json"
    file.write_text('{"generation": {"seed": 5, "top_p": 0.5}}', encoding="utf-8")
    found = {
        (origin.section, origin.key): origin
        for origin in origins(
            options("--jarvis-seed", "6", "--jarvis-adapter", "a=x", "--jarvis-prompts", "p"), tmp_path
        )
    }
    told = {"section": "generation", "key": "seed", "value": 6}
    assert found["generation", "seed"] == Origin(**told, kind="option", by="--jarvis-seed")  # type: ignore[arg-type]
    assert (found["generation", "top_p"].kind, found["generation", "top_p"].by) == ("file", str(file))
    assert (found["generation", "temperature"].kind, found["generation", "temperature"].by) == ("default", None)
    assert (found["model", "adapters"].value, found["model", "adapters"].by) == (["a=x"], "--jarvis-adapter")
    assert (found["benchmark", "prompts"].value, found["benchmark", "prompts"].by) == ("p", "--jarvis-prompts")


def test_without_a_file_nothing_comes_from_one(tmp_path) -> None:
    assert {origin.kind for origin in origins(options(), tmp_path)} == {"default"}


def test_with_a_server_adapters_are_names_at_its_address(tmp_path) -> None:
    text = '{"model": {"base_model_id": "base", "adapters": {"jarvis": "org/jarvis"}, "base_url": "http://h:1"}}'
    settings = resolved(tmp_path, text, "--jarvis-engine", "server")
    assert [(adapter.name, adapter.source) for adapter in settings.adapters] == [("jarvis", "org/jarvis")]
    assert settings.model.base_url == "http://h:1/v1"


def test_an_address_without_the_engine_that_asks_it_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="the engine 'transformers' asks no server; add --jarvis-engine server"):
        resolved(tmp_path, "{}", "--jarvis-base-url", "http://h/v1")


def test_the_prompts_are_those_of_the_option_the_file_the_checkout_or_the_package(tmp_path) -> None:
    assert resolved(tmp_path).prompts_folder == packaged_prompts()
    (tmp_path / "jarvis_prompts").mkdir()
    assert resolved(tmp_path).prompts_folder == tmp_path / "jarvis_prompts"
    assert resolved(tmp_path, '{"benchmark": {"prompts": "p"}}').prompts_folder == tmp_path / "p"
    assert resolved(tmp_path, "{}", "--jarvis-prompts", "q").prompts_folder == Path("q")


def test_the_newest_adapter_of_the_folders_is_settled_on(tmp_path) -> None:
    shutil.copytree(adapter_path("jarvis"), tmp_path / "runs" / "a")
    settings = resolved(tmp_path, '{"model": {"adapter_folders": ["runs"]}}', "--jarvis-adapter", "mien=auto")
    assert [(one.name, Path(one.source)) for one in settings.adapters] == [("mien", tmp_path / "runs" / "a")]
    assert [detection.arm for detection in settings.detections] == ["mien"]
