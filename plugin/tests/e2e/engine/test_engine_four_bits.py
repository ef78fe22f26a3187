"""What is loaded is in four bits where it says so, holds the right values, and never stood in 16 bits as a whole."""

import weakref
from typing import Any

import numpy as np
import pytest
from plain_models import plain_logits, plain_model, quantised_after_load

from pytest_jarvis.types import EngineError, Storage

PROMPTS = ["ouvre chrome", "quelle heure est-il ?"]


def stored(engine: Any) -> dict[str, tuple[Any, Any]]:
    """Each 4-bit tensor of an engine's base by the name it has in the plain model."""
    found = {}
    for name, parameter in engine._base.model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        plain = name.replace(".base_layer", "")
        if ".parametrizations." in name:
            owner, _, attribute = name.removesuffix(".original").partition(".parametrizations.")
            state = getattr(engine._base.model.get_submodule(owner).parametrizations, attribute)[0].quant_state
            plain = f"{owner}.{attribute}"
        if state is not None:
            found[plain] = (parameter.data, state)
    return found


@pytest.fixture(scope="module", params=["tiny_moe", "tiny_mixtral", "tiny_gpt_oss"])
def family(request, load_engine) -> Any:
    """(folder, engine) of each family, in NF4 without adapters."""
    folder = request.getfixturevalue(request.param)
    engine = load_engine(folder)
    yield folder, engine
    engine.close()


def test_quantising_on_load_equals_quantising_after_load_bit_for_bit(family) -> None:
    import torch

    folder, engine = family
    _, expected = quantised_after_load(folder)
    found = stored(engine)
    assert set(expected) == set(found)
    for name, (code, state) in expected.items():
        data, own = found[name]
        assert torch.equal(code.flatten(), data.flatten()), name
        assert torch.equal(state.absmax, own.absmax), name
        assert torch.equal(state.state2.absmax, own.state2.absmax), name
        assert (state.offset, tuple(state.shape)) == (own.offset, tuple(own.shape)), name


def test_the_arithmetic_of_the_family_is_steady(family) -> None:
    assert family[1].batch_invariance.holds


def test_logits_are_those_of_the_quantised_weights(family) -> None:
    folder, engine = family
    model, _ = quantised_after_load(folder)
    expected = plain_logits(engine, model, PROMPTS)
    assert np.abs(expected - engine.logits(PROMPTS)).max() < 1e-4 * np.abs(expected).max()


def test_logits_are_as_far_from_the_16_bit_ones_as_noise_of_the_size_of_four_bits_puts_them(family) -> None:
    import torch

    folder, engine = family
    exact, noisy, (quantised, packed) = plain_model(folder), plain_model(folder), quantised_after_load(folder)
    torch.manual_seed(0)
    for name, weight in noisy.named_parameters():
        if name in packed:
            error = (weight - quantised.get_parameter(name)).detach().std()
            assert 0.05 < error / weight.detach().std() < 0.15
            weight.data.add_(torch.randn_like(weight) * error)
    expected = plain_logits(engine, exact, PROMPTS)
    reference = np.abs(plain_logits(engine, noisy, PROMPTS) - expected).mean()
    assert 0 < np.abs(engine.logits(PROMPTS) - expected).mean() < 2 * reference


def test_every_expert_and_linear_weight_is_in_four_bits(family) -> None:
    _, engine = family
    coverage = engine.describe().coverage
    kinds = {kind.kind: set(kind.weights) for kind in coverage.kinds}
    assert (1.0, Storage(format="nf4"), ()) == (coverage.share_4bit, coverage.storage, coverage.not_4bit)
    assert ({"nf4"}, {"nf4"}, {"float32"}) == (kinds["experts"], kinds["attention"], kinds["router"])


def test_every_weight_is_counted_once(family) -> None:
    folder, engine = family
    expected = sum(parameter.numel() for parameter in plain_model(folder).parameters())
    assert expected == sum(count for kind in engine.describe().coverage.kinds for count in kind.weights.values())


def test_the_footprint_is_the_computed_one(family) -> None:
    folder, engine = family
    expected = 0
    for name, weight in plain_model(folder).named_parameters():
        n = weight.numel()
        if name in stored(engine):
            # Codes; a byte a block of 64; a float for 256 blocks; the offset; and the two tables of values.
            expected += n // 2 + n // 64 + 4 * -(-n // 64 // 256) + 4 + 4 * 16 + 4 * 256
        else:
            expected += 4 * n
    found = sum(size for kind in engine.describe().coverage.kinds for size in kind.bytes.values())
    assert abs(found - expected) < 0.02 * expected


def stock_config(*_: Any, **__: Any) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)


def test_a_stock_4_bit_load_is_refused_with_the_names_of_what_is_not(tiny_moe, load_engine, monkeypatch) -> None:
    monkeypatch.setattr("pytest_jarvis.engines.transformers.nf4.quantize.nf4_config", stock_config)
    with pytest.raises(
        EngineError, match=r"only 11\.1% .* in 4 bits.*layers\.0\.mlp\.experts\.gate_up_proj.* and 1 more"
    ):
        load_engine(tiny_moe)


def test_a_partial_load_that_is_allowed_says_so_in_its_label(tiny_moe, load_engine, monkeypatch) -> None:
    monkeypatch.setattr("pytest_jarvis.engines.transformers.nf4.quantize.nf4_config", stock_config)
    engine = load_engine(tiny_moe, allow_partial_4bit=True)
    coverage = engine.describe().coverage
    assert 0.111 == coverage.storage.share
    assert 4 == len(coverage.not_4bit)


