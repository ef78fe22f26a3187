"""How several processes divide the prompts of a run, and how many responses each draws. Pure functions of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_jarvis.types import PromptCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cases that one process draws together: a category, or a part of one."""

    name: str
    cases: tuple[PromptCase, ...]


def group_cases(cases: Sequence[PromptCase], workers: int) -> list[Group]:
    """Return the cases by category, in their order; categories fewer than the workers are cut so that all have work.

    Every process that knows the same cases and the same count makes the same groups.
    """
    categories: dict[str, list[PromptCase]] = {}
    for case in cases:
        categories.setdefault(case.category, []).append(case)
    parts = -(-workers // len(categories)) if categories else 1
    groups = []
    for name, members in categories.items():
        size = -(-len(members) // parts)
        for number, start in enumerate(range(0, len(members), size), start=1):
            groups.append(Group(name=f"{name}/{number}", cases=tuple(members[start : start + size])))
    return groups


def cases_of_tests(nodeids: Sequence[str], cases: Sequence[PromptCase]) -> dict[str, PromptCase]:
    """Return the case of each test that has one, by the id that its parameter gave the test."""
    named = {f"{case.category}-{case.prompt_id}".encode("unicode_escape").decode("ascii"): case for case in cases}
    found: dict[str, PromptCase] = {}
    for nodeid in nodeids:
        parameters = nodeid.partition("[")[2].removesuffix("]").split("-")
        spans = (
            "-".join(parameters[start:end])
            for start in range(len(parameters))
            for end in range(len(parameters), start, -1)
        )
        if (name := next((span for span in spans if span in named), None)) is not None:
            found[nodeid] = named[name]
    return found


def one_look(looks: Sequence[int], recorded: int | None = None) -> tuple[int, ...]:
    """Return the one count of responses that processes draw which do not know each other's scores: the middle look.

    `recorded` responses are all that a replay has.
    """
    having = [look for look in looks if recorded is None or look <= recorded]
    return (having[len(having) // 2],) if having else tuple(looks[:1])
