"""Whatever is wrong with a base or an adapter is one sentence before anything is scored."""

import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis.engines.transformers.lora.files import read_adapter, read_adapters
from pytest_jarvis.types import AdapterSpec, EngineError, GenerationSettings

PREFIX = "base_model.model."


def drop_one(tensors: dict[str, Any]) -> None:
    for half in "AB":
        del tensors[f"{PREFIX}model.layers.1.self_attn.v_proj.lora_{half}.weight"]


def add_one(tensors: dict[str, Any]) -> None:
    for half in "AB":
        name = f"self_attn.v_proj.lora_{half}.weight"
        tensors[f"{PREFIX}model.layers.7.{name}"] = tensors[f"{PREFIX}model.layers.1.{name}"].clone()


def rename_all(tensors: dict[str, Any]) -> None:
    for key in list(tensors):
        tensors[key.replace("self_attn", "attention")] = tensors.pop(key)


def widen(tensors: dict[str, Any]) -> None:
    for key in list(tensors):
        if "lora_A" in key:
            tensors[key] = tensors[key].repeat(1, 2)


def damage(tensors: dict[str, Any]) -> None:
    next(iter(tensors.values())).fill_(float("nan"))


def contradict(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"F32"', b'"F64"'))


CUT = "has weights that are cut or damaged"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"weights": drop_one}, r": its file lacks 2 of its weights: .*layers\.1\.self_attn\.v_proj\.lora_A"),
        ({"weights": add_one}, r": the model has no place for 2 of its weights: .*layers\.7\.self_attn\.v_proj"),
        ({"weights": rename_all}, ": its file lacks 16 of its weights: .* and 13 more"),
        ({"weights": damage}, " gives logits that are not finite"),
        ({"weights": widen}, ": it cannot be attached to this base: .*size mismatch"),
        ({"files": contradict}, f": .* {CUT}"),
        ({"config": {"base_model_name_or_path": "demo"}}, ": .*it was trained on 'demo'"),
        (
            {"config": {"base_model_name_or_path": "Qwen/Qwen3-30B-A3B"}},  # of the hub, and its shape is known
            ": .*trained on the model 'Qwen/Qwen3-30B-A3B', .* hidden_size is 2048 there",
        ),
        ({"config": {"peft_type": "IA3"}}, ': .*is not a LoRA .peft_type is "IA3", expected "LORA"'),
        ({"config": {"target_modules": ["no_such_proj"]}}, ": .* does not target: .*no_such_proj"),
        ({"config": {"r": "four"}}, r': .*with a value that cannot be used \(r is "four", expected a whole number\)'),
    ],
)
def test_an_adapter_that_does_not_fit_its_base_is_refused(load_edited, edit: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=f"adapter 'ft'{message}"):
        load_edited(**edit)


def test_an_adapter_that_changes_nothing_is_refused(tiny_moe, inert_adapter, load_engine) -> None:
    with pytest.raises(EngineError, match=r"adapter 'ft': .* is untrained: every lora_B in its file is zero"):
        load_engine(tiny_moe, ("ft", inert_adapter))


def test_an_adapter_whose_product_is_zero_is_refused(load_edited) -> None:
    def erase(tensors: dict[str, Any]) -> None:
        for key in tensors:
            tensors[key] *= "lora_B" in key

    with pytest.raises(EngineError, match="adapter 'ft': the adapter changes nothing"):
        load_edited(weights=erase)


def test_an_adapter_of_single_tokens_is_refused_beside_others(tiny_moe, make_adapter, live_adapter) -> None:
    tokens = make_adapter(tiny_moe, "shapes-single tokens", target_modules=["q_proj"], trainable_token_indices=[1, 2])
    specs = [AdapterSpec(name=name, source=str(folder)) for name, folder in (("a", live_adapter), ("b", tokens))]
    with pytest.raises(EngineError, match=r"'b': it trains single tokens .* compare it with the base in its own run"):
        read_adapters(specs)


