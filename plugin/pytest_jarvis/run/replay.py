"""Replay: responses that exist already, of a saved report or made elsewhere, to score them without a model."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from msgspec.structs import replace

from pytest_jarvis.engines.base import Digest, EngineKind, OnProgress, Vector
from pytest_jarvis.files import InputError, text_digest
from pytest_jarvis.inputs.answers import number_replicates, read_answers
from pytest_jarvis.inputs.options import options_in
from pytest_jarvis.metrics.registry import COSINE
from pytest_jarvis.report.io import load_report
from pytest_jarvis.report.schema import REPORT_FILE, AnswersFile, Report
from pytest_jarvis.types import (
    ANSWERS,
    BASE_ARM,
    TWIN_ARM,
    TWIN_REPLICATES,
    AdapterSpec,
    EngineDescription,
    Failure,
    GenerationSettings,
    Identity,
    ModelSpec,
    Note,
    PromptCase,
    QuantizationCoverage,
    Request,
    Response,
    ResponseKey,
    Stage,
    Storage,
)


class ReplayEngine:
    """Yields recorded outcomes; a response that an interrupted run never made stays missing, and is no failure."""

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
                yield request.failure("generate", Note("not_recorded"))
            elif (outcome := self._recording.outcomes.get(request.key)) is not None:
                yield outcome

    def embed(self, texts: Sequence[str]) -> list[Vector | None]:
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
    made_at: Mapping[str, str] = field(default_factory=dict)
    """Prompt id -> when its responses were made."""
    outcomes: Mapping[ResponseKey, Response | Failure]
    """By the key of their request: the twin's are requests to the base."""
    reused: frozenset[ResponseKey] = frozenset()
    """Keys of the responses that came from the store, with the twin's own name."""
    replicates: int
    """Complete replicates: responses per prompt and arm."""
    cosine_detail: CosineDetail = "none"
    cosines: Mapping[PairKey, float] = field(default_factory=dict)
    """Cosine of each pair of responses, where the report has them."""
    prompt_cosines: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(Prompt id, adapter) -> mean cosine."""
    mismatched_cosine: float | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)

    def cosines_of(self, prompt_id: str, adapter: str, replicates: Sequence[int]) -> dict[int, float]:
        """Return replicate -> cosine, for the measured ones among `replicates`."""
        found = {number: self.cosines.get((prompt_id, adapter, number)) for number in replicates}
        return {number: cosine for number, cosine in found.items() if cosine is not None}


def read_recording(report: Report) -> Recording:
    """Return the recording in a report; failures of stage `score` are left out, because their responses exist."""
    outcomes: dict[ResponseKey, Response | Failure] = {}
    for row in report.failures:
        if row.stage != "score":
            arm, number = request_key(row.arm, row.replicate)
            stage: Stage = next((known for known in get_args(Stage) if known == row.stage), "generate")
            outcomes[row.prompt_id, arm, number] = Failure(
                prompt_id=row.prompt_id, arm=arm, replicate=number, stage=stage, reason=row.reason
            )
    cosines: dict[PairKey, float] = {}
    reused: set[ResponseKey] = set()
    for result in report.results:
        for sample in result.samples:
            arm, number = request_key(sample.arm, sample.replicate)
            outcomes[result.prompt_id, arm, number] = replace(sample.response, arm=arm, replicate=number)
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


def request_key(arm: str, replicate: int) -> tuple[str, int]:
    """Return the arm and number asked for a replicate: the twin's goes to the base, with noise of its own."""
    return (BASE_ARM, replicate + TWIN_REPLICATES) if arm == TWIN_ARM else (arm, replicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Responses to score and judge: those of a saved run, or answers made elsewhere."""

    source: str
    """The file, as named by the user."""
    sha256: str
    recording: Recording
    adapters: tuple[AdapterSpec, ...]
    """The recorded adapters, in order; in an A/A run, the twin."""
    model: ModelSpec
    generation: GenerationSettings
    looks: tuple[int, ...]
    """The planned looks; of answers made elsewhere, the most answers to a prompt."""
    shared_noise: bool
    answers: AnswersFile | None
    """The file of answers, also where the saved run judged one."""
    report: Report | None
    """The saved run."""

    @property
    def kind(self) -> EngineKind:
        """Kind of the engine that yields the recorded responses."""
        return EngineKind(build=lambda _spec, _settings: ReplayEngine(self.recording))

    @property
    def is_twin(self) -> bool:
        """Whether the run was an A/A run."""
        return any(adapter.name == TWIN_ARM for adapter in self.adapters)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMatch:
    """Current prompts compared with the recorded ones, by id and text."""

    recorded: frozenset[str]
    """Ids of prompts whose responses are recorded."""
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    new: tuple[str, ...]


def read_replay(option: argparse.Namespace) -> Replay:
    """Return the run that `--jarvis-replay` names; InputError for an invalid report, and for options of generation."""
    _refuse_generation(option, "--jarvis-replay")
    file = Path(option.jarvis_replay)
    file = file / REPORT_FILE if file.is_dir() else file
    report = load_report(file)
    if not report.results:
        raise InputError(f"--jarvis-replay {file}: the report holds no response")
    plan, origin = report.metadata.plan, report.provenance
    return Replay(
        source=file.as_posix(),
        sha256=text_digest(file.read_bytes()),
        recording=_checked(read_recording(report), file, option),
        adapters=_specs(report.metadata.adapters),
        model=origin.model,
        generation=origin.generation,
        looks=plan.looks,
        shared_noise=plan.shared_noise,
        answers=origin.answers,
        report=report,
    )


def replay_answers(option: argparse.Namespace, cases: Sequence[PromptCase]) -> Replay:
    """Return the answers that `--jarvis-answers` names, none being a failure; InputError for a bad file or option."""
    _refuse_generation(option, "--jarvis-answers")
    file = Path(option.jarvis_answers)
    texts = {case.prompt_id: case.text for case in cases}
    arms = number_replicates(file, read_answers(file, texts))
    outcomes: list[Response | Failure] = []
    for arm, name in itertools.product(arms, texts):
        found = arms[arm].get(name, [])
        outcomes += [_answer(name, arm, number, text) for number, text in enumerate(found)]
        if not found:
            reason = Note("no_answer", {"file": file.as_posix()})
            outcomes.append(Failure(prompt_id=name, arm=arm, replicate=0, stage="generate", reason=reason))
    source, sha256 = file.as_posix(), text_digest(file.read_bytes())
    adapters = _specs({name: source for name in arms if name != BASE_ARM})
    most = max(len(found) for own in arms.values() for found in own.values())
    recording = Recording(
        engine=_UNKNOWN_ENGINE, texts=texts, outcomes={outcome.key: outcome for outcome in outcomes}, replicates=most
    )
    return Replay(
        source=source,
        sha256=sha256,
        recording=_checked(recording, file, option),
        adapters=adapters,
        model=ModelSpec(base_model_id=ANSWERS, quantization="none", adapters=adapters),
        generation=GenerationSettings(),
        looks=(most,),
        shared_noise=False,
        answers=AnswersFile(file=source, sha256=sha256),
        report=None,
    )


_UNKNOWN_ENGINE: Final = EngineDescription(
    engine=ANSWERS,
    base_model=ANSWERS,
    display_name="answers made elsewhere",
    is_demo=False,
    is_real=False,
    device="none",
    compute_dtype="none",
    coverage=QuantizationCoverage(storage=Storage(format="none"), share_4bit=None),
    adapters=(),
    batching="none",
)


def _answer(prompt_id: str, arm: str, replicate: int, text: str) -> Response:
    return Response(prompt_id=prompt_id, arm=arm, replicate=replicate, text=text.strip(), finish_reason="stop")


def _specs(adapters: Mapping[str, str]) -> tuple[AdapterSpec, ...]:
    return tuple(AdapterSpec(name=name, source=source) for name, source in adapters.items())


def _refuse_generation(option: argparse.Namespace, named: str) -> None:
    for one, _ in options_in(option):
        if one.generation and one.flag != named:
            raise InputError(f"{one.flag}: {named} scores responses that are drawn already; leave {one.flag} out")


def _checked(recording: Recording, file: Path, option: argparse.Namespace) -> Recording:
    if option.jarvis_samples is not None and option.jarvis_samples > recording.replicates:
        raise InputError(
            f"--jarvis-samples {option.jarvis_samples}: {file} holds {recording.replicates} responses per prompt and "
            f"arm; ask for at most {recording.replicates}"
        )
    return recording


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
