"""Derive misheard commands from clean ones by rules of French phonetics.

The rules differ on purpose from those of the embedded pair's training corpus (`benchmarks/demo_pair/mishear.py`): an
adapter must not be measured by the very mistakes it was trained on. Both follow French, so some mistakes are common.
"""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from typing import Final, Literal

from pytest_jarvis.text import words
from pytest_jarvis.types import PromptCase

Mistake = Literal["homophone", "finale", "liaison", "coupure", "collage", "mot perdu"]
"""A word of the same sound; a silent ending; a liaison or elision heard as a word; one word cut in two; two words
written as one; a small word lost."""

MOST_MISTAKES: Final = 3

_HOMOPHONE_TABLE: Final = """
    mets, mais, mes, met; son, sont, sons; dix, dis, dit; sept, cette, set; vingt, vin, vain; cent, sans, sang;
    cinq, sein, saint; six, scie; deux, de; trois, troie; session, cession, sessions;
    dossier, dossiers, dossiez; chrome, crome, crom, krome; lyon, lion, lions; réduis, réduit, réduits;
    sur, sûre, sure; pour, pours; moi, mois; ton, thon, tont; temps, tant, tend; quart, car, cars;
    heure, heur, eur; note, notes, notte; dans, dent, d en; est, hait, haie; page, pages; vois, voix, voie;
    image, images; recette, recettes; crêpes, crêpe, crèpe; pièce, pièces; fin, faim; jazz, jase, jaz;
    hôtel, autel, hautel; lance, lances, l'anse; ferme, fermes, fers me
"""
_CUT_TABLE: Final = """
    minuteur: minute heure, minute or; dossier: dos scié, dos si et;
    téléchargements: télé chargements, télécharge ment; verrouille: vers rouille, ver rouille;
    calculatrice: calcul à trice, calcule atrice; internet: inter nette, un terre net;
    météo: mes théo, mets tes o; musique: mus hic, mue zique; classique: classe hic, clac sic;
    fenêtres: feu nêtre, fait naître; fenêtre: feu nêtre, fait naître; volume: vol hume, vole hume;
    capture: cap ture, cape tu re; ouvre: ou vre, où vre; cherche: cher che, chère che;
    spotify: spot if aille, spoti fi; documents: docu ment, dock eux ment;
    application: appli cation, à plis cassions; écran: et crans, est cran; préviens: prés viens, près vient;
    recette: re cette, re sept; augmente: aug mente, ogre mente; baisse: bai ce, bas esse;
    monte: mon te, mont eux; session: ses scions, c'est scions; firefox: faire fox, fire faux que
"""
_HOMOPHONES: Final = [tuple(group.strip().split(", ")) for group in _HOMOPHONE_TABLE.split(";")]
_CUTS: Final = dict(entry.strip().split(": ") for entry in _CUT_TABLE.split(";"))
_SMALL: Final = frozenset({"le", "la", "les", "un", "une", "de", "des", "du", "à", "mon", "ma"})
_VOWELS: Final = "aeiouyàâéèêëîïôûù"
_TOKEN: Final = re.compile(r"[^\W_]+(?:'(?=\w))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class MisheardPrompt:
    """A prompt as a recogniser may have heard it."""

    source: PromptCase
    meant: str
    """The clean command."""
    text: str
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One mistake: the tokens from `start` to `end` are heard as `heard`."""

    start: int
    end: int
    heard: str
    mistake: Mistake


def mishear_all(cases: Iterable[PromptCase], taken: Iterable[str] = ()) -> dict[str, tuple[MisheardPrompt, ...]]:
    """Return each case's new variants by id, fewest mistakes first; spelling, accents and `taken` make none new."""
    cases = tuple(cases)
    seen = {words(text) for case in cases for text in (case.text, _meant(case))} | {words(text) for text in taken}
    found: dict[str, tuple[MisheardPrompt, ...]] = {}
    for case in cases:
        own: list[MisheardPrompt] = []
        for text, mistakes in _variants(_meant(case)):
            if (form := words(text)) not in seen:
                seen.add(form)
                own.append(MisheardPrompt(source=case, meant=_meant(case), text=text, mistakes=mistakes))
        found[case.prompt_id] = tuple(own)
    return found


def draw_misheard(variants: dict[str, tuple[MisheardPrompt, ...]], number: int, seed: int) -> list[MisheardPrompt]:
    """Return `number` variants drawn by the seed, half with one mistake if possible; ValueError if there are fewer."""
    if number > (total := sum(map(len, variants.values()))):
        raise ValueError(f"{number} asked for, the rules make {total}")
    queues = {prompt_id: _shuffle(own, f"{seed} {prompt_id}") for prompt_id, own in variants.items()}
    drawn: list[MisheardPrompt] = []
    while len(drawn) < number:
        for queue in queues.values():
            if queue and len(drawn) < number:
                drawn.append(queue.pop())
    order = {prompt_id: place for place, prompt_id in enumerate(variants)}
    return sorted(drawn, key=lambda one: (order[one.source.prompt_id], len(one.mistakes), one.text))


def _shuffle(variants: Sequence[MisheardPrompt], seed: str) -> list[MisheardPrompt]:
    """Return the variants in the seed's order, to be taken from the end: one mistake and several alternately."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    simple = [one for one in variants if len(one.mistakes) == 1]
    others = [one for one in variants if len(one.mistakes) > 1]
    rng.shuffle(simple)
    rng.shuffle(others)
    mixed: list[MisheardPrompt] = []
    while simple or others:
        mixed += [queue.pop() for queue in (others, simple) if queue]
    return mixed[::-1]


def _meant(case: PromptCase) -> str:
    """Return the clean command of a case, which may be misheard itself."""
    return case.intended or case.text


def _variants(text: str) -> Iterator[tuple[str, tuple[Mistake, ...]]]:
    """Yield the text with one, two and three mistakes that do not overlap."""
    tokens = _TOKEN.findall(text.lower().replace("’", "'"))
    by_span: dict[tuple[int, int], list[_Change]] = {}
    for change in _changes(tokens):
        by_span.setdefault((change.start, change.end), []).append(change)
    for count in range(1, MOST_MISTAKES + 1):
        for spans in combinations(sorted(by_span), count):
            if any(second[0] < first[1] for first, second in pairwise(spans)):
                continue
            for chosen in product(*(by_span[span] for span in spans)):
                yield _apply(tokens, chosen), tuple(change.mistake for change in chosen)


def _apply(tokens: Sequence[str], changes: Sequence[_Change]) -> str:
    parts: list[str] = []
    place = 0
    for change in changes:
        parts += [*tokens[place : change.start], change.heard]
        place = change.end
    parts += tokens[place:]
    return " ".join(part for part in parts if part).replace("' ", "'")


def _changes(tokens: Sequence[str]) -> Iterator[_Change]:
    for place, token in enumerate(tokens):
        homophones = [other for group in _HOMOPHONES if token in group for other in group if other != token]
        found: list[tuple[Mistake, Iterable[str]]] = [
            ("homophone", homophones),
            ("coupure", _CUTS[token].split(", ") if token in _CUTS else ()),
            ("finale", _endings(token, first=place == 0)),
        ]
        for mistake, variants in found:
            for heard in variants:
                yield _Change(start=place, end=place + 1, heard=heard, mistake=mistake)
        if place + 1 < len(tokens):
            yield from _between(tokens, place)
        if token in _SMALL and 0 < place < len(tokens) - 1:
            yield _Change(start=place, end=place + 1, heard="", mistake="mot perdu")


def _endings(token: str, *, first: bool) -> Iterator[str]:
    """Yield the word with other silent endings; the first word, a verb, also with a verb's."""
    if len(token) < 4:
        return
    if token.endswith("er"):
        yield from (f"{token[:-2]}é", f"{token[:-2]}ez")
    elif token.endswith("é"):
        yield from (f"{token[:-1]}er", f"{token}e")
    elif token.endswith("es"):
        yield token[:-1]
    elif token.endswith("e"):
        yield from (f"{token}s", f"{token}nt") if first else (f"{token}s",)
    elif token[-1] in "stdx":
        yield token[:-1]
    else:
        yield f"{token}s"


def _between(tokens: Sequence[str], place: int) -> Iterator[_Change]:
    """Yield the mistakes between a word and the next: liaison, elision, two words written as one."""
    first, second = tokens[place], tokens[place + 1]
    spoken = second.removeprefix("h")
    begins_with_vowel = spoken[0] in _VOWELS if spoken else False
    heard: list[tuple[str, Mistake]] = []
    if first == "d'":
        heard += [(f"des {second}", "liaison"), (f"de {second}", "liaison")]
    elif first == "l'":
        heard += [(f"le {second}", "liaison"), (f"la {second}", "liaison"), (f"l{spoken}", "collage")]
    elif first in {"un", "mon", "ton"} and begins_with_vowel:
        heard += [(f"{first} n{spoken}", "liaison"), (f"{first} nos {spoken}", "liaison")]
    elif first in {"les", "des", "mes", "dans"} and begins_with_vowel:
        heard += [(f"{first} z{spoken}", "liaison"), (f"{first} aux {spoken}", "liaison")]
    elif first in _SMALL:
        heard += [(f"{first}{second}", "collage")]
    for text, mistake in heard:
        yield _Change(start=place, end=place + 2, heard=text, mistake=mistake)
