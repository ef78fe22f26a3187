"""`decide`: the verdict, its edges, and what stands beside it."""

import dataclasses
import json
import math
import random
import re
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_jarvis.stats.contrasts import Scores, critical_value, upper_tail
from pytest_jarvis.stats.decision import Decision, decide

Row = list[float]


def draw(
    seed: int, gain: float, *, prompts: int = 30, replicates: int = 4, level: float = 0.3, noise: float = 0.1
) -> tuple[list[Row], list[Row]]:
    """Draw two noisy arms whose true means differ by `gain`."""
    source = random.Random(seed)  # noqa: S311 - simulated scores

    def arm(mean: float) -> list[Row]:
        return [[min(1.0, max(0.0, source.gauss(mean, noise))) for _ in range(replicates)] for _ in range(prompts)]

    return arm(level), arm(level * (1 + gain))


def codes(decision: Decision) -> list[str]:
    return [caution.code for caution in decision.cautions]


@pytest.mark.parametrize(
    ("scores", "more", "expected", "said"),
    [
        (draw(1, 0.5), {}, ("PASS", "test", "these"), []),
        (draw(1, -0.2), {}, ("FAIL", "test", "these"), []),
        (draw(3, 0.08), {"deterministic": True}, ("INCONCLUSIVE", "test", "these"), ["varied_though_deterministic"]),
        (([[0.2]] * 5, [[0.5]] * 5), {}, ("PASS", "identical", "new"), ["new_prompts_instead", "no_spread"]),
        (([[1 / 1.05, 1 / 1.05]], [[1.0, 1.0]]), {}, ("INCONCLUSIVE", "identical", "these"), None),
        (([[0.4, 0.4]] * 30, [[0.5, 0.5]] * 30), {}, ("PASS", "identical", "these"), None),
        (([[0.4, 0.4]] * 2, [[0.5, 0.5]] * 2), {}, ("INCONCLUSIVE", "identical", "these"), None),
        (([[0.0, 0.0]] * 30, [[0.5, 0.5]] * 30), {}, ("PASS", "identical", "these"), None),
    ],
    ids=[
        "large",
        "none",
        "not deterministic",
        "the same on all prompts",
        "the edge of reach",
        "all alike",
        "few alike",
        "all alike over a base of 0",
    ],
)
def test_the_verdict_its_ground_and_its_cautions(scores, more, expected, said: list[str] | None) -> None:
    decision = decide(*scores, **more)
    assert (decision.verdict, decision.ground, decision.target) == expected
    assert codes(decision) == said if said is not None else "identical_replicates" in codes(decision)
    assert decision.responses_to_settle is None or decision.verdict == "INCONCLUSIVE"
    if decision.gain_these and decision.verdict == "FAIL":
        assert decision.gain_these[1] <= 0.05


def test_a_gain_within_the_noise_is_inconclusive() -> None:
    decision = decide(*draw(3, 0.08))
    assert decision.verdict == "INCONCLUSIVE"
    assert decision.p_pass is not None
    assert decision.p_fail is not None
    assert min(decision.p_pass, decision.p_fail) > 0.05


def test_the_gain_is_the_ratio_of_the_means_and_not_a_mean_of_ratios() -> None:
    decision = decide([[0.1, 0.1], [0.8, 0.8]], [[0.2, 0.2], [0.8, 0.8]], min_gain=0.05)
    assert decision.gain == pytest.approx(1.0 / 0.9 - 1)
    assert decision.absolute_gain == pytest.approx(0.05)


def test_the_figures_are_those_of_the_formulas() -> None:
    base, finetuned = [[0.2, 0.4], [0.3, 0.5]], [[0.4, 0.3], [0.6, 0.7]]
    decision = decide(base, finetuned)
    differences = [[f - 1.05 * b for f, b in zip(*pair, strict=True)] for pair in zip(finetuned, base, strict=True)]
    within = [(row[0] - row[1]) ** 2 / 2 for row in differences]
    means = [sum(row) / 2 for row in differences]
    assert decision.standard_error == pytest.approx(math.sqrt(sum(within) / 2) / 2)
    assert decision.df == pytest.approx(sum(within) ** 2 / sum(variance**2 for variance in within))
    assert decision.within_variance == pytest.approx(sum(within) / 2)
    spread = (means[0] - means[1]) ** 2 / 2
    between = max(0.0, spread - sum(within) / 4)
    assert decision.between_variance == pytest.approx(between)
    assert decision.decoding_share == pytest.approx(sum(within) / 4 / (sum(within) / 4 + between))
    assert decision.prompts == 2
    assert decision.replicates == (2, 2)
    assert (decision.base_mean, decision.finetuned_mean) == pytest.approx((0.35, 0.5))


