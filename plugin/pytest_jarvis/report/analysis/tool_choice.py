"""Tool choices of the arms: pure functions of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from pytest_jarvis.metrics.tool_choice import RIGHT, Routing, RoutingReason
from pytest_jarvis.report.schema import Report, ResultRow

NO_TOOL: Final = ""
"""Stands for "no tool" in a confusion matrix."""

REASON_MARK: Final = "?"
"""Prefix of a reason that stands in the matrix for want of a single known tool. No tool's name has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """The tools chosen where one tool was expected, by arm."""

    expected: str
    """A tool, or `NO_TOOL`."""
    prompts: int
    base: Mapping[str, int]
    """Choice (a tool, `NO_TOOL`, or `REASON_MARK` and a reason) -> number of responses."""
    finetuned: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingInsight:
    """Tool choice of one adapter against the base: the detail of the metric `tool_routing`."""

    reasons: Mapping[RoutingReason, tuple[int, int]]
    """Number of responses of the base and of the adapter by reason, right ones first, then by number."""
    confusions: tuple[Confusion, ...]
    """By expected tool, in the order of the prompts, no tool last."""


def routing_insight(rows: Sequence[ResultRow]) -> RoutingInsight:
    """Return the tool choices in the measured rows of one adapter."""
    return RoutingInsight(reasons=_count_reasons(rows), confusions=tuple(_confusions(rows)))


def offers_tools(report: Report) -> bool:
    """Return whether the model was offered tools, so that its calls were judged and not its words."""
    return bool(report.provenance.generation.tools)


def cell_of(routing: Routing) -> str:
    """Return the column of a response in the confusion matrix."""
    if routing.reason in {"right_silence", "no_call"}:
        return NO_TOOL
    if routing.tool is None or routing.reason == "unknown_tool":
        return f"{REASON_MARK}{'tie' if routing.reason == 'unwanted_call' else routing.reason}"
    return routing.tool


def _routings(row: ResultRow, *, of_base: bool) -> Iterator[Routing]:
    for sample in row.samples:
        if sample.routing is not None and (sample.arm != row.adapter) == of_base:
            yield sample.routing


def _count_reasons(rows: Sequence[ResultRow]) -> dict[RoutingReason, tuple[int, int]]:
    base, tuned = (
        Counter(one.reason for row in rows for one in _routings(row, of_base=of_base)) for of_base in (True, False)
    )
    seen: list[RoutingReason] = [reason for reason in get_args(RoutingReason) if reason in base | tuned]
    seen.sort(key=lambda reason: 0 if reason in RIGHT else 1 / (base[reason] + tuned[reason]))
    return {reason: (base[reason], tuned[reason]) for reason in seen}


def _confusions(rows: Sequence[ResultRow]) -> Iterator[Confusion]:
    judged = [row for row in rows if any(sample.routing is not None for sample in row.samples)]
    wanted = dict.fromkeys(_wanted(row) for row in judged)
    for tool in sorted(wanted, key=lambda name: name == NO_TOOL):
        own = [row for row in judged if _wanted(row) == tool]
        base, tuned = (
            Counter(cell_of(one) for row in own for one in _routings(row, of_base=of_base)) for of_base in (True, False)
        )
        yield Confusion(expected=tool, prompts=len(own), base=dict(base), finetuned=dict(tuned))


def _wanted(row: ResultRow) -> str:
    return NO_TOOL if row.no_tool or row.expected_tool is None else row.expected_tool
