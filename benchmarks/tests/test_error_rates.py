"""The benchmarks of the gate's error rates measure the shipped functions and nothing else."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import pytest

import gate_error_rates as rates
import regression_error_rates as regression
from pytest_jarvis.stats.decision import Decision, decide
from pytest_jarvis.stats.estimates import compare
from pytest_jarvis.stats.regression import OVERALL, find_drops
from pytest_jarvis.stats.sequential import LOOKS, judge_look, look_alpha
from pytest_jarvis.stats.thresholds import Bar
from pytest_jarvis.types import GatePlan

GAIN = Bar(name="relevance_gain", metric="jarvis_relevance", measure="gain", bar=0.05)
VERDICTS = {"PASS": 1, "INCONCLUSIVE": 0, "FAIL": -1}


Array = npt.NDArray[np.float64]


class Model(Protocol):
    """A noise model of the script."""

    level: float

    def draw(
        self, source: np.random.Generator, base: Array, finetuned: Array, replicates: int, /
    ) -> tuple[Array, Array]: ...


MODELS = [pytest.param(model, id=model.name) for model in (*rates.MODELS, *rates.HARD[:-2])]


def draw(model: Model, gain: float, replicates: int, runs: int = 12) -> tuple[Array, Array]:
    source = np.random.default_rng(3)
    base, finetuned = rates.draw_means(source, model.level, gain, runs, 10, exact=True)
    return model.draw(source, base, finetuned, replicates)


@pytest.mark.parametrize("target", ["these", "new"])
@pytest.mark.parametrize("model", MODELS)
def test_the_fast_test_is_decide(model: Model, target: Literal["these", "new"]) -> None:
    base, finetuned = draw(model, 0.15, 4)
    fast = (rates.assess_these if target == "these" else rates.assess_new)(base, finetuned)
    slow = [decide(one.tolist(), other.tolist(), target=target) for one, other in zip(base, finetuned, strict=True)]

    def bound(decision: Decision, end: int) -> float:
        interval = decision.gain_these if target == "these" else decision.gain_new
        return float("nan") if interval is None else interval[end]

    np.testing.assert_allclose(fast.p_pass, np.array([decision.p_pass for decision in slow], dtype=float), atol=1e-9)
    np.testing.assert_allclose(fast.p_fail, np.array([decision.p_fail for decision in slow], dtype=float), atol=1e-9)
    np.testing.assert_allclose(np.maximum(fast.lower, -1), [bound(decision, 0) for decision in slow], atol=1e-9)
    np.testing.assert_allclose(fast.upper, [bound(decision, 1) for decision in slow], atol=1e-9)


@pytest.mark.parametrize("gain", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("model", MODELS)
def test_the_fast_looks_are_judge_look(model: Model, gain: float) -> None:
    base, finetuned = draw(model, gain, LOOKS[-1], runs=6)
    fast = rates.run_looks(base, finetuned, look_alpha(0.05))
    for one, other, verdict, drawn in zip(base, finetuned, *fast, strict=True):
        for index, size in enumerate(LOOKS):
            pair = (one[:, :size].tolist(), other[:, :size].tolist())
            look = judge_look({"adapter": {GAIN: pair}}, plan=GatePlan(), index=index)
            if look.next_look is None:
                break
        assert (VERDICTS[look.decisions["adapter"].verdict], size) == (verdict, drawn)


@pytest.mark.parametrize("model", [one for one in MODELS if one.id != "looks that share an effect"])
def test_the_simulated_gain_is_the_one_asked_for(model: Model) -> None:
    base, finetuned = rates.draw_means(np.random.default_rng(0), model.level, 0.2, 5, 30, exact=True)
    np.testing.assert_allclose(finetuned.sum(axis=1) / base.sum(axis=1), 1.2)
    assert finetuned.max() < 1
    scores = model.draw(np.random.default_rng(1), base, finetuned, 2000)
    np.testing.assert_allclose(scores[0].mean(axis=(1, 2)), base.mean(axis=1), rtol=0.03)
    np.testing.assert_allclose(scores[1].mean(axis=(1, 2)), finetuned.mean(axis=1), rtol=0.03)


def test_a_small_run_of_the_benchmark_prints_its_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "MODELS", rates.MODELS[:1])
    monkeypatch.setattr(rates, "HARD", rates.HARD[:1])
    monkeypatch.setattr(rates, "SIZES", (2, 30))
    monkeypatch.setattr(rates, "CHUNK", 20)
    rates.print_tables(40, 0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")] == [
        "| noise",
        "| smooth",
        "| noise",
        "| smooth",
        "| noise",
        "| smooth",
        "| noise",
        "| one in twenty collapses",
        "| policy",
        "| one run",
        "| a new run when undecided",
        "| until green, 3 runs",
        "| declared to 64",
        "| the first of 5 adapters",
        "| any of the 4 others",
    ]


@pytest.mark.parametrize("replicates", [(4, 4), (4, 16)], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_the_fast_alarm_is_find_drops(model: Model, replicates: tuple[int, int]) -> None:
    source = np.random.default_rng(5)
    base, finetuned = rates.draw_means(source, model.level, 0.2, 12, 9, exact=True)
    stored = model.draw(source, base, finetuned, replicates[0])[1]
    new = model.draw(source, base, finetuned * 0.7, replicates[1])[1]
    p_values = regression.p_less(stored, new)
    fast = regression.alarms(stored, new)
    for one, other, p_value, alarm in zip(stored.tolist(), new.tolist(), p_values, fast, strict=True):
        scopes = {("relevance", OVERALL): (one, other)}
        scopes |= {
            ("relevance", str(number)): (one[number : number + 3], other[number : number + 3]) for number in (0, 3, 6)
        }
        assert compare(one, other, shared_noise=False).p_less == pytest.approx(p_value, abs=1e-9)
        assert any(test.proven_drop for test in find_drops(scopes)) == alarm
