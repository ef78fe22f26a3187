"""Terminal lines of a session, its table of categories included: pure functions of values, in French."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN, COSINE, DEEDS, KEYWORDS, RELEVANCE, list_specs
from pytest_jarvis.render.french import labels, session
from pytest_jarvis.render.french.explanations import contamination_notes, run_notes, warning_sentence
from pytest_jarvis.render.french.formats import (
    DASH,
    NBSP,
    bracket,
    fit,
    number,
    percent,
    printable,
    seconds,
    shorten,
    width_of,
)
from pytest_jarvis.render.french.metrics import (
    LABELS,
    difference,
    figure,
    label_of,
    means_line,
    metric_line,
    not_measured,
    short_label,
    short_means,
    verdict_sentences,
)
from pytest_jarvis.render.french.saved_runs import regression_details, regression_sentence
from pytest_jarvis.render.french.verdicts import adapters_sentence, decision_line, gate_sentence, is_judged
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.render.text import wrap
from pytest_jarvis.report.analysis.advice import find_warnings
from pytest_jarvis.report.analysis.insights import ranked_metric
from pytest_jarvis.report.schema import AdapterStatistics, Averages, FailureRow, Figure, MetricResult, Report, ResultRow
from pytest_jarvis.stats.gate import GateOutcome
from pytest_jarvis.stats.ranking import NoiseFloor, Ranking
from pytest_jarvis.types import BASE_ARM, DeviceMemory, EngineDescription, GatePlan, Progress

_LABEL_WIDTH = 24
_BETWEEN = " | "
_LINE = 79


def loaded_lines(engine: EngineDescription, load_s: float) -> list[str]:
    """Return the lines on a loaded engine: model, storage, device, adapters, memory."""
    return [*_packed(session.engine_parts(engine, load_s), _LINE), *map(str, engine.memory)]


def progress_line(look: int, progress: Progress, memory: Sequence[DeviceMemory] = ()) -> str:
    """Return the progress of a generation, the most important first: a narrow terminal cuts the rest.

    Responses, time left, tokens per second, time elapsed, responses per prompt and arm, memory.
    """
    done, planned = progress.responses_done, progress.responses_planned
    speed = progress.tokens / progress.elapsed_s if progress.elapsed_s > 0 else None
    parts = [word("session.responses_done", done=done, planned=planned)]
    if 0 < done < planned:
        left = session.whole_seconds(progress.elapsed_s / done * (planned - done))
        parts.append(word("session.time_left", seconds=left))
    parts += [
        f"{number(speed, 0)} tokens/s",
        word("session.time_spent", seconds=session.whole_seconds(progress.elapsed_s)),
        word("session.per_prompt", look=look),
        *(str(reading) for reading in memory),
    ]
    return " | ".join(parts)


def case_heading(label: str, width: int) -> str:
    """Return the heading of a category, with the heads of its columns."""
    deeds, keywords, relevance = session.CASE_HEADS
    columns = f"{deeds:<15}   {keywords:>13}   {relevance:<13}"
    return f"{fit(label, max(_LABEL_WIDTH, width - len(columns) - 3))}  {columns}"


def case_line(row: ResultRow, width: int, *, name_arm: bool) -> str:
    """Return the result of a prompt: deeds done, keywords and relevance of both arms."""
    total = len(row.keywords_expected)
    done, found, scores = (row.figure(name) for name in (DEEDS, KEYWORDS, RELEVANCE))
    counts = [len(row.samples) - len(row.of_arm(row.adapter)), len(row.of_arm(row.adapter))]
    arms = (_found(share, count) for share, count in zip((done.base, done.finetuned), counts, strict=True))
    deeds = DASH if done == Figure() else f"{' → '.join(arms)} {_sign(done)}"
    keywords = f"{_found(found.base, total)} → {_found(found.finetuned, total)}"
    relevance = f"{number(scores.base)} → {number(scores.finetuned)}"
    columns = f"{deeds:<15}   {keywords:>13}   {relevance:<13}"
    named = f"  {row.prompt_id}{f' {row.adapter}' if name_arm else ''}  {printable(row.prompt)}"
    return f"{fit(named, max(_LABEL_WIDTH, width - len(columns) - 3))}  {columns}"


def answer_lines(row: ResultRow, width: int) -> list[str]:
    """Return the first response of each arm, each on one line."""
    return [
        fit(f"      {name:<10} {printable(text) if text is not None else DASH}", width - 1).rstrip()
        for name, text in ((word("labels.base"), row.base_model_response), (row.adapter, row.finetuned_response))
    ]


def metric_lines(report: Report) -> list[str]:
    """Return a line for each custom metric and adapter."""
    several = len(report.metadata.adapters) > 1
    return [
        line
        for metric in report.metrics.values()
        for name, averages in metric.by_adapter.items()
        for sentence in (metric_line(metric.spec, averages.overall), not_measured(metric.spec, averages.overall))
        if sentence
        for line in _packed([printable(f"{f'{name} · ' if several else ''}{sentence}")], _LINE)
    ]


def caution_lines(report: Report) -> list[str]:
    """Return the cautions before any number: a scripted or embedded model, missing responses, contamination."""
    lines = labels.fake_caution(report)
    if report.metadata.is_demo:
        lines.append(
            word(
                "session.demo_model",
                model=labels.model_label(report.provenance.engine),
                storage=labels.storage(report.metadata.quantization),
            )
        )
    if not report.complete:
        lines.append(word("labels.incomplete"))
    for note in (*run_notes(report), *contamination_notes(report)):
        lines += wrap(note, _LINE)
    return lines


def failure_lines(failures: Sequence[FailureRow], most: int = 10) -> list[str]:
    """Return the failures, the first `most` of them."""
    lines = [f"  {session.failure_line(failure)}" for failure in failures[:most]]
    if len(failures) > most:
        lines.append(f"  {word('session.more_failures', count=len(failures) - most)}")
    return lines


def decision_lines(report: Report, *, width: int = 80, with_verdict: bool = True) -> list[str]:
    """Return the decision on each adapter, in one line where the terminal is wide enough."""
    named = len(report.decisions) > 1
    lines = []
    for name in report.decisions:
        sentence = (
            f"{f'{printable(name)}{NBSP}: ' if named else ''}{decision_line(report, name, with_verdict=with_verdict)}"
        )
        lines += [sentence] if width_of(sentence) < width else _packed(sentence.split(_BETWEEN), width - 1)
    return lines


def gate_lines(gate: GateOutcome, plan: GatePlan, metrics: Mapping[str, MetricResult]) -> list[str]:
    """Return the verdict of the run, that of each of several adapters, and the reasons, in 79 columns."""
    sentences = (adapters_sentence(gate, plan.require), *verdict_sentences(gate, metrics))
    more = [sentence for sentence in sentences if sentence]
    details = [line for sentence in more for line in _indented(wrap(sentence, _LINE - 4))]
    first, *others = wrap(gate_sentence(gate, plan), _LINE - 2)
    return [first, *(f"  {line}" for line in others), *details]


def warning_lines(report: Report) -> list[str]:
    """Return why a gain is suspect, and which responses are no answers."""
    several = len(report.metadata.adapters) > 1
    return [
        line
        for name, warning in find_warnings(report)
        for line in _packed([f"⚠ {f'{printable(name)} · ' if several else ''}{warning_sentence(warning)}"], _LINE)
    ]


def regression_lines(report: Report) -> list[str]:
    """Return the regression test of the candidate; empty without one."""
    if report.regression is None:
        return []
    head, *others = wrap(regression_sentence(report.regression), _LINE)
    details = [
        line for one in regression_details(report.regression, report) for line in _indented(wrap(one, _LINE - 4))
    ]
    return [head, *(f"  {line}" for line in others), *details]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"{'  ' if number == 0 else '    '}{line}" for number, line in enumerate(lines)]


def noise_lines(floors: Mapping[str, NoiseFloor], cosine: float | None = None) -> list[str]:
    """Return the noise floor of each metric of an A/A run; `cosine` is the mean similarity of base and twin."""
    lines = [session.noise_line(name, floor) for name, floor in floors.items()]
    if cosine is not None:
        lines.append(word("session.cosine", label=LABELS[COSINE][1], cosine=cosine))
    return [word("session.noise_head"), *(f"  {line}" for line in lines)]


def timings_line(timings_s: Mapping[str, float]) -> str:
    """Return the duration of each part of the run."""
    parts = [f"{table('labels.timings').get(name, name)} {seconds(value)}" for name, value in timings_s.items()]
    return f"Temps : {' | '.join(parts)}"


def _packed(parts: Sequence[str], width: int) -> list[str]:
    """Return parts on as few lines as hold them, all but the first line indented."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}{_BETWEEN}{part}" if lines else part
        if lines and width_of(joined) <= width:
            lines[-1] = joined
        else:
            first, *others = wrap(part, width - 4)
            lines += [f"    {first}" if lines else first, *(f"    {line}" for line in others)]
    return lines


