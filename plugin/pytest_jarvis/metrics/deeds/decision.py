"""The final decision: what an answer's claims, moods and names come to, weighed by a linear model.

The weights are data made by `benchmarks/judge`; no feature is of a domain.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from pytest_jarvis.metrics.deeds.lexicon import Lexicon, load_lexicon
from pytest_jarvis.metrics.deeds.match import Match, compare_values
from pytest_jarvis.metrics.deeds.outcome import ReasonCode
from pytest_jarvis.metrics.deeds.sentences import Sentence, quantities
from pytest_jarvis.metrics.deeds.wish import Namer, Wish
from pytest_jarvis.types import OutcomeKind

WEIGHTS_FILE: Final = "weights.json"
_WORD_SCALE: Final = 0.5  # What a word counts beside the other features, so that the model leans on those first.
FIRM: Final = frozenset({"first", "passive", "reflexive", "participle"})
GENERAL: Final[dict[ReasonCode, float]] = {"shape": 0.5, "wording": 0.5, "named": 0.5, "no_claim": 0.5}
"""Groups of signs that say little to a reader, and what their weight counts beside that of others."""


def answer_features(
    sentences: Sequence[Sentence], matches: Sequence[Match], wish: Wish, namer: Namer, lexicon: Lexicon
) -> dict[str, float]:
    """Return the features of an answer by name; a feature that is absent is 0."""
    features: dict[str, float] = {}
    _add_claims(features, matches)
    _add_moods(features, sentences, lexicon)
    _add_names(features, sentences, wish, namer, lexicon)
    said = [word.plain for sentence in sentences for word in sentence.words]
    features["length"] = math.log1p(len(said)) / 4
    features["variety"] = len(set(said)) / (len(said) or 1)
    features["echo"] = len(set(said) & set(wish.spoken)) / (len(set(said)) or 1)
    own = [word.plain for sentence in sentences for word in sentence.words if not word.quoted]
    for word in {*own, *(f"{one} {other}" for one, other in pairwise(own))}:
        features[f"word {word}"] = _WORD_SCALE
    return {name: value for name, value in features.items() if value}


def _count(features: dict[str, float], name: str) -> None:
    features[name] = min(2.0, features.get(name, 0.0) + 1.0)


def _add_claims(features: dict[str, float], matches: Sequence[Match]) -> None:
    """Count each claim by its action and target, value and kind; then say what they come to together."""
    for match in matches:
        if match.live:
            kind = "firm" if match.claim.kind in FIRM else match.claim.kind
            _count(features, f"claim {match.action} {match.target}")
            _count(features, f"claim {match.action} {kind}")
            if match.value != "none":
                _count(features, f"claim {match.action} value {match.value}")
        elif match.action in {"right", "opposite", "other", "light"}:
            _count(features, f"not {match.action} {match.blocked}")
    live = [match for match in matches if match.live and (match.action != "none" or match.hits)]
    good = [match for match in live if is_good(match)]
    wrong = [match for match in live if _is_wrong(match, good=bool(good))]
    off = [match for match in live if _is_off(match)]
    values = {match.value for match in matches}
    deeds = {(match.meant, match.extra[:1]) for match in live if match.claim.kind in {*FIRM, "noun"}}
    flags = {
        "good": good,
        "good firm": any(match.claim.kind in FIRM for match in good),
        "good, other value": good and "conflict" in values and "equal" not in values,
        "extra, hit": any(match.extra and match.target == "hit" for match in good),
        "wrong, not good": wrong and not good,
        "off, not good": off and not good,
        "neither": not good and not wrong and not off,
    }
    features.update({name: float(bool(holds)) for name, holds in flags.items()})
    features["wrong"], features["off"] = min(2.0, len(wrong)), min(2.0, len(off))
    features["deeds"] = min(4.0, max(0, len(deeds) - 1))


def is_good(match: Match) -> bool:
    """Whether a claim is of the right action, and of nothing that was not meant."""
    if match.value == "conflict" or (match.rival and not match.listed):
        return False
    if match.action == "right":
        return match.target in {"hit", "open"} or (match.target == "part" and not match.extra)
    if match.action == "light" and match.claim.pronoun and match.claim.light == "start":
        return match.target in {"hit", "open"}
    return match.action in {"light", "near"} and match.target == "hit"


def _is_wrong(match: Match, *, good: bool) -> bool:
    """Whether a claim is of another deed; that something was kept or shown as well is part of the right one."""
    if good and match.action == "other" and match.meant & {"save", "show"}:
        return False
    return match.action in {"opposite", "other"} and match.claim.kind in {*FIRM, "noun"}


def _is_off(match: Match) -> bool:
    """Whether a claim is of the right action on something else."""
    if match.action == "near":
        return match.target == "miss"
    return match.action in {"right", "light"} and not is_good(match)


def _add_moods(features: dict[str, float], sentences: Sequence[Sentence], lexicon: Lexicon) -> None:
    for name in lexicon.cues:
        cued = [number for number, sentence in enumerate(sentences) if sentence.cue(lexicon, name) is not None]
        if cued:
            features[f"cue {name}"] = 1.0
            features[f"begins {name}"] = float(cued[0] == 0)
            features[f"ends {name}"] = float(cued[-1] == len(sentences) - 1)
    asked = [sentence.asked for sentence in sentences]
    features["only asked"] = float(bool(asked) and all(asked))
    features["ends asked"] = float(bool(asked) and asked[-1])
    agrees = any(features.get(f"cue {name}") for name in ("promise", "complete", "accept"))
    against = any(features.get(f"cue {name}") for name in ("refuse", "fail", "advise", "define", "general"))
    features["agrees, nothing against"] = float(agrees and not against and not features["ends asked"])
    features["nothing against"] = float(not against and not any(asked))


def _add_names(
    features: dict[str, float], sentences: Sequence[Sentence], wish: Wish, namer: Namer, lexicon: Lexicon
) -> None:
    """Say which things, values and turns of phrase are there, whoever does what to them."""
    words = [word for sentence in sentences for word in sentence.words]
    hits = {slot for word in words for slot in namer.slots(word.stem)}
    specific = {number for number, slot in enumerate(wish.slots) if slot.specific}
    value = compare_values(quantities([word.plain for word in words]), wish)
    marked = [lexicon.mark_actions[mark] for one in sentences for mark in lexicon.marks.findall(one.said)]
    rivals = any(word.stem in wish.rivals and not namer.slots(word.stem) for word in words)
    right = bool(specific & hits) if specific else bool(hits)
    signed = [one for one in sentences if wish.signs and wish.signs.search(one.said)]
    plain = [one for one in signed if not one.asked and not _is_advice(one, lexicon)]
    flags = {
        "names all": specific and specific <= hits,
        "names some": hits & specific and not specific <= hits,
        "names none": specific and not hits & specific,
        "names thing": hits,
        "no specific": not specific,
        f"value {value}": wish.quantities,
        "mark right": any(mark & wish.actions for mark in marked),
        "mark opposite": any(mark & wish.opposites and not mark & wish.actions for mark in marked),
        "rival alone": rivals and not right,
        "rival beside": rivals and right,
        "sign": plain,
        "sign, blocked": signed and not plain,
        "sign first": plain and plain[0] is sentences[0],
        "signs known": wish.signs,
    }
    features.update({name: float(bool(holds)) for name, holds in flags.items()})


def _is_advice(sentence: Sentence, lexicon: Lexicon) -> bool:
    return any(sentence.cue(lexicon, name) is not None for name in ("advise", "refuse", "fail", "unless"))


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
        known = sorted(name for name in features if name in self.weights)  # In an order of its own, whatever the run.
        active = [(name, features[name], self.weights[name]) for name in known]
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
    signs = load_lexicon().signs
    return next((code for code, pattern in signs.items() if re.match(pattern, feature)), "shape")


@lru_cache(maxsize=1)
def load_model() -> Model:
    """Read the weights that come with the package."""
    raw = Path(__file__).with_name(WEIGHTS_FILE).read_bytes()
    weights = msgspec.json.decode(raw, type=_Weights)
    return Model(weights.outcomes, weights.intercepts, weights.weights, weights.usual)
