"""What a command means: the action, what undoes it, what it is done to, and with which values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace
from rapidfuzz.fuzz import ratio

from pytest_jarvis.metrics.deeds.lexicon import Lexicon, load_lexicon, stem
from pytest_jarvis.metrics.deeds.sentences import Quantity, is_number, quantities, read_sentences
from pytest_jarvis.text import words
from pytest_jarvis.types import PromptCase, Tool

_LIKENESS: Final = 80.0  # From which ratio on (0 to 100) two words of four letters and more are one, misspelt.
_LIKENESS_SHORT: Final = 86.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One thing that the command names, under all the names it may have in an answer."""

    name: str
    """Stem of the command's own word."""
    stems: frozenset[str]
    specific: bool
    """Whether it tells what is meant from other things of its sort."""
    placed: bool = False
    """Whether the command names it as a place or a person: « à Lyon », « dans le salon », « chez Paul »."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the person who gave a command wants."""

    tool: str | None
    verbs: frozenset[str]
    actions: frozenset[str]
    opposite_verbs: frozenset[str]
    opposites: frozenset[str]
    near: frozenset[str]
    sets: bool
    """Whether it gives a thing a value: what raises, lowers or colours it may then be right."""
    ends: bool
    """Whether it ends something: beginning it is the opposite."""
    slots: tuple[Slot, ...]
    known: frozenset[str]
    """Stems of the tool's own words: they name no other thing."""
    quantities: tuple[Quantity, ...]
    spoken: tuple[str, ...]
    """The command's words, as heard and as meant."""
    nouns: frozenset[str] = field(default_factory=frozenset)
    """Stems of names of the deed."""
    signs: re.Pattern[str] | None = None
    """Turns of phrase that show it was done."""
    rivals: frozenset[str] = frozenset()
    """Stems of things of the same sort as those that the command names."""


def sound(word: str) -> str:
    """Return a rough key of how a canonical French word sounds: « chrome » and « crom » share it."""
    for pattern, said in load_lexicon().sounds.items():
        word = pattern.sub(said, word)
    return word


def read_wish(case: PromptCase, tools: Mapping[str, Tool], lexicon: Lexicon) -> Wish:
    """Return what `case` asks for: its command says the verb and the thing, its tool what cannot be read there."""
    command = _Command.read(case.intended or case.text, lexicon)
    own = tools.get(case.expected_tool or "")
    primary, every = tool_actions(own, lexicon)
    actions = _wished_actions(command, primary, every, lexicon, chosen=_has_choice(own))
    opposites = frozenset(other for action in actions for other in lexicon.opposite[action]) - actions
    known = _tool_stems(own, lexicon)
    slots = _slots(case, command, actions, lexicon, known)
    verbs = {verb for _, verb in command.verbs if lexicon.actions.get(verb, actions) & actions}
    verbs |= {verb for verb in _tool_verbs(own, lexicon) if _serves(verb, actions, opposites, own, lexicon)}
    return Wish(
        tool=case.expected_tool,
        verbs=frozenset(verbs - set(lexicon.light)),
        actions=actions,
        opposite_verbs=frozenset(_canonical_all(own.opposites) if own else ()),
        opposites=opposites,
        near=frozenset(other for action in actions for other in lexicon.near.get(action, ())) - opposites,
        sets=_is_set(command, own, lexicon),
        ends=any(lexicon.sign[action] < 0 for action in actions),
        slots=slots,
        known=known,
        quantities=tuple(quantities(command.words)) + _argument_quantities(case),
        spoken=tuple(dict.fromkeys((*words(case.text), *command.words))),
        signs=re.compile(rf"\b({'|'.join(own.signs)})\b") if own and own.signs else None,
        rivals=_rivals(slots, lexicon),
        nouns=frozenset(noun for noun, meant in lexicon.nouns.items() if meant & actions),
    )


def split_command(case: PromptCase, tools: Mapping[str, Tool], lexicon: Lexicon) -> dict[str, PromptCase]:
    """Return, for each tool that a sentence with several deeds wants, the part of the sentence that asks for it."""
    parts = re.split(r"\s*(?:,|\bet\b|\bpuis\b)\s*", case.intended or case.text)
    found = {}
    for name in (case.expected_tool, *case.also):
        own = tools.get(name or "")
        actions = tool_actions(own, lexicon)[1]
        said = [
            _actions_of((verb for _, verb in _Command.read(part, lexicon).verbs), lexicon.actions) for part in parts
        ]
        best = max(range(len(parts)), key=lambda place: len(said[place] & actions))
        expected = case.expected_arguments if name == case.expected_tool else None
        prompt_id, alone = f"{case.prompt_id} {name}", replace(case, text=parts[best], intended=None, also=())
        found[name or ""] = replace(alone, prompt_id=prompt_id, expected_tool=name, expected_arguments=expected)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """A command's words, and which of them are verbs."""

    words: tuple[str, ...]
    verbs: tuple[tuple[int, str], ...]  # Place and infinitive of each verb that may be the deed.

    @classmethod
    def read(cls, text: str, lexicon: Lexicon) -> _Command:
        said = [word.plain.lstrip("-") for sentence in read_sentences(text) for word in sentence.words]
        return cls(words=tuple(said), verbs=tuple(_command_verbs(said, lexicon)))

    def told(self, deeds: Sequence[int]) -> range:
        """Return the places of the words that say what is done to what: from the clause of the first deed to the end.

        All of them when a pronoun stands for what was said before; none without a deed.
        """
        if not deeds:
            return range(0)
        if {"le", "la", "les", "l", "ca", "cela"} & set(
            self.words[max(0, deeds[0] - 1) : deeds[0]] + self.words[deeds[0] + 1 : deeds[0] + 2]
        ) and deeds[0] > 2:
            return range(len(self.words))
        start = deeds[0]
        while start and self.words[start - 1] not in {",", ":"}:
            start -= 1
        return range(start, len(self.words))


