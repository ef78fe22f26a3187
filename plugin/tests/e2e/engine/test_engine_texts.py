"""A text depends on its prompt, its replicate, the seed and its arm's weights: on nothing else of the run."""

import json
import shutil
from typing import Any

import numpy as np
import pytest

from pytest_jarvis.types import Failure, GenerationSettings, Note, Progress, Request, Response


def texts(engine: Any, requests: list[Request]) -> dict[Any, str]:
    answers = list(engine.generate(requests))
    assert [] == [answer for answer in answers if isinstance(answer, Failure)]
    return {answer.key: answer.text for answer in answers}


@pytest.fixture(scope="module")
def full_run(pair, requests_for) -> dict[Any, str]:
    """Thirty prompts, both arms, two replicates, in batches as the engine chooses."""
    return texts(pair, requests_for(30))


def test_the_arithmetic_is_steady_on_this_machine(pair) -> None:
    assert pair.batch_invariance.holds


def test_texts_of_prompts_and_replicates_and_arms_differ(full_run) -> None:
    assert 120 == len(full_run)
    assert len(set(full_run.values())) > 110


def test_a_prompt_alone_gets_the_text_it_gets_among_thirty(pair, requests_for, full_run) -> None:
    for prompt_id in ("p0", "p4", "p17"):
        alone = texts(pair, [request for request in requests_for(30) if request.prompt_id == prompt_id])
        assert {key: full_run[key] for key in alone} == alone


def test_a_text_does_not_depend_on_the_batch_size(tiny_moe, live_adapter, load_engine, requests_for, full_run) -> None:
    engine = load_engine(tiny_moe, ("ft", live_adapter), batch_size=7)
    few = texts(engine, requests_for(9))
    assert {key: full_run[key] for key in few} == few


def test_a_text_does_not_depend_on_the_order(pair, requests_for, full_run) -> None:
    assert full_run == texts(pair, requests_for(30)[::-1])


@pytest.mark.parametrize("arm", ["base", "ft"])
def test_a_text_does_not_depend_on_the_other_arm(pair, requests_for, full_run, arm: str) -> None:
    lone = texts(pair, requests_for(6, arms=(arm,)))
    assert {key: full_run[key] for key in lone} == lone


@pytest.mark.parametrize(
    "lora", [{"target_modules": [], "target_parameters": ["mlp.experts.down_proj"]}, {"target_modules": "all-linear"}]
)
def test_texts_of_adapters_on_experts_and_routers_depend_on_nothing_else(
    tiny_moe, make_adapter, load_engine, requests_for, lora: dict[str, Any]
) -> None:
    adapter = make_adapter(tiny_moe, f"on-experts-{len(str(lora))}", **lora)
    engine = load_engine(tiny_moe, ("ft", adapter))
    full = texts(engine, requests_for(8))
    assert "mixed" == engine.describe().batching
    for some in (
        requests_for(2),
        requests_for(3, arms=("ft",)),
        requests_for(3, arms=("base",)),
        requests_for(8)[::-1],
    ):
        found = texts(engine, some)
        assert {key: full[key] for key in found} == found
    assert len({text for (_, arm, _), text in full.items() if arm == "ft"}) > 5


def test_an_adapter_on_experts_answers_beside_another_with_few_rows_each(
    tiny_moe, live_adapter, make_adapter, load_engine, requests_for
) -> None:
    experts = make_adapter(tiny_moe, "on-experts", target_modules=[], target_parameters=["mlp.experts.gate_up_proj"])
    engine = load_engine(tiny_moe, ("ft", experts), ("other", live_adapter))
    assert "mixed" == engine.describe().batching
    together = texts(engine, requests_for(2, arms=("base", "ft", "other")))
    for arm in ("base", "ft", "other"):
        alone = texts(engine, requests_for(2, arms=(arm,)))
        assert {key: together[key] for key in alone} == alone


