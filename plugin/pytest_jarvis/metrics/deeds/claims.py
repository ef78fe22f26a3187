"""What an answer says was done: each verb, participle or name of a deed, with who does it, when, and to what."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from typing import Final, Literal

from pytest_jarvis.metrics.deeds.lexicon import Lexicon, Light, Tense, VerbForm
from pytest_jarvis.metrics.deeds.sentences import Sentence, Word

Kind = Literal[
    "first",
    "passive",
    "reflexive",
    "active",
    "state",
    "participle",
    "noun",
    "here",
    "order",
    "user",
    "modal",
    "infinitive",
    "stays",
]
"""first: I or we do it. passive, reflexive, state: it is done, it does itself, it is so. active: a thing does it.
participle, noun: without a verb (« Volume augmenté. », « Fermeture de Word »). here: « voici ». order: an imperative.
user: you do it. modal: I can, want to, try to. infinitive: it is named, not said to be done. stays: it is so still.
"""
Time = Literal["past", "now", "future", "conditional"]

CLAIMING: Final[frozenset[Kind]] = frozenset(
    {"first", "passive", "reflexive", "active", "state", "participle", "noun", "here"}
)

_MADE: Final = re.compile(r"..[^aeiouyé](é|ée|és|ées)$")
"""A participle of the first group that the lexicon does not have."""
_RESULTS: Final[frozenset[Kind]] = frozenset({"passive", "reflexive", "active", "state", "stays"})
_INSTEAD: Final = {
    ("plutot", "que"), ("plutot", "qu"), ("au", "lieu"), ("place", "de"), ("place", "d"), ("et", "non"), (",", "non"),
    ("et", "pas"), (",", "pas"),
}  # fmt: skip
_STOPS: Final = frozenset({",", ":", "(", ")"})
_TIMES: Final[dict[Tense, Time]] = {"future": "future", "conditional": "conditional", "past": "conditional"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One deed that a sentence speaks of."""

    verb: str
    """Infinitive without accents, or the word as it stands when it is not known; the noun for a deed's name."""
    kind: Kind
    time: Time = "now"
    negated: bool = False
    hypothetical: bool = False
    """Whether it stands after « que », « si », « quand »."""
    no_longer: bool = False
    """Whether it is denied with « plus »: it was so before."""
    pronoun: bool = False
    """Whether a pronoun stands for what it is done to."""
    light: Light | None = None
    actions: frozenset[str] = frozenset()
    spoken: str = ""
    """The verb with what belongs to it, as it stands."""
    words: tuple[Word, ...] = ()
    """What it is done to, as far as that is said: content words and numbers."""
    at: int = 0
    """Index of its first word in the sentence."""
    end: int = 0
    led: str = ""
    """The word before it."""


