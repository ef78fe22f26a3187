"""What a response did, as a typed value with the reason that decided."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pytest_jarvis.types import OutcomeKind

OUTCOMES: tuple[OutcomeKind, ...] = get_args(OutcomeKind)

ReasonCode = Literal[
    "called",
    "other_tool",
    "other_action",
    "other_target",
    "other_value",
    "further_calls",
    "empty",
    "repeated_command",
    "announced",
    "agreed",
    "opposite_claimed",
    "other_claimed",
    "other_thing",
    "other_number",
    "further_deeds",
    "denied",
    "refused",
    "failed",
    "asked",
    "offered",
    "conditional",
    "advised",
    "explained",
    "no_claim",
    "named",
    "shape",
    "wording",
]
"""Of calls: called, other_tool, other_action, other_target, other_value, further_calls. Of the text as a whole: empty,
repeated_command. The rest name the group of signs that weighed most for the outcome against the next likely one:
announced (the deed is claimed), agreed (« c'est fait »), opposite_claimed, other_claimed, other_thing, other_number,
further_deeds, denied, refused, failed, asked, offered, conditional, advised (the person is told to do it), explained,
no_claim, named (which things are named), shape (length, lists), wording (single words).
"""


BY_CALL: Final[frozenset[ReasonCode]] = frozenset(
    {"called", "other_tool", "other_action", "other_target", "other_value", "further_calls"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one response did."""

    kind: OutcomeKind
    reason: ReasonCode
    tool: str | None = None
    """The tool of the deed that decided; None where nothing is done or no tool does it."""
    target: str | None = None
    """What it was done to, in the words of the response."""
    evidence: tuple[str, ...] = ()
    """Words of the response that the reason rests on, or the argument at fault."""
    probability: float = 1.0
    """How sure the model is, from 0 to 1; 1 where a rule decided."""
    announced: tuple[str, ...] = ()
    """The parts of the response that announce or report the wanted action, as canonical words."""

    @property
    def by_call(self) -> bool:
        """Whether a tool call decided."""
        return self.reason in BY_CALL

    @property
    def done(self) -> bool:
        """Whether this is what was asked for."""
        return self.kind == "done"
