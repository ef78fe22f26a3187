"""Two sections of `report.txt`: the figures of one adapter against the base, overall and by category."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from pytest_jarvis.render.french import DASH, bracket, gain_interval, labels, number, percent, points, signed
from pytest_jarvis.render.french.labels import FIELDS
from pytest_jarvis.render.french.routing import share_cells
from pytest_jarvis.render.text import custom_metrics as text_metrics
from pytest_jarvis.render.text.layout import pairs, paragraph, table
from pytest_jarvis.report.analysis.changes import MetricComparison
from pytest_jarvis.report.analysis.insights import AdapterInsight
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.contrasts import Interval

Writer = Callable[[float], str]


def statistics(report: Report, insight: AdapterInsight) -> Iterator[str]:
    """Yield the table of means with their intervals, over all prompts, and the cosine."""
    measures: list[tuple[str, MetricComparison | None, Writer, Writer]] = [
        (FIELDS["relevance"], insight.relevance, lambda value: number(value, 3), signed),
        (FIELDS["keywords"], insight.keywords, percent, points),
        *((labels.CRITERIA[flips.criterion], flips.share, percent, points) for flips in insight.flips),
        (FIELDS["characters"], insight.characters, lambda value: number(value, 0), lambda value: signed(value, 0)),
        (FIELDS["seconds"], insight.seconds, lambda value: number(value, 2), lambda value: signed(value, 2)),
    ]
    unbounded = {FIELDS["characters"], FIELDS["seconds"]}
    rows: list[tuple[str, ...]] = []
    for label, metric, write, write_change in measures:
        rows += _measure_rows(label, metric, write, write_change, highest=math.inf if label in unbounded else 1.0)
    rows += text_metrics.statistics_rows(report, insight.name)
    if all(metric is None for _, metric, _, _ in measures):
        yield from paragraph(labels.NOTHING_MEASURED)
        return
    yield from table((FIELDS["measure"], labels.BASE, insight.name, FIELDS["change"]), rows, (27, 15, 15, 18))
    cosine = insight.averages.avg_cosine_similarity
    # What any two texts reach was measured with the candidate's responses.
    reference = report.provenance.mismatched_cosine if insight.name == report.metadata.lora_adapter else None
    yield ""
    yield from pairs(
        [
            (FIELDS["cosine"], number(cosine) if cosine is not None else ""),
            (FIELDS["mismatched"], labels.mismatched_sentence(reference) if reference is not None else ""),
        ]
    )
    yield from text_metrics.left_out(report, insight.name)


def _measure_rows(
    label: str, metric: MetricComparison | None, write: Writer, write_change: Writer, *, highest: float
) -> list[tuple[str, ...]]:
    """Return a metric's row of values and, under it, the row of their intervals."""
    if metric is None:
        return [(label, DASH, DASH, DASH)]
    values = (label, write(metric.base.mean), write(metric.finetuned.mean), write_change(metric.change.difference))
    if metric.change.interval is None:
        return [values]
    return [
        values,
        (
            "",
            bracket(_between(metric.base.interval, highest), write),
            bracket(_between(metric.finetuned.interval, highest), write),
            bracket(metric.change.interval, write_change),
        ),
    ]


def _between(interval: Interval | None, highest: float) -> Interval | None:
    """Return what of an interval a metric that goes from 0 to `highest` can be."""
    return None if interval is None else (max(0.0, interval[0]), min(highest, interval[1]))


def categories(report: Report, insight: AdapterInsight, *, gains: bool = True) -> Iterator[str]:
    """Yield the tables of relevance, keywords and added metrics by category; differences where there are no `gains`."""
    widths = (22, 7, 8, 8, 9, 19)
    heads = (FIELDS["counted"], labels.BASE, insight.name)
    relevance, keywords = [], []
    write = _gain_cells if gains else _change_cells
    for item in insight.categories:
        counted = f"{item.averages.total_tests}/{item.averages.planned_tests}"
        relevance.append((item.label, counted, *write(item.relevance)))
        keywords.append((item.label, counted, *share_cells(item.keywords)))
    counted = f"{insight.averages.total_tests}/{insight.averages.planned_tests}"
    relevance.append((labels.TOTAL, counted, *write(insight.relevance)))
    keywords.append((labels.TOTAL, counted, *share_cells(insight.keywords)))
    change = FIELDS["gain" if gains else "change"]
    yield from table((FIELDS["relevance"], *heads, change, FIELDS["interval"]), relevance, widths)
    yield ""
    yield from table((FIELDS["keywords"], *heads, FIELDS["change"], FIELDS["interval"]), keywords, widths)
    yield from text_metrics.category_tables(report, insight.name)
    if insight.name == report.metadata.lora_adapter:
        yield from ("", *paragraph(labels.INTERVALS_RULE))


def _gain_cells(metric: MetricComparison | None) -> tuple[str, str, str, str]:
    if metric is None:
        return (DASH, DASH, DASH, DASH)
    ratio = metric.ratio
    ends = None if ratio.interval is None else (ratio.interval[0] - 1, ratio.interval[1] - 1)
    return (
        number(metric.base.mean, 3),
        number(metric.finetuned.mean, 3),
        percent(None if ratio.value is None else ratio.value - 1, signed=True),
        gain_interval(ends),
    )


def _change_cells(metric: MetricComparison | None) -> tuple[str, str, str, str]:
    """Return the difference instead of a gain, which a base against itself has not."""
    if metric is None:
        return (DASH, DASH, DASH, DASH)
    change = metric.change
    means = (number(metric.base.mean, 3), number(metric.finetuned.mean, 3))
    return (*means, signed(change.difference), bracket(change.interval, signed))
