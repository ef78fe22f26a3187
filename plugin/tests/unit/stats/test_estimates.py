"""Means, differences and ratios of any metric, with their intervals."""

import pytest

from pytest_jarvis.stats.estimates import compare, compare_as_ratio, estimate_mean

FIRST = [[10.0, 12.0, 11.0, 13.0], [20.0, 18.0, 22.0, 21.0]]
SECOND = [[13.0, 14.0, 15.0, 15.0], [25.0, 24.0, 26.0, 25.0]]


def test_the_mean_of_one_prompt_has_the_interval_of_the_t_test() -> None:
    import scipy.stats

    estimate = estimate_mean([FIRST[0]])
    known = scipy.stats.ttest_1samp(FIRST[0], 10).confidence_interval(0.9)
    assert estimate.mean == 11.5
    assert estimate.interval == pytest.approx((known.low, known.high))
    assert (estimate.target, estimate.prompts) == ("these", 1)
    assert estimate.df == pytest.approx(3)


def test_one_response_a_prompt_gives_the_interval_for_new_prompts() -> None:
    import scipy.stats

    estimate = estimate_mean([[10.0], [12.0], [11.0]])
    known = scipy.stats.ttest_1samp([10.0, 12.0, 11.0], 0).confidence_interval(0.9)
    assert estimate.target == "new"
    assert estimate.interval == pytest.approx((known.low, known.high))


def test_one_response_of_one_prompt_has_no_interval() -> None:
    estimate = estimate_mean([[10.0]])
    assert (estimate.mean, estimate.interval, estimate.standard_error) == (10.0, None, None)


def test_a_mean_without_noise_is_what_it_is() -> None:
    estimate = estimate_mean([[0.5, 0.5], [0.5, 0.5]])
    assert (estimate.interval, estimate.df) == ((0.5, 0.5), None)


def test_the_difference_is_the_second_less_the_first_with_the_paired_interval() -> None:
    import scipy.stats

    difference = compare([FIRST[0]], [SECOND[0]])
    paired = scipy.stats.ttest_rel(SECOND[0], FIRST[0])
    interval = paired.confidence_interval(0.9)
    assert (difference.first_mean, difference.second_mean, difference.difference) == (11.5, 14.25, 2.75)
    assert difference.interval == pytest.approx((interval.low, interval.high))
    assert difference.p_greater == pytest.approx(paired.pvalue / 2)
    assert difference.p_less == pytest.approx(1 - paired.pvalue / 2)


def test_without_shared_noise_the_difference_is_welchs() -> None:
    import scipy.stats

    difference = compare([FIRST[1]], [SECOND[1]], shared_noise=False)
    welch = scipy.stats.ttest_ind(SECOND[1], FIRST[1], equal_var=False)
    assert difference.p_greater == pytest.approx(welch.pvalue / 2)
    assert difference.df == pytest.approx(welch.df)


def test_the_detectable_difference_is_what_80_percent_of_runs_show() -> None:
    from scipy.stats import t

    difference = compare(FIRST, SECOND)
    assert difference.df is not None
    assert difference.standard_error is not None
    assert difference.detectable == pytest.approx(
        (t.isf(0.05, difference.df) + t.isf(0.2, difference.df)) * difference.standard_error
    )


def test_one_response_of_one_prompt_shows_no_difference() -> None:
    difference = compare([[1.0]], [[2.0]])
    assert (difference.difference, difference.interval, difference.p_greater, difference.detectable) == (
        1.0,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(("second", "p_values"), [(2.0, (0.0, 1.0)), (1.0, (1.0, 1.0)), (0.5, (1.0, 0.0))])
def test_a_difference_without_noise_is_certain(second: float, p_values: tuple[float, float]) -> None:
    difference = compare([[1.0, 1.0]], [[second, second]])
    assert (difference.p_greater, difference.p_less) == p_values
    assert (difference.detectable, difference.df) == (0.0, None)


def test_a_difference_on_new_prompts_takes_their_spread() -> None:
    assert compare(FIRST, SECOND, target="new").df == pytest.approx(1)


def test_the_ratio_is_that_of_the_means_with_fiellers_interval() -> None:
    ratio = compare_as_ratio(FIRST, SECOND)
    assert ratio.value == pytest.approx((14.25 + 25) / (11.5 + 20.25))
    assert ratio.interval is not None
    assert ratio.interval[0] < 1.236 < ratio.interval[1]


def test_a_ratio_without_noise_is_what_it_is() -> None:
    assert compare_as_ratio([[2.0, 2.0]], [[3.0, 3.0]]).interval == (1.5, 1.5)


def test_a_ratio_over_zero_does_not_exist() -> None:
    ratio = compare_as_ratio([[0.0, 0.0]], [[3.0, 3.0]])
    assert (ratio.value, ratio.interval) == (None, None)


def test_a_ratio_of_one_response_has_no_interval() -> None:
    ratio = compare_as_ratio([[2.0]], [[3.0]])
    assert (ratio.value, ratio.interval) == (1.5, None)
