"""Changes from the base to one adapter, prompt by prompt: rises and drops, proven ones, flips. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

from pytest_jarvis.metrics.registry import DEEDS, KEYWORDS, RELEVANCE, TOOL_ROUTING
from pytest_jarvis.report.analysis.metrics import MetricComparison, compare_pairs, pair_values
from pytest_jarvis.report.schema import Report, ResultRow, Sample
from pytest_jarvis.stats.ranking import find_worse_prompts

TOP_CHANGES: Final = 5  # How many prompts a list of improvements or weaknesses holds at most.

Criterion = Literal["deeds", "expected_tool", "all_keywords"]
"""When a response is right. deeds: it did what was asked. expected_tool, in reports without deeds: it chose the tool
the prompt wants, or none where it wants none; not judged, the tool it names most is the one the prompt wants.
all_keywords: every keyword of the prompt is found in it."""

_ROUNDING: Final = 1e-12
_NONE: Final = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptChange:
    """The change of one prompt: of the deeds done or, where they were not judged, of the relevance."""

    row: ResultRow
    metric: str
    change: float
    """Mean of the fine-tuned arm less the base's, of the metric."""
    order: tuple[float, ...]
    """The changes by which prompts are ordered: deeds, keywords, relevance."""
    share_done: float | None
    """Share of the fine-tuned responses that did what was asked."""
    p_worse: float | None
    """Set when the prompt got worse by more than noise explains (Holm over all prompts): its one-sided p-value."""

    @property
    def proven_worse(self) -> bool:
        """Whether the drop is more than noise."""
        return self.p_worse is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One prompt that only one arm answers right, that is in more than half of its responses."""

    row: ResultRow
    base_right: int
    base_responses: int
    finetuned_right: int
    finetuned_responses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Prompts that changed between wrong and right, by one criterion."""

    criterion: Criterion
    prompts: int
    """Prompts the criterion applies to, measured in both arms."""
    base_right: int
    """Prompts the base gets right: in more than half of its responses."""
    finetuned_right: int
    gained: tuple[Flip, ...]
    """Wrong in the base, right in the fine-tuned arm."""
    lost: tuple[Flip, ...]
    """Right in the base, wrong in the fine-tuned arm."""
    share: MetricComparison
    """Share of right responses, in [0, 1]."""


def is_right(sample: Sample, row: ResultRow, criterion: Criterion) -> bool | None:
    """Return whether a response is right by `criterion`; None where it does not apply or was not measured."""
    if criterion == "deeds":
        return None if (done := sample.score(DEEDS)) is None else done == 1
    if criterion == "expected_tool":
        if (choice := sample.score(TOOL_ROUTING)) is not None:
            return choice == 1
        return None if row.expected_tool is None else sample.tools_named[:1] == (row.expected_tool,)
    match = sample.score(KEYWORDS)
    return None if match is None else match >= 1 - _ROUNDING


def find_changes(report: Report, rows: Sequence[ResultRow], *, shared_noise: bool = True) -> tuple[PromptChange, ...]:
    """Return the change of each row measured in both arms, in the rows' order."""
    scored = []
    for row in rows:
        pairs = {name: pair_values(row, name) for name in (DEEDS, KEYWORDS, RELEVANCE)}
        metric = DEEDS if all(pairs[DEEDS]) else RELEVANCE
        if all(pairs[metric]):
            scored.append((row, metric, pairs))
    if not scored:
        return ()
    worse = find_worse_prompts(
        [pairs[metric][0] for _, metric, pairs in scored],
        [pairs[metric][1] for _, metric, pairs in scored],
        [row.prompt_id for row, _, _ in scored],
        alpha=report.metadata.plan.alpha,
        shared_noise=shared_noise,
        deterministic=report.provenance.generation.is_greedy,
    )
    p_values = {prompt.prompt_id: prompt.p_value for prompt in worse}
    found = []
    for row, metric, pairs in scored:
        changes = {
            name: round(fmean(tuned) - fmean(base), 12) if base else 0.0 for name, (base, tuned) in pairs.items()
        }
        done = pairs[DEEDS][1]
        found.append(
            PromptChange(
                row=row,
                metric=metric,
                change=changes[metric],
                order=tuple(changes.values()),
                share_done=fmean(done) if done else None,
                p_worse=p_values.get(row.prompt_id),
            )
        )
    return tuple(found)


def pick_improvements(changes: Sequence[PromptChange]) -> tuple[PromptChange, ...]:
    """Return the highest rises, at most `TOP_CHANGES`, without prompts whose responses mostly do the wrong thing."""
    risen = [one for one in changes if one.order > _NONE and (one.share_done is None or one.share_done > 0.5)]
    return tuple(sorted(risen, key=lambda one: tuple(-part for part in one.order))[:TOP_CHANGES])


def pick_weaknesses(changes: Sequence[PromptChange], improvements: Sequence[PromptChange]) -> tuple[PromptChange, ...]:
    """Return the lowest other changes, at most `TOP_CHANGES`, without prompts always done and never better."""
    named = {change.row.prompt_id for change in improvements}
    others = [
        one for one in changes if one.row.prompt_id not in named and not (one.share_done == 1 and one.change >= 0)
    ]

    def order(one: PromptChange) -> tuple[float, ...]:
        return (one.change, one.share_done or 0.0, *one.order, one.row.figure(RELEVANCE).finetuned or 0.0)

    return tuple(sorted(others, key=order)[:TOP_CHANGES])


def find_flips(
    rows: Sequence[ResultRow], criterion: Criterion, alpha: float, *, shared_noise: bool = True
) -> Flips | None:
    """Return the flips; None where the criterion applies to no prompt measured in both arms."""
    pairs = []
    flips: list[Flip] = []
    for row in rows:

        def right(sample: Sample, row: ResultRow = row) -> float | None:
            verdict = is_right(sample, row, criterion)
            return None if verdict is None else float(verdict)

        pair = pair_values(row, right)
        if not all(pair):
            continue
        pairs.append(pair)
        base, tuned = pair
        flips.append(
            Flip(
                row=row,
                base_right=int(sum(base)),
                base_responses=len(base),
                finetuned_right=int(sum(tuned)),
                finetuned_responses=len(tuned),
            )
        )
    if not flips:
        return None
    before = [2 * flip.base_right > flip.base_responses for flip in flips]
    after = [2 * flip.finetuned_right > flip.finetuned_responses for flip in flips]
    return Flips(
        criterion=criterion,
        prompts=len(flips),
        base_right=sum(before),
        finetuned_right=sum(after),
        gained=tuple(flip for flip, was, now in zip(flips, before, after, strict=True) if now and not was),
        lost=tuple(flip for flip, was, now in zip(flips, before, after, strict=True) if was and not now),
        share=compare_pairs(
            [base for base, _ in pairs], [tuned for _, tuned in pairs], alpha, shared_noise=shared_noise
        ),
    )
