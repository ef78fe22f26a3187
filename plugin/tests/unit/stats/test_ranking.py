"""Ranking, the noise floor, and prompts that got worse."""

import random

import pytest

from pytest_jarvis.stats.ranking import find_worse_prompts, noise_floor, rank_arms

Row = list[float]


def arm(seed: int, level: float, *, prompts: int = 10, replicates: int = 8, noise: float = 0.1) -> list[Row]:
    source = random.Random(seed)  # noqa: S311 - simulated scores
    return [[source.gauss(level, noise) for _ in range(replicates)] for _ in range(prompts)]


def test_arms_are_ranked_from_the_highest_mean_down() -> None:
    ranking = rank_arms({"low": arm(1, 0.2), "high": arm(2, 0.6), "middle": arm(3, 0.4)})
    assert [place.name for place in ranking.arms] == ["high", "middle", "low"]
    assert [(pair.better, pair.worse) for pair in ranking.pairs] == [
        ("high", "middle"),
        ("high", "low"),
        ("middle", "low"),
    ]
    assert all(pair.shown for pair in ranking.pairs)


def test_a_difference_is_shown_where_its_interval_leaves_zero_out() -> None:
    ranking = rank_arms({"a": arm(1, 0.40), "b": arm(2, 0.41), "c": arm(3, 0.47), "d": arm(4, 0.6)})
    for pair in ranking.pairs:
        assert pair.difference.interval is not None
        assert pair.shown == (pair.difference.interval[0] > 0)
    assert {pair.shown for pair in ranking.pairs} == {True, False}


def test_one_response_of_one_prompt_ranks_but_shows_nothing() -> None:
    ranking = rank_arms({"a": [[0.1]], "b": [[0.9]]})
    assert [place.name for place in ranking.arms] == ["b", "a"]
    assert [pair.shown for pair in ranking.pairs] == [False]


def test_the_noise_floor_is_the_reach_of_the_difference() -> None:
    floor = noise_floor(arm(1, 0.5), arm(2, 0.5))
    assert floor.difference.interval is not None
    assert floor.floor == pytest.approx((floor.difference.interval[1] - floor.difference.interval[0]) / 2)
    assert floor.relative_floor == pytest.approx((floor.floor or 0) / 0.5, rel=0.1)


def test_a_metric_without_noise_has_a_floor_of_zero() -> None:
    floor = noise_floor([[0.0, 0.0]], [[0.0, 0.0]])
    assert (floor.floor, floor.relative_floor) == (0.0, None)


def test_one_response_of_one_prompt_has_no_noise_floor() -> None:
    floor = noise_floor([[0.5]], [[0.5]])
    assert (floor.floor, floor.relative_floor) == (None, None)


IDS = [f"p{number}" for number in range(10)]


def test_a_prompt_that_dropped_by_more_than_noise_is_named() -> None:
    base, finetuned = arm(1, 0.6, replicates=4), arm(2, 0.6, replicates=4)
    finetuned[3] = [0.0, 0.05, 0.1, 0.0]
    finetuned[7] = [0.2, 0.1, 0.15, 0.1]
    worse = find_worse_prompts(base, finetuned, IDS)
    assert [prompt.prompt_id for prompt in worse] == ["p3", "p7"]
    assert worse[0].difference == pytest.approx(worse[0].finetuned_mean - worse[0].base_mean)
    assert worse[0].p_value < 0.005


def test_drops_within_the_noise_are_not_named() -> None:
    assert find_worse_prompts(arm(1, 0.6), arm(2, 0.6), IDS) == ()


def test_a_prompt_steady_by_chance_takes_the_noise_of_the_others() -> None:
    base, finetuned = arm(1, 0.6, replicates=2, noise=0.2), arm(2, 0.6, replicates=2, noise=0.2)
    base[0], finetuned[0] = [0.6, 0.6], [0.5, 0.5]
    assert find_worse_prompts(base, finetuned, IDS) == ()


def test_a_prompt_that_scores_higher_than_the_others_is_taken_to_be_noisier() -> None:
    base, finetuned = arm(1, 0.1, replicates=4, noise=0.03), arm(3, 0.1, replicates=4, noise=0.03)
    base[0], finetuned[0] = [0.81, 0.8, 0.8, 0.79], [0.68, 0.7, 0.69, 0.69]
    assert find_worse_prompts(base, finetuned, IDS) == ()
    base[0], finetuned[0] = [0.18, 0.2, 0.2, 0.22], [0.08, 0.1, 0.1, 0.12]
    assert [prompt.prompt_id for prompt in find_worse_prompts(base, finetuned, IDS)] == ["p0"]


def test_a_drop_without_any_noise_is_named() -> None:
    worse = find_worse_prompts([[0.5, 0.5], [0.5, 0.5]], [[0.25, 0.25], [0.75, 0.75]], ["a", "b"])
    assert [(prompt.prompt_id, prompt.p_value) for prompt in worse] == [("a", 0.0)]


def test_a_prompt_with_one_response_takes_the_noise_of_the_others() -> None:
    base, finetuned = arm(1, 0.6, noise=0.02), arm(2, 0.6, noise=0.02)
    base[0], finetuned[0] = [0.6], [0.2]
    assert [prompt.prompt_id for prompt in find_worse_prompts(base, finetuned, IDS)] == ["p0"]


def test_one_response_everywhere_names_nothing() -> None:
    assert find_worse_prompts([[0.9], [0.9]], [[0.1], [0.9]], ["a", "b"]) == ()


def test_one_response_everywhere_says_all_when_decoding_is_deterministic() -> None:
    worse = find_worse_prompts([[0.9], [0.9]], [[0.1], [0.9]], ["a", "b"], deterministic=True)
    assert [prompt.prompt_id for prompt in worse] == ["a"]


def test_ids_must_be_one_per_prompt() -> None:
    with pytest.raises(ValueError, match="1 prompt ids for 2 prompts; expected one each"):
        find_worse_prompts([[0.9], [0.9]], [[0.1], [0.9]], ["a"])
