"""An answer cut into sentences of words, with what is quoted, asked or listed marked; and the quantities in words."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pytest_jarvis.metrics.deeds.lexicon import Lexicon, stem
from pytest_jarvis.text import canonical

_STRAIGHT: Final = str.maketrans("’‘ʼ´`“”\u2010\u2011–—[]", "'''' «»--,,()")
_USER: Final = re.compile(r"^\W*(utilisateur|user|humain|human|client|moi|question|q|utilisatrice)\s*:", re.IGNORECASE)
_ASSISTANT: Final = re.compile(r"^\W*(assistant|jarvis|ia|ai|bot|réponse|reponse|r|answer)\s*:\s*", re.IGNORECASE)
_ROLEPLAY: Final = re.compile(r"(?<!\*)\*([a-zà-ÿ][^*\n]*)\*(?!\*)")
_ITEM: Final = re.compile(r"^\s*(?:[*•–>]|[-+](?=\D)|\d{1,2}\s?[.)](?=\s)|#+|[✔✅☑])+\s*")
_QUOTED: Final = re.compile(r"«([^»]*)(?:»|$)|\"([^\"\n]*)(?:\"|$)|(?<!\w)'([^'\n]{2,60})'(?!\w)")
_SPLIT: Final = re.compile(r"(?<=[.!?…;])\s+|(?<=[.!?…])(?=[A-ZÀ-Ý])|\n+")
_WORD: Final = re.compile(
    r"[^\W\d_]+'|\d+(?:[:h]\d\d)+|[+-]?\d+(?:[.,]\d+)?|[^\W\d]+(?:-[^\W\d_]+)*\d*|[%+]|[,:()\ue000\ue001]"
)
_CLITIC: Final = re.compile(r"-(je|tu|il|elle|on|nous|vous|ils|elles|moi|toi|le|la|les|lui|leur|y|en|ce|t)(?=-|$)")
_KEPT: Final = frozenset({"rendez-vous", "aujourd'hui", "week-end"})
_BEFORE_SOUND: Final = frozenset({"le", "du", "au", "un", "de", "ce", "plus", "quel", ",", "et"})
"""After these « son » is a sound, not « his »: it is read as « sons », which is nothing else."""
_TAG: Final = re.compile(r",\s*(non|hein|n'est-ce pas|d'accord|ok|ça va|ça vous va|pas vrai)\s*\?", re.IGNORECASE)
"""Ends a statement as a question would: « C'est mieux, non ? »."""
_OPEN, _CLOSE = "\ue000", "\ue001"

Unit = Literal["seconds", "percent", "clock", "none"]

_ONES: Final = "zero un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"
_TENS: Final = {"vingt": 20, "vingts": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60}
_LARGE: Final = {"cent": 100, "cents": 100, "mille": 1000}
_WORDS: Final = {word: number for number, word in enumerate(_ONES.split())} | {"une": 1} | _TENS | _LARGE
_SECONDS: Final = {
    **dict.fromkeys(("seconde", "secondes", "sec", "s", "second", "seconds"), 1.0),
    **dict.fromkeys(("minute", "minutes", "min", "mins", "minuttes", "mn", "minuts"), 60.0),
    **dict.fromkeys(("heure", "heures", "h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("jour", "jours", "day", "days"), 86400.0),
}
_PERCENT: Final = frozenset({"%", "pourcent", "pourcents", "pourcentage", "points", "point", "crans", "percent"})
_CLOCK: Final = re.compile(r"(\d{1,2})[h:](\d{2})?")
_LONG_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})")
_DIGITS: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_AT_THE_HOUR: Final = frozenset({"a", "vers", "des", "est", "avant", "sera"})
"""What goes before an hour of the day, not before a duration."""
_LATE: Final = 7  # From which number on hours with minutes and nothing before them are an hour of the day.


