"""Mishearings made by rule: what French phonetics lets a speech recogniser write instead of what was said."""

import random
import re
from collections.abc import Callable

from demo_pair.lexicon import words

_VOWEL = "aeiouyàâéèêîôû"
# Spellings that sound (nearly) the same, tried on a random word. Rules, not a list of words.
_SPELLINGS: tuple[tuple[str, str], ...] = (
    (r"ph", "f"),
    (r"qu", "k"),
    (r"^ch(?=r)", "k"),
    (r"^ch(?=r)", "c"),
    (r"c(?=[aour])", "k"),
    (r"c(?=[eéiy])", "ss"),
    (r"eau", "o"),
    (r"au", "o"),
    (r"o(?=[tnlrm])", "au"),
    (r"ai", "é"),
    (r"è|ê", "ai"),
    (r"é$", "er"),
    (r"é", "ai"),
    (r"er$", "é"),
    (r"en(?=[tdscq])", "an"),
    (r"em(?=[pb])", "am"),
    (r"an(?=[tdscq])", "en"),
    (r"in(?=[tdscqe])", "ain"),
    (r"ss", "c"),
    (rf"(?<=[{_VOWEL}])s(?=[{_VOWEL}])", "z"),
    (r"y", "i"),
    (r"ify$", "ifaï"),
    (r"oo", "ou"),
    (r"w", "ou"),
    (r"x", "ks"),
    (r"k$", "que"),
    (r"([ltmnpf])\1", r"\1"),
    (r"(?<=[aeiou])([ltmn])(?=[aeiou])", r"\1\1"),
    (r"e$", ""),
    (r"([rmtlnk])$", r"\1e"),
    (r"h", ""),
    (r"g(?=[ei])", "j"),
    (r"j", "g"),
    (r"oi", "oua"),
    (r"tion", "ssion"),
    (r"eur$", "eure"),
    (r"ier$", "ié"),
)
_SOUNDS = tuple((re.compile(pattern), spelling) for pattern, spelling in _SPELLINGS)
_LIAISONS = (
    (re.compile(rf"\bun (?=h?[{_VOWEL}])h?"), "un n"),
    (re.compile(rf"\b(les|mes|des) (?=[{_VOWEL}])"), r"\1 z"),
    (re.compile(rf"\bd'(?=[{_VOWEL}])"), "dé "),
    (re.compile(rf"\bl'(?=[{_VOWEL}])"), "l "),
    (re.compile(rf"\bl'(?=[{_VOWEL}])"), "le "),
    (re.compile(rf"\bj'(?=[{_VOWEL}])"), "j "),
)
# What a recogniser that knows words only writes for a piece of one.
_PIECES = dict(
    entry.split(":")
    for entry in words(
        "ver:vert fen:faon mi:mie nu:nue teur:heure fi:fit lo:lot to:tôt ra:rat ri:riz vi:vie di:dit té:thé mé:mes "
        "pé:paix ca:cas pa:pas ma:mât ta:tas la:las tu:tue ru:rue su:sue dé:dès cé:ses cha:chat che:chez ba:bas "
        "bo:beau mo:mot no:nos po:peau so:seau ro:rôt tre:traie vre:vrai lume:lune dio:dieu fox:fausse pho:faux "
        "ter:terre net:nette gle:aigle ti:y fy:fille cord:corps der:derrière zoom:zone tail:taille rait:raie nou:nous",
        " ",
    )
)
_GLUE = re.compile(r"\b(le|la|du|de|un|une|mon|ma|en) (?=\w)")
_WORD = re.compile(r"[^\W\d_]{4,}")


def mishear(said: str, rng: random.Random) -> str:
    """Give the command as a recogniser may write it: one to three mistakes of sound, cut, glue, liaison or ending."""
    text = said.lower().rstrip(" .!")
    changes: tuple[Callable[[str, random.Random], str], ...] = (
        _sound,
        _sound,
        _sound,
        _split,
        _liaison,
        _glue,
        _ending,
    )
    wanted = rng.choice((1, 1, 2, 2, 3))
    for _ in range(20):
        changed = rng.choice(changes)(text, rng)
        if changed != text:
            text, wanted = changed, wanted - 1
        if wanted == 0:
            break
    return text


def _on_a_word(text: str, rng: random.Random, change: Callable[[str], str]) -> str:
    long = list(_WORD.finditer(text))
    if not long:
        return text
    word = rng.choice(long)
    return text[: word.start()] + change(word.group()) + text[word.end() :]


def _sound(text: str, rng: random.Random) -> str:
    def respell(word: str) -> str:
        fitting = [rule for rule in _SOUNDS if rule[0].search(word)]
        if not fitting:
            return word
        pattern, spelling = rng.choice(fitting)
        return pattern.sub(spelling, word, count=1)

    return _on_a_word(text, rng, respell)


def _split(text: str, rng: random.Random) -> str:
    def cut(word: str) -> str:
        # After a vowel and before a consonant and a vowel: where a syllable may be heard to end.
        places = [m.end() for m in re.finditer(rf"[{_VOWEL}](?=[^\W{_VOWEL}]r?[{_VOWEL}])", word)]
        places = [place for place in places if 1 < place < len(word) - 1]
        if not places:
            return word
        place = rng.choice(places)
        return " ".join(_PIECES.get(piece, piece) for piece in (word[:place], word[place:]))

    return _on_a_word(text, rng, cut)


def _liaison(text: str, rng: random.Random) -> str:
    pattern, spelling = rng.choice(_LIAISONS)
    return pattern.sub(spelling, text, count=1)


def _glue(text: str, rng: random.Random) -> str:
    places = list(_GLUE.finditer(text))
    if not places:
        return text
    place = rng.choice(places)
    return text[: place.end(1)] + text[place.end() :]


def _ending(text: str, rng: random.Random) -> str:
    def change(word: str) -> str:
        if word.endswith("e"):
            return rng.choice((word + "s", word + "nt", word[:-1]))
        if word[-1] in "stdx":
            return word[:-1]
        return word + rng.choice(("e", "s", "t"))

    return _on_a_word(text, rng, change)
