"""A small benchmark project of its own for each test, answered by the scripted engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from pytest_jarvis import Report, cli, load_report

# pytester forgets what a session imported: numpy cannot be imported twice, and the rest would be, for every test.
for name in (
    "_pytest.stepwise",
    "email.parser",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "numpy",
    "scipy.special",
    "scipy.stats",
    "sklearn.metrics.pairwise",
    "pytest_jarvis.plugin.collection",
    "pytest_jarvis.engines.scripted",
    "pytest_jarvis.render.charts",
    "pytest_jarvis.render.files",
    "pytest_jarvis.plugin.session",
    "pytest_jarvis.run.runner",
):
    import_module(name)

WITHOUT_OTHERS = ("-p", "no:hypothesispytest", "-p", "no:syrupy", "-p", "no:benchmark")
"""Hypothesis's plugin imports the whole library in each session; syrupy's warns of workers that end early."""

PROJECT = Path(__file__).parents[1] / "data" / "project"
TEST_FILE = """
def test_prompt(jarvis_case, jarvis_measure):
    measured = jarvis_measure(jarvis_case)
    assert measured.is_complete, measured.problems
"""


@dataclass(frozen=True)
class Project:
    """A project with three prompts in two categories and one test."""

    pytester: pytest.Pytester

    @property
    def folder(self) -> Path:
        return self.pytester.path

    @property
    def prompts(self) -> Path:
        return self.folder / "jarvis_prompts"

    def run(self, *arguments: str, engine: str | None = "scripted") -> pytest.RunResult:
        """Run pytest in this process; the engine is the scripted one unless another, or none, is named."""
        named = () if engine is None else ("--jarvis-engine", engine)
        return self.pytester.runpytest_inprocess(*WITHOUT_OTHERS, *named, *arguments)

    def run_apart(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in a process of its own, as pytest-xdist needs it, with the engine that is named."""
        return self.pytester.runpytest_subprocess(*WITHOUT_OTHERS, *arguments)

    def refused(self, *arguments: str, engine: str | None = "scripted") -> str:
        """Run pytest, which must end with exit status 4 and one sentence; return that."""
        result = self.run(*arguments, engine=engine)
        shown = f"{result.stdout.str()}\n{result.stderr.str()}"
        assert (pytest.ExitCode.USAGE_ERROR, False) == (result.ret, "Traceback" in shown)
        (line,) = [line for line in shown.splitlines() if line.startswith("ERROR: ")]
        return line

    def configure(self, **sections: object) -> None:
        """Write the configuration; without files for people, and bars on made-up deeds, unless asked for."""
        benchmark = {"min_done_share": None, "no_drop": [], "controls": False} | dict(sections.pop("benchmark", {}))
        text = json.dumps({"output": {"formats": []}, "benchmark": benchmark, **sections})
        (self.folder / "benchmark_config.json").write_text(text, encoding="utf-8")

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text in a file of the prompts."""
        path = self.prompts / file
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    def text(self, file: str, folder: str = "out") -> str:
        """Return the text of a file beside a report."""
        return (self.folder / folder / file).read_text(encoding="utf-8")

    def report(self, folder: str = "out") -> Report:
        return load_report(self.folder / folder)


@pytest.fixture
def project(pytester) -> Project:
    made = Project(pytester)
    shutil.copytree(PROJECT, made.folder, dirs_exist_ok=True)
    # Pictures take longer than all else of such a session; the tests of the files ask for them.
    made.configure()
    pytester.makepyfile(test_benchmark=TEST_FILE)
    return made


@pytest.fixture
def shown(capsys) -> Callable[..., str]:
    """Function that runs `pytest-jarvis`, which must succeed, and returns what it prints, with plain spaces."""

    def run(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        assert status == cli.main([*map(str, arguments)])
        return capsys.readouterr().out.replace("\u00a0", " ")

    return run


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Function that runs `pytest-jarvis`, which must end with exit status 4 and one sentence, and returns that."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        try:
            status: object = cli.main([*map(str, arguments)])
        except SystemExit as stopped:
            status = stopped.code
        out, error = capsys.readouterr()
        assert (cli.USAGE_ERROR, "", 1) == (status, out, error.count("\n"))
        return error

    return run


@pytest.fixture
def install(project) -> Callable[[str, str, str], None]:
    """Function that leaves in the project what an installed distribution does that brings an entry point."""

    def write(group: str, name: str, place: str) -> None:
        written = project.folder / f"{name}-1.0.dist-info"
        written.mkdir(exist_ok=True)
        (written / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (written / "entry_points.txt").write_text(f"[{group}]\n{name} = {place}\n", encoding="utf-8")
        project.pytester.syspathinsert()

    return write


@pytest.fixture
def scripted_by(project, install) -> Callable[[str], str]:
    """Function that makes an engine whose `script(request)` is the given source, and returns its name."""

    def make(source: str) -> str:
        body = "from pytest_jarvis.engines.scripted import ScriptedEngine\n"
        body += "from pytest_jarvis.types import Failure, Note, text_note\n"
        body += f"{source}\n\ndef build(spec, settings):\n    return ScriptedEngine(spec, settings, script)\n"
        name = f"engine_{abs(hash(source))}"
        (project.folder / f"{name}.py").write_text(body, encoding="utf-8")
        install("pytest_jarvis.engines", name, f"{name}:build")
        return name

    return make
