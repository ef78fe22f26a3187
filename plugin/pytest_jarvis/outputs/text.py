"""`report.txt`: the whole report in French, on pages of 80 columns. Pure: the same report gives the same text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from pytest_jarvis.changes import Flip, Flips, MetricComparison, PromptChange
from pytest_jarvis.choices import offers_tools
from pytest_jarvis.contrasts import Interval
from pytest_jarvis.insights import AdapterInsight, Insights
from pytest_jarvis.outputs import text_choices, text_metrics, text_provenance, text_regression
from pytest_jarvis.outputs.layout import INDENT, WIDTH, pairs, paragraph, section, table
from pytest_jarvis.outputs.wording import (
    DASH,
    NOTHING_DECIDED,
    adapters_sentence,
    bracket,
    decision_line,
    explanations,
    fit,
    gain_interval,
    gate_sentence,
    labels,
    number,
    percent,
    points,
    printable,
    reason_sentences,
    shown_thresholds,
    signed,
    typeset,
    width_of,
)
from pytest_jarvis.outputs.wording import routing as wording_routing
from pytest_jarvis.outputs.wording.contamination import contamination_notes
from pytest_jarvis.outputs.wording.labels import FIELDS, SECTIONS
from pytest_jarvis.outputs.wording.metrics import threshold_rows
from pytest_jarvis.outputs.wording.notes import french_reason
from pytest_jarvis.outputs.wording.regression import PAGE_OF_TEXT as REGRESSION
from pytest_jarvis.outputs.wording.routing import run_notes
from pytest_jarvis.outputs.wording.thresholds import threshold_rules
from pytest_jarvis.report import Report

_MOST_LINES = 12
_MOST_FLIPS = 10
_ARM_WIDTH = 12

Writer = Callable[[float], str]


def render_text(report: Report, insights: Insights) -> str:
    """Return the text of `report.txt`; no line holds a control character, whatever a model wrote."""
    candidate, gains = insights.candidate, not report.noise_floor
    lines = [
        *_heading(report),
        *section(SECTIONS["identity"], text_provenance.identity(report, insights)),
        *section(SECTIONS["verdict"], _verdict(report, candidate)),
        *section(SECTIONS["thresholds"], _thresholds(report)),
        *section(REGRESSION, text_regression.regression(report)),
        *section(SECTIONS["statistics"], _statistics(report, candidate)),
        *section(SECTIONS["categories"], _categories(report, candidate, gains=gains)),
        *section(wording_routing.TITLE.upper(), text_choices.routing(candidate, offered=offers_tools(report))),
        *section(wording_routing.UNDERSTOOD_TITLE.upper(), text_choices.understanding(candidate)),
        *section(SECTIONS["improvements"], _improvements(report, candidate) if gains else ()),
        *section(SECTIONS["weaknesses"], _weaknesses(report, candidate) if gains else ()),
        *section(SECTIONS["regressions"], _regressions(report, candidate)),
        *section(SECTIONS["flips"], _flips(candidate)),
        *section(SECTIONS["failures"], _failures(report, insights)),
        *section(SECTIONS["responses"], _responses(candidate)),
        *section(SECTIONS["adapters"], _other_adapters(report, insights)),
        *section(SECTIONS["noise"], _noise(report)),
        *section(SECTIONS["provenance"], text_provenance.provenance(report)),
        *section(SECTIONS["recommendations"], _recommendations(report, candidate)),
    ]
    return "".join(f"{printable(line).rstrip()}\n" for line in lines)


def _heading(report: Report) -> list[str]:
    metadata = report.metadata
    lines = [
        "═" * WIDTH,
        f"{labels.TITLE} – {metadata.base_model_label} + {metadata.lora_adapter}",
        "═" * WIDTH,
    ]
    lines[1:2] = paragraph(lines[1], indent="")
    notes = [*labels.cautions(report), *run_notes(report), *contamination_notes(report)]
    return [*lines, *(line for note in notes for line in paragraph(note, indent=""))]


def _verdict(report: Report, candidate: AdapterInsight) -> Iterator[str]:
    plan = report.metadata.plan
    yield from paragraph(gate_sentence(report.gate, plan.min_gain))
    if adapters := adapters_sentence(report.gate, plan.require):
        yield from paragraph(adapters)
    for reason in reason_sentences(report.gate):
        yield from paragraph(reason, indent=f"{INDENT}  ", first=f"{INDENT}- ")
    if candidate.decision is None:
        return
    yield ""
    named = f"{candidate.name} : " if len(report.metadata.adapters) > 1 else ""
    yield from paragraph(typeset(f"{named}{decision_line(report, candidate.name)}"))
    yield ""
    for sentence in explanations.explain_report(report, candidate.name):
        yield from paragraph(sentence)


def _thresholds(report: Report) -> Iterator[str]:
    rows = threshold_rows(report)
    heads = [FIELDS[key] for key in ("threshold", "value", "bar", "judged", "why")]
    yield from table(heads, rows, (23, 9, 9, 13, 20))
    for rule in threshold_rules(shown_thresholds(report), report.provenance.engine.batching):
        yield from paragraph(rule)


def _statistics(report: Report, candidate: AdapterInsight) -> Iterator[str]:
    measures: list[tuple[str, MetricComparison | None, Writer, Writer]] = [
        (FIELDS["relevance"], candidate.relevance, lambda value: number(value, 3), signed),
        (FIELDS["keywords"], candidate.keywords, percent, points),
        *((labels.CRITERIA[flips.criterion], flips.share, percent, points) for flips in candidate.flips),
        (FIELDS["characters"], candidate.characters, lambda value: number(value, 0), lambda value: signed(value, 0)),
        (FIELDS["seconds"], candidate.seconds, lambda value: number(value, 2), lambda value: signed(value, 2)),
    ]
    unbounded = {FIELDS["characters"], FIELDS["seconds"]}
    rows: list[tuple[str, ...]] = []
    for label, metric, write, write_change in measures:
        rows += _measure_rows(label, metric, write, write_change, highest=math.inf if label in unbounded else 1.0)
    rows += text_metrics.statistics_rows(report, candidate.name)
    if all(metric is None for _, metric, _, _ in measures):
        yield from paragraph(labels.NOTHING_MEASURED)
        return
    yield from table((FIELDS["measure"], labels.BASE, candidate.name, FIELDS["change"]), rows, (27, 15, 15, 18))
    cosine = candidate.averages.avg_cosine_similarity
    reference = report.provenance.mismatched_cosine
    yield ""
    yield from pairs(
        [
            (FIELDS["cosine"], number(cosine) if cosine is not None else ""),
            (FIELDS["mismatched"], labels.mismatched_sentence(reference) if reference is not None else ""),
        ]
    )
    yield from text_metrics.left_out(report, candidate.name)


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


def _categories(report: Report, insight: AdapterInsight, *, gains: bool = True) -> Iterator[str]:
    widths = (22, 7, 8, 8, 9, 19)
    heads = (FIELDS["counted"], labels.BASE, insight.name)
    relevance, keywords = [], []
    write = _gain_cells if gains else _change_cells
    for item in insight.categories:
        counted = f"{item.averages.total_tests}/{item.averages.planned_tests}"
        relevance.append((item.label, counted, *write(item.relevance)))
        keywords.append((item.label, counted, *_keyword_cells(item.keywords)))
    counted = f"{insight.averages.total_tests}/{insight.averages.planned_tests}"
    relevance.append((labels.TOTAL, counted, *write(insight.relevance)))
    keywords.append((labels.TOTAL, counted, *_keyword_cells(insight.keywords)))
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


def _keyword_cells(metric: MetricComparison | None) -> tuple[str, str, str, str]:
    if metric is None:
        return (DASH, DASH, DASH, DASH)
    return (
        percent(metric.base.mean),
        percent(metric.finetuned.mean),
        points(metric.change.difference),
        bracket(metric.change.interval, points),
    )


def _improvements(report: Report, candidate: AdapterInsight) -> Iterator[str]:
    if not candidate.changes:
        yield from paragraph(labels.NOTHING_MEASURED)
        return
    yield from paragraph(labels.IMPROVEMENTS_RULE)
    if not candidate.improvements:
        yield from paragraph(labels.NO_IMPROVEMENT)
    yield from _change_list(report, candidate.improvements)


def _weaknesses(report: Report, candidate: AdapterInsight) -> Iterator[str]:
    if not candidate.changes:
        yield from paragraph(labels.NOTHING_MEASURED)
        return
    yield from paragraph(labels.WEAKNESSES_RULE)
    if not candidate.weaknesses:
        yield from paragraph(labels.NO_OTHER_PROMPT)
    yield from _change_list(report, candidate.weaknesses)


def _regressions(report: Report, candidate: AdapterInsight) -> Iterator[str]:
    if not candidate.changes:
        yield from paragraph(labels.NOTHING_MEASURED)
        return
    yield from paragraph(explanations.regressions_sentence(len(candidate.regressions), len(candidate.changes)))
    for one in candidate.regressions[:_MOST_FLIPS]:
        text = f"{one.row.prompt_id} {one.row.prompt} ({labels.drop(one.change, one.p_worse)})"
        yield from paragraph(text, indent=f"{INDENT}  ", first=f"{INDENT}- ")
    if len(candidate.regressions) > _MOST_FLIPS:
        yield from paragraph(labels.more(len(candidate.regressions) - _MOST_FLIPS), indent=f"{INDENT}  ")
    shown = {change.row.prompt_id for change in candidate.weaknesses}
    yield from _change_list(report, [one for one in candidate.regressions if one.row.prompt_id not in shown][:5])


def _change_list(report: Report, changes: Sequence[PromptChange]) -> Iterator[str]:
    names = {key: item.label for key, item in report.by_category.items()}
    for place, change in enumerate(changes, start=1):
        row = change.row
        scores = (
            f"{number(row.jarvis_relevance_base)} → {number(row.jarvis_relevance_finetuned)} "
            f"({signed(change.change, 2)})"
        )
        yield ""
        head = f"{row.prompt_id} · {names.get(row.category, row.category)} · {scores}"
        yield from paragraph(head, indent=f"{INDENT}   ", first=f"{INDENT}{place}. ")
        yield from paragraph(labels.quoted(row.prompt), indent=f"{INDENT}   ")
        for arm, text in ((labels.BASE, row.base_model_response), (row.adapter, row.finetuned_response)):
            first = f"{INDENT}   {fit(printable(arm), _ARM_WIDTH)} "
            shown = text if text and text.strip() else labels.EMPTY_RESPONSE
            yield from paragraph(shown, indent=" " * width_of(first), first=first, most=_MOST_LINES)


def _flips(candidate: AdapterInsight) -> Iterator[str]:
    if not candidate.flips:
        yield from paragraph(labels.NOTHING_MEASURED)
        return
    yield from paragraph(labels.FLIP_RULE)
    for flips in candidate.flips:
        yield ""
        yield from paragraph(_flip_head(flips, candidate.name))
        for label, entries in ((labels.GAINED, flips.gained), (labels.LOST, flips.lost)):
            yield from paragraph(typeset(f"{label} : {len(entries) or labels.NO_FLIP}"), indent=f"{INDENT}  ")
            for flip in entries[:_MOST_FLIPS]:
                yield from paragraph(_flip(flip), indent=" " * 8, first=f"{INDENT}    - ")
            if len(entries) > _MOST_FLIPS:
                yield from paragraph(labels.more(len(entries) - _MOST_FLIPS), indent=f"{INDENT}      ")


def _flip_head(flips: Flips, name: str) -> str:
    counts = f"{labels.BASE} {flips.base_right}/{flips.prompts}, {name} {flips.finetuned_right}/{flips.prompts}"
    return typeset(f"{labels.CRITERIA[flips.criterion]} : {counts}")


def _flip(flip: Flip) -> str:
    before, after = f"{flip.base_right}/{flip.base_responses}", f"{flip.finetuned_right}/{flip.finetuned_responses}"
    return f"{flip.row.prompt_id} {flip.row.prompt} ({before} → {after})"


def _failures(report: Report, insights: Insights) -> Iterator[str]:
    if not insights.failures:
        yield from paragraph(labels.NO_FAILURE if report.complete else labels.MISSING_RESPONSES)
        return
    rows = [(one.arm, labels.STAGES.get(one.stage, one.stage), str(one.responses)) for one in insights.failures]
    yield from table((FIELDS["arm"], FIELDS["stage"], FIELDS["failed"]), rows, (26, 18, 10))
    yield ""
    for one in insights.failures:
        text = typeset(f"{one.arm}, {labels.STAGES.get(one.stage, one.stage)} : ") + french_reason(one.reason)
        yield from paragraph(text, indent=f"{INDENT}  ", first=f"{INDENT}- ", most=4)


def _responses(candidate: AdapterInsight) -> Iterator[str]:
    arms = (candidate.base_responses, candidate.finetuned_responses)
    if not all(arm.responses for arm in arms):
        yield from paragraph(labels.NOTHING_MEASURED)
        return
    rows = [
        (FIELDS["responses"], *(str(arm.responses) for arm in arms)),
        (FIELDS["characters"], *(number(arm.mean_characters, 0) for arm in arms)),
        (FIELDS["tokens"], *(number(arm.mean_tokens, 1) for arm in arms)),
        (FIELDS["tools"], *(number(arm.tools_per_response, 2) for arm in arms)),
        (FIELDS["stuffed"], *(percent(arm.stuffed_share) for arm in arms)),
        (FIELDS["empty"], *(percent(arm.empty_share) for arm in arms)),
        (FIELDS["cut"], *(percent(arm.cut_share) for arm in arms)),
    ]
    yield from table((FIELDS["per_response"], labels.BASE, candidate.name), rows, (30, 14, 14))
    yield ""
    sentences = [explanations.warning_sentence(warning) for warning in candidate.warnings]
    for sentence in sentences or [explanations.no_warning_sentence()]:
        yield from paragraph(sentence, indent=f"{INDENT}  ", first=f"{INDENT}- ")


def _other_adapters(report: Report, insights: Insights) -> Iterator[str]:
    if insights.ranking is not None:
        places = [f"{place.name} {number(place.estimate.mean, 3)}" for place in insights.ranking.arms]
        yield from paragraph(typeset(f"{labels.RANKING} : {', '.join(places)}"))
        for pair in insights.ranking.pairs:
            change = f"{signed(pair.difference.difference)} {bracket(pair.difference.interval, signed)}"
            text = f"{labels.shown_sentence(pair.better, pair.worse, shown=pair.shown)} ({change})"
            yield from paragraph(text, indent=f"{INDENT}  ", first=f"{INDENT}- ")
    for insight in insights.adapters[1:]:
        yield ""
        yield from paragraph(f"{insight.name} ({report.metadata.adapters[insight.name]})")
        if insight.decision is not None:
            yield from paragraph(typeset(decision_line(report, insight.name)))
        if insight.advice is not None:
            yield from paragraph(explanations.advice_of(report, insight.name, insight.advice))
        yield ""
        yield from _categories(report, insight)


def _noise(report: Report) -> Iterator[str]:
    if not report.noise_floor:
        return
    yield from paragraph(labels.NOISE_RULE)
    yield ""
    rows = [labels.noise_cells(name, floor) for name, floor in report.noise_floor.items()]
    yield from table([FIELDS[key] for key in ("measure", "change", "floor", "relative")], rows, (24, 14, 14, 14))


def _recommendations(report: Report, candidate: AdapterInsight) -> Iterator[str]:
    if candidate.advice is None and not report.noise_floor:
        yield from paragraph(NOTHING_DECIDED if candidate.changes else labels.NOTHING_MEASURED)
        return
    names = {key: item.label for key, item in report.by_category.items()}
    if candidate.advice is not None:
        yield from paragraph(explanations.advice_of(report, candidate.name, candidate.advice))
    sentences = []
    if candidate.weakest is not None:
        label = names.get(candidate.weakest.category, candidate.weakest.category)
        sentences.append(explanations.weakest_sentence(candidate.weakest, label))
    if candidate.changes:
        named = ", ".join(change.row.prompt_id for change in candidate.regressions[:_MOST_FLIPS])
        head = explanations.regressions_sentence(len(candidate.regressions), len(candidate.changes))
        sentences.append(f"{head} {named}".strip())
        if len(candidate.regressions) > _MOST_FLIPS:
            sentences[-1] += f" {labels.more(len(candidate.regressions) - _MOST_FLIPS)}"
    sentences += [explanations.warning_sentence(warning) for warning in candidate.warnings]
    if candidate.decision is not None and candidate.decision.responses_to_settle is not None:
        sentences.append(explanations.settle_sentence(candidate.decision.responses_to_settle))
    for sentence in sentences:
        yield from paragraph(sentence, indent=f"{INDENT}  ", first=f"{INDENT}- ")
