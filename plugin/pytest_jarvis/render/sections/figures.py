"""Sections of figures: metrics in all and by category, tool choice, changed prompts, lengths."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from pytest_jarvis.inputs.prompts import dictionary_hash, load_prompts, packaged_prompts
from pytest_jarvis.metrics.deeds.error import corrected_share, judge_error
from pytest_jarvis.metrics.registry import (
    BUILT_IN,
    COSINE,
    DEEDS,
    RELEVANCE,
    TOOL_ROUTING,
    MetricSpec,
    Place,
    list_specs,
)
from pytest_jarvis.render.blocks import (
    ARROW,
    Block,
    Change,
    Changes,
    Column,
    Facts,
    Item,
    Items,
    Row,
    Span,
    Table,
    Text,
    adapter_table,
    case_link,
    comparison_columns,
    each_adapter,
    field,
    prompt_count,
    tuned_head,
    with_name,
)
from pytest_jarvis.render.french import explanations, labels, metrics
from pytest_jarvis.render.french.explanations import warning_sentence
from pytest_jarvis.render.french.formats import DASH, NBSP, bracket, gain_interval, number, percent, signed, typeset
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.changes import Flip, PromptChange
from pytest_jarvis.report.analysis.insights import (
    AdapterInsight,
    CategoryInsight,
    Insights,
    RoutingInsight,
    offers_tools,
)
from pytest_jarvis.report.analysis.metrics import MetricComparison
from pytest_jarvis.report.schema import Averages, MetricResult, Report
from pytest_jarvis.stats.contrasts import Interval

_MOST_CONFUSED: Final = 4  # Adapters in the table of confusions; the page has a matrix of each.

Writer = Callable[[float], str]


def statistics(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the means of all prompts with their intervals, and the cosine."""
    if not any(one.metrics for one in insights.adapters):
        yield Text(word("labels.nothing_measured"))
        return
    arms = (Column(word("labels.base"), 15), Column(tuned_head(insights), 15), field("change", 18))
    yield adapter_table(insights, table("labels.fields")["measure"], arms, lambda one: _measures(report, one), width=27)
    cosine, mismatched = report.provenance.mismatched_cosine, ""
    if cosine is not None:
        code = "labels.mismatched" if len(insights.adapters) == 1 else "labels.mismatched_of"
        mismatched = word(code, cosine=cosine, adapter=insights.candidate.name)
    pairs = ((metrics.label_of(spec), _means_of_pairs(insights, spec)) for spec in list_specs("column", per="pair"))
    yield Facts((*pairs, (table("labels.fields")["mismatched"], mismatched)))
    yield Text(table("labels.scopes")[report.provenance.relevance_scope], "note")
    yield from _judge_note(report, insights)


def _measured(report: Report, place: Place) -> list[MetricSpec]:
    """Return the metrics of responses at a place that any adapter has."""
    figures = [one.statistics.figures for one in report.by_adapter.values()]
    return [spec for spec in list_specs(place, per="response") if any(spec.name in known for known in figures)]