def _found(share: float | None, total: int) -> str:
    return f"{DASH}/{total}" if share is None else f"{number(share * total, 1).removesuffix(',0')}/{total}"


def _sign(scores: Figure) -> str:
    base, tuned = scores.base, scores.finetuned
    # What is printed is compared: an arrow between two equal figures would contradict them.
    if base is None or tuned is None or number(base) == number(tuned):
        return "="
    return "▲" if tuned > base else "▼"


_NAME_WIDTH: Final = 19
_WIDTHS: Final = (7, 13, 13, 13, 9)  # Of the columns of figures; 79 with `_NAME_WIDTH` and the spaces between.
MOST_ADAPTERS: Final = 12
"""With more adapters the table has totals only, and none are ranked: that takes quadratic time."""
_MOST_RANKED: Final = 3  # Adapters of which every pair is listed; of more, only neighbours in rank.


def summary_table(report: Report) -> list[str]:
    """Return prompts, deeds, keywords, relevance and gain (not in an A/A run), by category and in all; 79 columns.

    Each of several adapters has a line under the category's name; of more than `MOST_ADAPTERS`, only the totals.
    """
    gains = not report.noise_floor
    heads = [head if gains or head != table("labels.fields")["gain"] else "" for head in session.TABLE_HEADS]
    several = len(report.by_adapter) > 1
    corner = word("session.responses_each", count=report.metadata.samples_per_prompt) if several else ""
    lines = [_cells(corner, heads)]
    for label, by_adapter in _blocks(report):
        if several:
            lines.append(fit(printable(label), _NAME_WIDTH + sum(_WIDTHS)).rstrip())
        for name, averages in by_adapter.items():
            shown = f"  {shorten(printable(name), _NAME_WIDTH - 2)}" if several else printable(label)
            lines.append(_row(shown, averages, gains=gains))
    return lines


