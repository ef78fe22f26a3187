"""The tables of the page: a helper, categories, ranking, responses, flips, thresholds, failures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from pytest_jarvis.render.french import (
    DASH,
    NBSP,
    bracket,
    gain_interval,
    is_judged,
    number,
    percent,
    seconds,
    shown_thresholds,
    signed,
)
from pytest_jarvis.render.french import page as wording
from pytest_jarvis.render.french.explanations import no_warning_sentence, warning_sentence, weakest_sentence
from pytest_jarvis.render.french.labels import STAGES, TOTAL
from pytest_jarvis.render.french.metrics import figure, label_of, threshold_title, why_of
from pytest_jarvis.render.french.notes import french_reason
from pytest_jarvis.render.french.thresholds import THRESHOLD_VERDICTS, bar_of, threshold_rules, threshold_value
from pytest_jarvis.render.html.markup import Html, arm_class, element, foreign, join, listed
from pytest_jarvis.render.html.payload import case_anchor
from pytest_jarvis.report.analysis.advice import ArmDiagnostics
from pytest_jarvis.report.analysis.changes import MetricComparison
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.schema import AddedMetric, Averages, Report
from pytest_jarvis.stats.ranking import Ranking

MOST_FAILURES: Final = 200
_ARROW: Final = " → "
_MOST_UNFOLDED: Final = 3
"""Adapters whose tables of categories are all there to be compared."""

Cell = str | None


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, texts: Collection[int] = (0,), caption: str | None = None
) -> Html:
    """Return a table that scrolls sideways in itself where it is too wide; `texts` are the columns that hold texts."""

    def cell(place: int, value: Cell, name: str) -> Html:
        return element(name, value, class_=None if place in texts else "n", scope="col" if name == "th" else None)

    return element(
        "div",
        element(
            "table",
            element("caption", caption) if caption else None,
            element("thead", element("tr", *(cell(place, head, "th") for place, head in enumerate(heads)))),
            element(
                "tbody",
                *(element("tr", *(cell(place, value, "td") for place, value in enumerate(row))) for row in rows),
            ),
        ),
        class_="table",
        tabindex="0",
        role="region",
        aria_label=caption or heads[0],
    )


def categories(report: Report, insights: Insights) -> Html:
    """Return the table of categories of each adapter; of many, all but the candidate's folded.

    An A/A run has differences instead: what it sees is no gain.
    """
    most, metrics, gains = _scale(insights), report.metrics, not report.noise_floor
    parts = [
        element("div", _categories_of(one, most, metrics, gains=gains), class_=arm_class(place))
        for place, one in enumerate(insights.adapters)
    ]
    folded = (
        element("details", element("summary", foreign(one.name)), part, open=len(parts) <= _MOST_UNFOLDED)
        for one, part in zip(insights.adapters[1:], parts[1:], strict=True)
    )
    ranking = _ranking(insights.ranking, judged=is_judged(report))
    return join(parts[0], *folded, element("p", wording.CATEGORY_NOTE, class_="note"), ranking)


def _categories_of(one: AdapterInsight, most: float, metrics: Mapping[str, AddedMetric], *, gains: bool) -> Html:
    rows = [
        [
            *_cells(foreign(item.label), item.averages, item.relevance, most, gains=gains),
            *_added_cells(metrics, one.name, item.category),
        ]
        for item in one.categories
    ]
    total = [
        *_cells(element("strong", TOTAL), one.averages, one.relevance, most, gains=gains),
        *_added_cells(metrics, one.name, None),
    ]
    weakest = None
    if one.weakest is not None:
        labels = {category.category: category.label for category in one.categories}
        weakest = element("p", weakest_sentence(one.weakest, labels[one.weakest.category]))
    heads = [
        wording.CHANGE if head == wording.GAIN and not gains else head.format(most=number(most, 1))
        for head in wording.CATEGORY_HEADS
    ]
    heads += [label_of(metric.spec) for metric in metrics.values()]
    caption = wording.CATEGORY_CAPTION.format(name=one.name)
    return join(table(heads, [*rows, total], caption=caption), weakest)


def _added_cells(metrics: Mapping[str, AddedMetric], adapter: str, category: str | None) -> list[Cell]:
    """Return the cells of the metrics that others added: base and fine-tuned, or the mean of the pairs."""
    cells: list[Cell] = []
    for metric in metrics.values():
        of = metric.by_adapter[adapter]
        averages = of.overall if category is None else of.by_category[category]
        pair = metric.spec.per == "pair"
        cells.append(figure(averages.value) if pair else f"{figure(averages.base)}{_ARROW}{figure(averages.finetuned)}")
    return cells


def _cells(
    name: Html, averages: Averages, relevance: MetricComparison | None, most: float, *, gains: bool
) -> list[Cell]:
    change, between = percent(averages.relevance_gain, signed=True), DASH
    if relevance is not None and not gains:
        change = signed(relevance.change.difference)
        between = bracket(relevance.change.interval, signed)
    elif relevance is not None and relevance.ratio.interval is not None:
        low, high = relevance.ratio.interval
        between = gain_interval((low - 1, high - 1))
    keywords = (averages.avg_keyword_match_base, averages.avg_keyword_match_finetuned)
    before, after = averages.avg_relevance_base, averages.avg_relevance_finetuned
    return [
        name,
        f"{averages.total_tests}/{averages.planned_tests}",
        f"{number(before, 3)}{_ARROW}{number(after, 3)}",
        _span(before, after, most),
        change,
        between,
        _ARROW.join(percent(share, 0) for share in keywords),
        number(averages.avg_cosine_similarity),
    ]


def _scale(insights: Insights) -> float:
    """Return the relevance at the right end of the drawings: the highest shown, up to the next tenth."""
    means = [
        mean
        for one in insights.adapters
        for averages in (one.averages, *(category.averages for category in one.categories))
        for mean in (averages.avg_relevance_base, averages.avg_relevance_finetuned)
        if mean is not None
    ]
    return min(1.0, (int(max(means, default=0.0) * 10) + 1) / 10)


def _span(before: float | None, after: float | None, most: float) -> Html | None:
    """Return the way from the base's mean to the fine-tuned one, drawn."""
    if before is None or after is None:
        return None
    start, end = (f"{3 + min(1.0, value / most) * 94:.3f}%" for value in (before, after))
    trend = "same" if number(before, 3) == number(after, 3) else "better" if after > before else "worse"
    return element(
        "svg",
        element("line", class_="track", x1="3%", x2="97%", y1="8", y2="8"),
        element("line", class_=f"way {trend}", x1=start, x2=end, y1="8", y2="8"),
        element("circle", class_="dot base", cx=start, cy="8", r="4.5"),
        element("circle", class_="dot tuned", cx=end, cy="8", r="4.5"),
        class_="span",
        aria_hidden="true",
    )