def test_the_detectable_gain_is_what_80_percent_of_runs_show() -> None:
    decision = decide(*draw(3, 0.08))
    assert decision.standard_error is not None
    assert decision.df is not None
    reach = critical_value(0.05, decision.df) + critical_value(0.2, decision.df)
    assert decision.detectable_gain == pytest.approx(0.05 + reach * decision.standard_error / decision.base_mean)


def test_an_undecided_run_says_how_many_responses_would_settle_it() -> None:
    decision = decide(*draw(3, 0.15, noise=0.3))
    assert decision.verdict == "INCONCLUSIVE"
    assert decision.gain is not None
    assert decision.within_variance is not None
    assert decision.df is not None
    reach = critical_value(0.05, decision.df) + critical_value(0.2, decision.df)
    needed = decision.within_variance / 30 * (reach / ((decision.gain - 0.05) * decision.base_mean)) ** 2
    assert decision.responses_to_settle == math.ceil(needed)
    assert decision.responses_to_settle > 4
    assert decision.prompts_to_settle is None


def test_on_new_prompts_an_undecided_run_says_how_many_prompts_would_settle_it() -> None:
    decision = decide(*draw(3, 0.15, noise=0.3), target="new")
    assert decision.verdict == "INCONCLUSIVE"
    assert decision.prompts_to_settle is not None
    assert decision.prompts_to_settle > 30
    assert decision.responses_to_settle is None


@pytest.mark.parametrize("score", [0.37, 0.3701])
def test_a_gain_at_the_bar_or_so_near_that_it_takes_a_million_responses_cannot_be_settled(score: float) -> None:
    decision = decide([[0.35, 0.45], [0.35, 0.45]], [[0.47, score], [0.47, 0.37]])
    assert (decision.verdict, decision.responses_to_settle) == ("INCONCLUSIVE", None)
    assert decision.gain == 0.05 or score != 0.37


def test_the_interval_for_new_prompts_stands_beside_the_other() -> None:
    base = [[0.1, 0.11] * 6, [0.2, 0.22] * 6, [0.3, 0.31] * 6]
    finetuned = [[0.1, 0.12] * 6, [0.2, 0.21] * 6, [0.6, 0.61] * 6]
    decision = decide(base, finetuned)
    assert (decision.verdict, decision.verdict_new) == ("PASS", "INCONCLUSIVE")
    assert codes(decision) == ["targets_differ"]
    assert decision.gain_new is None or decision.gain_new[0] < 0.05


def test_the_claim_on_new_prompts_can_be_the_one_judged() -> None:
    decision = decide(*draw(1, 0.5), target="new")
    assert (decision.target, decision.verdict) == ("new", decision.verdict_new)
    assert decision.df == 29


def test_one_response_a_prompt_falls_back_on_new_prompts() -> None:
    base, finetuned = draw(1, 0.5, replicates=1)
    decision = decide(base, finetuned)
    assert (decision.target, decision.df) == ("new", 29)
    assert (decision.gain_these, decision.absolute_these, decision.within_variance) == (None, None, None)
    assert codes(decision) == ["new_prompts_instead"]
    assert decision.cautions[0].values == {"prompts": 30}


def test_one_prompt_without_a_pair_is_enough_for_the_fallback() -> None:
    decision = decide([[0.1, 0.2], [0.3, 0.4]], [[0.1, 0.2], [0.3]])
    assert decision.target == "new"
    assert decision.cautions[0].values == {"prompts": 1}


