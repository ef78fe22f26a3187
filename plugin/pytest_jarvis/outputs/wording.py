"""Every French word and number format that outputs share."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

from pytest_jarvis.contrasts import Interval
from pytest_jarvis.gate import GateOutcome, GateVerdict, Reason
from pytest_jarvis.statistics import Decision, Verdict

NBSP: Final = "\u00a0"
"""The no-break space of French typography; unlike the narrow one, every code page of a terminal has it."""
DASH: Final = "–"
"""Stands for what was not measured."""

_PLAIN: Final[Mapping[str, str]] = {
    "→": "->",
    "✓": "v",
    "✗": "x",
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "’": "'",
    "«": '"',
    "»": '"',
    "œ": "oe",
    "Œ": "OE",
    "▲": "+",
    "▼": "-",
    "═": "=",
    "─": "-",
    "│": "|",
}
"""What stands for a sign where a terminal's encoding lacks it; other letters lose their accents."""


def number(value: float | None, digits: int = 2) -> str:
    """Return the value with a decimal comma; a dash for None."""
    return DASH if value is None else _decimal(f"{value:z.{digits}f}")


def percent(share: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Return a share as a percentage (« +23,1 % »); a dash for None."""
    if share is None:
        return DASH
    sign = "+" if signed else ""
    return f"{_decimal(f'{share * 100:{sign}z.{digits}f}')}{NBSP}%"


def seconds(value: float | None) -> str:
    """Return a duration in seconds, or minutes from two of them on."""
    if value is None:
        return DASH
    if value >= 120:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes}{NBSP}min{NBSP}{rest:02d}{NBSP}s"
    return f"{number(value, 1)}{NBSP}s"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return the count and its noun: « 0 réponse », « 1 réponse », « 2 réponses »."""
    noun = one if abs(count) < 2 else (many or f"{one}s")
    return f"{count}{NBSP}{noun}"


def fit(text: str, width: int) -> str:
    """Return `text` in exactly `width` columns, cut with an ellipsis or filled with spaces."""
    room = width - sum(map(_columns, text))
    if room >= 0:
        return text + " " * room
    end = used = 0
    while (after := used + _columns(text[end])) < width:
        end, used = end + 1, after
    return f"{text[:end]}…{' ' * (width - 1 - used)}" if width > 0 else ""


def printable(text: str) -> str:
    """Return `text` on one line, without any character that could command a terminal or turn it around."""
    spaced = "".join(" " if char.isspace() and char != NBSP else char for char in text)
    return "".join(char for char in spaced if char.isprintable() or char == NBSP)


def encodable(text: str, encoding: str | None) -> str:
    """Return `text` so that a stream of that encoding can take it: plain signs and letters where it lacks ours."""
    name = encoding or "utf-8"
    try:
        text.encode(name)
    except UnicodeEncodeError:
        return "".join(_encodable_sign(char, name) for char in text)
    return text


def _encodable_sign(char: str, encoding: str) -> str:
    for shown in (char, _PLAIN.get(char, ""), unicodedata.normalize("NFKD", char)):
        taken = shown.encode(encoding, "ignore").decode(encoding)
        if taken:
            return taken
    return "" if unicodedata.combining(char) else "?"


def _decimal(shown: str) -> str:
    return shown.replace(".", ",").replace("-", "−")


def _columns(char: str) -> int:
    """Return how many columns of a terminal a character takes."""
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


VERDICTS: Final[Mapping[Verdict, str]] = {"PASS": "PROUVÉ", "FAIL": "ÉCARTÉ", "INCONCLUSIVE": "NON TRANCHÉ"}
"""What a decision says of « the gain is at least the bar »: shown, shown not to be, neither."""


def gain_interval(interval: Interval | None) -> str:
    """Return an interval of a gain: « [+11,9 ; +36,0] », in per cent."""
    if interval is None:
        return "[non estimable]"
    low, high = (percent(end, signed=True).removesuffix(f"{NBSP}%") for end in interval)
    return f"[{low}{NBSP}; {high}]"


def verdict_line(decision: Decision, most_responses: int, error: float) -> str:
    """Return the whole decision in one line: gain, interval, verdict, new prompts, responses, power, noise.

    `most_responses` is the last look's count; `error` the chance of a wrong PASS over all looks and adapters.
    """
    bar = percent(decision.min_gain, signed=True).replace(f",0{NBSP}", NBSP)
    claim = f"{VERDICTS[decision.verdict]} (≥ {bar}, erreur ≤ {percent(error, 0)})"
    gain = f"{percent(decision.gain, signed=True)} {gain_interval(decision.gain_these)}"
    parts = [f"pertinence {gain} sur ces {plural(decision.prompts, 'prompt')} : {claim}"]
    if decision.verdict_new is not None:
        shown = {"PASS": "montré", "FAIL": "écarté", "INCONCLUSIVE": "non montré"}[decision.verdict_new]
        parts.append(f"nouveaux prompts {gain_interval(decision.gain_new)}{NBSP}: {shown}")
    parts.append(f"{decision.replicates[1]}/{plural(most_responses, 'réponse')} par prompt")
    if decision.detectable_gain is not None:
        parts.append(f"détectable{NBSP}: ≥ {percent(decision.detectable_gain, 0, signed=True)}")
    if decision.decoding_share is not None:
        parts.append(f"bruit de décodage {percent(decision.decoding_share, 0)}")
    return " | ".join(parts)


def typeset(text: str) -> str:
    """Return French text with the no-break spaces its punctuation wants."""
    for mark in (":", ";", "?", "!", "»", "%"):
        text = text.replace(f" {mark}", f"{NBSP}{mark}")
    return text.replace("« ", f"«{NBSP}")


_GATE_SENTENCES: Final[Mapping[GateVerdict, str]] = {
    "PASS": "✓ ACCEPTÉ : le gain de pertinence d'au moins {bar} est prouvé.",
    "FAIL": "✗ REFUSÉ : le gain de pertinence n'atteint pas {bar}.",
    "INCONCLUSIVE": "~ NON TRANCHÉ : ces réponses ne suffisent ni à prouver un gain de {bar}, ni à l'écarter.",
    "NOT_JUDGED": "~ NON JUGÉ : cette session ne permet pas de verdict.",
    "OFF": "Seuil désactivé (--jarvis-gate=off) : rien n'est jugé.",
}


def gate_sentence(gate: GateOutcome, min_gain: float) -> str:
    """Return the verdict of the run in one sentence."""
    return typeset(_GATE_SENTENCES[gate.verdict].format(bar=percent(min_gain, signed=True)))


def reason_sentence(reason: Reason) -> str:
    """Return one reason of a verdict in one sentence."""
    values = {name: f"{value:.0f}" for name, value in reason.values.items()}
    share = percent(reason.values.get("share"))
    allowed = percent(reason.values.get("allowed"))
    sentences = {
        "nothing_measured": "Rien n'a été mesuré.",
        "partial_selection": "Sélection partielle : {selected} prompts sur {planned}.",
        "failures": "Trop d'échecs : {failed} réponses sur {planned}, soit {share} ; {allowed} au plus sont permis.",
        "missing_pairs": "Il manque des paires : {missing} prompts sur {selected}, {responses} réponses non tirées.",
        "prompts_changed": "Les prompts ont changé depuis la référence.",
        "strict": "Sans verdict, la session échoue, comme --jarvis-strict le demande.",
        "seen_under_bar": "La valeur vue est sous le seuil : la session échoue.",
        "tolerated": "La session passe tout de même, comme --jarvis-inconclusive=warn le demande.",
    }
    return typeset(sentences[reason.code].format(**{**values, "share": share, "allowed": allowed}))
