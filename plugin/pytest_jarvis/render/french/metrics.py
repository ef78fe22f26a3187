"""Metrics and thresholds: labels, figures in their units, what was not measured."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN, MetricSpec, Unit
from pytest_jarvis.render.french import verdicts
from pytest_jarvis.render.french.formats import (
    DASH,
    bracket,
    number,
    percent,
    plural,
    points,
    printable,
    seconds,
    signed,
    typeset,
)
from pytest_jarvis.render.french.verdicts import early_look, look_suffix, shown_thresholds
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.metrics import MetricComparison, line_specs
from pytest_jarvis.report.schema import Figure, MetricAverages, MetricResult, Report
from pytest_jarvis.stats.gate import GateOutcome
from pytest_jarvis.stats.thresholds import Threshold

LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "jarvis_relevance": ("Pertinence JARVIS", "pertinence"),
    "deeds": ("Actions faites", "actions faites"),
    "keyword_share": ("Mots-clés trouvés", "mots-clés"),
    "keyword_match": ("Mots-clés trouvés par réponse", "mots-clés par réponse"),
    "dictionary_relevance": ("Pertinence, dictionnaire entier", "pertinence sur le dictionnaire"),
    "cosine_similarity": ("Similarité cosinus", "cosinus"),
    "tool_routing": ("Bon outil choisi", "bon outil choisi"),
    "characters": ("Caractères", "caractères"),
    "tokens": ("Tokens", "tokens"),
    "seconds": ("Durée (s)", "durée (s)"),
}
"""Of each built-in metric: its label, and a shorter one for the heads of columns."""
_DIGITS: Final[Mapping[Unit, int]] = {"score": 3, "similarity": 2, "count": 0, "seconds": 2}


def threshold_title(threshold: Threshold, metrics: Mapping[str, MetricResult]) -> str:
    """Return the name of a threshold, with the label of its metric if it is on one."""
    title = table("verdicts.threshold_names")[threshold.name]
    if threshold.metric is None:
        return title
    return typeset(f"{title} : {_label(threshold.metric, metrics)}")


def _label(metric: str, metrics: Mapping[str, MetricResult]) -> str:
    known = metrics.get(metric)
    return LABELS.get(metric, (known.spec.label if known else metric,))[0]


def threshold_rows(report: Report) -> list[tuple[str, str, str, str, str]]:
    """Return the thresholds of a run: name, value, bar, verdict and why."""
    several = len(report.metadata.adapters) > 1
    rows = []
    for one in shown_thresholds(report):
        parts = (
            threshold_title(one, report.metrics),
            report.category_label(one.category) if one.category else "",
            verdicts.arm_of(one, several=several),
        )
        title = " ".join(part for part in parts if part)
        early = early_look(report, report.decisions.get(one.adapter or "")) if one.name == "relevance_gain" else 0
        if one.responses in report.metadata.plan.looks and one.responses < report.metadata.samples_per_prompt:
            early = one.responses
        why = typeset(f"{table('verdicts.why')[one.why]}{look_suffix(early)}")
        value, bar = verdicts.threshold_value(one, one.value), verdicts.bar_of(one)
        rows.append((title, value, bar, table("verdicts.threshold_verdicts")[one.verdict], why))
    return rows


def verdict_sentences(gate: GateOutcome, metrics: Mapping[str, MetricResult]) -> list[str]:
    """Return why the run is judged as it is: its reasons, then each bar that it misses, else each that is open."""
    named = [printable(one.name) for one in gate.adapters]
    bars = [one for one in gate.thresholds if one.name not in {"relevance_gain", "failure_share"}]
    sentences = []
    for verdict, templates in (("FAIL", table("verdicts.missed")), ("INCONCLUSIVE", table("verdicts.open"))):
        for one in bars if gate.verdict == verdict else ():
            if one.verdict == verdict:
                ends = [
                    verdicts.threshold_value(one, one.values[end]) for end in ("lower", "upper") if end in one.values
                ]
                sentence = templates.get(one.name, templates["other"]).format(
                    metric=threshold_title(one, metrics)
                    if one.name != "no_drop"
                    else _label(one.metric or "", metrics),
                    value=verdicts.threshold_value(one, one.value),
                    interval=f" [{' ; '.join(ends)}]" if ends else "",
                    bar=verdicts.bar_of(one),
                    whose=f" pour {printable(one.adapter)}" if len(named) > 1 and one.adapter else "",
                )
                sentences.append(typeset(sentence))
    return [*verdicts.reason_sentences(gate), *sentences]


def specs_by_name(report: Report) -> dict[str, MetricSpec]:
    """Return the metrics with a line of their own, by name; taken from the samples where the report lists none."""
    named = [metric.spec for metric in report.metrics.values()]
    return {spec.name: spec for spec in line_specs(report.results, named)}


def find_spec(name: str) -> MetricSpec:
    """Return a built-in metric, or one that has only the name."""
    return BUILT_IN[name].spec if name in BUILT_IN else MetricSpec(name=name, label=name)


def label_of(spec: MetricSpec) -> str:
    """Return the label of a metric; of a custom metric of pairs, with « (par paire) »."""
    if spec.name in LABELS:
        return LABELS[spec.name][0]
    return f"{spec.label} {word('metrics.per_pair')}" if spec.per == "pair" else spec.label


def short_label(spec: MetricSpec) -> str:
    return LABELS[spec.name][1] if spec.name in LABELS else printable(label_of(spec))


def figure(value: float | None, unit: Unit = "own") -> str:
    """Return a mean in its unit; in a custom unit, without decimals from 100 on."""
    return percent(value) if unit == "share" else number(value, _digits(value, unit))


def difference(value: float | None, unit: Unit = "own") -> str:
    """Return a difference of two means with its sign; of shares, in points."""
    return points(value) if unit == "share" else signed(value, _digits(value, unit))


def _digits(value: float | None, unit: Unit) -> int:
    return _DIGITS.get(unit, 3 if value is None or abs(value) < 100 else 0)


def short_mean(value: float | None, unit: Unit) -> str:
    """Return a short mean: shares in whole per cent, durations with their unit."""
    if unit == "share":
        return percent(value, 0)
    return seconds(value) if unit == "seconds" else figure(value, unit)


def short_means(spec: MetricSpec, means: Figure) -> str:
    """Return the short means of both arms, or that of the pairs."""
    arms = (means.finetuned,) if spec.per == "pair" else (means.base, means.finetuned)
    return " → ".join(short_mean(mean, spec.unit) for mean in arms)


def means_line(spec: MetricSpec, base: float, finetuned: float) -> str:
    """Return two means in one line: « Bon outil choisi : 51,7 % → 83,3 % (+31,7 pt) »."""
    write = partial(figure, unit=spec.unit)
    change = difference(finetuned - base, spec.unit)
    return typeset(f"{label_of(spec)} : {write(base)} → {write(finetuned)} ({change})")


def compared_cells(spec: MetricSpec, found: MetricComparison | None) -> tuple[str, str, str, str]:
    """Return base, fine-tuned, difference and its interval; dashes where nothing was measured."""
    if found is None:
        return (DASH, DASH, DASH, DASH)
    write = partial(difference, unit=spec.unit)
    means = (figure(found.base.mean, spec.unit), figure(found.finetuned.mean, spec.unit))
    return (*means, write(found.change.difference), bracket(found.change.interval, write))


def digits_of_noise(name: str) -> int:
    """Return the decimals of a metric's noise floor, where shares are not per cent."""
    return _DIGITS.get(find_spec(name).unit, 3)


