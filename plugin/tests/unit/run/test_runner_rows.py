"""`run.runner`: the rows that a drawn run gives, and what others measure of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.metrics.registry import Reading
from pytest_jarvis.run.runner import BenchmarkRun, Plan
from pytest_jarvis.types import (
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


class Silent:
    """A listener that shows nothing."""

    def loading(self) -> None: ...

    def loaded(self, description: EngineDescription, seconds: float) -> None: ...

    def drawing(self, look: int, progress: Progress) -> None: ...

    def drawn(self, look: int, progress: Progress) -> None: ...


def drawn(
    script: Script, *, adapters: tuple[AdapterSpec, ...] = (LORA,), metrics: MetricsSection | None = None
) -> BenchmarkRun:
    """Return a run of `script`, two responses a prompt and arm, all drawn."""
    plan = Plan(
        cases=CASES, adapters=adapters, gate=GatePlan(looks=(2,)), tools=TOOLS, metrics=metrics or MetricsSection()
    )
    engine = ScriptedEngine(ModelSpec(adapters=adapters), GenerationSettings(), script)
    run = BenchmarkRun(plan, load=lambda: engine, listener=Silent())
    run.draw()
    return run


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


class Lengths:
    """Measures the length of a response, and how much longer the fine-tuned one of a pair is."""

    def of_response(self, case: PromptCase, response: Response, reading: Reading) -> dict[str, float]:
        return {"chars": float(len(response.text)), "number": float(case.prompt_id[1])}

    def of_pair(self, case: PromptCase, base: Response, finetuned: Response) -> dict[str, float]:
        assert (base.prompt_id, base.replicate) == (finetuned.prompt_id, finetuned.replicate)
        return {"longer": float(len(finetuned.text) - len(base.text))}


def test_a_row_holds_the_means_of_its_replicates_and_the_first_texts() -> None:
    def varied(request: Request) -> str:
        return "J'ouvre le son." if request.replicate else "Bonjour."

    run = drawn(varied)
    row = run.rows(CASES[0], NO_METRICS)[0]
    assert (row.base_model_response, row.finetuned_response) == ("Bonjour.", "Bonjour.")
    assert (row.figure("keyword_match").base, row.figure("jarvis_relevance").finetuned) == (0.5, pytest.approx(1 / 3))
    assert [(sample.arm, sample.replicate) for sample in row.samples] == [
        ("base", 0),
        ("base", 1),
        ("lora", 0),
        ("lora", 1),
    ]


def test_a_row_without_an_arm_has_no_scores_for_it() -> None:
    run = drawn(fails(("p0", "lora", 0), ("p0", "lora", 1)))
    row = run.rows(CASES[0], NO_METRICS)[0]
    assert (
        row.finetuned_response,
        row.figure("keyword_match").finetuned,
        row.figure("jarvis_relevance").finetuned,
    ) == (None, None, None)
    assert (row.figure("cosine_similarity").finetuned, row.measured) == (None, False)


def test_a_prompt_has_a_row_for_each_adapter() -> None:
    run = drawn(better, adapters=(LORA, OTHER))
    assert [row.adapter for row in run.rows(CASES[0], NO_METRICS)] == ["lora", "autre"]


def test_what_others_measure_goes_to_the_sample_of_its_response() -> None:
    run = drawn(better)
    row = run.rows(CASES[1], Lengths())[0]
    assert [(float(len(sample.text)), 1.0) for sample in row.samples] == [
        (sample.scores["chars"], sample.scores["number"]) for sample in row.samples
    ]


def test_what_others_measure_of_a_pair_goes_to_the_sample_of_the_adapter() -> None:
    run = drawn(fails(("p1", "base", 1)))
    row = run.rows(CASES[1], Lengths())[0]
    base, tuned = row.of_arm("base"), row.of_arm("lora")
    assert not any("longer" in sample.scores for sample in base)
    partners = {sample.replicate: sample for sample in base}
    assert [sample.score("longer") for sample in tuned] == [
        float(len(sample.text) - len(partners[sample.replicate].text)) if sample.replicate != 1 else None
        for sample in tuned
    ]


def test_the_keyword_mode_is_that_of_the_configuration() -> None:
    run = drawn(lambda request: "À la maison", metrics=MetricsSection(keyword_mode="substring"))
    assert run.rows(CASES[0], NO_METRICS)[0].figure("keyword_match").base == 0.5


def test_an_empty_response_has_no_cosine_and_is_scored() -> None:
    run = drawn(lambda request: "" if request.prompt_id == "p0" else "ouvre")
    row = run.rows(CASES[0], NO_METRICS)[0]
    assert (row.figure("cosine_similarity").finetuned, row.figure("keyword_match").base, row.measured) == (
        None,
        0.0,
        True,
    )
