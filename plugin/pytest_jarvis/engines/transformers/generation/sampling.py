"""Sampling with noise that is a pure function of (seed, prompt, replicate, position, token).

Adding independent Gumbel noise to the logits and taking the largest draws a token from their softmax exactly (the
Gumbel-max trick: Gumbel 1954; Maddison, Tarlow and Minka, "A* Sampling", 2014). The noise here comes from a
counter-based generator, so it is the same in any batch, and for both arms of a pair.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch


_GOLDEN: Final = 0x9E3779B97F4A7C15
_MIX_1: Final = 0xBF58476D1CE4E5B9
_MIX_2: Final = 0x94D049BB133111EB
CANDIDATES: Final = 64  # How many of a row's most probable tokens are tried before its whole vocabulary is sorted.
_SORTED_AT_ONCE: Final = 16
"""Rows whose whole vocabulary is sorted together: the noise of 150,000 tokens takes some 10 MB a row."""
_NEVER: Final = 2**62  # Position that no token has.


def noise_key(seed: int, prompt_id: str, replicate: int) -> int:
    """Return the 64-bit key of a response's noise, as a signed integer; all arms share it."""
    name = f"{seed}\x1f{prompt_id}\x1f{replicate}".encode()
    return int.from_bytes(blake2b(name, digest_size=8, person=b"jarvis-noise").digest(), "little", signed=True)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _mix(value: torch.Tensor) -> torch.Tensor:
    """Return SplitMix64's finaliser (Steele, Lea and Flood, 2014) of each int64; products wrap as two's complement."""
    # torch shifts int64 arithmetically: the mask makes the shift logical.
    value = (value ^ ((value >> 30) & ((1 << 34) - 1))) * _signed(_MIX_1)
    value = (value ^ ((value >> 27) & ((1 << 37) - 1))) * _signed(_MIX_2)
    return value ^ ((value >> 31) & ((1 << 33) - 1))


def noise_bits(keys: torch.Tensor, position: int, tokens: torch.Tensor) -> torch.Tensor:
    """Return 64 pseudo-random bits (int64) for each token of each row.

    `keys` is int64 of shape (rows,), `tokens` int64 of shape (rows, n) or (n,); the result is (rows, n). Integer
    arithmetic only: the same bits on any device.
    """
    place = _mix(keys + _signed((position + 1) * _GOLDEN))
    return _mix(_mix(place.unsqueeze(-1) + (tokens + 1) * _signed(_GOLDEN)))


def gumbel_noise(keys: torch.Tensor, position: int, tokens: torch.Tensor) -> torch.Tensor:
    """Return standard Gumbel noise, float64 of shape (rows, n): -log(-log u), u in the middle of one of 2**53 bins."""
    bits = (noise_bits(keys, position, tokens) >> 11) & ((1 << 53) - 1)
    uniform = (bits.double() + 0.5) * 2.0**-53
    return -(-uniform.log()).log()


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return which tokens of each row top-p keeps: bool of the shape of `probabilities`, which descend in each row.

    transformers' rule (`TopPLogitsWarper`): the smallest set of most probable tokens whose mass reaches `top_p`, never
    empty. Ties with the last token are kept too, so that the order of a sort does not matter.
    """
    import torch

    if top_p >= 1.0:
        return torch.ones_like(probabilities, dtype=torch.bool)
    above = probabilities.cumsum(dim=-1) - probabilities
    kept = above < top_p
    kept[:, 0] = True
    last = probabilities.gather(-1, kept.sum(dim=-1, keepdim=True) - 1)
    return torch.logical_or(kept, probabilities >= last)


class GumbelSampler:
    """Logits processor after which greedy search samples, by one noise key per row and the padded `prompt_length`."""

    def __init__(self, keys: torch.Tensor, *, prompt_length: int, temperature: float, top_p: float) -> None:
        self._keys = keys
        self._prompt_length = prompt_length
        self._temperature = temperature
        self._top_p = top_p

    def keep(self, places: torch.Tensor) -> None:
        """Go on with the rows at `places` only, int64 of shape (rows left,)."""
        self._keys = self._keys[places]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (rows, vocabulary) that are 0 at each row's sampled token and -inf elsewhere."""
        chosen = self.choose(scores, position=input_ids.shape[-1] - self._prompt_length)
        return scores.fill_(float("-inf")).scatter_(-1, chosen.unsqueeze(-1), 0.0)

    def choose(self, scores: torch.Tensor, *, position: int) -> torch.Tensor:
        """Return the token sampled for each row at `position`: int64 of shape (rows,)."""
        import torch

        logits = scores.float() / self._temperature
        probabilities = torch.softmax(logits, dim=-1)
        width = min(CANDIDATES, logits.shape[-1])
        top, tokens = probabilities.topk(width, dim=-1)
        kept = nucleus(top, self._top_p)
        chosen = _draw(self._keys, logits, tokens, kept, position)
        if width == logits.shape[-1]:
            return chosen
        # Only the rows whose nucleus may go beyond the candidates: the path a row takes must not depend on the others.
        wide = kept[:, -1].nonzero().squeeze(-1)
        for some in wide.split(_SORTED_AT_ONCE) if len(wide) else ():
            top, tokens = probabilities[some].sort(dim=-1, descending=True, stable=True)
            kept = nucleus(top, self._top_p)
            chosen[some] = _draw(self._keys[some], logits[some], tokens, kept, position)
        return chosen


class FiniteWatch:
    """Logits processor that records where each row's logits first were not finite, and reads nothing back before."""

    def __init__(self, *, prompt_length: int) -> None:
        self._prompt_length = prompt_length
        self._broken_at: torch.Tensor | None = None
        self._places: torch.Tensor | None = None

    def keep(self, places: torch.Tensor) -> None:
        """Go on with the rows at `places` only, int64 of shape (rows left,); what was seen of the others stays."""
        self._places = places if self._places is None else self._places[places]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return `scores` (rows, vocabulary) as they are."""
        # NaN is the maximum of its row; a token that a model rules out may be at -inf.
        finite = scores.amax(dim=-1).isfinite()
        if self._broken_at is None:
            self._broken_at = finite.new_full(finite.shape, _NEVER, dtype=input_ids.dtype)
        position = input_ids.shape[-1] - self._prompt_length
        seen = self._broken_at if self._places is None else self._broken_at[self._places]
        seen = seen.clamp(max=position).where(~finite, seen)
        if self._places is None:
            self._broken_at = seen
        else:
            self._broken_at[self._places] = seen
        return scores

    def broken_at(self, rows: int) -> list[int | None]:
        """Return for each of the first `rows` rows the first position whose logits were not finite, or None."""
        if self._broken_at is None:
            return [None] * rows
        return [None if position == _NEVER else position for position in self._broken_at[:rows].tolist()]


def _draw(
    keys: torch.Tensor, logits: torch.Tensor, tokens: torch.Tensor, kept: torch.Tensor, position: int
) -> torch.Tensor:
    """Return the token sampled from each row's candidates `tokens`, (rows, n), among those `kept`."""
    noisy = logits.gather(-1, tokens).double() + gumbel_noise(keys, position, tokens)
    noisy = noisy.masked_fill(~kept, float("-inf"))
    return tokens.gather(-1, noisy.argmax(dim=-1, keepdim=True)).squeeze(-1)
