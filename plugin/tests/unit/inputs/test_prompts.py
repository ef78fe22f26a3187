"""`prompts`: folders of prompts and tools, what is refused in them, those that are shipped, and their hashes."""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_jarvis.files import InputError
from pytest_jarvis.inputs import prompts
from pytest_jarvis.inputs.prompts import dictionary_hash, load_prompts, packaged_prompts, prompt_hash
from pytest_jarvis.text import words
from pytest_jarvis.types import PromptCase, Tool

TOOLS = """
[[tools]]
name = "open_app_tool"
description = "Ouvrir une application."
terms = ["ouvre", "application"]
parameters = { type = "object", properties = { name = { type = "string" } } }

[[tools]]
name = "mute_tool"
description = "Couper le son."
terms = ["silence"]
parameters = { type = "object" }
"""

PROMPTS = """
[[prompts]]
id = "a-01"
text = "ouvre chrome"
keywords = ["chrome", "ouvre"]
expected_tool = "open_app_tool"

[[prompts]]
id = "a-02"
text = "coup le son"
intended = "coupe le son"
keywords = ["coupe", "son"]
note = "Finale perdue."
"""

Refused = Callable[..., str]


def write(folder: Path, *, tools: str = TOOLS, **categories: str) -> Path:
    """Write the files of a folder of prompts."""
    for name, text in {"tools": tools, **categories}.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def refused(tmp_path) -> Refused:
    """Return a function that gives the sentence by which a folder is refused, without the folder's path."""

    def sentence(**files: str) -> str:
        write(tmp_path, **files)
        with pytest.raises(InputError) as caught:
            load_prompts(tmp_path)
        return str(caught.value).replace(f"{tmp_path}{os.sep}", "")

    return sentence


def test_a_file_is_a_category_of_its_prompts(tmp_path) -> None:
    head = 'label = "Essai"\ndescription = "Pour voir."\n'
    loaded = load_prompts(write(tmp_path, ma_categorie=head + PROMPTS))
    assert loaded.folder == tmp_path
    assert [(category.name, category.label, category.description) for category in loaded.categories] == [
        ("ma_categorie", "Essai", "Pour voir.")
    ]
    expected = (
        PromptCase(
            prompt_id="a-01",
            category="ma_categorie",
            text="ouvre chrome",
            keywords=("chrome", "ouvre"),
            expected_tool="open_app_tool",
        ),
        PromptCase(
            prompt_id="a-02",
            category="ma_categorie",
            text="coup le son",
            keywords=("coupe", "son"),
            intended="coupe le son",
            note="Finale perdue.",
        ),
    )
    assert expected == loaded.cases


def test_the_tools_are_read(tmp_path) -> None:
    loaded = load_prompts(write(tmp_path, a=PROMPTS))
    expected = (
        Tool(
            name="open_app_tool",
            description="Ouvrir une application.",
            parameters={"type": "object", "properties": {"name": {"type": "string"}}},
            terms=("ouvre", "application"),
        ),
        Tool(name="mute_tool", description="Couper le son.", parameters={"type": "object"}, terms=("silence",)),
    )
    assert expected == loaded.tools


def test_a_category_without_a_label_is_called_as_its_file(tmp_path) -> None:
    loaded = load_prompts(write(tmp_path, ma_categorie=PROMPTS))
    assert loaded.categories[0].label == "Ma categorie"


def test_categories_come_in_the_order_of_their_names_and_prompts_in_that_of_the_file(tmp_path) -> None:
    loaded = load_prompts(write(tmp_path, b=PROMPTS, a=PROMPTS.replace("a-0", "z-0")))
    assert [case.prompt_id for case in loaded.cases] == ["z-01", "z-02", "a-01", "a-02"]


def test_a_hidden_file_is_not_a_category(tmp_path) -> None:
    write(tmp_path, a=PROMPTS)
    (tmp_path / ".a.toml").write_text("not TOML", encoding="utf-8")
    assert [category.name for category in load_prompts(tmp_path).categories] == ["a"]


