"""Steps of a batch: against transformers' own loop, and those of fixed length that a GPU records and replays."""

from collections.abc import Iterator
from typing import Any

import pytest

from pytest_jarvis.engines.transformers.generation import runner
from pytest_jarvis.engines.transformers.generation.batching import padded_length
from pytest_jarvis.engines.transformers.generation.runner import BatchRunner
from pytest_jarvis.engines.transformers.generation.steps import (
    FixedSteps,
    Step,
    find_recording_obstacle,
    pad_left,
    prefill,
    try_fixed_steps,
)
from pytest_jarvis.engines.transformers.lora.arms import select_arms
from pytest_jarvis.types import GenerationSettings, Note, Request, text_note

ARMS = ["base", "ft"]
WAITS = ("_local_scalar_dense", "is_nonzero", "aten.nonzero", "aten.lift_fresh", "aten.unique")
"""Operations that wait for a device, or that copy something to it: none can be recorded."""


def texts(engine: Any, asked: list[Request]) -> dict[Any, tuple[Any, ...]]:
    return {one.key: (one.text, one.new_tokens, one.finish_reason) for one in engine.generate(asked)}


@pytest.fixture(params=[0.7, 0.0], ids=["sampled", "greedy"])
def engine(request, tiny_moe, live_adapter, load_engine) -> Any:
    settings = GenerationSettings(max_new_tokens=12, timeout_s=None, seed=7, temperature=request.param)
    return load_engine(tiny_moe, ("ft", live_adapter), settings=settings)


@pytest.fixture
def probes(pair) -> list[tuple[int, ...]]:
    return [pair._chat.encode(text) for text in ("ouvre chrome", "lance la musique et baisse la lumière")]


def test_texts_are_those_of_transformers_own_loop(engine, requests_for, monkeypatch) -> None:
    stepped = texts(engine, requests_for())
    monkeypatch.setattr(runner, "prefill", lambda *_: None)
    assert stepped == texts(engine, requests_for())
    assert len({text for text, _, _ in stepped.values()}) > 5


def test_texts_of_fixed_steps_are_those_of_growing_ones(engine, requests_for, monkeypatch) -> None:
    recorded: list[Step] = []

    def record(step: Step) -> Step:
        recorded.append(step)
        return step

    growing = texts(engine, requests_for())
    monkeypatch.setattr(engine._runner, "_fixed", True)
    monkeypatch.setattr(engine._runner, "_record", record)
    assert growing == texts(engine, requests_for())
    assert 1 == len(recorded), "one batch, one recording"


def test_a_response_by_itself_is_not_recorded(engine, requests_for, monkeypatch) -> None:
    monkeypatch.setattr(engine._runner, "_fixed", True)
    monkeypatch.setattr(engine._runner, "_record", lambda _step: pytest.fail("a step was recorded"))
    assert engine.answer_alone(requests_for()[0]).new_tokens > 0


def test_rows_stay_where_steps_are_fixed(engine, requests_for, monkeypatch) -> None:
    monkeypatch.setattr(engine._runner, "_shrinks", True)
    monkeypatch.setattr(engine._runner, "_fixed", True)
    assert len(texts(engine, requests_for(replicates=8))) == 80


@pytest.mark.parametrize("arms", [ARMS, ["base"], ["ft"]], ids=str)
def test_the_trial_accepts_steps_that_are_right(pair, probes, arms: list[str]) -> None:
    assert try_fixed_steps(pair._model, arms, probes, pad=pair._pad, record=lambda step: step) is None


def test_the_trial_refuses_a_recording_that_repeats_itself(pair, probes) -> None:
    def stale(step: Step) -> Step:
        logits = step()
        return lambda: logits

    reason = try_fixed_steps(pair._model, ARMS, probes, pad=pair._pad, record=stale)
    assert reason is not None
    assert "logits_differ" == reason.code


def test_the_trial_says_why_a_step_cannot_be_recorded(pair, probes) -> None:
    def fail(_step: Step) -> Step:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with it.")

    reason = try_fixed_steps(pair._model, ARMS, probes, pad=pair._pad, record=fail)
    assert "RuntimeError: CUDA error: operation not permitted when stream is capturing Compile with it" == str(reason)


def test_texts_are_the_same_when_a_recording_fails(engine, requests_for, monkeypatch) -> None:
    tried: list[Step] = []

    def fail(step: Step) -> Step:
        tried.append(step)
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    growing = texts(engine, requests_for())
    monkeypatch.setattr(engine._runner, "_fixed", True)
    monkeypatch.setattr(engine._runner, "_record", fail)
    assert growing == texts(engine, requests_for())
    assert 1 == len(tried)
    cause = text_note("CUDA error: operation failed due to a previous error during capture")
    assert Note("steps_not_recorded", cause=cause) in engine._gpu_notes()