def test_a_template_that_drops_the_prompt_is_refused_before_the_weights_are_read(
    tiny_moe, load_engine, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    folder = shutil.copytree(tiny_moe, tmp_path / "deaf")
    (folder / "chat_template.jinja").write_text("Bonjour !", encoding="utf-8")
    with pytest.raises(EngineError, match="deaf: its chat template drops the prompt"):
        load_engine(folder)


def test_a_base_with_damaged_weights_is_refused_without_an_adapter(edited_model, load_engine) -> None:
    folder = edited_model(lambda tensors: tensors["model.norm.weight"].fill_(float("inf")))
    with pytest.raises(EngineError, match="the base gives logits that are not finite"):
        load_engine(folder)


def test_an_adapter_that_names_another_base_than_the_folder_is_noted(
    tiny_moe, live_adapter, load_engine, edited_adapter
) -> None:
    adapter = edited_adapter(live_adapter, config={"base_model_name_or_path": "Qwen/Qwen3-8B"})
    engine = load_engine(tiny_moe, ("ft", adapter))
    notes = engine.describe().notes
    (other,) = [note.values for note in notes if note.code == "adapter_of_other_base"]
    assert ("ft", "Qwen/Qwen3-8B") == (other["name"], other["stated"])
    assert "tiny-qwen3-moe" in str(other["base"])


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("adapter_model.safetensors", b"", CUT),
        ("adapter_model.safetensors", None, CUT),
        (
            "adapter_model.safetensors",
            LFS,
            "holds a pointer of Git LFS instead of the weights .git lfs pull fetches them",
        ),
        ("adapter_model.bin", b"garbage", CUT),
        ("adapter_model.bin", LFS, "holds a pointer of Git LFS"),
        ("adapter_model.bin", b"\x80\x02garbage", "is damaged, or is no file of weights alone"),
        ("adapter_model.bin", [1, 2], "holds no table of weights"),
        ("adapter_model.bin", {}, "holds no table of weights"),
    ],
)
def test_a_damaged_file_of_weights_is_named(live_adapter, tmp_path, name: str, content: Any, said: str) -> None:
    import torch

    folder = shutil.copytree(live_adapter, tmp_path / "adapter")
    whole = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").unlink()
    if content is None:
        content = whole[: len(whole) // 2]
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        torch.save(content, folder / name)
    with pytest.raises(EngineError, match=rf"^adapter 'ft': .*(adapter|{name}) {said}[^\n]*$") as refused:
        read_adapter(AdapterSpec(name="ft", source=str(folder)))
    assert "weights_only" not in str(refused.value)


@pytest.mark.parametrize("whole", [["embed_tokens", "lm_head"], None])
def test_another_vocabulary_is_said_with_both_numbers(tiny_moe, load_engine, tmp_path, whole: list[str] | None) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = AutoModelForCausalLM.from_pretrained(tiny_moe, dtype=torch.float32)
        base.resize_token_embeddings(270)
        config = LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=whole)
        get_peft_model(base, config).save_pretrained(tmp_path, save_embedding_layers=True)
    with pytest.raises(EngineError, match="trained with a vocabulary of 270 tokens, and this base has 259; use"):
        load_engine(tiny_moe, ("ft", tmp_path))


def test_an_adapter_of_another_folder_is_refused_when_its_base_has_another_shape(
    tiny_moe, tiny_dense, load_edited
) -> None:
    with pytest.raises(
        EngineError, match=r"adapter 'ft': it was trained on the model '.*tiny-qwen3', .* model_type is 'qwen3' there"
    ):
        load_edited(config={"base_model_name_or_path": str(tiny_dense)})


def test_an_adapter_of_a_folder_with_other_weights_of_the_same_layout_is_refused(
    tiny_moe, load_edited, edited_model
) -> None:
    other = edited_model(lambda tensors: [tensor.add_(1) for tensor in tensors.values()], name=tiny_moe.name)
    with pytest.raises(EngineError, match=r"trained on the model '.*': model\.safetensors has other weights there"):
        load_edited(config={"base_model_name_or_path": str(other)})


def test_an_adapter_of_a_folder_with_the_same_model_in_another_precision_is_noted(load_edited, edited_model) -> None:
    other = edited_model(lambda tensors: tensors.update({name: one.half() for name, one in tensors.items()}))
    engine = load_edited(config={"base_model_name_or_path": str(other)})
    notes = engine.describe().notes
    assert "adapter_of_other_base" in {note.code for note in notes}


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_adapter_file_is_named(tiny_moe, live_adapter, load_engine, tmp_path, missing: str) -> None:
    folder = shutil.copytree(live_adapter, tmp_path / "adapter")
    (folder / missing).unlink()
    with pytest.raises(EngineError, match=missing):
        load_engine(tiny_moe, ("ft", folder))


def test_a_missing_adapter_folder_is_refused(tiny_moe, load_engine, tmp_path) -> None:
    with pytest.raises(EngineError, match="adapter 'ft': no such folder"):
        load_engine(tiny_moe, ("ft", tmp_path / "nowhere"))


