"""Each claim of an answer against the wish: the action that was meant, on the thing that was meant."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from pytest_jarvis.metrics.deeds.claims import CLAIMING, Claim, ClaimReader
from pytest_jarvis.metrics.deeds.lexicon import Lexicon
from pytest_jarvis.metrics.deeds.sentences import Quantity, Sentence, Word, is_number, quantities
from pytest_jarvis.metrics.deeds.wish import Namer, Wish

Action = Literal["right", "light", "near", "opposite", "other", "none"]
"""right: what was meant. light: a verb that says only that something is done (« lance », « mets »). near: what may pass
for it. opposite: what undoes it. other: something else. none: nothing that the lexicon knows as a deed.
"""
Target = Literal["hit", "part", "open", "aside", "miss"]
"""hit: what the command named, and all of it that tells it from other things. part: some of it. open: nothing is named,
or a pronoun stands for it. miss: something else is named.
"""
Value = Literal["equal", "none", "conflict"]

_BLOCKS: Final = ("condition", "offer", "advise", "refuse", "fail", "general")


_PAST_YEAR: Final = re.compile(r"\ben (1[89]|20)\d\d\b|\bsiecle\b")
_UNDER_WAY: Final = frozenset({"cours", "marche", "route", "place", "train"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A claim, judged against the wish."""

    claim: Claim
    action: Action
    target: Target
    value: Value
    live: bool
    """Whether it is claimed at all: not denied, asked, offered, advised, taken back."""
    blocked: str | None
    """Why it is not live."""
    rival: bool
    """Whether another thing of the same sort is named."""
    extra: tuple[str, ...]
    """Words that name something which the command did not."""
    listed: int
    """How many of those are further things in a row with the right one."""
    sentence: int
    meant: frozenset[str]
    """The actions that the claim can mean, its object considered."""
    hits: frozenset[int]


def match_answer(sentences: Sequence[Sentence], wish: Wish, namer: Namer, lexicon: Lexicon) -> list[Match]:
    """Return the matches of all claims of an answer, in their order; what is taken back (« pardon ») is not live."""
    found: list[Match] = []
    advice = 0
    for number, sentence in enumerate(sentences):
        claims = ClaimReader(sentence, lexicon, namer).read()
        corrected = sentence.cue(lexicon, "correct")
        if corrected is not None and corrected <= 2 and number:
            found = [_taken_back(match) if match.sentence == number - 1 else match for match in found]
        if (
            sentence.cue(lexicon, "fail") is not None
            and not sentence.asked
            and sentence.cue(lexicon, "condition") is None
        ):
            found = [
                replace(match, live=False, blocked="fail") if match.live and match.claim.time != "past" else match
                for match in found
            ]
        advice += sentence.cue(lexicon, "advise") is not None
        demands = False
        for claim in claims:
            demands = demands or claim.kind in {"order", "user"}
            blocked = _blocked(claim, sentence, lexicon, corrected)
            if blocked is None and demands and (claim.time == "future" or claim.led == "et") and claim.kind != "state":
                blocked = "condition"
            if blocked is None and advice > 1 and claim.kind != "first":
                blocked = "advise"
            found.append(_match(claim, sentence, wish, namer, lexicon, number=number, blocked=blocked))
    return found


def _taken_back(match: Match) -> Match:
    return replace(match, live=False, blocked="corrected") if match.live else match


def _blocked(claim: Claim, sentence: Sentence, lexicon: Lexicon, corrected: int | None) -> str | None:
    """Return why a claim is not one, the first reason that holds; None when it is."""
    reasons = (
        (claim.kind, claim.kind not in CLAIMING),
        ("negated", claim.negated),
        ("asked", sentence.asked),
        ("hypothetical", claim.hypothetical),
        ("conditional", claim.time == "conditional"),
        ("corrected", corrected is not None and claim.at < corrected and corrected > 2),
        ("condition", sentence.cue(lexicon, "unless") is not None),
        ("define", _PAST_YEAR.search(sentence.said) is not None),
        *((name, _is_blocked_by(name, claim, sentence, lexicon)) for name in _BLOCKS),
    )
    return next((name for name, holds in reasons if holds), None)


def _is_blocked_by(name: str, claim: Claim, sentence: Sentence, lexicon: Lexicon) -> bool:
    """Whether a turn of phrase takes from a claim what it claims: before it, or anywhere for a failure."""
    place = sentence.cue(lexicon, name)
    if place is None or (name == "advise" and claim.kind == "first"):
        return False
    return place <= claim.at or name in {"fail", "general"}


