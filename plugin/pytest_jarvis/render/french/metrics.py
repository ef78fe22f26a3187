"""The metrics that others added, in French: names of their bars, figures, what was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_jarvis.metrics.custom import MetricSpec
from pytest_jarvis.render.french import thresholds
from pytest_jarvis.render.french.formats import DASH, bracket, number, plural, signed, typeset
from pytest_jarvis.render.french.verdicts import at_look, early_look, shown_thresholds
from pytest_jarvis.report.schema import AddedMetric, MetricAverages, Report
from pytest_jarvis.stats.thresholds import Threshold

TITLE: Final = "Métriques ajoutées"
PER_PAIR: Final = "(par paire)"


def threshold_title(threshold: Threshold, metrics: Mapping[str, AddedMetric]) -> str:
    """Return what a bar is on; on a metric that others added, with its label."""
    title = thresholds.THRESHOLD_NAMES[threshold.name]
    if threshold.metric is None:
        return title
    known = metrics.get(threshold.metric)
    return typeset(f"{title} : {known.spec.label if known else threshold.metric}")


def threshold_rows(report: Report) -> list[tuple[str, str, str, str, str]]:
    """Return the bars of a run: what each is on, its value, what was asked, the verdict and why."""
    names = {key: item.label for key, item in report.by_category.items()}
    several = len(report.metadata.adapters) > 1
    rows = []
    for one in shown_thresholds(report):
        parts = (
            threshold_title(one, report.metrics),
            names.get(one.category or "", one.category or ""),
            thresholds.whose(one, several=several),
        )
        title = " ".join(part for part in parts if part)
        value, bar = thresholds.threshold_value(one, one.value), thresholds.bar_of(one)
        rows.append((title, value, bar, thresholds.THRESHOLD_VERDICTS[one.verdict], why_of(report, one)))
    return rows


def why_of(report: Report, threshold: Threshold) -> str:
    """Return why a bar has its verdict, and at how many responses where that is not all that were drawn."""
    early = early_look(report, report.decisions.get(threshold.adapter or ""))
    return typeset(f"{thresholds.WHY[threshold.why]}{at_look(early) if threshold.name == 'relevance_gain' else ''}")


def names_of(report: Report) -> dict[str, MetricSpec]:
    """Return the added metrics by name; of a report that does not say what they are, those of its samples."""
    if report.metrics:
        return {name: metric.spec for name, metric in report.metrics.items()}
    found = sorted({name for row in report.results for sample in row.samples for name in sample.extra})
    return {name: MetricSpec(name=name, label=name) for name in found}


def label_of(spec: MetricSpec) -> str:
    """Return the label of a metric, and that it is one of pairs where it is."""
    return f"{spec.label} {PER_PAIR}" if spec.per == "pair" else spec.label


def figure(value: float | None) -> str:
    """Return a mean of an added metric, in its own unit: whole numbers of a certain size need no decimals."""
    return number(value, 3 if value is None or abs(value) < 100 else 0)


def difference(value: float | None) -> str:
    """Return a difference of such means with its sign."""
    return signed(value, 3 if value is None or abs(value) < 100 else 0)


def metric_cells(spec: MetricSpec, averages: MetricAverages) -> tuple[str, str, str, str]:
    """Return base, fine-tuned, difference and interval; of pairs, their mean stands for the difference."""
    if averages.value is None:
        return (DASH, DASH, DASH, DASH)
    write = figure if spec.per == "pair" else difference
    means = (figure(averages.base), figure(averages.finetuned))
    return (*means, write(averages.value), bracket(averages.interval, write))


def metric_line(spec: MetricSpec, averages: MetricAverages) -> str:
    """Return an added metric in one line."""
    base, tuned, change, interval = metric_cells(spec, averages)
    if spec.per == "pair":
        return typeset(f"{label_of(spec)} : {change} {interval}")
    if averages.value is None:
        return typeset(f"{spec.label} : non mesuré")
    return typeset(f"{spec.label} : {base} → {tuned}, écart {change} {interval}")


def not_measured(spec: MetricSpec, averages: MetricAverages) -> str:
    """Return how many responses or pairs an added metric left out; empty where none."""
    if not averages.not_measured:
        return ""
    left_out = plural(averages.not_measured, "paire" if spec.per == "pair" else "réponse")
    many = "" if averages.not_measured < 2 else "s"
    return typeset(f"{spec.label} : {left_out} sans mesure, laissée{many} de côté.")
