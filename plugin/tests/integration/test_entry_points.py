"""Engines and formats of output that another distribution brings by an entry point."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pytest_jarvis import cli
from pytest_jarvis.engines import GROUP, OURS, find_engine
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.config import FILES, OUTPUTS
from pytest_jarvis.render import find_format

ROOT = Path(__file__).parents[3]
ADDING = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """Return a file of the document that tells how to add an engine and a format."""
    return ADDING.partition(f"# {name}\n")[2].partition("```")[0]


@pytest.fixture
def with_engine(project, install) -> Callable[..., None]:
    def make(more: str = "", place: str = "parrot:PARROT") -> None:
        source = example("parrot.py").replace("build=build", f"build=build{more}")
        (project.folder / "parrot.py").write_text(source, encoding="utf-8")
        install(GROUP, "parrot", place)

    return make


@pytest.fixture
def with_format(project, install) -> Callable[..., None]:
    def make(file: str = "results.csv", place: str = "results_csv:CSV", **output: object) -> None:
        source = example("results_csv.py").replace("results.csv", file)
        (project.folder / "results_csv.py").write_text(source, encoding="utf-8")
        project.configure(output=output or {"formats": ["csv", "text"]})
        install(OUTPUTS, "csv", place)

    return make


def test_an_installed_engine_answers_a_whole_run(project, with_engine) -> None:
    with_engine()
    result = project.run("--jarvis-report-dir", "out", "--jarvis-samples", "1", "--jarvis-gate", "off", engine="parrot")
    assert result.ret == pytest.ExitCode.OK
    assert {"perroquet : ouvre chrome", "perroquet : lance firefox", "perroquet : plus un bruit"} == {
        sample.text for row in project.report().results for sample in row.samples
    }


@pytest.mark.parametrize(
    ("made", "arguments", "said"),
    [
        ((", needs=('no_such_library',)", "parrot:PARROT"), (), "no_such_library not installed; install what it needs"),
        (("", "parrot:PARROT"), ("--jarvis-tools",), "the engine 'parrot' offers no tools yet"),
        (("", "parrot:PARROT"), ("--jarvis-base-url", "http://h/v1"), "the engine 'parrot' asks no server"),
        (("", "no_such_module:PARROT"), (), "no_such_module:PARROT cannot be imported: No module named"),
        (("", "parrot:NOTHING"), (), "parrot:NOTHING cannot be imported: module"),
    ],
)
def test_what_an_installed_engine_cannot_do_is_one_sentence_and_exit_4(
    project, with_engine, made: tuple[str, str], arguments: tuple[str, ...], said: str
) -> None:
    with_engine(*made)
    assert said in project.refused(*arguments, engine="parrot")


def test_a_mistyped_engine_is_told_an_installed_one(project, with_engine) -> None:
    with_engine()
    with pytest.raises(InputError, match="unknown engine 'parot'; did you mean 'parrot'"):
        find_engine("parot")


def test_an_installed_format_is_written_beside_the_others_by_a_run_and_by_analyze(project, with_format) -> None:
    with_format()
    result = project.run("--jarvis-report-dir", "out", "--jarvis-samples", "1", "--jarvis-gate", "off")
    assert result.ret == pytest.ExitCode.OK
    out = project.folder / "out"
    assert {"report.json", "thresholds.json", "results.csv", "report.txt"} == {path.name for path in out.iterdir()}
    written = (out / "results.csv").read_text(encoding="utf-8")
    assert ["c-1", "c-2", "q-1"] == [line.partition(";")[0] for line in written.splitlines()]
    assert cli.main(["analyze", "out", "--format", "csv", "--out", "again"]) == 0
    assert {"results.csv", "thresholds.json"} == {path.name for path in (project.folder / "again").iterdir()}
    assert written == (project.folder / "again" / "results.csv").read_text(encoding="utf-8")


def test_the_file_of_an_installed_format_may_be_called_otherwise(project, with_format) -> None:
    with_format(formats=["csv"], names={"csv": "lignes.csv"})
    project.run("--jarvis-report-dir", "out", "--jarvis-samples", "1")
    assert (project.folder / "out" / "lignes.csv").is_file()


@pytest.mark.parametrize(
    ("file", "place", "said"),
    [
        ("report.json", "results_csv:CSV", "the file name must be a plain one that no other output has"),
        ("report.txt", "results_csv:CSV", "the file name must be a plain one that no other output has"),
        ("../other.csv", "results_csv:CSV", "the file name must be a plain one that no other output has"),
        ("a.csv", "no_such_module:CSV", "No module named"),
        ("a.csv", "results_csv:as_csv", "is not an OutputFormat"),
    ],
)
def test_an_installed_format_that_cannot_be_made_costs_no_other_file(
    project, with_format, file: str, place: str, said: str
) -> None:
    with_format(file, place)
    result = project.run("--jarvis-report-dir", "out", "--jarvis-samples", "1", "--jarvis-gate", "off")
    assert result.ret == pytest.ExitCode.OK
    assert said in " ".join(result.stdout.str().split())
    assert project.report().results
    names = {path.name for path in (project.folder / "out").iterdir()}
    assert {"report.json", "thresholds.json", "report.txt"} == names


def test_ours_are_declared_as_those_of_others_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    engines, outputs = (
        {name: EntryPoint(name, place, group).load() for name, place in project["entry-points"][group].items()}
        for group in (GROUP, OUTPUTS)
    )
    assert engines == {name: find_engine(name) for name in OURS}
    assert outputs == {name: find_format(name) for name in FILES}
    assert FILES == {name: find_format(name).file for name in FILES}


def test_the_document_declares_its_examples() -> None:
    declared = tomllib.loads(example("pyproject.toml"))["project"]["entry-points"]
    assert {GROUP: {"parrot": "parrot:PARROT"}, OUTPUTS: {"csv": "results_csv:CSV"}} == declared
