"""What a report says of the metrics that have no column of their own: means per arm, differences, intervals. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_jarvis.metrics.registry import BUILT_IN, MetricSpec, placed
from pytest_jarvis.report.analysis.changes import compare_rows, value_of
from pytest_jarvis.report.schema import AdapterMetric, MetricAverages, MetricResult, Report, ResultRow, Sample
from pytest_jarvis.stats.estimates import estimate_mean


def pairs_of(rows: Sequence[ResultRow], spec: MetricSpec) -> list[tuple[float, ...]]:
    """Give back the numbers of a metric of pairs, a sequence per prompt that has any."""
    read = value_of(spec.name)
    found = [tuple(value for sample in row.samples if (value := read(sample)) is not None) for row in rows]
    return [values for values in found if values]


def scored(rows: Iterable[ResultRow]) -> set[str]:
    """Return the metrics that a response of the rows has a score of; those read off a response itself are not here."""
    return {name for row in rows for sample in row.samples for name in sample.scores}


def line_specs(rows: Sequence[ResultRow], declared: Sequence[MetricSpec]) -> tuple[MetricSpec, ...]:
    """Return the metrics in lines of their own: built-in ones that were measured, those declared, those of the hook.

    Of the last nobody said what they are: their name is their label, and more of them counts as better.
    """
    found = scored(rows)
    unknown = found - {spec.name for spec in declared} - BUILT_IN.keys()
    return (
        *(spec for spec in placed("line") if spec.name in found),
        *declared,
        *(MetricSpec(name=name, label=name) for name in sorted(unknown)),
    )


def specs_of(report: Report) -> dict[str, MetricSpec]:
    """Return every metric of a report by name: the built-in ones, then the others, if only its samples have them."""
    named = [metric.spec for metric in report.metrics.values()]
    specs = (*(metric.spec for metric in BUILT_IN.values()), *line_specs(report.results, named))
    return {spec.name: spec for spec in specs}


def line_metrics(
    specs: Sequence[MetricSpec],
    rows: Mapping[str, Sequence[ResultRow]],
    categories: Sequence[str],
    alpha: Mapping[str, float],
    *,
    shared_noise: bool,
) -> dict[str, MetricResult]:
    """Give back each metric, overall and per category, for each adapter: its rows and its error rate by its name."""
    return {
        spec.name: MetricResult(
            spec=spec,
            by_adapter={
                name: AdapterMetric(
                    overall=_averages(spec, own, alpha[name], shared_noise=shared_noise),
                    by_category={
                        category: _averages(
                            spec,
                            [row for row in own if row.category == category],
                            alpha[name],
                            shared_noise=shared_noise,
                        )
                        for category in categories
                    },
                )
                for name, own in rows.items()
            },
        )
        for spec in specs
    }


def _averages(spec: MetricSpec, rows: Sequence[ResultRow], alpha: float, *, shared_noise: bool) -> MetricAverages:
    measured = [row for row in rows if row.measured]
    read = value_of(spec.name)
    missing = sum(read(sample) is None for row in measured for sample in _samples(spec, row))
    if spec.per == "pair":
        pairs = pairs_of(measured, spec)
        mean = estimate_mean(pairs, alpha=alpha) if pairs else None
        return MetricAverages(
            prompts=len(pairs),
            not_measured=missing,
            base=None,
            finetuned=None,
            value=mean.mean if mean else None,
            interval=mean.interval if mean else None,
        )
    compared = compare_rows(measured, read, alpha, shared_noise=shared_noise)
    if compared is None:
        return MetricAverages(prompts=0, not_measured=missing, base=None, finetuned=None, value=None)
    return MetricAverages(
        prompts=compared.prompts,
        not_measured=missing,
        base=compared.base.mean,
        finetuned=compared.finetuned.mean,
        value=compared.change.difference,
        base_interval=compared.base.interval,
        finetuned_interval=compared.finetuned.interval,
        interval=compared.change.interval,
    )


def _samples(spec: MetricSpec, row: ResultRow) -> Sequence[Sample]:
    """Give back the samples of a row that the metric can be of: of pairs, the adapter's with a partner."""
    if spec.per == "response":
        return row.samples
    partners = {sample.replicate for sample in row.samples if sample.arm != row.adapter}
    return [sample for sample in row.of_arm(row.adapter) if sample.replicate in partners]
