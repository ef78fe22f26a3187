"""`pytest-jarvis compare`: what changed between saved runs, for people and for machines."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis.render.french.formats import width_of
from pytest_jarvis.report.io import write_report

change = msgspec.structs.replace


@pytest.fixture
def runs(make_report, tmp_path, monkeypatch) -> Path:
    """Return the folder one stands in, with the runs `a` and `b` (another seed, a worse adapter, a prompt less)."""
    before, after = make_report(), make_report(seed=2, gains={"jarvis": 0.0})
    generation = msgspec.structs.replace(after.provenance.generation, seed=5)
    after = change(after, results=after.results[1:], provenance=change(after.provenance, generation=generation))
    write_report(before, tmp_path / "a")
    write_report(after, tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["text", "markdown"])
def test_what_is_said_of_two_runs(runs, make_report, shown, golden, kind: str) -> None:
    assert runs == Path.cwd()
    plain, many = make_report(), make_report(prompts=60)
    reports = {
        "noise": make_report(seed=2),
        "texts": change(plain, results=tuple(change(row, prompt=f"{row.prompt} !") for row in plain.results)),
        "many": many,
        "changed": change(many, results=(*make_report(prompts=60, seed=4).results[:150], *many.results[150:])),
        "v1": make_report(gains={"v1": 0.4}, prompts=1),
        "v2": make_report(gains={"x": 0.1, "v2": 0.4}, prompts=1),
    }
    for name, report in reports.items():
        write_report(report, Path(name))
    cases = {
        "another seed, a worse adapter, a prompt less": ("a", "b"),
        "what noise may explain": ("a", "noise"),
        "a run against itself": ("a", "a"),
        "no common prompt": ("a", "texts"),
        "long lists": ("many", "changed"),
        "adapters by position": ("v1", "v2"),
        "adapters as asked": ("v1", "v2", "--adapter", "v1=v2"),
    }
    said = {what: shown("compare", *case, "--format", kind) for what, case in cases.items()}
    if kind == "text":
        assert [line for text in said.values() for line in text.splitlines() if width_of(line) > 80] == []
    assert golden == "\n".join(f"=== {what}\n{text}" for what, text in said.items())


def test_json_holds_every_prompt(runs, shown) -> None:
    [document] = json.loads(shown("compare", runs / "a", runs / "b", "--format", "json"))
    assert len(document["arms"][0]["prompts"]) == 29
    assert document["overlap"]["only_stored"] == ["c0-0000"]
    assert document["arms"][0]["metrics"][0]["difference"]["interval"] is not None


def test_further_reports_are_each_compared_with_the_first(runs, shown) -> None:
    documents = json.loads(shown("compare", runs / "a", runs / "b", runs / "a", "--format", "json"))
    assert [(runs / "b").as_posix(), (runs / "a").as_posix()] == [one["new"]["report"] for one in documents]
    assert {(runs / "a").as_posix()} == {one["stored"]["report"] for one in documents}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--adapter", "nul=jarvis"), "no adapter 'nul'; there are: jarvis"),
        (("--adapter", "jarvis"), "found 'jarvis', expected A=B"),
        (("nowhere.json",), "nowhere.json: cannot be read"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_4(runs, refused, arguments, sentence) -> None:
    assert sentence in refused("compare", runs / "a", runs / "b", *arguments)


def test_comparing_imports_no_torch_and_no_pytest(runs) -> None:
    code = (
        "import sys; from pytest_jarvis.cli import main; main(['compare', sys.argv[1], sys.argv[2]]); "
        "print(sorted({'torch', 'sklearn', 'pytest', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", "-c", code, str(runs / "a"), str(runs / "b")],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.stdout.splitlines()[-1] == "[]"