def metric_cells(spec: MetricSpec, averages: MetricAverages) -> tuple[str, str, str, str]:
    """Return base, fine-tuned, difference and interval; the mean of pairs in place of a difference."""
    if averages.value is None:
        return (DASH, DASH, DASH, DASH)
    write = partial(figure if spec.per == "pair" else difference, unit=spec.unit)
    means = (figure(averages.base, spec.unit), figure(averages.finetuned, spec.unit))
    return (*means, write(averages.value), bracket(averages.interval, write))


def metric_line(spec: MetricSpec, averages: MetricAverages) -> str:
    base, tuned, change, interval = metric_cells(spec, averages)
    if spec.per == "pair":
        return typeset(f"{label_of(spec)} : {change} {interval}")
    if averages.value is None:
        return typeset(f"{label_of(spec)} : non mesuré")
    return typeset(f"{label_of(spec)} : {base} → {tuned}, écart {change} {interval}")


def not_measured(spec: MetricSpec, averages: MetricAverages) -> str:
    """Return how many responses or pairs a custom metric left out; empty for none."""
    if not averages.not_measured:
        return ""
    left_out = plural(averages.not_measured, "paire" if spec.per == "pair" else "réponse")
    many = "" if averages.not_measured < 2 else "s"
    return typeset(f"{LABELS.get(spec.name, (spec.label,))[0]} : {left_out} sans mesure, laissée{many} de côté.")