@dataclass(frozen=True, slots=True)
class Word:
    """A word, number or comma of a sentence."""

    text: str
    """In small letters, with its accents."""
    plain: str
    stem: str
    capital: bool
    quoted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence, or a line of a list."""

    words: tuple[Word, ...]
    asked: bool
    exclaimed: bool
    item: bool
    """Whether it is a line of a list."""
    cut: bool
    """Whether it is the last of its text and has no end."""
    said: str
    """Its words in canonical form, without what is quoted, a space between two."""
    starts: tuple[int, ...]
    """Where each word begins in `said`."""

    found: dict[str, int | None] = field(default_factory=dict, compare=False, repr=False)
    """What `cue` found, as it is asked for several times."""

    def cue(self, lexicon: Lexicon, name: str) -> int | None:
        """Return the index of the first word of a turn of phrase; None where there is none."""
        if name not in self.found:
            match = lexicon.cues[name].search(self.said)
            self.found[name] = None if match is None else bisect_left(self.starts, match.start())
        return self.found[name]


def read_sentences(text: str) -> list[Sentence]:
    """Return the sentences of an answer; what another speaker says in it is left out."""
    lines = list(_own_lines(unicodedata.normalize("NFC", text.translate(_STRAIGHT))))
    found = [
        sentence
        for line, item in lines
        for part in _SPLIT.split(_mark_quotes(line))
        if part.strip() and (sentence := _sentence(part.strip(), item=item))
    ]
    if found and found[-1].cut is False and not re.search(r"[.!?…:)»\"*`\ue001\W]\s*$", text.strip()):
        found[-1] = replace(found[-1], cut=True)
    return found


def _own_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the lines that the assistant says, without marks of Markdown, and whether each is an item of a list."""
    for raw in text.replace("**", "").replace("__", "").split("\n"):
        if _USER.match(raw):
            continue
        line = _ROLEPLAY.sub(r" il \1. ", _ASSISTANT.sub("", raw))
        if line.startswith("```"):
            continue
        bare = _ITEM.sub("", line)
        yield bare.replace("*", " "), bare != line and not line.lstrip().startswith((">", "#"))


def _mark_quotes(line: str) -> str:
    """Put marks around what is quoted; a line that is a quotation as a whole is what is said."""
    whole = _QUOTED.fullmatch(line.strip(" ."))
    if whole:
        return whole[1] or whole[2] or whole[3] or ""
    return _QUOTED.sub(lambda match: f" {_OPEN} {_unsplit(match[1] or match[2] or match[3] or '')} {_CLOSE} ", line)


def _unsplit(quoted: str) -> str:
    return re.sub(r"[.!?…;\n]+", ",", quoted)


def _sentence(part: str, *, item: bool) -> Sentence | None:
    words = _words(part)
    if not words:
        return None
    starts, said = [], ""
    for word in words:
        starts.append(len(said) + 1)
        if not word.quoted:
            said += word.plain if word.plain.startswith("-") else f" {word.plain}"
    end = part.rstrip(" )»\ue001\"'")
    return Sentence(
        words=words,
        asked="?" in part[-4:] and not _TAG.search(part),
        exclaimed=end.endswith("!"),
        item=item,
        cut=False,
        said=said[1:] if said[:1] == " " else said,
        starts=tuple(start - 1 for start in starts),
    )


def _words(part: str) -> tuple[Word, ...]:
    words: list[Word] = []
    quoted = False
    for match in _WORD.finditer(part):
        token = match[0]
        if token in {_OPEN, _CLOSE}:
            quoted = token == _OPEN
            continue
        for piece in _pieces(token):
            heard = piece.casefold() == "son" and (not words or words[-1].plain in _BEFORE_SOUND)
            words.append(_word("sons" if heard else piece, quoted=quoted))
    return tuple(words)


def _pieces(token: str) -> list[str]:
    """Return the words of a token: « dites-moi » and « dix-sept » are two, « rendez-vous » is one."""
    if "-" not in token or token[0] in "+-" or token.casefold() in _KEPT:
        return [token]
    parted = _CLITIC.sub(r" -\1", token).split()
    if len(parted) > 1:
        return parted
    parts = token.split("-")
    return (
        parts
        if parts[0] == "demi" or any(is_number(canonical(piece)) or piece in {"un", "une"} for piece in parts)
        else [token]
    )


