"""Tool choice: whether a response called or named the right tool, with a typed reason."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pytest_jarvis.metrics.deeds.outcome import Outcome
from pytest_jarvis.text import value_allowed
from pytest_jarvis.types import MalformedCode, PromptCase, Tool, ToolCall

RoutingReason = Literal[
    "right_tool",
    "right_silence",
    "wrong_tool",
    "no_call",
    "unwanted_call",
    "several_calls",
    "tie",
    "unknown_tool",
    "missing_argument",
    "unexpected_argument",
    "wrong_argument",
    "malformed_call",
]
"""right_tool: the expected tool, with valid arguments where it is called. right_silence: none expected, none called.
wrong_tool: another tool. no_call: a tool expected, none called (or named). unwanted_call: none expected, one called (or
named). several_calls: more than one call, or several deeds. tie: in older reports. unknown_tool: a tool not offered.
missing_argument, unexpected_argument, wrong_argument: the right tool, but a required argument is missing, an argument
is not in the schema, or a value is not allowed by the schema or the prompt. malformed_call: a call that cannot be read.
"""

RIGHT: Final[frozenset[RoutingReason]] = frozenset({"right_tool", "right_silence"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How one response chose its tool."""

    reason: RoutingReason
    tool: str | None = None
    """The one tool called, or that of the deed; None without exactly one."""
    argument: str | None = None
    """The argument that is missing, unexpected or wrong."""
    problem: MalformedCode | None = None
    """Why a call could not be read."""

    @property
    def right(self) -> bool:
        """Whether it is the choice that the prompt wants."""
        return self.reason in RIGHT


def is_judged(case: PromptCase) -> bool:
    """Return whether the prompt states its one tool, or that it wants none."""
    return case.no_tool or (case.expected_tool is not None and not case.also)


def judge_calls(calls: Sequence[ToolCall], case: PromptCase, tools: Mapping[str, Tool]) -> Routing | None:
    """Judge the calls of a response given the tools offered, by name; None for a prompt that states no tool.

    The first reason that holds is returned, in this order: number of calls, well-formed, tool exists, tool wanted, then
    arguments (missing, unexpected, wrong).
    """
    if not is_judged(case):
        return None
    if not calls:
        return Routing(reason="right_silence" if case.no_tool else "no_call")
    if len(calls) > 1:
        return Routing(reason="several_calls")
    return _judge_call(calls[0], case, tools)


def _judge_call(call: ToolCall, case: PromptCase, tools: Mapping[str, Tool]) -> Routing:
    if call.problem is not None or call.name is None:
        return Routing(reason="malformed_call", problem=call.problem)
    if call.name not in tools:
        return Routing(reason="unknown_tool", tool=call.name)
    if case.no_tool:
        return Routing(reason="unwanted_call", tool=call.name)
    if call.name != case.expected_tool:
        return Routing(reason="wrong_tool", tool=call.name)
    fault = _argument_fault(call.arguments, case.expected_arguments or {}, tools[call.name].parameters)
    reason, argument = fault or ("right_tool", "")
    return Routing(reason=reason, tool=call.name, argument=argument or None)


def routing_of(outcome: Outcome, case: PromptCase) -> Routing | None:
    """Return the tool choice that a text's outcome shows; None for a prompt that states no tool."""
    if not is_judged(case):
        return None
    other = outcome.tool if outcome.tool != case.expected_tool else None
    if case.no_tool:
        silent = outcome.kind in {"done", "not_done"}
        return Routing(reason="right_silence") if silent else Routing(reason="unwanted_call", tool=outcome.tool)
    if outcome.kind in {"done", "wrong_target"}:
        return Routing(reason="right_tool", tool=case.expected_tool)
    if outcome.kind == "wrong_action":
        return Routing(reason="wrong_tool", tool=other)
    return Routing(reason="several_calls" if outcome.kind == "several" else "no_call")


def unfit_argument(given: Mapping[str, object], schema: Mapping[str, object]) -> str | None:
    """Return the first argument, in the order given, whose value the JSON schema does not allow.

    Empty when the arguments do not fit together, None when all fit. A `$ref` to elsewhere is not fetched, and nothing
    fits it, nor what is no schema.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import UnknownType
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        errors = list(Draft202012Validator(dict(schema), registry=Registry()).iter_errors(dict(given)))
    except (Unresolvable, UnknownType, re.error, RecursionError, TypeError):
        return ""
    names = {str(error.absolute_path[0]) if error.absolute_path else "" for error in errors}
    return next((name for name in (*given, "") if name in names), None)


def _argument_fault(
    given: Mapping[str, object], expected: Mapping[str, object], schema: Mapping[str, object]
) -> tuple[RoutingReason, str] | None:
    """Return why the arguments of a call of the right tool are wrong, and which."""
    required, declared = schema.get("required"), schema.get("properties")
    known = declared if isinstance(declared, Mapping) else {}
    for name in (*(required if isinstance(required, Sequence) else ()), *expected):
        if name not in given:
            return ("missing_argument", str(name))
    if not schema.get("additionalProperties", False):
        for name in given:
            if name not in known:
                return ("unexpected_argument", name)
    if (unfit := unfit_argument(given, schema)) is not None:
        return ("wrong_argument", unfit)
    for name, wanted in expected.items():
        if not value_allowed(given[name], wanted):
            return ("wrong_argument", name)
    return None
