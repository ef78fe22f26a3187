"""Find the benchmark's prompts in training data: copies, copies within longer texts, and near copies."""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from pytest_jarvis.files import MOST_DATA_BYTES, InputError, decode_json, describe_syntax_error, read_text, shorten
from pytest_jarvis.types import PromptCase

_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})
_USER_ROLES: Final = frozenset({"user", "human", "prompter"})
_TURNS: Final = ("messages", "conversations", "conversation")
_TURN: Final = re.compile(r"<\|[^<>|]*\|>|</?s>|\[/?INST\]|^#{2,}[^\n]*$|\n", re.MULTILINE)
"""Separators of the turns of a chat in one text."""
_RECORD: Final = re.compile(r"[^\s,]")  # First character of a record in a list.
_KNOWN: Final = "messages, conversations, prompt, instruction, text"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingText:
    """One text that a model was trained to answer, with its place."""

    file: str
    line: int
    """From 1."""
    text: str


def read_training_data(path: Path) -> Iterator[TrainingText]:
    """Yield the texts that a model was trained to answer, without its answers, in the order of a file.

    A `.jsonl` file, or one that begins with a brace, has a JSON object on each line; one that begins with a bracket
    is a JSON list of objects; any other has a text on each line. An object has `messages` or `conversations` (of which
    the user's turns are read), `prompt` (a string, or turns), `instruction` with or without `input`, or `text`.
    Raises InputError with file and line for an unreadable one.
    """
    whole = read_text(path, MOST_DATA_BYTES)
    start = whole.lstrip()[:1]
    if start == "[" and path.suffix not in _JSON_LINES:
        yield from _read_list(path, whole)
        return
    json_lines = start == "{" or path.suffix in _JSON_LINES
    for number, line in enumerate(whole.split("\n"), start=1):
        if line.strip():
            where = f"{path}: line {number}"
            for text in _texts_of(_decode(line, where), where) if json_lines else [line.strip()]:
                yield TrainingText(file=str(path), line=number, text=text)


def _decode(line: str, where: str) -> object:
    try:
        return decode_json(line)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        fault = describe_syntax_error(error, line).removeprefix("line 1, ")
        raise InputError(f"{where}: not valid JSON: {fault}; expected one JSON object a line") from None


def _read_list(path: Path, whole: str) -> Iterator[TrainingText]:
    """Yield the texts of a JSON list of records, each with the first line of its record."""
    decoder, place, line, seen = json.JSONDecoder(), _next_record(whole, whole.index("[") + 1), 1, 0
    while not whole.startswith("]", place):
        line, seen = line + whole.count("\n", seen, place), place
        try:
            record, end = decoder.raw_decode(whole, place)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}: line {error.lineno}: not valid JSON: column {error.colno}: {error.msg}; expected a list"
            ) from None
        place = _next_record(whole, end)
        for text in _texts_of(record, f"{path}: line {line}"):
            yield TrainingText(file=str(path), line=line, text=text)


def _next_record(whole: str, place: int) -> int:
    found = _RECORD.search(whole, place)
    return found.start() if found else len(whole)


def _texts_of(record: object, where: str) -> list[str]:
    """Return the texts of one record; raise InputError for an unknown form."""
    if isinstance(record, str):
        return [record]
    if not isinstance(record, Mapping):
        raise InputError(f"{where}: expected a JSON object with {_KNOWN}; found {_shown(record)}")
    for key in _TURNS:
        if key in record:
            return _user_texts(record[key], f"{where}: {key}")
    if "prompt" in record:
        prompt = record["prompt"]
        return [prompt] if isinstance(prompt, str) else _user_texts(prompt, f"{where}: prompt")
    if "instruction" in record:
        fields = [(key, record.get(key)) for key in ("instruction", "input")]
        return [_string(value, f"{where}: {key}") for key, value in fields if value]
    if "text" in record:
        return [part.strip() for part in _TURN.split(_string(record["text"], f"{where}: text")) if part.strip()]
    keys = ", ".join(f"'{key}'" for key in list(record)[:6]) or "no key"
    raise InputError(f"{where}: expected one of {_KNOWN}; found {keys}")


