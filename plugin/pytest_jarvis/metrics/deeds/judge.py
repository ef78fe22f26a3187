"""The judge of deeds: was what the person wanted done? From the tool calls where there are any, else from the text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from rapidfuzz.fuzz import ratio

from pytest_jarvis.metrics.deeds.calls import CallMatch, find_calls, match_call
from pytest_jarvis.metrics.deeds.decision import FIRM, Model, answer_features, is_good, load_model
from pytest_jarvis.metrics.deeds.lexicon import Lexicon, load_lexicon
from pytest_jarvis.metrics.deeds.match import Match, match_answer
from pytest_jarvis.metrics.deeds.outcome import Outcome, ReasonCode
from pytest_jarvis.metrics.deeds.sentences import Sentence, read_sentences
from pytest_jarvis.metrics.deeds.wish import Namer, Wish, read_wish, split_command, tool_actions
from pytest_jarvis.text import words
from pytest_jarvis.types import OutcomeKind, PromptCase, RightDeed, Tool, ToolCall

_ERROR: Final = re.compile(r"\s*\{\s*\"(error|erreur|status\"\s*:\s*\"(error|failed|ko))", re.IGNORECASE)
"""What a tool that failed would answer, not a call."""
_LONGEST: Final = 8_000  # Characters that are read.
_THOUGHT: Final = re.compile(r"<(think|thinking|thought)>.*?</\1>", re.DOTALL)
_SAID: Final = frozenset(
    {"read", "tell", "send", "show", "search", "remind", "play", "call", "guide", "keep", "calculate"}
)
"""Actions whose verbs are also said of talk: « je vous écoute », « je vous rappelle que »."""
_REPEATED: Final = 92.0  # From which likeness on (0 to 100) an answer is the command said again.


class Judge:
    """Judges the answers to prompts by what they do; one for a set of tools, any number of prompts."""

    def __init__(self, tools: Iterable[Tool], *, lexicon: Lexicon | None = None, model: Model | None = None) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._lexicon = lexicon or load_lexicon()
        self._model = model
        self._read: dict[str, tuple[PromptCase, Wish, Namer]] = {}

    def judge(self, case: PromptCase, text: str, calls: Sequence[ToolCall] | None = None) -> Outcome:
        """Return what an answer to `case` did; `calls` are those that were parsed, where tools were offered.

        Calls that stand in the text, in whatever syntax, are judged as calls, too. Where the right deed is to ask, to
        refuse or nothing, `done` says that the answer did that, and a deed that is claimed or called is a wrong action.
        """
        text = _THOUGHT.sub("", text[:_LONGEST])
        if case.also:
            return self._judge_all(case, text, calls)
        wish, namer = self._wish(case)
        made = tuple(call for call in calls or () if call.name) or find_calls(text, self._tools)
        if made and (case.expected_tool or case.right_deed != "act"):
            return self._judge_calls(made, case, wish, namer)
        sentences = read_sentences(text)
        if (ruled := _rule(case, text, sentences)) is not None:
            return ruled
        if case.right_deed != "act":
            return self._judge_restraint(case.right_deed, sentences, wish, namer)
        return self._judge_text(sentences, wish, namer)

    def _judge_restraint(self, right: RightDeed, sentences: Sequence[Sentence], wish: Wish, namer: Namer) -> Outcome:
        """Judge the answer to a prompt on which it is right not to act."""
        for match in match_answer(sentences, wish, namer, self._lexicon):
            wished = match.action in {"right", "light"} and wish.tool is not None
            if match.live and match.claim.kind in FIRM and (wished or match.meant - _SAID):
                return Outcome(
                    kind="wrong_action", reason="announced", target=_target(match), evidence=(match.claim.verb,)
                )
        asks = any(one.asked or one.cue(self._lexicon, "offer") is not None for one in sentences)
        refuses = any(one.cue(self._lexicon, "refuse") is not None for one in sentences)
        if asks and right in {"ask", "ask_or_refuse"}:
            return Outcome(kind="done", reason="asked")
        if refuses and right in {"refuse", "ask_or_refuse"}:
            return Outcome(kind="done", reason="refused")
        return Outcome(kind="done" if right == "nothing" else "not_done", reason="no_claim")

    def _judge_all(self, case: PromptCase, text: str, calls: Sequence[ToolCall] | None) -> Outcome:
        """Judge the answer to a sentence that asks for several deeds: done when each is; none is one too many."""
        parts = split_command(case, self._tools, self._lexicon)
        found = {tool: self.judge(part, text, calls) for tool, part in parts.items()}
        missing = [tool for tool, one in found.items() if not (one.done or self._claims(parts[tool], text, one))]
        first = found[missing[0]] if missing else next(iter(found.values()))
        if not missing:
            return replace(first, kind="done", reason="called" if first.reason == "further_calls" else "announced")
        return first if len(missing) == len(found) else replace(first, kind="not_done", reason="no_claim")

    def _claims(self, case: PromptCase, text: str, outcome: Outcome) -> bool:
        """Whether an answer that does more than `case` asks for does that, too."""
        wish, namer = self._wish(case)
        matches = match_answer(read_sentences(text), wish, namer, self._lexicon)
        return outcome.kind == "several" or any(match.live and is_good(match) for match in matches)

    def features(self, case: PromptCase, text: str) -> dict[str, float] | None:
        """Return what the model sees of an answer; None where a rule decides. For training."""
        wish, namer = self._wish(case)
        text = _THOUGHT.sub("", text)
        sentences = read_sentences(text)
        if (case.expected_tool and find_calls(text, self._tools)) or _rule(case, text, sentences):
            return None
        matches = match_answer(sentences, wish, namer, self._lexicon)
        return answer_features(sentences, matches, wish, namer, self._lexicon)

    def _wish(self, case: PromptCase) -> tuple[Wish, Namer]:
        known = self._read.get(case.prompt_id)
        if known is None or known[0] != case:
            wish = read_wish(case, self._tools, self._lexicon)
            known = self._read[case.prompt_id] = (case, wish, Namer(wish))
        return known[1], known[2]

    def _judge_calls(self, calls: Sequence[ToolCall], case: PromptCase, wish: Wish, namer: Namer) -> Outcome:
        if case.right_deed != "act":
            return Outcome(kind="wrong_action", reason="called", tool=calls[0].name)
        found = [match_call(call, case, wish, namer, tools=self._tools, lexicon=self._lexicon) for call in calls]
        right = [match for match in found if match.fault is None]
        distinct = {(match.call.name, str(sorted(match.call.arguments.items()))) for match in found}
        if right and len(distinct) > 1:
            others = tuple(match.call.name or "" for match in found if match.fault is not None)
            return Outcome(kind="several", reason="further_calls", tool=wish.tool, evidence=others)
        if right:
            return Outcome(kind="done", reason="called", tool=wish.tool, target=_arguments(right[0]))
        first = found[0]
        wrong_thing = first.fault in {"other_target", "other_value"}
        return Outcome(
            kind="wrong_target" if wrong_thing else "wrong_action",
            reason=first.fault or "other_tool",
            tool=first.call.name,
            target=_arguments(first),
            evidence=(first.argument,) if first.argument else (),
        )

    def _judge_text(self, sentences: Sequence[Sentence], wish: Wish, namer: Namer) -> Outcome:
        matches = match_answer(sentences, wish, namer, self._lexicon)
        model = self._model or load_model()
        announced = [match for match in matches if match.live and match.action in {"right", "light", "near"}]
        decision = model.decide(answer_features(sentences, matches, wish, namer, self._lexicon))
        deciding = next((match for match in matches if _shows(match, decision.kind)), None)
        return Outcome(
            kind=decision.kind,
            reason=decision.reason,
            tool=self._tool_of(deciding, decision.kind, wish),
            target=_target(deciding),
            evidence=_evidence(decision.reason, decision.signs, deciding),
            probability=decision.probability,
            announced=() if decision.kind == "not_done" else tuple(map(_said, announced)),
        )

    def _tool_of(self, deciding: Match | None, kind: OutcomeKind, wish: Wish) -> str | None:
        """Return the tool of what was done: that of the wish, or the one that does what the deciding claim says."""
        if kind == "not_done":
            return None
        if kind != "wrong_action" or deciding is None:
            return wish.tool if kind != "wrong_action" else None
        likely = [
            (2 * (deciding.claim.verb in own.verbs) + len(tool_actions(own, self._lexicon)[0] & deciding.meant), name)
            for name, own in self._tools.items()
            if name != wish.tool
        ]
        most, name = max(likely, default=(0, ""))
        return name if most else None


def _rule(case: PromptCase, text: str, sentences: Sequence[Sentence]) -> Outcome | None:
    """Return the outcome of an answer that needs no reading: it is empty, an error of a tool, or the command again."""
    if not any(sentence.words for sentence in sentences):
        return Outcome(kind="not_done", reason="empty")
    if any(sentence.cue(load_lexicon(), "taken_back") is not None for sentence in sentences):
        return Outcome(kind="not_done", reason="denied", evidence=(text.strip(),))
    if _ERROR.match(text) or _repeats(text, case):
        reason: ReasonCode = "failed" if _ERROR.match(text) else "repeated_command"
        return Outcome(kind="not_done", reason=reason, evidence=(text.strip(),))
    return None


def _repeats(text: str, case: PromptCase) -> bool:
    """Whether an answer is the command said again, misspelt or not: it begins as the command does."""
    said = words(text)
    return any(
        said[:1] == command[:1] and ratio(" ".join(said), " ".join(command)) >= _REPEATED
        for command in (words(case.text), words(case.intended or case.text))
    )


def _arguments(match: CallMatch) -> str | None:
    return ", ".join(str(value) for value in match.call.arguments.values()) or None


def _said(match: Match) -> str:
    return " ".join([match.claim.spoken, *(word.plain for word in match.claim.words)])


def _shows(match: Match, kind: OutcomeKind) -> bool:
    """Whether a claim shows an outcome: the first that does decides."""
    if kind in {"done", "several"}:
        return match.live and is_good(match)
    if kind == "wrong_target":
        return match.live and match.action in {"right", "light", "near"} and not is_good(match)
    if kind == "wrong_action":
        return match.live and match.action in {"opposite", "other"}
    return not match.live and match.action in {"right", "light"}


def _target(deciding: Match | None) -> str | None:
    if deciding is None:
        return None
    return " ".join(word.text for word in deciding.claim.words if word.text not in {",", ":", "(", ")"}) or None


def _evidence(reason: ReasonCode, signs: Sequence[str], deciding: Match | None) -> tuple[str, ...]:
    if reason == "wording":
        return tuple(sign.removeprefix("word ") for sign in signs[:3])
    if reason in {"other_thing", "further_deeds"} and deciding is not None:
        return deciding.extra
    return (deciding.claim.verb,) if deciding is not None else ()
