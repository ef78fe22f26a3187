"""`--jarvis-answers`: answers made elsewhere are scored, judged and reported as a run's are."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pytest_jarvis import cli

DONE = {"c-1": "J'ouvre Chrome.", "c-2": "Je lance Firefox.", "q-1": "Je coupe le son : silence."}
VAGUE = dict.fromkeys(DONE, "Je vous écoute.")
Lines = list[dict[str, object]]


def lines(arm: str, texts: dict[str, str], count: int = 2) -> Lines:
    """Return `count` answers of an arm to each prompt."""
    return [
        {"prompt_id": name, "arm": arm, "replicate": number, "text": text}
        for name, text in texts.items()
        for number in range(count)
    ]


@pytest.fixture
def judge(project) -> Callable[..., pytest.RunResult]:
    """Function that judges answers, into `out`, with more options."""

    def run(answers: Lines, *options: str, apart: bool = False) -> pytest.RunResult:
        text = "".join(f"{json.dumps(line)}\n" for line in answers)
        (project.folder / "mine.jsonl").write_text(text, encoding="utf-8")
        arguments = ("--jarvis-report-dir", "out", "--jarvis-answers", "mine.jsonl", *options)
        return project.run_apart(*arguments) if apart else project.run(*arguments, engine=None)

    return run


def test_answers_are_judged_and_any_number_of_them_counts(project, judge) -> None:
    result = judge([*lines("base", VAGUE, 2), *lines("mien", DONE, 5), *lines("autre", VAGUE, 1)])
    report = project.report()
    assert (0, "PASS", True) == (result.ret, report.gate.verdict, report.complete)
    assert ["mien", "autre"] == list(report.metadata.adapters)
    decision = report.decisions["mien"]
    assert (2, 5) == decision.replicates
    assert report.statistics.figure("jarvis_relevance").finetuned == pytest.approx(decision.finetuned_mean)
    assert (False, (5,)) == (report.metadata.plan.shared_noise, report.metadata.plan.looks)


def test_a_file_with_columns_is_judged_as_lines_of_json_are(project) -> None:
    rows = [*lines("base", VAGUE), *lines("mien", DONE)]
    text = "\n".join(["arm,prompt_id,text", *(f'{row["arm"]},{row["prompt_id"]},"{row["text"]}"' for row in rows)])
    (project.folder / "mine.csv").write_text(text, encoding="utf-8")
    assert 0 == project.run("--jarvis-report-dir", "out", "--jarvis-answers", "mine.csv", engine=None).ret
    assert ["J'ouvre Chrome."] * 2 == [one.text for one in project.report().results[0].of_arm("mien")]


def test_a_prompt_without_an_answer_is_a_failure_and_the_run_is_not_judged(project, judge) -> None:
    answers = [line for line in lines("mien", DONE) if line["prompt_id"] != "c-2"]
    result = judge([*lines("base", VAGUE), *answers])
    report = project.report()
    [failure] = report.failures
    assert ("c-2", "mien", "no_answer") == (failure.prompt_id, failure.arm, failure.reason.code)
    assert ("NOT_JUDGED", False) == (report.gate.verdict, report.complete)
    assert (1.0, 0.0) == tuple(report.gate.reasons[-2].values[name] for name in ("missing", "responses"))
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*mine.jsonl*n’a pas de réponse de ce bras*"])


def test_every_output_says_that_the_answers_are_of_a_file(project, judge, capsys) -> None:
    project.configure(output={"formats": ["text", "html", "markdown"]})
    result = judge([*lines("base", VAGUE, 1), *lines("mien", DONE, 3)])
    result.stdout.fnmatch_lines(
        ["*réponses lues dans mine.jsonl*", "Attention*fichier*", "Réponses lues dans mine.jsonl*"]
    )
    report = project.report()
    assert (report.metadata.is_real, report.metadata.engine, report.metadata.base_model) == (
        False,
        "answers",
        "answers",
    )
    assert report.provenance.answers is not None
    assert report.provenance.answers.file == "mine.jsonl"
    for file in ("report.txt", "summary.md", "report.html"):
        shown = " ".join(project.text(file).split())
        assert "modèle inconnu" in shown
        assert "rien ne montre quel modèle les a faites" in shown
        assert report.provenance.answers.sha256[:12] in shown
        assert "factice" not in shown
        assert "température" not in shown
    capsys.readouterr()
    assert 0 == cli.main(["history", "."])
    assert "réponses fournies par un fichier" in capsys.readouterr().out


def test_what_was_not_measured_has_no_figure(project, judge) -> None:
    judge([*lines("base", VAGUE), *lines("mien", DONE)])
    report = project.report()
    for name in ("seconds", "tokens", "cosine_similarity"):
        assert report.statistics.figure(name).finetuned is None
    assert {} == report.provenance.timings_s


def test_a_replay_of_judged_answers_is_the_same_again(project, judge) -> None:
    judge([*lines("base", VAGUE, 1), *lines("mien", DONE, 3)])
    project.run("--jarvis-report-dir", "again", "--jarvis-replay", "out", engine=None)
    first, again = project.report(), project.report("again")
    assert (first.gate, first.decisions, first.by_adapter) == (again.gate, again.decisions, again.by_adapter)
    assert first.provenance.answers == again.provenance.answers


def test_workers_and_a_selection_judge_the_same_answers(project, judge) -> None:
    answers = [*lines("base", VAGUE, 2), *lines("mien", DONE, 3)]
    assert 0 == judge(answers, "-n", "2", "--junitxml", "junit.xml", apart=True).ret
    assert "PASS" == project.report().gate.verdict
    assert "jarvis.verdict" in (project.folder / "junit.xml").read_text(encoding="utf-8")
    project.run("--jarvis-report-dir", "part", "--jarvis-answers", "mine.jsonl", "-k", "q-1", engine=None)
    part = project.report("part")
    assert (["q-1"], "NOT_JUDGED") == ([row.prompt_id for row in part.results], part.gate.verdict)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt_id": "c-1", "arm": "mien"}', "line 1: the key 'text' is missing"),
        ('{"prompt_id": "c-9", "arm": "mien", "text": "x"}', "line 1: prompt_id: no prompt 'c-9'"),
        ('{"prompt_id": "c-1", "text": "x"}', "line 1: no arm: expected 'base' or the name of an adapter"),
        ('{"prompt_id": "c-1", "arm": "a/b", "text": "x"}', "line 1: arm: expected"),
        (
            '{"prompt_id": "c-1", "arm": "m", "text": "x", "replicate": 0}\n' * 2,
            "line 2: prompt 'c-1', m: another answer",
        ),
        ('{"prompt_id": "c-1", "arm": "base", "text": "x"}', "and of an adapter by name, found base"),
        ("ouvre chrome", "line 1: expected a JSON object"),
        ("", "no answers: expected at least one line"),
    ],
)
def test_a_file_that_holds_no_answers_is_one_sentence(project, line: str, said: str) -> None:
    (project.folder / "mine.jsonl").write_text(line, encoding="utf-8")
    assert said in project.refused("--jarvis-report-dir", "out", "--jarvis-answers", "mine.jsonl", engine=None)


@pytest.mark.parametrize("option", ["--jarvis-aa", "--jarvis-adapter=x", "--jarvis-seed=1", "--jarvis-tools"])
def test_an_option_that_says_how_responses_are_drawn_is_refused(project, option: str) -> None:
    said = project.refused(option, "--jarvis-answers", "mine.jsonl", engine=None)
    assert "--jarvis-answers scores responses that are drawn already; leave" in said


def test_answers_and_a_replay_are_refused_together(project) -> None:
    said = project.refused("--jarvis-replay", "out", "--jarvis-answers", "mine.jsonl", engine=None)
    assert "--jarvis-answers: --jarvis-replay scores responses that are drawn already" in said
