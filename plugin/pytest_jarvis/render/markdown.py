"""`summary.md`: the report for a reviewer, in GitHub's Markdown; what a model wrote is text there, never markup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pytest_jarvis.render.french import (
    DASH,
    adapters_sentence,
    bracket,
    decision_line,
    explanations,
    gain_interval,
    gate_sentence,
    is_judged,
    labels,
    number,
    percent,
    printable,
    reason_sentences,
    regression,
    shown_thresholds,
    signed,
    typeset,
)
from pytest_jarvis.render.french import metrics as added
from pytest_jarvis.render.french import routing as wording_routing
from pytest_jarvis.render.french.contamination import contamination_notes
from pytest_jarvis.render.french.labels import FIELDS
from pytest_jarvis.render.french.metrics import threshold_rows
from pytest_jarvis.render.french.notes import french_reason
from pytest_jarvis.render.french.routing import run_notes
from pytest_jarvis.render.french.thresholds import threshold_rules
from pytest_jarvis.render.text.aggregates import ranking_sentences
from pytest_jarvis.report.analysis.changes import MetricComparison, PromptChange
from pytest_jarvis.report.analysis.insights import AdapterInsight, Insights
from pytest_jarvis.report.analysis.tool_choice import RoutingInsight, offers_tools
from pytest_jarvis.report.schema import Report

MOST_CHARACTERS: Final = 60_000
STEP_SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"

_MOST_ROWS = 40
_MOST_CASES = 5
_MOST_CASES_EACH = 2
"""The same of each of several adapters."""
_MOST_ADAPTERS = 4
"""Adapters of which more is said than the tables hold; of more, those named first."""
_MOST_CONFUSIONS = 8
_MOST_LABEL = 80
_MOST_TEXT = 400
_MARKUP = re.compile(r"([\\`*_\[\]<>|~$#&@]|:(?=/)|(?<=www)\.)", re.IGNORECASE)
"""What can begin markup inside a line, or make a link of an address."""
_TICKS = re.compile("`+")


def render_markdown(report: Report, insights: Insights) -> str:
    """Return the text of `summary.md`: verdict, tables, worst prompts; always under 60,000 characters."""
    shown = insights.adapters[:_MOST_ADAPTERS]
    blocks = [
        f"# {labels.TITLE} : {escaped(labels.GATE_SHORT[report.gate.verdict])}",
        *(f"> {escaped_sentence(note)}" for note in _notes(report)),
        *_verdict(report, shown),
        *_adapters(report, insights),
        *_categories(insights.adapters, gains=not report.noise_floor),
        *_added(report),
        *_choices(shown, offered=offers_tools(report)),
        *_thresholds(report),
        *_regression(report),
        *_worst(report, shown),
        *_failures(insights),
        _foot(report),
    ]
    return _shortened("\n\n".join(typeset(block) for block in blocks) + "\n")


def append_step_summary(text: str, file: Path) -> None:
    """Append a summary to the file that GitHub Actions names in `GITHUB_STEP_SUMMARY`; OSError as `open`."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{text}\n")


def escaped(text: str) -> str:
    """Return a short text so that no character of it is markup, on one line."""
    shown = printable(text)
    shown = shown if len(shown) <= _MOST_LABEL else f"{shown[: _MOST_LABEL - 1]}…"
    return _MARKUP.sub(r"\\\1", shown)


def escaped_sentence(text: str) -> str:
    """Return a sentence of ours, which may quote a name, so that no character of it is markup."""
    return _MARKUP.sub(r"\\\1", printable(text))


def code(text: str) -> str:
    """Return a text as inline code: neither markup, nor a link, nor a mention of somebody."""
    shown = printable(text).strip()
    shown = shown if len(shown) <= _MOST_TEXT else f"{shown[: _MOST_TEXT - 1]}…"
    if not shown:
        return labels.EMPTY_RESPONSE
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in (shown[0], shown[-1]) else f"{fence}{shown}{fence}"


def _shortened(text: str) -> str:
    """Return the text, cut at the end of a line where it would be too long."""
    if len(text) < MOST_CHARACTERS:
        return text
    end = text.rfind("\n", 0, MOST_CHARACTERS - 200)
    return f"{text[:end]}\n\n{labels.SHORTENED}\n"


def _notes(report: Report) -> list[str]:
    return [*labels.cautions(report), *run_notes(report), *contamination_notes(report), *regression.drop_notes(report)]


