"""Misheard commands: whether a response does what the same arm does for the clean command."""

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
"""Prefix of the ids of clean commands that are generated for comparison alone; no prompt's id has a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """Tool and keywords of one response."""

    tool: str | None
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanCommand:
    """What one arm does for a clean command, by majority of its responses."""

    responses: int
    tool: str | None
    """The tool of more than half of the responses; without one nothing counts as understood."""
    keywords: tuple[str, ...]
    """Keywords of the misheard prompt in more than half of the responses."""
    text: str
    """The first response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanPlan:
    """The clean form of each misheard prompt, and the prompts that must be added for it."""

    clean_id: Mapping[str, str] = field(default_factory=dict)
    """Id of a misheard prompt -> id of its clean form."""
    extra: tuple[PromptCase, ...] = ()
    """Clean commands that are no prompts of the plan."""


def clean_prompt_id(intended: str) -> str:
    """Return the id of a clean command, the same for all misheard prompts that stand for it."""
    return f"{_CLEAN_PREFIX}{sha256(canonical(intended).encode()).hexdigest()[:12]}"


def plan_clean_commands(cases: Sequence[PromptCase]) -> CleanPlan:
    """Return the clean form of each misheard prompt; those not among `cases` are extra, each once."""
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
    """Return what more than half of the responses to a clean command share; None without a response."""
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
    """Return the tool (called where tools were offered, else named) and the keywords of a response."""
    return Interpretation(tool=chosen_tool(response.tool_calls, score.named_most), keywords=score.keywords_found)


def is_understood(answer: Interpretation, clean: CleanCommand) -> bool:
    """Return whether a response has the tool of the clean command, and at least the keywords found there.

    Without a tool in the responses to the clean command nothing counts as understood.
    """
    return clean.tool is not None and answer.tool == clean.tool and set(clean.keywords) <= set(answer.keywords)
