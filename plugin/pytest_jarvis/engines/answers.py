"""An answer as a model said it, parted into thinking and text; the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pytest_jarvis.records import ToolCall
from pytest_jarvis.routing import read_calls

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a row said: `text` is None when its thinking never closed."""

    text: str | None
    thinking: str | None
    cut_chars: int
    tool_calls: tuple[ToolCall, ...] | None = None
    """Those of the whole answer; None when no tools were offered."""


def split_answer(said: str, *, thinking_open: bool, max_chars: int, with_calls: bool = False) -> Answer:
    """Return the answer and the thinking in `said`; an answer with `text` None began to think and did not finish.

    `with_calls` reads the tool calls of the answer, before it is cut.
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


def never_closed(tokens: int) -> str:
    """Return why an answer of `tokens` tokens that began to think and did not finish is a failure."""
    return f"the thinking block was not closed within {tokens} tokens; raise max_new_tokens or turn thinking off"
