"""The documents: the messages, options, commands and files that they name exist, and their links lead somewhere."""

import argparse
import re
from pathlib import Path

import pytest

from pytest_jarvis import cli
from pytest_jarvis.engines.footprint import STORED_BYTES, estimate, read_shapes
from pytest_jarvis.inputs.base_model import KNOWN_CONFIGS
from pytest_jarvis.inputs.options import declare

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "plugin" / "pytest_jarvis").rglob("*.py"))
TROUBLES = re.findall(r"^\| `([^`]+)` \|", TEXT.partition("## When it says")[2].partition("## Doc")[0], re.MULTILINE)
PAGES = (ROOT / "README.md", ROOT / "docs" / "configuration.md")
DOCUMENTS = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
TREE = {
    f"/{path.relative_to(ROOT).as_posix()}"
    for name in ("plugin", "tests", "benchmarks", "docs", "reports", "jarvis_prompts")
    for path in ((ROOT / name), *(ROOT / name).rglob("*"))
}
"""Every file and folder a document may name, from the root of the checkout."""


@pytest.mark.parametrize("message", TROUBLES)
def test_a_message_that_the_readme_explains_is_one_that_is_given(message: str) -> None:
    assert message in SOURCES


def test_the_readme_explains_a_good_dozen_of_messages() -> None:
    assert len(TROUBLES) > 12


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_to_a_file_leads_somewhere(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in linked if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: path.name)
def test_a_module_or_folder_that_a_document_names_exists(page: Path) -> None:
    named = re.findall(r"`([a-z][a-z0-9_/]*(?:\.py|/))`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not any(path.endswith(f"/{name.rstrip('/')}") for path in TREE)] == []


def test_every_option_that_the_pages_name_exists() -> None:
    parser = argparse.ArgumentParser()
    declare(parser.add_argument)
    known = set(parser._option_string_actions)
    named = {name for page in PAGES for name in re.findall(r"--jarvis-[a-z0-9-]+", page.read_text(encoding="utf-8"))}
    assert sorted(named - known) == []


def test_every_command_that_the_pages_name_exists(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = capsys.readouterr().out
    named = {name for page in PAGES for name in re.findall(r"pytest-jarvis ([a-z]+)", page.read_text(encoding="utf-8"))}
    assert [name for name in sorted(named) if not re.search(rf"^ +{name}\b", known, re.MULTILINE)] == []


def test_the_figures_of_the_real_model_are_those_computed() -> None:
    shapes = read_shapes(KNOWN_CONFIGS["qwen3-30b-a3b"])
    assert shapes is not None
    need = estimate(shapes, nf4=True, on_gpu=True, prompt_tokens=128, new_tokens=128, adapter_weights=0)
    assert f"{need.weights / 1e9:.1f} GB of\nweights in 4 bits" in TEXT
    assert f"{need.workspace / 1e9:.1f} GB for a layer's experts" in TEXT
    assert f"{STORED_BYTES * shapes.weights / 1e9:.0f} GB on the disk" in TEXT
