"""The estimators under `decide`: standard errors, degrees of freedom, intervals, and what is refused."""

import math
import re

import numpy as np
import pytest

from pytest_jarvis.stats.contrasts import (
    Component,
    Contrast,
    check_alpha,
    check_same_prompts,
    contrast_new_prompts,
    contrast_same_draws,
    contrast_these_prompts,
    covariance,
    critical_value,
    mean_over_prompts,
    pair_replicates,
    read_scores,
    upper_tail,
)

FINETUNED = ((0.4, 0.6, 0.5, 0.3), (0.2, 0.2, 0.4, 0.1), (0.9, 0.7, 0.8, 0.8))
BASE = ((0.3, 0.5, 0.4, 0.4), (0.1, 0.2, 0.2, 0.1), (0.6, 0.7, 0.5, 0.8))


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ([], "base: no prompt; at least one is needed"),
        ([[0.1], []], "base: prompt 1 has no score; leave a prompt that was not measured out of both arms"),
        ([[0.1], [0.2, math.nan]], "base: prompt 1, replicate 1: nan is not a finite number"),
        ([[math.inf]], "base: prompt 0, replicate 0: inf is not a finite number"),
        ([[0.1, 1.5]], "base: prompt 0, replicate 1: 1.5 is outside [0, 1]"),
        ([[-0.25]], "base: prompt 0, replicate 0: -0.25 is outside [0, 1]"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_with_their_place(scores: list[list[float]], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        read_scores(scores, "base", lowest=0, highest=1)


def test_scores_of_any_size_are_read_when_no_range_is_given() -> None:
    assert read_scores([[12, -3.5]], "latency") == ((12.0, -3.5),)


def test_arms_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="base holds 2 prompts and finetuned 1; both arms must hold the same prompts"):
        check_same_prompts(((0.1,), (0.2,)), ((0.1,),), ("base", "finetuned"))


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1, math.nan])
def test_an_alpha_that_is_no_error_rate_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"expected a number between 0 and 0\.5"):
        check_alpha(alpha)


def test_replicates_both_arms_hold_come_first_and_in_step() -> None:
    assert pair_replicates({0: 0.1, 2: 0.3, 3: 0.4}, {3: 0.9, 1: 0.7, 0: 0.6}) == ((0.1, 0.4, 0.3), (0.6, 0.9, 0.7))


def test_student_t_is_that_of_scipy_stats_at_any_degrees_of_freedom() -> None:
    import scipy.stats

    for df in (1.0, 2.7, 29.0, 314.15):
        assert upper_tail(1.9, df) == pytest.approx(scipy.stats.t.sf(1.9, df), rel=1e-9)
        assert upper_tail(-1.9, df) == pytest.approx(scipy.stats.t.cdf(1.9, df), rel=1e-9)
        assert critical_value(0.0218, df) == pytest.approx(scipy.stats.t.isf(0.0218, df), rel=1e-9)


def test_the_covariance_of_a_constant_is_exactly_zero() -> None:
    assert covariance((0.1, 0.1, 0.1), (0.2, 0.3, 0.4)) == 0.0
    assert covariance((0.2, 0.3, 0.4), (0.1, 0.1, 0.1)) == 0.0
    assert covariance((0.2, 0.3, 0.4), (0.3, 0.1, 0.2)) == pytest.approx(-0.005)


def test_shared_noise_takes_the_variance_of_the_paired_differences() -> None:
    contrast = contrast_these_prompts(FINETUNED, BASE, shared_noise=True)
    assert contrast is not None
    differences = np.array(FINETUNED) - 1.05 * np.array(BASE)
    parts = differences.var(axis=1, ddof=1) / 4
    assert contrast.estimate(1.05) == pytest.approx(differences.mean())
    assert contrast.variance(1.05) == pytest.approx(parts.sum() / 9)
    assert contrast.df(1.05) == pytest.approx(parts.sum() ** 2 / (parts**2 / 3).sum())