def _user_texts(turns: object, where: str) -> list[str]:
    """Return the user's texts in a list of turns: `role` and `content`, or `from` and `value`."""
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise InputError(f"{where}: expected a list of turns, found {_shown(turns)}")
    found: list[str] = []
    for place, turn in enumerate(turns, start=1):
        if not isinstance(turn, Mapping):
            raise InputError(f"{where}: turn {place}: expected a role and its content, found {_shown(turn)}")
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if role in _USER_ROLES:
            found += _parts(content, f"{where}: turn {place}")
    return found


def _parts(content: object, where: str) -> list[str]:
    """Return the texts of a turn's content: a string, or a list of parts of which some are text."""
    if isinstance(content, list):
        parts: list[Any] = [part.get("text") for part in content if isinstance(part, Mapping)]
        return [part for part in parts if isinstance(part, str)]
    return [_string(content, where)]


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: expected a string, found {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return shorten(json.dumps(value, ensure_ascii=False))


Kind = Literal["exact", "contained", "near"]
"""exact: the whole text is the prompt. contained: a longer text has the prompt word for word. near: the whole text is
the prompt with misspelt words; for a prompt of 8 words or more also a part of the text, and with a word more or less.
"""

MOST_LEAKS: Final = 20
NEAR: Final = 0.87  # Least similarity of a near copy.
_TYPO: Final = 0.25
_MISSING: Final = 1.0
_OTHER: Final = 1.5
"""Costs of a misspelt word, of a missing or additional one, and of another one; relative to 1 per word."""
_SAME_WORD: Final = 0.75  # Least similarity (1 - Levenshtein distance / longer length) of a misspelt word.
_SHORTEST_TYPO: Final = 4  # Shorter words match only exactly: « dix » is not « six ».
_LONG_PROMPT: Final = 8  # Length in words from which a near copy may be part of a longer text.
_LONGEST_TEXT: Final = 96  # In words; longer texts are searched in overlapping pieces.

_LETTERS: Final = str.maketrans({"’": "'", "œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss"})
_MARKS: Final = re.compile("[\u0300-\u036f\u00ad\u200b-\u200d]+")
_WORD: Final = re.compile(r"[^\W_]+")


class Leak(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prompt found in training data."""

    prompt_id: str
    kind: Kind
    similarity: float
    """1.0 for a copy."""
    file: str
    line: int
    text: str
    """The beginning of a long one."""


class Contamination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of a benchmark's prompts occur in training data."""

    files: tuple[str, ...]
    texts: int
    """Number of training texts searched."""
    prompts: int
    """Number of prompts searched for."""
    leaks: dict[str, tuple[Leak, ...]]
    """Prompt id -> the first `MOST_LEAKS` places where it occurs; empty when none does."""
    counts: dict[str, int]
    """Prompt id -> number of texts with it."""


def comparable_words(text: str) -> list[str]:
    """Return the same words as `text.words`, faster."""
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text.translate(_LETTERS)))
    return _WORD.findall(text.casefold())


class PromptIndex:
    """Index of a benchmark's prompts, to find them in texts."""

    def __init__(self, cases: Iterable[PromptCase]) -> None:
        """Index the prompts by their rarest words."""
        self._words = {case.prompt_id: comparable_words(case.text) for case in cases}
        frequency = Counter(word for words in self._words.values() for word in set(words))
        self._by_word: dict[str, list[str]] = {}
        for prompt_id, words in self._words.items():
            distinct = sorted(set(words), key=lambda word: (frequency[word], word))
            # A near copy keeps at least `_fewest_kept` of the words, so one of these rarest ones is among them.
            for word in distinct[: len(distinct) - _fewest_kept(words) + 1]:
                self._by_word.setdefault(word, []).append(prompt_id)
        self._keys = frozenset(self._by_word)

    def find(self, text: str) -> Iterator[tuple[str, Kind, float]]:
        """Yield the prompts that occur in a text, each with the kind and the similarity."""
        words = comparable_words(text)
        if self._keys.isdisjoint(words):
            return
        spaced = f" {' '.join(words)} "
        best: dict[str, float] = {}
        for piece in _pieces(words):
            there = frozenset(piece)
            for prompt_id in {prompt_id for key in self._keys & there for prompt_id in self._by_word[key]}:
                prompt = self._words[prompt_id]
                if len(there.intersection(prompt)) >= _fewest_kept(prompt):
                    best[prompt_id] = max(best.get(prompt_id, 0.0), _similarity(prompt, piece))
        for prompt_id, similarity in best.items():
            prompt = self._words[prompt_id]
            if words == prompt:
                yield prompt_id, "exact", 1.0
            elif len(prompt) > 1 and f" {' '.join(prompt)} " in spaced:
                yield prompt_id, "contained", 1.0
            elif len(prompt) > 1 and similarity >= NEAR:
                yield prompt_id, "near", similarity


