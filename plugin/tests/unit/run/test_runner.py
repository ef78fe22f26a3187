"""`run.runner`: one engine, the looks drawn from it, and the rows they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.metrics.similarity import mismatched_cosine
from pytest_jarvis.run.runner import BenchmarkRun, DrawingBrokenError, Plan
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.types import (
    TWIN_ARM,
    AdapterSpec,
    EngineDescription,
    EngineError,
    Failure,
    GatePlan,
    GenerationSettings,
    ModelSpec,
    Progress,
    PromptCase,
    Request,
    Response,
    StoreProblem,
    Tool,
    text_note,
)

Script = Callable[[Request], str | Failure]

LORA = AdapterSpec(name="lora", source="x")
OTHER = AdapterSpec(name="autre", source="y")
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

    def loading(self) -> None:
        self.events.append("loading")

    def loaded(self, description: EngineDescription, seconds: float) -> None:
        assert seconds >= 0
        self.events.append(f"loaded {description.engine}")

    def recalled(self, look: int, taken: int, planned: int) -> None:
        self.events.append(f"recalled {look}: {taken}/{planned}")

    def store_failed(self, problem: StoreProblem) -> None:
        self.events.append(f"store failed: {problem.kind}")

    def drawing(self, look: int, progress: Progress) -> None:
        self.events.append(f"drawing {look}: {progress.responses_done}/{progress.responses_planned}")

    def drawn(self, look: int, progress: Progress) -> None:
        self.events.append(f"drawn {look}: {progress.responses_done}/{progress.responses_planned}")


class WatchedEngine(ScriptedEngine):
    """A scripted engine that keeps what it was asked."""

    def __init__(self, script: Script, adapters: tuple[AdapterSpec, ...]) -> None:
        super().__init__(ModelSpec(adapters=adapters), GenerationSettings(), script)
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


def make(
    script: Script,
    *,
    cases: tuple[PromptCase, ...] = CASES,
    adapters: tuple[AdapterSpec, ...] = (LORA,),
    looks: tuple[int, ...] = (2,),
    metrics: MetricsSection | None = None,
    cache: ResponseCache | None = None,
) -> Made:
    """Return a run of `script`; nothing is loaded yet."""
    engine = WatchedEngine(script, adapters)
    loads: list[WatchedEngine] = []
    log = Log()
    plan = Plan(
        cases=cases, adapters=adapters, gate=GatePlan(looks=looks), tools=TOOLS, metrics=metrics or MetricsSection()
    )

    def load() -> WatchedEngine:
        loads.append(engine)
        return engine

    return Made(BenchmarkRun(plan, load=load, listener=log, cache=cache), engine, log, loads)


def better(request: Request) -> str:
    """Answer vaguely as the base, to the point as an adapter."""
    return f"Bruit {request.replicate}." if request.arm == "base" else f"J'ouvre l'application {request.replicate}."


def fails(*keys: tuple[str, str, int]) -> Script:
    """Return a script that fails for these responses."""

    def script(request: Request) -> str | Failure:
        if request.key not in keys:
            return better(request)
        prompt_id, arm, replicate = request.key
        return Failure(
            prompt_id=prompt_id, arm=arm, replicate=replicate, stage="generate", reason=text_note("trop long")
        )

    return script


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    made = make(better)
    assert (made.loads, made.log.events, made.run.facts()) == ([], [], None)


def test_the_engine_is_loaded_once() -> None:
    made = make(better)
    assert made.run.engine is made.run.engine
    made.run.draw()
    assert made.loads == [made.engine]


def test_an_engine_that_cannot_be_loaded_passes_its_error_on() -> None:
    def load() -> WatchedEngine:
        raise EngineError("no such model")

    plan = Plan(cases=CASES, adapters=(LORA,), gate=GatePlan(looks=(1,)), tools=TOOLS)
    run = BenchmarkRun(plan, load=load, listener=Log())
    with pytest.raises(EngineError, match="no such model"):
        run.draw()
    assert run.facts() is None


def test_the_listener_is_told_all_in_order() -> None:
    made = make(better, cases=CASES[:1], looks=(1,))
    made.run.draw()
    assert made.log.events == [
        "loading",
        "loaded scripted",
        "drawing 1: 0/2",
        "drawing 1: 1/2",
        "drawing 1: 2/2",
        "drawn 1: 2/2",
    ]


def test_all_prompts_replicates_and_arms_are_asked_for_at_once() -> None:
    made = make(better, adapters=(LORA, OTHER))
    made.run.draw()
    expected = set(product(("p0", "p1", "p2"), ("base", "lora", "autre"), (0, 1)))
    assert len(made.engine.asked) == 1
    assert len(made.engine.asked[0]) == len(expected)
    assert expected == {request.key for request in made.engine.asked[0]}


def test_a_request_carries_the_text_of_its_prompt() -> None:
    made = make(better)
    made.run.draw()
    assert {request.prompt_id: request.text for request in made.engine.asked[0]} == {
        case.prompt_id: case.text for case in CASES
    }


def test_the_second_drawing_draws_nothing() -> None:
    made = make(better)
    made.run.draw()
    made.run.draw()
    assert len(made.engine.asked) == 1


def test_a_drawing_that_broke_off_is_not_tried_again() -> None:
    def script(request: Request) -> str:
        raise RuntimeError("the device is gone")

    made = make(script)
    with pytest.raises(RuntimeError, match="the device is gone"):
        made.run.draw()
    with pytest.raises(DrawingBrokenError, match="broke off in an earlier test"):
        made.run.draw()
    assert len(made.engine.asked) == 1


def test_the_drawing_stops_at_the_look_that_settles_the_question() -> None:
    made = make(better, looks=(2, 4))
    made.run.draw()
    facts = made.run.facts()
    assert facts is not None
    assert (facts.samples_per_prompt, facts.decisions["lora"].verdict) == (2, "PASS")


def test_the_drawing_goes_on_while_the_question_is_open_and_draws_nothing_twice() -> None:
    def unsure(request: Request) -> str:
        lucky = (request.replicate + (request.arm == "base") + int(request.prompt_id[1])) % 2
        return "J'ouvre l'application." if lucky else "J'ouvre."

    made = make(unsure, looks=(2, 4))
    made.run.draw()
    drawn = [
        [request.replicate for request in asked if request.key[:2] == ("p0", "base")] for asked in made.engine.asked
    ]
    assert drawn == [[0, 1], [2, 3]]
    assert made.run.samples_per_prompt == 4


def test_a_plan_without_looks_draws_nothing() -> None:
    made = make(better, looks=())
    made.run.draw()
    assert made.engine.asked == []


def test_a_run_without_one_pair_stops_at_the_first_look_and_decides_nothing() -> None:
    def silent(request: Request) -> str | Failure:
        return fails(request.key)(request) if request.arm == "lora" else "ouvre"

    made = make(silent, looks=(2, 4))
    made.run.draw()
    facts = made.run.facts()
    assert facts is not None
    assert (facts.samples_per_prompt, facts.decisions, facts.mismatched_cosine) == (2, {}, None)


def test_the_scores_of_an_adapter_are_those_of_the_replicates_that_the_base_and_it_have() -> None:
    made = make(fails(("p0", "lora", 0), ("p1", "base", 0), ("p1", "lora", 1)), adapters=(LORA, OTHER))
    made.run.draw()
    one, two = pytest.approx(1 / 3), pytest.approx(2 / 3)
    assert made.run.scores("lora") == ([[one], [one, one]], [[two], [two, two]])
    assert made.run.scores("autre") == ([[one, one], [one], [one, one]], [[two, two], [two], [two, two]])


def test_an_adapter_that_never_answers_leaves_the_others_their_decisions() -> None:
    made = make(fails(*((case.prompt_id, "lora", at) for case in CASES for at in range(4))), adapters=(LORA, OTHER))
    made.run.draw()
    facts = made.run.facts()
    assert facts is not None
    assert {name: decision.verdict for name, decision in facts.decisions.items()} == {"autre": "PASS"}


def test_a_failed_response_is_not_scored_as_zero() -> None:
    made = make(fails(("p0", "lora", 0)))
    made.run.draw()
    row = made.run.rows(CASES[0], NO_METRICS)[0]
    assert row.figure("jarvis_relevance").finetuned == pytest.approx(2 / 3)
    assert [sample.replicate for sample in row.of_arm("lora")] == [1]


def test_a_failure_is_kept_with_its_prompt() -> None:
    made = make(fails(("p0", "lora", 0)))
    made.run.draw()
    assert [failure.key for failure in made.run.failures(CASES[0])] == [("p0", "lora", 0)]
    assert made.run.failures(CASES[1]) == []


def test_a_prompt_has_something_once_it_is_drawn_or_failed() -> None:
    made = make(fails(*((("p0", arm, number)) for arm in ("base", "lora") for number in (0, 1))))
    assert not made.run.has_anything(CASES[0])
    made.run.draw()
    assert made.run.has_anything(CASES[0])


def test_a_metric_that_is_off_has_no_value() -> None:
    made = make(better, metrics=MetricsSection(cosine=False, keywords=False, relevance=False))
    made.run.draw()
    row = made.run.rows(CASES[0], NO_METRICS)[0]
    assert (
        row.figure("keyword_match").base,
        row.figure("jarvis_relevance").base,
        row.figure("cosine_similarity").finetuned,
    ) == (None, None, None)
    assert made.engine.embedded == []


def test_each_different_text_is_embedded_once() -> None:
    made = make(lambda request: request.arm)
    made.run.draw()
    assert made.engine.embedded == [["base", "lora"]]


def test_the_cosine_of_a_row_is_the_mean_over_its_pairs() -> None:
    def half(request: Request) -> str:
        return "pareil" if request.replicate == 0 else f"{request.prompt_id} {request.arm}"

    made = make(half)
    made.run.draw()
    left, right = made.engine.embed(["p0 base", "p0 lora"])
    assert left is not None
    assert right is not None
    other = float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    expected = pytest.approx((1 + other) / 2, abs=1e-6)
    assert expected == made.run.rows(CASES[0], NO_METRICS)[0].figure("cosine_similarity").finetuned


def test_the_mismatched_cosine_is_that_of_the_first_adapter() -> None:
    made = make(lambda request: " ".join(map(str, request.key)), adapters=(LORA, OTHER), looks=(1,))
    made.run.draw()
    left = made.engine.embed([f"{case.prompt_id} base 0" for case in CASES])
    right = made.engine.embed([f"{case.prompt_id} lora 0" for case in CASES])
    facts = made.run.facts()
    assert facts is not None
    assert facts.mismatched_cosine == pytest.approx(mismatched_cosine(left, right, ["p0", "p1", "p2"]))


def test_the_twin_is_the_base_with_noise_of_its_own() -> None:
    made = make(better, adapters=(AdapterSpec(name=TWIN_ARM, source="base"),))
    made.run.draw()
    asked = [request.key for request in made.engine.asked[0] if request.prompt_id == "p0"]
    row = made.run.rows(CASES[0], NO_METRICS)[0]
    assert {arm for _, arm, _ in asked} == {"base"}
    assert len(set(asked)) == 4
    assert [(sample.arm, sample.replicate) for sample in row.samples] == [
        ("base", 0),
        ("base", 1),
        (TWIN_ARM, 0),
        (TWIN_ARM, 1),
    ]


def test_a_failure_of_the_twin_is_the_twins() -> None:
    def never(request: Request) -> Failure:
        prompt_id, arm, replicate = request.key
        return Failure(prompt_id=prompt_id, arm=arm, replicate=replicate, stage="timeout", reason=text_note("30 s"))

    made = make(never, adapters=(AdapterSpec(name=TWIN_ARM, source="base"),), looks=(1,))
    made.run.draw()
    assert [failure.key for failure in made.run.failures(CASES[0])] == [("p0", "base", 0), ("p0", TWIN_ARM, 0)]


def test_the_time_of_each_step_is_kept() -> None:
    made = make(better)
    made.run.draw()
    facts = made.run.facts()
    assert facts is not None
    assert sorted(facts.timings_s) == ["embed", "generate", "load"]


def test_closing_gives_the_engine_back_once() -> None:
    made = make(better)
    made.run.draw()
    made.run.close()
    made.run.close()
    assert made.engine.closed == 1


def test_closing_loads_nothing() -> None:
    made = make(better)
    made.run.close()
    assert made.loads == []