def test_noise_of_its_own_adds_both_variances() -> None:
    contrast = contrast_these_prompts(FINETUNED, BASE, shared_noise=False)
    assert contrast is not None
    parts = np.concatenate([np.array(FINETUNED).var(axis=1, ddof=1), 1.05**2 * np.array(BASE).var(axis=1, ddof=1)]) / 4
    assert contrast.variance(1.05) == pytest.approx(parts.sum() / 9)
    assert contrast.df(1.05) == pytest.approx(parts.sum() ** 2 / (parts**2 / 3).sum())
    assert contrast.one_draw is not None
    assert contrast.one_draw.at(1.05) == pytest.approx(parts.sum() * 4 / 3)


def test_responses_one_arm_holds_alone_count_as_independent() -> None:
    base = ((0.3, 0.5, 0.2, 0.6, 0.4),)
    finetuned = ((0.4, 0.7, 0.3),)
    contrast = contrast_these_prompts(finetuned, base, shared_noise=True)
    assert contrast is not None
    paired = np.var(np.array([0.4, 0.7, 0.3]) - 1.05 * 3 / 5 * np.array([0.3, 0.5, 0.2]), ddof=1) / 3
    alone = (1.05 / 5) ** 2 * 2 * np.var(base[0], ddof=1)
    assert contrast.variance(1.05) == pytest.approx(paired + alone)
    assert contrast.df(1.05) == pytest.approx((paired + alone) ** 2 / (paired**2 / 2 + alone**2 / 4))
    mirrored = contrast_these_prompts(base, finetuned, shared_noise=True)
    assert mirrored is not None
    assert mirrored.variance(1 / 1.05) * 1.05**2 == pytest.approx(contrast.variance(1.05))


@pytest.mark.parametrize("shared_noise", [True, False])
def test_one_response_of_a_prompt_has_no_variance_to_estimate(shared_noise: bool) -> None:
    assert contrast_these_prompts(((0.1, 0.2), (0.3,)), ((0.1, 0.2), (0.3, 0.4)), shared_noise=shared_noise) is None


def test_new_prompts_take_the_spread_of_the_prompts() -> None:
    contrast = contrast_new_prompts(FINETUNED, BASE)
    assert contrast is not None
    means = np.array(FINETUNED).mean(axis=1) - 1.05 * np.array(BASE).mean(axis=1)
    assert contrast.standard_error(1.05) == pytest.approx(means.std(ddof=1) / math.sqrt(3))
    assert contrast.df(1.05) == pytest.approx(2)


def test_one_prompt_says_nothing_of_new_ones() -> None:
    assert contrast_new_prompts(((0.1, 0.2),), ((0.1, 0.2),)) is None


def test_without_noise_the_interval_is_the_estimate() -> None:
    contrast = contrast_same_draws(((0.4,),), ((0.2,),))
    assert contrast.df(1) is None
    assert contrast.interval(1, 0.05) == (0.2, 0.2)


def test_rounding_is_no_difference_and_no_variance() -> None:
    assert contrast_same_draws(((0.42,),), ((0.4,),)).estimate(1.05) == 0.0
    contrast = contrast_these_prompts(((0.1 * 1.05, 0.3 * 1.05),), ((0.1, 0.3),), shared_noise=True)
    assert contrast is not None
    assert contrast.variance(1.05) == 0.0


def test_the_ends_of_the_ratio_interval_are_where_the_test_turns() -> None:
    contrast = contrast_these_prompts(FINETUNED, BASE, shared_noise=True)
    assert contrast is not None
    interval = contrast.ratio_interval(1.7)
    assert interval is not None
    for end, sign in zip(interval, (1, -1), strict=True):
        assert contrast.estimate(end) / contrast.standard_error(end) == pytest.approx(sign * 1.7)


def test_a_ratio_over_a_base_of_about_zero_has_no_interval() -> None:
    part = Component(first=0.001, second=0.001, both=0.0, df=5)
    assert Contrast(first=0.5, second=0.01, components=(part,)).ratio_interval(2.0) is None
    assert Contrast(first=0.5, second=0.0, components=()).ratio_interval(2.0) is None


def test_every_prompt_weighs_the_same_whatever_its_replicates() -> None:
    assert mean_over_prompts(((1.0, 1.0, 1.0), (0.0,))) == 0.5
