"""What a saved report recorded, ready to be scored again: responses, failures, cosines, and what made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pytest_jarvis.records import (
    BASE_ARM,
    TWIN_ARM,
    TWIN_REPLICATES,
    EngineDescription,
    Failure,
    Response,
    ResponseKey,
    Stage,
)
from pytest_jarvis.report import FailureRow, Report, Sample
from pytest_jarvis.understanding import clean_prompt_id

CosineDetail = Literal["responses", "prompts", "none"]
"""Which cosines a report holds: of each pair of responses, only the mean of each prompt (older reports), or none."""

PairKey = tuple[str, str, int]
"""Prompt id, adapter, replicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The responses of one run. Scores are not here: they are made again."""

    engine: EngineDescription
    """What the engine said of itself then."""
    texts: Mapping[str, str]
    """Prompt id -> what was asked."""
    clean_texts: Mapping[str, str]
    """The same of the clean commands that were drawn for a comparison; they are no prompts of the run."""
    outcomes: Mapping[ResponseKey, Response | Failure]
    """By the key of the request that an engine is sent for it: the twin's are requests of the base."""
    reused: frozenset[ResponseKey]
    """The responses that were the store's then, by their own key: the twin's are the twin's."""
    replicates: int
    """Responses per prompt and arm that were drawn whole."""
    cosine_detail: CosineDetail
    cosines: Mapping[PairKey, float]
    """Of each pair of responses, where the report has them."""
    prompt_cosines: Mapping[tuple[str, str], float]
    """The mean of each prompt and adapter, where the report has no more."""
    mismatched_cosine: float | None
    timings_s: Mapping[str, float]

    def cosines_of(self, prompt_id: str, adapter: str, replicates: Sequence[int]) -> dict[int, float]:
        """Return the cosines of these replicates, those that were measured."""
        found = {number: self.cosines.get((prompt_id, adapter, number)) for number in replicates}
        return {number: cosine for number, cosine in found.items() if cosine is not None}


def read_recording(report: Report) -> Recording:
    """Return what a report recorded; a response whose metric raised is a response all the same."""
    outcomes: dict[ResponseKey, Response | Failure] = {}
    for row in report.failures:
        if row.stage != "score":
            failure = _failure(row)
            outcomes[failure.key] = failure
    cosines: dict[PairKey, float] = {}
    reused: set[ResponseKey] = set()
    for result in report.results:
        clean_id = clean_prompt_id(result.intended or "")
        named = [(result.prompt_id, sample) for sample in result.samples]
        for prompt_id, sample in [*named, *((clean_id, sample) for sample in result.clean_samples)]:
            response = _response(prompt_id, sample)
            outcomes[response.key] = response
            if sample.reused:
                reused.add((prompt_id, sample.arm, sample.replicate))
        for sample in result.samples:
            if sample.cosine is not None:
                cosines[result.prompt_id, result.adapter, sample.replicate] = sample.cosine
    means = {
        (row.prompt_id, row.adapter): row.cosine_similarity_score
        for row in report.results
        if row.cosine_similarity_score is not None
    }
    drawn = report.metadata.samples_per_prompt
    return Recording(
        engine=report.provenance.engine,
        texts={row.prompt_id: row.prompt for row in report.results},
        clean_texts={clean_prompt_id(row.intended): row.intended for row in reversed(report.results) if row.intended},
        outcomes=outcomes,
        reused=frozenset(reused),
        # A run that was stopped in its first look has drawn none whole; what there is of it is that look.
        replicates=drawn or report.metadata.plan.looks[0],
        cosine_detail="responses" if cosines else "prompts" if means else "none",
        cosines=cosines,
        prompt_cosines=means,
        mismatched_cosine=report.provenance.mismatched_cosine,
        timings_s=report.provenance.timings_s,
    )


def _key_of_request(arm: str, replicate: int) -> tuple[str, int]:
    return (BASE_ARM, replicate + TWIN_REPLICATES) if arm == TWIN_ARM else (arm, replicate)


def _response(prompt_id: str, sample: Sample) -> Response:
    arm, replicate = _key_of_request(sample.arm, sample.replicate)
    return Response(
        prompt_id=prompt_id,
        arm=arm,
        replicate=replicate,
        text=sample.text,
        thinking=sample.thinking,
        finish_reason=sample.finish_reason,
        prompt_tokens=sample.prompt_tokens,
        new_tokens=sample.tokens,
        duration_s=sample.seconds,
        first_token_s=sample.first_token_s,
        cut_chars=sample.cut_chars,
        tool_calls=sample.tool_calls,
    )


def _failure(row: FailureRow) -> Failure:
    arm, replicate = _key_of_request(row.arm, row.replicate)
    stage: Stage = next((known for known in get_args(Stage) if known == row.stage), "generate")
    return Failure(prompt_id=row.prompt_id, arm=arm, replicate=replicate, stage=stage, reason=row.reason)