def test_no_quantisation_is_none(tiny_moe, load_engine) -> None:
    engine = load_engine(tiny_moe, quantization="none")
    coverage = engine.describe().coverage
    expected = plain_logits(engine, plain_model(tiny_moe), PROMPTS)
    found = engine.logits(PROMPTS)
    assert (None, Storage(format="32bit")) == (coverage.share_4bit, coverage.storage)
    assert np.abs(expected - found).max() < 1e-4 * np.abs(expected).max()


def test_the_load_never_holds_much_more_than_what_it_ends_with(tmp_path, tokenizer_in) -> None:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    from pytest_jarvis.engines.transformers.loading.base import load_base
    from pytest_jarvis.engines.transformers.loading.sources import find_source
    from pytest_jarvis.types import ModelSpec

    config = Qwen3MoeConfig(
        vocab_size=300,
        hidden_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        moe_intermediate_size=256,
        num_experts=16,
        num_experts_per_tok=2,
        pad_token_id=0,
        eos_token_id=1,
    )
    layer_bytes = 4 * 16 * 3 * 256 * 256
    Qwen3MoeForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer_in(tmp_path)

    class LiveBytes(TorchDispatchMode):
        """Follows the bytes of every tensor made while it is on."""

        live = peak = 0

        def __init__(self) -> None:
            super().__init__()
            self._known: set[int] = set()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor) and tensor.device.type == "cpu":
                    self._follow(tensor.untyped_storage())
            return result

        def _follow(self, storage: Any) -> None:
            key, size = id(storage), storage.nbytes()
            if key in self._known:
                return
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)

            def forget() -> None:
                self._known.discard(key)
                self.live -= size

            weakref.finalize(storage, forget)

    spec = ModelSpec(base_model_id=str(tmp_path))
    with LiveBytes() as memory:
        base = load_base(spec, find_source(spec))
    final = sum(parameter.untyped_storage().nbytes() for parameter in base.model.parameters())
    assert memory.peak > final * 0.9
    assert memory.peak - final < 0.5 * layer_bytes


def test_a_router_that_is_a_linear_layer_stays_in_16_bits_as_its_family_reads_it(
    tmp_path, load_engine, tiny_model
) -> None:
    # This family's router multiplies by its weights itself, which packed ones do not allow.
    folder = tiny_model(
        "LongcatFlash",
        tmp_path,
        seed=4,
        num_layers=2,
        ffn_hidden_size=128,
        expert_ffn_hidden_size=64,
        n_routed_experts=4,
        zero_expert_num=2,
        moe_topk=2,
        kv_lora_rank=32,
        q_lora_rank=32,
        qk_rope_head_dim=16,
        qk_nope_head_dim=16,
        v_head_dim=16,
        head_dim=16,
        num_hidden_layers=None,
        num_key_value_heads=4,
    )
    engine = load_engine(folder)
    coverage = engine.describe().coverage
    expected, _ = quantised_after_load(folder)
    logits = plain_logits(engine, expected, PROMPTS)
    found = engine.logits(PROMPTS)
    kinds = {kind.kind: set(kind.weights) for kind in coverage.kinds}
    assert (1.0, {"float32"}) == (coverage.share_4bit, kinds["router"])
    assert np.abs(logits - found).max() < 1e-4 * np.abs(logits).max()


@pytest.mark.parametrize(
    ("path", "outputs", "chooses"),
    [
        ("layers.0.mlp.router.classifier", 6, True),
        ("layers.0.mlp.router_gate", 16, True),
        ("layers.0.mlp.gate", 8, True),
        ("layers.0.mlp.gate.wg", 8, True),
        ("layers.0.mlp.gate", 128, False),
        ("layers.0.mlp.gate_proj", 8, False),
        ("layers.0.mlp.shared_expert_gate", 1, False),
    ],
)
def test_a_router_is_known_by_its_name_or_by_one_output_an_expert(path: str, outputs: int, chooses: bool) -> None:
    from pytest_jarvis.engines.transformers.nf4.coverage import is_router

    assert chooses == is_router(path, "Linear", outputs, frozenset({8}))


@pytest.mark.parametrize(("kind", "double"), [("nf4", False), ("fp4", True), ("fp4", False)])
def test_other_kinds_of_4_bits_are_those_of_bitsandbytes(tiny_moe, load_engine, kind: str, double: bool) -> None:
    import bitsandbytes.functional as bnb
    import torch
    from safetensors.torch import load_file

    engine = load_engine(tiny_moe, quantization=kind, double_quant=double)
    assert (kind if double else f"{kind}_single", None) == (
        engine.describe().coverage.storage.format,
        engine.describe().coverage.storage.share,
    )
    files = load_file(tiny_moe / "model.safetensors")
    name, expert = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.experts"
    downs = torch.stack([files[f"{expert}.{number}.down_proj.weight"] for number in range(8)])
    for found, whole in (
        (engine._model.get_submodule(name).dequantized(), files[f"{name}.weight"]),
        (engine._model.get_submodule(expert).down_proj, downs),
    ):
        packed, state = bnb.quantize_4bit(whole.float(), blocksize=64, quant_type=kind, compress_statistics=double)
        assert torch.equal(bnb.dequantize_4bit(packed, state), found)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_the_arithmetic_may_have_another_type(tiny_moe, live_adapter, load_engine, quantization: str) -> None:
    engine = load_engine(tiny_moe, ("ft", live_adapter), quantization=quantization, compute_dtype="bfloat16")
    exact = load_engine(tiny_moe, ("ft", live_adapter), quantization=quantization)
    found, expected = (one.logits(["ouvre chrome"], "ft") for one in (engine, exact))
    assert ("bfloat16", "float32") == (engine.describe().compute_dtype, exact.describe().compute_dtype)
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
