"""The data of the charts, apart from their drawing."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN, KEYWORDS, RELEVANCE, MetricSpec, list_specs
from pytest_jarvis.render.french import explanations, labels
from pytest_jarvis.render.french.formats import gain_interval, number, percent, printable, shorten, typeset
from pytest_jarvis.render.french.metrics import difference, figure, label_of, short_mean
from pytest_jarvis.render.french.saved_runs import drop_notes, replay_mark
from pytest_jarvis.render.french.verdicts import adapters_sentence, early_look, gain_of_all, look_suffix
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.insights import AdapterInsight, CategoryInsight, Insights
from pytest_jarvis.report.analysis.metrics import MetricComparison
from pytest_jarvis.report.schema import Report, ResultRow, Sample
from pytest_jarvis.stats.contrasts import Interval
from pytest_jarvis.stats.estimates import MeanEstimate
from pytest_jarvis.stats.gate import GateVerdict

MOST_GROUPS: Final = 12  # Categories on a panel; of more, those with the most prompts.
MOST_ADAPTERS: Final = 4  # Adapters on a panel, in the order of the options.
_MOST_BINS = 24
_MOST_ROWS = 8  # Key numbers of several adapters.
_MOST_NAME = 20
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: an arm's mean in one category."""

    value: float
    interval: Interval | None
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    """The bars of one category, one per arm; None where nothing was measured."""

    label: str
    bars: tuple[Bar | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPanel:
    """A metric by category."""

    title: str
    note: str
    arms: tuple[str, ...]
    groups: tuple[BarGroup, ...]
    top: float
    """The highest end of an interval or a bar; 1 at most."""
    in_percent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The distribution of the scores of all responses, by arm."""

    title: str
    arms: tuple[str, ...]
    edges: tuple[float, ...]
    """Of the bins; each but the last holds its left end."""
    shares: tuple[tuple[float, ...], ...]
    """By arm and bin: share of the arm's responses."""
    means: tuple[float | None, ...]
    """By arm: mean over prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNumbers:
    """The text box: verdict and key numbers."""

    title: str
    subtitle: str
    verdict: GateVerdict
    verdict_text: str
    advice: str
    rows: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartData:
    """The four panels."""

    relevance: BarPanel
    keywords: BarPanel
    scores: Histogram
    key_numbers: KeyNumbers


def chart_data(report: Report, insights: Insights) -> ChartData:
    """Return what the four panels show; pure."""
    shown = insights.adapters[:MOST_ADAPTERS]
    arms = (word("labels.base"), *(printable(adapter.name) for adapter in shown))
    return ChartData(
        relevance=_bar_panel(word("page.chart_relevance"), arms, shown, BUILT_IN[RELEVANCE].spec),
        keywords=_bar_panel(word("page.chart_keywords"), arms, shown, BUILT_IN[KEYWORDS].spec),
        scores=_histogram(report, arms, shown),
        key_numbers=_key_numbers(report, insights),
    )


def _bar_panel(title: str, arms: tuple[str, ...], adapters: Sequence[AdapterInsight], spec: MetricSpec) -> BarPanel:
    categories = adapters[0].categories
    kept = sorted(range(len(categories)), key=lambda place: -categories[place].averages.planned_tests)[:MOST_GROUPS]
    groups = [
        BarGroup(
            label=printable(categories[place].label),
            bars=_bars([adapter.categories[place] for adapter in adapters], spec),
        )
        for place in sorted(kept)
    ]
    if len(categories) > 1:
        groups.append(BarGroup(label=word("labels.total"), bars=_bars(adapters, spec)))
    ends = [
        max(bar.value, bar.interval[1] if bar.interval else 0.0)
        for group in groups
        for bar in group.bars
        if bar is not None
    ]
    return BarPanel(
        title=title,
        note=_note(len(groups) - (len(categories) > 1), len(categories)),
        arms=arms,
        groups=tuple(groups),
        top=min(1.0, max(ends, default=1.0)) or 1.0,
        in_percent=spec.unit == "share",
    )


def _note(shown: int, total: int) -> str:
    return word("page.chart_note_part", shown=shown, total=total) if shown < total else word("page.chart_note")


def _bars(parts: Sequence[AdapterInsight | CategoryInsight], spec: MetricSpec) -> tuple[Bar | None, ...]:
    metrics = [part.metrics.get(spec.name) for part in parts]
    base = next((metric.base for metric in metrics if metric is not None), None)
    estimates = (base, *(metric.finetuned if metric is not None else None for metric in metrics))
    return tuple(None if estimate is None else _bar(estimate, spec) for estimate in estimates)


def _bar(estimate: MeanEstimate, spec: MetricSpec) -> Bar:
    ends = estimate.interval
    # A share ends at 0 and 1, whatever Student's t says.
    inside = None if ends is None else (max(0.0, ends[0]), min(1.0, ends[1]))
    return Bar(value=estimate.mean, interval=inside, label=short_mean(estimate.mean, spec.unit))


def _histogram(report: Report, arms: tuple[str, ...], adapters: Sequence[AdapterInsight]) -> Histogram:
    by_arm = [_scores(report.of_adapter(adapters[0].name), of_base=True)]
    by_arm += [_scores(report.of_adapter(adapter.name), of_base=False) for adapter in adapters]
    edges = _edges(report, [score for scores in by_arm for score in scores])
    relevance = [adapter.metrics.get(RELEVANCE) for adapter in adapters]
    base = next((metric.base.mean for metric in relevance if metric is not None), None)
    return Histogram(
        title=word("page.chart_scores"),
        arms=arms,
        edges=edges,
        shares=tuple(_shares(scores, edges) for scores in by_arm),
        means=(base, *(metric.finetuned.mean if metric else None for metric in relevance)),
    )


def _scores(rows: Sequence[ResultRow], *, of_base: bool) -> list[float]:
    return [
        score
        for row in rows
        if row.measured
        for sample in row.samples
        if (sample.arm != row.adapter) == of_base and (score := sample.score(RELEVANCE)) is not None
    ]


def _edges(report: Report, scores: Sequence[float]) -> tuple[float, ...]:
    """Return bins in [0, 1] around the possible scores: multiples of the worth of one term, joined if they are many."""
    if not scores:
        return (0.0, 1.0)
    step = min((worth for row in report.results for one in row.samples if (worth := _worth(one))), default=0.05)
    together = max(1, math.ceil((max(scores) / step + 1) / _MOST_BINS))
    count = math.floor(max(scores) / (step * together) + _ROUNDING) + 1
    ends = (min(1.0, (place * together - 0.5) * step) for place in range(1, count + 1))
    return (0.0, *ends)


def _worth(sample: Sample) -> float | None:
    """Return the relevance of one term; None at the ends of the scale."""
    score = sample.score(RELEVANCE)
    if not sample.terms_found or score is None or not 0 < score < 1:
        return None
    return score / len(sample.terms_found)


def _shares(scores: Sequence[float], edges: Sequence[float]) -> tuple[float, ...]:
    counts = [0] * (len(edges) - 1)
    for score in scores:
        counts[min(len(counts) - 1, bisect_right(edges, score + _ROUNDING) - 1)] += 1
    return tuple(count / len(scores) if scores else 0.0 for count in counts)


def _key_numbers(report: Report, insights: Insights) -> KeyNumbers:
    metadata, candidate = report.metadata, insights.candidate
    notes = (
        *labels.cautions(report),
        *drop_notes(report),
        replay_mark(report),
        adapters_sentence(report.gate, metadata.plan.require),
        typeset(_early(report, insights)),
    )
    model = labels.model_label(report.provenance.engine)
    subtitle = (
        f"{metadata.timestamp.replace('T', ' ').removesuffix('+00:00')} UTC",
        labels.storage(metadata.quantization, ""),
        labels.device(metadata.device),
        word("page.adapters", count=len(insights.adapters)) if len(insights.adapters) > 1 else "",
    )
    return KeyNumbers(
        title=" + ".join([printable(model), ", ".join(map(printable, metadata.adapters))]),
        subtitle=" · ".join(filter(None, map(printable, subtitle))),
        verdict=report.gate.verdict,
        verdict_text=table("labels.gate_short")[report.gate.verdict],
        advice=_advice(report, candidate),
        rows=tuple(_key_rows(report, insights)),
        notes=tuple(filter(None, notes)),
    )


def _advice(report: Report, candidate: AdapterInsight) -> str:
    if candidate.advice is not None:
        named = f"{printable(candidate.name)} : " if len(report.metadata.adapters) > 1 else ""
        return typeset(f"{named}{explanations.advice_of(report, candidate.name, candidate.advice)}")
    if report.noise_floor:
        return word("labels.noise_rule")
    if candidate.decision is not None:
        return table("labels.gate_short")[report.gate.verdict]
    return word("verdicts.nothing_decided") if candidate.changes else word("labels.nothing_measured")


def _early(report: Report, insights: Insights) -> str:
    several = len(insights.adapters) > 1
    return " ; ".join(
        f"{f'{printable(one.name)}, ' if several else ''}{gain_of_all(report, one.name)}"
        for one in insights.adapters[:MOST_ADAPTERS]
        if early_look(report, one.decision)
    )


def _key_rows(report: Report, insights: Insights) -> list[tuple[str, str]]:
    """Return the key numbers; with several adapters those that each of them has, under its name."""
    shown = insights.adapters[:MOST_ADAPTERS]
    several = len(insights.adapters) > 1
    gains = [
        (
            _of(one, labels.key_gain(look_suffix(early_look(report, one.decision)), several=several), named=several),
            f"{percent(one.decision.gain, signed=True)} {gain_interval(one.decision.judged_interval)}",
        )
        for one in shown
        if one.decision is not None
    ]
    groups = [
        [
            (_of(one, label_of(spec), named=several), _both(one.metrics[spec.name], spec))
            for one in shown
            if spec.name in one.metrics
        ]
        for spec in list_specs("column", per="response")
    ]
    counted = f"{report.statistics.total_tests}/{report.statistics.planned_tests}"
    measured = [
        (
            table("labels.fields")["prompts"],
            word("labels.prompts_measured", prompts=counted, responses=report.metadata.samples_per_prompt),
        )
    ]
    if not several:
        return [*gains, *(row for group in groups for row in group), *measured, *_more_of(insights.candidate)]
    rows = [*gains, *measured]
    for group in groups:
        # A number of some adapters only would compare nothing.
        rows += group if len(rows) + len(group) <= _MOST_ROWS else []
    return rows


def _of(adapter: AdapterInsight, label: str, *, named: bool) -> str:
    return f"{label} ({shorten(printable(adapter.name), _MOST_NAME)})" if named else label


def _more_of(candidate: AdapterInsight) -> list[tuple[str, str]]:
    rows = [
        (
            table("labels.criteria")[flips.criterion],
            word("labels.flip_counts", before=flips.base_right, after=flips.finetuned_right, prompts=flips.prompts),
        )
        for flips in candidate.flips
    ]
    pairs = ((spec, candidate.averages.figure(spec.name).finetuned) for spec in list_specs("column", per="pair"))
    return [*rows, *((label_of(spec), number(mean)) for spec, mean in pairs if mean is not None)]


def _both(metric: MetricComparison, spec: MetricSpec) -> str:
    base, tuned = figure(metric.base.mean, spec.unit), figure(metric.finetuned.mean, spec.unit)
    return f"{base} → {tuned} ({difference(metric.change.difference, spec.unit)})"
