"""Runs for tests: of a scripted engine that keeps what it was asked, and of a listener that keeps what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.report.schema import ResultRow
from pytest_jarvis.run.runner import BenchmarkRun, Plan, RunFacts
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.types import (
    TWIN_ARM,
    AdapterSpec,
    EngineDescription,
    Failure,
    GatePlan,
    GenerationSettings,
    ModelSpec,
    Progress,
    PromptCase,
    Request,
    Response,
    Stage,
    StoreProblem,
    Tool,
    text_note,
)

Script = Callable[[Request], str | Failure]

LORA, OTHER = AdapterSpec(name="lora", source="x"), AdapterSpec(name="autre", source="y")
TWIN = AdapterSpec(name=TWIN_ARM, source="base")
TOOLS = (
    Tool(name="open_tool", description="", parameters={}, terms=("ouvre", "application", "logiciel", "lance")),
    Tool(
        name="mute_tool", description="", parameters={}, terms=("silence", "muet", "sourdine", "coupe", "son", "bruit")
    ),
)
CASES = tuple(
    PromptCase(prompt_id=f"p{number}", category="c", text=f"ouvre {number}", keywords=("ouvre", "son"))
    for number in range(3)
)


@dataclass
class Log:
    """A listener that keeps what it was told."""

    events: list[str] = field(default_factory=list)

    def show_loading(self) -> None:
        self.events.append("loading")

    def show_loaded(self, description: EngineDescription, seconds: float) -> None:
        assert seconds >= 0
        self.events.append(f"loaded {description.engine}")

    def show_reuse(self, look: int, taken: int, planned: int) -> None:
        self.events.append(f"recalled {look}: {taken}/{planned}")

    def show_store_problem(self, problem: StoreProblem) -> None:
        self.events.append(f"store failed: {problem.kind}")

    def show_progress(self, look: int, progress: Progress) -> None:
        self.events.append(f"drawing {look}: {progress.responses_done}/{progress.responses_planned}")

    def show_look(self, look: int, progress: Progress) -> None:
        self.events.append(f"drawn {look}: {progress.responses_done}/{progress.responses_planned}")


class WatchedEngine(ScriptedEngine):
    """A scripted engine that keeps what it was asked."""

    def __init__(
        self, script: Script, adapters: tuple[AdapterSpec, ...], settings: GenerationSettings | None = None
    ) -> None:
        super().__init__(ModelSpec(adapters=adapters), settings or GenerationSettings(), script)
        self.asked: list[list[Request]] = []
        self.embedded: list[list[str]] = []
        self.closed = 0

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        self.asked.append(list(requests))
        return super().generate(requests, on_progress)

    def embed(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        self.embedded.append(list(texts))
        return super().embed(texts)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Made:
    """A run with its engine and its log."""

    run: BenchmarkRun
    engine: WatchedEngine
    log: Log
    loads: list[WatchedEngine]

    @property
    def facts(self) -> RunFacts:
        facts = self.run.facts()
        assert facts is not None
        return facts

    def row(self, case: PromptCase = CASES[0], metrics: object = NO_METRICS) -> ResultRow:
        """Return the row of the first adapter."""
        return self.run.rows(case, metrics)[0]  # type: ignore[arg-type]


def make(
    script: Script,
    *,
    cases: tuple[PromptCase, ...] = CASES,
    adapters: tuple[AdapterSpec, ...] = (LORA,),
    looks: tuple[int, ...] = (2,),
    cache: ResponseCache | None = None,
    engine: WatchedEngine | None = None,
    **metrics: object,
) -> Made:
    """Return a run of `script`, its configured metrics changed by `metrics`; nothing is loaded yet."""
    engine = engine or WatchedEngine(script, adapters)
    loads: list[WatchedEngine] = []
    log = Log()
    section = MetricsSection(**metrics)  # type: ignore[arg-type]
    plan = Plan(cases=cases, adapters=adapters, gate=GatePlan(looks=looks), tools=TOOLS, metrics=section)

    def load() -> WatchedEngine:
        loads.append(engine)
        return engine

    return Made(BenchmarkRun(plan, load=load, listener=log, cache=cache), engine, log, loads)


def drawn(script: Script, **options: object) -> Made:
    """Return a run as `make` does, all drawn."""
    made = make(script, **options)  # type: ignore[arg-type]
    made.run.generate()
    return made


def better(request: Request) -> str:
    """Answer vaguely as the base, to the point as an adapter."""
    return f"Bruit {request.replicate}." if request.arm == "base" else f"J'ouvre l'application {request.replicate}."


def failed(request: Request, stage: Stage = "generate", reason: str = "trop long") -> Failure:
    """Return the failure of a response."""
    prompt_id, arm, replicate = request.key
    return Failure(prompt_id=prompt_id, arm=arm, replicate=replicate, stage=stage, reason=text_note(reason))


def fails(*keys: tuple[str, str, int], script: Script = better) -> Script:
    """Return a script that fails for these responses."""
    return lambda request: failed(request) if request.key in keys else script(request)
