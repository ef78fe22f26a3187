"""Steps on a GPU: recorded ones give the texts of those that are launched, and nothing waits that need not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import packed_on_host
import pytest

from pytest_jarvis.types import GenerationSettings, Request, Response, text_note

Load = Callable[..., Any]
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
LORA = {
    "attention": {"target_modules": ATTENTION},
    "all linear": {"target_modules": "all-linear"},
    "experts": {"target_modules": ["q_proj"], "target_parameters": EXPERTS},
    "DoRA": {"target_modules": ATTENTION, "use_dora": True},
    "modules_to_save": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
}
PROMPTS = ["ouvre chrome", "quelle heure est-il ?"]


@pytest.fixture
def packed(monkeypatch) -> None:
    """Experts in 4 bits are multiplied as they are stored."""
    packed_on_host.put_in_place(monkeypatch)


@pytest.fixture
def load(tiny_moe, make_adapter, load_engine) -> Load:
    """A function that loads the tiny mixture with adapters: name=(kind, seed)."""

    def with_adapters(spec: Any = None, **adapters: tuple[str, int]) -> Any:
        folders = {
            name: make_adapter(tiny_moe, f"{kind.replace(' ', '-')}-{seed}", seed=seed, **LORA[kind])
            for name, (kind, seed) in adapters.items()
        }
        return load_engine(tiny_moe, *folders.items(), **(spec or {}))

    return with_adapters


@pytest.fixture
def texts(requests_for) -> Callable[..., dict[Any, str]]:
    """A function that returns an engine's texts by request, and closes it; nothing may have failed."""

    def draw(engine: Any, **chosen: Any) -> dict[Any, str]:
        answers = list(engine.generate(requests_for(3, **chosen)))
        engine.close()
        assert all(isinstance(answer, Response) for answer in answers), answers
        return {answer.key: answer.text for answer in answers}

    return draw


@pytest.fixture
def launched(monkeypatch) -> Callable[[], None]:
    """A function after which no step is recorded."""
    from pytest_jarvis.engines.transformers.generation import steps

    return lambda: monkeypatch.setattr(
        steps, "find_recording_obstacle", lambda *_, **__: text_note("a test asks for it")
    )


@pytest.fixture
def compared(gpus, load, texts, launched) -> Callable[..., Any]:
    """A function that draws with recorded steps and with launched ones: (replays, texts, texts)."""

    def compare(kind: str, temperature: float) -> tuple[int, dict[Any, str], dict[Any, str]]:
        settings = GenerationSettings(max_new_tokens=12, timeout_s=None, seed=7, temperature=temperature)
        recorded = load({"settings": settings}, ft=(kind, 0))
        assert "steps_not_recorded" not in notes(recorded)
        before = gpus.replays
        found = texts(recorded)
        replays = gpus.replays - before
        launched()
        plain = load({"settings": settings}, ft=(kind, 0))
        assert "steps_not_recorded" in notes(plain)
        return replays, found, texts(plain)

    return compare


def notes(engine: Any) -> str:
    return "\n".join(map(str, engine.describe().notes))


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["attention", "all linear", "DoRA"])
def test_recorded_steps_give_the_texts_of_launched_ones(compared, kind: str, temperature: float) -> None:
    replays, recorded, launched = compared(kind, temperature)
    assert recorded == launched
    # Two steps are launched, the third is recorded: so many replays for each batch, of both arms or of one.
    assert 10 * (2 if kind == "DoRA" else 1) == replays


@pytest.mark.usefixtures("packed", "gpus")
@pytest.mark.parametrize("kind", LORA)
def test_experts_in_4_bits_give_the_logits_of_experts_read_out(load, kind: str) -> None:
    engine, plain = load(ft=(kind, 0)), load({"plain_gpu": True}, ft=(kind, 0))
    assert "experts_packed" in notes(engine)
    assert "plain_as_asked" in notes(plain)
    for arm in ("base", "ft"):
        found, expected = engine.logits(PROMPTS, arm), plain.logits(PROMPTS, arm)
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max(), arm
    engine.close()
    plain.close()


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize("plain_gpu", [False, True])
def test_matrices_for_experts_are_rounded_once_and_give_the_same_logits(
    gpus, load, monkeypatch, plain_gpu: bool
) -> None:
    from pytest_jarvis.engines.transformers.lora import attach

    found, held = {}, {}
    for rounded in (True, False):
        if not rounded:
            monkeypatch.setattr(attach, "_cast_expert_matrices", lambda *_: None)
        engine = load({"plain_gpu": plain_gpu}, ft=("experts", 0))
        found[rounded] = engine.logits(PROMPTS, "ft")
        held[rounded] = gpus.allocated_bytes()
        engine.close()
    assert np.array_equal(found[True], found[False])
    # Both matrices of both tensors of 8 experts in 2 layers, at rank 4: 2 bytes less for each number.
    assert held[False] - held[True] == 2 * (2 * 8 * 4 * ((64 + 128) + (64 + 64)))