def test_a_text_depends_on_the_seed(tiny_moe, load_engine, requests_for, full_run) -> None:
    engine = load_engine(tiny_moe, settings=GenerationSettings(max_new_tokens=12, timeout_s=None, seed=8))
    other = texts(engine, requests_for(3, arms=("base",)))
    assert all(full_run[key] != text for key, text in other.items())


def test_an_adapter_that_changes_nothing_gives_the_bases_texts(
    tiny_moe, inert_adapter, load_engine, requests_for
) -> None:
    engine = load_engine(tiny_moe, ("ft", inert_adapter), allow_inert_adapter=True)
    both = texts(engine, requests_for(6))
    notes = engine.describe().notes
    base = {(prompt, replicate): text for (prompt, arm, replicate), text in both.items() if arm == "base"}
    inert = {(prompt, replicate): text for (prompt, arm, replicate), text in both.items() if arm == "ft"}
    assert base == inert
    assert Note("adapter_inert", {"name": "ft"}) in notes


def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same_texts(
    pair, requests_for, full_run, monkeypatch
) -> None:
    import torch

    run = pair._runner.run

    def small_memory(batch: Any, **kwargs: Any) -> Any:
        if len(batch.rows) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return run(batch, **kwargs)

    monkeypatch.setattr(pair._runner, "run", small_memory)
    halved = texts(pair, requests_for(8))
    assert {key: full_run[key] for key in halved} == halved


def test_a_response_that_does_not_fit_alone_is_a_failure_and_the_others_are_not(
    pair, requests_for, monkeypatch
) -> None:
    import torch

    run = pair._runner.run

    def no_room_for_p1(batch: Any, **kwargs: Any) -> Any:
        if any(row.request.key == ("p1", "ft", 0) for row in batch.rows):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(batch, **kwargs)

    monkeypatch.setattr(pair._runner, "run", no_room_for_p1)
    answers = {answer.key: answer for answer in pair.generate(requests_for(3))}
    failed = answers.pop(("p1", "ft", 0))
    assert isinstance(failed, Failure)
    assert ("generate", True) == (failed.stage, failed.reason == Note("out_of_memory"))
    assert all(isinstance(answer, Response) for answer in answers.values())


