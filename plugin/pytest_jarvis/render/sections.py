"""What a report says, section by section, for `report.txt`, `summary.md` and the page alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN, COSINE, RELEVANCE, TOOL_ROUTING, UNDERSTOOD, MetricSpec, placed
from pytest_jarvis.render.blocks import (
    Block,
    Cell,
    Change,
    Changes,
    Column,
    Digest,
    Facts,
    Item,
    Items,
    Part,
    Section,
    Span,
    Table,
    Text,
    Tone,
    case_link,
    columns,
    items,
)
from pytest_jarvis.render.french import (
    DASH,
    NBSP,
    NOTHING_DECIDED,
    adapters_sentence,
    bar_percent,
    bracket,
    comparing,
    count_of,
    decision_line,
    gain_interval,
    gate_sentence,
    is_judged,
    labels,
    metrics,
    number,
    percent,
    reason_sentences,
    routing,
    seconds,
    shown_thresholds,
    signed,
    typeset,
)
from pytest_jarvis.render.french.explanations import (
    ADVICE,
    advice_of,
    contamination_notes,
    explain_report,
    no_warning_sentence,
    regressions_sentence,
    settle_sentence,
    warning_sentence,
    weakest_sentence,
)
from pytest_jarvis.render.french.labels import FIELDS, SECTIONS
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.session import memory_of_a_run
from pytest_jarvis.render.french.store import REUSED, reused_sentence
from pytest_jarvis.render.french.verdicts import threshold_rules
from pytest_jarvis.report.analysis.changes import Flip, MetricComparison, PromptChange
from pytest_jarvis.report.analysis.insights import AdapterInsight, CategoryInsight, Insights
from pytest_jarvis.report.analysis.tool_choice import RoutingInsight, offers_tools
from pytest_jarvis.report.schema import Averages, MetricResult, Report
from pytest_jarvis.stats.contrasts import Interval
from pytest_jarvis.stats.regression import RegressionVerdict
from pytest_jarvis.types import TWIN_ARM, AdapterProof, GenerationSettings

ARROW: Final = " → "
_MOST_CONFUSED: Final = 4
"""Adapters that have a column in the table of confusions; the page has a matrix of each."""
_MOST_FAILURES: Final = 200

Row = tuple[str, str, tuple[Cell, ...]]
"""Its key, its label, its figures; the key of a total is empty."""
Writer = Callable[[float], str]


def cautions(report: Report) -> list[str]:
    """Return what a reader must know before any number."""
    return [*labels.cautions(report), *routing.run_notes(report), *contamination_notes(report)]


def sections(report: Report, insights: Insights) -> tuple[Section, ...]:
    """Return the sections of a report that have something to say, in order; pure."""
    gains = not report.noise_floor
    improved = _top(report, insights, labels.IMPROVEMENTS_RULE, lambda one: one.improvements, labels.NO_IMPROVEMENT)
    worst = _top(report, insights, labels.WEAKNESSES_RULE, lambda one: one.weaknesses, labels.NO_OTHER_PROMPT)
    found: list[tuple[str, Iterable[Block], bool]] = [
        ("identity", _identity(report, insights), True),
        ("verdict", _verdict(report, insights), True),
        ("explanation", _each(insights, lambda one: _explanation(report, one)), False),
        ("recommendations", _each(insights, lambda one: _recommendations(report, one)), True),
        ("thresholds", _thresholds(report), True),
        ("adapters", _adapters(report, insights), True),
        ("regression", _regression(report), True),
        ("noise", _noise(report), True),
        ("statistics", _statistics(report, insights), False),
        ("categories", _categories(insights, gains=gains), True),
        ("added", _added(report, insights), True),
        ("tools", _tools(report, insights), True),
        ("understanding", _understanding(insights), True),
        ("improvements", improved if gains else (), False),
        ("weaknesses", worst if gains else (), True),
        ("regressions", _each(insights, lambda one: _regressions(report, insights, one)), True),
        ("flips", _flips(insights), False),
        ("responses", _responses(insights), False),
        ("failures", _failures(report, insights), True),
        ("provenance", _provenance(report), False),
    ]
    whole = ((key, tuple(blocks), brief) for key, blocks, brief in found)
    return tuple(Section(key=key, title=SECTIONS[key], blocks=own, brief=brief) for key, own, brief in whole if own)


def _each(insights: Insights, write: Callable[[AdapterInsight], Iterable[Block]]) -> Iterator[Block]:
    """Yield what is said of the only adapter, or a part for each that there is something to say of."""
    if len(insights.adapters) == 1:
        yield from write(insights.candidate)
        return
    for place, one in enumerate(insights.adapters):
        if blocks := tuple(write(one)):
            yield Part(name=one.name, blocks=blocks, adapter=place, unfolded=place == 0)


def _table(
    insights: Insights,
    head: str,
    figures: Sequence[Column],
    rows_of: Callable[[AdapterInsight], Iterable[Row]],
    *,
    width: int = 22,
) -> Table:
    """Return a table of every adapter's figures; of several, rows are grouped by what they are about, totals last."""
    found = {one.name: {key: (label, cells) for key, label, cells in rows_of(one)} for one in insights.adapters}
    names = {key: label for rows in found.values() for key, (label, _) in rows.items()}
    keys = sorted(names, key=lambda key: key == "")
    several = len(found) > 1
    nothing: tuple[Cell, ...] = (DASH,) * len(figures)
    first = Column(head, width, "text")
    return Table(
        columns=(first, *((Column(FIELDS["adapter"], width, "text"),) if several else ()), *figures),
        rows=tuple(
            (names[key], *((name,) if several else ()), *rows.get(key, ("", nothing))[1])
            for key in keys
            for name, rows in found.items()
        ),
        totals=len(found) if "" in names else 0,
        grouped=several,
    )


