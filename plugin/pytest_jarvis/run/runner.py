"""A benchmark run: take looks of responses, from the store or one engine, until the verdict is settled; make rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from pytest_jarvis.engines.base import Engine
from pytest_jarvis.inputs.config import BenchmarkSection, MetricsSection
from pytest_jarvis.metrics.custom import NO_METRICS, MetricFaultError, MetricSet, built_in_metrics
from pytest_jarvis.metrics.registry import COSINE, Reading
from pytest_jarvis.metrics.similarity import mismatched_cosine, paired_cosines
from pytest_jarvis.report.analysis.thresholds import judge_rows
from pytest_jarvis.report.schema import Figure, ResultRow, Sample, timestamp
from pytest_jarvis.run.replay import Recording, request_key
from pytest_jarvis.run.rows import Reader, make_row, make_sample
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.sequential import Look
from pytest_jarvis.stats.thresholds import Threshold
from pytest_jarvis.types import (
    BASE_ARM,
    TWIN_ARM,
    TWIN_REPLICATES,
    AdapterSpec,
    EngineDescription,
    Failure,
    GatePlan,
    Progress,
    PromptCase,
    Request,
    Response,
    ResponseKey,
    StoreProblem,
    Tool,
)

if TYPE_CHECKING:
    from pytest_jarvis.metrics.similarity import Embedding


class Listener(Protocol):
    """Shows the progress of a run."""

    def show_loading(self) -> None:
        """Show that the engine loads."""

    def show_loaded(self, description: EngineDescription, seconds: float) -> None:
        """Show the loaded model and the time it took."""

    def show_reuse(self, look: int, taken: int, planned: int) -> None:
        """Show how many of a look's responses the store held."""

    def show_store_problem(self, problem: StoreProblem) -> None:
        """Show that the run continues without its store."""

    def show_progress(self, look: int, progress: Progress) -> None:
        """Show how many responses there are, up to `look` per prompt and arm."""

    def show_look(self, look: int, progress: Progress) -> None:
        """Show that all responses of a look are generated."""


class ResponseSource:
    """Takes responses from the store, else from the engine, and counts them."""

    def __init__(self, cache: ResponseCache, listener: Listener) -> None:
        self.cache = cache
        self.reused: set[ResponseKey] = set()
        """Responses from the store."""
        self.generated: Counter[str] = Counter()
        """Arm -> number of responses from the engine."""
        self._listener = listener

    def fetch(self, engine: Engine, look: int, requests: Sequence[Request]) -> Iterator[Response | Failure]:
        """Yield the outcome of every request of a look: those in the store first, then the others as they complete."""
        held = self.cache.get(requests)
        if held:
            self._listener.show_reuse(look, len(held), len(requests))
        for response in held:
            named = _name_twin(response)
            self.reused.add(named.key)
            yield named
        taken = {response.key for response in held}
        missing = [request for request in requests if request.key not in taken]
        if missing:
            yield from self._generate(engine, look, missing)

    def embed(self, engine: Engine, anchor: Request, texts: Sequence[str]) -> dict[str, Embedding]:
        """Return text -> vector, from the store or the engine; `anchor` is any request to the base."""
        found = self.cache.get_vectors(anchor, texts)
        missing = [text for text in texts if text not in found]
        made = dict(zip(missing, engine.embed(missing), strict=True)) if missing else {}
        self.cache.put_vectors(anchor, made)
        return {**found, **made}

    def _generate(self, engine: Engine, look: int, requests: Sequence[Request]) -> Iterator[Response | Failure]:
        progress = Progress(responses_done=0, responses_planned=len(requests), tokens=0, elapsed_s=0.0)
        self._listener.show_progress(look, progress)

        def on_progress(now: Progress) -> None:
            nonlocal progress
            progress = now
            self._listener.show_progress(look, now)

        asked = {request.key: request for request in requests}
        for outcome in engine.generate(requests, on_progress):
            if isinstance(outcome, Response):
                self.cache.put(asked[outcome.key], outcome)
            named = _name_twin(outcome)
            self.generated[named.arm] += 1
            yield named
        self._listener.show_look(look, progress)


