"""A GGUF is dequantised once, and is then a base like any other."""

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis.engines.transformers.loading import sources
from pytest_jarvis.inputs.base_model import find_base
from pytest_jarvis.types import EngineError

pytest.importorskip("gguf")


def write_gguf(folder: Path, file: Path, kind: str) -> Path:
    """Write a Qwen2 as GGUF: its matrices as `kind`, all else in 32 bits."""
    import gguf
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    vocabulary = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    tokens[-1] = "ab"  # transformers wants a merge
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_chat_template((folder / "chat_template.jinja").read_text("utf-8"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for key, tensor in load_file(folder / "model.safetensors").items():
        own = gguf.GGMLQuantizationType[kind if tensor.ndim == 2 else "F32"]
        values = gguf.quants.quantize(tensor.float().numpy(), own)
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), values, raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture
def packed(tiny_biased, tmp_path, monkeypatch) -> Path:
    """A GGUF alone in its folder, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "m").mkdir()
    return write_gguf(tiny_biased, tmp_path / "m" / "tiny-qwen2-Q8_0.gguf", "Q8_0")


def weights_of(engine: Any) -> dict[str, Any]:
    return dict(engine._base.model.state_dict())


def test_the_weights_are_those_that_gguf_gives(tiny_biased, packed, load_engine) -> None:
    import gguf
    import torch
    from safetensors.torch import load_file

    engine = load_engine(packed, quantization="none")
    found = weights_of(engine)
    for key, tensor in load_file(tiny_biased / "model.safetensors").items():
        expected = tensor.float().numpy()
        if tensor.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            expected = gguf.quants.dequantize(gguf.quants.quantize(expected, kind), kind)
        assert torch.equal(torch.from_numpy(expected).bfloat16().float(), found[key]), key
    (note,) = [note for note in engine.describe().notes if note.code == "dequantized_gguf"]
    assert {"types": "Q8_0"} == note.values


def test_a_folder_with_one_is_read_once_and_quantised_again(packed, load_engine, monkeypatch) -> None:
    first = load_engine(packed)
    monkeypatch.setattr(sources, "_write_dequantized", None)
    again = load_engine(packed.parent)
    (note,) = [note for note in again.describe().notes if note.code == "quantized_twice"]
    assert ("nf4", {"types": "Q8_0"}) == (again.describe().coverage.storage.format, note.values)
    assert first.logits(["ouvre"]).tolist() == again.logits(["ouvre"]).tolist()


def test_a_gguf_of_plain_numbers_is_not_quantised_twice(tiny_biased, packed, load_engine) -> None:
    engine = load_engine(write_gguf(tiny_biased, packed.with_name("plain.gguf"), "F16"))
    assert {"quantized_twice", "dequantized_gguf"}.isdisjoint(note.code for note in engine.describe().notes)


def test_check_knows_a_gguf_before_and_after_its_first_load(packed, load_engine, tmp_path) -> None:
    before = find_base(str(packed), None, tmp_path)
    load_engine(packed)
    after = find_base(str(packed.parent), None, tmp_path)
    assert ("gguf", None, None) == (before.place, before.folder, before.config)
    assert ("gguf", True, "qwen2") == (after.place, after.whole, (after.config or {})["model_type"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["bad.gguf"], r"m: bad\.gguf cannot be read as a GGUF of a model .*; download it again"),
        (["a.gguf", "b.gguf"], r"m: it holds 2 GGUF files; name one of them: .*a\.gguf"),
        (["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"], "is a part of a GGUF; join them"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(packed, load_engine, names: list[str], said: str) -> None:
    packed.unlink()
    for name in names:
        packed.with_name(name).write_bytes(b"GGUF" + bytes(2000))
    with pytest.raises(EngineError, match=said):
        load_engine(packed.parent)
    assert find_base(str(packed.parent), None, packed).config is None


def test_without_the_package_it_is_named(packed, load_engine, monkeypatch) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda name: None if name == "gguf" else name)
    with pytest.raises(EngineError, match=r"pip install 'pytest-jarvis\[gguf\]'"):
        load_engine(packed)
