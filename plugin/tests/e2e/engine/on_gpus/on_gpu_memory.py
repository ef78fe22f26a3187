"""Memory of GPUs: what a load takes at its peak, where a model lies, and what is done when there is not enough."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import packed_on_host
import pytest

from pytest_jarvis.types import EngineError, Failure, GenerationSettings, Note, Request, Response

Load = Callable[..., Any]
MOE = {"head_dim": 16, "intermediate_size": 128, "num_experts": 16, "moe_intermediate_size": 256, "hidden_size": 128}
PROMPTS = ["ouvre chrome", "quelle heure est-il ?"]


@pytest.fixture(scope="session")
def heavy_moe(tiny_model, models) -> Path:
    """A mixture of six layers whose experts are nearly all of it: 3.1 MB of them a layer in 16 bits, 0.8 in 4."""
    return tiny_model("Qwen3Moe", models / "heavy-qwen3-moe", seed=0, num_hidden_layers=6, **MOE)


@pytest.fixture
def load_base(heavy_moe, load_engine) -> Load:
    """A function that loads the mixture alone."""
    return lambda **spec: load_engine(heavy_moe, **spec)


@pytest.fixture
def drawn(requests_for) -> Callable[..., dict[Any, Any]]:
    """A function that returns what an engine drew, by request."""
    return lambda engine, count=5, **chosen: {one.key: one for one in engine.generate(requests_for(count, **chosen))}


@pytest.fixture
def load_tuned(heavy_moe, make_adapter, load_engine) -> Load:
    """A function that loads the mixture with an adapter on some modules."""

    def load(targets: str | list[str], **spec: Any) -> Any:
        name = targets if isinstance(targets, str) else "-".join(targets)
        return load_engine(heavy_moe, ("ft", make_adapter(heavy_moe, name, target_modules=targets)), **spec)

    return load


def experts_bytes(*, bits: int) -> int:
    """What the experts of one layer take."""
    return 3 * 16 * 256 * 128 * bits // 8


def test_the_peak_of_a_load_stays_within_one_layers_experts_of_the_final_size(
    gpus, heavy_moe, monkeypatch, load_engine
) -> None:
    from pytest_jarvis.engines.transformers.loading import base as loading

    seen = []
    plain = loading.load_base

    def noted(*args: Any) -> Any:
        base = plain(*args)
        seen.extend([gpus.allocated_bytes(), gpus.peak_bytes()])
        return base

    monkeypatch.setattr(loading, "load_base", noted)
    engine = load_engine(heavy_moe)
    engine.close()
    final, peak = seen
    assert 6 * experts_bytes(bits=4) < final < 6 * experts_bytes(bits=5)
    assert peak - final < experts_bytes(bits=16)


def test_a_model_lies_on_the_gpus_and_its_memory_is_told(gpus, heavy_moe, load_engine) -> None:
    gpus.set(count=2)
    engine = load_engine(heavy_moe, device_map="balanced")
    described = engine.describe()
    assert "Simulated GPU + Simulated GPU" == described.device
    assert "bfloat16" == described.compute_dtype
    for gpu, memory in enumerate(described.memory):
        assert f"GPU {gpu}" == memory.device
        assert 2 * experts_bytes(bits=4) < memory.allocated_bytes < 5 * experts_bytes(bits=5)
        assert gpus.total_bytes == memory.total_bytes
    assert 2 == len(described.memory)
    engine.close()
    # The code of NF4 and of the scales, which bitsandbytes keeps for a process.
    assert gpus.allocated_bytes(0) + gpus.allocated_bytes(1) < 10_000


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_texts_of_two_gpus_are_those_of_one(gpus, load_tuned, drawn, monkeypatch, quantization: str) -> None:
    from pytest_jarvis.engines.transformers.generation import steps

    # Recorded steps, which one GPU alone takes, may round another way.
    monkeypatch.setattr(steps, "find_recording_obstacle", lambda *_, **__: Note("several_devices"))
    alone = load_tuned(["q_proj", "v_proj"], quantization=quantization)
    expected = {key: one.text for key, one in drawn(alone, 3).items()}
    alone.close()
    gpus.set(count=2)
    both = load_tuned(["q_proj", "v_proj"], device_map="balanced", quantization=quantization)
    assert expected == {key: one.text for key, one in drawn(both, 3).items()}
    both.close()


def test_experts_on_two_gpus_are_multiplied_in_4_bits_by_all_arms(gpus, load_tuned, monkeypatch) -> None:
    packed_on_host.put_in_place(monkeypatch)
    gpus.set(count=2)
    found = {}
    for plain in (False, True):
        engine = load_tuned("all-linear", device_map="balanced", plain_gpu=plain)
        assert (Note("experts_packed") in engine.describe().notes) is not plain
        found[plain] = [engine.logits(PROMPTS, arm) for arm in ("base", "ft")]
        engine.close()
    for packed, read_out in zip(found[False], found[True], strict=True):
        # Six layers in 16 bits round differently; a wrong product is off by more than the logits themselves.
        assert np.abs(packed - read_out).max() < 0.2 * np.abs(read_out).max()


@pytest.mark.parametrize("gpu", [0, 1])
def test_a_card_on_which_the_kernel_is_wrong_is_noticed_wherever_it_is(gpus, load_base, monkeypatch, gpu: int) -> None:
    from pytest_jarvis.engines.transformers.nf4 import kernel

    packed_on_host.put_in_place(monkeypatch)
    gpus.set(count=2)
    plain = kernel.multiply

    def wrong(x: Any, *arguments: Any, **named: Any) -> Any:
        return plain(x, *arguments, **named) * (1.5 if x.device.index == gpu else 1)

    monkeypatch.setattr(kernel, "multiply", wrong)
    engine = load_base(device_map="balanced")
    (unpacked,) = [note for note in engine.describe().notes if note.code == "experts_unpacked"]
    assert "products_off" == unpacked.cause.code
    engine.close()


def test_a_gpu_by_name_takes_the_whole_model(gpus, heavy_moe, load_engine) -> None:
    gpus.set(count=2)
    engine = load_engine(heavy_moe, device_map="cuda:1")
    assert ["GPU 1"] == [memory.device for memory in engine.describe().memory]
    assert gpus.allocated_bytes(0) < 10_000
    assert np.isfinite(engine.logits(["ouvre"])).all()
    engine.close()


def test_memory_caps_are_kept(gpus, heavy_moe, load_engine) -> None:
    gpus.set(count=2)
    cap = 3 * experts_bytes(bits=4)
    engine = load_engine(heavy_moe, device_map="auto", max_memory={"0": f"{cap // 1000}KB", "1": "1GB"})
    assert 0 < gpus.allocated_bytes(0) < cap
    assert gpus.allocated_bytes(1) > 3 * experts_bytes(bits=4)
    engine.close()


def test_a_gpu_that_is_too_small_is_refused_with_what_is_needed(gpus, heavy_moe, load_engine) -> None:
    gpus.set(total_bytes=4 * experts_bytes(bits=4))
    with pytest.raises(EngineError) as refused:
        load_engine(heavy_moe)
    said = str(refused.value)
    assert "needs" in said
    assert "GB" in said


def test_a_batch_that_does_not_fit_is_halved_and_all_of_it_is_drawn(gpus, heavy_moe, load_engine, drawn) -> None:
    settings = GenerationSettings(max_new_tokens=12, timeout_s=None, seed=7)
    # A simulated recording keeps all that a step holds, which a real one does not.
    engine = load_engine(heavy_moe, batch_size=64, settings=settings, plain_gpu=True)
    gpus.forget_peak()
    before = gpus.allocated_bytes()
    expected = drawn(engine, 12, arms=("base",), replicates=4)
    needed = gpus.peak_bytes() - before
    gpus.limit(before + needed // 2)
    gpus.refusals()
    found = drawn(engine, 12, arms=("base",), replicates=4)
    assert gpus.refusals() > 0
    assert expected.keys() == found.keys()
    # 16 bits may round another way in a batch of another shape, and the report says so.
    assert all(isinstance(one, Response) for one in found.values())
    notes = {note.code: note.values for note in engine.describe().notes}
    assert "same_bits_of_probes" in notes
    assert 100 <= notes["batch_changes_tokens"]["tokens"] < 1000
    engine.close()


def test_a_response_larger_than_memory_is_a_failure_and_the_others_are_drawn(gpus, heavy_moe, load_engine) -> None:
    engine = load_engine(heavy_moe)
    texts = {"short": "ouvre", "long": "ouvre " * 60, "other": "ferme"}
    requests = [Request(prompt_id=name, text=text, arm="base", replicate=0) for name, text in texts.items()]
    for request in requests[:2]:
        engine.answer_alone(request)
    before, needed = gpus.allocated_bytes(), []
    for request in requests[:2]:
        gpus.forget_peak()
        assert isinstance(engine.answer_alone(request), Response)
        needed.append(gpus.peak_bytes() - before)
    assert needed[1] > 1.1 * needed[0]
    gpus.limit(before + sum(needed) // 2)
    found = {one.prompt_id: one for one in engine.generate(requests)}
    engine.close()
    failed = found["long"]
    assert isinstance(failed, Failure)
    assert ("generate", Note("out_of_memory")) == (failed.stage, failed.reason)
    assert isinstance(found["short"], Response)
    assert isinstance(found["other"], Response)


@pytest.mark.parametrize("words", [1, 30])
@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_as_large_as_memory_allows_fits(gpus, load_base, monkeypatch, packed: bool, words: int) -> None:
    if packed:
        packed_on_host.put_in_place(monkeypatch)
    engine = load_base(plain_gpu=not packed, settings=GenerationSettings(max_new_tokens=4, timeout_s=None))
    free = 4 * experts_bytes(bits=16)
    gpus.limit(gpus.allocated_bytes() + free)
    before = gpus.allocated_bytes()
    text = "ouvre " * words
    requests = [Request(prompt_id=f"p{n}", text=f"{text}{n}", arm="base", replicate=0) for n in range(64)]
    gpus.refusals()
    gpus.forget_peak()
    answers = list(engine.generate(requests))
    taken = gpus.peak_bytes() - before
    engine.close()
    assert all(isinstance(answer, Response) for answer in answers)
    assert 0 == gpus.refusals()
    # Nor is it timid: of what is free, experts that are read out take the half of it here, twice.
    assert taken > 0.3 * free