def test_one_prompt_says_nothing_of_new_ones() -> None:
    decision = decide([[0.1, 0.2, 0.15]], [[0.8, 0.9, 0.85]])
    assert (decision.verdict, decision.verdict_new, decision.gain_new, decision.absolute_new) == (
        "PASS",
        None,
        None,
        None,
    )
    assert (decision.between_variance, decision.decoding_share) == (None, None)
    assert codes(decision) == ["one_prompt"]


def test_one_response_of_one_prompt_proves_nothing() -> None:
    decision = decide([[0.1]], [[0.9]])
    assert (decision.verdict, decision.ground) == ("INCONCLUSIVE", "no_variance")
    assert (decision.p_pass, decision.df, decision.standard_error, decision.detectable_gain) == (None, None, None, None)
    assert decision.gain == pytest.approx(8)


@pytest.mark.parametrize(("score", "verdict"), [(0.42, "PASS"), (0.41, "FAIL"), (0.43, "PASS")])
def test_deterministic_decoding_takes_the_plain_rule(score: float, verdict: str) -> None:
    decision = decide([[0.4]], [[score]], deterministic=True)
    assert (decision.verdict, decision.ground) == (verdict, "literal")
    assert decision.gain_these == (decision.gain, decision.gain)
    assert decision.standard_error == 0
    assert decision.detectable_gain == 0.05
    assert codes(decision) == ["one_prompt"]


def test_deterministic_decoding_of_many_prompts_still_says_what_new_ones_would() -> None:
    decision = decide([[0.4], [0.2], [0.3]], [[0.5], [0.2], [0.3]], deterministic=True)
    assert (decision.verdict, decision.verdict_new) == ("PASS", "INCONCLUSIVE")
    assert (decision.within_variance, decision.decoding_share) == (0.0, 0.0)


@pytest.mark.parametrize("replicates", [1, 3])
def test_zero_against_zero_fails_only_where_decoding_has_no_noise(replicates: int) -> None:
    zeros = [[0.0] * replicates] * 4
    greedy, sampled = decide(zeros, zeros, deterministic=True), decide(zeros, zeros)
    assert ("FAIL", "FAIL", "nothing_to_compare") == (greedy.verdict, greedy.verdict_new, greedy.ground)
    assert ("INCONCLUSIVE", "INCONCLUSIVE", "nothing_to_compare") == (
        sampled.verdict,
        sampled.verdict_new,
        sampled.ground,
    )
    assert (None, 1.0, 1.0) == (sampled.gain, sampled.p_pass, sampled.p_fail)


def test_scores_that_are_all_alike_prove_what_no_unseen_response_could_undo() -> None:
    """Twenty draws all miss this share of empty responses with a probability of half the error."""
    empty = 1 - 0.025 ** (1 / 20)
    settled = 1.05 * 0.3 / (1 - empty)
    for score, verdict in ((settled - 0.001, "INCONCLUSIVE"), (settled + 0.001, "PASS")):
        decision = decide([[0.3] * 4] * 5, [[score] * 4] * 5)
        assert (verdict, decision.gain_these) == (
            decision.verdict,
            pytest.approx((score * (1 - empty) / 0.3 - 1, (score * (1 - empty) + empty) / 0.3 - 1)),
        )


def test_alike_scores_say_how_many_responses_would_settle_them() -> None:
    decision = decide([[0.3] * 4] * 5, [[0.36] * 4] * 5)
    assert decision.responses_to_settle is not None
    enough, fewer = decision.responses_to_settle, decision.responses_to_settle - 1
    verdicts = [decide([[0.3] * count] * 5, [[0.36] * count] * 5).verdict for count in (enough, fewer)]
    assert ["PASS", "INCONCLUSIVE"] == verdicts


@pytest.mark.parametrize("collapsed", [1, 2])
def test_a_few_collapsed_responses_make_a_pass_harder_than_student_has_it(collapsed: int) -> None:
    source = random.Random(4)  # noqa: S311 - simulated scores
    finetuned = [[0.36 + source.uniform(-0.02, 0.02) for _ in range(4)] for _ in range(30)]
    base = [[0.3 + source.uniform(-0.02, 0.02) for _ in range(4)] for _ in range(30)]
    for number in range(collapsed):
        finetuned[number][0] = 0.0
    decision = decide(base, finetuned)
    assert decision.p_pass is not None
    assert decision.standard_error is not None
    assert decision.df is not None
    excess = decision.finetuned_mean - 1.05 * decision.base_mean
    assert decision.p_pass > upper_tail(excess / decision.standard_error, decision.df)


