"""`pytest-jarvis judge`: say what each answer of a file did, and how far a person's labels agree."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import Commands, add_prompts_option, print_line, print_lines, prompts_folder
from pytest_jarvis.files import InputError, write_atomically
from pytest_jarvis.render.french.words import word

if TYPE_CHECKING:
    from pytest_jarvis.inputs.answers import Answer
    from pytest_jarvis.inputs.prompts import PromptSet
    from pytest_jarvis.metrics.deeds import Outcome


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("judge", help="judge answers made elsewhere, and compare with a person's labels")
    command.add_argument(
        "answers",
        metavar="ANSWERS",
        type=Path,
        help="JSON Lines, or CSV, with prompt_id and text; optional: arm, replicate, expected_outcome",
    )
    command.add_argument("--out", metavar="FILE", type=Path, help="write the judged lines here, not to the terminal")
    add_prompts_option(command)
    command.set_defaults(run=judge_answers)


def judge_answers(options: argparse.Namespace) -> int:
    """Print or write the judged answers, then the agreement where labels are given; return 0."""
    from pytest_jarvis.inputs.answers import read_answers
    from pytest_jarvis.inputs.prompts import load_prompts
    from pytest_jarvis.metrics.deeds import Judge
    from pytest_jarvis.render.french.outcomes import agreement_lines

    prompts = load_prompts(prompts_folder(options), add=("with_tools", "guards", "retired"))
    cases = {case.prompt_id: case for case in prompts.cases}
    answers = list(read_answers(options.answers, cases).values())
    judge = Judge(prompts.tools)
    outcomes = [judge.judge(cases[answer.prompt_id], answer.text) for answer in answers]
    lines = _judged_lines(answers, outcomes, prompts)
    out: Path | None = options.out
    if out is None:
        print_lines(lines)
    else:
        try:
            write_atomically(out, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise InputError(f"--out: {out}: cannot be written: {error.strerror or error}") from None
        print_line(word("labels.written", file=str(out)))
    print_lines(agreement_lines(answers, outcomes))
    return 0


def _judged_lines(answers: Sequence[Answer], outcomes: Sequence[Outcome], prompts: PromptSet) -> list[str]:
    """Return each answer with its outcome and scores, as a line of JSON."""
    from pytest_jarvis.metrics.relevance import Dictionary, score_text

    cases, dictionary = {case.prompt_id: case for case in prompts.cases}, Dictionary.of(prompts.tools)
    lines = []
    for answer, outcome in zip(answers, outcomes, strict=True):
        score = score_text(answer.text, cases[answer.prompt_id], dictionary, outcome)
        given = {name: getattr(answer, name) for name in answer.__struct_fields__ if getattr(answer, name) is not None}
        found = {
            "outcome": outcome.kind,
            "tool": outcome.tool,
            "target": outcome.target,
            "reason": outcome.reason,
            "evidence": outcome.evidence,
            "relevance": None if score.relevance is None else round(score.relevance, 4),
            "keywords": score.keywords_found,
        }
        lines.append(json.dumps(given | found, ensure_ascii=False))
    return lines
