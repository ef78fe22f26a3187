"""What no score shows: longer answers, lists of words, empty and cut responses. Read beside the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

STUFFED_TOOLS: Final = 5
"""A response that names this many distinct tools recites more than it answers."""
STUFFED_SHARE: Final = 0.05
MORE_TOOLS: Final = 1.0
"""Tools per response more than the base names that make a gain suspect."""
LENGTH_RATIO: Final = 1.5
BAD_SHARE: Final = 0.05
"""Share of empty, or of cut, responses that is worth a word."""

WarningCode = Literal["stuffing", "length", "empty", "cut"]
"""stuffing: the gain comes with more tools per response (`base`, `finetuned`), or with responses that name five or more
(`share`). length: the gain comes with longer responses (`base`, `finetuned` characters, `ratio`).
empty, cut: a `share` of the fine-tuned responses says nothing, or was cut (the base's: `base`).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFacts:
    """What is counted of one response."""

    characters: int
    tokens: int
    tools: int
    """Distinct tools named."""
    cut: bool
    """Ended by the token limit, or shortened afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDiagnostics:
    """Means and shares over all responses of an arm; None without a response."""

    responses: int
    mean_characters: float | None
    mean_tokens: float | None
    tools_per_response: float | None
    stuffed_share: float | None
    """Share of the responses that name `STUFFED_TOOLS` distinct tools or more."""
    empty_share: float | None
    cut_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticWarning:
    """One thing to know before believing a score, with its figures."""

    code: WarningCode
    values: Mapping[str, float] = field(default_factory=dict)


def describe_arm(responses: Sequence[ResponseFacts]) -> ArmDiagnostics:
    """Give back the means and shares over an arm's responses."""
    count = len(responses)

    def share(total: int) -> float | None:
        return total / count if count else None

    return ArmDiagnostics(
        responses=count,
        mean_characters=share(sum(response.characters for response in responses)),
        mean_tokens=share(sum(response.tokens for response in responses)),
        tools_per_response=share(sum(response.tools for response in responses)),
        stuffed_share=share(sum(response.tools >= STUFFED_TOOLS for response in responses)),
        empty_share=share(sum(response.characters == 0 for response in responses)),
        cut_share=share(sum(response.cut for response in responses)),
    )


def warn_about(base: ArmDiagnostics, finetuned: ArmDiagnostics, absolute_gain: float) -> tuple[DiagnosticWarning, ...]:
    """Give back what makes a gain suspect (only when there is one), and what is wrong with the responses themselves."""
    gain = _warn_about_gain(base, finetuned) if absolute_gain > 0 else ()
    return (*gain, *_warn_about_responses(base, finetuned))


def _warn_about_gain(base: ArmDiagnostics, finetuned: ArmDiagnostics) -> Iterator[DiagnosticWarning]:
    """Give back how a gain may have been had without a better answer."""
    before, after = base.tools_per_response or 0.0, finetuned.tools_per_response or 0.0
    stuffed = finetuned.stuffed_share or 0.0
    if after >= before + MORE_TOOLS or stuffed >= (base.stuffed_share or 0.0) + STUFFED_SHARE:
        yield DiagnosticWarning(code="stuffing", values={"base": before, "finetuned": after, "share": stuffed})
    short, long = base.mean_characters or 0.0, finetuned.mean_characters or 0.0
    if short > 0 and long >= LENGTH_RATIO * short:
        yield DiagnosticWarning(code="length", values={"base": short, "finetuned": long, "ratio": long / short})


def _warn_about_responses(base: ArmDiagnostics, finetuned: ArmDiagnostics) -> Iterator[DiagnosticWarning]:
    """Give back which responses are no answers."""
    empty, cut = finetuned.empty_share or 0.0, finetuned.cut_share or 0.0
    if empty >= BAD_SHARE:
        yield DiagnosticWarning(code="empty", values={"share": empty, "base": base.empty_share or 0.0})
    if cut >= BAD_SHARE:
        yield DiagnosticWarning(code="cut", values={"share": cut, "base": base.cut_share or 0.0})
