"""What grows with the number of prompts grows no faster: counts of work, not times."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.metrics.relevance import Dictionary, score_text
from pytest_jarvis.run.runner import BenchmarkRun, Plan
from pytest_jarvis.run.sharding import cases_of_tests, group_cases
from pytest_jarvis.stats.contrasts import contrast_these_prompts
from pytest_jarvis.types import AdapterSpec, Failure, GenerationSettings, ModelSpec, PromptCase, Request, Tool

TOOL = Tool(name="open_tool", description="", parameters={}, terms=("ouvre", "application"))
LORA = AdapterSpec(name="lora", source="x")


class Silent:
    """A listener that shows nothing."""

    def loading(self) -> None: ...

    def loaded(self, description: object, seconds: float) -> None: ...

    def drawing(self, look: int, progress: object) -> None: ...

    def drawn(self, look: int, progress: object) -> None: ...


def cases(count: int) -> tuple[PromptCase, ...]:
    return tuple(
        PromptCase(prompt_id=f"p{number}", category=f"c{number % 3}", text=f"ouvre {number}", keywords=("ouvre",))
        for number in range(count)
    )


def calls_of(action: Callable[[], object]) -> int:
    """Return how many calls of this package's functions, and lines of its comprehensions, `action` makes."""
    count = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and "pytest_jarvis" in frame.f_code.co_filename

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def draw_and_read(count: int, *, failing: bool) -> None:
    """Draw a plan and read each of its prompts as a session does."""

    def script(request: Request) -> str | Failure:
        if failing and request.arm == "lora":
            return Failure(
                prompt_id=request.prompt_id, arm="lora", replicate=request.replicate, stage="load", reason=""
            )
        return f"J'ouvre {request.prompt_id} {request.replicate} {request.arm}."

    plan = Plan(cases=cases(count), adapters=(LORA,), looks=(2,), tools=(TOOL,))
    engine = ScriptedEngine(ModelSpec(adapters=(LORA,)), GenerationSettings(), script)
    run = BenchmarkRun(plan, load=lambda: engine, listener=Silent())  # type: ignore[arg-type]
    run.draw()
    for case in plan.cases:
        run.failures(case)
        run.has_anything(case)


@pytest.mark.parametrize("failing", [False, True])
def test_the_work_of_a_run_grows_as_its_prompts_do(*, failing: bool) -> None:
    draw_and_read(5, failing=failing)
    small, large = (calls_of(lambda count=count: draw_and_read(count, failing=failing)) for count in (20, 200))
    assert large <= 10.5 * small


def test_the_cases_of_tests_are_found_and_grouped_in_one_pass() -> None:
    def share(count: int) -> None:
        made = cases(count)
        cases_of_tests([f"t.py::t[{case.category}-{case.prompt_id}]" for case in made], made)
        group_cases(made, 4)

    small, large = (calls_of(lambda count=count: share(count)) for count in (50, 500))
    assert large <= 10.5 * small


def test_a_response_of_plain_text_is_made_comparable_without_looking_at_each_letter() -> None:
    case, dictionary = cases(1)[0], Dictionary.of((TOOL,))
    score_text("ouvre", case, dictionary)
    short, long = (
        calls_of(lambda text=text: score_text(text, case, dictionary)) for text in ("ouvre", "ouvre " + "a b c " * 200)
    )
    assert short == long


def test_an_arm_beside_itself_has_its_variance_computed_once() -> None:
    table = [(0.1, 0.2, 0.4)] * 10
    other = [(0.2, 0.3, 0.4)] * 10
    alone = calls_of(lambda: contrast_these_prompts(table, table, shared_noise=True))
    assert alone < calls_of(lambda: contrast_these_prompts(table, other, shared_noise=True))
