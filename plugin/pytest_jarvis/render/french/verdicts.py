"""Verdicts, their reasons and their thresholds."""

from collections.abc import Sequence
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN
from pytest_jarvis.render.french.formats import (
    DASH,
    NBSP,
    bar_percent,
    bracket,
    gain_interval,
    number,
    percent,
    plural,
    points,
    printable,
    signed,
    typeset,
)
from pytest_jarvis.render.french.words import fill, table, word
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.contrasts import Interval
from pytest_jarvis.stats.decision import Decision
from pytest_jarvis.stats.gate import GateOutcome, Reason
from pytest_jarvis.stats.thresholds import Threshold
from pytest_jarvis.types import GatePlan, Require

_MOST_NAMES: Final = 4
_MOST_ADAPTERS: Final = 12


def decision_line(report: Report, name: str, *, with_verdict: bool = True) -> str:
    """Return the decision on an adapter in one line; « non jugé » where the run is not, or `with_verdict` is False."""
    decision, plan = report.decisions[name], report.metadata.plan
    later = gain_of_all(report, name, with_verdict=with_verdict) if early_look(report, decision) else ""
    judged = with_verdict and is_judged(report)
    return verdict_line(
        decision, plan.looks[-1], plan.alpha, later=later, judged=judged, seen_only=plan.policy == "point"
    )


def is_judged(report: Report) -> bool:
    """Whether the gate judged the run, so that what is shown of a gain is a verdict."""
    return report.gate.verdict != "NOT_JUDGED"


def early_look(report: Report, decision: Decision | None) -> int:
    """Return the responses per prompt of a verdict given before the last look; 0 for any other."""
    at = 0 if decision is None else decision.replicates[1]
    # Fewer responses than a look has are failures, not a verdict of an earlier one.
    return at if at in report.metadata.plan.looks and at < report.metadata.samples_per_prompt else 0


def look_suffix(responses: int) -> str:
    """Return « à 4 réponses », to stand behind a figure of an early verdict; empty for 0."""
    return f" à {plural(responses, 'réponse')}" if responses else ""


def gain_of_all(report: Report, name: str, *, with_verdict: bool = True) -> str:
    """Return an adapter's gain over all responses, to stand beside that of an early verdict."""
    values = {"drawn": report.metadata.samples_per_prompt, "gain": report.by_adapter[name].statistics.relevance_gain}
    if with_verdict and is_judged(report):
        return word("verdicts.gain_beside", **values)
    return word("verdicts.gain_of_all", **values)


def verdict_line(
    decision: Decision,
    most_responses: int,
    error: float,
    *,
    later: str = "",
    judged: bool = True,
    seen_only: bool = False,
) -> str:
    """Return the whole decision in one line: gain, interval, verdict, new prompts, responses, power, noise.

    `error` is the probability of a wrong PASS over all looks and adapters; `later` the words on responses generated
    after an early verdict; `seen_only`: nothing was to be proven.
    """
    figure = f"pertinence{look_suffix(decision.replicates[1]) if later else ''}"
    bar = bar_percent(decision.min_gain)
    claim = word("verdicts.not_judged")
    if judged:
        verdict = f"{table('verdicts.verdicts')[decision.verdict]} (≥{NBSP}{bar}, erreur ≤{NBSP}{percent(error, 0)})"
        claim = word("verdicts.seen_only") if seen_only else verdict
    prompts = "ce prompt" if decision.prompts == 1 else f"ces {plural(decision.prompts, 'prompt')}"
    gain = percent(decision.gain, signed=True)
    if decision.judged_interval is None and decision.judged_absolute is not None:
        # Over a base near 0 the verdict rests on the difference.
        gain = signed(decision.absolute_gain)
    if decision.target == "new":
        parts = [
            f"{figure} {gain} sur {prompts}",
            f"nouveaux prompts du même genre {_ends(decision.gain_new, decision.absolute_new)} : {claim}",
        ]
    else:
        parts = [f"{figure} {gain} {_ends(decision.gain_these, decision.absolute_these)} sur {prompts} : {claim}"]
        if decision.verdict_new is not None:
            shown = {"PASS": "montré", "FAIL": "écarté", "INCONCLUSIVE": "non montré"}[decision.verdict_new]
            outcome = f"{NBSP}: {shown}" if judged and not seen_only else ""
            parts.append(f"nouveaux prompts {_ends(decision.gain_new, decision.absolute_new)}{outcome}")
    parts.append(later or f"{decision.replicates[1]}/{plural(most_responses, 'réponse')} par prompt")
    if decision.detectable_gain is not None:
        parts.append(f"détectable{NBSP}: ≥{NBSP}{percent(decision.detectable_gain, 0, signed=True)}")
    if decision.decoding_share is not None:
        parts.append(f"bruit de décodage {percent(decision.decoding_share, 0)}")
    return typeset(" | ".join(parts))


def _ends(gain: Interval | None, absolute: Interval | None) -> str:
    """Return the interval of the gain; of the difference where that of the gain is unbounded."""
    return (
        gain_interval(gain) if gain is not None or absolute is None else f"{bracket(absolute, signed)} (écart absolu)"
    )


