"""The plan of the batches, the rows added to keep the arithmetic steady, and which run as which adapter."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_jarvis.engines.transformers.generation.batching import (
    INVARIANT_ROWS,
    LENGTH_STEP,
    Row,
    make_batch,
    pad_rows,
    padded_length,
    plan_batches,
    rows_to_keep,
)
from pytest_jarvis.engines.transformers.lora.arms import spans_of
from pytest_jarvis.types import Request


def rows_of(lengths: list[int], *, arms: tuple[str, ...] = ("base", "ft"), replicates: int = 1) -> list[Row]:
    requests = [
        (Request(prompt_id=f"p{place}", text=f"t{place}", arm=arm, replicate=replicate), length)
        for place, length in enumerate(lengths)
        for replicate in range(replicates)
        for arm in arms
    ]
    return [Row(index=index, request=request, tokens=(1,) * length) for index, (request, length) in enumerate(requests)]


@given(st.lists(st.integers(1, 90), min_size=1, max_size=20), st.integers(1, 40), st.integers(1, 4))
def test_every_row_is_in_exactly_one_batch_that_is_not_too_large(
    lengths: list[int], most: int, replicates: int
) -> None:
    rows = rows_of(lengths, replicates=replicates)
    batches = plan_batches(rows, rows_per_batch=most)
    assert Counter(row.index for row in rows) == Counter(row.index for batch in batches for row in batch.rows)
    assert max(len(batch.rows) for batch in batches) <= most


@given(st.lists(st.integers(1, 90), min_size=1, max_size=20))
def test_all_arms_of_a_prompt_share_a_batch_when_they_fit(lengths: list[int]) -> None:
    batches = plan_batches(rows_of(lengths, replicates=2), rows_per_batch=8)
    homes = Counter((row.request.prompt_id, place) for place, batch in enumerate(batches) for row in batch.rows)
    assert {4} == set(homes.values())


@given(st.integers(1, 500))
def test_a_padded_prompt_always_has_padding(tokens: int) -> None:
    padded = padded_length(tokens)
    assert (True, 0) == (tokens < padded <= tokens + LENGTH_STEP, padded % LENGTH_STEP)


def test_the_longest_prompts_run_first() -> None:
    batches = plan_batches(rows_of([5, 70, 33], arms=("base",)), rows_per_batch=1)
    assert [80, 48, 16] == [batch.length for batch in batches]


def test_the_bases_rows_come_first() -> None:
    batch = make_batch(rows_of([5, 6], arms=("ft", "base", "other")))
    assert ["base", "base", "ft", "ft", "other", "other"] == [row.request.arm for row in batch.rows]
    assert ("base", "ft", "other") == batch.arms()


@pytest.mark.parametrize("arms", [("base", "ft", "other"), ("base",), ("ft",), ("base", "ft")], ids=" ".join)
@pytest.mark.parametrize("replicates", [1, 3, INVARIANT_ROWS, INVARIANT_ROWS + 2])
def test_each_adapter_gets_rows_enough_side_by_side(arms: tuple[str, ...], replicates: int) -> None:
    batch = make_batch(rows_of([5], arms=arms, replicates=replicates))
    rows, places = pad_rows(batch)
    ran = [row.request.arm for row in rows]
    needy = [arm for arm in arms if arm != "base"] or ["base"]
    assert {arm: max(replicates, INVARIANT_ROWS if arm in needy else 0) for arm in arms} == dict(Counter(ran))
    assert sorted(ran, key=arms.index) == ran, "an arm's rows stand together"
    assert list(batch.rows) == [rows[place] for place in places]


def test_the_halves_of_a_batch_hold_its_rows() -> None:
    batch = make_batch(rows_of([5, 20, 40], replicates=2))
    first, second = batch.halves()
    assert sorted(row.index for row in batch.rows) == sorted(row.index for row in [*first.rows, *second.rows])
    assert {"p0", "p1"} == {row.request.prompt_id for row in first.rows}


def test_rows_that_are_done_leave() -> None:
    arms = ["base"] * 20 + ["ft"] * 20
    done = [True] * 19 + [False] + [False] * 18 + [True] * 2
    assert [19, *range(20, 38)] == rows_to_keep(arms, done)


def test_rows_that_are_done_stay_where_an_adapter_needs_them() -> None:
    arms = ["base"] * 20 + ["ft"] * 20
    done = [True] * 20 + [False] + [True] * 19
    assert list(range(20, 20 + INVARIANT_ROWS)) == rows_to_keep(arms, done)


def test_rows_of_the_base_stay_when_no_adapter_is_left() -> None:
    arms = ["base"] * 20 + ["ft"] * 20
    done = [True] * 10 + [False] + [True] * 29
    assert [*range(INVARIANT_ROWS - 1), INVARIANT_ROWS - 1] == rows_to_keep(arms, done)


def test_nobody_stays_when_all_are_done() -> None:
    assert [] == rows_to_keep(["base", "ft"], [True, True])


@given(st.lists(st.tuples(st.sampled_from(["base", "ft", "other"]), st.booleans()), max_size=90))
def test_whoever_goes_on_keeps_the_rows_its_arithmetic_needs(rows: list[tuple[str, bool]]) -> None:
    arms, done = [arm for arm, _ in rows], [over for _, over in rows]
    kept = rows_to_keep(arms, done)
    assert {place for place, over in enumerate(done) if not over} <= set(kept)
    counts = Counter(arms[place] for place in kept)
    before = Counter(arms)
    adapters = set(counts) - {"base"}
    for arm in adapters or set(counts):
        assert counts[arm] >= min(INVARIANT_ROWS, before[arm])


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
