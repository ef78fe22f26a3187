"""The kernel that multiplies by experts in 4 bits, run by Triton's interpreter on a CPU and compiled for GPUs."""

import importlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from pytest_jarvis.engines.transformers import nf4
from pytest_jarvis.engines.transformers.generation.forward import last_logits
from pytest_jarvis.engines.transformers.nf4 import compute
from pytest_jarvis.engines.transformers.nf4.compute import find_packed_experts
from pytest_jarvis.engines.transformers.nf4.quantize import quantize_tensor
from pytest_jarvis.types import Note, text_note

NAME = "pytest_jarvis.engines.transformers.nf4.kernel"
TRITON = re.compile(r"triton(?!\._C)(\.|$)")
"""What is imported again; its compiled half cannot be."""

if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.skip("Triton comes with the dev extra on Linux x86-64 only", allow_module_level=True)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """The kernel's module, its functions left to Triton's interpreter.

    Triton decides as it is imported, and bitsandbytes may have imported it: it is imported again for this module.
    """

    def of_triton() -> dict[str, ModuleType]:
        return {name: module for name, module in sys.modules.items() if TRITON.match(name)}

    before = of_triton()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        for name in before:
            del sys.modules[name]
        sys.modules.pop(NAME, None)
        module = importlib.import_module(NAME)
        yield module
    for name in (*of_triton(), NAME):
        del sys.modules[name]
    sys.modules.update(before)
    del nf4.kernel


def products(x: Any, whole: Any, index: Any) -> Any:
    """Return each (token, expert) pair's product, (pairs, width), by the weights read out."""
    import torch

    pairs = [(token, int(expert)) for token, chosen in enumerate(index) for expert in chosen]
    return torch.stack([whole[expert] @ x[token] for token, expert in pairs])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "sizes",
    [
        (8, 128, 64, 5, 2),  # half a chunk, fewer rows than experts
        (8, 96, 192, 40, 3),  # a chunk and a half, columns that do not fill a program
        (5, 200, 128, 70, 2),  # experts that are no power of two, and several tiles of one
        (3, 130, 256, 1, 1),  # one row
    ],
)
def test_products_are_those_of_the_weights_read_out(kernel, dtype: str, sizes: tuple[int, int, int, int, int]) -> None:
    import bitsandbytes.functional as bnb
    import torch

    experts, width, depth, tokens, per_token = sizes
    torch.manual_seed(experts + tokens)
    kind = getattr(torch, dtype)
    weights, state = quantize_tensor(torch.randn(experts, width, depth, dtype=kind))
    whole = bnb.dequantize_4bit(weights.data, state).float()
    x = torch.randn(tokens, depth, dtype=kind)
    index = torch.stack([torch.randperm(experts)[:per_token] for _ in range(tokens)])
    expected = products(x.float(), whole, index)
    groups = kernel.group(index, experts)
    spread = torch.empty_like(expected)
    spread[groups.order] = kernel.multiply(x, weights.data, state, groups, spread=True).float()
    gathered = kernel.multiply(x[groups.token], weights.data, state, groups, spread=False).float()
    allowed = {"float32": 1e-6, "float16": 1e-3}[dtype] * expected.abs().max()
    assert (spread - expected).abs().max() < allowed
    assert (gathered - expected).abs().max() < allowed


def test_a_row_that_is_not_finite_leaves_the_others_alone(kernel) -> None:
    import torch

    torch.manual_seed(0)
    weights, state = quantize_tensor(torch.randn(4, 64, 64))
    x = torch.randn(6, 64)
    index = torch.tensor([[0], [0], [0], [2], [2], [3]])
    groups = kernel.group(index, 4)
    sound = kernel.multiply(x, weights.data, state, groups, spread=True)
    x[1] = float("nan")
    found = kernel.multiply(x, weights.data, state, groups, spread=True)
    assert [True, False, True, True, True, True] == (found == sound).all(dim=1).tolist()


@pytest.mark.parametrize(
    ("pairs", "experts", "rows"), [(1, 128, 16), (480, 128, 16), (2049, 128, 32), (30_720, 128, 64)]
)
def test_a_program_takes_more_rows_where_experts_get_more(kernel, pairs: int, experts: int, rows: int) -> None:
    assert rows == kernel.rows_of_a_tile(pairs, experts)