def _word(token: str, *, quoted: bool) -> Word:
    text = token.lower().rstrip("'")
    plain = canonical(text)
    return Word(text=text, plain=plain, stem=stem(plain.lstrip("-")), capital=token[:1].isupper(), quoted=quoted)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit, and the words that said it: `start` to `end` among the words of a sentence."""

    value: float
    unit: Unit
    start: int = 0
    end: int = 0


def is_number(word: str) -> bool:
    """Whether a canonical word is a number, but for « un » and « une », which are articles most of the time."""
    return word.lstrip("+-")[:1].isdigit() or (word in _WORDS and word not in {"un", "une", "neuf"})


def quantities(words: Sequence[str]) -> list[Quantity]:
    """Return the quantities among canonical words, in their order."""
    words = list(words)
    found: list[Quantity] = []
    index = 0
    while index < len(words):
        quantity = _clock(words[index], index) or _part(words, index) or _count(words, index)
        if quantity:
            found.append(quantity)
        index = quantity.end if quantity else index + 1
    return found


def _clock(word: str, at: int) -> Quantity | None:
    """Return an hour of the day in one word: « midi », « 15h30 », « 15:30 »; hours with seconds are a countdown."""
    if word in {"midi", "minuit"}:
        return Quantity(720.0 if word == "midi" else 0.0, "clock", at, at + 1)
    if long := _LONG_CLOCK.fullmatch(word):
        hours, minutes, seconds = map(int, long.groups())
        return Quantity(3600.0 * hours + 60 * minutes + seconds, "seconds", at, at + 1)
    if clock := _CLOCK.fullmatch(word):
        return Quantity(60.0 * int(clock[1]) + int(clock[2] or 0), "clock", at, at + 1)
    return None


def _part(words: Sequence[str], at: int) -> Quantity | None:
    """Return a part of an hour: « un quart d'heure », « trois quarts d'heure », « une demi-heure »; or of a whole."""
    count, end = _number(words, at)
    unit = words[end] if end < len(words) else ""
    if unit in {"quart", "quarts", "demi"} and {"heure", "h"} & {*words[end + 1 : end + 3]}:
        after = end + 2 if unit == "demi" else end + 3
        return Quantity((count or 1) * (1800.0 if unit == "demi" else 900.0), "seconds", at, after)
    if count and unit in {"cinquieme", "dixieme"}:
        return Quantity(20.0 if unit == "cinquieme" else 10.0, "percent", at, end + 1)
    return None


def _count(words: Sequence[str], at: int) -> Quantity | None:
    """Return a number with its unit, per cent or none; « un » alone is an article."""
    value, end = _number(words, at)
    if value is None:
        return None
    unit = words[end] if end < len(words) else ""
    if unit in _SECONDS:
        rest, after, timed = _rest(words, end + 1, _SECONDS[unit])
        if _SECONDS[unit] == 3600 and (
            (at and words[at - 1] in _AT_THE_HOUR) or (not timed and rest and value >= _LATE)
        ):
            return Quantity(60.0 * value + rest / 60, "clock", at, after)
        return Quantity(value * _SECONDS[unit] + rest, "seconds", at, after)
    share = 2 if [*words[end : end + 2]] == ["pour", "cent"] else int(unit in _PERCENT)
    if not share and end == at + 1 and words[at] in {"un", "une", "neuf"}:
        return None
    return Quantity(abs(value), "percent" if share else "none", at, end + share)


def _rest(words: Sequence[str], at: int, unit_s: float) -> tuple[float, int, bool]:
    """Return the seconds after a count (« et quart »), where they end, and whether they have a unit of their own."""
    following = [*words[at : at + 3]]
    for said, part in ((["et", "demie"], 0.5), (["et", "demi"], 0.5), (["et", "quart"], 0.25)):
        if following[:2] == said:
            return unit_s * part, at + 2, False
    if following == ["moins", "le", "quart"]:
        return -unit_s / 4, at + 3, False
    value, end = _number(words, at + (following[:1] in (["et"], ["moins"])))
    if value is None or unit_s < 60:
        return 0.0, at, False
    if end < len(words) and words[end] in _SECONDS:
        return value * _SECONDS[words[end]], end + 1, True
    if following[:1] != ["et"] and words[end : end + 1] not in (["pour"], ["%"]):
        return (-1 if following[:1] == ["moins"] else 1) * value * unit_s / 60, end, False
    return 0.0, at, False


def _number(words: Sequence[str], at: int) -> tuple[float | None, int]:
    """Return the number that begins at a word and where it ends; None where none begins."""
    if at < len(words) and _DIGITS.fullmatch(words[at]):
        return float(words[at].replace(",", ".")), at + 1
    total, end = 0.0, at
    while end < len(words):
        word = words[end]
        if word == "et" and end > at and words[end + 1 : end + 2] in (["un"], ["une"]):
            end += 1
            continue
        value = _WORDS.get(word)
        if value is None or (word in _LARGE and words[end - 1 : end] == ["pour"]):
            break
        if word in _LARGE or (word in {"vingt", "vingts"} and total == 4):
            total = max(total, 1) * value
        elif total and (total % 10 != 0 or (total == 10 and value > 9)) and not (value < 10 and total % 100 == 0):
            break
        else:
            total += value
        end += 1
    return (total, end) if end > at else (None, at)
