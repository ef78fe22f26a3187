"""Rows of several arms in one batch, by slices, against peft's own way."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_jarvis.engines.transformers.generation.forward import last_logits
from pytest_jarvis.engines.transformers.lora import arms as arms_module
from pytest_jarvis.engines.transformers.lora.arms import Rows, peft_name

ARMS = ["base"] * 3 + ["ft"] * 3 + ["other"] * 3


@pytest.fixture(scope="module")
def two(tiny_moe, make_adapter, load_engine) -> Iterator[Any]:
    """Two adapters on the base; only one of them adapts the output projection."""
    one = make_adapter(tiny_moe, "queries", target_modules=["q_proj"], seed=5)
    other = make_adapter(tiny_moe, "outputs", target_modules=["q_proj", "o_proj"], r=2, seed=6)
    engine = load_engine(tiny_moe, ("ft", one), ("other", other))
    yield engine
    engine.close()


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the operations of torch by name."""
    from torch.utils._python_dispatch import TorchDispatchMode

    found: Counter[str] = Counter()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found[str(func)] += 1
            return func(*args, **(kwargs or {}))

    with Counting():
        yield found


def logits_of(engine: Any) -> Any:
    prompts = [engine._chat.encode(text) for text in ("ouvre chrome", "monte le son", "lance la musique")]
    return last_logits(engine._model, prompts * 3, ARMS, pad=engine._pad)


def test_slices_give_the_logits_of_pefts_own_mixed_batch_to_the_bit(two, monkeypatch) -> None:
    found = logits_of(two)
    with monkeypatch.context() as patch:
        patch.setattr(arms_module, "spans_of", lambda _arms: None)
        expected = logits_of(two)
    assert not (expected[:3] == expected[3:6]).all()
    assert not (expected[3:6] == expected[6:]).all()
    assert (expected == found).all()


def test_a_mixed_batch_picks_no_rows_by_a_list(two, monkeypatch) -> None:
    with counted() as sliced:
        logits_of(two)
    with monkeypatch.context() as patch, counted() as picked:
        patch.setattr(arms_module, "spans_of", lambda _arms: None)
        logits_of(two)
    # Two layers of the model, in which one adapter has one product and the other has two. On a GPU each list of places
    # is copied to the device, which waits for all that was launched before.
    assert 6 == picked["aten.index_put_.default"] - sliced["aten.index_put_.default"]


def test_no_row_runs_as_an_adapter_after_a_forward_that_failed(two) -> None:
    rows: list[Rows] = [layer.jarvis_rows for layer in two._model.modules() if hasattr(layer, "jarvis_rows")]
    assert 1 == len({id(one) for one in rows}), "one object tells every layer"
    seen: list[object] = []

    def fail(*_: Any) -> None:
        seen.append(rows[0].spans)
        raise RuntimeError("no room")

    handle = two._base.model.lm_head.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="no room"):
        logits_of(two)
    handle.remove()
    assert [((peft_name("ft"), 16, 32), (peft_name("other"), 32, 48))] == seen
    assert rows[0].spans is None
