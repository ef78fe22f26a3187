"""The judge's own error: how often it sees what was done, and what was not; and a share of deeds corrected for it."""

from functools import cache
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Final, Literal

import msgspec

ERROR_FILE: Final = "error.json"
Measured = Literal["test", "own_tools", "authors"]
"""On what the error was measured. test: answers of an author that nothing was made with. own_tools: the same, to tools
that nothing was made with. authors: the training answers, each author's by a model of all others; that is too good, as
the lexicon was written while looking at them."""


class JudgeError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How well `done` is judged: shares from 0 to 1, and how many labelled answers each rests on."""

    sensitivity: float
    """Of answers that do what was asked, the share that the judge calls done."""
    specificity: float
    """Of all others, the share that it does not."""
    positives: int
    negatives: int


@cache
def judge_error(measured: Measured = "test") -> JudgeError:
    """Return the judge's error as `benchmarks/judge/train.py` measured it."""
    raw = Path(__file__).with_name(ERROR_FILE).read_bytes()
    return msgspec.json.decode(raw, type=dict[Measured, JudgeError])[measured]


def corrected_share(
    share: float, interval: tuple[float, float], error: JudgeError, *, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Return the share of deeds done that a perfect judge would find, from 0 to 1, and its interval at `level`.

    The share is that of Rogan and Gladen (1978), (share + specificity - 1) / (sensitivity + specificity - 1), and the
    interval takes in that sensitivity and specificity are themselves estimates (delta method). A judge that is no
    better than chance says nothing: the share is as it was, the interval from 0 to 1.
    """
    informed = error.sensitivity + error.specificity - 1
    if informed <= 0 or not error.positives or not error.negatives:
        return share, (0.0, 1.0)
    true = min(1.0, max(0.0, (share + error.specificity - 1) / informed))
    missed = true**2 * error.sensitivity * (1 - error.sensitivity) / error.positives
    mistaken = (1 - true) ** 2 * error.specificity * (1 - error.specificity) / error.negatives
    unsure = NormalDist().inv_cdf((1 + level) / 2) ** 2 * (missed + mistaken)
    below, above = (sqrt((share - end) ** 2 + unsure) / informed for end in interval)
    return true, (max(0.0, true - below), min(1.0, true + above))
