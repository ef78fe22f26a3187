"""`--jarvis-compare`, `--jarvis-fail-on-regression` and the baseline: only a proven drop fails."""

import json
from pathlib import Path

import pytest

from pytest_jarvis import cli

GOOD = (
    "def script(request):\n"
    "    said = ['application', 'application, je lance le logiciel'][request.replicate % 2]\n"
    '    return "J\'ouvre." if request.arm == "base" else f"J\'ouvre l\'{said}."'
)
BAD = (
    "def script(request):\n"
    '    return "J\'ouvre." if request.arm == "base" or request.replicate % 4 == 0 else "Bonjour."'
)
FAIL = ("--jarvis-fail-on-regression", "--jarvis-gate", "off")


@pytest.fixture
def good(project, scripted_by) -> str:
    """Engine of a good candidate, whose run is saved in `good`."""
    name = scripted_by(GOOD)
    project.run("--jarvis-report-dir", "good", engine=name)
    return name


@pytest.fixture
def bad(project, scripted_by) -> str:
    return scripted_by(BAD)


def outcome_of(project, folder: str = "out"):
    outcome = project.report(folder).regression
    assert outcome is not None
    return outcome


def baseline(project, *arguments: str) -> int:
    return cli.main(["baseline", *arguments, "--reports", str(project.folder / "reports")])


def test_a_proven_drop_exits_1_and_is_in_every_output(project, good, bad) -> None:
    project.configure(output={"formats": ["text", "html", "markdown"]})
    result = project.run("--jarvis-report-dir", "out", "--jarvis-compare", "good", *FAIL, engine=bad)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "✗ RÉGRESSION PROUVÉE*",
            "  Comparé à good/report.json (essai nommé, du *",
            "  Ensemble*",
            "*La session échoue*",
        ]
    )
    outcome = outcome_of(project)
    assert (outcome.verdict, outcome.tests[0].proven_drop, outcome.stored.adapter) == ("DROP", True, "jarvis")
    for file in ("report.txt", "summary.md", "report.html"):
        assert "RÉGRESSION PROUVÉE" in project.text(file)
    summary = project.text("summary.md")
    assert summary.index("> ✗ RÉGRESSION PROUVÉE") < summary.index("## ")
    thresholds = json.loads(project.text("thresholds.json"))
    assert (thresholds["regression"]["verdict"], thresholds["exit_failed"]) == ("DROP", False)


def test_a_drop_is_only_told_where_failing_was_not_asked(project, good, bad) -> None:
    result = project.run("--jarvis-report-dir", "out", "--jarvis-compare", "good", "--jarvis-gate", "off", engine=bad)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["✗ RÉGRESSION PROUVÉE*", "*ajoutez --jarvis-fail-on-regression*"])


def test_the_same_candidate_is_no_regression(project, good) -> None:
    result = project.run("--jarvis-report-dir", "out", "--jarvis-compare", "good/report.json", *FAIL, engine=good)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["✓ Aucune régression prouvée de jarvis*"])


def test_the_outcome_is_in_the_junit_file(project, good, bad) -> None:
    project.run("--jarvis-report-dir", "out", "--jarvis-compare", "good", "--junit-xml", "j.xml", *FAIL, engine=bad)
    assert 'name="jarvis.regression" value="DROP"' in (project.folder / "j.xml").read_text(encoding="utf-8")


def test_a_recorded_candidate_can_be_held_against_a_recorded_run(project, good, bad) -> None:
    project.run("--jarvis-report-dir", "bad", engine=bad)
    result = project.run(
        "--jarvis-report-dir", "out", "--jarvis-replay", "bad", "--jarvis-compare", "good", *FAIL, engine=None
    )
    assert result.ret == 1
    assert outcome_of(project).verdict == "DROP"


def test_last_is_the_newest_comparable_report_and_says_so(project, good, bad) -> None:
    project.run("--jarvis-report-dir", "reports/one", engine=good)
    project.run("--jarvis-report-dir", "reports/selection", "-k", "c-1", engine=good)
    project.run("--jarvis-report-dir", "reports/seed", "--jarvis-max-new-tokens", "7", engine=good)
    (project.folder / "reports/damaged").mkdir()
    (project.folder / "reports/damaged/report.json").write_text("{", encoding="utf-8")
    result = project.run("--jarvis-report-dir", "out", "--jarvis-compare", "last", *FAIL, engine=bad)
    assert result.ret == 1
    outcome = outcome_of(project)
    assert outcome.stored is not None
    assert (Path(outcome.stored.report).parent.name, outcome.stored.chosen) == ("one", "newest")
    assert "essai comparable le plus récent" in " ".join(result.stdout.str().split())