def _canonical_all(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(" ".join(words(entry)) for entry in entries)


def _command_verbs(command: Sequence[str], lexicon: Lexicon) -> Iterator[tuple[int, str]]:
    """Yield the place and the infinitive of each verb of a command that may be its deed, in their order."""
    for index, word in enumerate(command):
        before = command[index - 1] if index else ""
        infinitive = word.endswith(("er", "ir", "re")) and before in {"le", "la", "l", "les", "de", "d"}
        if before in lexicon.words["wish_no_verb_after"] and not infinitive:
            continue
        known = [
            verb
            for verb, tense in lexicon.plain_forms.get(word, ())
            if tense in {"infinitive", "present", "you"} and (verb in lexicon.actions or verb in lexicon.light)
        ]
        if known:
            yield index, known[0]
        elif not index and word not in lexicon.words["function"] and word.endswith(("e", "s")):
            yield index, word


def _tool_verbs(own: Tool | None, lexicon: Lexicon) -> frozenset[str]:
    """Return the verbs of what a tool does: as declared, else those of its description and of its terms."""
    if own is None or own.verbs:
        return frozenset(_canonical_all(own.verbs if own else ()))
    said = [*words(own.description)[:1], *(words(term)[0] for term in own.terms)]
    found = {lexicon.plain_forms[word][0][0] for word in said if word in lexicon.plain_forms}
    return frozenset(found - set(_canonical_all(own.opposites)))


def _serves(verb: str, actions: frozenset[str], opposites: frozenset[str], own: Tool | None, lexicon: Lexicon) -> bool:
    """Whether a tool's verb does what was asked for: a tool that turns on and off has verbs that undo it, too."""
    meant = lexicon.actions.get(verb, actions)
    return bool(meant & actions) or (own is not None and bool(own.verbs) and not meant & opposites)


def _infinitives(text: str, lexicon: Lexicon) -> list[str]:
    return [word for word in words(text) if (word, "infinitive") in lexicon.plain_forms.get(word, ())]


def tool_actions(own: Tool | None, lexicon: Lexicon) -> tuple[frozenset[str], frozenset[str]]:
    """Return what a tool does first of all, and all that its words say it does."""
    if own is None:
        return frozenset(), frozenset()
    described = _infinitives(own.description, lexicon)
    verbs = _canonical_all(own.verbs) or tuple(described[:1])
    first = _actions_of((verb for verb in verbs if verb not in lexicon.light), lexicon.actions)
    named = _actions_of(own.name.split("_"), lexicon.english)
    objects = _actions_of((stem(word) for word in words(own.description)), lexicon.things)
    termed = [verb for term in own.terms for word in words(term) for verb, _ in lexicon.plain_forms.get(word, ())[:1]]
    primary = (first & named) or first or named or objects
    return primary, primary | named | _actions_of((*described, *termed, *verbs), lexicon.actions)


def _actions_of(keys: Iterable[str], table: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*(table.get(key, frozenset()) for key in keys))


def _wished_actions(
    command: _Command, primary: frozenset[str], every: frozenset[str], lexicon: Lexicon, *, chosen: bool
) -> frozenset[str]:
    """Return what the command asks of its tool; `chosen`: an argument says which of several actions the tool does."""
    said = _actions_of((verb for _, verb in command.verbs if verb not in lexicon.light), lexicon.actions)
    if not said:
        said = _actions_of((verb for _, verb in command.verbs), lexicon.actions) & every
        said |= _actions_of((stem(word) for word in command.words), lexicon.things) & every
    both = said & every
    if not both:
        return (said if chosen else primary) or primary or said
    if chosen:
        return both
    if both & primary:
        return both & primary
    return both | {action for action in primary if not lexicon.opposite[action] & both}


def _has_choice(own: Tool | None) -> bool:
    declared = own.parameters.get("properties") if own else None
    return isinstance(declared, Mapping) and any("enum" in schema for schema in declared.values())


def _is_set(command: _Command, own: Tool | None, lexicon: Lexicon) -> bool:
    if own is not None:
        described = _infinitives(own.description, lexicon)
        return bool(described) and lexicon.light.get(described[0]) == "set"
    return any(lexicon.light.get(verb) == "set" for _, verb in command.verbs)


def _tool_stems(own: Tool | None, lexicon: Lexicon) -> frozenset[str]:
    if own is None:
        return frozenset()
    texts = [own.description, *own.objects, *own.terms]
    stems = {stem(word) for text in texts for word in words(text) if word not in lexicon.words["function"]}
    stems |= {stem(word) for thing in own.objects for word in words(thing)}
    if not own.objects:
        stems |= {other for one in stems for other in lexicon.same.get(one, ())}
    return frozenset(stems)


def _slots(
    case: PromptCase, command: _Command, actions: frozenset[str], lexicon: Lexicon, known: frozenset[str]
) -> tuple[Slot, ...]:
    """Return what the command names: each of its content words that is no verb and no number, with its other names."""
    small = lexicon.words["function"] | lexicon.words["courtesy"] | lexicon.words["adverbs"] | {",", ":"}
    verbs = {place for place, _ in command.verbs}
    counted = {place for one in quantities(command.words) for place in range(one.start, one.end)}
    deeds = [
        place for place, verb in command.verbs if lexicon.actions.get(verb, actions) & actions or verb in lexicon.light
    ]
    told = command.told(deeds)
    slots = {}
    for place, word in enumerate(command.words):
        one = stem(word)
        expected = _expected_names(case, one, lexicon, command)
        if (word in small and expected is None) or place in verbs | counted or len(word) < 2 or word.endswith("ment"):
            continue
        if place and command.words[place - 1] in lexicon.words["subjects"]:
            continue
        if expected is None and place not in told and one not in known:
            continue
        aliases = {one, *lexicon.same.get(one, ()), *lexicon.kinds.get(one, ()), *(expected or ())}
        deed = bool(lexicon.things.get(one, frozenset()) & actions) or one in known
        specific = one not in lexicon.common and (expected is not None or (place in told and not deed))
        placed = bool({"a", "dans", "chez", "vers"} & set(command.words[max(0, place - 2) : place]))
        slots[one] = Slot(name=one, stems=frozenset(aliases), specific=specific, placed=placed)
    return tuple(slots.values())


def _expected_names(case: PromptCase, one: str, lexicon: Lexicon, command: _Command) -> frozenset[str] | None:
    """Return the other names that an expected argument allows for a thing; None when no argument holds it."""
    for expected in (case.expected_arguments or {}).values():
        texts = [text for text in (expected if isinstance(expected, list) else [expected]) if isinstance(text, str)]
        stems = {stem(word) for text in texts for word in words(text) if word not in lexicon.words["function"]}
        if one in stems:
            return frozenset(stems - lexicon.common - {stem(word) for word in command.words} | {one})
    return None


def _argument_quantities(case: PromptCase) -> tuple[Quantity, ...]:
    seconds = {"minutes": 60.0, "seconds": 1.0, "hours": 3600.0}
    given = (case.expected_arguments or {}).items()
    counts = ((name, value) for name, value in given if name in seconds and isinstance(value, (int, float)))
    return tuple(Quantity(value * seconds[name], "seconds") for name, value in counts)


def _rivals(slots: Sequence[Slot], lexicon: Lexicon) -> frozenset[str]:
    """Return what is of the same sort as a thing that the command names, but no name for it."""
    named = frozenset[str]().union(*(slot.stems for slot in slots))
    sorts = [
        things
        for sort, things in lexicon.rivals.items()
        if any(slot.name in things and (slot.specific or sort == "devices") for slot in slots)
    ]
    return frozenset[str]().union(*sorts) - named


class Namer:
    """Says which slots of a wish a word names, misspelt or not; remembers, as the same words come again and again."""

    def __init__(self, wish: Wish) -> None:
        self._index: dict[str, frozenset[int]] = {}
        for number, slot in enumerate(wish.slots):
            for one in slot.stems:
                self._index[one] = self._index.get(one, frozenset()) | {number}
        self._sounds = {sound(one): numbers for one, numbers in self._index.items() if len(one) > 2}
        self._known: dict[str, frozenset[int]] = {}

    def __contains__(self, word: object) -> bool:
        """Whether a stem is the name of a thing as the lexicon or the command has it."""
        return word in self._index

    def slots(self, word: str, *, cut: bool = False) -> frozenset[int]:
        """Return the slots that the stem of a canonical word names; `cut` when its end may be missing."""
        if word not in self._known:
            self._known[word] = self._find(word)
        found = self._known[word]
        if cut and not found and len(word) > 2:
            return frozenset[int]().union(*(numbers for one, numbers in self._index.items() if one.startswith(word)))
        return found

    def _find(self, word: str) -> frozenset[int]:
        if word in self._index:
            return self._index[word]
        if len(word) < 3 or is_number(word):
            return frozenset()
        if (same := self._sounds.get(sound(word))) is not None:
            return same
        if len(word) < 4:
            return frozenset()
        near = [(ratio(word, one), one) for one in self._index if len(one) > 3 and one[0] == word[0]]
        best = max(near, default=(0.0, ""))
        least = _LIKENESS if len(word) > 6 else _LIKENESS_SHORT
        return self._index[best[1]] if best[0] >= least else frozenset()