def _ranking(ranking: Ranking | None, *, judged: bool) -> Html | None:
    """Return the places, and the differences with which of them are shown; without these where nothing is `judged`."""
    if ranking is None:
        return None
    arms = [
        [
            str(place),
            foreign(arm.name),
            number(arm.estimate.mean, 3),
            bracket(arm.estimate.interval, lambda end: number(end, 3)),
        ]
        for place, arm in enumerate(ranking.arms, start=1)
    ]
    pairs = [
        [
            join(foreign(pair.better), " > ", foreign(pair.worse)),
            signed(pair.difference.difference),
            bracket(pair.difference.interval, signed),
            wording.SHOWN if pair.shown else wording.NOT_SHOWN,
        ]
        for pair in ranking.pairs
    ]
    return join(
        element("h3", wording.RANKING),
        element(
            "div",
            table(wording.RANKING_HEADS, arms, texts=(0, 1)),
            table(wording.PAIR_HEADS, pairs) if judged else None,
            class_="side-by-side",
        ),
    )


def responses(insights: Insights) -> Html:
    """Return the panel of lengths and stuffing: one line an arm, then the warnings."""
    candidate = insights.candidate
    measured = candidate.base_responses.responses + candidate.finetuned_responses.responses > 0
    rows = [_arm(wording.BASE, candidate.base_responses)]
    rows += [_arm(one.name, one.finetuned_responses) for one in insights.adapters]
    several = len(insights.adapters) > 1
    warnings = [
        element(
            "p",
            join(element("strong", foreign(one.name)), f"{NBSP}: ") if several else None,
            warning_sentence(warning),
            class_="notice warn",
        )
        for one in insights.adapters
        for warning in one.warnings
    ]
    return join(
        table(wording.DIAGNOSTIC_HEADS, rows),
        *(warnings or [element("p", no_warning_sentence(), class_="notice good")] if measured else ()),
    )


