"""Two sections of `report.txt` where several adapters ran: all of them side by side, and what is said of each other."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_jarvis.render.french import bracket, explanations, is_judged, labels, number, printable, signed, typeset
from pytest_jarvis.render.text import figures as text_figures
from pytest_jarvis.render.text import tool_choice as text_choices
from pytest_jarvis.render.text.aggregates import LABEL_WIDTH, aggregate_table, choice_sentences
from pytest_jarvis.render.text.layout import INDENT, paragraph
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.schema import Report

_MOST_NAMED = 10
"""Prompts that got worse, of an adapter that is not the candidate."""


def side_by_side(report: Report, insights: Insights) -> Iterator[str]:
    """Yield the table of all adapters and which is ahead of which; nothing of one.

    Where the run is not judged no difference is said to be shown.
    """
    if len(insights.adapters) < 2:
        return
    yield from (f"{INDENT}{line}" for line in aggregate_table(report, label_width=LABEL_WIDTH - len(INDENT)))
    if said := choice_sentences(report):
        yield ""
        for sentence in said:
            yield from paragraph(sentence)
    if insights.ranking is None:
        return
    yield ""
    places = [f"{place.name} {number(place.estimate.mean, 3)}" for place in insights.ranking.arms]
    yield from paragraph(typeset(f"{labels.RANKING} : {', '.join(places)}"))
    for pair in insights.ranking.pairs if is_judged(report) else ():
        change = f"{signed(pair.difference.difference)} {bracket(pair.difference.interval, signed)}"
        text = f"{labels.shown_sentence(pair.better, pair.worse, shown=pair.shown)} ({change})"
        yield from paragraph(text, indent=f"{INDENT}  ", first=f"{INDENT}- ")


def others(report: Report, insights: Insights) -> Iterator[str]:
    """Yield what is said of each adapter but the candidate: its verdict in sentences, its figures, what got worse."""
    for place, insight in enumerate(insights.adapters[1:]):
        yield from ("", "") if place else ()
        yield from paragraph(f"{insight.name} ({report.metadata.adapters[insight.name]})")
        yield from _other(report, insight)


def _other(report: Report, insight: AdapterInsight) -> Iterator[str]:
    if insight.decision is not None:
        for sentence in explanations.explain_report(report, insight.name):
            yield from paragraph(sentence)
    yield ""
    yield from text_figures.statistics(report, insight)
    yield ""
    yield from text_figures.categories(report, insight)
    if insight.routing is not None:
        yield ""
        yield from text_choices.shares(insight.routing, insight.name)
    yield ""
    sentences = [text_choices.flip_head(flips, insight.name) for flips in insight.flips]
    if insight.changes:
        named = [change.row.prompt_id for change in insight.regressions[:_MOST_NAMED]]
        if len(insight.regressions) > _MOST_NAMED:
            named.append(labels.more(len(insight.regressions) - _MOST_NAMED))
        head = explanations.regressions_sentence(len(insight.regressions), len(insight.changes))
        sentences.append(f"{head} {printable(', '.join(named))}".strip())
    sentences += [explanations.warning_sentence(warning) for warning in insight.warnings]
    for sentence in sentences:
        yield from paragraph(sentence, indent=f"{INDENT}  ", first=f"{INDENT}- ")
