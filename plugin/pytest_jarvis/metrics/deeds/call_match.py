"""Tool calls against the wish: the tool that was meant, with what and how much was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_jarvis.metrics.deeds.lexicon import Lexicon
from pytest_jarvis.metrics.deeds.match import compare_values
from pytest_jarvis.metrics.deeds.numbers import Quantity, quantities
from pytest_jarvis.metrics.deeds.sentences import read_sentences
from pytest_jarvis.metrics.deeds.wish import Namer, Wish
from pytest_jarvis.metrics.tool_choice import value_allowed
from pytest_jarvis.types import PromptCase, Tool, ToolCall

CallFault = Literal["other_tool", "other_action", "other_target", "other_value"]
"""other_tool: not the tool that was meant. other_action: that tool, told to do something else (a choice, yes or no).
other_target, other_value: an argument that names another thing, or another number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMatch:
    """One call, judged; without a fault it is the deed that was meant."""

    call: ToolCall
    fault: CallFault | None
    argument: str | None = None
    """The argument that is at fault."""


def match_call(
    call: ToolCall, case: PromptCase, wish: Wish, namer: Namer, *, tools: Mapping[str, Tool], lexicon: Lexicon
) -> CallMatch:
    """Judge one call: its tool, then each argument as the prompt expects it, else as the command names it."""
    if call.name != wish.tool:
        return CallMatch(call=call, fault="other_tool")
    own = tools.get(wish.tool or "")
    declared = own.parameters.get("properties") if own else None
    schemas = declared if isinstance(declared, Mapping) else {}
    expected = case.expected_arguments or {}
    for name, value in call.arguments.items():
        if name in expected and value_allowed(value, expected[name]):
            continue
        fault = _fault(name, value, expected, schemas.get(name), wish)
        if fault is None and isinstance(value, str) and not _is_choice(schemas.get(name)):
            fault = _text_fault(value, wish, namer, lexicon)
        if fault is not None:
            return CallMatch(call=call, fault=fault, argument=name)
    return CallMatch(call=call, fault=None)


def _is_choice(schema: object) -> bool:
    return isinstance(schema, Mapping) and ("enum" in schema or schema.get("type") == "boolean")


def _fault(name: str, value: object, expected: Mapping[str, object], schema: object, wish: Wish) -> CallFault | None:
    """Judge a choice or a number that is not the expected one; a « no » where nothing is expected undoes the deed."""
    if _is_choice(schema):
        return "other_action" if name in expected or value is False else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number_fault(name, float(value), expected, wish)
    return None


def _number_fault(name: str, value: float, expected: Mapping[str, object], wish: Wish) -> CallFault | None:
    """Return a fault where a number was said and is another; a value that nobody gave is free."""
    scale = {"minutes": 60.0, "minute": 60.0, "hours": 3600.0, "heures": 3600.0}.get(name, 1.0)
    wanted = {one.value for one in wish.quantities}
    if name not in expected and not wanted:
        return None
    return None if value * scale in wanted or value in wanted else "other_value"


def _text_fault(value: str, wish: Wish, namer: Namer, lexicon: Lexicon) -> CallFault | None:
    words = [word for sentence in read_sentences(value) for word in sentence.words]
    said: Sequence[Quantity] = quantities([word.plain for word in words])
    if said and wish.quantities and compare_values(said, wish) == "conflict":
        return "other_value"
    hits = {slot for word in words for slot in namer.slots(word.stem)}
    specific = {number for number, slot in enumerate(wish.slots) if slot.specific}
    named = [word for word in words if len(word.plain) > 2 and word.plain not in lexicon.words["function"]]
    if not named or not wish.slots or hits >= specific or (not specific and hits):
        return None
    foreign = [word for word in named if not namer.slots(word.stem) and word.plain not in wish.spoken]
    return "other_target" if foreign or not hits else None
