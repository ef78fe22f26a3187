"""Metrics of rows: values of both arms in step, comparisons, results of metrics without a column. Pure functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller

from pytest_jarvis.metrics.registry import BUILT_IN, MetricSpec, list_specs
from pytest_jarvis.report.schema import AdapterMetric, MetricAverages, MetricResult, Report, ResultRow, Sample
from pytest_jarvis.stats.contrasts import pair_replicates
from pytest_jarvis.stats.estimates import Difference, MeanEstimate, Ratio, compare, compare_as_ratio, estimate_mean

Values = tuple[float, ...]
"""One prompt's values of a metric, one per replicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric over the prompts measured in both arms: means over prompts of means over replicates."""

    prompts: int
    base: MeanEstimate
    finetuned: MeanEstimate
    change: Difference
    """finetuned - base; replicates drawn with the same noise are paired."""
    ratio: Ratio
    """finetuned / base."""


def pair_values(row: ResultRow, metric: str | Callable[[Sample], float | None]) -> tuple[Values, Values]:
    """Return a prompt's values of a metric, or of a function of a sample, in step by arm; empty where not measured."""
    read = methodcaller("score", metric) if isinstance(metric, str) else metric
    arms: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for sample in row.samples:
        if (number := read(sample)) is not None:
            arms[sample.arm == row.adapter][sample.replicate] = number
    return pair_replicates(*arms)


def collect_pairs(rows: Sequence[ResultRow], metric: str) -> tuple[list[Values], list[Values]]:
    """Return the values of base and adapter, a sequence per prompt measured in both."""
    pairs = [pair for row in rows if all(pair := pair_values(row, metric))]
    return [base for base, _ in pairs], [tuned for _, tuned in pairs]


def compare_rows(
    rows: Sequence[ResultRow], metric: str, alpha: float, *, shared_noise: bool = True
) -> MetricComparison | None:
    """Compare the arms on the prompts measured in both; None where there is none."""
    base, tuned = collect_pairs(rows, metric)
    return compare_pairs(base, tuned, alpha, shared_noise=shared_noise) if base else None


def compare_pairs(
    base: Sequence[Values], tuned: Sequence[Values], alpha: float, *, shared_noise: bool
) -> MetricComparison:
    """Compare the values of at least one prompt, as `collect_pairs` returns them."""
    return MetricComparison(
        prompts=len(base),
        base=estimate_mean(base, alpha=alpha),
        finetuned=estimate_mean(tuned, alpha=alpha),
        change=compare(base, tuned, alpha=alpha, shared_noise=shared_noise),
        ratio=compare_as_ratio(base, tuned, alpha=alpha, shared_noise=shared_noise),
    )


def collect_pair_scores(rows: Sequence[ResultRow], spec: MetricSpec) -> list[tuple[float, ...]]:
    """Return the values of a metric of pairs, a sequence per prompt that has any."""
    found = [tuple(value for one in row.samples if (value := one.score(spec.name)) is not None) for row in rows]
    return [values for values in found if values]


def metric_names(rows: Iterable[ResultRow]) -> set[str]:
    """Return the metrics with a stored score in the rows; those read from a response on demand are not among them."""
    return {name for row in rows for sample in row.samples for name in sample.scores}


def line_specs(rows: Sequence[ResultRow], declared: Sequence[MetricSpec]) -> tuple[MetricSpec, ...]:
    """Return the further metrics: measured built-in ones, declared ones, and the hook's, whose name is their label."""
    found = metric_names(rows)
    unknown = found - {spec.name for spec in declared} - BUILT_IN.keys()
    return (
        *(spec for spec in list_specs("line") if spec.name in found),
        *declared,
        *(MetricSpec(name=name, label=name) for name in sorted(unknown)),
    )


def all_specs(report: Report) -> dict[str, MetricSpec]:
    """Return every metric of a report by name, built-in ones first, with those that only its samples have."""
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
    """Return each metric, overall and per category, for each adapter, given its rows and error rate by name."""
    return {
        spec.name: MetricResult(
            spec=spec,
            by_adapter={
                name: AdapterMetric(
                    overall=_averages(spec, own, alpha[name], shared_noise=shared_noise),
                    by_category={
                        key: _averages(
                            spec, [row for row in own if row.category == key], alpha[name], shared_noise=shared_noise
                        )
                        for key in categories
                    },
                )
                for name, own in rows.items()
            },
        )
        for spec in specs
    }


def _averages(spec: MetricSpec, rows: Sequence[ResultRow], alpha: float, *, shared_noise: bool) -> MetricAverages:
    measured = [row for row in rows if row.measured]
    missing = sum(sample.score(spec.name) is None for row in measured for sample in _samples(spec, row))
    if spec.per == "pair":
        pairs = collect_pair_scores(measured, spec)
        mean = estimate_mean(pairs, alpha=alpha) if pairs else None
        return MetricAverages(
            prompts=len(pairs),
            not_measured=missing,
            base=None,
            finetuned=None,
            value=mean.mean if mean else None,
            interval=mean.interval if mean else None,
        )
    compared = compare_rows(measured, spec.name, alpha, shared_noise=shared_noise)
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
    if spec.per == "response":
        return row.samples
    partners = {sample.replicate for sample in row.samples if sample.arm != row.adapter}
    return [sample for sample in row.of_arm(row.adapter) if sample.replicate in partners]
