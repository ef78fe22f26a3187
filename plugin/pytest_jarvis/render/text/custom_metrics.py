"""What `report.txt` says of the metrics that others added: their rows among the figures, their tables per category."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_jarvis.render.french import DASH, bracket, labels
from pytest_jarvis.render.french import metrics as wording
from pytest_jarvis.render.french.labels import FIELDS
from pytest_jarvis.render.text.layout import paragraph, table
from pytest_jarvis.report.schema import Report


def statistics_rows(report: Report, adapter: str) -> Iterator[tuple[str, ...]]:
    """Yield a row of means for each metric of others and, under it, the row of their intervals."""
    for metric in report.metrics.values():
        averages = metric.by_adapter[adapter].overall
        base, tuned, change, interval = wording.metric_cells(metric.spec, averages)
        yield (wording.label_of(metric.spec), base, tuned, change)
        if interval != DASH:
            ends = (averages.base_interval, averages.finetuned_interval)
            yield ("", *("" if one is None else bracket(one, wording.figure) for one in ends), interval)


def left_out(report: Report, adapter: str) -> Iterator[str]:
    """Yield how much each metric of others left out."""
    for metric in report.metrics.values():
        if sentence := wording.not_measured(metric.spec, metric.by_adapter[adapter].overall):
            yield from paragraph(sentence)


def category_tables(report: Report, adapter: str) -> Iterator[str]:
    """Yield a table per metric of others: a row per category, then all of them."""
    names = {key: item.label for key, item in report.by_category.items()}
    for metric in report.metrics.values():
        of = metric.by_adapter[adapter]
        entries = [*((names.get(key, key), one) for key, one in of.by_category.items()), (labels.TOTAL, of.overall)]
        rows = [(label, str(one.prompts), *wording.metric_cells(metric.spec, one)) for label, one in entries]
        heads = (wording.label_of(metric.spec), FIELDS["counted"], labels.BASE, adapter)
        yield ""
        yield from table((*heads, FIELDS["change"], FIELDS["interval"]), rows, (22, 7, 8, 8, 9, 19))