def test_a_missing_folder_is_refused(tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        load_prompts(tmp_path / "no")
    assert (
        str(caught.value)
        == f"{tmp_path / 'no'}: there is no such folder of prompts; give one with --jarvis-prompts DIR"
    )


def test_a_folder_without_a_category_is_refused(tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        load_prompts(write(tmp_path))
    assert str(caught.value) == f"{tmp_path}: no prompts: expected at least one file NAME.toml beside tools.toml"


def test_a_folder_without_tools_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no tools: expected tools\.toml beside the prompts"):
        load_prompts(tmp_path)


@pytest.mark.parametrize("name", ["météo", "ma categorie"])
def test_a_name_that_k_could_not_select_is_refused(refused, name: str) -> None:
    expected = "the file's name is that of the category: expected letters without accents, digits, '_' and '-'"
    assert f"{name}.toml: {expected}" == refused(**{name: PROMPTS})


EDITS = {
    '"a-02"': ['"a-01"'],
    '"a-01"': ['""', '"é"', '"a b"', '"-a"', '"a/b"', '"a\\n"'],
    '"chrome", "ouvre"': [
        '"a|", "b"',
        '"a|b", "c|B"',
        "",
        '"a"',
        '"a", "b", "c", "d", "e", "f"',
        '"a", ""',
        '"a", " ?"',
        '"Été", "b", "ete"',
    ],
    '"ouvre chrome"': ['"…"', '"a"\nintended = ""'],
    'expected_tool = "open_app_tool"': ["expected_arguments = { application = 'chrome' }", 'target = ["chrome"]'],
    '"open_app_tool"': [
        '"open_app_tol"',
        '"lampe"',
        '"open_app_tool"\nno_tool = true',
        '"open_app_tool"\nexpected_arguments = { nam = "chrome" }',
        '"open_app_tool"\nexpected_arguments = { name = 2026-01-01 }',
        '"open_app_tool"\nright_deed = "wait"',
        '"open_app_tool"\nalso = ["lampe"]',
        '"open_app_tool"\nalso = ["open_app_tool"]',
        '"open_app_tool"\nalso = ["mute_tool"]\nright_deed = "ask"',
    ],
    'text = "coup le son"\n': [""],
    "note =": ["notes ="],
    '["coupe", "son"]': ['"coupe"', '["coupe", 10]'],
}
"""What stands in the file of prompts, and what is wrong in its place."""


def test_a_prompt_is_refused(refused, golden) -> None:
    said = [
        f"{old} -> {new!r}\n    {refused(x=PROMPTS.replace(old, new))}\n" for old, many in EDITS.items() for new in many
    ]
    assert golden == "".join(said)


def test_an_id_of_another_file_is_refused_with_that_file(refused) -> None:
    expected = "b.toml: prompt 'a-01': the id is already used in a.toml; ids must differ"
    assert expected == refused(a=PROMPTS, b=PROMPTS)


def test_a_file_of_prompts_is_refused(refused, golden) -> None:
    assert golden == "".join(f"{text}\n    {refused(x=text)}\n" for text in ('prompt = "a"', "prompts = []", ""))


def test_a_file_that_is_not_utf_8_is_refused(tmp_path) -> None:
    write(tmp_path)
    (tmp_path / "x.toml").write_bytes('label = "Été"'.encode("latin-1"))
    with pytest.raises(InputError, match=r"x\.toml: line 1: byte 0xc9 is not UTF-8; save the file as UTF-8"):
        load_prompts(tmp_path)


EDITS_OF_TOOLS = {
    '"mute_tool"': ['"open_app_tool"'],
    '"open_app_tool"': ['"Open"'],
    '"Ouvrir une application."': ['""'],
    '"ouvre", ': ['"!", '],
    '"silence"': ['"Muet", "muet"', ""],
    '{ type = "object" }': ['{ type = "string" }', "{}"],
    'description = "Couper le son."\n': [""],
}


def test_a_tool_is_refused(refused, golden) -> None:
    edits = [(old, new) for old, many in EDITS_OF_TOOLS.items() for new in many]
    said = [f"{old} -> {new!r}\n    {refused(tools=TOOLS.replace(old, new), a=PROMPTS)}\n" for old, new in edits]
    assert golden == "".join(said)


NO_TOOL = """
[[prompts]]
id = "st-01"
text = "merci"
keywords = ["plaisir", "service"]
no_tool = true
"""


def test_further_categories_are_read_only_when_their_folder_is_asked_for(tmp_path) -> None:
    write(tmp_path, a=PROMPTS)
    assert ["a"] == [one.name for one in load_prompts(tmp_path, add=("with_tools",)).categories]
    (tmp_path / "with_tools").mkdir()
    (tmp_path / "with_tools" / "z.toml").write_text(NO_TOOL, encoding="utf-8")
    (tmp_path / "with_tools" / ".hidden.toml").write_text("?", encoding="utf-8")
    assert ["a"] == [category.name for category in load_prompts(tmp_path).categories]
    loaded = load_prompts(tmp_path, add=("with_tools",))
    assert [("a", False), ("a", False), ("z", True)] == [(item.category, item.no_tool) for item in loaded.cases]


def test_a_further_category_has_a_name_of_its_own(tmp_path) -> None:
    write(tmp_path, a=PROMPTS)
    (tmp_path / "with_tools").mkdir()
    (tmp_path / "with_tools" / "a.toml").write_text(NO_TOOL, encoding="utf-8")
    with pytest.raises(InputError, match=r"the category 'a' is already that of .*a\.toml; rename one"):
        load_prompts(tmp_path, add=("with_tools",))


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ('type = "object", properties = { x = { type = "number", minimum = "1" } }', "a JSON schema; properties.x.min"),
        ('type = "object", default = 2026-01-01', "what JSON has: no dates"),
    ],
)
def test_a_tool_that_could_not_be_offered_is_refused_when_tools_are_on(
    tmp_path, parameters: str, expected: str
) -> None:
    write(tmp_path, tools=TOOLS.replace('type = "object" }', parameters + " }"), a=PROMPTS)
    load_prompts(tmp_path)
    with pytest.raises(InputError, match=f"tool 'mute_tool': parameters: expected {expected}"):
        load_prompts(tmp_path, add=("with_tools",))


