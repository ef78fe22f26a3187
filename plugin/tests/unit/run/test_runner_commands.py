"""`run.runner`: how a response chose its tool, and whether misheard commands were understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_jarvis.engines.base import OnProgress
from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.metrics.understanding import CleanCommand, clean_prompt_id
from pytest_jarvis.run.runner import BenchmarkRun, Plan
from pytest_jarvis.types import (
    AdapterSpec,
    EngineDescription,
    Failure,
    GatePlan,
    GenerationSettings,
    ModelSpec,
    Note,
    Progress,
    PromptCase,
    Request,
    Response,
    Tool,
    ToolCall,
    text_note,
)

Script = Callable[[Request], str | Failure]

LORA = AdapterSpec(name="lora", source="x")
OPEN = Tool(name="open_tool", description="", parameters={}, terms=("ouvre", "application", "logiciel", "lance"))
MUTE = Tool(name="mute_tool", description="", parameters={}, terms=("silence", "muet", "sourdine", "coupe", "son"))


class Silent:
    """A listener that shows nothing."""

    def loading(self) -> None: ...

    def loaded(self, description: EngineDescription, seconds: float) -> None: ...

    def drawing(self, look: int, progress: Progress) -> None: ...

    def drawn(self, look: int, progress: Progress) -> None: ...


class WatchedEngine(ScriptedEngine):
    """A scripted engine that keeps what it was asked."""

    def __init__(self, script: Script) -> None:
        super().__init__(ModelSpec(adapters=(LORA,)), GenerationSettings(), script)
        self.asked: list[list[Request]] = []

    def generate(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Response | Failure]:
        self.asked.append(list(requests))
        return super().generate(requests, on_progress)


@dataclass
class Made:
    """A run with its engine."""

    run: BenchmarkRun
    engine: WatchedEngine


def make(
    script: Script, *, cases: tuple[PromptCase, ...], looks: tuple[int, ...], metrics: MetricsSection | None = None
) -> Made:
    """Return a run of `script`; nothing is loaded yet."""
    engine = WatchedEngine(script)
    plan = Plan(
        cases=cases,
        adapters=(LORA,),
        gate=GatePlan(looks=looks),
        tools=(OPEN, MUTE),
        metrics=metrics or MetricsSection(),
    )
    return Made(BenchmarkRun(plan, load=lambda: engine, listener=Silent()), engine)


WANTING = PromptCase(
    prompt_id="w", category="c", text="ouvre chrome", keywords=("chrome", "ouvre"), expected_tool="open_tool"
)
WANTING_OTHER = replace(WANTING, prompt_id="o", text="lance firefox")
SILENT = PromptCase(prompt_id="s", category="c", text="merci", keywords=("plaisir", "service"), no_tool=True)
MISHEARD = PromptCase(
    prompt_id="m",
    category="c",
    text="ouvres crom",
    keywords=("chrome", "ouvre"),
    expected_tool="open_tool",
    intended="Ouvre chrome",
)
CLEAN = clean_prompt_id("ouvre chrome")
UNDERSTANDING = MetricsSection(understanding=True)


def opens(request: Request) -> str:
    """Answer clearly to what is clear; the base does not understand the rest."""
    clear = request.arm != "base" or "chrome" in request.text.lower()
    return "J'ouvre chrome." if clear else "Silence."


def reasons(made: Made, case: PromptCase) -> list[str | None]:
    (row,) = made.run.rows(case, NO_METRICS)
    return [sample.routing.reason if sample.routing else None for sample in row.samples]


def test_without_tools_the_tool_most_named_is_judged() -> None:
    made = make(opens, cases=(WANTING, SILENT), looks=(1,))
    made.run.draw()
    assert ["right_tool", "right_tool"] == reasons(made, WANTING)
    assert ["unwanted_call", "unwanted_call"] == reasons(made, SILENT)


def test_the_choice_of_the_tool_is_not_judged_when_that_is_off() -> None:
    made = make(opens, cases=(WANTING,), looks=(1,), metrics=MetricsSection(tool_routing=False))
    made.run.draw()
    assert [None, None] == reasons(made, WANTING)


def test_with_tools_the_calls_are_judged_and_not_the_words() -> None:
    tool = replace(OPEN, parameters={"type": "object"})
    engine = ScriptedEngine(
        ModelSpec(adapters=(LORA,)),
        GenerationSettings(tools=(tool,), max_response_chars=10),
        lambda request: (
            "J'ouvre." if request.arm == "base" else 'Tout de suite. <tool_call>{"name": "open_tool"}</tool_call>'
        ),
    )
    plan = Plan(cases=(WANTING,), adapters=(LORA,), gate=GatePlan(looks=(1,)), tools=(tool,))
    run = BenchmarkRun(plan, load=lambda: engine, listener=Silent())
    run.draw()
    (row,) = run.rows(WANTING, NO_METRICS)
    base, tuned = row.samples
    assert (Routing(reason="no_call"), ()) == (base.routing, base.response.tool_calls)
    assert (Routing(reason="right_tool", tool="open_tool"), (ToolCall(name="open_tool"),)) == (
        tuned.routing,
        tuned.response.tool_calls,
    )
    assert (0.0, 1.0) == (row.figure("tool_routing").base, row.figure("tool_routing").finetuned)


def test_relevance_is_not_measured_where_no_tool_is_wanted() -> None:
    made = make(opens, cases=(WANTING, SILENT), looks=(1,))
    made.run.draw()
    (row,) = made.run.rows(SILENT, NO_METRICS)
    assert ([None, None], None) == (
        [sample.score("jarvis_relevance") for sample in row.samples],
        row.figure("jarvis_relevance").base,
    )
    assert [1, 1] == [len(values) for values in made.run.scores("lora")]


def test_clean_commands_are_drawn_in_the_same_batches_and_are_no_rows() -> None:
    made = make(opens, cases=(MISHEARD,), looks=(2,), metrics=UNDERSTANDING)
    made.run.draw()
    (asked,) = made.engine.asked
    assert {("m", "ouvres crom"), (CLEAN, "Ouvre chrome")} == {(one.prompt_id, one.text) for one in asked}
    assert 8 == len(asked)
    (row,) = made.run.rows(MISHEARD, NO_METRICS)
    assert ("m", 4) == (row.prompt_id, len(row.samples))
    assert (0.0, 1.0) == (row.figure("understood").base, row.figure("understood").finetuned)
    assert ["base", "base", "lora", "lora"] == [sample.arm for sample in row.clean_samples]
    assert CleanCommand(responses=2, tool="open_tool", keywords=("chrome", "ouvre"), text="J'ouvre chrome.") == (
        row.clean_base
    )


def test_a_clean_command_that_is_a_prompt_of_the_plan_is_not_drawn_again() -> None:
    made = make(opens, cases=(MISHEARD, WANTING), looks=(1,), metrics=UNDERSTANDING)
    made.run.draw()
    assert {"m", "w"} == {one.prompt_id for asked in made.engine.asked for one in asked}
    (row,) = made.run.rows(MISHEARD, NO_METRICS)
    assert (0.0, 1.0) == (row.figure("understood").base, row.figure("understood").finetuned)


def test_nothing_is_drawn_for_clean_commands_unless_asked() -> None:
    made = make(opens, cases=(MISHEARD,), looks=(1,))
    made.run.draw()
    assert {"m"} == {one.prompt_id for asked in made.engine.asked for one in asked}
    (row,) = made.run.rows(MISHEARD, NO_METRICS)
    assert (None, None, None) == (row.figure("understood").base, row.figure("understood").finetuned, row.clean_base)


def test_a_clean_command_without_an_answer_is_a_failed_score_and_not_a_misunderstanding() -> None:
    def script(request: Request) -> str | Failure:
        if (request.prompt_id, request.arm) != (CLEAN, "base"):
            return opens(request)
        return Failure(
            prompt_id=CLEAN, arm="base", replicate=request.replicate, stage="generate", reason=text_note("trop long")
        )

    made = make(script, cases=(MISHEARD,), looks=(2,), metrics=UNDERSTANDING)
    made.run.draw()
    (row,) = made.run.rows(MISHEARD, NO_METRICS)
    assert (None, 1.0) == (row.figure("understood").base, row.figure("understood").finetuned)
    reason = Note("no_clean_answer", {"command": "Ouvre chrome"}, text_note("trop long"))
    assert [Failure(prompt_id="m", arm="base", replicate=0, stage="score", reason=reason)] == made.run.failures(
        MISHEARD
    )


def test_one_failed_answer_to_a_clean_command_leaves_the_others() -> None:
    def script(request: Request) -> str | Failure:
        if request.key != (CLEAN, "base", 0):
            return opens(request)
        return Failure(prompt_id=CLEAN, arm="base", replicate=0, stage="generate", reason=text_note("trop long"))

    made = make(script, cases=(MISHEARD, WANTING_OTHER), looks=(2,), metrics=UNDERSTANDING)
    made.run.draw()
    (row,) = made.run.rows(MISHEARD, NO_METRICS)
    assert row.clean_base is not None
    assert 1 == row.clean_base.responses
    assert [] == made.run.failures(MISHEARD)
    assert [] == made.run.failures(WANTING_OTHER)