def _verdict(report: Report, adapters: Sequence[AdapterInsight]) -> Iterator[str]:
    plan = report.metadata.plan
    yield f"**{escaped_sentence(gate_sentence(report.gate, plan.min_gain))}**"
    if said := adapters_sentence(report.gate, plan.require):
        yield escaped_sentence(said)
    reasons = [f"- {escaped_sentence(sentence)}" for sentence in reason_sentences(report.gate)]
    if reasons:
        yield "\n".join(reasons)
    several = len(report.metadata.adapters) > 1
    for one in adapters:
        named = f"{one.name} : " if several else ""
        if one.decision is not None:
            yield escaped_sentence(f"{named}{decision_line(report, one.name)}")
        if one.advice is not None:
            yield escaped_sentence(f"{named}{explanations.advice_of(report, one.name, one.advice)}")
    if report.noise_floor:
        yield labels.NOISE_RULE
        rows = [labels.noise_cells(name, floor) for name, floor in report.noise_floor.items()]
        yield table_of([FIELDS[key] for key in ("measure", "change", "floor", "relative")], rows)
    more = [f"{f'{one.name} : ' if several else ''}{sentence}" for one in adapters for sentence in _beware(report, one)]
    if more:
        yield "\n".join(f"- {escaped_sentence(sentence)}" for sentence in more)


def _beware(report: Report, one: AdapterInsight) -> Iterator[str]:
    """Yield what to beware of and where to work first."""
    yield from (explanations.warning_sentence(warning) for warning in one.warnings)
    if one.weakest is not None:
        known = report.by_category.get(one.weakest.category)
        yield explanations.weakest_sentence(one.weakest, known.label if known else one.weakest.category)


def table_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its cells are escaped here, the first column stands to the left."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    shown = [lines[0], *rows[:_MOST_ROWS]]
    body = [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in shown]
    body.insert(1, f"| {' | '.join(lines[1])} |")
    if len(rows) > _MOST_ROWS:
        body += ["", labels.more(len(rows) - _MOST_ROWS)]
    return "\n".join(body)