def test_the_expected_arguments_are_read(tmp_path) -> None:
    text = PROMPTS.replace('"open_app_tool"', '"open_app_tool"\nexpected_arguments = { name = ["chrome", "edge"] }')
    first, second = load_prompts(write(tmp_path, a=text)).cases
    assert ({"name": ["chrome", "edge"]}, None) == (first.expected_arguments, second.expected_arguments)


def test_a_term_may_belong_to_several_tools(tmp_path) -> None:
    loaded = load_prompts(write(tmp_path, tools=TOOLS.replace('"silence"', '"silence", "ouvre"'), a=PROMPTS))
    assert ["open_app_tool", "mute_tool"] == [tool.name for tool in loaded.tools if "ouvre" in tool.terms]


def test_a_prompt_whose_right_deed_is_none_wants_no_tool_and_the_reverse(tmp_path) -> None:
    text = PROMPTS.replace('note = "Finale perdue."', 'right_deed = "ask"') + NO_TOOL
    cases = load_prompts(write(tmp_path, a=text)).cases
    found = [(item.right_deed, item.no_tool, item.has_relevance) for item in cases]
    assert [("act", False, True), ("ask", True, False), ("nothing", True, False)] == found


def case(**values: object) -> PromptCase:
    """Return a case with some values changed."""
    plain = PromptCase(prompt_id="a", category="x", text="ouvre", keywords=("un", "deux"), note="Note.")
    return replace(plain, **values)  # type: ignore[arg-type]  # checked by what the tests give


def test_the_hash_of_prompts_does_not_depend_on_their_order_or_on_notes() -> None:
    assert prompt_hash([case()]) == prompt_hash([case(note=None)])
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
        {"target": ("son",)},
        {"no_tool": True},
        {"right_deed": "ask"},
        {"also": ("t",)},
    ],
)
def test_the_hash_of_prompts_depends_on_what_is_asked_and_expected(changed: dict[str, object]) -> None:
    assert prompt_hash([case()]) != prompt_hash([case(**changed)])


def test_a_prompt_that_says_nothing_of_calls_keeps_the_hash_it_had() -> None:
    """Written by a version that knew of no calls."""
    assert "39fe47007bb289fd432721e48eca7219fbc9617e2499fe5e62858664dc72a528" == prompt_hash([case()])


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
    assert 30 == len({words(case.text) for case in shipped.cases})


def test_a_shipped_prompt_names_the_tool_it_needs_and_a_misheard_one_what_was_meant() -> None:
    shipped = load_prompts(packaged_prompts())
    assert all(item.expected_tool for item in shipped.cases)
    assert all((item.category == "corrections_vocales") == bool(item.intended) for item in shipped.cases)


def test_the_shipped_tools_are_thirteen_and_each_is_asked_for() -> None:
    shipped = load_prompts(packaged_prompts())
    names = {item.name for item in shipped.tools}
    assert len(shipped.tools) == 13
    asked = Counter(item.expected_tool for item in shipped.cases)
    assert names == set(asked)
    assert 2 <= min(asked.values())


def test_a_shipped_prompt_says_what_its_deed_is_done_to() -> None:
    assert all(item.expected_arguments or item.target for item in load_prompts(packaged_prompts()).cases)


def test_the_shipped_guards_have_no_relevance_and_the_retired_prompts_keep_their_ids() -> None:
    asked, every = (load_prompts(packaged_prompts(), add=more) for more in ((), ("guards", "retired")))
    further = [item for item in every.cases if item.category not in {one.name for one in asked.categories}]
    retired = [item for item in further if item.category == "anciens_prompts"]
    guards = [item for item in further if item not in retired]
    assert {"cv-08", "tr-08"} == {item.prompt_id for item in retired}
    assert (25, False) == (len(guards), any(item.has_relevance for item in guards))
    assert {"act", "ask", "refuse", "ask_or_refuse", "nothing"} == {item.right_deed for item in guards}


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
    shipped = load_prompts(packaged_prompts(), add=("with_tools",))
    (extra,) = [category for category in shipped.categories if category.name == "conversation"]
    assert (10, 40) == (len(extra.cases), len(shipped.cases))
    assert all(item.no_tool for item in extra.cases)
    assert not any(item.no_tool for item in load_prompts(packaged_prompts()).cases)


def test_every_shipped_tool_requires_only_parameters_it_has() -> None:
    parameters = {tool.name: tool.parameters for tool in load_prompts(packaged_prompts()).tools}
    unknown = {name: set(one.get("required", [])) - set(one.get("properties", {})) for name, one in parameters.items()}
    assert {name: set() for name in parameters} == unknown