def test_another_error_than_memory_is_not_swallowed(pair, requests_for, monkeypatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(pair._runner, "run", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(pair.generate(requests_for(1)))


@pytest.mark.parametrize("temperature", [0.7, 0.0])
def test_a_row_whose_logits_are_not_finite_is_a_failure_and_the_others_are_not(
    tiny_moe, live_adapter, load_engine, requests_for, temperature: float
) -> None:
    settings = GenerationSettings(max_new_tokens=12, timeout_s=None, seed=7, temperature=temperature)
    engine = load_engine(tiny_moe, ("ft", live_adapter), settings=settings)
    sound = texts(engine, requests_for(2))

    def overflow(_module: Any, _args: Any, output: Any) -> Any:
        # The rows of the base come first; the second of them overflows.
        output[1] = float("nan")
        return output

    handle = engine._base.model.lm_head.register_forward_hook(overflow)
    answers = list(engine.generate(requests_for(2)))
    handle.remove()
    (failed,) = [answer for answer in answers if isinstance(answer, Failure)]
    assert ("generate", Note("not_finite")) == (failed.stage, failed.reason)
    others = {answer.key: answer.text for answer in answers if isinstance(answer, Response)}
    assert {key: text for key, text in sound.items() if key != failed.key} == others


def test_a_response_cut_by_the_timeout_is_a_failure(tiny_moe, load_engine, requests_for) -> None:
    engine = load_engine(tiny_moe, settings=GenerationSettings(max_new_tokens=400, timeout_s=0.001))
    answers = list(engine.generate(requests_for(2, arms=("base",))))
    assert {"timeout"} == {answer.stage for answer in answers if isinstance(answer, Failure)}
    assert 4 == len(answers)


def test_progress_ends_at_what_was_planned(pair, requests_for) -> None:
    seen: list[Progress] = []
    answers = list(pair.generate(requests_for(4), seen.append))
    assert (16, 16) == (seen[-1].responses_done, seen[-1].responses_planned)
    assert sum(answer.new_tokens for answer in answers) == seen[-1].tokens
    assert sorted(one.responses_done for one in seen) == [one.responses_done for one in seen]


def test_progress_and_description_tell_the_memory(pair, requests_for) -> None:
    seen: list[Progress] = []
    list(pair.generate(requests_for(1, replicates=1), seen.append))
    (now,) = seen[-1].memory
    (loaded,) = pair.describe().loaded_memory
    assert ("CPU", "CPU") == (loaded.device, now.device)
    assert 0 < loaded.allocated_bytes <= loaded.peak_bytes < loaded.total_bytes == now.total_bytes


def test_times_and_counts_are_those_of_the_row(pair, requests_for) -> None:
    for answer in pair.generate(requests_for(4)):
        assert 0 < answer.first_token_s <= answer.duration_s
        assert 1 <= answer.new_tokens <= 12
        assert ("length" if answer.new_tokens == 12 else "stop") == answer.finish_reason or answer.new_tokens == 12


def test_nothing_comes_from_the_models_own_generation_settings(
    tiny_moe, load_engine, requests_for, full_run, tmp_path
) -> None:
    folder = shutil.copytree(tiny_moe, tmp_path / tiny_moe.name)
    file = folder / "generation_config.json"
    own = {
        "top_k": 1,
        "repetition_penalty": 5.0,
        "temperature": 0.01,
        "do_sample": True,
        "max_length": 20,
        "min_new_tokens": 9,
    }
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **own}), encoding="utf-8")
    engine = load_engine(folder)
    there = texts(engine, requests_for(3, arms=("base",)))
    assert {key: full_run[key] for key in there} == there


def test_greedy_replicates_are_the_same_text(tiny_moe, load_engine, requests_for) -> None:
    engine = load_engine(tiny_moe, settings=GenerationSettings(max_new_tokens=12, timeout_s=None, temperature=0.0))
    found = texts(engine, requests_for(3, arms=("base",)))
    assert all(text == found[prompt, arm, 0] for (prompt, arm, _), text in found.items())


def test_an_unknown_arm_is_refused(pair) -> None:
    with pytest.raises(ValueError, match="unknown arm 'other'; loaded: base, ft"):
        list(pair.generate([Request(prompt_id="p", text="a", arm="other", replicate=0)]))


def test_an_embedding_does_not_depend_on_the_other_texts(pair) -> None:
    some = [
        "ouvre chrome",
        "",
        "une réponse bien plus longue que les autres, avec de quoi remplir trente-deux tokens",
        "oui",
    ]
    together = pair.embed(some)
    assert together[1] is None
    for text, vector in zip(some, together, strict=True):
        if vector is not None:
            assert (np.float32, (64,)) == (vector.dtype, vector.shape)
            assert np.array_equal(vector, pair.embed([text])[0])


def test_an_embedding_is_the_mean_of_the_bases_last_hidden_states(pair) -> None:
    import torch

    tokens = pair._base.tokenizer.encode("ouvre chrome", add_special_tokens=False)
    with torch.inference_mode(), pair._model.disable_adapter():
        states = pair._base.model.base_model(input_ids=torch.tensor([tokens])).last_hidden_state[0]
    assert np.allclose(states.mean(dim=0).numpy(), pair.embed(["ouvre chrome"])[0], atol=1e-4)


def test_no_adapter_is_on_after_its_texts(pair, requests_for) -> None:
    before = pair.logits(["ouvre chrome"])
    texts(pair, requests_for(2, arms=("ft",)))
    assert np.array_equal(before, pair.logits(["ouvre chrome"]))