def _categories(adapters: Sequence[AdapterInsight], *, gains: bool) -> Iterator[str]:
    """Yield the table of categories; of several adapters each has a row under each category."""
    yield f"## {labels.PER_CATEGORY}"
    heads = [
        FIELDS["counted"],
        f"{FIELDS['relevance']}, {labels.BASE}",
        _tuned(adapters),
        FIELDS["gain" if gains else "change"],
        FIELDS["interval"],
        f"{FIELDS['keywords']}, {labels.BASE}",
        _tuned(adapters),
    ]
    count = len(adapters[0].categories)
    kept = min(count, max(0, _MOST_ROWS // len(adapters) - 1))
    rows: list[list[str]] = []
    for place in (*range(kept), None):
        for one in adapters:
            part = one if place is None else one.categories[place]
            averages, label = part.averages, labels.TOTAL if place is None else one.categories[place].label
            counted = f"{averages.total_tests}/{averages.planned_tests}"
            cells = [counted, *_relevance(part.relevance, gains=gains), *_keywords(part.keywords)]
            rows.append([label, *_whose(adapters, one.name), *cells])
    yield table_of([FIELDS["category"], *_whose(adapters, FIELDS["adapter"]), *heads], rows)
    if kept < count:
        yield labels.more(count - kept)


def _tuned(adapters: Sequence[AdapterInsight]) -> str:
    """Return the head of a column of the arm beside the base: its name, where there is one."""
    return adapters[0].name if len(adapters) == 1 else labels.TUNED


def _whose(adapters: Sequence[AdapterInsight], name: str) -> list[str]:
    """Return the cell that says whose a row is, where there are several adapters."""
    return [name] if len(adapters) > 1 else []


def _added(report: Report) -> Iterator[str]:
    """Yield the table of the metrics that others added: overall, then per category."""
    if not report.metrics:
        return
    names = {key: item.label for key, item in report.by_category.items()}
    several = len(report.metadata.adapters) > 1
    rows, sentences = [], []
    for metric in report.metrics.values():
        for name, of in metric.by_adapter.items():
            whose = [name] if several else []
            entries = [(labels.TOTAL, of.overall), *((names.get(key, key), one) for key, one in of.by_category.items())]
            for label, one in entries:
                cells = [str(one.prompts), *added.metric_cells(metric.spec, one)]
                rows.append([added.label_of(metric.spec), label, *whose, *cells])
            if said := added.not_measured(metric.spec, of.overall):
                sentences.append(f"{f'{name}, ' if several else ''}{said}")
    yield f"## {added.TITLE}"
    whose, arm = ([FIELDS["adapter"]], labels.TUNED) if several else ([], report.metadata.lora_adapter)
    heads = (FIELDS["measure"], FIELDS["category"], *whose, FIELDS["counted"], labels.BASE, arm)
    yield table_of((*heads, FIELDS["change"], FIELDS["interval"]), rows)
    if sentences:
        yield "\n".join(f"- {escaped_sentence(sentence)}" for sentence in sentences)


def _relevance(metric: MetricComparison | None, *, gains: bool) -> list[str]:
    if metric is None:
        return [DASH] * 4
    if not gains:
        change = metric.change
        means = [number(metric.base.mean, 3), number(metric.finetuned.mean, 3)]
        return [*means, signed(change.difference), bracket(change.interval, signed)]
    ratio = metric.ratio
    ends = None if ratio.interval is None else (ratio.interval[0] - 1, ratio.interval[1] - 1)
    gain = percent(None if ratio.value is None else ratio.value - 1, signed=True)
    return [number(metric.base.mean, 3), number(metric.finetuned.mean, 3), gain, gain_interval(ends)]


def _keywords(metric: MetricComparison | None) -> list[str]:
    return [DASH, DASH] if metric is None else [percent(metric.base.mean), percent(metric.finetuned.mean)]


def _choices(adapters: Sequence[AdapterInsight], *, offered: bool) -> Iterator[str]:
    """Yield the choice of the tool, its commonest confusions, and how many misheard commands were understood."""
    judged = [(one.name, one.routing) for one in adapters if one.routing is not None]
    if judged:
        yield f"## {wording_routing.TITLE}"
        yield wording_routing.rule(offered=offered)
        # An adapter that measured nothing in a category has none of it.
        shares = {name: {one.category: one.share for one in found.categories} for name, found in judged}
        labelled = {one.category: one.label for _, found in judged for one in found.categories}
        rows = [
            [label, *_whose(adapters, name), *wording_routing.share_cells(shares[name].get(category))]
            for category, label in labelled.items()
            for name in shares
        ]
        rows += [
            [labels.TOTAL, *_whose(adapters, name), *wording_routing.share_cells(found.share)] for name, found in judged
        ]
        heads = [wording_routing.SHARE_HEAD, *_whose(adapters, FIELDS["adapter"]), labels.BASE, _tuned(adapters)]
        yield table_of([*heads, FIELDS["change"], FIELDS["interval"]], rows)
        yield from _confusions(judged)
    for one in adapters:
        if one.understanding is not None:
            named = f"{escaped(one.name)} · " if len(adapters) > 1 else ""
            yield f"{named}{wording_routing.share_line(wording_routing.UNDERSTOOD_TITLE, one.understanding.share)}"


def _confusions(judged: Sequence[tuple[str, RoutingInsight]]) -> Iterator[str]:
    """Yield the table of what was chosen in place of the tool that was wanted, by each arm, the commonest first."""
    counts: dict[tuple[str, str], list[int]] = {}
    for place, (_, found) in enumerate(judged):
        for one in found.confusions:
            for key in dict.fromkeys((*one.base, *one.finetuned)):
                if key != one.expected:
                    row = counts.setdefault((one.expected, key), [0] * (1 + len(judged)))
                    row[0] = max(row[0], one.base.get(key, 0))
                    row[1 + place] = one.finetuned.get(key, 0)
    if counts:
        most = sorted(counts.items(), key=lambda item: -sum(item[1]))[:_MOST_CONFUSIONS]
        yield table_of(
            [*wording_routing.CONFUSION_HEADS, labels.BASE, *(name for name, _ in judged)],
            [[*map(wording_routing.chosen_name, names), *map(str, row)] for names, row in most],
        )


def _thresholds(report: Report) -> Iterator[str]:
    rows = threshold_rows(report)
    if rows:
        yield f"## {labels.THRESHOLDS}"
        yield table_of([FIELDS[key] for key in ("threshold", "value", "bar", "judged", "why")], rows)
        yield from threshold_rules(shown_thresholds(report), report.provenance.engine.batching)


def _regression(report: Report) -> Iterator[str]:
    outcome = report.regression
    if outcome is None:
        return
    yield f"## {regression.SECTION}"
    yield f"**{escaped_sentence(regression.regression_sentence(outcome))}**"
    if details := regression.regression_details(outcome, report):
        yield "\n".join(f"- {escaped_sentence(sentence)}" for sentence in details)
    if outcome.tests:
        yield table_of(regression.HEADS, [regression.cells_of(test, report) for test in outcome.tests])


def _adapters(report: Report, insights: Insights) -> Iterator[str]:
    if len(insights.adapters) < 2:
        return
    yield f"## {labels.ADAPTERS}"
    rows = []
    for one in insights.adapters:
        decision, averages = one.decision, one.averages
        means = [
            one.name,
            number(averages.avg_relevance_finetuned, 3),
            percent(averages.relevance_gain, signed=True),
        ]
        if decision is None:
            rows.append([*means, DASH, DASH, DASH, DASH])
            continue
        # An adapter may be settled before the last response is drawn: the figures of its verdict are those of then.
        rows.append(
            [
                *means,
                percent(decision.gain, signed=True),
                gain_interval(decision.judged_interval),
                str(decision.replicates[1]),
                explanations.ADVICE[one.advice.code] if one.advice else DASH,
            ]
        )
    heads = ("adapter", "relevance", "gain", "gain_then", "interval", "responses_then", "judged")
    yield table_of([FIELDS[key] for key in heads], rows)
    if said := ranking_sentences(insights.ranking, judged=is_judged(report)):
        yield "\n".join(f"- {escaped_sentence(sentence)}" for sentence in said[:_MOST_ROWS])


def _worst(report: Report, adapters: Sequence[AdapterInsight]) -> Iterator[str]:
    """Yield the prompts that got worse: those shown to have, else the lowest changes."""
    changed = [] if report.noise_floor else [one for one in adapters if one.changes]
    if not changed:
        return
    yield f"## {labels.REGRESSIONS}"
    names = {key: item.label for key, item in report.by_category.items()}
    most = _MOST_CASES if len(adapters) == 1 else _MOST_CASES_EACH
    for one in changed:
        yield from (f"### {name}" for name in _whose(adapters, escaped(one.name)))
        yield escaped_sentence(explanations.regressions_sentence(len(one.regressions), len(one.changes)))
        worst = one.regressions[:most]
        if not worst:
            yield labels.WEAKNESSES_RULE
            worst = one.weaknesses[:most]
        for change in worst:
            yield _case(change, names.get(change.row.category, change.row.category))


def _case(change: PromptChange, label: str) -> str:
    row = change.row
    scores = f"{number(row.jarvis_relevance_base)} → {number(row.jarvis_relevance_finetuned)}"
    evidence = labels.drop(change.change, change.p_worse)
    return "\n".join(
        [
            f"- **{escaped(row.prompt_id)}** ({escaped(label)}) : {code(row.prompt)} – {scores} ({escaped(evidence)})",
            f"  - {labels.BASE} : {code(row.base_model_response or '')}",
            f"  - {escaped(row.adapter)} : {code(row.finetuned_response or '')}",
        ]
    )


def _failures(insights: Insights) -> Iterator[str]:
    if not insights.failures:
        return
    yield f"## {labels.FAILURES}"
    yield "\n".join(
        f"- {escaped(f'{one.arm}, {labels.STAGES.get(one.stage, one.stage)}')} : {one.responses} – "
        f"{code(french_reason(one.reason))}"
        for one in insights.failures[:_MOST_ROWS]
    )


def _foot(report: Report) -> str:
    metadata, facts = report.metadata, report.provenance
    parts = [
        f"{metadata.base_model_label} ({metadata.base_model})",
        labels.quantised(metadata.quantization),
        labels.device(metadata.device),
        labels.looks([metadata.samples_per_prompt]),
        f"{FIELDS['seed']} {facts.seed}",
        f"{FIELDS['commit']} {labels.NO_COMMIT if facts.commit is None else facts.commit[:12]}",
        metadata.timestamp,
        *(f"{adapter.name} {labels.short(adapter.sha256)}".rstrip() for adapter in facts.engine.adapters[:_MOST_CASES]),
    ]
    return f"<sub>{' · '.join(escaped(part) for part in parts if part)}</sub>"
