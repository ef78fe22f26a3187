"""An answer cut into sentences of words, with what is quoted, asked, listed or said by somebody else marked."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pytest_jarvis.metrics.deeds.lexicon import Lexicon, stem
from pytest_jarvis.metrics.deeds.numbers import is_number
from pytest_jarvis.text import canonical

_STRAIGHT: Final = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "ʼ": "'",
        "´": "'",
        "`": " ",
        "“": "«",
        "”": "»",
        "\u2010": "-",
        "\u2011": "-",
        "–": ",",
        "—": ",",
        "[": "(",
        "]": ")",
    }
)
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
        last = found[-1]
        found[-1] = Sentence(
            words=last.words,
            asked=last.asked,
            exclaimed=last.exclaimed,
            item=last.item,
            cut=True,
            said=last.said,
            starts=last.starts,
        )
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