@pytest.mark.usefixtures("packed")
def test_two_adapters_on_experts_are_drawn_beside_the_base_in_recorded_steps(gpus, load, texts) -> None:
    both = load(a=("experts", 0), b=("experts", 1))
    assert "mixed" == both.describe().batching
    replays = gpus.replays
    found = texts(both, arms=("base", "a", "b"))
    assert 10 == gpus.replays - replays
    alone = texts(load(b=("experts", 1)), arms=("base", "b"))
    assert alone == {key: text for key, text in found.items() if key in alone}


@pytest.mark.usefixtures("packed")
def test_a_token_waits_for_the_device_once_whatever_the_layers(
    gpus, tiny_model, models, load_engine, monkeypatch
) -> None:
    from pytest_jarvis.engines.transformers.generation import batching as progress

    # Telling how far a batch is waits too, by the clock.
    monkeypatch.setattr(progress, "PROGRESS_EVERY_S", 1e9)
    shape = {"head_dim": 16, "intermediate_size": 128, "moe_intermediate_size": 64, "num_experts": 8}
    requests = [Request(prompt_id=f"p{n}", text="ouvre", arm="base", replicate=n) for n in range(3)]
    waited = {}
    for layers in (1, 3):
        folder = tiny_model("Qwen3Moe", models / f"moe-{layers}", seed=0, num_hidden_layers=layers, **shape)
        for new_tokens in (12, 24):
            settings = GenerationSettings(max_new_tokens=new_tokens, timeout_s=None, temperature=0.0)
            engine = load_engine(folder, settings=settings)
            engine._runner._stops = ()
            gpus.waits()
            assert {new_tokens} == {answer.new_tokens for answer in engine.generate(requests)}
            waited[layers, new_tokens] = sum(gpus.waits().values())
            engine.close()
    # Of 12 tokens more, each one only for whether all answers have ended.
    assert (12, 12) == (waited[1, 24] - waited[1, 12], waited[3, 24] - waited[3, 12])


@pytest.fixture(params=["tiny_dense", "tiny_mixtral", "tiny_gpt_oss", "tiny_gemma"])
def family(request) -> tuple[str, Path]:
    """The name of a model's fixture, and its folder."""
    return request.param, request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def tiny_gemma(tiny_model, models) -> Path:
    """A family of which half of the layers look back a few tokens only."""
    return tiny_model("Gemma2", models / "tiny-gemma2", seed=3, head_dim=16, num_experts_per_tok=None)


@pytest.mark.usefixtures("packed", "gpus")
def test_other_families_run_and_say_how(family, load_engine, texts, launched) -> None:
    name, folder = family
    engine = load_engine(folder)
    said = notes(engine)
    assert (name in {"tiny_gpt_oss", "tiny_gemma"}) == ("more_than_keys_and_values" in said)
    assert (name == "tiny_gpt_oss") == ("experts_in_another_layout" in said)
    assert (name == "tiny_mixtral") == ("experts_packed" in said)
    found = texts(engine, arms=("base",))
    launched()
    assert found == texts(load_engine(folder), arms=("base",))


def test_a_step_that_waits_for_the_device_is_not_recorded(gpus, tiny_dense, load_engine, texts, monkeypatch) -> None:
    from transformers.models.qwen3 import modeling_qwen3

    expected = texts(load_engine(tiny_dense), arms=("base",))
    plain = modeling_qwen3.Qwen3MLP.forward

    def waits(module: Any, x: Any) -> Any:
        assert float(x.abs().max()) < 1e9
        return plain(module, x)

    monkeypatch.setattr(modeling_qwen3.Qwen3MLP, "forward", waits)
    replays = gpus.replays
    engine = load_engine(tiny_dense)
    assert "steps_not_recorded, cause=RuntimeError: CUDA error: operation not permitted when stream is" in notes(engine)
    assert expected == texts(engine, arms=("base",))
    assert replays == gpus.replays
