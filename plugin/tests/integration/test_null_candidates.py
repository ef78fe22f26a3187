"""Answers that do nothing are refused, and answers that do what is asked are accepted, whatever words they use.

The demo's base and its fine-tune answer as in the sample report, which is made anew with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pytest_jarvis import load_report
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts

DATA = Path(__file__).parents[1] / "data"
PROMPTS = load_prompts(packaged_prompts())
TEXTS = {case.prompt_id: case.text for case in PROMPTS.cases}
TOOL_OF = {case.prompt_id: case.expected_tool for case in PROMPTS.cases}
TERMS = {tool.name: tool.terms for tool in PROMPTS.tools}
SAMPLE = load_report(Path(__file__).parents[3] / "reports" / "exemple").results
Answers = Mapping[str, Sequence[str]]

BASE: Answers = {row.prompt_id: [one.text for one in row.of_arm("base")] for row in SAMPLE}
LORA: Answers = {row.prompt_id: [one.text for one in row.of_arm(row.adapter)] for row in SAMPLE}


def of_file(name: str) -> Answers:
    """Return the answers of a file of our data to the prompts that are asked."""
    found: dict[str, list[str]] = {}
    for line in (DATA / name).read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        if answer["prompt_id"] in TEXTS:
            found.setdefault(answer["prompt_id"], []).append(answer["text"])
    return found


def each(make: Callable[[str], str]) -> Answers:
    """Return the same answer four times to each prompt, by its id."""
    return {name: [make(name)] * 4 for name in TEXTS}


def constant(text: str) -> Answers:
    return each(lambda _name: text)


def shuffled(answers: Answers) -> Answers:
    """Give each prompt the answers to another, which wants another tool."""
    names = list(answers)
    return {name: answers[names[(place + 15) % len(names)]] for place, name in enumerate(names)}


IDEAL, HOW_TO = of_file("ideal_answers.jsonl"), of_file("how_to_answers.jsonl")
TWENTY = ", ".join(dict.fromkeys(term for terms in TERMS.values() for term in terms[:2]).keys())

ACCEPTED = {
    "the fine-tune": (BASE, LORA),
    "ideal short answers": (BASE, IDEAL),
    "ideal short answers against explanations": (HOW_TO, IDEAL),
}
REFUSED = {
    "the fine-tune's answers to other prompts": shuffled(LORA),
    "ideal answers to other prompts": shuffled(IDEAL),
    "one announcement for all": constant("J'ouvre l'application, je lance le logiciel."),
    "one refusal for all": constant("Désolé, je ne peux pas ouvrir cette application ni lancer ce logiciel."),
    "explanations": HOW_TO,
    "three words": constant("Volume musique web."),
    "twenty terms": constant(TWENTY),
    "the terms of the tool": each(lambda name: f"{', '.join(TERMS[TOOL_OF[name] or ''])}."),
    "the command repeated": each(TEXTS.__getitem__),
    "nothing": constant(""),
}


@pytest.fixture
def judge(project) -> Callable[..., pytest.RunResult]:
    """Function that judges a candidate against a base, into `out`."""

    def run(base: Answers, candidate: Answers, *more: str) -> pytest.RunResult:
        lines = [
            json.dumps({"prompt_id": name, "arm": arm, "text": text})
            for arm, answers in (("base", base), ("candidate", candidate))
            for name, texts in answers.items()
            for text in texts
        ]
        (project.folder / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
        options = ("--jarvis-report-dir", "out", "--jarvis-prompts", str(PROMPTS.folder))
        return project.run(*options, "--jarvis-answers", "answers.jsonl", *more, engine=None)

    return run


@pytest.mark.parametrize(("base", "candidate"), ACCEPTED.values(), ids=ACCEPTED)
def test_answers_that_do_what_is_asked_are_accepted(project, judge, base: Answers, candidate: Answers) -> None:
    result = judge(base, candidate)
    assert (0, "PASS") == (result.ret, project.report().gate.verdict)


@pytest.mark.parametrize("candidate", REFUSED.values(), ids=REFUSED)
def test_answers_that_do_not_do_what_is_asked_are_refused_for_it(project, judge, candidate: Answers) -> None:
    result = judge(BASE, candidate)
    gate = project.report().gate
    [deeds] = [one for one in gate.thresholds if one.name == "done_share"]
    assert (1, "FAIL", "FAIL") == (result.ret, gate.verdict, deeds.verdict)
    result.stdout.fnmatch_lines(["✗ REFUSÉ*", "*Actions faites*seulement*"])


@pytest.mark.xfail(strict=True, reason="the effect of a fine-tune is told by its gain of relevance alone")
def test_a_fine_tune_that_is_refused_for_its_deeds_is_not_called_effective(project, judge) -> None:
    project.configure(output={"formats": ["text"]})
    judge(BASE, constant(TWENTY))
    assert "EFFICACE" not in project.text("report.txt")


def test_words_added_to_the_answers_of_the_base_do_not_make_a_fine_tune(project, judge) -> None:
    candidate = {name: [f"{text} Bonne recherche !" for text in texts] for name, texts in BASE.items()}
    assert 1 == judge(BASE, candidate).ret
    assert project.report().gate.verdict != "PASS"


def test_the_same_answers_shuffled_are_a_regression(project, judge) -> None:
    judge(BASE, LORA)
    (project.folder / "out").rename(project.folder / "before")
    judge(BASE, shuffled(LORA), "--jarvis-compare", "before")
    regression = project.report().regression
    assert regression is not None
    assert "DROP" == regression.verdict
