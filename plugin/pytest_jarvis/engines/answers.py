"""An answer as a model said it, parted into thinking and text; the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPEN: Final = "<think>"
CLOSE: Final = "</think>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a row said: `text` is None when its thinking never closed."""

    text: str | None
    thinking: str | None
    cut_chars: int


def split_answer(said: str, *, thinking_open: bool, max_chars: int) -> Answer:
    """Return the answer and the thinking in `said`; an answer with `text` None began to think and did not finish."""
    said = said.strip()
    thinking: str | None = None
    if thinking_open or said.startswith(OPEN):
        block, closed, said = said.removeprefix(OPEN).partition(CLOSE)
        thinking = block.strip() or None
        if not closed:
            return Answer(text=None, thinking=thinking, cut_chars=0)
        said = said.strip()
    cut = max(0, len(said) - max_chars)
    return Answer(text=said[:max_chars], thinking=thinking, cut_chars=cut)


def never_closed(tokens: int) -> str:
    """Return why an answer of `tokens` tokens that began to think and did not finish is a failure."""
    return f"the thinking block was not closed within {tokens} tokens; raise max_new_tokens or turn thinking off"