def choice_lines(report: Report) -> list[str]:
    """Return the shares of right tools and the cosine of each adapter, where they were measured."""
    several = len(report.by_adapter) > 1
    lines = []
    for spec in (*list_specs("section"), BUILT_IN[COSINE].spec):
        for name, one in report.by_adapter.items():
            means = one.statistics.figure(spec.name)
            if means.finetuned is None or (spec.per == "response" and means.base is None):
                continue
            shown = (
                f"{label_of(spec)}{NBSP}: {short_means(spec, means)}"
                if means.base is None
                else means_line(spec, means.base, means.finetuned)
            )
            lines += _packed([(f"{printable(name)} · " if several else "") + shown], _LINE)
    return lines


def ranking_lines(report: Report, ranking: Ranking | None, *, with_verdict: bool = True) -> list[str]:
    """Return the arms, the highest first, then the pairs of adapters if the run is judged."""
    if ranking is None:
        return []
    spec = BUILT_IN[ranked_metric(report)].spec
    places = ", ".join(f"{printable(place.name)} {figure(place.estimate.mean, spec.unit)}" for place in ranking.arms)
    lines = wrap(f"{word('labels.ranking')} ({short_label(spec)}) : {places}", _LINE)
    if not (with_verdict and is_judged(report)):
        return lines
    names = [place.name for place in ranking.arms if place.name != BASE_ARM]
    next_to = set(pairwise(names))
    for pair in ranking.pairs:
        if BASE_ARM in {pair.better, pair.worse}:
            continue
        if len(names) <= _MOST_RANKED or (pair.better, pair.worse) in next_to:
            sentence = word("labels.ahead", better=pair.better, worse=pair.worse)
            shown = word("labels.shown") if pair.shown else word("labels.not_shown")
            write = partial(difference, unit=spec.unit)
            figures = f"{write(pair.difference.difference)} {bracket(pair.difference.interval, write)}"
            lines += _indented(wrap(f"{sentence}, {shown} ({figures})", _LINE - 4))
    return lines


def _blocks(report: Report) -> Iterator[tuple[str, Mapping[str, Averages]]]:
    by_adapter: Mapping[str, AdapterStatistics] = report.by_adapter
    for category, item in report.by_category.items() if len(by_adapter) <= MOST_ADAPTERS else ():
        yield item.label, {name: one.by_category[category].averages for name, one in by_adapter.items()}
    yield word("labels.total"), {name: one.statistics for name, one in by_adapter.items()}


def _cells(label: str, cells: Sequence[str]) -> str:
    figures = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    return " ".join([fit(label, _NAME_WIDTH), *figures])


def _row(label: str, averages: Averages, *, gains: bool) -> str:
    done, keywords, relevance = (
        short_means(BUILT_IN[name].spec, averages.figure(name)) for name in (DEEDS, KEYWORDS, RELEVANCE)
    )
    gain = percent(averages.relevance_gain, signed=True) if gains else ""
    prompts = f"{averages.total_tests}/{averages.planned_tests}"
    return _cells(label, (prompts, done, keywords, relevance, gain))
