"""What the judge knows of French, read once from `lexicon.toml` and made ready for look-ups."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from pytest_jarvis.metrics.deeds.outcome import ReasonCode
from pytest_jarvis.text import canonical

Tense = Literal["infinitive", "present", "plural", "you", "participle", "future", "conditional", "past", "gerund"]
"""present: first to third person singular, also the imperative; plural: of nous, ils; you: of vous, also the imperative
in -ez; past: the imparfait."""
Light = Literal["start", "set", "do", "stop"]
VerbForm = tuple[str, Tense]
"""A verb's infinitive without accents, and the tense of the form."""

_PRESENT: Final[tuple[Tense, ...]] = ("present", "present", "plural", "you", "plural")


class _Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    verbs: str
    nouns: str = ""
    things: str = ""
    marks: str = ""
    english: str = ""
    opposite: str = ""
    near: str = ""
    sign: int = 0


class _Things(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    same: tuple[str, ...]
    kinds: tuple[str, ...]
    common: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    actions: dict[str, _Action]
    light: dict[Light, str]
    verbs: dict[str, str]
    models: dict[str, str]
    others: dict[str, str]
    things: _Things
    words: dict[str, str]
    cues: dict[str, str]
    rivals: dict[str, str]
    sounds: dict[str, str]
    signs: dict[ReasonCode, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """Words, forms and turns of phrase; every key is canonical (small letters, no accents)."""

    forms: Mapping[str, tuple[VerbForm, ...]]
    """Each form of each known verb, with its accents."""
    plain_forms: Mapping[str, tuple[VerbForm, ...]]
    actions: Mapping[str, frozenset[str]]
    """Verb -> what it may do."""
    light: Mapping[str, Light]
    nouns: Mapping[str, frozenset[str]]
    """Stem of a deed's name -> what it is."""
    things: Mapping[str, frozenset[str]]
    """Stem of a deed's name, or of what can only be meant for it -> what a light verb does with it."""
    english: Mapping[str, frozenset[str]]
    marks: re.Pattern[str]
    mark_actions: Mapping[str, frozenset[str]]
    opposite: Mapping[str, frozenset[str]]
    near: Mapping[str, frozenset[str]]
    sign: Mapping[str, int]
    same: Mapping[str, frozenset[str]]
    """Stem of a thing's name -> the stems of its other names."""
    kinds: Mapping[str, frozenset[str]]
    common: frozenset[str]
    words: Mapping[str, frozenset[str]]
    """Small words by what they do; `small`: of no weight before a deed; `polite`: what may stand before an order;
    `between`: what may stand between an auxiliary and its participle."""
    cues: Mapping[str, re.Pattern[str]]
    rivals: Mapping[str, frozenset[str]]
    """Sort of thing -> the stems of things of that sort, each of which is another than the rest."""
    sounds: Mapping[re.Pattern[str], str]
    """Letters -> the sound they are written for, in the order in which they are replaced."""
    signs: Mapping[ReasonCode, str]
    """Reason -> the features that it stands for, by how their names begin; the first that fits."""


def stem(word: str) -> str:
    """Return a canonical word without the endings of plural and feminine: « fermees » and « ferme » are « ferm »."""
    if len(word) > 4 and word.endswith("aux"):
        return word[:-3] + "al"
    if len(word) > 3:
        word = word.rstrip("sx")
    for _ in range(2):
        if len(word) > 3 and word.endswith("e"):
            word = word[:-1]
    return word


def conjugate(verb: str, irregular: Mapping[str, str]) -> Iterator[tuple[str, Tense]]:
    """Yield each form of `verb` (an infinitive with its accents) that an answer may hold, with its tense."""
    yield verb, "infinitive"
    present, participle, future = _principal_parts(verb, irregular)
    for form, tense in zip(present, _PRESENT, strict=True):
        yield form, tense
    if (third := _third_person(present[0])) != present[0]:
        yield third, "present"
    agreed = participle if participle.endswith("s") else participle + "s"
    for form in (participle, participle + "e", agreed, participle + "es"):
        yield form, "participle"
    for ending in ("ai", "as", "a", "ons", "ez", "ont"):
        yield future + ending, "future"
    for ending in ("ais", "ait", "ions", "iez", "aient"):
        yield future + ending, "conditional"
    root = present[2].removesuffix("ons")
    for ending in ("ais", "ait", "ions", "iez", "aient"):
        yield root + ending, "past"
    yield root + "ant", "gerund"


def _principal_parts(verb: str, irregular: Mapping[str, str]) -> tuple[list[str], str, str]:
    """Return the five present forms, the participle, and the stem of the future."""
    if verb in irregular:
        present, participle, future = irregular[verb].split("|")
        return present.split(), participle, future
    root = verb[:-2]
    if verb.endswith("ir"):
        return [root + end for end in ("is", "is", "issons", "issez", "issent")], root + "i", verb
    if verb.endswith("re"):
        return [root + end for end in ("s", "s", "ons", "ez", "ent")], root + "u", verb[:-1]
    soft = {"c": root[:-1] + "ç", "g": root + "e"}.get(root[-1], root)
    strong = _strong_root(root)
    return [strong + "e", strong + "es", soft + "ons", root + "ez", strong + "ent"], root + "é", strong + "er"


def _third_person(first: str) -> str:
    """Return the form of il: « mets » gives « met », « prends » « prend », « éteins » « éteint », « peux » « peut »."""
    if first.endswith(("ds", "ts")):
        return first[:-1]
    return first[:-1] + "t" if first.endswith(("s", "x")) else first


def _strong_root(root: str) -> str:
    """Return the root before a silent ending: « appel » gives « appell », « envoy » « envoi », « lev » « lèv »."""
    if root.endswith(("oy", "uy", "ay")):
        return root[:-1] + "i"
    if root.endswith(("ppel", "jet", "quet")):
        return root + root[-1]
    return re.sub(r"e([^aeiouyéè])$|é([^aeiouyéè]{1,2})$", lambda match: f"è{match[1] or match[2]}", root)


@lru_cache(maxsize=1)
def load_lexicon() -> Lexicon:
    """Read the lexicon that comes with the package."""
    text = Path(__file__).with_name("lexicon.toml").read_text(encoding="utf-8")
    file = msgspec.convert(tomllib.loads(text), _File)
    forms, plain = _forms(file)
    marks = _gather((word, name) for name, action in file.actions.items() for word in _phrases(action))
    return Lexicon(
        forms=forms,
        plain_forms=plain,
        actions=_gather((canonical(verb), name) for name, one in file.actions.items() for verb in one.verbs.split()),
        light={canonical(verb): kind for kind, verbs in reversed(file.light.items()) for verb in verbs.split()},
        nouns=_gather(_deed_names(file, things=False)),
        things=_gather(_deed_names(file, things=True)),
        english=_gather((word, name) for name, one in file.actions.items() for word in one.english.split()),
        marks=re.compile(r"\b(" + "|".join(map(re.escape, sorted(marks, key=len, reverse=True))) + r")(?:e?s)?\b"),
        mark_actions=marks,
        opposite={name: frozenset(one.opposite.split()) for name, one in file.actions.items()},
        near=_gather(
            pair
            for name, one in file.actions.items()
            for other in one.near.split()
            for pair in ((name, other), (other, name))
        ),
        sign={name: one.sign for name, one in file.actions.items()},
        same=_same(file.things.same),
        kinds=_gather(
            (group.split()[0] and stem(canonical(group.split()[0])), stem(canonical(word)))
            for group in file.things.kinds
            for word in group.split()[1:]
        ),
        common=frozenset(stem(canonical(word)) for word in file.things.common.split()),
        words=_word_sets(file.words),
        rivals={
            sort: frozenset(stem(canonical(one)) for one in things.split()) for sort, things in file.rivals.items()
        },
        cues={name: re.compile(pattern) for name, pattern in file.cues.items()},
        sounds={re.compile(letters): said for letters, said in file.sounds.items()},
        signs=file.signs,
    )


def _word_sets(words: Mapping[str, str]) -> dict[str, frozenset[str]]:
    sets = {kind: frozenset(canonical(word) for word in group.split()) for kind, group in words.items()}
    return sets | {
        "small": sets["function"] | sets["courtesy"] | sets["adverbs"],
        "empty": sets["function"] | sets["courtesy"] | sets["adverbs"] | sets["negations"],
        "polite": sets["courtesy"] | sets["adverbs"] | {"et", "puis", "ensuite"},
        "between": sets["adverbs"] | sets["negations"] | {"-je", "-vous", "un", "peu"},
    }


def _deed_names(file: _File, *, things: bool) -> Iterator[tuple[str, str]]:
    for name, action in file.actions.items():
        for noun in f"{action.nouns} {action.things if things else ''}".split():
            if "_" not in noun:
                yield stem(canonical(noun)), name


def _phrases(action: _Action) -> Iterator[str]:
    for word in (*action.marks.split(), *(noun for noun in f"{action.nouns} {action.things}".split() if "_" in noun)):
        yield canonical(word.replace("_", " ").replace("'", " "))


def _forms(file: _File) -> tuple[dict[str, tuple[VerbForm, ...]], dict[str, tuple[VerbForm, ...]]]:
    irregular = dict(file.verbs)
    for model, derived in file.models.items():
        for verb in derived.split():
            irregular[verb] = _derived(verb, model, file.verbs[model])
    verbs = {verb for action in file.actions.values() for verb in action.verbs.split()}
    verbs |= {verb for group in (*file.light.values(), *file.others.values()) for verb in group.split()}
    accented: dict[str, tuple[VerbForm, ...]] = {}
    plain: dict[str, tuple[VerbForm, ...]] = {}
    for verb in sorted(verbs | set(irregular)):
        for form, tense in conjugate(verb, irregular):
            entry = (canonical(verb), tense)
            for table, key in ((accented, form), (plain, canonical(form))):
                if entry not in table.get(key, ()):
                    table[key] = (*table.get(key, ()), entry)
    return accented, plain


def _derived(verb: str, model: str, parts: str) -> str:
    """Return the parts of `verb`, conjugated as `model` is, whose ending it shares."""
    shared = next(n for n in range(len(model)) if verb.endswith(model[n:]))
    prefix = verb.removesuffix(model[shared:])
    return re.sub(r"(?<![^ |])" + re.escape(model[:shared]), prefix, parts)


def _gather(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for key, value in pairs:
        table.setdefault(key, set()).add(value)
    return {key: frozenset(values) for key, values in table.items()}


def _same(groups: Iterable[str]) -> dict[str, frozenset[str]]:
    return _gather(
        (stem(canonical(one)), stem(canonical(other.replace("_", " "))))
        for group in groups
        for one in group.split()
        for other in group.split()
        if "_" not in one
    )