def _match(
    claim: Claim, sentence: Sentence, wish: Wish, namer: Namer, lexicon: Lexicon, *, number: int, blocked: str | None
) -> Match:
    meant, light = _meaning(claim, lexicon)
    action = _action(claim, meant, wish, light=light)
    if action == "other" and claim.kind == "state":
        action = "none"
    if (
        wish.ends
        and claim.negated
        and (claim.no_longer or claim.time == "future")
        and action in {"opposite", "other", "none"}
    ):
        undone = action == "opposite" or (claim.kind in {"state", "active"} and (bool(meant) or claim.no_longer))
        action, blocked = ("right", None) if undone and blocked == "negated" else (action, blocked)
    hits, extra, aside = _names(claim.words, wish, namer, lexicon, cut=sentence.cut)
    return Match(
        claim=claim,
        action=action,
        target=_target(hits, extra, aside, wish),
        value=compare_values(quantities([word.plain for word in claim.words]), wish),
        live=blocked is None,
        blocked=blocked,
        rival=any(word.plain in extra and word.stem in wish.rivals for word in claim.words),
        extra=extra,
        listed=_listed(claim.words, extra),
        sentence=number,
        meant=meant,
        hits=hits,
    )


def _meaning(claim: Claim, lexicon: Lexicon) -> tuple[frozenset[str], bool]:
    """Return what a claim can mean, and whether its verb says no more than that it is done."""
    # A light verb takes its meaning from the deed it names, or from « plus fort »; a number that grows says « up ».
    text = claim.spoken + " " + " ".join(word.plain for word in claim.words if not word.quoted)
    marked = _union(lexicon.mark_actions[mark] for mark in lexicon.marks.findall(text)) | _slope(claim.words)
    if not claim.actions and not claim.light and claim.kind != "state":
        return frozenset(), False
    names = lexicon.things if claim.light or claim.kind == "state" else lexicon.nouns
    named = _union(names.get(word.stem, frozenset()) for word in claim.words if not word.quoted)
    if claim.kind == "noun":
        return marked or claim.actions, False
    if claim.light is None and claim.actions and claim.kind != "here":
        undone = _union(lexicon.opposite[action] for action in claim.actions)
        marked = marked if claim.actions & {"up", "down"} else frozenset()
        done_to = named if claim.kind in {"passive", "participle", "reflexive"} and not named & undone else frozenset()
        return claim.actions | marked | done_to, False
    under_way = claim.kind == "here" or (claim.kind == "state" and _UNDER_WAY & {word.plain for word in claim.words})
    meant = marked or (named if claim.light or under_way else frozenset())
    if claim.light == "stop" and meant:
        return _union(lexicon.opposite[action] for action in meant) | claim.actions | {"stop"}, False
    return meant or claim.actions, not meant and claim.light in {"start", "set", "do"}


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def _slope(words: Sequence[Word]) -> frozenset[str]:
    """Return whether numbers say more or less: « de 40 à 60 % », « +10 % », « moins vingt »."""
    plain = [word.plain for word in words]
    said = quantities(plain)
    for one in said:
        if plain[one.start].startswith("+") or plain[max(0, one.start - 1)] in {"plus", "+"}:
            return frozenset({"up"})
        if plain[one.start].startswith("-") or plain[max(0, one.start - 1)] == "moins":
            return frozenset({"down"})
    if len(said) == 2 and plain[max(0, said[0].start - 1)] == "de" and plain[max(0, said[1].start - 1)] == "a":
        return frozenset({"up" if said[1].value > said[0].value else "down"})
    return frozenset()


def _action(claim: Claim, meant: frozenset[str], wish: Wish, *, light: bool) -> Action:
    """Return what a claim's action is to the wish: the first that holds."""
    undone = claim.verb in wish.opposite_verbs or claim.verb.removeprefix("de") in wish.verbs
    gives_value = wish.sets and bool(meant & {"up", "down", "colour", "change", "on"})
    actions: tuple[tuple[Action, bool], ...] = (
        ("right", claim.verb in wish.verbs or bool(meant & wish.actions)),
        ("opposite", undone or bool(meant & wish.opposites) or (light and claim.light == "start" and wish.ends)),
        ("other", light and claim.light == "set" and wish.ends),
        ("light", light or gives_value or claim.kind == "here"),
        ("near", bool(meant & wish.near)),
        ("other", bool(meant)),
    )
    return next((action for action, holds in actions if holds), "none")


