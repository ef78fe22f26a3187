"""Replay: the recorded responses, failures and cosines of a saved report, to score them again without a model."""

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
    """Yields the recorded outcome of each request.

    A response that an interrupted run never generated has none: it stays missing, and is no failure of the model.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def describe(self) -> EngineDescription:
        """Return the recorded description; `is_demo` and `is_real` are those of the original engine."""
        return self._recording.engine

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        """Yield the recorded outcome of each request, in order; a Failure for a prompt that was not recorded."""
        del on_progress
        for request in requests:
            if self._recording.texts.get(request.prompt_id) != request.text:
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
        """Return None: a replayed response belongs to another run, and is not stored."""
        del request, digest
        return None

    def close(self) -> None:
        """Do nothing."""


CosineDetail = Literal["responses", "prompts", "none"]
"""The cosines of a report: of each pair of responses, only the mean of each prompt (older reports), or none."""

PairKey = tuple[str, str, int]
"""Prompt id, adapter, replicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Outcomes of a run, without the scores, which are computed again."""

    engine: EngineDescription
    """The engine that generated the responses."""
    texts: Mapping[str, str]
    """Prompt id -> prompt."""
    made_at: Mapping[str, str]
    """Prompt id -> when its responses were made."""
    outcomes: Mapping[ResponseKey, Response | Failure]
    """By the key of their request: the twin's are requests to the base."""
    reused: frozenset[ResponseKey]
    """Keys of the responses that came from the store, with the twin's own name."""
    replicates: int
    """Complete replicates: responses per prompt and arm."""
    cosine_detail: CosineDetail
    cosines: Mapping[PairKey, float]
    """Cosine of each pair of responses, where the report has them."""
    prompt_cosines: Mapping[tuple[str, str], float]
    """(Prompt id, adapter) -> mean cosine."""
    mismatched_cosine: float | None
    timings_s: Mapping[str, float]

    def cosines_of(self, prompt_id: str, adapter: str, replicates: Sequence[int]) -> dict[int, float]:
        """Return replicate -> cosine, for the measured ones among `replicates`."""
        found = {number: self.cosines.get((prompt_id, adapter, number)) for number in replicates}
        return {number: cosine for number, cosine in found.items() if cosine is not None}


def read_recording(report: Report) -> Recording:
    """Return the recording in a report; failures of stage `score` are left out, because their responses exist."""
    outcomes: dict[ResponseKey, Response | Failure] = {}
    for row in report.failures:
        if row.stage != "score":
            failure = _failure(row)
            outcomes[failure.key] = failure
    cosines: dict[PairKey, float] = {}
    reused: set[ResponseKey] = set()
    for result in report.results:
        for sample in result.samples:
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
        made_at={row.prompt_id: row.timestamp for row in report.results},
        outcomes=outcomes,
        reused=frozenset(reused),
        # A run that was interrupted in its first look has no complete replicate; its responses are of that look.
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
    """A saved run to score again."""

    source: str
    """The file, as named by the user."""
    sha256: str
    report: Report
    recording: Recording

    @property
    def kind(self) -> EngineKind:
        """Kind of the engine that yields the recorded responses."""
        return EngineKind(build=lambda _spec, _settings: ReplayEngine(self.recording))

    @property
    def adapters(self) -> tuple[AdapterSpec, ...]:
        """The recorded adapters, in order; in an A/A run, the twin."""
        return tuple(AdapterSpec(name=name, source=source) for name, source in self.report.metadata.adapters.items())

    @property
    def is_twin(self) -> bool:
        """Whether the run was an A/A run."""
        return TWIN_ARM in self.report.metadata.adapters

    @property
    def looks(self) -> tuple[int, ...]:
        """The planned looks."""
        return self.report.metadata.plan.looks


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMatch:
    """Current prompts compared with the recorded ones, by id and text."""

    recorded: frozenset[str]
    """Ids of prompts whose responses are recorded."""
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    new: tuple[str, ...]


def read_replay(option: argparse.Namespace) -> Replay | None:
    """Return the run that `--jarvis-replay` names; None without the option.

    Raises InputError for an invalid report, and for options of generation.
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
    """Return which cases were recorded with the same text; raise InputError when none was."""
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
