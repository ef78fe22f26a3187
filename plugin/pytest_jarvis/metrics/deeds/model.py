"""The final decision: a linear model over an answer's features, whose weights are data made by `benchmarks/judge`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from pytest_jarvis.metrics.deeds.outcome import ReasonCode
from pytest_jarvis.types import OutcomeKind

WEIGHTS_FILE: Final = "weights.json"

_REASONS: Final[tuple[tuple[str, ReasonCode], ...]] = (
    ("state done", "announced"),
    ("state mixed", "further_deeds"),
    ("state opposite", "opposite_claimed"),
    ("state other", "other_claimed"),
    ("state off", "other_thing"),
    ("state denied", "denied"),
    ("state refused", "refused"),
    ("state failed", "failed"),
    ("state advised", "advised"),
    ("state asked", "asked"),
    ("state offered", "offered"),
    ("state explained", "explained"),
    ("state agreed", "agreed"),
    ("state nothing", "no_claim"),
    ("word ", "wording"),
    ("claim right value conflict", "other_number"),
    ("claim light value conflict", "other_number"),
    ("good, other value", "other_number"),
    ("claim right miss", "other_thing"),
    ("claim right part", "other_thing"),
    ("claim light miss", "other_thing"),
    ("claim light part", "other_thing"),
    ("claim near miss", "other_thing"),
    ("claim near part", "other_thing"),
    ("claim right", "announced"),
    ("claim light", "announced"),
    ("claim near", "announced"),
    ("claim opposite", "opposite_claimed"),
    ("claim other", "other_claimed"),
    ("claim none", "no_claim"),
    ("first right", "announced"),
    ("first light", "announced"),
    ("first near", "announced"),
    ("first opposite", "opposite_claimed"),
    ("first other", "other_claimed"),
    ("first none", "no_claim"),
    ("last right", "announced"),
    ("last light", "announced"),
    ("last near", "announced"),
    ("last opposite", "opposite_claimed"),
    ("last other", "other_claimed"),
    ("last none", "no_claim"),
    ("good and ", "further_deeds"),
    ("deeds", "further_deeds"),
    ("listed", "further_deeds"),
    ("extra, hit", "further_deeds"),
    ("good", "announced"),
    ("wrong", "other_claimed"),
    ("off", "other_thing"),
    ("neither", "no_claim"),
    ("no claim", "no_claim"),
    ("stays", "denied"),
    ("agrees", "agreed"),
    ("nothing against", "agreed"),
    ("mark right", "announced"),
    ("mark opposite", "opposite_claimed"),
    ("noun right", "named"),
    ("value conflict", "other_number"),
    ("value", "named"),
    ("name", "named"),
    ("no specific", "named"),
    ("parrot", "repeated_command"),
    ("echo", "repeated_command"),
    ("head right extra", "other_thing"),
    ("head light extra", "other_thing"),
    ("head near extra", "other_thing"),
    ("head", "announced"),
    ("unknown verb", "other_claimed"),
    ("state unknown", "other_claimed"),
    ("rival", "other_thing"),
    ("sign", "announced"),
    ("informs", "announced"),
    ("asked", "asked"),
    ("only asked", "asked"),
    ("ends asked", "asked"),
    ("begins asked", "asked"),
)
GENERAL: Final[dict[ReasonCode, float]] = {"shape": 0.5, "wording": 0.5, "named": 0.5, "no_claim": 0.5}
"""Groups of signs that say little to a reader, and what their weight counts beside that of others."""

_MOODS: Final[dict[str, ReasonCode]] = {
    "negated": "denied",
    "corrected": "denied",
    "stays": "denied",
    "asked": "asked",
    "ask": "asked",
    "greet": "asked",
    "offer": "offered",
    "modal": "offered",
    "hypothetical": "offered",
    "condition": "conditional",
    "unless": "conditional",
    "conditional": "conditional",
    "advise": "advised",
    "order": "advised",
    "user": "advised",
    "infinitive": "advised",
    "refuse": "refused",
    "fail": "failed",
    "define": "explained",
    "correct": "denied",
    "accept": "agreed",
    "complete": "agreed",
    "promise": "agreed",
    "further": "further_deeds",
}


class _Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    outcomes: tuple[OutcomeKind, ...]
    intercepts: tuple[float, ...]
    weights: dict[str, tuple[float, ...]]
    usual: dict[str, float] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The likeliest outcome, how likely it is, and the signs that weighed most for it."""

    kind: OutcomeKind
    probability: float
    reason: ReasonCode
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A multinomial logistic regression: one weight for each feature and outcome."""

    outcomes: tuple[OutcomeKind, ...]
    intercepts: tuple[float, ...]
    weights: Mapping[str, tuple[float, ...]]
    usual: Mapping[str, float] = field(default_factory=dict)
    """What each feature is on average: a reason is in what an answer has more, or less, of than others."""

    def decide(self, features: Mapping[str, float]) -> Decision:
        """Return the outcome of the highest score; the reason is the group of its signs that weighed most for it.

        A sign's weight for an outcome is what it adds to its score less what it adds to that of the next likely one,
        compared with what the sign adds on average. Signs in general (`GENERAL`) are the reason only where they weigh
        more than twice as much as any others.
        """
        active = [(name, value, self.weights[name]) for name, value in features.items() if name in self.weights]
        scores = list(self.intercepts)
        for _, value, row in active:
            for place, weight in enumerate(row):
                scores[place] += value * weight
        best, next_best = sorted(range(len(scores)), key=lambda place: -scores[place])[:2]
        total = sum(math.exp(score - scores[best]) for score in scores)
        groups: dict[ReasonCode, list[tuple[float, str]]] = {}
        for name, value, row in active:
            weight = (value - self.usual.get(name, 0.0)) * (row[best] - row[next_best])
            groups.setdefault(reason_of(name), []).append((weight, name))
        weighed = {code: GENERAL.get(code, 1.0) * sum(weight for weight, _ in signs) for code, signs in groups.items()}
        reason: ReasonCode = max(weighed, key=lambda code: weighed[code]) if weighed else "no_claim"
        strongest = sorted(groups.get(reason, ()), reverse=True)
        signs = tuple(name for weight, name in strongest if weight > 0)
        return Decision(kind=self.outcomes[best], probability=1 / total, reason=reason, signs=signs)


@lru_cache(maxsize=8192)
def reason_of(feature: str) -> ReasonCode:
    """Return the group of signs that a feature belongs to."""
    for beginning, code in _REASONS:
        if feature.startswith(beginning):
            return code
    return _MOODS.get(feature.rsplit(maxsplit=1)[-1], "shape")


@lru_cache(maxsize=1)
def load_model() -> Model:
    """Read the weights that come with the package."""
    raw = Path(__file__).with_name(WEIGHTS_FILE).read_bytes()
    weights = msgspec.json.decode(raw, type=_Weights)
    return Model(weights.outcomes, weights.intercepts, weights.weights, weights.usual)