def _is_content(word: Word, lexicon: Lexicon) -> bool:
    """Whether a word names something: no small word, no number."""
    if len(word.plain) < 2 or word.plain in lexicon.words["empty"] or word.plain[0] == "-":
        return False
    return not is_number(word.plain)


def _names(
    words: Sequence[Word], wish: Wish, namer: Namer, lexicon: Lexicon, *, cut: bool
) -> tuple[frozenset[int], tuple[str, ...], tuple[str, ...]]:
    """Return which slots are named, and what else is: done to that, or but where and how it is done."""
    hits: set[int] = set()
    extra: list[str] = []
    aside: list[str] = []
    place = False
    for index, word in enumerate(words):
        place = (
            place
            or word.plain in lexicon.words["match_aside"]
            or (word.plain == "un" and index > 1 and words[index - 1].plain == "d")
        ) and word.plain not in {",", ":", "et"}
        if not _is_content(word, lexicon):
            continue
        slots = namer.slots(word.stem, cut=cut and index == len(words) - 1)
        hits |= slots
        before = words[index - 1].plain if index else ""
        placed = any(slot.placed for slot in wish.slots)
        if not slots and word.stem in wish.rivals and (placed or not place):
            extra.append(word.plain)
        elif not slots and not _is_known(word, before, wish, lexicon):
            thing = (
                not index
                or before == ":"
                or word.capital
                or word.quoted
                or before in lexicon.words["match_articles"]
                or before in extra
            )
            (extra if thing and not place else aside).append(word.plain)
    return frozenset(hits), tuple(extra), tuple(aside)


def _is_known(word: Word, before: str, wish: Wish, lexicon: Lexicon) -> bool:
    """Whether a word names no other thing: the tool's own words, things in general, units, verbs."""
    if (
        word.stem in wish.known
        or word.stem in lexicon.common
        or word.stem in wish.nouns
        or lexicon.nouns.get(word.stem, frozenset()) & wish.opposites
        or word.plain in lexicon.words["match_units"]
    ):
        return True
    if word.plain.endswith("ment") and before not in lexicon.words["match_articles"]:
        return True
    return (
        word.text in lexicon.forms and word.stem not in lexicon.nouns and before not in lexicon.words["match_articles"]
    )


def _target(hits: frozenset[int], extra: Sequence[str], aside: Sequence[str], wish: Wish) -> Target:
    specific = {number for number, slot in enumerate(wish.slots) if slot.specific}
    if specific and specific <= hits:
        return "hit"
    if not specific and hits:
        return "hit" if not extra else "part"
    if hits & specific:
        return "part" if extra or aside else "hit"
    elsewhere = aside and any(wish.slots[number].placed for number in specific)
    return "miss" if extra or elsewhere else "aside" if aside and specific else "open"


def compare_values(said: Sequence[Quantity], wish: Wish) -> Value:
    """Return whether a value that the command gave is met, or another one of its kind said."""
    wanted = {(one.unit, one.value) for one in wish.quantities}
    wanted |= {("none", one.value / (60.0 if one.unit == "seconds" else 1.0)) for one in wish.quantities}
    units = {one.unit for one in wish.quantities}
    given = {(one.unit, one.value) for one in said}
    if wanted & given or any(_differ_by(said, one) for one in wish.quantities):
        return "equal"
    if any(one.unit in units for one in said) or (units == {"seconds"} and {one.unit for one in said} == {"none"}):
        return "conflict"
    return "none"


def _differ_by(said: Sequence[Quantity], wanted: Quantity) -> bool:
    """Whether two values lie as far apart as was wanted: « de 40 à 60 % »; or a countdown has just begun."""
    values = [one.value for one in said if one.unit in {"percent", "none"}]
    if wanted.unit == "percent":
        return any(abs(a - b) == wanted.value for a in values for b in values) or wanted.value in values
    if wanted.unit == "seconds":
        times = [one.value for one in said if one.unit == "clock"]
        begun = any(one.unit == "seconds" and 0 < wanted.value - one.value <= 5 for one in said)
        return begun or any(60 * (b - a) == wanted.value for a in times for b in times)
    return False


def _listed(words: Sequence[Word], extra: Sequence[str]) -> int:
    """Count the extra things that follow a comma or « et », with at most an article and a noun between."""
    count = 0
    for index, word in enumerate(words):
        if word.plain in {",", "et"}:
            count += any(one.plain in extra for one in words[index + 1 : index + 4])
    return count
