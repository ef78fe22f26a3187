"""What the final decision looks at: an answer's claims, moods and names, counted; no word here is of a domain."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from rapidfuzz.fuzz import ratio

from pytest_jarvis.metrics.deeds.lexicon import Lexicon
from pytest_jarvis.metrics.deeds.match import Match, compare_values
from pytest_jarvis.metrics.deeds.numbers import quantities
from pytest_jarvis.metrics.deeds.sentences import Sentence
from pytest_jarvis.metrics.deeds.wish import Namer, Wish

WORD_SCALE = 0.5
"""What a word counts beside the other features, so that the model leans on those first."""

STATE_SCALE = 1.0
"""What the state of an answer counts: it sums up the rest, and the model leans on it most."""

INFORMING = re.compile(r"\b(vous (avez|aurez)|tu as|il y a|\d+ ?h|heures?|non lus?|dit|demande|prevue?s?|message)\b")
NOTHING_THERE = re.compile(r"\b(rien|aucune?|libre|pas de|toujours rien|vide)\b")

FIRM = frozenset({"first", "passive", "reflexive", "participle"})


def answer_features(
    sentences: Sequence[Sentence], matches: Sequence[Match], wish: Wish, namer: Namer, lexicon: Lexicon
) -> dict[str, float]:
    """Return the features of an answer by name; a feature that is absent is 0."""
    features: dict[str, float] = {}
    _add_claims(features, matches)
    _add_moods(features, sentences, lexicon)
    _add_names(features, sentences, wish, namer, lexicon)
    _add_shape(features, sentences, matches, wish)
    features[f"state {answer_state(features, matches)}"] = STATE_SCALE
    _add_words(features, sentences)
    return {name: value for name, value in features.items() if value}


def _count(features: dict[str, float], name: str, most: float = 2.0) -> None:
    features[name] = min(most, features.get(name, 0.0) + 1.0)


def _add_claims(features: dict[str, float], matches: Sequence[Match]) -> None:
    for match in matches:
        _add_claim(features, match)
    live = [match for match in matches if match.live and (match.action != "none" or match.hits)]
    good = [match for match in live if is_good(match)]
    wrong = [match for match in live if _is_wrong(match, good=bool(good))]
    off = [match for match in live if _is_off(match)]
    kinds = {"firm" if match.claim.kind in FIRM else match.claim.kind for match in good}
    values = {match.value for match in matches}
    deeds = {(match.meant, match.extra[:1]) for match in live if match.claim.kind in FIRM | {"noun"}}
    alone = bool(good) and not wrong and not off
    flags = {
        "good": good,
        "good and wrong": good and wrong,
        "good and two wrong": good and len(wrong) > 1,
        "good and off": good and off,
        "wrong, not good": wrong and not good,
        "off, not good": off and not good,
        "neither": not good and not wrong and not off,
        "good firm": "firm" in kinds,
        "good firm, alone": "firm" in kinds and alone,
        "good weak, alone": "firm" not in kinds and alone,
        "good hit": any(match.target == "hit" for match in good),
        "stays": any(match.claim.kind == "stays" and match.action in {"right", "opposite"} for match in matches),
        "good, other value": good and "conflict" in values and "equal" not in values,
        "extra, hit": any(match.extra and match.target == "hit" for match in good),
        "listed": any(match.listed for match in good),
    }
    features.update({name: float(bool(holds)) for name, holds in flags.items()})
    features["wrong"], features["off"] = min(2.0, len(wrong)), min(2.0, len(off))
    features["deeds"] = min(4.0, max(0, len(deeds) - 1))
    for match in matches:
        if not good and not match.live and match.action in {"right", "light", "near"}:
            features[f"only {match.blocked}"] = 1.0


def _add_claim(features: dict[str, float], match: Match) -> None:
    """Count one claim by its action, its target, its kind and why it is not live."""
    if not match.live:
        _count(features, f"blocked {match.blocked}")
        if match.action in {"right", "opposite", "other", "light"}:
            _count(features, f"not {match.action} {match.blocked}")
        return
    _count(features, f"claim {match.action} {match.target}")
    _count(features, f"claim {match.action} {'firm' if match.claim.kind in FIRM else match.claim.kind}")
    if match.value != "none":
        _count(features, f"claim {match.action} value {match.value}")
    if match.fit is not None:
        _count(features, f"fit {max(-1, min(1, match.fit))} {match.action}")
    if not match.claim.known:
        _count(features, "unknown verb")
    if match.action in {"right", "light", "near"}:
        _count(features, f"head {match.action} {match.head}")
        if match.head == "extra" and match.target != "hit":
            features["off, head"] = 1.0


def _is_wrong(match: Match, *, good: bool) -> bool:
    """Whether a claim is of another deed; that something was kept or shown as well is part of the right one."""
    if good and match.action == "other" and match.meant & {"save", "show"}:
        return False
    return match.action in {"opposite", "other"} and match.claim.kind in FIRM | {"noun"}


def _is_off(match: Match) -> bool:
    """Whether a claim is of the right action on something else."""
    if match.action == "near":
        return match.target == "miss"
    return match.action in {"right", "light"} and not is_good(match)


def answer_state(features: Mapping[str, float], matches: Sequence[Match]) -> str:
    """Return what an answer amounts to by plain rules: the first that holds."""
    good, wrong, off = (features.get(name, 0.0) for name in ("good", "wrong", "off"))
    live = [match for match in matches if match.live]
    values = {match.value for match in live}
    named = "thing" if features.get("names thing") else "none"
    opposite = any(match.action == "opposite" for match in live)
    states = (
        ("off value", "conflict" in values and "equal" not in values and not wrong),
        ("mixed", good and (wrong or features.get("listed"))),
        ("mixed things", good and off),
        ("done firm", good and features.get("good firm")),
        ("done weak", good),
        ("opposite", wrong and opposite),
        ("other", wrong),
        ("off head", off and features.get("off, head")),
        ("off", off),
        (f"unknown deed {named}", features.get("unknown verb")),
    )
    return next((name for name, holds in states if holds), None) or _state_without_deed(features, matches)


def _state_without_deed(features: Mapping[str, float], matches: Sequence[Match]) -> str:
    """Return why nothing seems to be done, the first reason that holds; else how it may be done all the same."""
    blocked = {match.blocked for match in matches}
    denied = any(match.blocked in {"negated", "stays"} and (match.action != "none" or match.hits) for match in matches)
    reasons = (
        ("denied", denied),
        ("refused", features.get("cue refuse")),
        ("failed", features.get("cue fail")),
        ("advised", features.get("cue advise") or blocked & {"order", "advise"}),
        ("asked", features.get("ends asked") or features.get("only asked")),
        ("offered", blocked & {"modal", "condition", "conditional", "offer"}),
        ("explained", features.get("cue define")),
    )
    found = next((name for name, holds in reasons if holds), None)
    return found or _state_without_reason(features, matches)


def _state_without_reason(features: Mapping[str, float], matches: Sequence[Match]) -> str:
    agreed = next((name for name in ("promise", "complete", "accept") if features.get(f"cue {name}")), None)
    named = "all" if features.get("names all") else "thing" if features.get("names thing") else "none"
    if agreed is None:
        return f"nothing {named}{_rest(features)}"
    other = any(match.live and match.claim.kind == "first" for match in matches)
    return f"agreed {'but ' if other else ''}{agreed} {named}{_rest(features)}"


def _rest(features: Mapping[str, float]) -> str:
    if features.get("rival alone"):
        return ", rival"
    return ", sign" if features.get("sign") else ""


def is_good(match: Match) -> bool:
    """Whether a claim is of the right action, and of nothing that was not meant."""
    if match.value == "conflict" or (match.rival and not match.listed):
        return False
    if match.claim.kind == "here" and match.head == "extra":
        return False
    if match.action == "right":
        return match.target in {"hit", "open"} or (match.target == "part" and not match.extra)
    if match.action == "light" and match.claim.pronoun and match.claim.light == "start":
        return match.target in {"hit", "open"}
    return match.action in {"light", "near"} and match.target == "hit"


def _add_moods(features: dict[str, float], sentences: Sequence[Sentence], lexicon: Lexicon) -> None:
    count = len(sentences) or 1
    for name in lexicon.cues:
        cued = [number for number, sentence in enumerate(sentences) if sentence.cue(lexicon, name) is not None]
        if cued:
            features[f"cue {name}"] = 1.0
            features[f"share {name}"] = len(cued) / count
            features[f"begins {name}"] = float(cued[0] == 0)
            features[f"ends {name}"] = float(cued[-1] == len(sentences) - 1)
    asked = [sentence.asked for sentence in sentences]
    features["asked"] = sum(asked) / count
    features["only asked"] = float(bool(asked) and all(asked))
    features["ends asked"] = float(bool(asked) and asked[-1])
    features["begins asked"] = float(bool(asked) and asked[0])
    promise = features.get("cue promise", 0) + features.get("cue complete", 0) + features.get("cue accept", 0)
    against = sum(features.get(f"cue {name}", 0) for name in ("refuse", "fail", "advise", "define"))
    features["agrees, nothing against"] = float(promise > 0 and against == 0 and not features["ends asked"])
    features["nothing against"] = float(against == 0 and features["asked"] == 0)


def _add_names(
    features: dict[str, float], sentences: Sequence[Sentence], wish: Wish, namer: Namer, lexicon: Lexicon
) -> None:
    words = [word for sentence in sentences for word in sentence.words]
    hits = {slot for word in words for slot in namer.slots(word.stem)}
    specific = {number for number, slot in enumerate(wish.slots) if slot.specific}
    features["names all"] = float(bool(specific) and specific <= hits)
    features["names some"] = float(bool(hits & specific) and not specific <= hits)
    features["names none"] = float(bool(specific) and not hits & specific)
    features["names thing"] = float(bool(hits))
    features["names nothing"] = float(not hits)
    features["no specific"] = float(not specific)
    value = compare_values(quantities([word.plain for word in words]), wish)
    features[f"value {value}"] = float(bool(wish.quantities))
    said = " ".join(sentence.said for sentence in sentences)
    marked = [lexicon.mark_actions[mark] for mark in lexicon.marks.findall(said)]
    features["mark right"] = float(any(mark & wish.actions for mark in marked))
    features["mark opposite"] = float(any(mark & wish.opposites and not mark & wish.actions for mark in marked))
    others = {word.stem for word in words if word.stem in wish.rivals and not namer.slots(word.stem)}
    right = bool(specific & hits) if specific else bool(hits)
    features["rival alone"] = float(bool(others) and not right)
    features["rival beside"] = float(bool(others) and right)
    signed = [sentence for sentence in sentences if wish.signs and wish.signs.search(sentence.said)]
    plain = [sentence for sentence in signed if not sentence.asked and not _is_advice(sentence, lexicon)]
    features["sign"] = float(bool(plain))
    features["sign, blocked"] = float(bool(signed) and not plain)
    features["sign first"] = float(bool(plain) and plain[0] is sentences[0])
    features["signs known"] = float(wish.signs is not None)
    features["noun right"] = float(any(word.stem in wish.nouns for word in words))


def _is_advice(sentence: Sentence, lexicon: Lexicon) -> bool:
    return any(sentence.cue(lexicon, name) is not None for name in ("advise", "refuse", "fail", "unless"))


def _add_shape(features: dict[str, float], sentences: Sequence[Sentence], matches: Sequence[Match], wish: Wish) -> None:
    words = [word.plain for sentence in sentences for word in sentence.words]
    features["empty"] = float(not words)
    features["length"] = math.log1p(len(words)) / 4
    features["short"] = float(len(words) <= 6)
    features["variety"] = len(set(words)) / (len(words) or 1)
    features["items"] = float(sum(sentence.item for sentence in sentences) > 1)
    features["no claim"] = float(not any(match.live for match in matches))
    features["first person"] = float(any(match.claim.kind == "first" and match.live for match in matches))
    said = " ".join(words)
    features["parrot"] = float(ratio(said, " ".join(wish.spoken)) > 85)
    features["echo"] = len(set(words) & set(wish.spoken)) / (len(set(words)) or 1)
    pieces = " ".join(sentence.said for sentence in sentences).split(",")
    features["word list"] = float(len(pieces) > 3 and sum(len(piece.split()) < 2 for piece in pieces) > len(pieces) / 2)
    informs = bool(wish.actions & {"read", "show", "search"})
    quoted = any(word.quoted for sentence in sentences for word in sentence.words)
    told = " ".join(sentence.said for sentence in sentences)
    features["informs, quoted"] = float(informs and quoted)
    features["informs, facts"] = float(informs and bool(INFORMING.search(told)))
    features["informs, nothing there"] = float(informs and bool(NOTHING_THERE.search(told)))
    features["exclaimed"] = float(bool(sentences) and sentences[0].exclaimed)


def _add_words(features: dict[str, float], sentences: Sequence[Sentence]) -> None:
    """Add each word and pair of words that is said and not quoted; the model keeps those of many prompts."""
    said = [word.plain for sentence in sentences for word in sentence.words if not word.quoted]
    for word in {*said, *(f"{one} {other}" for one, other in pairwise(said))}:
        features[f"word {word}"] = WORD_SCALE