class ClaimReader:
    """Reads the claims of one sentence, from left to right."""

    def __init__(self, sentence: Sentence, lexicon: Lexicon, names: Container[str] = ()) -> None:
        self.words = sentence.words
        self.lexicon = lexicon
        self.sets = lexicon.words
        self.names = names
        """Stems of things that the command named: they are no verbs (« Entrée éteinte »)."""
        self.bare = sentence.said.isascii() and not any(word.text != word.plain for word in sentence.words)
        self.shouted = sum(word.capital for word in self.words) > len(self.words) / 2
        self.clause_has_verb = False
        self.clause_start = 0
        self.last_kind: Kind | None = None

    def read(self) -> list[Claim]:
        """Return the claims in their order, each with its own words."""
        found: list[Claim] = []
        at = 0
        while at < len(self.words):
            word = self.words[at]
            if word.plain in _STOPS or word.quoted:
                if word.plain in _STOPS:
                    self.clause_has_verb, self.clause_start = False, at + 1
                at += 1
                continue
            claim = self._claim(at)
            if claim is None:
                at += 1
                continue
            self.clause_has_verb = claim.kind != "noun"
            self.last_kind = claim.kind
            found.append(claim)
            at = max(claim.end, at + 1)
        if not found and self.words:
            said = " ".join(word.plain for word in self.words if not word.quoted)
            marks = self.lexicon.marks.findall(said)
            actions = frozenset[str]().union(*(self.lexicon.mark_actions[mark] for mark in marks))
            found = [Claim(verb=marks[0] if marks else "", kind="state", actions=actions)]
        return self._with_words([self._said_of(claim) for claim in found if not self._describes(claim, found)])

    def _describes(self, claim: Claim, found: list[Claim]) -> bool:
        """Whether a participle but describes: « trop élevé », « vos fichiers sont là, rangés par date »."""
        if claim.kind != "participle" or not claim.at:
            return False
        before = self.words[claim.at - 1].plain
        if before in self.sets["etre"] | self.sets["degrees"]:
            return True
        earlier = [one for one in found if one.at < claim.at]
        if before != "," or not earlier:
            return False
        return earlier[-1].kind not in {"first", "participle"} or earlier[-1].time != "past"

    def _said_of(self, claim: Claim) -> Claim:
        """Mark what « que » goes before as no claim of its own: « ce que dit Julie »."""
        before = self.words[claim.at - 1].plain if claim.at else ""
        if claim.kind == "active" and before in {"que", "qu"}:
            return replace(claim, hypothetical=True)
        around = {word.plain for word in self.words[max(0, claim.at - 2) : claim.end + 1]}
        pronoun = claim.pronoun or (claim.kind in _RESULTS and before in self.sets["pronouns"])
        return replace(claim, no_longer=claim.negated and "plus" in around, pronoun=pronoun, led=before)

    def _plain(self, at: int) -> str:
        """Return a word in canonical form; nothing outside of the sentence."""
        return self.words[at].plain if 0 <= at < len(self.words) else ""

    def _claim(self, at: int) -> Claim | None:
        """Read the claim that begins with a word; None where none does."""
        word = self._plain(at)
        if self.words[at].text == "à":
            return None
        if word in {"voici", "voila"}:
            return self._shown(at)
        if word in self.sets["first"]:
            return self._subject(at, "first")
        if word in self.sets["second"] and self._plain(at - 1) not in self.sets["first"]:
            return self._subject(at, "user")
        if any(word in self.sets[verb] for verb in ("etre", "avoir", "aller", "venir")):
            return self._auxiliary(at, "active")
        return self._lexical(at + 1, at, "reflexive") if word in {"se", "s"} else self._bare(at)

    def _shown(self, at: int) -> Claim | None:
        """Read « voici », and « voilà » where it shows something."""
        if self._plain(at) == "voila" and self._plain(at + 1) not in self.sets["determiners"]:
            return None
        return Claim(verb=self._plain(at), kind="here", actions=frozenset({"show", "open"}), at=at, end=at + 1)

    # ------------------------------------------------------------------ with a subject

    def _subject(self, at: int, kind: Kind) -> Claim | None:
        """Read the verb group that follows « je », « on », « vous »."""
        hypothetical = self._plain(at - 1) in self.sets["hypothetical"]
        verb_at, negated, pronoun = self._skip_clitics(at + 1)
        if verb_at >= len(self.words):
            return None
        claim = self._auxiliary(verb_at, kind) or self._lexical(verb_at, at, kind)
        if claim is None:
            return None
        return replace(
            claim, at=at, negated=claim.negated or negated, hypothetical=hypothetical, pronoun=claim.pronoun or pronoun
        )

    def _skip_clitics(self, at: int) -> tuple[int, bool, bool]:
        """Return where the verb is, whether « ne » stands before it, and whether an object pronoun does."""
        negated = pronoun = False
        sets = self.lexicon.words
        while at < len(self.words):
            word = self.words[at].plain
            if word in {"ne", "n"}:
                negated = True
            elif word in sets["clitics"]:
                pronoun = pronoun or word in {"le", "la", "l", "les", "en", "ca", "cela", "tout", "y"}
            elif word not in sets["adverbs"] or self._forms(at):
                break
            at += 1
        return at, negated, pronoun

    def _denied(self, at: int) -> bool:
        """Whether « pas », « rien », « plus » follows the verb, or « ne » stands before it."""
        before = {word.plain for word in self.words[max(0, at - 3) : at] if word.plain not in _STOPS}
        return bool(before & {"ne", "n"}) or self._plain(at + 1) in {"pas", "rien"}

    def _auxiliary(self, at: int, kind: Kind) -> Claim | None:
        """Read « est fermé », « ai fermé », « vais fermer », « viens de fermer », « suis en train de fermer »."""
        word = self.words[at].plain
        if word in self.sets["aller"] and (self._next_infinitive(at + 1)):
            return self._deferred(at, kind, "future")
        if word in self.sets["venir"]:
            return self._deferred(at, kind, "past")
        if word in self.sets["etre"] or word in self.sets["avoir"]:
            return self._compound(at, kind)
        return None

    def _compound(self, at: int, kind: Kind) -> Claim | None:
        """Read « être » or « avoir » with its participle, or with what things are."""
        place = self._skip(at + 1)
        been = self._plain(place) == "ete"
        place = self._skip(place + 1) if been else place
        if (self._plain(at + 1), self._plain(at + 2)) == ("en", "train"):
            return self._deferred(at, kind, "now")
        if self._plain(place) in self.sets["nearly"]:
            return self._deferred(place, "modal", "past")
        if form := self._form(place, "participle"):
            return self._participle_of(form[0], at, place, kind, been=been)
        being = been or self._plain(at) in self.sets["etre"]
        made = place < len(self.words) and _MADE.search(self.words[place].text)
        if being and made and kind not in {"user", "first"}:
            return self._made(self._plain(place), "passive", at, place + 1, time="past", negated=self._denied(at))
        if self._plain(at) == "a" and kind == "active" and self._plain(at - 1) != "y":
            return None
        etre = self._plain(at) in self.sets["etre"]
        shown: Kind = "state" if etre and kind != "user" else kind
        return Claim(verb="etre" if etre else "avoir", kind=shown, negated=self._denied(at), at=at, end=at + 1)

    def _participle_of(self, verb: str, at: int, place: int, kind: Kind, *, been: bool) -> Claim | None:
        """Read the participle of a compound form: « est fermé », « ai essayé de fermer », « est resté ouvert »."""
        word, negated = self._plain(at), self._denied(at)
        if kind != "user" and verb in self.sets["modal"]:
            return self._deferred(place, "modal", "past")
        if verb in {"faire", "regler", "partir"} and kind == "active" and self._plain(at - 1) in {"c", "ca", "voila"}:
            return None
        if verb in {"rester", "demeurer"} and (stays := self._form(self._skip(place + 1), "participle")):
            return self._made(stays[0], "stays", at, place + 2)
        if verb not in self.lexicon.actions and (goal := self._taken_on(place, verb)) is not None:
            return self._made(self._infinitive(goal), kind, at, goal + 1, time="past", negated=negated)
        being = been or word in self.sets["etre"]
        passive = being and (
            kind not in {"user", "first"} or (kind == "user" and not been and verb in self.lexicon.actions)
        )
        shown: Kind = "passive" if passive else kind
        if passive and {"toujours", "encore"} & {one.plain for one in self.words[at + 1 : place]}:
            shown = "stays"
        time: Time = "future" if word.startswith(("ser", "aur")) else "past"
        if word in {"serait", "seraient", "etait", "etaient"}:
            time = "conditional"
        return self._made(verb, shown, at, place + 1, time=time, negated=negated)

    def _infinitive(self, at: int) -> str:
        """Return an infinitive without its accents, or the word as it stands."""
        form = self._form(at, "infinitive")
        return form[0] if form else self._plain(at)

    def _deferred(self, at: int, kind: Kind, time: Time) -> Claim | None:
        """Read an infinitive that carries the meaning, « être » and a participle among them."""
        place = self._next_infinitive(at + 1)
        if place is None:
            return None
        if self.words[place].plain == "etre":
            participle = self._skip(place + 1)
            if form := self._form(participle, "participle"):
                return self._made(form[0], "passive", at, participle + 1, time=time, negated=self._denied(at))
        pronoun = any(word.plain in {"le", "la", "l", "les"} for word in self.words[at + 1 : place])
        verb = self._infinitive(place)
        shown: Kind = "modal" if verb in self.sets["modal"] else kind
        if verb == "etre":
            shown = "state"
        made = self._made(verb, shown, at, place + 1, time=time, negated=self._denied(at))
        return replace(made, pronoun=pronoun)

    def _next_infinitive(self, at: int) -> int | None:
        for place in range(at, min(at + 6, len(self.words))):
            word = self.words[place]
            if word.plain in _STOPS:
                return None
            if self._form(place, "infinitive") or (
                word.plain.endswith(("er", "ir"))
                and len(word.plain) > 4
                and self.words[place - 1].plain not in self.sets["determiners"] - {"le", "la", "l", "les", "de", "d"}
            ):
                return place
        return None

    def _lexical(self, at: int, start: int, kind: Kind) -> Claim | None:
        """Read a verb that means what it says, or a modal with its infinitive."""
        form = self._form(at, "present", "future", "conditional", "plural", "you", "past")
        if form is None:
            return None
        verb, tense = form
        negated = self._denied(at)
        if verb in self.sets["modal"]:
            place = self._next_infinitive(at + 1)
            named = self._infinitive(place) if place is not None else verb
            modal: Kind = "user" if kind == "user" else "modal"
            return self._made(named, modal, start, (place or at) + 1, negated=negated, time=_TIMES.get(tense, "now"))
        if (place := self._taken_on(at, verb)) is not None:
            return self._made(self._infinitive(place), kind, start, place + 1, negated=negated)
        return self._made(verb, kind, start, at + 1, time=_TIMES.get(tense, "now"), negated=negated)

    def _taken_on(self, at: int, verb: str) -> int | None:
        """Return where the infinitive is that a verb goes on to: « je m'occupe de fermer », « je fais descendre »."""
        if verb == "faire" and self._form(self._skip(at + 1), "infinitive"):
            return self._skip(at + 1)
        if verb in self.sets["holds_back"] or at + 2 >= len(self.words):
            return None
        if self.words[at + 1].plain not in {"de", "d", "a", "pour"} and verb != "laisser":
            return None
        return next((place for place in range(at + 2, at + 5) if self._form(place, "infinitive")), None)

    # ------------------------------------------------------------------ without a subject

    def _bare(self, at: int) -> Claim | None:
        """Read a word that no pronoun goes before: the first reading that fits."""
        if self._plain(at) in self.sets["function"]:
            return None
        for reading in (self._named, self._ordered_by_ending, self._participle, self._order, self._third_person):
            if claim := reading(at):
                return claim
        return None if self.clause_has_verb else self._noun(at)

    def _before(self, at: int) -> str:
        return self._plain(at - 1) if at > self.clause_start else ""

    def _opens(self, at: int) -> bool:
        """Whether nothing but courtesy and adverbs stands before a word in its clause."""
        polite = self.sets["polite"]
        return all(one.plain in polite for one in self.words[self.clause_start : at])

    def _named(self, at: int) -> Claim | None:
        """Read an infinitive: a deed that is named, or announced with « laissez-moi »."""
        if not self._form(at, "infinitive"):
            return None
        announced = self._before(at) in {"moi", "-moi"} or self._plain(at - 2) in {"laissez", "permettez"}
        return self._made(self._infinitive(at), "first" if announced else "infinitive", at, at + 1)

    def _ordered_by_ending(self, at: int) -> Claim | None:
        """Read « cliquez », or « voulez-vous »."""
        form = self._form(at, "you")
        if form is None or not self._opens(at):
            return None
        asked = self._plain(at + 1) in {"-vous", "-tu"}
        return self._made(form[0], "user" if asked else "order", at, at + 1, negated=self._denied(at))

    def _participle(self, at: int) -> Claim | None:
        """Read « volume augmenté », where no verb stands before."""
        form, before = self._form(at, "participle"), self._before(at)
        if form is None or self.words[at].stem in self.names or (self.clause_has_verb and not self._goes_on(at)):
            return None
        if self._plain(self.clause_start) in self.sets["places"] or before in self.sets["never_before_participle"]:
            return None
        alone = len(self.words) == 1 and self.words[at].text in self.lexicon.forms
        if self._form(at, "present") and ((self.bare and not alone) or before in self.sets["third"]):
            return None
        return self._made(form[0], "participle", at, at + 1, time="past", negated=self._none_before(at))

    def _order(self, at: int) -> Claim | None:
        """Read « clique », which the name of a deed may look like: « recherche lancée »."""
        word = self.words[at]
        if word.stem in self.names or self._before(at) in self.sets["determiners"] or not self._opens(at):
            return None
        if word.stem in self.lexicon.nouns and self._plain(at + 1) not in self.sets["articles"]:
            return self._noun(at)
        form = self._form(at, "present")
        if form is None or (word.capital and at > 0):
            return None
        return self._made(form[0], "order", at, at + 1, negated=self._denied(at))

    def _third_person(self, at: int) -> Claim | None:
        """Read « Vivaldi démarre », and « Word reste ouvert »."""
        if self.words[at].stem in self.names or self._before(at) in self.sets["determiners"]:
            return None
        form = self._form(at, "present", "future", "plural")
        if form is None or self.clause_has_verb or self._opens(at):
            return None
        if form[0] in {"rester", "demeurer"} and (stays := self._form(self._skip(at + 1), "participle")):
            return self._made(stays[0], "stays", at, self._skip(at + 1) + 1)
        return self._made(form[0], "active", at, at + 1, time=_TIMES.get(form[1], "now"), negated=self._denied(at))

    def _goes_on(self, at: int) -> bool:
        """Whether « et » and a noun lead from one participle to the next: « volume monté et playlist relancée »."""
        around = [word.plain for word in self.words[max(0, at - 3) : at]]
        return (
            self.last_kind in {"participle", "passive"}
            and "et" in around
            and around[-1] not in {"et", *self.sets["etre"]}
        )

    def _none_before(self, at: int) -> bool:
        return any(
            word.plain in {"aucun", "aucune", "pas", "non", "rien", "jamais"}
            for word in self.words[self.clause_start : at]
        )

    def _noun(self, at: int) -> Claim | None:
        word = self.words[at]
        actions = self.lexicon.nouns.get(word.stem)
        if actions is None:
            return None
        return Claim(verb=word.plain, kind="noun", actions=actions, negated=self._none_before(at), at=at, end=at + 1)

    # ------------------------------------------------------------------ forms and words

    def _skip(self, at: int) -> int:
        """Pass over adverbs, negations and pronouns between an auxiliary and its participle."""
        passed = self.sets["between"]
        while at < len(self.words) and self.words[at].plain in passed:
            at += 1
        return at

    def _forms(self, at: int) -> Sequence[VerbForm]:
        word = self.words[at]
        if word.quoted or (word.capital and at and self.words[at - 1].plain not in _STOPS and not self.shouted):
            return ()
        forms = self.lexicon.forms.get(word.text, ())
        if word.text == word.plain and (self.bare or not forms):
            forms = (*forms, *self.lexicon.plain_forms.get(word.plain, ()))
        return forms

    def _form(self, at: int, *tenses: Tense) -> VerbForm | None:
        if at >= len(self.words):
            return None
        return next((form for form in self._forms(at) if form[1] in tenses), None)

    def _made(self, verb: str, kind: Kind, at: int, end: int, *, time: Time = "now", negated: bool = False) -> Claim:
        actions = self.lexicon.actions.get(verb, frozenset())
        light = self.lexicon.light.get(verb)
        return Claim(verb=verb, kind=kind, time=time, negated=negated, actions=actions, light=light, at=at, end=end)

    def _with_words(self, claims: list[Claim]) -> list[Claim]:
        """Give each claim the words that belong to it: what follows it, and its subject where that undergoes it."""
        result: list[Claim] = []
        claims = [
            claim
            for claim, following in zip_longest(claims, claims[1:])
            if claim and not self._is_subject(claim, following)
        ]
        for index, claim in enumerate(claims):
            first = claims[index - 1].end if index else 0
            last = claims[index + 1].at if index + 1 < len(claims) else len(self.words)
            if index + 1 < len(claims) and claims[index + 1].kind in _RESULTS | {"participle"}:
                last = max(self._subject_start(claims[index + 1], claim.end), claim.end)
            before: Sequence[Word] = ()
            if claim.kind not in {"first", "noun", "here", "order", "infinitive", "user"}:
                before = self.words[max(self._subject_start(claim, first), first) : claim.at]
            spoken = " ".join(word.plain for word in self.words[claim.at : claim.end])
            result.append(replace(claim, spoken=spoken, words=_meant((*before, *self.words[claim.end : last]))))
        return result

    def _is_subject(self, claim: Claim, following: Claim | None) -> bool:
        """Whether the name of a deed is but the subject of the verb that follows: « la lecture a commencé »."""
        if (
            claim.kind not in {"noun", "participle"}
            or following is None
            or following.kind not in {"passive", "participle", "active", "reflexive", "state"}
        ):
            return False
        if claim.kind == "participle" and following.kind == "participle":
            return False
        return not any(word.plain in {",", "(", ")", "et"} for word in self.words[claim.end : following.at])

    def _subject_start(self, claim: Claim, floor: int) -> int:
        """Return where the subject of a claim begins: after the last comma or « que », or at `floor`."""
        place = claim.at
        while place > floor and self.words[place - 1].plain in self.sets["clitics"] | {"ne", "n"}:
            place -= 1
        if claim.kind in _RESULTS and place and self.words[place - 1].plain in self.sets["pronouns"]:
            return claim.at
        place = claim.at
        stops = {",", "(", ")"} if claim.kind == "first" else {",", "(", ")", "que", "qu"}
        stops |= {"et"} if claim.kind == "participle" else set()
        while place > floor and self.words[place - 1].plain not in stops:
            place -= 1
        return place


def _meant(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Leave out what a claim is said not to be done to: « plutôt que Word », « et non Word »."""
    pairs = [(one.plain, other.plain) for one, other in pairwise(words)]
    return words[: next((place for place, pair in enumerate(pairs) if pair in _INSTEAD), len(words))]
