"""Judge answers that were made elsewhere, one JSON object a line, and say how far labels agree."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deeds.judge import Judge
from deeds.outcome import OUTCOMES, Outcome, OutcomeKind
from deeds.tools import tool_words
from pytest_jarvis.files import InputError, read_text, suggest, write_atomically
from pytest_jarvis.inputs.prompts import PromptSet, load_prompts, packaged_prompts
from pytest_jarvis.metrics.relevance import Dictionary, score_text


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file; keys that are not known here go into the output as they are."""

    prompt_id: str
    text: str
    arm: str | None = None
    replicate: int | None = None
    expected_outcome: OutcomeKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An answer with what it did and what it scores."""

    answer: Answer
    outcome: Outcome
    relevance: float
    keywords: tuple[str, ...]


def read_answers(path: Path, known: Sequence[str]) -> list[Answer]:
    """Return the answers of a JSON Lines file; raise InputError with the line that is none."""
    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            answer = msgspec.json.decode(line, type=Answer)
        except msgspec.DecodeError as error:
            raise InputError(f"{path}: line {number}: {error}") from None
        if answer.prompt_id not in known:
            raise InputError(
                f"{path}: line {number}: unknown prompt '{answer.prompt_id}'{suggest(answer.prompt_id, [*known])}"
            )
        found.append(answer)
    if not found:
        raise InputError(f"{path}: no answers: expected at least one line with prompt_id and text")
    return found


def judge_answers(answers: Sequence[Answer], prompts: PromptSet) -> list[Judged]:
    """Return what each answer did, in their order."""
    cases = {case.prompt_id: case for case in prompts.cases}
    judge, dictionary = Judge(tool_words(prompts.tools)), Dictionary.of(prompts.tools)
    judged = []
    for answer in answers:
        case = cases[answer.prompt_id]
        score = score_text(answer.text, case, dictionary)
        outcome = judge.judge(case, answer.text)
        judged.append(Judged(answer=answer, outcome=outcome, relevance=score.relevance, keywords=score.keywords_found))
    return judged


def to_line(judged: Judged) -> str:
    """Return a judged answer as a line of JSON."""
    given = {name: value for name, value in msgspec.structs.asdict(judged.answer).items() if value is not None}
    outcome = judged.outcome
    found = {
        "outcome": outcome.kind,
        "tool": outcome.tool,
        "target": outcome.target,
        "reason": {"code": outcome.reason, "evidence": outcome.evidence},
        "relevance": round(judged.relevance, 4),
        "keywords": judged.keywords,
    }
    return json.dumps(given | found, ensure_ascii=False)


def agreement(judged: Sequence[Judged]) -> str:
    """Return how far expected outcomes agree: two shares, the confusion table, the disagreements; "" without any."""
    pairs = [(one, one.answer.expected_outcome) for one in judged if one.answer.expected_outcome]
    if not pairs:
        return ""
    table = Counter((expected, one.outcome.kind) for one, expected in pairs)
    two = sum((expected == "done") == one.outcome.done for one, expected in pairs)
    five = sum(expected == one.outcome.kind for one, expected in pairs)
    lines = [
        f"done or not: {two} of {len(pairs)} agree ({two / len(pairs):.1%}); five outcomes: {five / len(pairs):.1%}",
        "expected \\ judged  " + "".join(f"{kind:>14}" for kind in OUTCOMES),
    ]
    lines += [f"{label:<19}" + "".join(f"{table[label, kind]:>14}" for kind in OUTCOMES) for label in OUTCOMES]
    for one, expected in pairs:
        if expected != one.outcome.kind:
            text = " ".join(one.answer.text.split())[:80]
            lines.append(
                f"{one.answer.prompt_id}: {expected}, judged {one.outcome.kind} ({one.outcome.reason}): {text}"
            )
    return "\n".join(lines)


def run(answers: Path, out: Path | None, prompts: Path | None) -> str:
    """Judge a file; write the judged lines to `out`, or return them; the agreement follows where labels are given."""
    asked = load_prompts(prompts or packaged_prompts())
    judged = judge_answers(read_answers(answers, [case.prompt_id for case in asked.cases]), asked)
    lines = "\n".join(map(to_line, judged))
    if out is not None:
        write_atomically(out, f"{lines}\n".encode())
    return "\n".join(part for part in ("" if out else lines, agreement(judged)) if part)


def parser() -> argparse.ArgumentParser:
    """Return what the command line of `judge` takes."""
    made = argparse.ArgumentParser(
        prog="python -m deeds.command", description="Judge answers that were made elsewhere."
    )
    made.add_argument("answers", type=Path, metavar="ANSWERS.jsonl", help="lines with prompt_id and text")
    made.add_argument("--out", type=Path, metavar="FILE", help="write the judged lines here instead of printing them")
    made.add_argument("--prompts", type=Path, metavar="DIR", help="the folder of prompts and tools")
    return made


if __name__ == "__main__":
    options = parser().parse_args()
    print(run(options.answers, options.out, options.prompts))
