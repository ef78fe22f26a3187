"""The whole benchmark on the embedded pair, by the real engine in NF4: who gains, who does not, what noise is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from runs import Log
from safetensors.torch import load_file, save_file

from pytest_jarvis.demo import adapter_path
from pytest_jarvis.engines.transformers.engine import TransformersEngine
from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
from pytest_jarvis.metrics.custom import NO_METRICS
from pytest_jarvis.metrics.deeds import Judge
from pytest_jarvis.plugin.session import ModelHandle
from pytest_jarvis.run.build_report import measure_noise_floors
from pytest_jarvis.run.runner import BenchmarkRun, Plan, RunFacts
from pytest_jarvis.run.store import ResponseCache
from pytest_jarvis.types import TWIN_ARM, AdapterSpec, GatePlan, GenerationSettings, ModelSpec, Request, Response

PROMPTS = load_prompts(packaged_prompts())
SETTINGS = GenerationSettings(timeout_s=None)
REPLICATES = 3
"""Fewer than the default of 4: enough for every claim made here."""


@pytest.fixture(scope="module")
def inert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter `jarvis` with every B at zero: it changes nothing."""
    folder = tmp_path_factory.mktemp("inert")
    source = adapter_path("jarvis")
    (folder / "adapter_config.json").write_text(
        (source / "adapter_config.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    weights = load_file(source / "adapter_model.safetensors")
    save_file(
        {name: torch.zeros_like(value) if "lora_B" in name else value for name, value in weights.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


@pytest.fixture(scope="module")
def engine(inert: Path, libraries: None) -> TransformersEngine:
    adapters = (
        AdapterSpec(name="jarvis", source="demo:jarvis"),
        AdapterSpec(name="faible", source="demo:faible"),
        AdapterSpec(name="inerte", source=str(inert)),
    )
    return TransformersEngine(ModelSpec(adapters=adapters, allow_inert_adapter=True), SETTINGS)


def make_run(
    engine: TransformersEngine,
    *names: str,
    shared_noise: bool = True,
    categories: str = "",
    cache: ResponseCache | None = None,
) -> BenchmarkRun:
    plan = Plan(
        cases=tuple(case for case in PROMPTS.cases if case.category.startswith(categories)),
        adapters=tuple(AdapterSpec(name=name, source=name) for name in names),
        gate=GatePlan(looks=(REPLICATES,), shared_noise=shared_noise),
        tools=PROMPTS.tools,
        metrics=MetricsSection(cosine=False),
    )
    run = BenchmarkRun(plan, load=lambda: engine, listener=Log(), cache=cache)
    run.generate()
    return run


@pytest.fixture(scope="module")
def full(engine: TransformersEngine) -> BenchmarkRun:
    return make_run(engine, "jarvis", "faible", "inerte")


def texts(run: BenchmarkRun) -> dict[tuple[str, str, int], str]:
    return {
        (row.prompt_id, sample.arm, sample.replicate): sample.text
        for case in run.plan.cases
        for row in run.rows(case, NO_METRICS)
        for sample in row.samples
    }


def test_every_response_of_every_arm_is_drawn(full: BenchmarkRun) -> None:
    assert len(texts(full)) == 30 * 4 * REPLICATES
    assert [] == [failure for case in full.plan.cases for failure in full.failures(case)]


def test_the_well_trained_adapter_is_proven_and_the_weak_one_is_not(full: BenchmarkRun) -> None:
    facts = full.facts()
    assert facts is not None
    assert facts.decisions["jarvis"].verdict == "PASS"
    assert facts.decisions["faible"].verdict != "PASS"


def test_jarvis_does_most_of_what_it_is_asked_the_base_some_and_faible_no_more(full: BenchmarkRun) -> None:
    judge, cases = Judge(PROMPTS.tools), {case.prompt_id: case for case in full.plan.cases}
    done = Counter(arm for (name, arm, _), text in texts(full).items() if judge.judge(cases[name], text).kind == "done")
    share = {arm: count / (30 * REPLICATES) for arm, count in done.items()}
    assert share["jarvis"] > 0.7
    assert 0.2 < share["base"] < 0.5
    assert share["faible"] < share["base"] + 0.05


def test_an_adapter_that_changes_nothing_gives_the_bases_texts_and_a_gain_of_exactly_zero(full: BenchmarkRun) -> None:
    facts, drawn = full.facts(), texts(full)
    assert facts is not None
    assert {(name, number): text for (name, arm, number), text in drawn.items() if arm == "base"} == {
        (name, number): text for (name, arm, number), text in drawn.items() if arm == "inerte"
    }
    assert facts.decisions["inerte"].gain == 0
    assert facts.decisions["inerte"].verdict != "PASS"


def test_a_category_alone_gets_its_texts_of_the_full_run(full: BenchmarkRun, engine: TransformersEngine) -> None:
    alone = texts(make_run(engine, "jarvis", categories="tool_routing"))
    assert len(alone) == 10 * 2 * REPLICATES
    assert alone == {key: text for key, text in texts(full).items() if key in alone}


def test_a_second_adapter_draws_no_response_of_the_base(engine: TransformersEngine, tmp_path: Path) -> None:
    def run_of(name: str) -> tuple[dict[tuple[str, str, int], str], RunFacts]:
        cache = ResponseCache(tmp_path / "store.sqlite", read=True, write=True)
        run = make_run(engine, name, categories="tool_routing", cache=cache)
        cache.close()
        facts = run.facts()
        assert facts is not None
        return texts(run), facts

    first, before = run_of("jarvis")
    second, after = run_of("faible")
    assert (before.reused, before.generated["base"] > 0) == ({"base": 0, "jarvis": 0}, True)
    assert after.reused == {"base": before.generated["base"], "faible": 0}
    assert after.generated == {"base": 0, "faible": before.generated["jarvis"]}
    bases = [{key: text for key, text in one.items() if key[1] == "base"} for one in (first, second)]
    assert bases[0] == bases[1]


def test_the_base_against_itself_differs_by_noise_alone(engine: TransformersEngine) -> None:
    run = make_run(engine, TWIN_ARM, shared_noise=False)
    facts, drawn = run.facts(), texts(run)
    assert facts is not None
    assert facts.decisions[TWIN_ARM].verdict != "PASS"
    same = sum(drawn[name, "base", number] == text for (name, arm, number), text in drawn.items() if arm == TWIN_ARM)
    assert same < 30 * REPLICATES / 2
    floors = measure_noise_floors((row for case in run.plan.cases for row in run.rows(case, NO_METRICS)), ())
    assert floors["jarvis_relevance"].floor is not None
    assert floors["jarvis_relevance"].floor > 0


def test_each_arm_answers_alone_with_its_times(engine: TransformersEngine) -> None:
    """At batch size 1, as `pytest -m latence` times it."""
    for arm in ("base", "jarvis"):
        request = Request(prompt_id="libre", text="ouvre chrome", arm=arm, replicate=0)
        alone = ModelHandle(engine, arm, "demo").answer_alone("ouvre chrome")
        (beside,) = engine.generate([request])
        assert isinstance(beside, Response)
        assert (request.key, beside.prompt_tokens) == (alone.key, alone.prompt_tokens)
        assert alone.first_token_s is not None
        assert 0 < alone.first_token_s <= alone.duration_s
        assert "ouvr" in alone.text.lower() or arm == "base"
