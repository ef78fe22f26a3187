"""One benchmark run: the plan, the one engine, the looks, and the rows they give. Knows nothing of pytest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_jarvis.engines.base import Engine
from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.custom import MetricSet, built_in_metrics
from pytest_jarvis.metrics.registry import BUILT_IN, COSINE, RELEVANCE, Reading
from pytest_jarvis.metrics.similarity import mismatched_cosine, paired_cosines
from pytest_jarvis.metrics.understanding import CleanCommand, find_majority, interpret, plan_clean_commands
from pytest_jarvis.report.schema import Figure, ResultRow, Sample
from pytest_jarvis.run.generation import Drawing, Listener, ask
from pytest_jarvis.run.replay import Recording
from pytest_jarvis.run.rows import Reader, make_row, make_sample
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.sequential import Look, judge_look
from pytest_jarvis.types import (
    BASE_ARM,
    AdapterSpec,
    EngineDescription,
    Failure,
    GatePlan,
    Note,
    PromptCase,
    Response,
    ResponseKey,
    StoreProblem,
    Tool,
)

if TYPE_CHECKING:
    from pytest_jarvis.metrics.similarity import Embedding


class CleanAnswers:
    """Holds the answers of the extra prompts, which are no rows of the report, and finds those of the others."""

    def __init__(self, cases: Sequence[PromptCase], reader: Reader, *, most: int) -> None:
        """`cases` are those of the plan, none when the metric is off; `most` is how many replicates may be drawn."""
        self._plan = plan_clean_commands(cases)
        self._most = most
        self._reader = reader
        self._extra_ids = frozenset(case.prompt_id for case in self._plan.extra)
        self._responses: dict[ResponseKey, Response] = {}
        self._failures: dict[ResponseKey, Failure] = {}
        self._found: dict[tuple[str, str, int], CleanCommand | None] = {}

    @property
    def extra(self) -> tuple[PromptCase, ...]:
        """The prompts to draw beside those of the plan."""
        return self._plan.extra

    def takes(self, outcome: Response | Failure) -> bool:
        """Keep the outcome if it is one of an extra prompt, and tell whether it was."""
        if outcome.prompt_id not in self._extra_ids:
            return False
        if isinstance(outcome, Response):
            self._responses[outcome.key] = outcome
        else:
            self._failures[outcome.key] = outcome
        return True

    def of(self, case: PromptCase, arm: str, drawn: Mapping[ResponseKey, Response]) -> CleanCommand | None:
        """Return what an arm made of the clean form of `case`; None where it has none, or no answer to it.

        `drawn` are the responses of the plan, in which the clean form may stand as a prompt of its own.
        """
        clean_id = self._plan.clean_id.get(case.prompt_id)
        if clean_id is None:
            return None
        answers = self._answers(clean_id, arm, drawn)
        place = (case.prompt_id, arm, len(answers))
        if place not in self._found:
            made = [interpret(response, self._reader.read(case, response).text) for response in answers]
            self._found[place] = find_majority(made, answers[0].text if answers else "")
        return self._found[place]

    def drawn_for(self, case: PromptCase, arm: str) -> Iterator[Response]:
        """Yield the answers that were drawn for this comparison alone."""
        clean_id = self._plan.clean_id.get(case.prompt_id)
        yield from self._answers(clean_id, arm, {}) if clean_id in self._extra_ids else ()

    def _answers(self, clean_id: str, arm: str, drawn: Mapping[ResponseKey, Response]) -> list[Response]:
        source = self._responses if clean_id in self._extra_ids else drawn
        keys = [(clean_id, arm, number) for number in range(self._most)]
        return [source[key] for key in keys if key in source]

    def failures(
        self, case: PromptCase, arms: Sequence[str], drawn: Mapping[ResponseKey, Response]
    ) -> Iterator[Failure]:
        """Yield a failure of stage `score` for each arm whose clean command has no answer because all of them failed.

        Its own prompt was answered then, but cannot be compared.
        """
        clean_id = self._plan.clean_id.get(case.prompt_id)
        if clean_id not in self._extra_ids:
            return
        for arm in arms:
            failed = [one for key, one in self._failures.items() if key[:2] == (clean_id, arm)]
            if failed and self.of(case, arm, drawn) is None:
                reason = Note("no_clean_answer", {"command": case.intended or ""}, failed[0].reason)
                yield Failure(prompt_id=case.prompt_id, arm=arm, replicate=0, stage="score", reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be drawn: exactly the selected cases, for the base and every adapter."""

    cases: tuple[PromptCase, ...]
    adapters: tuple[AdapterSpec, ...]
    tools: tuple[Tool, ...]
    gate: GatePlan = field(default_factory=GatePlan)
    """What is judged at each look."""
    metrics: MetricsSection = field(default_factory=MetricsSection)
    recording: Recording | None = None
    """The run that is scored again; its responses are all there are."""

    @property
    def arms(self) -> tuple[str, ...]:
        """The base, then the adapters in the order they were named."""
        return (BASE_ARM, *(adapter.name for adapter in self.adapters))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run knows beside its rows."""

    engine: EngineDescription
    samples_per_prompt: int
    decisions: Mapping[str, Decision]
    """By adapter, as judged at the last look; empty when nothing could be compared."""
    mismatched_cosine: float | None
    timings_s: dict[str, float]
    stopped_short: bool = False
    """Whether a replay wanted another look that was not recorded."""
    reused: Mapping[str, int] = field(default_factory=dict)
    """By arm: responses taken from the store."""
    generated: Mapping[str, int] = field(default_factory=dict)
    """By arm: responses asked of the engine."""
    store_problem: StoreProblem | None = None


class DrawingBrokenError(RuntimeError):
    """Responses cannot be had: drawing them was broken off before."""


class BenchmarkRun:
    """Loads once, draws once, and gives each test its rows."""

    def __init__(
        self, plan: Plan, *, load: Callable[[], Engine], listener: Listener, cache: ResponseCache | None = None
    ) -> None:
        """`load` makes the engine, at its first use; `cache` is what may be done with a store, if anything."""
        self.plan = plan
        self._load = load
        self._listener = listener
        self._drawing = Drawing(cache or ResponseCache.disabled(), listener)
        self._engine: Engine | None = None
        self._description: EngineDescription | None = None
        self._built_in = built_in_metrics(plan.metrics)
        self._reader = Reader(plan.tools, plan.metrics)
        self._case_of = {case.prompt_id: case for case in plan.cases}
        misheard = plan.cases if plan.metrics.understanding else ()
        self._clean = CleanAnswers(misheard, self._reader, most=max(plan.gate.looks, default=0))
        self._responses: dict[ResponseKey, Response] = {}
        self._readings: dict[ResponseKey, Reading] = {}
        self._failures: dict[ResponseKey, Failure] = {}
        self._with_engine: dict[str, dict[ResponseKey, float]] = {COSINE: {}}
        """By metric: the scores that were made of all responses at once; of a pair, by the adapter's response."""
        self._mismatched: float | None = None
        self._samples = 0
        self._stopped_short = False
        self._decisions: Mapping[str, Decision] = {}
        self._begun = False
        self._drawn = False
        self.timings_s: dict[str, float] = {}

    @property
    def engine(self) -> Engine:
        """The one engine of the run, loaded at the first call; an EngineError passes through."""
        if self._engine is None:
            self._listener.loading()
            started = time.perf_counter()
            self._engine = self._load()
            self.timings_s["load"] = time.perf_counter() - started
            self._description = self._engine.describe()
            self._listener.loaded(self._description, self.timings_s["load"])
            self._drawing.cache.start(self._engine, self._description)
        return self._engine

    @property
    def samples_per_prompt(self) -> int:
        """Responses per prompt and arm drawn so far."""
        return self._samples

    def draw(self) -> None:
        """Draw the looks until certain, all cases and arms in the same batches. Does nothing the second time.

        Raises DrawingBrokenError when an earlier call was broken off: what broke once is not tried for every prompt.
        """
        if self._drawn:
            return
        if self._begun:
            raise DrawingBrokenError("the drawing of responses broke off in an earlier test; its error says why")
        self._begun = True
        engine = self.engine
        started = time.perf_counter()
        settled: Mapping[str, Decision] = {}
        for index, look in enumerate(self.plan.gate.looks):
            self._draw_to(engine, look)
            self._samples = look
            judged = self._judge(index, settled)
            if judged is None or judged.next_look is None:
                break
            if self._is_not_recorded(judged.next_look):
                self._stopped_short = True
                break
            settled = judged.settled
        self.timings_s["generate"] = time.perf_counter() - started
        if self.plan.metrics.cosine:
            started = time.perf_counter()
            if self.plan.recording is None:
                self._embed(engine)
            else:
                self._recall_cosines(self.plan.recording)
            self.timings_s["embed"] = time.perf_counter() - started
        self._description = engine.describe()
        self._drawn = True

    def _is_not_recorded(self, look: int) -> bool:
        return self.plan.recording is not None and look > self.plan.recording.replicates

    def scores(self, adapter: str) -> tuple[list[list[float]], list[list[float]]]:
        """Return the relevance of base and adapter: a list per prompt of a score per replicate, those that both have.

        What failed in another adapter takes nothing away from this one.
        """
        arms = (BASE_ARM, adapter)
        # An answer that should call no tool is no better for naming many.
        judged = [case for case in self.plan.cases if not case.no_tool]
        shared = {case.prompt_id: self._shared_replicates(case, arms) for case in judged}
        base, tuned = (
            [
                [self._relevance((name, arm, number)) for number in numbers]
                for name, numbers in shared.items()
                if numbers
            ]
            for arm in arms
        )
        return base, tuned

    def _relevance(self, key: ResponseKey) -> float:
        measure = BUILT_IN[RELEVANCE].measure
        value = measure(self._case_of[key[0]], self._responses[key], self._readings[key]) if measure else None
        return value or 0.0

    def has_anything(self, case: PromptCase) -> bool:
        """Whether a response or a failure of the case exists."""
        return any(key in self._responses or key in self._failures for key in self._keys(case))

    def failures(self, case: PromptCase) -> list[Failure]:
        """Return the responses of the case that could not be made."""
        own = [self._failures[key] for key in self._keys(case) if key in self._failures]
        return [*own, *self._clean.failures(case, self.plan.arms, self._responses)]

    def _keys(self, case: PromptCase) -> Iterator[ResponseKey]:
        return (
            (case.prompt_id, arm, number)
            for arm in self.plan.arms
            for number in range(max(self.plan.gate.looks, default=0))
        )

    def rows(self, case: PromptCase, more: MetricSet) -> list[ResultRow]:
        """Return the case's row for each adapter; what `more` raises passes through."""
        base = self._samples_of(case, BASE_ARM, more)
        return [self._row(case, adapter.name, base, more) for adapter in self.plan.adapters]

    def facts(self) -> RunFacts | None:
        """Return what the report needs beside the rows; None when nothing was loaded."""
        if self._description is None:
            return None
        return RunFacts(
            engine=self._description,
            samples_per_prompt=self._samples,
            decisions=self._decisions,
            mismatched_cosine=self._mismatched,
            timings_s=dict(self.timings_s if self.plan.recording is None else self.plan.recording.timings_s),
            stopped_short=self._stopped_short,
            reused={arm: self._drawing.reused_of(arm) for arm in self.plan.arms},
            generated={arm: self._drawing.generated[arm] for arm in self.plan.arms if self.plan.recording is None},
            store_problem=self._drawing.cache.problem,
        )

    def close(self) -> None:
        """Give the engine's memory back."""
        self._drawing.cache.close()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _draw_to(self, engine: Engine, look: int) -> None:
        requests = [
            ask(case, arm, number)
            for case in (*self.plan.cases, *self._clean.extra)
            for number in range(self._samples, look)
            for arm in self.plan.arms
        ]
        for outcome in self._drawing.draw(engine, look, requests):
            self._take(outcome)

    def _take(self, outcome: Response | Failure) -> None:
        if self._clean.takes(outcome):
            return
        if isinstance(outcome, Failure):
            self._failures[outcome.key] = outcome
            return
        self._responses[outcome.key] = outcome
        self._readings[outcome.key] = self._reader.read(self._case_of[outcome.prompt_id], outcome)

    def _judge(self, index: int, settled: Mapping[str, Decision]) -> Look | None:
        """Judge what is drawn; None when there is nothing to compare, or relevance is not measured."""
        if not self.plan.metrics.relevance:
            return None
        pairs = {adapter.name: self.scores(adapter.name) for adapter in self.plan.adapters}
        measured = {name: pair for name, pair in pairs.items() if pair[0]}
        if not measured:
            return None
        look = judge_look(
            {name: base for name, (base, _) in measured.items()},
            {name: tuned for name, (_, tuned) in measured.items()},
            plan=self.plan.gate,
            index=index,
            settled=settled,
            unmeasured=len(pairs) - len(measured),
        )
        self._decisions = look.decisions
        return look

    def _shared_replicates(self, case: PromptCase, arms: Sequence[str]) -> list[int]:
        return [
            number
            for number in range(self._samples)
            if all((case.prompt_id, arm, number) in self._responses for arm in arms)
        ]

    def _embed(self, engine: Engine) -> None:
        """Compute the cosines of all pairs; each different text is embedded once."""
        texts = sorted({response.text for response in self._responses.values()})
        vector_of = self._drawing.vectors(engine, ask(self.plan.cases[0], BASE_ARM, 0), texts)
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
                    self._with_engine[COSINE][name, adapter.name, number] = cosine
            if index == 0:
                self._mismatched = mismatched_cosine(left, right, [name for name, _ in keys])

    def _recall_cosines(self, recording: Recording) -> None:
        """Take the cosines of the recorded run; the mismatched one only where all of that run is scored again."""
        for adapter in self.plan.adapters:
            for case in self.plan.cases:
                shared = self._shared_replicates(case, (BASE_ARM, adapter.name))
                for number, cosine in recording.cosines_of(case.prompt_id, adapter.name, shared).items():
                    self._with_engine[COSINE][case.prompt_id, adapter.name, number] = cosine
        whole = recording.texts.keys() == self._case_of.keys() and recording.replicates == self._samples
        self._mismatched = recording.mismatched_cosine if whole else None

    def _recorded(self, case: PromptCase, adapter: str) -> dict[str, Figure]:
        """Return the mean cosine of a prompt, of an older recording that holds no other."""
        recording = self.plan.recording
        if recording is None or recording.cosine_detail != "prompts" or not self.plan.metrics.cosine:
            return {}
        mean = recording.prompt_cosines.get((case.prompt_id, adapter))
        return {} if mean is None else {COSINE: Figure(finetuned=mean)}

    def _samples_of(self, case: PromptCase, arm: str, more: MetricSet) -> list[Sample]:
        clean = self._clean.of(case, arm, self._responses)
        result: list[Sample] = []
        for number in range(self.plan.gate.looks[-1]):
            response = self._responses.get((case.prompt_id, arm, number))
            if response is None:
                continue
            reading = replace(self._readings[response.key], clean=clean)
            scores = {
                name: by_key[response.key] for name, by_key in self._with_engine.items() if response.key in by_key
            }
            base = self._responses.get((case.prompt_id, BASE_ARM, number)) if arm != BASE_ARM else None
            for metrics in (self._built_in, more):
                scores |= metrics.of_response(case, response, reading)
                scores |= metrics.of_pair(case, base, response) if base is not None else {}
            result.append(make_sample(response, reading, scores, reused=self._is_reused(response)))
        return result

    def _is_reused(self, response: Response) -> bool:
        """Tell whether the store gave a response: to this run, or to the recorded one that is scored again."""
        recording = self.plan.recording
        return response.key in (self._drawing.reused if recording is None else recording.reused)

    def _row(self, case: PromptCase, adapter: str, base: list[Sample], more: MetricSet) -> ResultRow:
        clean_samples = []
        for response in (one for arm in (BASE_ARM, adapter) for one in self._clean.drawn_for(case, arm)):
            reading = self._reader.read(case, response)
            scores = self._built_in.of_response(case, response, reading)
            clean_samples.append(make_sample(response, reading, scores, reused=self._is_reused(response)))
        return make_row(
            case,
            adapter,
            base,
            self._samples_of(case, adapter, more),
            clean=(self._clean.of(case, BASE_ARM, self._responses), self._clean.of(case, adapter, self._responses)),
            clean_samples=clean_samples,
            given=self._recorded(case, adapter),
        )