def test_without_a_stored_run_nothing_is_judged_and_only_strict_fails(project, good) -> None:
    options = ("--jarvis-compare", "last", *FAIL)
    result = project.run("--jarvis-report-dir", "out", *options, engine=good)
    assert (result.ret, outcome_of(project).obstacles) == (0, ("nothing_stored",))
    result.stdout.fnmatch_lines(["~ RÉGRESSION NON JUGÉE*aucune référence fixée*"])
    strict = project.run("--jarvis-report-dir", "strict", *options, "--jarvis-strict", engine=good)
    assert strict.ret == 1


def test_a_prompt_more_is_left_out_and_said(project, good, bad) -> None:
    with (project.prompts / "questions.toml").open("a", encoding="utf-8") as file:
        file.write('\n[[prompts]]\nid = "q-2"\ntext = "et alors"\nkeywords = ["et", "alors"]\n')
    result = project.run("--jarvis-report-dir", "out", "--jarvis-compare", "good", *FAIL, engine=bad)
    assert (result.ret, outcome_of(project).tests[0].prompts) == (1, 3)
    assert "seulement après" in result.stdout.str()


def test_the_baseline_is_what_last_means_even_when_newer_runs_are_worse(project, good, bad) -> None:
    assert baseline(project, "set", str(project.folder / "good")) == 0
    project.run("--jarvis-report-dir", "reports/newer", engine=bad)
    result = project.run("--jarvis-report-dir", "out", "--jarvis-compare", "last", *FAIL, engine=bad)
    outcome = outcome_of(project)
    assert (result.ret, outcome.stored.chosen, outcome.verdict) == (1, "baseline", "DROP")


def test_a_run_never_moves_the_baseline(project, good) -> None:
    baseline(project, "set", str(project.folder / "good"))
    file = project.folder / "reports" / "baseline.json"
    before = file.read_bytes()
    project.run("--jarvis-report", "--jarvis-compare", "last", *FAIL, engine=good)
    assert file.read_bytes() == before == (project.folder / "good" / "report.json").read_bytes()


def test_a_damaged_baseline_is_one_sentence_and_can_be_replaced(project, good) -> None:
    (project.folder / "reports").mkdir()
    (project.folder / "reports" / "baseline.json").write_text("{", encoding="utf-8")
    said = project.refused("--jarvis-report-dir", "out", "--jarvis-compare", "last", engine=good)
    assert "baseline.json: not a whole JSON file" in said
    assert baseline(project, "show") == 4
    assert baseline(project, "set", str(project.folder / "good")) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--jarvis-report", "--jarvis-fail-on-regression"), "no run to compare with; add --jarvis-compare"),
        (("--jarvis-compare", "last"), "without --jarvis-report nothing is judged"),
        (("--jarvis-report", "--jarvis-compare", "nowhere"), "nowhere: cannot be read"),
        (("--jarvis-report", "--jarvis-compare", "last", "--jarvis-aa"), "an A/A run has no candidate"),
    ],
)
def test_options_that_cannot_go_together_are_one_sentence(project, options, sentence) -> None:
    assert sentence in project.refused(*options)


def test_the_baseline_is_set_shown_replaced_and_cleared(project, good, capsys) -> None:
    assert baseline(project, "show") == 1
    assert "Aucune référence" in capsys.readouterr().out
    baseline(project, "set", str(project.folder / "good" / "report.json"))
    assert baseline(project, "show") == 0
    assert "demo + jarvis" in capsys.readouterr().out
    baseline(project, "set", str(project.folder / "good"))
    assert "Référence remplacée" in capsys.readouterr().out
    assert baseline(project, "clear") == 0
    assert baseline(project, "clear") == 0
    assert "Aucune référence" in capsys.readouterr().out
    assert not (project.folder / "reports" / "baseline.json").exists()


def test_what_cannot_be_a_baseline_is_one_sentence(project, refused) -> None:
    project.run("--jarvis-report-dir", "aa", "--jarvis-aa")
    project.configure(metrics={"relevance": False})
    project.run("--jarvis-report-dir", "silent")
    for folder, sentence in (("aa", "an A/A run has no candidate"), ("silent", "no relevance was measured")):
        assert sentence in refused("baseline", "set", project.folder / folder)


def test_a_folder_that_cannot_be_made_is_one_sentence(project, good, refused) -> None:
    (project.folder / "file").write_text("", encoding="utf-8")
    assert "cannot be written" in refused("baseline", "set", project.folder / "good", "--reports", "file")


def test_the_configured_folder_of_reports_is_the_default(project, good, monkeypatch) -> None:
    monkeypatch.chdir(project.folder)
    project.configure(output={"folder": "elsewhere"})
    assert cli.main(["baseline", "set", "good"]) == 0
    assert (project.folder / "elsewhere" / "baseline.json").is_file()
