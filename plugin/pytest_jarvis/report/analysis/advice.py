"""Advice: effect level of the adapter and its certainty, suspicious responses, the weakest category."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pytest_jarvis.report.schema import Report, ResultRow, Sample
from pytest_jarvis.stats.contrasts import Scores, Target, upper_tail
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.estimates import MeanEstimate, estimate_mean

STUFFED_TOOLS: Final = 5  # Distinct tools from which on a response is a recital rather than an answer.
STUFFED_SHARE: Final = 0.05
MORE_TOOLS: Final = 1.0  # Additional tools per response, against the base, that make a gain suspect.
LENGTH_RATIO: Final = 1.5
BAD_SHARE: Final = 0.05  # Share of empty, or of cut, responses that deserves a warning.

WarningCode = Literal["stuffing", "length", "empty", "cut"]
"""stuffing: the gain comes with more tools per response (`base`, `finetuned`), or with responses that name five or more
(`share`). length: the gain comes with longer responses (`base`, `finetuned` characters, `ratio`).
empty, cut: a `share` of the fine-tuned responses says nothing, or was cut (the base's: `base`).
"""


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
    """Share of the responses ended by the token limit, or shortened afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticWarning:
    """A reason to doubt a score, with its figures."""

    code: WarningCode
    values: Mapping[str, float] = field(default_factory=dict)


def describe_arm(samples: Sequence[Sample]) -> ArmDiagnostics:
    """Return the means and shares over an arm's responses."""

    def average(values: Iterable[int | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    return ArmDiagnostics(
        responses=len(samples),
        mean_characters=average(len(one.text) for one in samples),
        mean_tokens=average(one.response.new_tokens for one in samples),
        tools_per_response=average(len(one.tools_named) for one in samples),
        stuffed_share=average(len(one.tools_named) >= STUFFED_TOOLS for one in samples),
        empty_share=average(not one.text for one in samples),
        cut_share=average(one.response.finish_reason != "stop" or one.response.cut_chars > 0 for one in samples),
    )


def warn_about(base: ArmDiagnostics, finetuned: ArmDiagnostics, absolute_gain: float) -> tuple[DiagnosticWarning, ...]:
    """Return why a gain, if any, is suspect, and which responses are no answers."""
    gain = _warn_about_gain(base, finetuned) if absolute_gain > 0 else ()
    return (*gain, *_warn_about_responses(base, finetuned))


def find_warnings(report: Report) -> list[tuple[str, DiagnosticWarning]]:
    """Return the warnings of each adapter, by its name."""
    found = []
    for name in report.metadata.adapters:
        decision = report.decisions.get(name)
        gain = decision.absolute_gain if decision else 0.0
        found += [(name, warning) for warning in warn_about(*describe_arms(report.of_adapter(name)), gain)]
    return found


def describe_arms(rows: Sequence[ResultRow]) -> tuple[ArmDiagnostics, ArmDiagnostics]:
    """Return the means and shares of base and adapter over measured rows."""
    samples = [(one, one.arm == row.adapter) for row in rows if row.measured for one in row.samples]
    base, tuned = (describe_arm([one for one, is_tuned in samples if is_tuned is wanted]) for wanted in (False, True))
    return base, tuned


def _warn_about_gain(base: ArmDiagnostics, finetuned: ArmDiagnostics) -> Iterator[DiagnosticWarning]:
    before, after = base.tools_per_response or 0.0, finetuned.tools_per_response or 0.0
    stuffed = finetuned.stuffed_share or 0.0
    if after >= before + MORE_TOOLS or stuffed >= (base.stuffed_share or 0.0) + STUFFED_SHARE:
        yield DiagnosticWarning(code="stuffing", values={"base": before, "finetuned": after, "share": stuffed})
    short, long = base.mean_characters or 0.0, finetuned.mean_characters or 0.0
    if short > 0 and long >= LENGTH_RATIO * short:
        yield DiagnosticWarning(code="length", values={"base": short, "finetuned": long, "ratio": long / short})


def _warn_about_responses(base: ArmDiagnostics, finetuned: ArmDiagnostics) -> Iterator[DiagnosticWarning]:
    empty, cut = finetuned.empty_share or 0.0, finetuned.cut_share or 0.0
    if empty >= BAD_SHARE:
        yield DiagnosticWarning(code="empty", values={"share": empty, "base": base.empty_share or 0.0})
    if cut >= BAD_SHARE:
        yield DiagnosticWarning(code="cut", values={"share": cut, "base": base.cut_share or 0.0})


AdviceCode = Literal["EFFICACE", "MODERE", "INSUFFISANT"]
"""A gain above 10 %, from 5 to 10 %, below 5 %."""

EFFECTIVE_GAIN: Final = 0.10
MODERATE_GAIN: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The effect level, observed and proven."""

    code: AdviceCode
    """By the observed gain."""
    proven: bool
    """The interval proves at least as much (for INSUFFISANT: it lies under 5 %)."""
    proven_code: AdviceCode | None
    """The level that the interval proves: above 10 %, at least 5 %, below 5 %, or none."""
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakestCategory:
    """The category in which the adapter scores lowest."""

    category: str
    metric: str
    estimate: MeanEstimate
    others_mean: float
    """Mean over the prompts of all other categories."""
    shown: bool
    """The category is below the others by more than noise explains."""


def advise(decision: Decision) -> Advice:
    """Return the level of the observed gain, and the level that the judged interval proves."""
    code = _level_seen(decision)
    proven = _level_proven(decision)
    return Advice(code=code, proven=code == proven, proven_code=proven, gain=decision.gain)


def _level_seen(decision: Decision) -> AdviceCode:
    """Return the level of the point estimate; any score over a base of 0 is an unlimited gain."""
    if decision.gain is None:
        return "EFFICACE" if decision.finetuned_mean > 0 else "INSUFFISANT"
    gain = round(decision.gain, 12)  # 0.55 / 0.5 - 1 is not above 10 %
    return "EFFICACE" if gain > EFFECTIVE_GAIN else "MODERE" if gain >= MODERATE_GAIN else "INSUFFISANT"


def _level_proven(decision: Decision) -> AdviceCode | None:
    """Return the level proven by the interval or, without one, by the verdict on `min_gain`."""
    interval = decision.judged_interval
    if interval is not None:
        lower, upper = round(interval[0], 12), round(interval[1], 12)
    elif decision.verdict == "PASS":
        lower, upper = (math.inf if decision.base_mean == 0 else decision.min_gain), math.inf
    elif decision.verdict == "FAIL":
        lower, upper = -1.0, -1.0 if decision.ground == "nothing_to_compare" else decision.min_gain
    else:
        return None
    if lower >= MODERATE_GAIN:
        return "EFFICACE" if lower > EFFECTIVE_GAIN else "MODERE"
    return "INSUFFISANT" if upper <= MODERATE_GAIN else None


def find_weakest_category(
    finetuned: Mapping[str, Scores], metric: str, *, alpha: float = 0.05, target: Target = "these"
) -> WeakestCategory | None:
    """Return the category (of at least two, else None) with the lowest mean of a metric over its prompts.

    It is shown to be the weakest when the one-sided test of Welch (1947) against the prompts of all other categories
    rejects at `alpha` divided by the number of categories (Bonferroni, as the lowest was picked after the fact).
    ValueError for scores that cannot be used.
    """
    if len(finetuned) < 2:
        return None
    estimates = {name: estimate_mean(scores, alpha=alpha, target=target) for name, scores in finetuned.items()}
    weakest = min(estimates, key=lambda name: estimates[name].mean)
    rest = [prompt for name, scores in finetuned.items() if name != weakest for prompt in scores]
    others = estimate_mean(rest, alpha=alpha, target=target)
    return WeakestCategory(
        category=weakest,
        metric=metric,
        estimate=estimates[weakest],
        others_mean=others.mean,
        shown=_is_below(estimates[weakest], others, alpha / len(finetuned)),
    )


def _is_below(low: MeanEstimate, high: MeanEstimate, alpha: float) -> bool:
    """Return whether one of two independent means is lower by more than noise explains."""
    if low.standard_error is None or high.standard_error is None:
        return False
    parts = [(one.standard_error**2, one.df) for one in (low, high) if one.standard_error and one.df]
    variance = math.fsum(part for part, _ in parts)
    if variance == 0:
        return low.mean < high.mean
    df = variance**2 / math.fsum(part**2 / own for part, own in parts)
    return upper_tail((high.mean - low.mean) / math.sqrt(variance), df) <= alpha