def test_a_base_of_zero_is_legal_and_has_no_relative_gain() -> None:
    source = random.Random(0)  # noqa: S311 - simulated scores
    decision = decide([[0.0] * 4] * 5, [[source.uniform(0.3, 0.5) for _ in range(4)] for _ in range(5)])
    assert (decision.verdict, decision.gain, decision.gain_these, decision.detectable_gain) == (
        "PASS",
        None,
        None,
        None,
    )
    assert decision.absolute_these is not None
    assert decision.absolute_these[0] > 0.3
    assert codes(decision) == ["relative_gain_not_estimable"]


def test_a_base_of_about_zero_has_an_absolute_gain_only() -> None:
    decision = decide([[0.0, 0.05], [0.0, 0.0]], [[0.5, 0.6], [0.4, 0.45]])
    assert decision.gain is not None
    assert decision.gain_these is None
    assert decision.cautions[-1].code == "relative_gain_not_estimable"
    assert decision.cautions[-1].values == {"base_mean": 0.0125}


def test_a_base_too_high_for_the_gain_is_refused_as_out_of_reach() -> None:
    decision = decide([[0.97, 0.96], [0.95, 0.98]], [[1.0, 1.0], [1.0, 0.99]])
    assert (decision.verdict, decision.verdict_new, decision.ground) == ("INCONCLUSIVE", "INCONCLUSIVE", "out_of_reach")
    assert decision.responses_to_settle is None


def test_an_arm_against_itself_gains_exactly_nothing() -> None:
    base, _ = draw(5, 0.0, replicates=8)
    decision = decide(base, base)
    assert (decision.gain, decision.absolute_gain, decision.verdict) == (0.0, 0.0, "FAIL")


def test_unequal_replicates_are_said() -> None:
    decision = decide([[0.3, 0.4, 0.35], [0.3, 0.2]], [[0.5, 0.6], [0.5, 0.4]])
    assert decision.replicates == (2, 3)
    assert "unequal_replicates" in codes(decision)
    assert decision.cautions[0].values == {"lowest": 2, "highest": 3}


def test_unequal_replicates_over_a_low_base_are_said_not_to_keep_the_error() -> None:
    decision = decide([[0.03, 0.04, 0.05], [0.04, 0.05, 0.03]], [[0.5, 0.6], [0.5, 0.4]])
    assert codes(decision)[:2] == ["unequal_replicates", "low_base_unequal_replicates"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": [[0.1, 2.0]]}, "base: prompt 0, replicate 1: 2.0 is outside [0, 1]"),
        ({"finetuned": [[math.nan]]}, "finetuned: prompt 0, replicate 0: nan is not a finite number"),
        ({"finetuned": [[0.1], [0.2]]}, "base holds 1 prompts and finetuned 2; both arms must hold the same prompts"),
        ({"alpha": 0.5}, "alpha is 0.5; expected a number between 0 and 0.5, both excluded"),
        ({"min_gain": -1.1}, "min_gain is -1.1; expected a share of at least -1 (0.05 is 5 %)"),
        ({"min_gain": math.nan}, "min_gain is nan; expected a share of at least -1 (0.05 is 5 %)"),
        ({"target": "all"}, "target is 'all'; expected 'these' or 'new'"),
    ],
)
def test_what_cannot_be_decided_on_is_refused_in_one_sentence(changes: dict[str, object], sentence: str) -> None:
    arguments: dict[str, object] = {"base": [[0.1, 0.2]], "finetuned": [[0.3, 0.4]], **changes}
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        decide(**arguments)  # type: ignore[arg-type]


def test_a_decision_is_made_of_plain_values() -> None:
    assert json.loads(json.dumps(dataclasses.asdict(decide(*draw(1, 0.5))), allow_nan=False))["verdict"] == "PASS"


