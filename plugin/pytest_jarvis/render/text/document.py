"""`report.txt`: the whole report in French, on pages of 80 columns. Pure: the same report gives the same text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_jarvis.render.french import (
    NOTHING_DECIDED,
    adapters_sentence,
    decision_line,
    explanations,
    fit,
    gate_sentence,
    labels,
    number,
    percent,
    printable,
    reason_sentences,
    shown_thresholds,
    signed,
    typeset,
    width_of,
)
from pytest_jarvis.render.french import regression as wording
from pytest_jarvis.render.french import routing as wording_routing
from pytest_jarvis.render.french.contamination import contamination_notes
from pytest_jarvis.render.french.labels import FIELDS, SECTIONS
from pytest_jarvis.render.french.metrics import threshold_rows
from pytest_jarvis.render.french.notes import french_reason
from pytest_jarvis.render.french.regression import PAGE_OF_TEXT as REGRESSION
from pytest_jarvis.render.french.routing import run_notes
from pytest_jarvis.render.french.thresholds import threshold_rules
from pytest_jarvis.render.text import adapters as text_adapters
from pytest_jarvis.render.text import figures as text_figures
from pytest_jarvis.render.text import provenance as text_provenance
from pytest_jarvis.render.text import tool_choice as text_choices
from pytest_jarvis.render.text.layout import INDENT, WIDTH, paragraph, section, table
from pytest_jarvis.report.analysis.changes import Flip, PromptChange
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.analysis.tool_choice import offers_tools
from pytest_jarvis.report.schema import Report

_MOST_LINES = 12
_MOST_FLIPS = 10
_ARM_WIDTH = 12


def render_text(report: Report, insights: Insights) -> str:
    """Return the text of `report.txt`; no line holds a control character, whatever a model wrote."""
    candidate, gains = insights.candidate, not report.noise_floor
    # Of several adapters most sections are the candidate's, which their titles say.
    whose = f" – {candidate.name}" if len(insights.adapters) > 1 else ""
    written = [
        *_heading(report),
        *section(SECTIONS["identity"], text_provenance.identity(report, insights)),
        *section(SECTIONS["verdict"], _verdict(report, insights)),
        *section(SECTIONS["thresholds"], _thresholds(report)),
        *section(SECTIONS["side_by_side"], text_adapters.side_by_side(report, insights)),
        *section(REGRESSION, regression(report)),
        *(
            line
            for title, of in _own_sections(report, candidate, gains=gains)
            for line in section(f"{title}{whose}", of)
        ),
        *section(SECTIONS["adapters"], text_adapters.others(report, insights)),
        *section(SECTIONS["failures"], _failures(report, insights)),
        *section(SECTIONS["noise"], _noise(report)),
        *section(SECTIONS["provenance"], text_provenance.provenance(report)),
        *section(SECTIONS["recommendations"], _recommendations(report, insights)),
    ]
    return "".join(f"{printable(line).rstrip()}\n" for line in written)


def _own_sections(report: Report, candidate: AdapterInsight, *, gains: bool) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the titles and lines of what is said of the candidate alone."""
    yield SECTIONS["statistics"], text_figures.statistics(report, candidate)
    yield SECTIONS["categories"], text_figures.categories(report, candidate, gains=gains)
    yield wording_routing.TITLE.upper(), text_choices.routing(candidate, offered=offers_tools(report))
    yield wording_routing.UNDERSTOOD_TITLE.upper(), text_choices.understanding(candidate)
    if gains:
        yield SECTIONS["improvements"], _improvements(report, candidate)
        yield SECTIONS["weaknesses"], _weaknesses(report, candidate)
    yield SECTIONS["regressions"], _regressions(report, candidate)
    yield SECTIONS["flips"], _flips(candidate)
    yield SECTIONS["responses"], _responses(candidate)


def _heading(report: Report) -> list[str]:
    metadata = report.metadata
    title = f"{labels.TITLE} – {metadata.base_model_label} + {', '.join(metadata.adapters)}"
    notes = [*labels.cautions(report), *run_notes(report), *contamination_notes(report)]
    said = [line for note in notes for line in paragraph(note, indent="")]
    return ["═" * WIDTH, *paragraph(title, indent=""), "═" * WIDTH, *said]


