"""Split a generated answer into thinking, text and tool calls; the same for every engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from pytest_jarvis.types import ToolCall

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The parts of an answer; `text` is None when the thinking never closed."""

    text: str | None
    thinking: str | None
    cut_chars: int
    tool_calls: tuple[ToolCall, ...] | None = None
    """Calls in the whole answer; None when no tools were offered."""


def split_answer(said: str, *, thinking_open: bool, max_chars: int, with_calls: bool = False) -> Answer:
    """Return the parts of a generated text; `text` is None when thinking began and did not close.

    `with_calls` reads the tool calls, before the text is cut.
    """
    said = said.strip()
    thinking: str | None = None
    if thinking_open or said.startswith(OPEN):
        block, closed, said = said.removeprefix(OPEN).partition(CLOSE)
        thinking = block.strip() or None
        if not closed:
            return Answer(text=None, thinking=thinking, cut_chars=0)
        said = said.strip()
    cut = max(0, len(said) - max_chars)
    calls = read_calls(said) if with_calls else None
    return Answer(text=said[:max_chars], thinking=thinking, cut_chars=cut, tool_calls=calls)


OPEN_CALL: Final = "<tool_call>"
CLOSE_CALL: Final = "</tool_call>"
_BLOCK: Final = re.compile(r"<tool_call>(.*?)(</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)


def read_calls(text: str) -> tuple[ToolCall, ...]:
    """Return the calls of a text in order: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.

    Each opening tag is a call; one that cannot be read has a `problem`. Arguments default to none. JSON outside of the
    tags is text.
    """
    calls = [_read_call(block, closed=bool(end)) for block, end in _BLOCK.findall(text)]
    if not calls and CLOSE_CALL in text:
        calls = [ToolCall(name=None, problem="not_opened")]
    return tuple(calls)


def _read_call(block: str, *, closed: bool) -> ToolCall:
    if not closed:
        return ToolCall(name=None, problem="not_closed")
    try:
        call = msgspec.json.decode(block.strip())  # strict: no NaN, no lone surrogate, which no file can hold
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return ToolCall(name=None, problem="not_json")
    if not isinstance(call, dict):
        return ToolCall(name=None, problem="not_object")
    name, arguments = call.get("name"), call.get("arguments", {})
    if not isinstance(name, str) or not name.strip():
        return ToolCall(name=None, problem="no_name")
    if not isinstance(arguments, dict):
        return ToolCall(name=name.strip(), problem="arguments_not_object")
    return ToolCall(name=name.strip(), arguments=arguments)
