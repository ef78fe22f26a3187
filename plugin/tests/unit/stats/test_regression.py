"""`stats.regression`: a drop is proven or it is not, overall and by category, with one error for all."""

import random
from collections.abc import Sequence

import pytest

from pytest_jarvis.stats.estimates import compare
from pytest_jarvis.stats.regression import OVERALL, REGRESSION_ALPHA, Obstacle, RegressionOutcome, find_drops, settle

Table = list[tuple[float, ...]]


def scores(level: float, seed: int, prompts: int = 10, replicates: int = 8) -> Table:
    draw = random.Random(seed)  # noqa: S311  # no secret
    return [tuple(level + draw.uniform(-0.05, 0.05) for _ in range(replicates)) for _ in range(prompts)]


def outcome(obstacles: Sequence[Obstacle] = (), *, drop: bool = False) -> RegressionOutcome:
    return RegressionOutcome(
        verdict="NOT_JUDGED",
        exit_failed=False,
        obstacles=tuple(obstacles),
        asked="last",
        alpha=0.01,
        stored=None,
        adapter="jarvis",
        tests=find_drops({("m", OVERALL): (scores(0.5, 1), scores(0.3 if drop else 0.5, 2))}),
        overlap=None,
        changes=(),
    )


def test_a_clear_drop_is_proven_and_its_interval_leaves_zero_out() -> None:
    [test] = find_drops({("m", OVERALL): (scores(0.5, 1), scores(0.4, 2))})
    assert test.proven_drop
    assert test.difference.interval is not None
    assert test.difference.interval[1] < 0


def test_a_rise_is_no_drop() -> None:
    [test] = find_drops({("m", OVERALL): (scores(0.4, 1), scores(0.5, 2))})
    assert not test.proven_drop


def test_the_same_scores_are_no_drop() -> None:
    same = scores(0.5, 1)
    [test] = find_drops({("m", OVERALL): (same, same)})
    assert (test.proven_drop, test.difference.difference) == (False, 0.0)


def test_one_scope_is_tested_at_the_whole_error() -> None:
    both = (scores(0.5, 1), scores(0.49, 2))
    [test] = find_drops({("m", OVERALL): both})
    assert test.difference == compare(*both, alpha=REGRESSION_ALPHA, shared_noise=False)


def test_a_drop_of_one_category_is_found_where_the_others_make_up_for_it() -> None:
    scopes = {
        ("m", OVERALL): (scores(0.5, 1) + scores(0.5, 2), scores(0.4, 3) + scores(0.6, 4)),
        ("m", "a"): (scores(0.5, 1), scores(0.4, 3)),
        ("m", "b"): (scores(0.5, 2), scores(0.6, 4)),
    }
    assert {"": False, "a": True, "b": False} == {test.category: test.proven_drop for test in find_drops(scopes)}


def test_several_scopes_share_the_error() -> None:
    both = (scores(0.5, 1), scores(0.5, 2))
    tests = find_drops({("m", OVERALL): both, ("m", "a"): both, ("m", "b"): both})
    assert {REGRESSION_ALPHA / 3} == {test.difference.alpha for test in tests}


def test_one_response_of_one_prompt_proves_nothing() -> None:
    [test] = find_drops({("m", OVERALL): ([(0.9,)], [(0.1,)])})
    assert (test.proven_drop, test.difference.interval) == (False, None)


def test_no_scope_is_no_test() -> None:
    assert find_drops({}) == ()


@pytest.mark.parametrize(
    ("obstacles", "drop", "fail", "strict", "expected"),
    [
        ((), False, True, True, ("NO_DROP", False)),
        ((), True, False, True, ("DROP", False)),
        ((), True, True, False, ("DROP", True)),
        (("nothing_stored",), True, True, False, ("NOT_JUDGED", False)),
        (("other_dictionary",), False, True, True, ("NOT_JUDGED", True)),
        (("run_not_judged",), True, False, True, ("NOT_JUDGED", False)),
    ],
)
def test_only_a_proven_drop_fails_and_no_judgement_fails_under_strict_alone(
    obstacles, drop, fail, strict, expected
) -> None:
    settled = settle(outcome(obstacles, drop=drop), fail=fail, strict=strict)
    assert (settled.verdict, settled.exit_failed) == expected


def test_a_drop_that_hides_in_shared_noise_is_found_pair_by_pair() -> None:
    source = random.Random(5)  # noqa: S311 - simulated scores
    stored = [[source.uniform(0.1, 0.5) for _ in range(4)] for _ in range(30)]
    new = [[score * 0.9 + source.uniform(-0.01, 0.01) for score in row] for row in stored]
    found = [find_drops({("relevance", OVERALL): (stored, new)}, paired=paired)[0] for paired in (False, True)]
    assert [False, True] == [test.proven_drop for test in found]
    assert found[0].difference.difference == found[1].difference.difference