def _verdict(report: Report, insights: Insights) -> Iterator[str]:
    plan = report.metadata.plan
    yield from paragraph(gate_sentence(report.gate, plan.min_gain))
    if adapters := adapters_sentence(report.gate, plan.require):
        yield from paragraph(adapters)
    for reason in reason_sentences(report.gate):
        yield from paragraph(reason, indent=f"{INDENT}  ", first=f"{INDENT}- ")
    decided = [one.name for one in insights.adapters if one.decision is not None]
    for name in decided:
        yield ""
        named = f"{name} : " if len(insights.adapters) > 1 else ""
        yield from paragraph(typeset(f"{named}{decision_line(report, name)}"))
    if insights.candidate.name in decided:
        yield ""
        for sentence in explanations.explain_report(report, insights.candidate.name):
            yield from paragraph(sentence)


def _thresholds(report: Report) -> Iterator[str]:
    rows = threshold_rows(report)
    heads = [FIELDS[key] for key in ("threshold", "value", "bar", "judged", "why")]
    yield from table(heads, rows, (23, 9, 9, 13, 20))
    for rule in threshold_rules(shown_thresholds(report), report.provenance.engine.batching):
        yield from paragraph(rule)


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
        yield from paragraph(text_choices.flip_head(flips, candidate.name))
        for label, entries in ((labels.GAINED, flips.gained), (labels.LOST, flips.lost)):
            yield from paragraph(typeset(f"{label} : {len(entries) or labels.NO_FLIP}"), indent=f"{INDENT}  ")
            for flip in entries[:_MOST_FLIPS]:
                yield from paragraph(_flip(flip), indent=" " * 8, first=f"{INDENT}    - ")
            if len(entries) > _MOST_FLIPS:
                yield from paragraph(labels.more(len(entries) - _MOST_FLIPS), indent=f"{INDENT}      ")


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


def _noise(report: Report) -> Iterator[str]:
    if not report.noise_floor:
        return
    yield from paragraph(labels.NOISE_RULE)
    yield ""
    rows = [labels.noise_cells(name, floor) for name, floor in report.noise_floor.items()]
    yield from table([FIELDS[key] for key in ("measure", "change", "floor", "relative")], rows, (24, 14, 14, 14))


def _recommendations(report: Report, insights: Insights) -> Iterator[str]:
    for place, one in enumerate(insights.adapters):
        yield from ("",) if place else ()
        yield from _recommended(report, one, named=len(insights.adapters) > 1)


def _recommended(report: Report, one: AdapterInsight, *, named: bool) -> Iterator[str]:
    who = f"{one.name} : " if named else ""
    if one.advice is None and not report.noise_floor:
        yield from paragraph(typeset(f"{who}{NOTHING_DECIDED if one.changes else labels.NOTHING_MEASURED}"))
        return
    names = {key: item.label for key, item in report.by_category.items()}
    if one.advice is not None:
        yield from paragraph(typeset(f"{who}{explanations.advice_of(report, one.name, one.advice)}"))
    sentences = []
    if one.weakest is not None:
        label = names.get(one.weakest.category, one.weakest.category)
        sentences.append(explanations.weakest_sentence(one.weakest, label))
    if one.changes:
        named_prompts = ", ".join(change.row.prompt_id for change in one.regressions[:_MOST_FLIPS])
        head = explanations.regressions_sentence(len(one.regressions), len(one.changes))
        sentences.append(f"{head} {named_prompts}".strip())
        if len(one.regressions) > _MOST_FLIPS:
            sentences[-1] += f" {labels.more(len(one.regressions) - _MOST_FLIPS)}"
    sentences += [explanations.warning_sentence(warning) for warning in one.warnings]
    if one.decision is not None and one.decision.responses_to_settle is not None:
        sentences.append(explanations.settle_sentence(one.decision.responses_to_settle))
    for sentence in sentences:
        yield from paragraph(sentence, indent=f"{INDENT}  ", first=f"{INDENT}- ")


def regression(report: Report) -> Iterator[str]:
    """Yield the verdict, its details and the table of its tests; nothing where no comparison was asked for."""
    outcome = report.regression
    if outcome is None:
        return
    yield from paragraph(wording.regression_sentence(outcome))
    for sentence in wording.regression_details(outcome, report):
        yield from paragraph(sentence, indent=f"{INDENT}  ", first=f"{INDENT}- ")
    if outcome.tests:
        yield ""
        rows = [wording.cells_of(test, report) for test in outcome.tests]
        yield from table(wording.HEADS, rows, (21, 7, 6, 6, 7, 17, 8))
