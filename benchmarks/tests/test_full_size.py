"""The benchmark of the full size runs what it says it runs, at a size that fits anywhere."""

import dataclasses
import math

import full_size

QWEN3_30B_A3B_WEIGHTS = 30_532_122_624


def test_the_full_shape_has_the_weights_of_the_model() -> None:
    full = full_size.SHAPES["full"]
    assert sum(math.prod(size) for _, size in full.tensors()) == QWEN3_30B_A3B_WEIGHTS


def test_a_small_shape_goes_through_the_whole_benchmark(tmp_path) -> None:
    shape = dataclasses.replace(full_size.SHAPES["small"], layers=2, vocabulary=2200, hidden=128, experts=8)
    base, adapter = tmp_path / "base", tmp_path / "lora"
    size = full_size.build_checkpoint(base, shape)
    full_size.build_adapter(adapter, shape, base)
    measured = full_size.measure(base, adapter, new_tokens=2, alone=1)
    assert size == 2 * sum(math.prod(size) for _, size in shape.tensors())
    assert (60, 0) == (measured.responses, measured.failures)
    assert 60 <= measured.tokens <= 120
    assert measured.description.coverage.share_4bit == 1.0
    assert [proof.live for proof in measured.description.adapters] == [True]
    assert len(list(full_size.lines(measured))) >= 9
    assert all(line.startswith(("holds: ", "MISSED: ")) for line in full_size.bars(measured))
