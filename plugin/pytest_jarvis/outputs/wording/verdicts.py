"""Verdicts and the reasons for them, in French sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_jarvis.gate import GateOutcome, GateVerdict, Reason
from pytest_jarvis.outputs.wording.formats import NBSP, bar_percent, gain_interval, percent, plural, typeset
from pytest_jarvis.statistics import Decision, Verdict

VERDICTS: Final[Mapping[Verdict, str]] = {"PASS": "PROUVÉ", "FAIL": "ÉCARTÉ", "INCONCLUSIVE": "NON TRANCHÉ"}
"""What a decision says of « the gain is at least the bar »: shown, shown not to be, neither."""


def verdict_line(decision: Decision, most_responses: int, error: float) -> str:
    """Return the whole decision in one line: gain, interval, verdict, new prompts, responses, power, noise.

    `most_responses` is the last look's count; `error` the chance of a wrong PASS over all looks and adapters.
    """
    bar = bar_percent(decision.min_gain)
    claim = f"{VERDICTS[decision.verdict]} (≥ {bar}, erreur ≤ {percent(error, 0)})"
    prompts = "ce prompt" if decision.prompts == 1 else f"ces {plural(decision.prompts, 'prompt')}"
    gain = percent(decision.gain, signed=True)
    if decision.target == "new":
        parts = [
            f"pertinence {gain} sur {prompts}",
            f"nouveaux prompts du même genre {gain_interval(decision.gain_new)} : {claim}",
        ]
    else:
        parts = [f"pertinence {gain} {gain_interval(decision.gain_these)} sur {prompts} : {claim}"]
        if decision.verdict_new is not None:
            shown = {"PASS": "montré", "FAIL": "écarté", "INCONCLUSIVE": "non montré"}[decision.verdict_new]
            parts.append(f"nouveaux prompts {gain_interval(decision.gain_new)}{NBSP}: {shown}")
    parts.append(f"{decision.replicates[1]}/{plural(most_responses, 'réponse')} par prompt")
    if decision.detectable_gain is not None:
        parts.append(f"détectable{NBSP}: ≥ {percent(decision.detectable_gain, 0, signed=True)}")
    if decision.decoding_share is not None:
        parts.append(f"bruit de décodage {percent(decision.decoding_share, 0)}")
    return " | ".join(parts)


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
        "bar_not_measured": "Un seuil demandé n'a pas pu être mesuré.",
        "strict": "Sans verdict, la session échoue, comme --jarvis-strict le demande.",
        "seen_under_bar": "La valeur vue est sous le seuil : la session échoue.",
        "tolerated": "La session passe tout de même, comme --jarvis-inconclusive=warn le demande.",
    }
    return typeset(sentences[reason.code].format(**{**values, "share": share, "allowed": allowed}))
