"""`config`: the sections of the configuration, its defaults, and which adapters come of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pytest_jarvis.demo import adapter_path
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.adapters import Detection, inspect_adapter
from pytest_jarvis.inputs.config import Config, GenerationSection, LoggingSection, ModelSection, bytes_of, load_config
from pytest_jarvis.run.settings import adapter_specs, detected_spec, generation_settings, model_spec
from pytest_jarvis.types import AdapterSpec, GenerationSettings, ModelSpec


def specs(*named: str, base_changed: bool = False, **section: object) -> list[tuple[str, str]]:
    """Return name and source of the adapters."""
    found = adapter_specs(list(named), msgspec.convert(section, ModelSection), base_changed=base_changed)
    return [(spec.name, spec.source) for spec in found]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("{}", encoding="utf-8")
    assert Config() == load_config(path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("20GB", 20 * 10**9), ("1.5 GiB", 3 << 29), ("512MB", 512 * 10**6), ("1KB", 1000), (None, 7), ("much", 7)],
)
def test_a_size_is_read_in_bytes(size: str | None, expected: int) -> None:
    assert expected == bytes_of(size, 7)


def test_a_schema_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"$schema": "s.json"}', encoding="utf-8")
    assert load_config(path).schema == "s.json"


@pytest.mark.parametrize("name", ["benchmark_config.json", "benchmark_config.qwen3-30b-a3b.json"])
def test_the_files_of_the_checkout_are_valid(name: str) -> None:
    loaded = load_config(Path(__file__).parents[4] / name)
    assert adapter_specs([], loaded.model)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            '{"modle": {}}',
            "unknown key 'modle'; did you mean 'model'?",
            id="section misspelt",
        ),
        pytest.param(
            '{"generation": {"max_tokens": 5}}',
            "generation: unknown key 'max_tokens'; did you mean 'max_new_tokens'?",
            id="key misspelt",
        ),
        pytest.param(
            '{"model": {"quantization": "int8"}}',
            "model: quantization: expected one of 'nf4', 'none', found 'int8'",
            id="choice",
        ),
        pytest.param(
            '{"model": {"adapters": {"a": "b", "c": 5}}}',
            "model: adapters: c: expected a string, found 5",
            id="adapter",
        ),
        pytest.param(
            '{"model": {"adapters": 5}}', "model: adapters: expected a table or 'auto', found 5", id="adapters"
        ),
        pytest.param(
            '{"model": {"adapter_folders": []}}',
            "model: adapter_folders: expected a list of length >= 1, found []",
            id="no folder",
        ),
        pytest.param('{"generation": {"top_p": 0}}', "generation: top_p: expected a number > 0.0, found 0", id="top_p"),
        pytest.param(
            '{"generation": {"temperature": -1}}',
            "generation: temperature: expected a number >= 0.0, found -1",
            id="temperature",
        ),
        pytest.param(
            '{"generation": {"max_new_tokens": 0}}',
            "generation: max_new_tokens: expected a whole number >= 1, found 0",
            id="max_new_tokens",
        ),
        pytest.param(
            '{"benchmark": {"category_floors": {"tool_routing": 60}}}',
            "benchmark: category_floors: tool_routing: expected a number <= 1.0, found 60",
            id="per cent for a share",
        ),
        pytest.param(
            '{"output": {"formats": ["text", "pdf"]}}',
            "output: formats: entry 2: expected one of 'text', 'charts', 'html', 'markdown', found 'pdf'",
            id="format",
        ),
    ],
)
def test_a_file_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert f"{path}: {expected}" == str(caught.value)


def test_the_default_generation_is_that_of_the_engine() -> None:
    assert GenerationSettings() == generation_settings(GenerationSection())


def test_every_setting_of_generation_is_handed_on() -> None:
    section = GenerationSection(
        max_new_tokens=7,
        temperature=0.1,
        top_p=0.2,
        do_sample=False,
        timeout_s=None,
        seed=3,
        template="raw",
        thinking=True,
        system_prompt="Bonjour.",
        max_response_chars=9,
    )
    expected = GenerationSettings(
        max_new_tokens=7,
        temperature=0.1,
        top_p=0.2,
        do_sample=False,
        timeout_s=None,
        seed=3,
        template="raw",
        enable_thinking=True,
        system_prompt="Bonjour.",
        max_response_chars=9,
    )
    assert expected == generation_settings(section)


def test_every_setting_of_the_model_is_handed_on() -> None:
    section = ModelSection(
        base_model_id="m",
        quantization="none",
        device_map="cpu",
        max_memory={"0": "20GB"},
        revision="r",
        trust_remote_code=True,
        allow_partial_4bit=True,
        allow_inert_adapter=True,
        plain_gpu=True,
    )
    conf = Config(model=section, generation=GenerationSection(batch_size=4), logging=LoggingSection(level="info"))
    adapters = (AdapterSpec(name="a", source="b"),)
    expected = ModelSpec(
        base_model="m",
        adapters=adapters,
        quantization="none",
        device_map="cpu",
        max_memory={"0": "20GB"},
        revision="r",
        trust_remote_code=True,
        batch_size=4,
        allow_partial_4bit=True,
        allow_inert_adapter=True,
        plain_gpu=True,
        log_level="info",
    )
    assert expected == model_spec(conf, adapters)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        pytest.param("demo:faible", ("faible", "demo:faible"), id="embedded"),
        pytest.param("out/mon-lora", ("mon-lora", "out/mon-lora"), id="folder"),
        pytest.param("out/mon-lora/", ("mon-lora", "out/mon-lora/"), id="folder with a slash"),
        pytest.param("quelqu-un/jarvis-lora", ("jarvis-lora", "quelqu-un/jarvis-lora"), id="hub"),
        pytest.param("out/étape 1.5", ("étape-1-5", "out/étape 1.5"), id="signs that cannot name a module"),
        pytest.param("out/_essai_", ("essai", "out/_essai_"), id="underscores around"),
        pytest.param("mien=out/lora", ("mien", "out/lora"), id="named"),
        pytest.param("mien=demo:faible", ("mien", "demo:faible"), id="embedded and named"),
        pytest.param("mien=out/lr=0.1", ("mien", "out/lr=0.1"), id="named, equals in the path"),
        pytest.param("out/lr=0.1", ("lr-0-1", "out/lr=0.1"), id="equals in the path"),
    ],
)
def test_an_adapter_of_the_command_line_is(named: str, expected: tuple[str, str]) -> None:
    assert [expected] == specs(named)


def test_the_folder_one_stands_in_gives_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lora").mkdir()
    monkeypatch.chdir(tmp_path / "lora")
    assert specs(".") == [("lora", ".")]


def test_the_demo_without_adapters_has_its_own() -> None:
    assert specs() == [("jarvis", "demo:jarvis")]


@pytest.mark.parametrize(
    "section", [{"adapters": "auto"}, {"adapter_folders": ["runs"]}, {"adapters": "auto", "base_model_id": "a/b"}]
)
def test_the_file_may_leave_the_choice_to_the_folders(section: dict[str, object]) -> None:
    assert specs(**section) == [("auto", "auto")]


def test_the_choice_stays_with_the_folders_for_another_base() -> None:
    assert specs(adapters="auto", base_model_id="a/b", base_changed=True) == [("auto", "auto")]


@pytest.mark.parametrize(("named", "expected"), [("auto", ("auto", "auto")), ("mien=auto", ("mien", "auto"))])
def test_the_command_line_may_leave_the_choice_to_the_folders(named: str, expected: tuple[str, str]) -> None:
    assert specs(named) == [expected]


def test_the_file_names_adapters_in_order() -> None:
    assert specs(adapters={"b": "x", "a": "demo:faible"}) == [("b", "x"), ("a", "demo:faible")]


def test_the_command_line_wins_over_the_file() -> None:
    assert specs("c=z", adapters={"a": "x"}) == [("c", "z")]


def test_the_adapters_of_the_file_do_not_count_for_another_base() -> None:
    assert specs(adapters={"a": "x"}, base_changed=True) == [("jarvis", "demo:jarvis")]


def test_a_real_base_without_an_adapter_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        specs(base_model_id="Qwen/Qwen3-30B-A3B")
    assert str(caught.value) == (
        "base model Qwen/Qwen3-30B-A3B: there is no adapter to compare it with; "
        "give one with --jarvis-adapter PATH (or auto) or in model.adapters of the configuration"
    )


@pytest.mark.parametrize("named", ["", "demo:", "a=", "=b", "a b=c", "a.b=c", "__base__=c", "..", "/"])
def test_what_cannot_name_an_adapter_is_refused(named: str) -> None:
    with pytest.raises(InputError) as caught:
        specs(named)
    expected = f"expected PATH or NAME=PATH, found '{named}'; NAME takes letters, digits, '_' and '-', no sign first"
    assert f"--jarvis-adapter: {expected}" == str(caught.value)


def test_an_adapter_of_the_file_without_a_path_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^model\.adapters of the configuration: expected PATH or NAME=PATH, found 'a='"
    ):
        specs(adapters={"a": ""})


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        pytest.param(["a=x", "a=y"], "the name 'a' is used twice", id="same names"),
        pytest.param(["x/lora", "y/lora"], "the name 'lora' is used twice", id="same folder names"),
        pytest.param(["out/base"], "the name 'base' stands for the base model", id="folder called base"),
        pytest.param(["base_bis=x"], "the name 'base_bis' stands for the base model", id="the base's twin"),
    ],
)
def test_a_name_that_is_taken_is_refused(named: list[str], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        specs(*named)
    assert f"--jarvis-adapter: {expected}; give each adapter a name of its own: NAME=PATH" == str(caught.value)


def test_a_name_of_the_file_that_is_taken_is_refused_with_where_it_is() -> None:
    with pytest.raises(InputError, match=r"^model\.adapters of the configuration: the name 'base' stands for the base"):
        specs(adapters={"base": "x"})


def test_what_is_possible_is_let_through(tmp_path: Path) -> None:
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
    assert detected_spec(detection, "out/x") == AdapterSpec(name="mien", source="out/x")