share = st.floats(min_value=0, max_value=1, allow_nan=False, width=32) | st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])
rows = st.lists(share, min_size=1, max_size=5)


@st.composite
def arms(draw_: st.DrawFn) -> tuple[list[Row], list[Row]]:
    count = draw_(st.integers(min_value=1, max_value=6))
    return (
        draw_(st.lists(rows, min_size=count, max_size=count)),
        draw_(st.lists(rows, min_size=count, max_size=count)),
    )


gains = st.sampled_from([0.0, 0.05, 0.3])
alphas = st.sampled_from([0.01, 0.0218, 0.05, 0.2])
targets: st.SearchStrategy[Literal["these", "new"]] = st.sampled_from(["these", "new"])


@settings(deadline=None, max_examples=300)
@given(arms(), gains, alphas, targets, st.booleans())
def test_pass_is_the_same_as_a_lower_end_of_at_least_the_bar(
    scores: tuple[Scores, Scores], min_gain: float, alpha: float, target: Literal["these", "new"], shared: bool
) -> None:
    decision = decide(*scores, min_gain=min_gain, alpha=alpha, target=target, shared_noise=shared)
    interval = decision.gain_these if decision.target == "these" else decision.gain_new
    if interval is not None and decision.ground in {"test", "literal", "identical"}:
        assert decision.gain is not None
        assert interval[0] <= decision.gain + 1e-9
        assert interval[1] >= decision.gain - 1e-9
        assert (decision.verdict == "PASS") == (interval[0] >= min_gain)
        assert decision.ground == "literal" or (decision.verdict == "FAIL") == (interval[1] <= min_gain)


@settings(deadline=None, max_examples=200)
@given(arms(), gains, alphas)
def test_a_point_estimate_under_the_bar_never_passes(
    scores: tuple[Scores, Scores], min_gain: float, alpha: float
) -> None:
    decision = decide(*scores, min_gain=min_gain, alpha=alpha)
    if decision.gain is not None and decision.gain < min_gain:
        assert decision.verdict != "PASS"
        assert decision.verdict_new != "PASS"


@settings(deadline=None, max_examples=150)
@given(arms(), st.randoms(use_true_random=False), st.booleans())
def test_neither_the_order_of_the_prompts_nor_a_second_call_changes_anything(
    scores: tuple[list[Row], list[Row]], source: random.Random, shared: bool
) -> None:
    order = list(range(len(scores[0])))
    source.shuffle(order)
    shuffled = decide([scores[0][i] for i in order], [scores[1][i] for i in order], shared_noise=shared)
    assert shuffled == decide(*scores, shared_noise=shared)


ORDER = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}


@settings(deadline=None, max_examples=150)
@given(arms(), st.floats(min_value=0, max_value=0.5), targets)
def test_the_same_gift_to_every_response_never_lowers_the_verdict(
    scores: tuple[list[Row], list[Row]], gift: float, target: Literal["these", "new"]
) -> None:
    base = [[score / 2 for score in row] for row in scores[0]]
    finetuned = [[score / 2 for score in row] for row in scores[1]]
    before = decide(base, finetuned, target=target)
    after = decide(base, [[score + gift for score in row] for row in finetuned], target=target)
    assert ORDER[after.verdict] >= ORDER[before.verdict]


@settings(deadline=None, max_examples=100)
@given(arms())
def test_a_smaller_alpha_never_decides_more(scores: tuple[list[Row], list[Row]]) -> None:
    strict, lenient = decide(*scores, alpha=0.01), decide(*scores, alpha=0.05)
    assert strict.verdict in {lenient.verdict, "INCONCLUSIVE"}


@settings(deadline=None, max_examples=100)
@given(arms())
def test_a_higher_bar_never_passes_more(scores: tuple[list[Row], list[Row]]) -> None:
    low, high = decide(*scores, min_gain=0.05), decide(*scores, min_gain=0.2)
    if low.gain is not None and low.gain_these is not None and high.gain_these is not None:
        assert high.gain == pytest.approx(low.gain)
        assert high.verdict != "PASS" or low.gain >= 0.2