@pytest.mark.parametrize("tokens", [1, 3, 40, 300])
def test_there_are_programs_for_every_row(kernel, tokens: int) -> None:
    import torch

    for seed in range(20):
        torch.manual_seed(seed)
        # A few experts get nearly all rows, or all get some.
        index = (torch.rand(tokens, 2) ** (seed % 4 + 1) * 7).long()
        groups = kernel.group(index, 7)
        counts = torch.bincount(index.flatten(), minlength=7)
        assert counts.cumsum(0).tolist() == groups.row_ends.tolist()
        assert (-(-counts // groups.rows)).cumsum(0).tolist() == groups.tile_ends.tolist()
        assert int(groups.tile_ends[-1]) <= groups.tiles


@pytest.fixture
def mixture(kernel, tiny_moe, load_engine) -> Any:
    engine = load_engine(tiny_moe)
    for _, _, entry in find_packed_experts(engine._base.model):
        entry[0].cached = None
    return engine


def test_a_model_answers_with_the_kernel_as_without(mixture) -> None:
    import torch

    texts = ["ouvre chrome", "monte le son"]
    expected = torch.from_numpy(mixture.logits(texts))
    assert compute.use_packed_experts(mixture._base.model) is None
    found = torch.from_numpy(mixture.logits(texts))
    assert 0 < (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_kernel_that_is_wrong_is_not_used(mixture, kernel, monkeypatch) -> None:
    right = kernel.multiply
    monkeypatch.setattr(kernel, "multiply", lambda *args, **kwargs: right(*args, **kwargs) * 1.01)
    before = mixture._base.model.config._experts_implementation
    reason = compute.use_packed_experts(mixture._base.model)
    assert reason is not None
    assert "products_off" == reason.code
    assert before == mixture._base.model.config._experts_implementation


@pytest.mark.parametrize("spread", [True, False])
def test_a_kernel_that_gives_what_is_no_number_is_not_used(mixture, kernel, monkeypatch, spread: bool) -> None:
    right = kernel.multiply

    def broken(*args: Any, **kwargs: Any) -> Any:
        return right(*args, **kwargs) * (float("nan") if kwargs["spread"] is spread else 1.0)

    monkeypatch.setattr(kernel, "multiply", broken)
    reason = compute.use_packed_experts(mixture._base.model)
    assert reason is not None
    assert ("products_off", "nan") == (reason.code, str(reason.values["size"]))


def test_a_layer_whose_experts_are_not_in_4_bits_keeps_the_kernel_out(mixture) -> None:
    from torch.nn.utils import parametrize

    *_, (owner, name, _) = find_packed_experts(mixture._base.model)
    parametrize.remove_parametrizations(owner, name, leave_parametrized=False)
    assert Note("experts_not_all_4bit") == compute.use_packed_experts(mixture._base.model)


def test_a_kernel_that_does_not_compile_is_not_used(mixture, kernel, monkeypatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("PassManager::run failed\n  at line 3")

    monkeypatch.setattr(kernel, "multiply", fail)
    assert text_note("RuntimeError: PassManager::run failed at line 3") == compute.use_packed_experts(
        mixture._base.model
    )


@pytest.mark.slow
def test_an_adapter_on_the_experts_shares_a_batch_with_the_base_and_leaves_them_packed(
    kernel, tiny_moe, make_adapter, load_engine
) -> None:
    import torch

    experts = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    adapter = make_adapter(tiny_moe, "packed-experts", target_modules=[], target_parameters=experts)
    engine = load_engine(tiny_moe, ("ft", adapter))
    prompts = [engine._chat.encode("ouvre chrome")] * 2

    def logits() -> Any:
        return last_logits(engine._model, prompts, ["base", "ft"], pad=engine._pad)

    expected = logits()
    assert (expected[0] - expected[1]).abs().max() > 0.1
    assert compute.use_packed_experts(engine._base.model) is None
    found = logits()
    assert 0 < (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert all(entry[0].stays_packed for _, _, entry in find_packed_experts(engine._base.model))
    assert torch.isfinite(found).all()


def test_experts_of_another_layout_are_named(kernel, tiny_gpt_oss, load_engine) -> None:
    engine = load_engine(tiny_gpt_oss)
    assert Note("experts_in_another_layout") == compute.use_packed_experts(engine._base.model)


COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from pytest_jarvis.engines.transformers.nf4 import kernel

function, capability, rows = kernel._rows_by_packed_experts, int(sys.argv[1]), int(sys.argv[2])
pointers = {"source": "i64", "packed": "i32", "scales": "u8", "row_ends": "i32", "tile_ends": "i32", "target": "i64"}
constants = {
    "EXPERTS": 128, "ROWS": rows, "COLUMNS": kernel.COLUMNS, "CHUNK": kernel.CHUNK, "SCALES_OF_A_SCALE": 256
}
names = function.arg_names
def kind(name):
    if name in constants:
        return "constexpr"
    if name in ("width", "depth", "experts"):
        return "i32"
    return "*" + pointers.get(name, "bf16" if name in ("x", "out") else "fp32")
source = ASTSource(
    fn=function,
    signature={name: kind(name) for name in names},
    constexprs={(names.index(name),): value for name, value in constants.items()},
    attrs={(place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if kind(name) != "constexpr"},
)
made = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4 if rows == 16 else 8})
print(len(made.asm["cubin"]) > 1000, "mma" in made.asm["ptx"], made.metadata.shared < 48 * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("capability", "rows"), [(80, 16), (86, 64), (89, 16), (90, 16), (90, 64), (120, 32)])
def test_it_compiles_for_cards_in_bfloat16_with_matrix_instructions(capability: int, rows: int) -> None:
    # In a process of its own: in this one the kernel is left to the interpreter.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(capability), str(rows)],
        env=environment,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert "True True True" == done.stdout.strip()
