"""The rules of the house that a linter does not see: what an import brings in, what a bare run leaves, what ships."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_jarvis

PACKAGE = Path(pytest_jarvis.__file__).parent
HEAVY = (
    *("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "psutil"),
    *("openai", "httpx2", "sentence_transformers"),
    *("matplotlib", "jinja2", "sklearn", "scipy", "numpy"),
)
SEEN = f"sorted(set({HEAVY!r}) & set(__import__('sys').modules))"


def python(code: str, cwd: Path) -> str:
    """Run code in a Python of its own and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()


def test_importing_the_plugin_brings_in_no_heavy_library(tmp_path: Path) -> None:
    assert python(f"import pytest_jarvis.plugin.hooks; print({SEEN})", tmp_path) == "[]"


def test_reading_prompts_and_configuration_brings_in_no_heavy_library(tmp_path: Path) -> None:
    code = "from pytest_jarvis.inputs import config, prompts; prompts.load_prompts(prompts.packaged_prompts())"
    assert python(f"{code}; print({SEEN})", tmp_path) == "[]"


def test_what_collecting_needs_brings_in_no_report_and_no_statistics(tmp_path: Path) -> None:
    ours = "sorted(name for name in __import__('sys').modules if name.startswith('pytest_jarvis.'))"
    loaded = python(f"import pytest_jarvis.plugin.collection; print(*{ours})", tmp_path).split()
    late = ("report.", "stats.", "metrics.", "render.", "run.replay", "run.runner", "plugin.session")
    assert [name for name in loaded if name.removeprefix("pytest_jarvis.").startswith(late)] == []


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Return a pytest project that knows nothing of this plugin; its test writes which heavy libraries are there."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    code = f"import json\n\ndef test_a(): open('seen.json', 'w', encoding='utf-8').write(json.dumps({SEEN}))\n"
    (tmp_path / "test_a.py").write_text(code, encoding="utf-8")
    return tmp_path


def run_pytest(folder: Path, *arguments: str, plugin: bool = True) -> tuple[list[str], set[str]]:
    """Run pytest in a folder; return its lines, durations and plugin list apart, and the files that are there after."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    loaded = ("-p", "pytest_jarvis.plugin.hooks") if plugin else ()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *loaded, *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith(("plugins: ", "===="))]
    return lines, {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_project_that_does_not_use_the_plugin_sees_no_trace_of_it(stranger: Path) -> None:
    with_plugin = run_pytest(stranger)
    assert json.loads((stranger / "seen.json").read_text(encoding="utf-8")) == []
    without = run_pytest(stranger, plugin=False)
    assert without == with_plugin


def test_collecting_alone_writes_nothing_of_ours(stranger: Path) -> None:
    files = run_pytest(stranger, "--collect-only", "-q", "-p", "no:cacheprovider")[1]
    assert files == {"pytest.ini", "test_a.py"}


def test_the_entry_point_is_installed() -> None:
    from importlib.metadata import entry_points

    found = [point.value for point in entry_points(group="pytest11") if point.name == "jarvis"]
    assert found == ["pytest_jarvis.plugin.hooks"]


def sources() -> list[Path]:
    """Return the package's Python files."""
    return sorted(PACKAGE.rglob("*.py"))


def opened_without_encoding(tree: ast.AST) -> list[str]:
    """Return the calls that open, read or write text and leave the encoding to the machine: ruff sees some only."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {ast.unparse(call): ast.unparse(call.func) for call in calls}
    texts = re.compile(r"(?<!\bos\.)\b(open|read_text|write_text|NamedTemporaryFile)$")
    return [
        text
        for text, name in called.items()
        if texts.search(name) and not re.search(r"encoding=|'[rwa]?b\+?'|\*\*|^read_text", text)
    ]


def test_no_text_is_opened_in_the_encoding_of_the_machine() -> None:
    found = {str(path): opened_without_encoding(ast.parse(path.read_text(encoding="utf-8"))) for path in sources()}
    assert {path: [] for path in found} == found
    assert ["open('a')", "path.open()", "(a / b).read_text()", "c.write_text('')"] == opened_without_encoding(
        ast.parse("open('a'); path.open(); (a / b).read_text(); c.write_text(''); open('a', 'rb'); os.open('a', 1)")
    )


WORDING = PACKAGE / "render" / "french"
MAY_BE_FRENCH = {
    "engines/base.py": "the probe prompts, which models read",
    "inputs/misheard.py": "the letters and words that French is misheard by",
    "metrics/deeds": "the words by which French answers are read",
}
FRENCH = re.compile(
    r"[à-öø-ÿœÀ-ÖØ-ÞŒ«»]|\b(?:aucun|avec|dans|des|est|les|par|pas|pour|rapport|sur|une)\b", re.IGNORECASE
)
"""An accent, a French quotation mark, or a small word that English does not have."""


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the string constants of a module, those of f-strings as well, docstrings apart."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node


def french_strings(tree: ast.AST) -> list[str]:
    """Return the string constants of a module that are French; a letter alone is what a text is matched by."""
    return [text for node in strings(tree) if len(text := str(node.value)) > 1 and FRENCH.search(text)]


def sources_without_french() -> list[Path]:
    """Return the package's Python files but those where French is at home."""
    homes = (WORDING, PACKAGE / "demo", *(PACKAGE / name for name in MAY_BE_FRENCH))
    return [path for path in sources() if not any(path.is_relative_to(home) for home in homes)]


@pytest.mark.parametrize("path", sources_without_french(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_french_is_written_in_the_wording_alone(path: Path) -> None:
    assert french_strings(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("said = 'Rapport : {folder}'", ["Rapport : {folder}"]),
        ("said = f'{count} réponses'", [" réponses"]),
        ("said = 'reste'; told = 'pas de lots'", ["pas de lots"]),
        ('def f():\n    """Return « oui »."""', []),
        ("said = 'a path with no such adapter'", []),
        ("letters = {'œ': 'oe'}", []),
    ],
)
def test_a_french_string_elsewhere_would_be_seen(code: str, expected: list[str]) -> None:
    assert expected == french_strings(ast.parse(code))


@pytest.mark.parametrize("path", sorted(WORDING.glob("*.py")), ids=lambda path: path.name)
def test_the_apostrophes_of_the_wording_are_typographic(path: Path) -> None:
    said = [str(node.value) for node in strings(ast.parse(path.read_text(encoding="utf-8")))]
    assert [text for text in said if re.search(r"\w'\w", text)] == []