def test_two_adapters_of_one_name_are_refused(tiny_moe, live_adapter, load_engine) -> None:
    with pytest.raises(EngineError, match="two adapters are called 'ft'"):
        load_engine(tiny_moe, ("ft", live_adapter), ("ft", live_adapter))


@pytest.mark.parametrize(("folder", "said"), [("nowhere", "no such model folder"), (".", r"no config\.json")])
def test_a_folder_without_a_model_is_refused(load_engine, tmp_path, folder: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        load_engine(tmp_path / folder)


def test_a_gpu_that_is_asked_for_and_is_not_there_is_refused(tiny_moe, load_engine) -> None:
    with pytest.raises(EngineError, match="device_map asks for 'cuda:99', and this machine has"):
        load_engine(tiny_moe, device_map="cuda:99")


def test_a_hub_id_that_no_one_can_give_is_refused_at_once(load_engine) -> None:
    started = time.perf_counter()
    with pytest.raises(EngineError, match=r"nobody/nothing: no such model folder, .* and the hub cannot be reached"):
        load_engine("nobody/nothing")
    assert time.perf_counter() - started < 5


def test_a_checkpoint_that_lacks_a_weight_is_refused(edited_model, load_engine) -> None:
    folder = edited_model(lambda tensors: tensors.pop("model.layers.1.self_attn.q_norm.weight"))
    with pytest.raises(EngineError, match=r"lacks 1 weights of the model, the first is .*1\.self_attn\.q_norm"):
        load_engine(folder)


def test_a_tokenizer_without_a_template_asks_for_raw(tiny_moe, load_engine, tokenizer_in, tmp_path) -> None:
    folder = shutil.copytree(tiny_moe, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    tokenizer_in(folder, template=None)
    with pytest.raises(EngineError, match="its tokenizer has no chat template; use the template 'raw'"):
        load_engine(folder)


OTHER = "{% for message in messages %}### {{ message.content }}\n{% endfor %}"


@pytest.fixture
def own_template(live_adapter, tmp_path) -> Callable[[str], Path]:
    """A function that copies the live adapter with a chat template of its own."""

    def write(template: str) -> Path:
        folder = shutil.copytree(live_adapter, tmp_path / f"own-{len(template)}")
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        return folder

    return write


def template_notes(engine: Any) -> set[str]:
    return {note.code for note in engine.describe().notes} & {"adapter_template", "adapter_tokenizer"}


def test_an_adapter_with_a_template_of_its_own_is_noted_or_used(tiny_moe, load_engine, own_template) -> None:
    adapter = own_template(OTHER)
    noted = load_engine(tiny_moe, ("ft", adapter))
    assert {"adapter_template"} == template_notes(noted)
    used = load_engine(tiny_moe, ("ft", adapter), settings=GenerationSettings(template="adapter"))
    assert ("### ouvre\n", set()) == (used._chat.render("ouvre"), template_notes(used))
    assert "<|im_start|>" in noted._chat.render("ouvre")


def test_an_adapter_with_the_template_of_its_base_is_not_noted(tiny_moe, load_engine, own_template) -> None:
    template = (tiny_moe / "chat_template.jinja").read_text(encoding="utf-8")
    assert set() == template_notes(load_engine(tiny_moe, ("ft", own_template(f"{{# the same #}}{template}"))))


def test_an_adapter_whose_tokens_have_other_numbers_is_noted(tiny_moe, load_engine, own_template) -> None:
    adapter, text = own_template(OTHER), (tiny_moe / "tokenizer.json").read_text(encoding="utf-8")
    (adapter / "chat_template.jinja").unlink()
    (adapter / "tokenizer.json").write_text(text, encoding="utf-8")
    assert set() == template_notes(load_engine(tiny_moe, ("ft", adapter)))
    (adapter / "tokenizer.json").write_text(text.replace('"<|pad|>"', '"<|vide|>"'), encoding="utf-8")
    assert {"adapter_tokenizer"} == template_notes(load_engine(tiny_moe, ("ft", adapter)))


def test_the_adapters_template_must_be_one(tiny_moe, live_adapter, load_engine, own_template) -> None:
    settings = GenerationSettings(template="adapter")
    with pytest.raises(EngineError, match="no adapter has a chat template beside its weights; use the template 'chat'"):
        load_engine(tiny_moe, ("ft", live_adapter), settings=settings)
    with pytest.raises(EngineError, match="the adapters' templates differ"):
        load_engine(tiny_moe, ("a", own_template(OTHER)), ("b", own_template(f"{OTHER} ")), settings=settings)
