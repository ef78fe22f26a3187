"""The store of responses in a session: `--jarvis-reuse`, what is written when, and what no failure of it stops."""

import sqlite3
from contextlib import closing

import pytest

from pytest_jarvis.report.schema import Report
from pytest_jarvis.run.store import ResponseStore

STORE = ".jarvis/responses.sqlite"
REPORT = ("--jarvis-report-dir", "out")


def reused(report: Report) -> set[bool]:
    return {sample.reused for row in report.results for sample in row.samples}


def shown(report: Report) -> list[object]:
    """Return what a report says, but for marks and times."""
    return [
        report.statistics.figure("jarvis_relevance").finetuned,
        report.statistics.figure("cosine_similarity").finetuned,
        report.gate,
        report.decisions,
        [[sample.text for sample in row.samples] for row in report.results],
    ]


def test_a_report_is_kept_and_reused_and_says_so(project) -> None:
    assert project.run(*REPORT).ret == 0
    result = project.run("--jarvis-report-dir", "again", "--jarvis-reuse")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["JARVIS*: 24?réponses reprises du magasin sur 24 (4 par prompt et par bras)"])
    first, second = project.report(), project.report("again")
    assert (reused(first), reused(second)) == ({False}, {True})
    assert shown(first) == shown(second)
    assert second.provenance.responses_reused == {"base": 12, "jarvis": 12}
    assert second.provenance.responses_generated == {"base": 0, "jarvis": 0}


def test_without_the_option_everything_is_drawn(project) -> None:
    project.run(*REPORT)
    result = project.run("--jarvis-report-dir", "again")
    assert "reprises" not in result.stdout.str()
    assert reused(project.report("again")) == {False}
    assert project.report("again").provenance.responses_generated == {"base": 12, "jarvis": 12}


def test_the_text_of_a_report_says_what_was_reused(project) -> None:
    project.configure(output={"formats": ["text", "html"]})
    project.run(*REPORT)
    project.run("--jarvis-report-dir", "again", "--jarvis-reuse", "--jarvis-adapter", "v2=elsewhere")
    said = "base 12/12, v2 0/12 ; leurs durées sont celles du premier tirage"
    for folder, expected in (("out", False), ("again", True)):
        text, page = (project.text(file, folder) for file in ("report.txt", "report.html"))
        text = " ".join(text.split())
        assert ("Réponses reprises" in text, said in text.replace("\u202f", " ")) == (expected, expected)
        assert ("Réponses reprises" in page) is expected


def test_reuse_without_a_report_reads_and_writes_nothing(project) -> None:
    project.run(*REPORT, "-p", "no:cacheprovider")
    before = {path: path.read_bytes() for path in (project.folder / ".jarvis").iterdir()}
    result = project.run("--jarvis-reuse", "--jarvis-adapter", "v2=elsewhere", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["JARVIS*: 12?réponses reprises du magasin sur 24 (4 par prompt et par bras)"])
    assert before == {path: path.read_bytes() for path in (project.folder / ".jarvis").iterdir()}


def test_reuse_where_nothing_was_kept_makes_nothing(project) -> None:
    assert project.run("--jarvis-reuse").ret == 0
    assert not (project.folder / ".jarvis").exists()


def test_the_configuration_says_where_the_store_is(project) -> None:
    project.configure(output={"formats": [], "store": "ailleurs/a.sqlite"})
    project.run(*REPORT)
    assert (project.folder / "ailleurs" / "a.sqlite").is_file()
    assert not (project.folder / ".jarvis").exists()


@pytest.mark.parametrize("option", [REPORT, ("--jarvis-reuse",)])
def test_a_foreign_file_is_refused_before_anything_is_drawn_and_left_as_it_is(project, option: tuple[str, ...]) -> None:
    store = project.folder / STORE
    store.parent.mkdir()
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = store.read_bytes()
    said = project.refused(*option)
    assert "responses.sqlite: not a store of responses of pytest-jarvis; it is left" in said
    assert before == store.read_bytes()
    assert not (project.folder / "out").exists()


def test_a_run_that_needs_no_store_does_not_mind_a_foreign_file(project) -> None:
    (project.folder / ".jarvis").mkdir()
    (project.folder / STORE).write_text("bonjour", encoding="utf-8")
    assert project.run().ret == 0


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_folder_that_cannot_be_written_is_one_warning(project, quiet: tuple[str, ...]) -> None:
    (project.folder / "occupé").touch()
    project.configure(output={"formats": [], "store": "occupé/a.sqlite"})
    result = project.run(*REPORT, *quiet)
    assert result.ret == 0
    said = [line for line in result.stdout.lines if line.startswith("Magasin de réponses")]
    assert len(said) == 1
    assert "on ne peut pas y écrire" in said[0]
    assert project.report().complete


def test_a_disk_that_is_full_is_one_warning(project, monkeypatch) -> None:
    prepare = ResponseStore._create_tables

    def small(self: ResponseStore) -> None:
        prepare(self)
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(ResponseStore, "_create_tables", small)
    result = project.run(*REPORT, "--jarvis-samples", "16")
    assert (result.ret, project.report().complete) == (0, True)
    (said,) = [line for line in result.stdout.lines if line.startswith("Magasin de réponses")]
    assert "le disque est plein" in said
    with closing(ResponseStore(project.folder / STORE)) as store:
        assert store.stats().responses > 0


def test_workers_share_the_store_and_their_warnings_are_shown(project) -> None:
    (project.folder / "occupé").touch()
    project.configure(output={"formats": [], "store": "occupé/a.sqlite"}, metrics={"cosine": False})
    result = project.run_apart("-n", "2", "--jarvis-engine", "scripted", *REPORT)
    assert result.ret == 0
    assert len([line for line in result.stdout.lines if line.startswith("Magasin de réponses")]) == 1


def test_the_marks_of_a_selection_are_reused_by_the_whole(project) -> None:
    project.run(*REPORT, "-k", "commandes")
    result = project.run("--jarvis-report-dir", "again", "--jarvis-reuse")
    result.stdout.fnmatch_lines(["JARVIS*: 16?réponses reprises du magasin sur 24 (4 par prompt et par bras)"])
