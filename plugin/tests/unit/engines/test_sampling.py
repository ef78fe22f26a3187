"""Sampling by shared noise: the bits, the distribution, and what the noise may depend on."""

import pytest
from scipy.stats import chisquare, kstest

from pytest_jarvis.engines.transformers.generation.sampling import (
    CANDIDATES,
    FiniteWatch,
    GumbelSampler,
    gumbel_noise,
    noise_bits,
    noise_key,
    nucleus,
)

torch = pytest.importorskip("torch")
MASK = (1 << 64) - 1


def mixed(value: int) -> int:
    """SplitMix64's finaliser in Python's integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


@pytest.mark.parametrize("key", [0, 1, -1, noise_key(0, "tr-07", 3)])
@pytest.mark.parametrize(("position", "token"), [(0, 0), (5, 2047), (127, 151_935)])
def test_the_bits_are_those_of_exact_integers(key: int, position: int, token: int) -> None:
    golden = 0x9E3779B97F4A7C15
    place = mixed((key + (position + 1) * golden) & MASK)
    expected = mixed(mixed((place + (token + 1) * golden) & MASK))
    found = noise_bits(torch.tensor([key]), position, torch.tensor([[token]])).item()
    assert expected == found & MASK


def test_a_key_depends_on_the_seed_the_prompt_and_the_replicate() -> None:
    keys = {noise_key(seed, prompt, replicate) for seed in (0, 1) for prompt in ("a", "b") for replicate in (0, 1)}
    assert 8 == len(keys)


def test_the_parts_of_a_key_cannot_run_into_each_other() -> None:
    assert noise_key(1, "1", 11) != noise_key(1, "11", 1)


def test_the_noise_of_a_token_does_not_depend_on_the_others() -> None:
    keys = torch.tensor([3, 4])
    whole = gumbel_noise(keys, 2, torch.arange(50))
    some = gumbel_noise(keys[1:], 2, torch.tensor([[49, 7]]))
    assert torch.equal(whole[1:, [49, 7]], some)


def test_the_noise_is_standard_gumbel() -> None:
    noise = gumbel_noise(torch.arange(40), 0, torch.arange(500)).flatten().numpy()
    assert kstest(noise, "gumbel_r").pvalue > 0.001


def test_noise_of_neighbouring_keys_positions_and_tokens_is_uncorrelated() -> None:
    tokens = torch.arange(2000)
    here = gumbel_noise(torch.tensor([1000]), 0, tokens)[0]
    for other in (
        gumbel_noise(torch.tensor([1001]), 0, tokens)[0],
        gumbel_noise(torch.tensor([1000]), 1, tokens)[0],
        gumbel_noise(torch.tensor([1000]), 0, tokens + 1)[0],
    ):
        assert abs(torch.corrcoef(torch.stack([here, other]))[0, 1].item()) < 0.08


def choose(logits: object, count: int, *, temperature: float = 0.7, top_p: float = 0.9, position: int = 0) -> object:
    keys = torch.tensor([noise_key(0, "p", replicate) for replicate in range(count)])
    choice = GumbelSampler(keys, prompt_length=0, temperature=temperature, top_p=top_p)
    return choice.choose(logits.expand(count, -1), position=position)


@pytest.mark.parametrize("top_p", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("vocabulary", [CANDIDATES // 2, CANDIDATES * 4])
def test_tokens_come_as_often_as_softmax_and_top_p_say(top_p: float, vocabulary: int) -> None:
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    torch.manual_seed(0)
    logits = torch.randn(1, vocabulary) * 1.5
    scores = TemperatureLogitsWarper(0.7)(None, logits)
    if top_p < 1.0:
        scores = TopPLogitsWarper(top_p)(None, scores)
    expected = torch.softmax(scores, dim=-1)[0].double()
    count = 15_000
    drawn = torch.bincount(choose(logits, count, top_p=top_p), minlength=vocabulary)
    assert 0 == drawn[expected == 0].sum()
    often = expected * count >= 5
    seen = [*drawn[often].tolist(), drawn[~often].sum().item()]
    wanted = [*(expected[often] * count).tolist(), (expected[~often].sum() * count).item()]
    pairs = [(one, other) for one, other in zip(seen, wanted, strict=True) if other > 1]
    total = sum(one for one, _ in pairs) / sum(other for _, other in pairs)
    assert chisquare([one for one, _ in pairs], [other * total for _, other in pairs]).pvalue > 0.001


def test_a_row_draws_the_same_token_in_any_company() -> None:
    torch.manual_seed(1)
    logits = torch.cat([torch.randn(20, 400) * 8, torch.randn(20, 400) * 0.1])
    keys = torch.arange(40)
    together = GumbelSampler(keys, prompt_length=0, temperature=0.7, top_p=0.9).choose(logits, position=3)
    for row in (0, 19, 20, 39):
        alone = GumbelSampler(keys[row : row + 1], prompt_length=0, temperature=0.7, top_p=0.9)
        assert together[row] == alone.choose(logits[row : row + 1], position=3)[0]


def test_positions_draw_apart() -> None:
    logits = torch.zeros(1, 50)
    draws = torch.stack([choose(logits, 200, top_p=1.0, position=position) for position in range(3)])
    assert (draws[0] == draws[1]).float().mean() < 0.1
    assert (draws[1] == draws[2]).float().mean() < 0.1


def test_greedy_search_takes_the_drawn_token() -> None:
    logits = torch.randn(6, 30)
    choice = GumbelSampler(torch.arange(6), prompt_length=4, temperature=1.0, top_p=0.9)
    expected = choice.choose(logits, position=2)
    scores = choice(torch.zeros(6, 6, dtype=torch.long), logits.clone())
    assert torch.equal(expected, scores.argmax(dim=-1))


def test_top_p_is_never_empty_and_keeps_ties_together() -> None:
    kept = nucleus(torch.tensor([[0.6, 0.2, 0.2], [0.4, 0.3, 0.3]]), 0.5)
    assert [[True, False, False], [True, True, True]] == kept.tolist()


def test_the_first_position_of_logits_that_are_not_finite_is_kept() -> None:
    watch = FiniteWatch(prompt_length=4)
    scores = torch.randn(5, 30)
    scores[4, :20] = float("-inf")
    for position, (row, value) in enumerate([(0, "nan"), (1, "inf"), (0, "inf"), (3, "nan")]):
        broken = scores.clone()
        broken[row, 7] = float(value)
        assert watch(torch.zeros(5, 4 + position, dtype=torch.long), broken) is broken
    assert [0, 1, None, 3, None] == watch.broken_at(5)


def test_rows_that_stay_draw_what_they_would_have_drawn_among_all() -> None:
    logits = torch.randn(6, 30)
    whole = GumbelSampler(torch.arange(6), prompt_length=4, temperature=1.0, top_p=0.9)
    fewer = GumbelSampler(torch.arange(6), prompt_length=4, temperature=1.0, top_p=0.9)
    fewer.keep(torch.tensor([1, 4, 5]))
    fewer.keep(torch.tensor([0, 2]))
    assert whole.choose(logits, position=2)[[1, 5]].tolist() == fewer.choose(logits[[1, 5]], position=2).tolist()


def test_logits_that_are_not_finite_are_noted_for_the_right_row_once_others_have_left() -> None:
    watch = FiniteWatch(prompt_length=4)
    broken = torch.zeros(5, 30)
    broken[0, 7] = float("nan")
    watch(torch.zeros(5, 4, dtype=torch.long), broken)
    watch.keep(torch.tensor([0, 2, 3]))
    watch.keep(torch.tensor([1, 2]))
    later = torch.zeros(2, 30)
    later[1, 7] = float("nan")
    watch(torch.zeros(2, 7, dtype=torch.long), later)
    assert [0, None, None, 3, None] == watch.broken_at(5)