def shown_thresholds(report: Report) -> list[Threshold]:
    """Return the thresholds that mean something: an A/A run has no gain to judge."""
    of_gain = ("_gain", "no_drop", "done_share")
    return [one for one in report.gate.thresholds if not (report.noise_floor and one.name.endswith(of_gain))]


def gate_sentence(gate: GateOutcome, plan: GatePlan) -> str:
    """Return the verdict of the run, with the names of the adapters it is about if there are several."""
    named = [printable(one.name) for one in gate.adapters if one.verdict == gate.verdict]
    whose = f" pour {_join_names(named)}" if len(gate.adapters) > 1 and named else ""
    gains = [
        bar for bar in gate.thresholds if bar.name == ("done_gain" if plan.primary == "deeds" else "relevance_gain")
    ]
    sentence = table("verdicts.gate_sentences")[gate.verdict]
    if any(bar.why in {"seen", "not_seen"} for bar in gains):
        sentence = table("verdicts.seen_sentences").get(gate.verdict, sentence)
    if gate.verdict == "INCONCLUSIVE" and any(reason.code == "measure_blind" for reason in gate.reasons):
        sentence = word("verdicts.blind")
    elif gains and not any(bar.verdict == gate.verdict for bar in gains):
        sentence = table("verdicts.other_bar").get(gate.verdict, sentence)
    bar = points(plan.min_done_gain) if plan.primary == "deeds" else bar_percent(plan.min_gain)
    return typeset(sentence.format(bar=bar, whose=whose, measure=table("verdicts.measures")[plan.primary]))


def adapters_sentence(gate: GateOutcome, require: Require | None = None) -> str:
    """Return the verdict of each of several adapters and, with `require`, which had to pass; empty if not judged."""
    if len(gate.adapters) < 2 or gate.verdict in {"NOT_JUDGED", "OFF"}:
        return ""
    verdicts = [
        f"{one.name} {table('verdicts.adapter_verdicts')[one.verdict]}{_demand(place) if require == 'first' else ''}"
        for place, one in enumerate(gate.adapters[:_MOST_ADAPTERS])
    ]
    if left := len(gate.adapters) - len(verdicts):
        verdicts.append(word("labels.more_entries", count=left))
    rule = table("verdicts.rules")[require] if require else ""
    return typeset(f"{printable(' ; '.join(verdicts))}{rule}.")


def _demand(place: int) -> str:
    return word("verdicts.not_demanded") if place else word("verdicts.demanded")


def _join_names(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[: _MOST_NAMES - 1])} et {len(names) - _MOST_NAMES + 1} autres"
    return " et ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def reason_sentences(gate: GateOutcome) -> list[str]:
    missing = next((reason.values for reason in gate.reasons if reason.code == "missing_pairs"), {})
    stopped = missing.get("missing", 0) < missing.get("selected", 0)
    return [
        word("verdicts.nothing_decided") if reason.code == "nothing_measured" and stopped else reason_sentence(reason)
        for reason in gate.reasons
    ]


def reason_sentence(reason: Reason) -> str:
    values, lacking = reason.values, []
    if reason.code == "nothing_measured" and "others" in values:
        return word("verdicts.nothing_of_required")
    if values.get("missing"):
        lacking.append(word("verdicts.missing_prompts", missing=values["missing"], selected=values.get("selected", 0)))
    if values.get("responses"):
        lacking.append(word("verdicts.missing_responses", count=values["responses"]))
    return fill(table("verdicts.reasons")[reason.code], {**values, "lacking": ", ".join(lacking)})


def threshold_rules(thresholds: Sequence[Threshold], batching: str) -> list[str]:
    """Return how to read a ratio of durations, where there is a threshold on it."""
    if not any(one.name == "latency_ratio" for one in thresholds):
        return []
    return [word("verdicts.latency_rule"), *([word("verdicts.shared_batches")] if batching == "mixed" else [])]


def threshold_value(threshold: Threshold, value: float | None) -> str:
    """Return a value, or the bar, of a threshold in its unit."""
    if value is None:
        return DASH
    if threshold.name in {"relevance_gain", "keyword_gain"}:
        return percent(value, signed=True)
    if threshold.name in {"failure_share", "routing_accuracy", "done_share"}:
        return percent(value)
    known = BUILT_IN.get(threshold.metric or "")
    if threshold.name in {"routing_gain", "done_gain"} or (
        threshold.name == "no_drop" and known is not None and known.spec.unit == "share"
    ):
        return points(value)
    return number(value, 3)


def arm_of(threshold: Threshold, *, several: bool) -> str:
    """Return the arm of a threshold in brackets, where there are several; failures have one for each arm."""
    return f"({threshold.adapter})" if threshold.adapter and (several or threshold.name == "failure_share") else ""


def bar_of(threshold: Threshold) -> str:
    """Return the bar of a threshold with its direction."""
    sign = "≥" if threshold.direction == "at_least" else "≤"
    return f"{sign}{NBSP}{threshold_value(threshold, threshold.bar)}"
