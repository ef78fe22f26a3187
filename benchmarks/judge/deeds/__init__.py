"""The judge of deeds: what a response did, as a typed outcome with the reason that decided."""

from deeds.judge import Judge
from deeds.outcome import OUTCOMES, Outcome, OutcomeKind, ReasonCode
from deeds.tools import tool_words
from deeds.wish import ToolWords

__all__ = ["OUTCOMES", "Judge", "Outcome", "OutcomeKind", "ReasonCode", "ToolWords", "tool_words"]
