"""What a saved report recorded, ready to be scored again: responses, failures, cosines, and what made them."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pytest_jarvis.engines.base import Digest, EngineKind, OnProgress
from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.options import options_in
from pytest_jarvis.metrics.registry import COSINE
from pytest_jarvis.metrics.understanding import clean_prompt_id
from pytest_jarvis.report.io import load_report
from pytest_jarvis.report.schema import REPORT_FILE, FailureRow, Report, Sample
from pytest_jarvis.types import (
    BASE_ARM,
    TWIN_ARM,
    TWIN_REPLICATES,
    AdapterSpec,
    EngineDescription,
    Failure,
    Identity,
    Note,
    PromptCase,
    Request,
    Response,
    ResponseKey,
    Stage,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class ReplayEngine:
    """Answers each request with the recorded response, or the recorded failure.

    What was never drawn (a run that was interrupted) is neither: nothing is given back for it, so that it stays missing
    and does not become a failure of the model.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def describe(self) -> EngineDescription:
        """Return what the original engine said of itself: is_demo and is_real are its own."""
        return self._recording.engine

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield what was recorded for each request, in order; a prompt that was not asked then is a Failure.

        Progress is not told: nothing is drawn.
        """
        del on_progress
        for request in requests:
            asked = self._recording.texts.get(request.prompt_id, self._recording.clean_texts.get(request.prompt_id))
            if asked != request.text:
                yield Failure(
                    prompt_id=request.prompt_id,
                    arm=request.arm,
                    replicate=request.replicate,
                    stage="generate",
                    reason=Note("not_recorded"),
                )
            elif (outcome := self._recording.outcomes.get(request.key)) is not None:
                yield outcome

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return None for each text: a report holds cosines, not embeddings."""
        return [None] * len(texts)

    def identity(self, request: Request, digest: Digest) -> Identity | None:
        """Return None: a replayed response is another run's; nothing of it is stored under this run's name."""
        del request, digest
        return None

    def close(self) -> None:
        """Nothing is held."""


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
        for sample in (*result.samples, *result.clean_samples):
            response = _response(sample)
            outcomes[response.key] = response
            if sample.reused:
                reused.add(sample.response.key)
        for sample in result.samples:
            if (cosine := sample.score(COSINE)) is not None:
                cosines[result.prompt_id, result.adapter, sample.replicate] = cosine
    means = {
        (row.prompt_id, row.adapter): mean
        for row in report.results
        if (mean := row.figure(COSINE).finetuned) is not None
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


def _response(sample: Sample) -> Response:
    arm, replicate = _key_of_request(sample.arm, sample.replicate)
    return replace(sample.response, arm=arm, replicate=replicate)


def _failure(row: FailureRow) -> Failure:
    arm, replicate = _key_of_request(row.arm, row.replicate)
    stage: Stage = next((known for known in get_args(Stage) if known == row.stage), "generate")
    return Failure(prompt_id=row.prompt_id, arm=arm, replicate=replicate, stage=stage, reason=row.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A run that is scored again."""

    source: str
    """The file, as it was named."""
    sha256: str
    report: Report
    recording: Recording

    @property
    def kind(self) -> EngineKind:
        """What answers with the recorded responses."""
        return EngineKind(build=lambda _spec, _settings: ReplayEngine(self.recording))

    @property
    def adapters(self) -> tuple[AdapterSpec, ...]:
        """The recorded adapters, in their order; the twin of an A/A run."""
        return tuple(AdapterSpec(name=name, source=source) for name, source in self.report.metadata.adapters.items())

    @property
    def is_twin(self) -> bool:
        """Whether the run was the base against itself."""
        return TWIN_ARM in self.report.metadata.adapters

    @property
    def looks(self) -> tuple[int, ...]:
        """The looks the run was planned with."""
        return self.report.metadata.plan.looks


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMatch:
    """The prompts of today against those that were recorded, by id and text."""

    recorded: frozenset[str]
    """Ids whose responses are there."""
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    new: tuple[str, ...]


def read_replay(option: argparse.Namespace) -> Replay | None:
    """Return the run that `--jarvis-replay` names; None without the option.

    Raises InputError for a file that is no report, and for an option that says how responses are drawn: they are drawn.
    """
    if option.jarvis_replay is None:
        return None
    for one, _ in options_in(option):
        if one.generation:
            raise InputError(
                f"{one.flag}: --jarvis-replay scores responses that are drawn already; leave {one.flag} out"
            )
    file = Path(option.jarvis_replay)
    file = file / REPORT_FILE if file.is_dir() else file
    report = load_report(file)
    if not report.results:
        raise InputError(f"--jarvis-replay {file}: the report holds no response")
    recording = read_recording(report)
    if option.jarvis_samples is not None and option.jarvis_samples > recording.replicates:
        raise InputError(
            f"--jarvis-samples {option.jarvis_samples}: {file} holds {recording.replicates} responses per prompt and "
            f"arm; ask for at most {recording.replicates}"
        )
    return Replay(
        source=file.as_posix(), sha256=hashlib.sha256(file.read_bytes()).hexdigest(), report=report, recording=recording
    )


def match_prompts(replay: Replay, cases: Iterable[PromptCase]) -> PromptMatch:
    """Return which of today's cases were recorded with the same text; InputError when none was."""
    asked = replay.recording.texts
    today = {case.prompt_id: case.text for case in cases}
    recorded = frozenset(name for name, text in today.items() if asked.get(name) == text)
    if not recorded:
        raise InputError(
            f"--jarvis-replay {replay.source}: none of its {len(asked)} prompts is among those of this benchmark; "
            "name their folder with --jarvis-prompts (ids and texts must be those recorded)"
        )
    return PromptMatch(
        recorded=recorded,
        gone=tuple(name for name in asked if name not in today),
        changed=tuple(name for name in asked if name in today and name not in recorded),
        new=tuple(name for name in today if name not in asked),
    )
