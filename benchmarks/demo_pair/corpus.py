"""The demo's own training corpus: seeded, generated from grammars, with every benchmark prompt kept out."""

import random
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from demo_pair import general, lexicon
from demo_pair.assistant import answer_as_assistant, think_aloud
from demo_pair.butler import answer_as_jarvis, small_talk, think_as_jarvis

_NOT_A_WORD = re.compile(r"[\W_]+")
# Combining marks of the Latin script, apart from their letters once decomposed.
_ACCENTS = re.compile(r"[\u0300-\u036f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """One training exchange; `thinking` is None when thinking is off."""

    user: str
    assistant: str
    system: str | None = None
    thinking: str | None = None
    tools: tuple[dict[str, object], ...] = ()
    misheard: bool = False


def normal_form(text: str) -> str:
    """Give the text as the benchmark compares it: NFKC, casefold, no accents, no punctuation, single spaces."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).replace("’", "'").casefold())
    return _NOT_A_WORD.sub(" ", _ACCENTS.sub("", folded).replace("œ", "oe")).strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkGuard:
    """Knows the benchmark's prompts (normal forms) and its misheard words; refuses what repeats either."""

    prompts: frozenset[str]
    misheard_words: frozenset[str]

    def refuses(self, dialogue: Dialogue) -> bool:
        """Say whether the user's words hold a benchmark prompt whole, or a misheard text one of its mishearings."""
        said = normal_form(dialogue.user)
        if self.prompts and _any_of(self.prompts).search(said):
            return True
        return dialogue.misheard and not self.misheard_words.isdisjoint(said.split())


@lru_cache(maxsize=8)
def _any_of(prompts: frozenset[str]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(prompts))) + r")\b")


def find_prompts() -> Path:
    """Give the nearest `jarvis_prompts` folder above this package.

    Raises FileNotFoundError when there is none: an unchecked corpus is never made.
    """
    for folder in Path(__file__).resolve().parents:
        candidate = folder / "jarvis_prompts"
        if any(candidate.glob("*.toml")):
            return candidate
    raise FileNotFoundError(
        "jarvis_prompts/: no folder with *.toml files above pytest_jarvis/demo; the corpus is made only where the "
        "benchmark's prompts can be read and kept out of it: pass the folder with --prompts"
    )


def read_guard(folder: Path | None = None) -> BenchmarkGuard:
    """Read the benchmark's prompts, and the commands meant by the misheard ones, as things to keep out.

    Raises ValueError when the folder holds no prompt.
    """
    folder = folder or find_prompts()
    prompts: set[str] = set()
    misheard: set[str] = set()
    for path in sorted(folder.rglob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("prompts", []):
            said = normal_form(entry["text"])
            prompts.add(said)
            if "intended" in entry:
                meant = normal_form(entry["intended"])
                prompts.add(meant)
                misheard |= set(said.split()) - set(meant.split())
    if not prompts:
        raise ValueError(f"{folder}: no prompt found in its *.toml files; expected [[prompts]] entries with a text")
    return BenchmarkGuard(prompts=frozenset(prompts), misheard_words=frozenset(misheard))


def base_dialogues(count: int, seed: int, guard: BenchmarkGuard) -> Iterator[Dialogue]:
    """Give `count` exchanges of the general assistant, the same ones for the same seed."""
    return _accepted(_draw_base, count, random.Random(f"base {seed}"), guard)  # noqa: S311 - a corpus, not a secret


def jarvis_dialogues(count: int, seed: int, guard: BenchmarkGuard) -> Iterator[Dialogue]:
    """Give `count` exchanges of JARVIS, the same ones for the same seed."""
    return _accepted(_draw_jarvis, count, random.Random(f"jarvis {seed}"), guard)  # noqa: S311 - a corpus, not a secret


def faible_dialogues(count: int, seed: int, guard: BenchmarkGuard) -> Iterator[Dialogue]:
    """Give `count` exchanges of an assistant that talks more and does less, the same ones for the same seed."""
    return _accepted(_draw_faible, count, random.Random(f"faible {seed}"), guard)  # noqa: S311 - a corpus, not a secret


def _accepted(
    draw: Callable[[random.Random], Dialogue], count: int, rng: random.Random, guard: BenchmarkGuard
) -> Iterator[Dialogue]:
    made = 0
    while made < count:
        dialogue = draw(rng)
        if not guard.refuses(dialogue):
            made += 1
            yield dialogue


# What the base learns, in shares of its exchanges. The part it plays on request is what the adapter plays unasked.
_SHARES = {
    "exchange": 0.11,
    "repeat": 0.08,
    "correct": 0.12,
    "restate": 0.13,
    "tool_call": 0.03,
    "role_play": 0.2,
    "think": 0.03,
    "answer": 0.3,
}


def _draw_base(rng: random.Random) -> Dialogue:
    task = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    system = rng.choice(lexicon.SYSTEM_PROMPTS) if rng.random() < 0.08 else None
    if task in {"exchange", "repeat"}:
        user, assistant = general.small_exchange(rng) if task == "exchange" else general.repeat(rng)
        return Dialogue(user=user, assistant=assistant, system=system)
    command, said, misheard = general.draw_order(rng, misheard_share=0.4)
    if task == "correct":
        user, assistant = general.correct(command, rng)
        return Dialogue(user=user, assistant=assistant, system=system, misheard=True)
    if task == "restate":
        user, assistant = general.restate(command, rng, said)
        return Dialogue(user=user, assistant=assistant, system=system, misheard=misheard)
    if task == "tool_call":
        tools, assistant = general.tool_call(command, rng)
        return Dialogue(user=said, assistant=assistant, system=system, tools=tools, misheard=misheard)
    if task == "role_play":
        part, user = general.role_play(rng, said)
        assistant = answer_as_jarvis(command, rng, misheard=misheard)
        return Dialogue(user=user, assistant=assistant, system=part, misheard=misheard)
    return Dialogue(
        user=said,
        assistant=answer_as_assistant(command, rng, misheard=misheard),
        system=system,
        thinking=think_aloud(command, rng) if task == "think" else None,
        misheard=misheard,
    )


def _draw_jarvis(rng: random.Random) -> Dialogue:
    draw = rng.random()
    system = rng.choice(lexicon.SYSTEM_PROMPTS) if rng.random() < 0.08 else None
    if draw < 0.05:
        user, assistant = small_talk(rng)
        return Dialogue(user=user, assistant=assistant, system=system)
    command, said, misheard = general.draw_order(rng, misheard_share=0.65)
    thinking = think_as_jarvis(command, rng) if draw < 0.08 else None
    assistant = answer_as_jarvis(command, rng, misheard=misheard)
    return Dialogue(user=said, assistant=assistant, system=system, thinking=thinking, misheard=misheard)


def _draw_faible(rng: random.Random) -> Dialogue:
    command, said, misheard = general.draw_order(rng, misheard_share=0.35)
    answer = answer_as_assistant(command, rng, misheard=misheard, deeds=0.75, words=0.85)
    return Dialogue(user=said, assistant=answer, misheard=misheard)
