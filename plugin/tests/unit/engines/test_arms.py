"""Which rows of a batch run as which adapter."""

import pytest

from pytest_jarvis.engines.transformers.lora.arms import spans_of


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ("", ()),
        ("base base", ()),
        ("base base a a a b", (("a", 2, 5), ("b", 5, 6))),
        ("a base base b", (("a", 0, 1), ("b", 3, 4))),
        ("a", (("a", 0, 1),)),
    ],
)
def test_an_adapters_rows_are_a_slice(arms: str, expected: tuple[object, ...]) -> None:
    assert expected == spans_of(arms.split())


@pytest.mark.parametrize("arms", ["a base a", "base a base"])
def test_rows_of_one_arm_that_lie_apart_are_no_slice(arms: str) -> None:
    assert spans_of(arms.split()) is None
