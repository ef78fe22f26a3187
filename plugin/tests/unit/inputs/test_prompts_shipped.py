"""`prompts`: those that are shipped, where they are found, and the hashes of what was asked."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_jarvis.inputs import prompts
from pytest_jarvis.inputs.prompts import dictionary_hash, load_prompts, packaged_prompts, prompt_hash
from pytest_jarvis.text import words
from pytest_jarvis.types import PromptCase, Tool


def case(**values: object) -> PromptCase:
    """Return a case with some values changed."""
    plain = PromptCase(prompt_id="a", category="x", text="ouvre", keywords=("un", "deux"), note="Note.")
    return replace(plain, **values)  # type: ignore[arg-type]  # checked by what the tests give


def test_the_hash_of_prompts_does_not_depend_on_their_order() -> None:
    assert prompt_hash([case(), case(prompt_id="b")]) == prompt_hash([case(prompt_id="b"), case()])


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt_id": "b"},
        {"category": "y"},
        {"text": "Ouvre"},
        {"keywords": ("un",)},
        {"keywords": ("deux", "un")},
        {"expected_tool": "t"},
        {"intended": "i"},
        {"expected_arguments": {"a": 1}},
        {"no_tool": True},
    ],
)
def test_the_hash_of_prompts_depends_on_what_is_asked_and_expected(changed: dict[str, object]) -> None:
    assert prompt_hash([case()]) != prompt_hash([case(**changed)])


def test_a_prompt_that_says_nothing_of_calls_keeps_the_hash_it_had() -> None:
    """Written by a version that knew of no calls."""
    assert "39fe47007bb289fd432721e48eca7219fbc9617e2499fe5e62858664dc72a528" == prompt_hash([case()])


def test_the_hash_of_prompts_does_not_depend_on_notes() -> None:
    assert prompt_hash([case()]) == prompt_hash([case(note=None)])


def tool(name: str, *terms: str) -> Tool:
    """Return a tool."""
    return Tool(name=name, description="", parameters={}, terms=terms)


def test_the_hash_of_the_dictionary_does_not_depend_on_any_order() -> None:
    assert dictionary_hash([tool("a", "x", "y"), tool("b", "z")]) == dictionary_hash(
        [tool("b", "z"), tool("a", "y", "x")]
    )


@pytest.mark.parametrize("other", [tool("b", "x"), tool("a", "y"), tool("a", "x", "y")])
def test_the_hash_of_the_dictionary_depends_on_names_and_terms(other: Tool) -> None:
    assert dictionary_hash([tool("a", "x")]) != dictionary_hash([other])


def test_a_development_install_finds_the_prompts_of_the_checkout() -> None:
    assert packaged_prompts() == Path(__file__).parents[4] / "jarvis_prompts"


def test_an_installed_package_finds_the_prompts_beside_it(tmp_path, monkeypatch) -> None:
    (tmp_path / "jarvis_prompts").mkdir()
    monkeypatch.setattr(prompts, "__file__", str(tmp_path / "inputs" / "prompts.py"))
    assert packaged_prompts() == tmp_path / "jarvis_prompts"


def test_the_shipped_prompts_are_ten_in_each_of_three_categories() -> None:
    shipped = load_prompts(packaged_prompts())
    assert {category.name: len(category.cases) for category in shipped.categories} == {
        "commandes_vocales": 10,
        "corrections_vocales": 10,
        "tool_routing": 10,
    }


def test_a_shipped_prompt_that_was_misheard_says_what_was_meant() -> None:
    shipped = load_prompts(packaged_prompts())
    meant = {item.prompt_id for item in shipped.cases if item.intended}
    assert {item.prompt_id for item in shipped.cases if item.category == "corrections_vocales"} == meant


def test_every_shipped_prompt_names_the_tool_it_needs() -> None:
    shipped = load_prompts(packaged_prompts())
    assert [item.prompt_id for item in shipped.cases if item.expected_tool is None] == []


def test_the_shipped_tools_are_thirteen_and_each_is_asked_for() -> None:
    shipped = load_prompts(packaged_prompts())
    names = {item.name for item in shipped.tools}
    assert len(shipped.tools) == 13
    assert names == {item.expected_tool for item in shipped.cases}


def test_the_examples_of_the_readme_are_accepted(tmp_path) -> None:
    shipped = packaged_prompts()
    prompt, head, added = re.findall(
        r"```toml\n(.*?)```", (shipped / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    tools = (shipped / "tools.toml").read_text(encoding="utf-8")
    (tmp_path / "tools.toml").write_text(f"{tools}\n{added}", encoding="utf-8")
    (tmp_path / "ma_categorie.toml").write_text(f"{head}\n{prompt}", encoding="utf-8")
    loaded = load_prompts(tmp_path)
    assert (len(loaded.cases), len(loaded.tools)) == (1, 14)


def test_the_shipped_prompts_without_a_tool_come_with_tools_alone() -> None:
    shipped = load_prompts(packaged_prompts(), with_tools=True)
    (extra,) = [category for category in shipped.categories if category.name == "conversation"]
    assert (10, 40) == (len(extra.cases), len(shipped.cases))
    assert all(item.no_tool for item in extra.cases)
    assert not any(item.no_tool for item in load_prompts(packaged_prompts()).cases)


def test_no_two_shipped_prompts_have_the_same_text() -> None:
    assert 30 == len({words(case.text) for case in load_prompts(packaged_prompts()).cases})


def test_every_shipped_tool_requires_only_parameters_it_has() -> None:
    parameters = {tool.name: tool.parameters for tool in load_prompts(packaged_prompts()).tools}
    unknown = {name: set(one.get("required", [])) - set(one.get("properties", {})) for name, one in parameters.items()}
    assert {name: set() for name in parameters} == unknown
