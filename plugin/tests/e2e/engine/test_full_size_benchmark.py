"""The benchmark of the full size runs what it says it runs, at a size that fits anywhere."""

import dataclasses
import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[4] / "benchmarks" / "full_size.py"
QWEN3_30B_A3B_WEIGHTS = 30_532_122_624


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("full_size", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(SCRIPT.parent)
        spec.loader.exec_module(module)
    return module


def test_the_full_shape_has_the_weights_of_the_model(script) -> None:
    full = script.SHAPES["full"]
    assert sum(math.prod(size) for _, size in full.tensors()) == QWEN3_30B_A3B_WEIGHTS


def test_a_small_shape_goes_through_the_whole_benchmark(script, tmp_path) -> None:
    shape = dataclasses.replace(script.SHAPES["small"], layers=2, vocabulary=2200, hidden=128, experts=8)
    base, adapter = tmp_path / "base", tmp_path / "lora"
    size = script.build_checkpoint(base, shape)
    script.build_adapter(adapter, shape, base)
    measured = script.measure(base, adapter, new_tokens=2, alone=1)
    assert size == 2 * sum(math.prod(size) for _, size in shape.tensors())
    assert (60, 0) == (measured.responses, measured.failures)
    assert 60 <= measured.tokens <= 120
    assert measured.description.coverage.share_4bit == 1.0
    assert [proof.live for proof in measured.description.adapters] == [True]
    assert len(list(script.lines(measured))) >= 9
    assert all(line.startswith(("holds: ", "MISSED: ")) for line in script.bars(measured))
