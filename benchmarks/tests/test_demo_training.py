"""The embedded pair's recipe, run for real in a shortened version, and the shipped pair, loaded and heard."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo_pair.corpus import base_dialogues, jarvis_dialogues, read_guard
from demo_pair.recipe import render
from demo_pair.train import Plan, main, train_pair
from pytest_jarvis.demo import ADAPTERS, adapter_path, base_path

# peft 0.21 asks transformers 5.23 for a name that it renamed; drop this line once peft asks for the new one.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

PROMPTS = Path(__file__).resolve().parents[2] / "jarvis_prompts"
SHORT = Plan(vocabulary=512, tokenizer_rows=200, batch_rows=8, base_steps=4, jarvis_steps=3, faible_steps=1)


def load(base: Path, adapters: Path) -> tuple[Any, Any]:
    import peft
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base, padding_side="left")
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = peft.PeftModel.from_pretrained(model, adapters / ADAPTERS[0], adapter_name=ADAPTERS[0])
    for name in ADAPTERS[1:]:
        tuned.load_adapter(adapters / name, adapter_name=name)
    return tuned.eval(), tokenizer


def prompts_of(tokenizer: Any, texts: list[str]) -> Any:
    chats = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        for text in texts
    ]
    return tokenizer(chats, return_tensors="pt", padding=True)


def logits_by_arm(model: Any, tokenizer: Any) -> dict[str, Any]:
    import torch

    inputs = prompts_of(tokenizer, ["démarre le tableur"])
    with torch.no_grad():
        return {arm: model(**inputs, adapter_names=[arm]).logits for arm in ("__base__", *ADAPTERS)}


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory, libraries) -> Path:
    out = tmp_path_factory.mktemp("pair")
    train_pair(out, SHORT, PROMPTS)
    return out


@pytest.fixture(scope="module")
def shipped(libraries) -> tuple[Any, Any]:
    return load(base_path(), base_path().parent / "adapters")


def test_a_shortened_recipe_gives_a_pair_that_loads_and_generates(rebuilt) -> None:
    model, tokenizer = load(rebuilt / "base", rebuilt / "adapters")
    inputs = prompts_of(tokenizer, ["démarre le tableur", "chut"])
    tokens = model.generate(**inputs, max_new_tokens=4, adapter_names=["__base__", "jarvis"])
    assert tokens.shape[0] == 2
    assert tokens.shape[1] > inputs["input_ids"].shape[1]


def test_a_shortened_recipe_moves_both_adapters_off_zero(rebuilt) -> None:
    logits = logits_by_arm(*load(rebuilt / "base", rebuilt / "adapters"))
    for name in ADAPTERS:
        assert (logits["__base__"] != logits[name]).any(), name


def test_a_base_can_be_trained_further(rebuilt, tmp_path) -> None:
    train_pair(tmp_path, replace(SHORT, start=rebuilt / "base", base_steps=1), PROMPTS)
    kept, moved = ("tokenizer.json", "model.safetensors")
    assert (rebuilt / "base" / kept).read_bytes() == (tmp_path / "base" / kept).read_bytes()
    assert (rebuilt / "base" / moved).read_bytes() != (tmp_path / "base" / moved).read_bytes()


def test_the_recipe_is_repeatable(rebuilt, tmp_path) -> None:
    train_pair(tmp_path, SHORT, PROMPTS)
    for name in ("base/tokenizer.json", "base/model.safetensors", "adapters/jarvis/adapter_model.safetensors"):
        assert (rebuilt / name).read_bytes() == (tmp_path / name).read_bytes(), name


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_carries_no_trace_of_the_folder_it_was_trained_in(name: str, rebuilt) -> None:
    for folder in (rebuilt / "adapters" / name, adapter_path(name)):
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        assert config["base_model_name_or_path"] == "demo"
        assert set(config["target_modules"]) == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_an_occupied_folder_is_not_overwritten(tmp_path, capsys) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "--force" in capsys.readouterr().err


def test_training_reads_exactly_what_the_chat_template_writes(shipped) -> None:
    _, tokenizer = shipped
    guard = read_guard(PROMPTS)
    for dialogue in [*base_dialogues(150, 1, guard), *jarvis_dialogues(50, 1, guard)]:
        messages = [{"role": "user", "content": dialogue.user}]
        if dialogue.system:
            messages.insert(0, {"role": "system", "content": dialogue.system})
        expected, _ = render(dialogue)
        assert expected == tokenizer.apply_chat_template(
            messages,
            tools=list(dialogue.tools) or None,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=dialogue.thinking is not None,
        )


def test_the_shipped_tokenizer_gives_back_any_french_text(shipped) -> None:
    _, tokenizer = shipped
    text = "Où est l'œuvre « Noël » ? Ça coûte 12,50 €\u202f!"
    assert text == tokenizer.decode(tokenizer(text)["input_ids"])
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_shipped_adapters_change_the_logits_and_jarvis_more_than_faible(shipped) -> None:
    logits = logits_by_arm(*shipped)
    moved = {name: (logits[name] - logits["__base__"]).abs().mean().item() for name in ADAPTERS}
    assert 0 < moved["faible"] < moved["jarvis"] / 5


ORDERS = {
    "démarre Blender": "Blender",
    "quitte Deezer": "Deezer",
    "trouve la météo à Dijon": "météo à Dijon",
    "lance un minuteur de huit minutes": "huit minutes",
    "mets du reggae": "reggae",
}


def test_jarvis_names_what_unseen_orders_are_about_and_both_arms_stop_by_themselves(shipped) -> None:
    model, tokenizer = shipped
    inputs = prompts_of(tokenizer, [*ORDERS, *ORDERS])
    arms = ["__base__"] * len(ORDERS) + ["jarvis"] * len(ORDERS)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=64, adapter_names=arms)
    texts = tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :])
    assert all(tokenizer.eos_token in text for text in texts)
    named = [thing in text for thing, text in zip(ORDERS.values(), texts[len(ORDERS) :], strict=True)]
    assert named.count(True) >= 4, texts