def _arm(name: str, arm: ArmDiagnostics) -> list[Cell]:
    return [
        foreign(name),
        str(arm.responses),
        number(arm.mean_characters, 0),
        number(arm.mean_tokens, 0),
        number(arm.tools_per_response, 1),
        percent(arm.stuffed_share),
        percent(arm.empty_share),
        percent(arm.cut_share),
    ]


def thresholds(report: Report, labels: dict[str, str]) -> Html:
    """Return the bars of the run, each with its value and verdict."""
    rows = []
    for one in shown_thresholds(report):
        about = [foreign(one.adapter)] if one.adapter else [wording.WHOLE_RUN]
        if one.category:
            about.append(foreign(labels.get(one.category, one.category)))
        rows.append(
            [
                join(foreign(threshold_title(one, report.metrics)), " (", listed(about), ")"),
                threshold_value(one, one.value),
                bar_of(one),
                element("span", THRESHOLD_VERDICTS[one.verdict], class_=f"verdict {one.verdict.lower()}"),
                why_of(report, one),
            ]
        )
    rules = [
        element("p", rule, class_="note")
        for rule in threshold_rules(shown_thresholds(report), report.provenance.engine.batching)
    ]
    return join(table(wording.THRESHOLD_HEADS, rows, texts=(0, 3, 4)), *rules)


def failures(report: Report, insights: Insights) -> Html:
    """Return the failures: counted, then one by one, the first `MOST_FAILURES` of them."""
    if not report.failures:
        return element("p", wording.NO_FAILURE, class_="notice good")
    counts = [
        [foreign(one.arm), STAGES.get(one.stage, one.stage), str(one.responses), foreign(french_reason(one.reason))]
        for one in insights.failures
    ]
    anchors = {
        row.prompt_id: element(
            "a", foreign(row.prompt_id), href=f"#{case_anchor(row.prompt_id, row.adapter, row.adapter)}"
        )
        for row in report.of_adapter(report.metadata.lora_adapter)
    }
    rows = [
        [
            anchors.get(one.prompt_id) or foreign(one.prompt_id),
            foreign(one.arm),
            str(one.replicate + 1),
            STAGES.get(one.stage, one.stage),
            foreign(french_reason(one.reason)),
        ]
        for one in report.failures[:MOST_FAILURES]
    ]
    more = len(report.failures) - MOST_FAILURES
    return join(
        table(wording.FAILURE_COUNT_HEADS, counts, texts=(0, 1, 3)),
        element(
            "details",
            element("summary", wording.failures_counted(len(report.failures))),
            table(wording.FAILURE_HEADS, rows, texts=range(5)),
            element("p", wording.more_failures(more), class_="note") if more > 0 else None,
        ),
    )


def duration(averages: Averages) -> str:
    """Return the mean duration of a response, base then fine-tuned."""
    return f"{seconds(averages.avg_seconds_base)}{_ARROW}{seconds(averages.avg_seconds_finetuned)}"