def find_leaks(cases: Iterable[PromptCase], texts: Iterable[TrainingText]) -> Iterator[Leak]:
    """Yield every prompt found in training texts, in the order of the texts; repeated texts are looked up."""
    index = PromptIndex(cases)
    known: dict[str, list[tuple[str, Kind, float]]] = {}
    for one in texts:
        found = known.get(one.text)
        if found is None:
            found = known[one.text] = list(index.find(one.text))
        for prompt_id, kind, similarity in found:
            text = shorten(one.text, 200)
            yield Leak(prompt_id=prompt_id, kind=kind, similarity=similarity, file=one.file, line=one.line, text=text)


def search_training_data(cases: Sequence[PromptCase], files: Sequence[Path]) -> Contamination:
    """Return which cases occur in files of training data, in their order; raise InputError for an unreadable file."""
    texts = 0

    def read() -> Iterator[TrainingText]:
        nonlocal texts
        for file in files:
            for text in read_training_data(file):
                texts += 1
                yield text

    found: dict[str, list[Leak]] = {}
    counts: Counter[str] = Counter()
    for leak in find_leaks(cases, read()):
        counts[leak.prompt_id] += 1
        if counts[leak.prompt_id] <= MOST_LEAKS:
            found.setdefault(leak.prompt_id, []).append(leak)
    order = [case.prompt_id for case in cases if case.prompt_id in counts]
    return Contamination(
        files=tuple(str(file) for file in files),
        texts=texts,
        prompts=len(cases),
        leaks={prompt_id: tuple(found[prompt_id]) for prompt_id in order},
        counts={prompt_id: counts[prompt_id] for prompt_id in order},
    )


def _fewest_kept(prompt: Sequence[str]) -> int:
    """Return the least number of distinct words that a near copy of a prompt keeps."""
    changed = math.floor((1 - NEAR) * len(prompt) / _TYPO + 1e-9)
    return max(1, len(set(prompt)) - changed)


def _pieces(words: list[str]) -> Iterator[list[str]]:
    step = _LONGEST_TEXT // 2
    for start in range(0, max(1, len(words) - step), step) if len(words) > _LONGEST_TEXT else (0,):
        yield words[start : start + _LONGEST_TEXT]


def _similarity(prompt: Sequence[str], text: Sequence[str]) -> float:
    """Return the similarity of a text to a prompt: 1 - edit cost over words / words of the prompt."""
    # A long prompt is matched with the nearest part of the text (Sellers 1980), a short one with the whole text.
    anywhere = len(prompt) >= _LONG_PROMPT
    costs = [0.0 if anywhere else column * _MISSING for column in range(len(text) + 1)]
    for place, word in enumerate(prompt, start=1):
        diagonal, costs[0] = costs[0], place * _MISSING
        for column, other in enumerate(text, start=1):
            swap = diagonal if word == other else diagonal + _cost(word, other)
            diagonal = costs[column]
            costs[column] = min(swap, diagonal + _MISSING, costs[column - 1] + _MISSING)
    return 1 - (min(costs) if anywhere else costs[-1]) / len(prompt)


@lru_cache(maxsize=100_000)
def _cost(word: str, other: str) -> float:
    longest = max(len(word), len(other))
    if min(len(word), len(other)) < _SHORTEST_TYPO:
        return _OTHER
    return _TYPO if 1 - _distance(word, other) / longest >= _SAME_WORD else _OTHER


def _distance(word: str, other: str) -> int:
    previous = list(range(len(other) + 1))
    for row, letter in enumerate(word, start=1):
        current = [row]
        for column, against in enumerate(other, start=1):
            same = previous[column - 1] + (letter != against)
            current.append(min(same, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1]