def test_a_recording_that_does_not_fit_has_the_batch_halved(engine, requests_for, monkeypatch) -> None:
    import torch

    tried: list[Step] = []

    def full(step: Step) -> Step:
        tried.append(step)
        if len(tried) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step

    growing = texts(engine, requests_for())
    monkeypatch.setattr(engine._runner, "_fixed", True)
    monkeypatch.setattr(engine._runner, "_record", full)
    assert growing == texts(engine, requests_for())
    assert 3 == len(tried), "the batch, and its two halves"


def test_an_adapter_whose_rows_are_picked_by_lists_is_not_recorded(tiny_moe, make_adapter, load_engine, probes) -> None:
    adapter = make_adapter(tiny_moe, "with-head", target_modules=["q_proj"], modules_to_save=["lm_head"])
    engine = load_engine(tiny_moe, ("ft", adapter))
    assert Note("rows_by_lists") == find_recording_obstacle(engine._model, [ARMS], probes, pad=engine._pad)


def test_the_trial_leaves_the_model_as_it_was(pair, probes) -> None:
    before = pair.logits(["ouvre chrome"])
    try_fixed_steps(pair._model, ARMS, probes, pad=pair._pad, record=lambda step: step)
    assert (before == pair.logits(["ouvre chrome"])).all()


def test_a_model_that_keeps_more_than_keys_and_values_is_not_recorded(tiny_gpt_oss, load_engine, probes) -> None:
    engine = load_engine(tiny_gpt_oss)
    reason = try_fixed_steps(engine._model, ["base"], probes, pad=engine._pad, record=None)
    assert Note("more_than_keys_and_values") == reason


@pytest.fixture
def fixed(pair, probes) -> Iterator[tuple[FixedSteps, Any]]:
    """Fixed steps of both arms with the experts as a GPU without the kernel has them, and the last tokens."""
    import torch

    model, names = pair._model, [arm for arm in ARMS for _ in probes]
    length = max(padded_length(len(prompt)) for prompt in probes)
    input_ids, mask = pad_left(probes * 2, length, pair._pad, model.device)
    before = pair._base.model.config._experts_implementation
    pair._base.model.set_experts_implementation("grouped_mm")
    try:
        with torch.inference_mode():
            cache = prefill(model, names, probes * 2, input_ids, mask)
            steps = FixedSteps(model, cache, mask, new_tokens=20, record=None)
            with select_arms(model, names):
                yield steps, input_ids[:, -1]
    finally:
        pair._base.model.set_experts_implementation(before)


def test_every_fixed_step_is_the_same_operations_and_none_waits_for_the_device(fixed) -> None:
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode

    steps, tokens = fixed
    seen: list[Any] = []

    def shown(value: Any) -> Any:
        if isinstance(value, Tensor):
            return (tuple(value.shape), value.stride(), value.dtype)
        return [shown(one) for one in value] if isinstance(value, list | tuple) else repr(value)

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append((str(func), shown(args), shown(list((kwargs or {}).values()))))
            return func(*args, **(kwargs or {}))

    runs = []
    for _ in range(3):
        steps(tokens)
        seen.clear()
        with Watching():
            steps._step()
        runs.append(seen.copy())
    assert len(runs[0]) > 100
    assert runs[0] == runs[1] == runs[2]
    assert [name for name, _, _ in runs[0] if name.startswith(WAITS) or any(wait in name for wait in WAITS)] == []


def test_fixed_steps_read_and_write_the_same_memory_all_along(fixed) -> None:
    steps, tokens = fixed

    def places() -> list[int]:
        layers = steps._cache.layers
        held = [steps._tokens, steps._positions, steps._mask, *(layer.cumulative_length for layer in layers)]
        held += [tensor for layer in layers for tensor in (layer.keys, layer.values)]
        return [tensor.data_ptr() for tensor in held]

    before = places()
    for _ in range(4):
        steps(tokens)
    assert before == places()


def test_two_passes_in_fixed_steps_give_the_texts_of_one_batch(pair, requests_for, monkeypatch) -> None:
    together = texts(pair, requests_for())
    settings, stops = pair._runner._settings, pair._runner._stops
    runner = BatchRunner(
        pair._model,
        settings=settings,
        stops=stops,
        pad=pair._pad,
        two_passes=True,
        fixed=True,
        record=lambda step: step,
    )
    monkeypatch.setattr(pair, "_runner", runner)
    assert together == texts(pair, requests_for())
