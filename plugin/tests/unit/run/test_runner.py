"""`run.runner`: one engine, the looks drawn from it, the rows they give, and the commands held against clean ones."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from msgspec.structs import replace
from runs import CASES, LORA, OTHER, TOOLS, TWIN, Log, WatchedEngine, better, drawn, failed, fails, make

from pytest_jarvis.metrics.registry import Reading
from pytest_jarvis.metrics.similarity import mismatched_cosine
from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.run.runner import BenchmarkRun, GenerationAbortedError, Plan
from pytest_jarvis.types import (
    TWIN_ARM,
    EngineError,
    GatePlan,
    GenerationSettings,
    PromptCase,
    Request,
    Response,
    ToolCall,
)


def test_nothing_is_loaded_before_it_is_asked_for_nor_by_closing() -> None:
    made = make(better)
    assert (made.loads, made.log.events, made.run.facts()) == ([], [], None)
    made.run.close()
    assert made.loads == []


def test_the_engine_is_loaded_once() -> None:
    made = make(better)
    assert made.run.engine is made.run.engine
    made.run.generate()
    assert made.loads == [made.engine]


def test_an_engine_that_cannot_be_loaded_passes_its_error_on() -> None:
    def load() -> WatchedEngine:
        raise EngineError("no such model")

    plan = Plan(cases=CASES, adapters=(LORA,), gate=GatePlan(looks=(1,)), tools=TOOLS)
    run = BenchmarkRun(plan, load=load, listener=Log())
    with pytest.raises(EngineError, match="no such model"):
        run.generate()
    assert run.facts() is None


def test_the_listener_is_told_all_in_order() -> None:
    assert drawn(better, cases=CASES[:1], looks=(1,)).log.events == [
        "loading",
        "loaded scripted",
        "drawing 1: 0/2",
        "drawing 1: 1/2",
        "drawing 1: 2/2",
        "drawn 1: 2/2",
    ]


def test_all_prompts_replicates_and_arms_are_asked_for_at_once_and_only_once() -> None:
    made = drawn(better, adapters=(LORA, OTHER))
    made.run.generate()
    expected = set(product(("p0", "p1", "p2"), ("base", "lora", "autre"), (0, 1)))
    (asked,) = made.engine.asked
    assert len(asked) == len(expected)
    assert expected == {request.key for request in asked}
    assert {request.prompt_id: request.text for request in asked} == {case.prompt_id: case.text for case in CASES}


def test_a_drawing_that_broke_off_is_not_tried_again() -> None:
    def script(request: Request) -> str:
        raise RuntimeError("the device is gone")

    made = make(script)
    with pytest.raises(RuntimeError, match="the device is gone"):
        made.run.generate()
    with pytest.raises(GenerationAbortedError, match="failed in an earlier test"):
        made.run.generate()
    assert len(made.engine.asked) == 1


def test_the_drawing_stops_at_the_look_that_settles_the_question() -> None:
    many = tuple(replace(CASES[0], prompt_id=f"p{number}") for number in range(9))
    facts = drawn(better, cases=many, looks=(2, 4)).facts
    assert (facts.samples_per_prompt, facts.decisions["lora"].verdict) == (2, "PASS")


def test_the_drawing_goes_on_while_the_question_is_open_and_draws_nothing_twice() -> None:
    def unsure(request: Request) -> str:
        lucky = (request.replicate + (request.arm == "base") + int(request.prompt_id[1])) % 2
        return "J'ouvre l'application." if lucky else "J'ouvre."

    made = drawn(unsure, looks=(2, 4))
    numbers = [[one.replicate for one in asked if one.key[:2] == ("p0", "base")] for asked in made.engine.asked]
    assert numbers == [[0, 1], [2, 3]]
    assert made.run.samples_per_prompt == 4


def test_a_plan_without_looks_draws_nothing() -> None:
    assert drawn(better, looks=()).engine.asked == []


def test_a_run_without_one_pair_stops_at_the_first_look_and_decides_nothing() -> None:
    facts = drawn(lambda one: failed(one) if one.arm == "lora" else "ouvre", looks=(2, 4)).facts
    assert (facts.samples_per_prompt, facts.decisions, facts.mismatched_cosine) == (2, {}, None)


def test_the_scores_of_an_adapter_are_those_of_the_replicates_that_the_base_and_it_have() -> None:
    made = drawn(fails(("p0", "lora", 0), ("p1", "base", 0), ("p1", "lora", 1)), adapters=(LORA, OTHER))
    found = made.facts.decisions
    assert [(2, (1, 2)), (3, (1, 2))] == [(found[name].prompts, found[name].replicates) for name in ("lora", "autre")]


def test_an_adapter_that_never_answers_leaves_the_others_their_decisions() -> None:
    made = drawn(lambda one: failed(one) if one.arm == "lora" else better(one), adapters=(LORA, OTHER), looks=(8,))
    assert {name: decision.verdict for name, decision in made.facts.decisions.items()} == {"autre": "PASS"}


def test_a_failed_response_is_kept_with_its_prompt_and_not_scored_as_zero() -> None:
    made = drawn(fails(("p0", "lora", 0)))
    assert made.row().figure("jarvis_relevance").finetuned == pytest.approx(2 / 3)
    assert [sample.replicate for sample in made.row().of_arm("lora")] == [1]
    assert [failure.key for failure in made.run.failures(CASES[0])] == [("p0", "lora", 0)]
    assert made.run.failures(CASES[1]) == []


def test_a_prompt_has_something_once_it_is_drawn_or_failed() -> None:
    made = make(fails(*product(("p0",), ("base", "lora"), (0, 1))))
    assert not made.run.has_anything(CASES[0])
    made.run.generate()
    assert made.run.has_anything(CASES[0])


def test_a_metric_that_is_off_has_no_value() -> None:
    made = drawn(better, cosine=False, keywords=False, relevance=False, tool_routing=False)
    names = ("keyword_share", "jarvis_relevance", "cosine_similarity", "tool_routing")
    assert {(None, None)} == {(made.row().figure(name).base, made.row().figure(name).finetuned) for name in names}
    assert made.engine.embedded == []


def test_each_different_text_is_embedded_once() -> None:
    assert drawn(lambda request: request.arm).engine.embedded == [["base", "lora"]]


def test_the_cosine_of_a_row_is_the_mean_over_its_pairs() -> None:
    made = drawn(lambda one: "pareil" if one.replicate == 0 else f"{one.prompt_id} {one.arm}")
    left, right = made.engine.embed(["p0 base", "p0 lora"])
    assert left is not None
    assert right is not None
    other = float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    assert made.row().figure("cosine_similarity").finetuned == pytest.approx((1 + other) / 2, abs=1e-6)


def test_the_mismatched_cosine_is_that_of_the_first_adapter() -> None:
    made = drawn(lambda request: " ".join(map(str, request.key)), adapters=(LORA, OTHER), looks=(1,))
    left, right = (made.engine.embed([f"{case.prompt_id} {arm} 0" for case in CASES]) for arm in ("base", "lora"))
    assert made.facts.mismatched_cosine == pytest.approx(mismatched_cosine(left, right, ["p0", "p1", "p2"]))


def test_the_twin_is_the_base_with_noise_of_its_own() -> None:
    made = drawn(better, adapters=(TWIN,))
    asked = [request.key for request in made.engine.asked[0] if request.prompt_id == "p0"]
    assert {arm for _, arm, _ in asked} == {"base"}
    assert len(set(asked)) == 4
    assert [(sample.arm, sample.replicate) for sample in made.row().samples] == [*product(("base", TWIN_ARM), (0, 1))]


def test_a_failure_of_the_twin_is_the_twins() -> None:
    made = drawn(failed, adapters=(TWIN,), looks=(1,))
    assert [failure.key for failure in made.run.failures(CASES[0])] == [("p0", "base", 0), ("p0", TWIN_ARM, 0)]


def test_the_time_of_each_step_is_kept() -> None:
    assert sorted(drawn(better).facts.timings_s) == ["embed", "generate", "load"]


def test_closing_gives_the_engine_back_once() -> None:
    made = drawn(better)
    made.run.close()
    made.run.close()
    assert made.engine.closed == 1


# The rows that a drawn run gives, and what others measure of them.


class Lengths:
    """Measures the length of a response, and how much longer the fine-tuned one of a pair is."""

    def of_response(self, case: PromptCase, response: Response, reading: Reading) -> dict[str, float]:
        return {"chars": float(len(response.text)), "number": float(case.prompt_id[1])}

    def of_pair(self, case: PromptCase, base: Response, finetuned: Response) -> dict[str, float]:
        assert (base.prompt_id, base.replicate) == (finetuned.prompt_id, finetuned.replicate)
        return {"longer": float(len(finetuned.text) - len(base.text))}


def test_a_row_holds_the_means_of_its_replicates_and_the_first_texts() -> None:
    row = drawn(lambda one: "J'ouvre le son." if one.replicate else "Bonjour.").row()
    assert (row.base_model_response, row.finetuned_response) == ("Bonjour.", "Bonjour.")
    assert (row.figure("keyword_share").base, row.figure("jarvis_relevance").finetuned) == (0.5, pytest.approx(1 / 3))
    assert [(sample.arm, sample.replicate) for sample in row.samples] == [*product(("base", "lora"), (0, 1))]


def test_a_row_without_an_arm_has_no_scores_for_it() -> None:
    row = drawn(fails(("p0", "lora", 0), ("p0", "lora", 1))).row()
    assert (row.finetuned_response, row.measured) == (None, False)
    names = ("keyword_share", "jarvis_relevance", "cosine_similarity")
    assert {None} == {row.figure(name).finetuned for name in names}


def test_a_prompt_has_a_row_for_each_adapter() -> None:
    made = drawn(better, adapters=(LORA, OTHER))
    assert [row.adapter for row in made.run.rows(CASES[0], Lengths())] == ["lora", "autre"]


def test_what_others_measure_goes_to_the_sample_of_its_response_or_of_the_adapter_of_its_pair() -> None:
    row = drawn(fails(("p1", "base", 1))).row(CASES[1], Lengths())
    assert [(float(len(one.text)), 1.0) for one in row.samples] == [
        (one.scores["chars"], one.scores["number"]) for one in row.samples
    ]
    (base,), tuned = row.of_arm("base"), row.of_arm("lora")
    assert "longer" not in base.scores
    assert [one.score("longer") for one in tuned] == [float(len(tuned[0].text) - len(base.text)), None]


def test_the_keyword_mode_is_that_of_the_configuration() -> None:
    assert drawn(lambda _: "À la maison", keyword_mode="substring").row().figure("keyword_share").base == 0.5


def test_an_empty_response_has_no_cosine_and_is_scored() -> None:
    row = drawn(lambda request: "" if request.prompt_id == "p0" else "ouvre").row()
    assert (row.figure("cosine_similarity").finetuned, row.figure("keyword_share").base) == (None, 0.0)
    assert row.measured


# How a response chose its tool.

WANTING = PromptCase(
    prompt_id="w", category="c", text="ouvre chrome", keywords=("chrome", "ouvre"), expected_tool="open_tool"
)
WANTING_OTHER = replace(WANTING, prompt_id="o", text="lance firefox")
SILENT = PromptCase(prompt_id="s", category="c", text="merci", keywords=("plaisir", "service"), no_tool=True)


def opens(request: Request) -> str:
    """Answer clearly to what is clear; the base does not understand the rest."""
    clear = request.arm != "base" or "chrome" in request.text.lower()
    return "J'ouvre chrome." if clear else "Silence."


def test_without_tools_the_deed_is_judged_and_relevance_where_one_is_wanted() -> None:
    made = drawn(opens, cases=(WANTING, SILENT), looks=(1,))
    reasons = {
        case.prompt_id: [sample.routing and sample.routing.reason for sample in made.row(case).samples]
        for case in (WANTING, SILENT)
    }
    assert reasons == {"w": ["right_tool", "right_tool"], "s": ["right_silence", "unwanted_call"]}
    assert [None, None] == [sample.score("jarvis_relevance") for sample in made.row(SILENT).samples]
    assert made.row(SILENT).figure("jarvis_relevance").base is None
    assert 1 == made.facts.decisions["lora"].prompts


def test_the_choice_of_the_tool_is_not_judged_when_that_is_off() -> None:
    made = drawn(opens, cases=(WANTING,), looks=(1,), tool_routing=False)
    assert [None, None] == [sample.routing for sample in made.row(WANTING).samples]


def test_with_tools_the_calls_are_judged_and_not_the_words() -> None:
    def script(request: Request) -> str:
        called = 'Tout de suite. <tool_call>{"name": "open_tool"}</tool_call>'
        return "J'ouvre." if request.arm == "base" else called

    settings = GenerationSettings(tools=(replace(TOOLS[0], parameters={"type": "object"}),), max_response_chars=10)
    made = drawn(script, cases=(WANTING,), looks=(1,), engine=WatchedEngine(script, (LORA,), settings))
    base, tuned = made.row(WANTING).samples
    assert (base.routing, base.response.tool_calls) == (Routing(reason="no_call"), ())
    assert tuned.routing == Routing(reason="right_tool", tool="open_tool")
    assert tuned.response.tool_calls == (ToolCall(name="open_tool"),)
    figure = made.row(WANTING).figure("tool_routing")
    assert (figure.base, figure.finetuned) == (0.0, 1.0)
