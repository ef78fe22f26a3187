"""`prompts` when tools are offered: categories that want none, tools that cannot be offered, expected arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.prompts import load_prompts

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
def refused(tmp_path: Path) -> Refused:
    """Return a function that gives the sentence by which a folder is refused, without the folder's path."""

    def sentence(**files: str) -> str:
        write(tmp_path, **files)
        with pytest.raises(InputError) as caught:
            load_prompts(tmp_path)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return sentence


NO_TOOL = """
[[prompts]]
id = "st-01"
text = "merci"
keywords = ["plaisir", "service"]
no_tool = true
"""


def test_the_categories_with_tools_are_read_only_when_tools_are_on(tmp_path: Path) -> None:
    write(tmp_path, a=PROMPTS)
    (tmp_path / "with_tools").mkdir()
    (tmp_path / "with_tools" / "z.toml").write_text(NO_TOOL, encoding="utf-8")
    (tmp_path / "with_tools" / ".hidden.toml").write_text("?", encoding="utf-8")
    assert ["a"] == [category.name for category in load_prompts(tmp_path).categories]
    loaded = load_prompts(tmp_path, with_tools=True)
    assert [("a", False), ("a", False), ("z", True)] == [(item.category, item.no_tool) for item in loaded.cases]


def test_a_folder_without_categories_for_tools_has_none(tmp_path: Path) -> None:
    assert ["a"] == [one.name for one in load_prompts(write(tmp_path, a=PROMPTS), with_tools=True).categories]


def test_a_category_with_tools_has_a_name_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, a=PROMPTS)
    (tmp_path / "with_tools").mkdir()
    (tmp_path / "with_tools" / "a.toml").write_text(NO_TOOL, encoding="utf-8")
    with pytest.raises(InputError, match=r"the category 'a' is already that of .*a\.toml; rename one"):
        load_prompts(tmp_path, with_tools=True)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ('type = "object", properties = { x = { type = "number", minimum = "1" } }', "a JSON schema; properties.x.min"),
        ('type = "object", default = 2026-01-01', "what JSON has: no dates"),
    ],
)
def test_a_tool_that_could_not_be_offered_is_refused_when_tools_are_on(
    tmp_path: Path, parameters: str, expected: str
) -> None:
    write(tmp_path, tools=TOOLS.replace('type = "object" }', parameters + " }"), a=PROMPTS)
    load_prompts(tmp_path)
    with pytest.raises(InputError, match=f"tool 'mute_tool': parameters: expected {expected}"):
        load_prompts(tmp_path, with_tools=True)


def test_the_expected_arguments_are_read(tmp_path: Path) -> None:
    text = PROMPTS.replace('"open_app_tool"', '"open_app_tool"\nexpected_arguments = { name = ["chrome", "edge"] }')
    first, second = load_prompts(write(tmp_path, a=text)).cases
    assert ({"name": ["chrome", "edge"]}, None) == (first.expected_arguments, second.expected_arguments)
