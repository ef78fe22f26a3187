"""Was a misheard command understood? Its answers against what the same arm makes of the clean command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from pytest_jarvis.metrics.relevance import TextScore
from pytest_jarvis.metrics.tool_choice import chosen_tool
from pytest_jarvis.text import canonical
from pytest_jarvis.types import PromptCase, Response

_CLEAN_PREFIX = "clean:"
"""Begins the id of a clean command that is drawn for comparison alone; no prompt's own id can hold the colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """What one answer, or most answers to one prompt, made of a command."""

    tool: str | None
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanCommand:
    """What one arm made of the command that was meant."""

    responses: int
    tool: str | None
    """The tool of more than half of the responses; None without one: nothing can then be understood the same way."""
    keywords: tuple[str, ...]
    """Those of the misheard prompt that are in more than half of the responses."""
    text: str
    """The first response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanPlan:
    """Which prompt is the clean form of which, and those that must be drawn for it."""

    clean_id: Mapping[str, str] = field(default_factory=dict)
    """Id of a misheard prompt -> id of the prompt that asks the same, clean."""
    extra: tuple[PromptCase, ...] = ()
    """Clean commands that are no prompt of the plan."""


def clean_prompt_id(intended: str) -> str:
    """Return the id under which a clean command is drawn: its own, whichever misheard prompts stand for it."""
    return f"{_CLEAN_PREFIX}{sha256(canonical(intended).encode()).hexdigest()[:12]}"


def plan_clean_commands(cases: Sequence[PromptCase]) -> CleanPlan:
    """Return where the clean form of each misheard prompt is; those not among `cases` are extra, each once."""
    known = {canonical(case.text): case.prompt_id for case in cases if case.intended is None}
    clean_id: dict[str, str] = {}
    extra: list[PromptCase] = []
    for case in cases:
        if case.intended is None:
            continue
        form = canonical(case.intended)
        if form not in known:
            known[form] = clean_prompt_id(case.intended)
            extra.append(replace(case, prompt_id=known[form], text=case.intended, intended=None))
        clean_id[case.prompt_id] = known[form]
    return CleanPlan(clean_id=clean_id, extra=tuple(extra))


def find_majority(answers: Sequence[Interpretation], text: str) -> CleanCommand | None:
    """Return what more than half of the answers to a clean command have in common; None without an answer."""
    if not answers:
        return None
    half = len(answers) / 2
    tools = Counter(answer.tool for answer in answers)
    keywords = Counter(keyword for answer in answers for keyword in answer.keywords)
    return CleanCommand(
        responses=len(answers),
        tool=next((tool for tool, count in tools.items() if count > half), None),
        keywords=tuple(keyword for keyword, count in keywords.items() if count > half),
        text=text,
    )


def interpret(response: Response, score: TextScore) -> Interpretation:
    """Return what a response made of its command: its tool, called where tools were offered, and its keywords."""
    return Interpretation(tool=chosen_tool(response.tool_calls, score.named_most), keywords=score.keywords_found)


def is_understood(answer: Interpretation, clean: CleanCommand) -> bool:
    """Whether an answer has the tool of the clean command, and at least the keywords found there.

    A clean command that leads to no tool cannot be recognised in anything: nothing is understood then.
    """
    return clean.tool is not None and answer.tool == clean.tool and set(clean.keywords) <= set(answer.keywords)