def _tuned(insights: Insights) -> str:
    """Return the head of the column beside the base's: the adapter's name, where there is one."""
    return insights.candidate.name if len(insights.adapters) == 1 else labels.TUNED


def _compared(insights: Insights, change: str) -> tuple[Column, ...]:
    """Return the columns of prompts, both means, their difference and its interval."""
    return (
        Column(FIELDS["counted"], 7),
        Column(labels.BASE, 8),
        Column(_tuned(insights), 9),
        Column(FIELDS[change], 9),
        Column(FIELDS["interval"], 18),
    )


def _named(insights: Insights, name: str, sentence: str) -> str:
    """Return a sentence under an adapter's name where there are several."""
    return typeset(f"{name} : {sentence}" if len(insights.adapters) > 1 else sentence)


def counted(averages: Averages) -> str:
    """Return how many prompts were measured of those that were planned."""
    return f"{averages.total_tests}/{averages.planned_tests}"


def both(before: float | None, after: float | None, write: Callable[[float | None], str]) -> str:
    """Return a mean of the base and of an adapter."""
    return f"{write(before)}{ARROW}{write(after)}"


def _identity(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield what was compared, on what, when and by which rule."""
    metadata, plan, facts = report.metadata, report.metadata.plan, report.provenance
    candidate, *others = metadata.adapters
    rule = labels.POLICIES[plan.policy].format(
        bar=bar_percent(plan.min_gain), error=percent(plan.alpha, 0), looks=labels.looks(plan.looks)
    )
    commit = labels.NO_COMMIT if facts.commit is None else labels.short(facts.commit, 12)
    yield Facts(
        (
            (FIELDS["model"], f"{labels.model_label(report.provenance.engine)} ({metadata.base_model})"),
            (FIELDS["twin" if candidate == TWIN_ARM else "adapter"], f"{candidate} ({metadata.adapters[candidate]})"),
            (FIELDS["others"], ", ".join(f"{name} ({metadata.adapters[name]})" for name in others)),
            (FIELDS["storage"], labels.storage(metadata.quantization)),
            (FIELDS["device"], labels.device(metadata.device)),
            (FIELDS["engine"], metadata.engine),
            (FIELDS["date"], metadata.timestamp.replace("T", " ").removesuffix("+00:00")),
            (FIELDS["prompts"], counted(report.statistics)),
            (
                FIELDS["responses"],
                labels.responses_planned(metadata.samples_per_prompt, insights.responses_planned),
            ),
            (FIELDS["rule"], typeset(rule)),
            (FIELDS["seed"], str(facts.seed)),
            (FIELDS["commit"], f"{commit}, {labels.UNCOMMITTED}" if facts.dirty else commit),
        )
    )


def _verdict(report: Report, insights: Insights) -> Iterator[Block]:
    plan = report.metadata.plan
    yield Text(gate_sentence(report.gate, plan.min_gain), "strong")
    if said := adapters_sentence(report.gate, plan.require):
        yield Text(said)
    yield from items(reason_sentences(report.gate))
    for one in insights.adapters:
        if one.decision is not None:
            yield Text(_named(insights, one.name, decision_line(report, one.name)))
        if one.advice is not None:
            yield Text(_named(insights, one.name, advice_of(report, one.name, one.advice)))
        elif not report.noise_floor:
            yield Text(_named(insights, one.name, NOTHING_DECIDED if one.changes else labels.NOTHING_MEASURED))


def _explanation(report: Report, one: AdapterInsight) -> Iterator[Block]:
    if one.decision is not None:
        yield from items(explain_report(report, one.name))


def _recommendations(report: Report, one: AdapterInsight) -> Iterator[Block]:
    """Yield where to work first, what to beware of, and how many responses would settle the verdict."""
    sentences = [warning_sentence(warning) for warning in one.warnings]
    if one.weakest is not None:
        sentences.insert(0, weakest_sentence(one.weakest, _label(report, one.weakest.category)))
    if one.decision is not None and one.decision.responses_to_settle is not None:
        sentences.append(settle_sentence(one.decision.responses_to_settle))
    yield from items(sentences)


def _label(report: Report, category: str) -> str:
    known = report.by_category.get(category)
    return known.label if known else category


def _thresholds(report: Report) -> Iterator[Block]:
    if rows := metrics.threshold_rows(report):
        heads = [FIELDS[key] for key in ("threshold", "value", "bar", "judged", "why")]
        texts = (Column(heads[0], 23, "text"), Column(heads[3], 13, "text"), Column(heads[4], 20, "text"))
        yield Table(columns=(texts[0], Column(heads[1], 9), Column(heads[2], 9), *texts[1:]), rows=tuple(rows))
        for rule in threshold_rules(shown_thresholds(report), report.provenance.engine.batching):
            yield Text(rule, "note")


def _adapters(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the key figures of several adapters side by side, and which is ahead of which."""
    if len(insights.adapters) < 2:
        return
    shown = (*placed("column", "section"), BUILT_IN["seconds"].spec)
    measured = {name for one in insights.adapters for name in one.averages.figures}
    more = [spec for spec in shown if spec.name in measured - {RELEVANCE}]
    heads = (
        Column(FIELDS["adapter"], 15, "text"),
        Column(FIELDS["relevance"], 13),
        Column(FIELDS["gain"], 9),
        # An adapter may be settled before the last response is drawn: the figures of its verdict are those of then.
        Column(FIELDS["gain_then"], 9),
        Column(FIELDS["interval"], 17),
        Column(FIELDS["responses_then"], 10),
        Column(FIELDS["judged"], kind="text"),
        *(Column(metrics.label_of(spec)) for spec in more),
        Column(FIELDS["prompts"]),
    )
    yield Table(columns=heads, rows=tuple(_adapter_cells(one, more) for one in insights.adapters))
    ranking = insights.ranking
    if ranking is None:
        return
    yield Table(
        columns=(
            Column(labels.RANK, 6),
            Column(FIELDS["arm"], 34, "text"),
            Column(FIELDS["relevance"], 18),
            Column(FIELDS["interval"], 17),
        ),
        rows=tuple(
            (str(place), arm.name, number(arm.estimate.mean, 3), bracket(arm.estimate.interval, _score))
            for place, arm in enumerate(ranking.arms, start=1)
        ),
    )
    if is_judged(report):
        yield Table(
            columns=(
                Column(labels.RANKING, 34, "text"),
                Column(FIELDS["change"], 8),
                Column(FIELDS["interval"], 17),
                Column(FIELDS["judged"], 16, "text"),
            ),
            rows=tuple(
                (
                    labels.ahead(pair.better, pair.worse),
                    signed(pair.difference.difference),
                    bracket(pair.difference.interval, signed),
                    labels.SHOWN if pair.shown else labels.NOT_SHOWN,
                )
                for pair in ranking.pairs
            ),
        )


def _adapter_cells(one: AdapterInsight, more: Iterable[MetricSpec]) -> tuple[Cell, ...]:
    averages, decision = one.averages, one.decision
    return (
        one.name,
        metrics.brief_figures(BUILT_IN[RELEVANCE].spec, averages.figure(RELEVANCE)),
        percent(averages.relevance_gain, signed=True),
        percent(decision.gain, signed=True) if decision else DASH,
        gain_interval(decision.judged_interval) if decision else DASH,
        str(decision.replicates[1]) if decision else DASH,
        ADVICE[one.advice.code] if one.advice else DASH,
        *(metrics.brief_figures(spec, averages.figure(spec.name)) for spec in more),
        counted(averages),
    )


def _score(value: float | None) -> str:
    return number(value, 3)


def _regression(report: Report) -> Iterator[Block]:
    """Yield the candidate against its former self; nothing where no comparison was asked for."""
    outcome = report.regression
    if outcome is None:
        return
    tones: dict[RegressionVerdict, Tone] = {"DROP": "bad", "NO_DROP": "good", "NOT_JUDGED": "warn"}
    yield Text(comparing.regression_sentence(outcome), tones[outcome.verdict])
    yield from items(comparing.regression_details(outcome, report))
    if outcome.tests:
        yield Table(
            columns=columns(comparing.REGRESSION_HEADS, (21, 7, 6, 6, 7, 17, 8)),
            rows=tuple(tuple(comparing.regression_cells(one, report)) for one in outcome.tests),
        )


def _noise(report: Report) -> Iterator[Block]:
    """Yield how far the base is from itself, in an A/A run."""
    if report.noise_floor:
        yield Text(labels.NOISE_RULE, "note")
        heads = (FIELDS[key] for key in ("measure", "change", "floor", "relative"))
        yield Table(
            columns=columns(heads, (24, 14, 14, 14)),
            rows=tuple(labels.noise_cells(name, floor) for name, floor in report.noise_floor.items()),
        )


def _statistics(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the means with their intervals over all prompts, the cosine, and what added metrics left out."""
    if not any(one.metrics for one in insights.adapters):
        yield Text(labels.NOTHING_MEASURED)
        return
    arms = (Column(labels.BASE, 15), Column(_tuned(insights), 15), Column(FIELDS["change"], 18))
    yield _table(insights, FIELDS["measure"], arms, lambda one: _measures(report, one), width=27)
    several = len(insights.adapters) > 1
    reference = report.provenance.mismatched_cosine
    whose = insights.candidate.name if several else ""
    yield Facts(
        (
            *((metrics.label_of(spec), _means_of_pairs(insights, spec)) for spec in placed("column", per="pair")),
            (FIELDS["mismatched"], "" if reference is None else labels.mismatched_sentence(reference, whose)),
        )
    )


def _means_of_pairs(insights: Insights, spec: MetricSpec) -> str:
    """Return the mean of the pairs of each adapter, by its name where there are several."""
    several = len(insights.adapters) > 1
    found = ((one.name, one.averages.figure(spec.name)) for one in insights.adapters)
    known = ((name, metrics.brief_figures(spec, means)) for name, means in found if means.finetuned)
    return ", ".join(f"{name}{NBSP}{shown}" if several else shown for name, shown in known)


def _measures(report: Report, one: AdapterInsight) -> Iterator[Row]:
    """Yield the rows of one adapter: both means and the difference, each with its interval under it."""
    share = MetricSpec(name="", label="", unit="share")
    found = [
        *((spec, metrics.label_of(spec), one.metrics.get(spec.name)) for spec in placed("column", per="response")),
        *((share, labels.CRITERIA[flips.criterion], flips.share) for flips in one.flips),
        *((spec, metrics.label_of(spec), one.metrics.get(spec.name)) for spec in placed("detail")),
    ]
    for spec, label, metric in found:
        if metric is None:
            yield label, label, (DASH, DASH, DASH)
            continue
        write, write_change = (partial(way, unit=spec.unit) for way in (metrics.figure, metrics.difference))
        change = metric.change
        arms = [
            _over(write(arm.mean), None if arm.interval is None else _between(arm.interval, spec.highest), write)
            for arm in (metric.base, metric.finetuned)
        ]
        yield label, label, (*arms, _over(write_change(change.difference), change.interval, write_change))
    for name, added in report.metrics.items():
        averages = added.by_adapter[one.name].overall
        base, tuned, shown, interval = metrics.metric_cells(added.spec, averages)
        means = (
            _over(base, averages.base_interval, partial(metrics.figure, unit=added.spec.unit)),
            _over(tuned, averages.finetuned_interval, partial(metrics.figure, unit=added.spec.unit)),
        )
        yield f"+{name}", metrics.label_of(added.spec), (*means, shown if interval == DASH else f"{shown}\n{interval}")


def _over(figure: str, interval: Interval | None, write: Writer) -> str:
    return figure if interval is None else f"{figure}\n{bracket(interval, write)}"


def _between(interval: Interval, highest: float) -> Interval:
    """Return what of an interval a metric that goes from 0 to `highest` can be."""
    return (max(0.0, interval[0]), min(highest, interval[1]))


def _categories(insights: Insights, *, gains: bool) -> Iterator[Block]:
    """Yield each metric of a column by category, relevance first; an A/A run has differences instead of gains."""
    most = _right_end(insights)
    cosine = BUILT_IN[COSINE].spec
    drawn = (Column(labels.from_zero_to(most)), Column(metrics.label_of(cosine)))
    relevance = (*_compared(insights, "gain" if gains else "change"), *drawn)

    def relevances(one: AdapterInsight, place: int) -> Iterator[Row]:
        for key, label, part in _parts(one):
            figures = _relevance(part.averages, part.metrics.get(RELEVANCE), gains=gains)
            pairs = metrics.brief_figures(cosine, part.averages.figure(COSINE))
            yield key, label, (*figures, _span(part.averages, most, place), pairs)

    def rows(spec: MetricSpec) -> Callable[[AdapterInsight], Iterator[Row]]:
        def of(one: AdapterInsight) -> Iterator[Row]:
            for key, label, part in _parts(one):
                cells = metrics.compared_cells(spec, part.metrics.get(spec.name))
                yield key, label, (counted(part.averages), *cells)

        return of

    places = {one.name: place for place, one in enumerate(insights.adapters)}
    yield _table(insights, FIELDS["relevance"], relevance, lambda one: relevances(one, places[one.name]))
    for spec in placed("column", per="response"):
        if spec.name != RELEVANCE:
            yield _table(insights, metrics.label_of(spec), _compared(insights, "change"), rows(spec))
    yield Text(labels.INTERVALS_RULE, "note")


def _parts(one: AdapterInsight) -> Iterator[tuple[str, str, CategoryInsight | AdapterInsight]]:
    """Yield the key, the label and the figures of each category, then of all of them."""
    yield from ((item.category, item.label, item) for item in one.categories)
    yield "", labels.TOTAL, one


def _relevance(averages: Averages, metric: MetricComparison | None, *, gains: bool) -> tuple[str, ...]:
    if metric is None:
        return (counted(averages), DASH, DASH, DASH, DASH)
    means = (counted(averages), number(metric.base.mean, 3), number(metric.finetuned.mean, 3))
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
    """Return the relevance at the right end of the drawings: the highest shown, up to the next tenth."""
    means = [
        mean
        for one in insights.adapters
        for _, _, part in _parts(one)
        for mean in (part.averages.figure(RELEVANCE).base, part.averages.figure(RELEVANCE).finetuned)
        if mean is not None
    ]
    return min(1.0, (int(max(means, default=0.0) * 10) + 1) / 10)


def _added(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield a table for each metric that others added, by category, and what it left out."""
    for added in report.metrics.values():

        def rows(one: AdapterInsight, added: MetricResult = added) -> Iterator[Row]:
            of = added.by_adapter[one.name]
            for key, averages in (*of.by_category.items(), ("", of.overall)):
                label = _label(report, key) if key else labels.TOTAL
                yield key, label, (str(averages.prompts), *metrics.metric_cells(added.spec, averages))

        yield _table(insights, metrics.label_of(added.spec), _compared(insights, "change"), rows)
    for added in report.metrics.values():
        for name, of in added.by_adapter.items():
            if said := metrics.not_measured(added.spec, of.overall):
                yield Text(_named(insights, name, said))


def _shares(metric: str, one: AdapterInsight) -> Iterator[Row]:
    """Yield a metric that has a section of its own by category, of those that measured it."""
    for key, label, part in _parts(one):
        if (found := part.metrics.get(metric)) is not None:
            yield key, label, (str(found.prompts), *metrics.compared_cells(BUILT_IN[metric].spec, found))


def _tools(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the choice of the tool: shares, reasons, confusions; nothing where it was not judged."""
    judged = [(one.name, one.routing) for one in insights.adapters if one.routing is not None]
    if not judged:
        return

    def reasons(one: AdapterInsight) -> Iterator[Row]:
        for reason, counts in one.routing.reasons.items() if one.routing else ():
            yield reason, routing.REASONS[reason], tuple(str(count) if count else DASH for count in counts)

    yield Text(routing.rule(offered=offers_tools(report)), "note")
    yield _table(insights, routing.SHARE_HEAD, _compared(insights, "change"), partial(_shares, TOOL_ROUTING))
    arms = (Column(labels.BASE, 12), Column(_tuned(insights), 12))
    yield _table(insights, routing.REASON_HEAD, arms, reasons, width=44)
    yield from _confusions(judged[:_MOST_CONFUSED])
    yield Text(routing.CONFUSION_NOTE, "note")


def _confusions(judged: Sequence[tuple[str, RoutingInsight]]) -> Iterator[Table]:
    """Yield how often each tool that was wanted was chosen, and what was chosen in its place, by each arm."""
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
        rows.append((routing.chosen_name(wanted), *(f"{n}/{total}" for n, total in zip(right, totals, strict=True))))
        for key, row in sorted(own.items(), key=lambda item: -sum(item[1])):
            rows.append((f"{NBSP}{NBSP}→ {routing.chosen_name(key)}", *(str(n) if n else DASH for n in row)))
    arms = (labels.BASE, *(name for name, _ in judged))
    width = 12 if len(judged) == 1 else 9
    first = 78 - (width + 1) * len(arms)
    yield Table(
        columns=(Column(routing.CONFUSION, first, "text"), *(Column(name, width) for name in arms)),
        rows=tuple(rows),
        page=False,
    )


def _understanding(insights: Insights) -> Iterator[Block]:
    """Yield how many misheard commands were understood; nothing where it was not asked."""
    if all(one.understanding is None for one in insights.adapters):
        return

    def prompts(one: AdapterInsight) -> Iterator[Block]:
        found = one.understanding
        if found is not None:
            heads = (routing.CASE_HEAD, *routing.CLEAN_HEADS)
            texts = (Column(head, width, "text") for head, width in zip(heads, (12, 25, 25), strict=True))
            rows = (
                (
                    case_link(each.row, insights.candidate.name),
                    each.row.prompt,
                    each.row.intended or "",
                    percent(each.base, 0),
                    percent(each.finetuned, 0),
                )
                for each in found.prompts
            )
            yield Table(columns=(*texts, Column(labels.BASE, 6), Column(one.name, 6)), rows=tuple(rows))
            if sentence := routing.reference_sentence(found, one.name):
                yield Text(sentence, "note")

    yield Text(routing.UNDERSTOOD_RULE, "note")
    yield _table(insights, routing.UNDERSTOOD_HEAD, _compared(insights, "change"), partial(_shares, UNDERSTOOD))
    yield from _each(insights, prompts)


def _top(
    report: Report,
    insights: Insights,
    rule: str,
    pick: Callable[[AdapterInsight], tuple[PromptChange, ...]],
    nothing: str,
) -> Iterator[Block]:
    """Yield the prompts at one end of the changes, under the rule they are picked by."""

    def picked(one: AdapterInsight) -> Iterator[Block]:
        if found := pick(one):
            yield _changes(report, insights, found)
        else:
            yield Text(nothing if one.changes else labels.NOTHING_MEASURED)

    yield Text(rule, "note")
    yield from _each(insights, picked)


def _regressions(report: Report, insights: Insights, one: AdapterInsight) -> Iterator[Block]:
    """Yield the prompts that got worse by more than noise explains; in full those that are no weaknesses above."""
    if not one.changes:
        yield Text(labels.NOTHING_MEASURED)
        return
    yield Text(regressions_sentence(len(one.regressions), len(one.changes)), "warn" if one.regressions else "good")
    if one.regressions:
        yield Items(
            tuple(
                Item(
                    f"{change.row.prompt} ({labels.drop(change.change, change.p_worse)})",
                    case_link(change.row, insights.candidate.name),
                )
                for change in one.regressions
            )
        )
    shown = {change.row.prompt_id for change in one.weaknesses}
    if left := [change for change in one.regressions if change.row.prompt_id not in shown][:5]:
        yield _changes(report, insights, left)


def _changes(report: Report, insights: Insights, changes: Iterable[PromptChange]) -> Changes:
    return Changes(
        tuple(
            Change(
                case=case_link(one.row, insights.candidate.name),
                row=one.row,
                category=_label(report, one.row.category),
                scores=both(one.row.figure(RELEVANCE).base, one.row.figure(RELEVANCE).finetuned, number),
                change=labels.drop(one.change, one.p_worse),
            )
            for one in changes
        )
    )


def _flips(insights: Insights) -> Iterator[Block]:
    """Yield the prompts that an arm gets right and the other does not."""
    if not any(one.flips for one in insights.adapters):
        yield Text(labels.NOTHING_MEASURED)
        return

    def flips_of(one: AdapterInsight) -> Iterator[Block]:
        for flips in one.flips:
            counts = (
                f"{labels.BASE} {flips.base_right}/{flips.prompts}, {one.name} {flips.finetuned_right}/{flips.prompts}"
            )
            yield Text(typeset(f"{labels.CRITERIA[flips.criterion]} : {counts}"))
            for label, found in ((labels.GAINED, flips.gained), (labels.LOST, flips.lost)):
                head = typeset(f"{label} : {len(found) or labels.NO_FLIP}")
                entries = tuple(Item(_flip(flip), case_link(flip.row, insights.candidate.name)) for flip in found)
                yield Items(entries, head)

    yield Text(labels.FLIP_RULE, "note")
    yield from _each(insights, flips_of)


def _flip(flip: Flip) -> str:
    before, after = f"{flip.base_right}/{flip.base_responses}", f"{flip.finetuned_right}/{flip.finetuned_responses}"
    return f"{flip.row.prompt} ({before}{ARROW}{after})"


def _responses(insights: Insights) -> Iterator[Block]:
    """Yield lengths and stuffing, a row an arm, then what to beware of."""
    candidate = insights.candidate
    arms = [
        (labels.BASE, candidate.base_responses),
        *((one.name, one.finetuned_responses) for one in insights.adapters),
    ]
    if not any(arm.responses for _, arm in arms):
        yield Text(labels.NOTHING_MEASURED)
        return
    heads = (FIELDS[key] for key in ("arm", "responses", "characters", "tokens", "tools", "stuffed", "empty", "cut"))
    yield Table(
        columns=columns(heads, (12, 8, 10, 6, 7, 12, 8, 8)),
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
        _named(insights, one.name, warning_sentence(warning)) for one in insights.adapters for warning in one.warnings
    ]
    yield from (Text(sentence, "warn") for sentence in warned)
    if not warned:
        yield Text(no_warning_sentence(), "good")


def _failures(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the failures counted by arm and stage; on the page one by one as well."""
    if not insights.failures:
        yield Text(labels.NO_FAILURE, "good") if report.complete else Text(labels.MISSING_RESPONSES, "warn")
        return
    yield Table(
        columns=(
            Column(FIELDS["arm"], 14, "text"),
            Column(FIELDS["stage"], 14, "text"),
            Column(FIELDS["failed"], 9),
            Column(FIELDS["reason"], 38, "text"),
        ),
        rows=tuple(
            (one.arm, labels.STAGES.get(one.stage, one.stage), str(one.responses), french_note(one.reason))
            for one in insights.failures
        ),
    )
    links = {row.prompt_id: case_link(row, row.adapter) for row in report.of_adapter(report.metadata.lora_adapter)}
    more = len(report.failures) - _MOST_FAILURES
    heads = ("prompt", "arm", "response", "stage", "reason")
    yield Part(
        name=labels.failed_responses(len(report.failures)),
        blocks=(
            Table(
                columns=tuple(Column(FIELDS[key], kind="text") for key in heads),
                rows=tuple(
                    (
                        links.get(one.prompt_id, one.prompt_id),
                        one.arm,
                        str(one.replicate + 1),
                        labels.STAGES.get(one.stage, one.stage),
                        french_note(one.reason),
                    )
                    for one in report.failures[:_MOST_FAILURES]
                ),
            ),
            *((Text(labels.more_in_json(more), "note"),) if more > 0 else ()),
        ),
    )


def _provenance(report: Report) -> Iterator[Block]:
    """Yield all that is needed to trust the run, or to do it again."""
    facts = report.provenance
    engine = facts.engine
    share = engine.coverage.share_4bit
    yield from map(_adapter_facts, engine.adapters)
    yield Facts(
        (
            (FIELDS["model"], f"{labels.model_label(engine)} ({engine.base_model})"),
            (FIELDS["coverage"], labels.storage(engine.coverage.storage)),
            (FIELDS["share_4bit"], "" if share is None else percent(share)),
            (FIELDS["not_4bit"], ", ".join(engine.coverage.not_4bit)),
            *(
                (
                    f"{NBSP}{NBSP}{labels.KINDS.get(kind.kind, kind.kind)}",
                    ", ".join(
                        labels.stored(count, storage, kind.bytes.get(storage, 0))
                        for storage, count in kind.weights.items()
                    ),
                )
                for kind in engine.coverage.kinds
            ),
            (FIELDS["compute"], labels.compute_dtype(engine.compute_dtype)),
            (FIELDS["server"], "" if engine.server is None else labels.server_sentence(engine.server)),
            (FIELDS["served"], "" if engine.server is None else labels.served_sentence(engine.server)),
            (FIELDS["embedding"], engine.embedding or ""),
            (FIELDS["batching"], labels.BATCHING[engine.batching]),
            (FIELDS["generation"], _generation(facts.generation)),
            (FIELDS["system_prompt"], facts.generation.system_prompt or ""),
        )
    )
    yield Facts(
        (
            (FIELDS["prompt_hash"], Digest(facts.prompt_hash)),
            (FIELDS["dictionary_hash"], Digest(facts.dictionary_hash)),
            (FIELDS["commit"], facts.commit or ""),
            (FIELDS["machine"], labels.machine(facts.machine.system, facts.machine.processor, facts.machine.cores)),
            (FIELDS["python"], facts.machine.python),
            (FIELDS["versions"], ", ".join(f"{name} {version}" for name, version in facts.versions.items())),
            (
                FIELDS["timings"],
                ", ".join(
                    f"{labels.TIMINGS.get(name, name)} {seconds(took)}" for name, took in facts.timings_s.items()
                ),
            ),
            (REUSED, reused_sentence(facts.responses_reused, facts.responses_generated)),
            (FIELDS["memory"], memory_of_a_run(engine)),
            (FIELDS["notes"], " ; ".join(map(french_note, facts.notes))),
        )
    )


def _adapter_facts(adapter: AdapterProof) -> Facts:
    seen = labels.adapter_proof_sentence(adapter.max_logit_change, base_unchanged=adapter.base_unchanged)
    return Facts(
        (
            (FIELDS["adapter"], f"{adapter.name} ({adapter.source})"),
            (FIELDS["digest"], Digest(adapter.sha256 or "")),
            (FIELDS["rank"], "" if adapter.rank is None else str(adapter.rank)),
            (FIELDS["targets"], ", ".join(adapter.targets)),
            (FIELDS["weights"], "" if adapter.weights is None else count_of(adapter.weights)),
            (FIELDS["proof"], seen or labels.served_proof_sentence(adapter)),
        )
    )


def _generation(settings: GenerationSettings) -> str:
    return ", ".join(
        [
            settings.template,
            labels.GREEDY if settings.is_greedy else labels.sampling(settings.temperature, settings.top_p),
            f"max_new_tokens {settings.max_new_tokens}",
            f"max_response_chars {settings.max_response_chars}",
            *([f"timeout_s {number(settings.timeout_s, 0)}"] if settings.timeout_s else []),
            *([labels.THINKING] if settings.thinking else []),
        ]
    )