def make_request(case: PromptCase, arm: str, number: int) -> Request:
    """Return the request for a replicate, as `request_key`."""
    arm, number = request_key(arm, number)
    return Request(prompt_id=case.prompt_id, text=case.text, arm=arm, replicate=number)


def _name_twin(outcome: Response | Failure) -> Response | Failure:
    """Return the outcome as the twin's where it answers a request of the twin."""
    if outcome.replicate < TWIN_REPLICATES:
        return outcome
    return replace(outcome, arm=TWIN_ARM, replicate=outcome.replicate - TWIN_REPLICATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The selected cases and the arms to generate responses for."""

    cases: tuple[PromptCase, ...]
    adapters: tuple[AdapterSpec, ...]
    tools: tuple[Tool, ...]
    gate: GatePlan = field(default_factory=GatePlan)
    """Rules of the judgement at each look."""
    bars: BenchmarkSection = field(default_factory=BenchmarkSection)
    """The section that has the thresholds."""
    metrics: MetricsSection = field(default_factory=MetricsSection)
    recording: Recording | None = None
    """The responses to replay, instead of an engine's."""

    @property
    def arms(self) -> tuple[str, ...]:
        """The base, then the adapters in order."""
        return (BASE_ARM, *(adapter.name for adapter in self.adapters))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Facts of a run beside its rows."""

    engine: EngineDescription
    samples_per_prompt: int
    decisions: Mapping[str, Decision]
    """Adapter -> decision at the last look; empty when nothing could be compared."""
    mismatched_cosine: float | None
    timings_s: dict[str, float]
    thresholds: tuple[Threshold, ...] = ()
    """The other bars of each adapter at the last look."""
    stopped_short: bool = False
    """Whether a replay needed another look that was not recorded."""
    reused: Mapping[str, int] = field(default_factory=dict)
    """Arm -> number of responses from the store."""
    generated: Mapping[str, int] = field(default_factory=dict)
    """Arm -> number of responses from the engine."""
    store_problem: StoreProblem | None = None


class GenerationAbortedError(RuntimeError):
    """An earlier test has tried to generate the responses, and failed."""


class BenchmarkRun:
    """Loads once, generates once, and makes the rows of each case."""

    def __init__(
        self, plan: Plan, *, load: Callable[[], Engine], listener: Listener, cache: ResponseCache | None = None
    ) -> None:
        """`load` makes the engine at its first use; without a `cache`, the run uses no store."""
        self.plan = plan
        self._load = load
        self._listener = listener
        self._source = ResponseSource(cache or ResponseCache(Path(), read=False, write=False), listener)
        self._engine: Engine | None = None
        self._description: EngineDescription | None = None
        self._built_in = built_in_metrics(plan.metrics)
        self._reader = Reader(plan.tools, plan.metrics)
        self._case_of = {case.prompt_id: case for case in plan.cases}
        self._responses: dict[ResponseKey, Response] = {}
        self._readings: dict[ResponseKey, Reading] = {}
        self._failures: dict[ResponseKey, Failure] = {}
        self._made_at: dict[str, str] = {}
        """Prompt id -> when its last response was made, or taken from the store."""
        self._batch_scores: dict[str, dict[ResponseKey, float]] = {COSINE: {}}
        """Metric -> key of the (adapter's) response -> score, for metrics computed on all responses at once."""
        self._mismatched: float | None = None
        self._samples = 0
        self._stopped_short = False
        self._look: Look | None = None
        self._begun = False
        self._done = False
        self.timings_s: dict[str, float] = {}

    @property
    def engine(self) -> Engine:
        """Engine of the run, loaded at the first access; an EngineError passes through."""
        if self._engine is None:
            self._listener.show_loading()
            started = time.perf_counter()
            self._engine = self._load()
            self.timings_s["load"] = time.perf_counter() - started
            self._description = self._engine.describe()
            self._listener.show_loaded(self._description, self.timings_s["load"])
            self._source.cache.start(self._engine, self._description)
        return self._engine

    @property
    def samples_per_prompt(self) -> int:
        """Responses per prompt and arm so far."""
        return self._samples

    def generate(self, more: MetricSet = NO_METRICS) -> None:
        """Generate looks, once, until bars (`more`: custom) are settled; GenerationAbortedError after a failed call."""
        if self._done:
            return
        if self._begun:
            raise GenerationAbortedError("the generation of responses failed in an earlier test; see its error")
        self._begun = True
        engine = self.engine
        started = time.perf_counter()
        earlier: Look | None = None
        index = 0
        for index, look in enumerate(self.plan.gate.looks):
            self._generate_to(engine, look)
            self._samples = look
            judged = self._look = self._judge(index, earlier, more)
            if judged.next_look is None:
                break
            if (recording := self.plan.recording) is not None and judged.next_look > recording.replicates:
                self._stopped_short = True
                break
            earlier = judged
        self.timings_s["generate"] = time.perf_counter() - started
        if self.plan.metrics.cosine:
            started = time.perf_counter()
            if self.plan.recording is None:
                self._embed(engine)
            else:
                self._recall_cosines(self.plan.recording)
            self.timings_s["embed"] = time.perf_counter() - started
            if COSINE in self.plan.bars.metric_bars:  # known only now
                self._look = self._judge(index, earlier, more)
        self._description = engine.describe()
        self._done = True

    def has_anything(self, case: PromptCase) -> bool:
        """Return whether the case has a response or a failure."""
        return any(key in self._responses or key in self._failures for key in self._keys(case))

    def failures(self, case: PromptCase) -> list[Failure]:
        """Return the failures of the case."""
        return [self._failures[key] for key in self._keys(case) if key in self._failures]

    def _keys(self, case: PromptCase) -> Iterator[ResponseKey]:
        return (
            (case.prompt_id, arm, number)
            for arm in self.plan.arms
            for number in range(max(self.plan.gate.looks, default=0))
        )

    def rows(self, case: PromptCase, more: MetricSet) -> list[ResultRow]:
        """Return the case's row for each adapter; exceptions of the metrics `more` pass through."""
        base = self._samples_of(case, BASE_ARM, more)
        return [self._row(case, adapter.name, base, more) for adapter in self.plan.adapters]

    def facts(self) -> RunFacts | None:
        """Return the facts beside the rows; None when nothing was loaded."""
        if self._description is None:
            return None
        return RunFacts(
            engine=self._description,
            samples_per_prompt=self._samples,
            decisions={} if self._look is None else self._look.decisions,
            thresholds=() if self._look is None else self._look.thresholds,
            mismatched_cosine=self._mismatched,
            timings_s=dict(self.timings_s if self.plan.recording is None else self.plan.recording.timings_s),
            stopped_short=self._stopped_short,
            reused={arm: sum(key[1] == arm for key in self._source.reused) for arm in self.plan.arms},
            generated={arm: self._source.generated[arm] for arm in self.plan.arms if self.plan.recording is None},
            store_problem=self._source.cache.problem,
        )

    def close(self) -> None:
        """Give the engine's memory back."""
        self._source.cache.close()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _generate_to(self, engine: Engine, look: int) -> None:
        requests = [
            make_request(case, arm, number)
            for case in self.plan.cases
            for number in range(self._samples, look)
            for arm in self.plan.arms
        ]
        for outcome in self._source.fetch(engine, look, requests):
            self._keep(outcome)

    def _keep(self, outcome: Response | Failure) -> None:
        if isinstance(outcome, Failure):
            self._failures[outcome.key] = outcome
            return
        self._responses[outcome.key] = outcome
        self._made_at[outcome.prompt_id] = timestamp()
        self._readings[outcome.key] = self._reader.read(self._case_of[outcome.prompt_id], outcome)

    def _judge(self, index: int, earlier: Look | None, more: MetricSet) -> Look:
        """Judge a look; a custom metric that fails is not measured, and its test says so."""
        try:
            rows = [self.rows(case, more) for case in self.plan.cases]
        except MetricFaultError:
            rows = [self.rows(case, NO_METRICS) for case in self.plan.cases]
        arms = {adapter.name: [row[place] for row in rows] for place, adapter in enumerate(self.plan.adapters)}
        return judge_rows(arms, self.plan.bars, self.plan.gate, more.specs, index=index, earlier=earlier)

    def _shared_replicates(self, case: PromptCase, arms: Sequence[str]) -> list[int]:
        return [
            number
            for number in range(self._samples)
            if all((case.prompt_id, arm, number) in self._responses for arm in arms)
        ]

    def _embed(self, engine: Engine) -> None:
        """Compute the cosines of all pairs, embedding each distinct text once."""
        texts = sorted({response.text for response in self._responses.values()})
        vector_of = self._source.embed(engine, make_request(self.plan.cases[0], BASE_ARM, 0), texts)
        for index, adapter in enumerate(self.plan.adapters):
            keys = [
                (case.prompt_id, number)
                for case in self.plan.cases
                for number in self._shared_replicates(case, (BASE_ARM, adapter.name))
            ]
            left: list[Embedding] = [vector_of[self._responses[name, BASE_ARM, number].text] for name, number in keys]
            right: list[Embedding] = [
                vector_of[self._responses[name, adapter.name, number].text] for name, number in keys
            ]
            for (name, number), cosine in zip(keys, paired_cosines(left, right), strict=True):
                if cosine is not None:
                    self._batch_scores[COSINE][name, adapter.name, number] = cosine
            if index == 0:
                self._mismatched = mismatched_cosine(left, right, [name for name, _ in keys])

    def _recall_cosines(self, recording: Recording) -> None:
        """Take over the recorded cosines; the mismatched one only when the whole recording is replayed."""
        for adapter in self.plan.adapters:
            for case in self.plan.cases:
                shared = self._shared_replicates(case, (BASE_ARM, adapter.name))
                for number, cosine in recording.cosines_of(case.prompt_id, adapter.name, shared).items():
                    self._batch_scores[COSINE][case.prompt_id, adapter.name, number] = cosine
        whole = recording.texts.keys() == self._case_of.keys() and recording.replicates == self._samples
        self._mismatched = recording.mismatched_cosine if whole else None

    def _recorded(self, case: PromptCase, adapter: str) -> dict[str, Figure]:
        """Return the mean cosine of a prompt, from an older recording without cosines of pairs."""
        recording = self.plan.recording
        if recording is None or recording.cosine_detail != "prompts" or not self.plan.metrics.cosine:
            return {}
        mean = recording.prompt_cosines.get((case.prompt_id, adapter))
        return {} if mean is None else {COSINE: Figure(finetuned=mean)}

    def _samples_of(self, case: PromptCase, arm: str, more: MetricSet) -> list[Sample]:
        result: list[Sample] = []
        for number in range(self.plan.gate.looks[-1]):
            response = self._responses.get((case.prompt_id, arm, number))
            if response is None:
                continue
            reading = self._readings[response.key]
            scores = {
                name: by_key[response.key] for name, by_key in self._batch_scores.items() if response.key in by_key
            }
            base = self._responses.get((case.prompt_id, BASE_ARM, number)) if arm != BASE_ARM else None
            for metrics in (self._built_in, more):
                scores |= metrics.of_response(case, response, reading)
                scores |= metrics.of_pair(case, base, response) if base is not None else {}
            result.append(make_sample(response, reading, scores, reused=self._is_reused(response)))
        return result

    def _is_reused(self, response: Response) -> bool:
        """Return whether a response is from the store, in this run or in the recorded one."""
        recording = self.plan.recording
        return response.key in (self._source.reused if recording is None else recording.reused)

    def _row(self, case: PromptCase, adapter: str, base: list[Sample], more: MetricSet) -> ResultRow:
        return make_row(
            case,
            adapter,
            base,
            self._samples_of(case, adapter, more),
            given=self._recorded(case, adapter),
            made_at=(self.plan.recording.made_at if self.plan.recording else self._made_at).get(case.prompt_id),
        )
