"""Sections on the verdict: gate, advice, thresholds, adapters side by side, regression, noise floor."""

from collections.abc import Iterable, Iterator
from functools import partial

from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE, MetricSpec, list_specs
from pytest_jarvis.render.blocks import (
    Block,
    Cell,
    Column,
    Table,
    Text,
    Tone,
    columns,
    field,
    items,
    prompt_count,
    with_name,
)
from pytest_jarvis.render.french import labels, metrics, saved_runs
from pytest_jarvis.render.french.explanations import (
    advice_of,
    explain_report,
    settle_sentence,
    warning_sentence,
    weakest_sentence,
)
from pytest_jarvis.render.french.formats import DASH, bracket, gain_interval, percent
from pytest_jarvis.render.french.verdicts import (
    adapters_sentence,
    decision_line,
    gate_sentence,
    is_judged,
    shown_thresholds,
    threshold_rules,
)
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights, ranked_metric
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.regression import RegressionVerdict


def verdict(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the verdict of the run with its reasons, then decision and advice of each adapter."""
    plan = report.metadata.plan
    yield Text(gate_sentence(report.gate, plan), "strong")
    if sentence := adapters_sentence(report.gate, plan.require):
        yield Text(sentence)
    yield from items(metrics.verdict_sentences(report.gate, report.metrics))
    for one in insights.adapters:
        for warning in one.warnings:
            yield Text(with_name(insights, one.name, warning_sentence(warning)), "warn")
        if one.decision is not None:
            yield Text(with_name(insights, one.name, decision_line(report, one.name)))
        if one.advice is not None:
            yield Text(with_name(insights, one.name, advice_of(report, one.name, one.advice)))
        elif one.decision is None and not report.noise_floor:
            why = word("verdicts.nothing_decided") if one.changes else word("labels.nothing_measured")
            yield Text(with_name(insights, one.name, why))


def explanation(report: Report, one: AdapterInsight) -> Iterator[Block]:
    """Yield the decision on an adapter in plain sentences."""
    if one.decision is not None:
        yield from items(explain_report(report, one.name))


def recommendations(report: Report, one: AdapterInsight) -> Iterator[Block]:
    """Yield the category to work on first, and the responses that would settle the verdict."""
    sentences = []
    if one.weakest is not None:
        sentences.append(weakest_sentence(one.weakest, report.category_label(one.weakest.category)))
    if one.decision is not None and one.decision.responses_to_settle is not None:
        sentences.append(settle_sentence(one.decision.responses_to_settle))
    yield from items(sentences)


def thresholds(report: Report) -> Iterator[Block]:
    """Yield the thresholds and how to read them."""
    if rows := metrics.threshold_rows(report):
        figures, texts = (field("value", 9), field("bar", 9)), (field("judged", 13, "text"), field("why", 20, "text"))
        yield Table(columns=(field("threshold", 23, "text"), *figures, *texts), rows=tuple(rows))
        for rule in threshold_rules(shown_thresholds(report), report.provenance.engine.batching):
            yield Text(rule, "note")


def adapters(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield key figures and ranking of several adapters."""
    if len(insights.adapters) < 2:
        return
    shown = (*list_specs("column", "section"), BUILT_IN["seconds"].spec)
    measured = {name for one in insights.adapters for name in one.averages.figures}
    more = [spec for spec in shown if spec.name in measured - {RELEVANCE}]
    heads = (
        field("adapter", 15, "text"),
        field("relevance", 13),
        field("gain", 9),
        # A verdict may come at an early look; its figures are those of that look.
        field("gain_then", 9),
        field("interval", 17),
        field("responses_then", 10),
        field("judged", kind="text"),
        *(Column(metrics.label_of(spec)) for spec in more),
        field("prompts"),
    )
    yield Table(columns=heads, rows=tuple(_adapter_cells(one, more) for one in insights.adapters))
    ranking = insights.ranking
    if ranking is None:
        return
    spec = BUILT_IN[ranked_metric(report)].spec
    write, write_change = (partial(way, unit=spec.unit) for way in (metrics.figure, metrics.difference))
    yield Table(
        columns=(
            Column(word("labels.rank"), 6),
            field("arm", 34, "text"),
            Column(metrics.label_of(spec), 18),
            field("interval", 17),
        ),
        rows=tuple(
            (str(place), arm.name, write(arm.estimate.mean), bracket(arm.estimate.interval, write))
            for place, arm in enumerate(ranking.arms, start=1)
        ),
    )
    if is_judged(report):
        pair_heads = (field("change", 8), field("interval", 17), field("judged", 16, "text"))
        yield Table(
            columns=(Column(word("labels.ranking"), 34, "text"), *pair_heads),
            rows=tuple(
                (
                    word("labels.ahead", better=pair.better, worse=pair.worse),
                    write_change(pair.difference.difference),
                    bracket(pair.difference.interval, write_change),
                    word("labels.shown") if pair.shown else word("labels.not_shown"),
                )
                for pair in ranking.pairs
            ),
        )


def _adapter_cells(one: AdapterInsight, more: Iterable[MetricSpec]) -> tuple[Cell, ...]:
    averages, decision = one.averages, one.decision
    return (
        one.name,
        metrics.short_means(BUILT_IN[RELEVANCE].spec, averages.figure(RELEVANCE)),
        percent(averages.relevance_gain, signed=True),
        percent(decision.gain, signed=True) if decision else DASH,
        gain_interval(decision.judged_interval) if decision else DASH,
        str(decision.replicates[1]) if decision else DASH,
        table("explanations.advice")[one.advice.code] if one.advice else DASH,
        *(metrics.short_means(spec, averages.figure(spec.name)) for spec in more),
        prompt_count(averages),
    )


def regression(report: Report) -> Iterator[Block]:
    """Yield the regression test of the candidate, if there was one."""
    outcome = report.regression
    if outcome is None:
        return
    tones: dict[RegressionVerdict, Tone] = {"DROP": "bad", "NO_DROP": "good", "NOT_JUDGED": "warn"}
    yield Text(saved_runs.regression_sentence(outcome), tones[outcome.verdict])
    yield from items(saved_runs.regression_details(outcome, report))
    if outcome.tests:
        yield Table(
            columns=columns(saved_runs.REGRESSION_HEADS, (21, 7, 6, 6, 7, 17, 8)),
            rows=tuple(tuple(saved_runs.regression_cells(one, report)) for one in outcome.tests),
        )


def noise(report: Report) -> Iterator[Block]:
    """Yield the noise floors of an A/A run."""
    if report.noise_floor:
        yield Text(word("labels.noise_rule"), "note")
        heads = (table("labels.fields")[key] for key in ("measure", "change", "floor", "relative"))
        yield Table(
            columns=columns(heads, (24, 14, 14, 14)),
            rows=tuple(labels.noise_cells(name, floor) for name, floor in report.noise_floor.items()),
        )