def _judge_note(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the error of the judge of deeds, and the shares corrected for it."""
    found = [(one.name, one.metrics[DEEDS]) for one in insights.adapters if DEEDS in one.metrics]
    arms = [(word("labels.base"), found[0][1].base)] if found else []
    arms += [(name, metric.finetuned) for name, metric in found]
    packaged = dictionary_hash(load_prompts(packaged_prompts()).tools)
    error = judge_error("test" if report.provenance.dictionary_hash == packaged else "own_tools")
    shown = []
    for name, estimate in arms:
        if estimate.interval is not None:
            share, interval = corrected_share(estimate.mean, estimate.interval, error, level=1 - 2 * estimate.alpha)
            shown.append(f"{name} {percent(share)} {bracket(interval, percent)}")
    if shown:
        sensitivity, specificity = percent(error.sensitivity, 0), percent(error.specificity, 0)
        labelled = error.positives + error.negatives
        yield Text(
            word(
                "outcomes.judge_error",
                sensitivity=sensitivity,
                specificity=specificity,
                labelled=labelled,
                shares=", ".join(shown),
            ),
            "note",
        )


def controls(report: Report) -> Iterator[Block]:
    """Yield what answers that read no prompt would have scored, beside each adapter's own."""
    found = report.controls
    if not found:
        return
    spec = BUILT_IN[next(iter(found.values())).metric].spec
    heads = (Column(metrics.label_of(spec), 40, "text"), *(Column(name, 12) for name in found))
    rows = [
        (label, *(metrics.figure(getattr(one, name), spec.unit) for one in found.values()))
        for name, label in table("labels.controls").items()
    ]
    yield Table(columns=heads, rows=tuple(rows))
    for one in found.values():
        yield Text(labels.constant_sentence(one), "note")


def _means_of_pairs(insights: Insights, spec: MetricSpec) -> str:
    several = len(insights.adapters) > 1
    found = ((one.name, one.averages.figure(spec.name)) for one in insights.adapters)
    known = ((name, metrics.short_means(spec, means)) for name, means in found if means.finetuned)
    return ", ".join(f"{name}{NBSP}{shown}" if several else shown for name, shown in known)


def _measures(report: Report, one: AdapterInsight) -> Iterator[Row]:
    """Yield the rows of one adapter: both means and the difference, each over its interval."""
    share = MetricSpec(name="", label="", unit="share")
    found = [
        *((spec, metrics.label_of(spec), one.metrics.get(spec.name)) for spec in _measured(report, "column")),
        *((share, table("labels.criteria")[flips.criterion], flips.share) for flips in one.flips),
        *((spec, metrics.label_of(spec), one.metrics.get(spec.name)) for spec in _measured(report, "detail")),
    ]
    for spec, label, metric in found:
        if metric is None:
            yield label, label, (DASH, DASH, DASH)
            continue
        write, write_change = (partial(way, unit=spec.unit) for way in (metrics.figure, metrics.difference))
        change = metric.change
        arms = [
            _with_interval(
                write(arm.mean), None if arm.interval is None else _clipped(arm.interval, spec.highest), write
            )
            for arm in (metric.base, metric.finetuned)
        ]
        yield label, label, (*arms, _with_interval(write_change(change.difference), change.interval, write_change))
    for name, added in report.metrics.items():
        averages = added.by_adapter[one.name].overall
        base, tuned, shown, interval = metrics.metric_cells(added.spec, averages)
        means = (
            _with_interval(base, averages.base_interval, partial(metrics.figure, unit=added.spec.unit)),
            _with_interval(tuned, averages.finetuned_interval, partial(metrics.figure, unit=added.spec.unit)),
        )
        yield f"+{name}", metrics.label_of(added.spec), (*means, shown if interval == DASH else f"{shown}\n{interval}")


def _with_interval(figure: str, interval: Interval | None, write: Writer) -> str:
    return figure if interval is None else f"{figure}\n{bracket(interval, write)}"


def _clipped(interval: Interval, highest: float) -> Interval:
    return (max(0.0, interval[0]), min(highest, interval[1]))


def categories(report: Report, insights: Insights, *, gains: bool) -> Iterator[Block]:
    """Yield each metric with a column by category, relevance first; an A/A run has differences, no gains."""
    most = _right_end(insights)
    cosine = BUILT_IN[COSINE].spec
    drawn = (Column(word("labels.from_zero_to", most=most)), Column(metrics.label_of(cosine)))
    relevance = (*comparison_columns(insights, "gain" if gains else "change"), *drawn)

    def relevances(one: AdapterInsight, place: int) -> Iterator[Row]:
        for key, label, part in _parts(one):
            figures = _relevance(part.averages, part.metrics.get(RELEVANCE), gains=gains)
            pairs = metrics.short_means(cosine, part.averages.figure(COSINE))
            yield key, label, (*figures, _span(part.averages, most, place), pairs)

    def rows(spec: MetricSpec) -> Callable[[AdapterInsight], Iterator[Row]]:
        def of(one: AdapterInsight) -> Iterator[Row]:
            for key, label, part in _parts(one):
                cells = metrics.compared_cells(spec, part.metrics.get(spec.name))
                yield key, label, (prompt_count(part.averages), *cells)

        return of

    places = {one.name: place for place, one in enumerate(insights.adapters)}
    yield adapter_table(
        insights, table("labels.fields")["relevance"], relevance, lambda one: relevances(one, places[one.name])
    )
    for spec in _measured(report, "column"):
        if spec.name != RELEVANCE:
            yield adapter_table(insights, metrics.label_of(spec), comparison_columns(insights, "change"), rows(spec))
    yield Text(word("labels.intervals_rule"), "note")


def _parts(one: AdapterInsight) -> Iterator[tuple[str, str, CategoryInsight | AdapterInsight]]:
    yield from ((item.category, item.label, item) for item in one.categories)
    yield "", word("labels.total"), one


def _relevance(averages: Averages, metric: MetricComparison | None, *, gains: bool) -> tuple[str, ...]:
    if metric is None:
        return (prompt_count(averages), DASH, DASH, DASH, DASH)
    means = (prompt_count(averages), number(metric.base.mean, 3), number(metric.finetuned.mean, 3))
    if not gains:
        return (*means, signed(metric.change.difference), bracket(metric.change.interval, signed))
    ratio = metric.ratio
    ends = None if ratio.interval is None else (ratio.interval[0] - 1, ratio.interval[1] - 1)
    return (*means, percent(None if ratio.value is None else ratio.value - 1, signed=True), gain_interval(ends))


def _span(averages: Averages, most: float, place: int) -> Span | None:
    means = averages.figure(RELEVANCE)
    if means.base is None or means.finetuned is None:
        return None
    return Span(before=means.base, after=means.finetuned, most=most, adapter=place)


def _right_end(insights: Insights) -> float:
    """Return the right end of the drawings: the highest relevance, rounded up to a tenth."""
    means = [
        mean
        for one in insights.adapters
        for _, _, part in _parts(one)
        for mean in (part.averages.figure(RELEVANCE).base, part.averages.figure(RELEVANCE).finetuned)
        if mean is not None
    ]
    return min(1.0, (int(max(means, default=0.0) * 10) + 1) / 10)


def custom_metrics(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield a table by category for each custom metric, and how much it left out."""
    for added in report.metrics.values():

        def rows(one: AdapterInsight, added: MetricResult = added) -> Iterator[Row]:
            of = added.by_adapter[one.name]
            for key, averages in (*of.by_category.items(), ("", of.overall)):
                label = report.category_label(key) if key else word("labels.total")
                yield key, label, (str(averages.prompts), *metrics.metric_cells(added.spec, averages))

        yield adapter_table(insights, metrics.label_of(added.spec), comparison_columns(insights, "change"), rows)
    for added in report.metrics.values():
        for name, of in added.by_adapter.items():
            if sentence := metrics.not_measured(added.spec, of.overall):
                yield Text(with_name(insights, name, sentence))


def _shares(metric: str, one: AdapterInsight) -> Iterator[Row]:
    for key, label, part in _parts(one):
        if (found := part.metrics.get(metric)) is not None:
            yield key, label, (str(found.prompts), *metrics.compared_cells(BUILT_IN[metric].spec, found))


def tool_choice(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the shares, reasons and confusions of the tool choice, where it was judged."""
    judged = [(one.name, one.routing) for one in insights.adapters if one.routing is not None]
    if not judged:
        return

    def reasons(one: AdapterInsight) -> Iterator[Row]:
        for reason, counts in one.routing.reasons.items() if one.routing else ():
            yield reason, table("routing.reasons")[reason], tuple(str(count) if count else DASH for count in counts)

    yield Text(word("routing.rule_called") if offers_tools(report) else word("routing.rule_named"), "note")
    yield adapter_table(
        insights, word("routing.share_head"), comparison_columns(insights, "change"), partial(_shares, TOOL_ROUTING)
    )
    arms = (Column(word("labels.base"), 12), Column(tuned_head(insights), 12))
    yield adapter_table(insights, word("routing.reason_head"), arms, reasons, width=44)
    yield from _confusions(judged[:_MOST_CONFUSED])
    yield Text(word("routing.confusion_note"), "note")


def _confusions(judged: Sequence[tuple[str, RoutingInsight]]) -> Iterator[Table]:
    """Yield how often each expected tool was chosen by each arm, and the tools chosen in its place."""
    counts: dict[tuple[str, str], list[int]] = {}
    for place, (_, found) in enumerate(judged):
        for one in found.confusions:
            for key in dict.fromkeys((one.expected, *one.base, *one.finetuned)):
                row = counts.setdefault((one.expected, key), [0] * (1 + len(judged)))
                row[0] = max(row[0], one.base.get(key, 0))
                row[1 + place] = one.finetuned.get(key, 0)
    expected = dict.fromkeys(wanted for wanted, _ in counts)
    rows: list[tuple[str, ...]] = []
    for wanted in expected:
        own = {key: row for (tool, key), row in counts.items() if tool == wanted}
        totals = [sum(arm) for arm in zip(*own.values(), strict=True)]
        right = own.pop(wanted)
        rows.append(
            (explanations.chosen_name(wanted), *(f"{n}/{total}" for n, total in zip(right, totals, strict=True)))
        )
        for key, row in sorted(own.items(), key=lambda item: -sum(item[1])):
            rows.append((f"{NBSP}{NBSP}→ {explanations.chosen_name(key)}", *(str(n) if n else DASH for n in row)))
    arms = (word("labels.base"), *(name for name, _ in judged))
    width = 12 if len(judged) == 1 else 9
    first = 78 - (width + 1) * len(arms)
    yield Table(
        columns=(Column(word("routing.confusion"), first, "text"), *(Column(name, width) for name in arms)),
        rows=tuple(rows),
        page=False,
    )


def improvements(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the prompts with the largest rises."""
    yield Text(word("labels.improvements_rule"), "note")
    yield from each_adapter(
        insights, lambda one: _top(report, insights, one, one.improvements, word("labels.no_improvement"))
    )


def weaknesses(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the prompts with the largest drops, or the smallest rises."""
    yield Text(word("labels.weaknesses_rule"), "note")
    yield from each_adapter(
        insights, lambda one: _top(report, insights, one, one.weaknesses, word("labels.no_other_prompt"))
    )


def _top(
    report: Report, insights: Insights, one: AdapterInsight, top: Sequence[PromptChange], nothing: str
) -> Iterator[Block]:
    if top:
        yield _changes(report, insights, top)
    else:
        yield Text(nothing if one.changes else word("labels.nothing_measured"))


def regressions(report: Report, insights: Insights, one: AdapterInsight) -> Iterator[Block]:
    """Yield the prompts with a proven drop, in full those that are not among the weaknesses."""
    if not one.changes:
        yield Text(word("labels.nothing_measured"))
        return
    if not one.regressions:
        yield Text(word("explanations.no_regression"), "good")
        return
    yield Text(word("explanations.regressions", count=len(one.regressions), prompts=len(one.changes)), "warn")
    entries = ((f"{each.row.prompt} ({_change(each)})", each.row) for each in one.regressions)
    yield Items(tuple(Item(text, case_link(row, insights.candidate.name)) for text, row in entries))
    shown = {change.row.prompt_id for change in one.weaknesses}
    if left := [change for change in one.regressions if change.row.prompt_id not in shown][:5]:
        yield _changes(report, insights, left)


def _change(one: PromptChange) -> str:
    return labels.drop(metrics.difference(one.change, BUILT_IN[one.metric].spec.unit), one.p_worse)


def _changes(report: Report, insights: Insights, changes: Iterable[PromptChange]) -> Changes:
    return Changes(
        tuple(
            Change(
                case=case_link(one.row, insights.candidate.name),
                row=one.row,
                category=report.category_label(one.row.category),
                scores=metrics.short_means(BUILT_IN[one.metric].spec, one.row.figure(one.metric)),
                change=_change(one),
            )
            for one in changes
        )
    )


def flips(insights: Insights) -> Iterator[Block]:
    """Yield the prompts that one arm gets right and the other does not."""
    if not any(one.flips for one in insights.adapters):
        yield Text(word("labels.nothing_measured"))
        return

    def flips_of(one: AdapterInsight) -> Iterator[Block]:
        for flips in one.flips:
            right = f"{word('labels.base')} {flips.base_right}/{flips.prompts}"
            counts = f"{right}, {one.name} {flips.finetuned_right}/{flips.prompts}"
            yield Text(typeset(f"{table('labels.criteria')[flips.criterion]} : {counts}"))
            for label, found in ((word("labels.gained"), flips.gained), (word("labels.lost"), flips.lost)):
                head = typeset(f"{label} : {len(found) or word('labels.no_flip')}")
                entries = tuple(Item(_flip(flip), case_link(flip.row, insights.candidate.name)) for flip in found)
                yield Items(entries, head)

    yield Text(word("labels.flip_rule"), "note")
    yield from each_adapter(insights, flips_of)


def _flip(flip: Flip) -> str:
    before, after = f"{flip.base_right}/{flip.base_responses}", f"{flip.finetuned_right}/{flip.finetuned_responses}"
    return f"{flip.row.prompt} ({before}{ARROW}{after})"


def responses(insights: Insights) -> Iterator[Block]:
    """Yield lengths and stuffing by arm, then warnings."""
    candidate = insights.candidate
    arms = [
        (word("labels.base"), candidate.base_responses),
        *((one.name, one.finetuned_responses) for one in insights.adapters),
    ]
    if not any(arm.responses for _, arm in arms):
        yield Text(word("labels.nothing_measured"))
        return
    heads = {"responses": 8, "characters": 10, "tokens": 6, "tools": 7, "stuffed": 12, "empty": 8, "cut": 8}
    yield Table(
        columns=(field("arm", 12, "text"), *(field(name, width) for name, width in heads.items())),
        rows=tuple(
            (
                name,
                str(arm.responses),
                number(arm.mean_characters, 0),
                number(arm.mean_tokens, 1),
                number(arm.tools_per_response, 2),
                percent(arm.stuffed_share),
                percent(arm.empty_share),
                percent(arm.cut_share),
            )
            for name, arm in arms
        ),
    )
    warned = [
        with_name(insights, one.name, warning_sentence(warning))
        for one in insights.adapters
        for warning in one.warnings
    ]
    yield from (Text(sentence, "warn") for sentence in warned)
    if not warned:
        yield Text(word("explanations.no_warning"), "good")
