"""Answers that do nothing are refused, and answers that do what is asked are accepted, whatever words they use.

The demo's base and its fine-tune answer as in the sample report, which is made anew with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from pytest_jarvis import load_report
from pytest_jarvis.inputs.config import BenchmarkSection
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


def of_file(name: str) -> dict[str, list[str]]:
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


IDEAL = of_file("ideal_answers.jsonl")
HOW_TO = {name: texts * 4 for name, texts in of_file("how_to_answers.jsonl").items()}
"""As a model says it that always says the same."""
ALL_AT_ONCE = (
    "J'ouvre l'application, je ferme le reste, je monte le son, je cherche sur internet, je verrouille la session."
)
"""Announces the deeds of five tools, whatever it is asked."""
TWENTY = ", ".join(dict.fromkeys(term for terms in TERMS.values() for term in terms[:2]).keys())

ACCEPTED = {"the fine-tune": LORA, "ideal short answers": IDEAL}
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
    """Function that judges candidates against a base, into `out`, by the default rules but for those given."""

    def run(
        base: Answers, *candidates: Answers, options: Sequence[str] = (), formats: Sequence[str] = (), **rules: object
    ) -> pytest.RunResult:
        defaults = msgspec.to_builtins(BenchmarkSection())
        project.configure(output={"formats": formats}, benchmark=defaults | rules)
        lines = [
            json.dumps({"prompt_id": name, "arm": arm, "text": text})
            for arm, answers in (("base", base), *((f"c{place}", one) for place, one in enumerate(candidates)))
            for name, texts in answers.items()
            for text in texts
        ]
        (project.folder / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
        named = ("--jarvis-report-dir", "out", f"--jarvis-prompts={PROMPTS.folder}", "--jarvis-answers=answers.jsonl")
        return project.run(*named, *options, engine=None)

    return run


@pytest.mark.parametrize("candidate", ACCEPTED.values(), ids=ACCEPTED)
def test_answers_that_do_what_is_asked_are_accepted(project, judge, candidate: Answers) -> None:
    result = judge(BASE, candidate)
    assert (0, "PASS") == (result.ret, project.report().gate.verdict)


@pytest.mark.parametrize("candidate", REFUSED.values(), ids=REFUSED)
def test_answers_that_do_not_do_what_is_asked_are_refused_for_it(project, judge, candidate: Answers) -> None:
    result = judge(BASE, candidate)
    gate = project.report().gate
    [deeds] = [one for one in gate.thresholds if one.name == "done_share"]
    assert (1, "FAIL", "FAIL") == (result.ret, gate.verdict, deeds.verdict)
    result.stdout.fnmatch_lines(["✗ REFUSÉ*", "*Actions faites*seulement*"])


def test_against_a_base_that_explains_the_same_are_accepted_and_refused(project, judge) -> None:
    judge(HOW_TO, IDEAL, LORA, *REFUSED.values())
    verdicts = dict(zip(("ideal", "fine-tune", *REFUSED), project.report().gate.adapters, strict=True))
    assert {"ideal", "fine-tune"} == {name for name, one in verdicts.items() if one.verdict == "PASS"}


def test_a_fine_tune_that_is_refused_for_its_deeds_is_not_called_effective(project, judge) -> None:
    judge(BASE, constant(TWENTY), formats=["text"])
    assert "EFFICACE" not in project.text("report.txt")


def test_one_answer_for_all_is_refused_where_nothing_but_relevance_is_asked_for(project, judge) -> None:
    result = judge(HOW_TO, constant(ALL_AT_ONCE), min_done_share=None, no_drop=[])
    gate = project.report().gate
    assert (1, "INCONCLUSIVE") == (result.ret, gate.verdict)
    assert "measure_blind" in {reason.code for reason in gate.reasons}
    result.stdout.fnmatch_lines(["*la mesure ne distingue pas les réponses*"])


def test_one_answer_for_all_is_seen_with_one_answer_to_a_prompt(project, judge) -> None:
    once = {name: texts[:1] for name, texts in constant(ALL_AT_ONCE).items()}
    base = {name: texts[:1] for name, texts in HOW_TO.items()}
    assert 1 == judge(base, once, min_done_share=None, no_drop=[]).ret
    assert "measure_blind" in {reason.code for reason in project.report().gate.reasons}


def test_words_added_to_the_answers_of_the_base_do_not_make_a_fine_tune(project, judge) -> None:
    candidate = {name: [f"{text} Bonne recherche !" for text in texts] for name, texts in BASE.items()}
    assert 1 == judge(BASE, candidate).ret
    assert project.report().gate.verdict != "PASS"


def test_the_same_answers_shuffled_are_a_regression(project, judge) -> None:
    judge(BASE, LORA)
    (project.folder / "out").rename(project.folder / "before")
    judge(BASE, shuffled(LORA), options=["--jarvis-compare", "before"])
    regression = project.report().regression
    assert regression is not None
    assert "DROP" == regression.verdict
