"""The lines a run shows on a terminal, its table of categories among them: pure functions of values, in French."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from pytest_jarvis.metrics.registry import BUILT_IN, COSINE, KEYWORDS, RELEVANCE, placed
from pytest_jarvis.render.french import (
    DASH,
    NBSP,
    adapters_sentence,
    bracket,
    decision_line,
    fit,
    gate_sentence,
    is_judged,
    labels,
    number,
    percent,
    printable,
    reason_sentences,
    seconds,
    session,
    shortened,
    signed,
    width_of,
)
from pytest_jarvis.render.french.comparing import regression_details, regression_sentence
from pytest_jarvis.render.french.explanations import contamination_notes
from pytest_jarvis.render.french.metrics import brief_figures, means_line, metric_line, not_measured
from pytest_jarvis.render.french.routing import run_notes
from pytest_jarvis.render.text import wrap
from pytest_jarvis.report.schema import AdapterStatistics, Averages, FailureRow, Figure, Report, ResultRow
from pytest_jarvis.stats.gate import GateOutcome
from pytest_jarvis.stats.ranking import NoiseFloor, Ranking
from pytest_jarvis.types import BASE_ARM, DeviceMemory, EngineDescription, Progress, Require

_LABEL_WIDTH = 24
_BETWEEN = " | "
_LINE = 79


def loading_line(label: str) -> str:
    """Return the line shown while the engine loads."""
    return session.loading(label)


def note_line(note: str) -> str:
    """Return a line that says what was chosen before anything is loaded."""
    return f"JARVIS{NBSP}: {note}"


def loaded_lines(engine: EngineDescription, load_s: float) -> list[str]:
    """Return what is loaded: model, storage, device, adapters, memory."""
    parts = session.loaded(engine, load_s)
    return [*_packed(parts, _LINE), *(str(memory) for memory in engine.memory)]


def progress_line(look: int, progress: Progress, memory: Sequence[DeviceMemory] = ()) -> str:
    """Return how far the drawing is, what matters most first: a terminal that is too narrow cuts the rest.

    Responses, time left, tokens per second, time elapsed, responses per prompt and arm, memory.
    """
    done, planned = progress.responses_done, progress.responses_planned
    speed = progress.tokens / progress.elapsed_s if progress.elapsed_s > 0 else None
    parts = [session.responses_done(done, planned)]
    if 0 < done < planned:
        parts.append(session.time_left(progress.elapsed_s / done * (planned - done)))
    parts += [
        f"{number(speed, 0)} tokens/s",
        session.time_spent(progress.elapsed_s),
        session.per_prompt(look),
        *(str(reading) for reading in memory),
    ]
    return " | ".join(parts)


def case_heading(label: str, width: int, adapter: str) -> str:
    """Return the heading of a category's lines: what their columns are; `adapter` is the first that they show."""
    keywords, relevance, arms = session.case_columns(adapter)
    columns = f"{keywords:>13}   {relevance:<15}   {arms}"
    return f"{fit(label, max(_LABEL_WIDTH, width - len(columns) - 3))}  {columns}"


def case_line(row: ResultRow, width: int, *, name_arm: bool) -> str:
    """Return a prompt's result in one line: keywords, relevance and seconds of both arms."""
    total = len(row.keywords_expected)
    found, scores, times = (row.figure(name) for name in (KEYWORDS, RELEVANCE, "seconds"))
    keywords = f"{_found(found.base, total)} → {_found(found.finetuned, total)}"
    relevance = f"{number(scores.base)} → {number(scores.finetuned)} {_sign(scores)}"
    columns = f"{keywords:>13}   {relevance:<15}   {seconds(times.base)} | {seconds(times.finetuned)}"
    named = f"  {row.prompt_id}{f' {row.adapter}' if name_arm else ''}  {printable(row.prompt)}"
    return f"{fit(named, max(_LABEL_WIDTH, width - len(columns) - 3))}  {columns}"


def answer_lines(row: ResultRow, width: int) -> list[str]:
    """Return the first response of each arm, each on one line."""
    return [
        fit(f"      {name:<10} {printable(text) if text is not None else DASH}", width - 1).rstrip()
        for name, text in ((labels.BASE, row.base_model_response), (row.adapter, row.finetuned_response))
    ]


def summary_table(report: Report) -> list[str]:
    """Return the table of categories, of several adapters with a line each: prompts to cosine; 79 columns."""
    return aggregate_table(report)


def ranking_lines(report: Report, ranking: Ranking | None, *, asked: bool = True) -> list[str]:
    """Return which of several adapters is ahead of which; none is said to be shown unless a verdict is `asked` for."""
    said = ranking_sentences(ranking, judged=asked and is_judged(report))
    pairs = [line for one in said[1:] for line in _indented(wrap(one, _LINE - 4))]
    return [*(line for one in said[:1] for line in wrap(one, _LINE)), *pairs]


def metric_lines(report: Report) -> list[str]:
    """Return a line for each metric that others added and each adapter."""
    several = len(report.metadata.adapters) > 1
    return [
        line
        for metric in report.metrics.values()
        for name, averages in metric.by_adapter.items()
        for sentence in (metric_line(metric.spec, averages.overall), not_measured(metric.spec, averages.overall))
        if sentence
        for line in _packed([printable(f"{f'{name} · ' if several else ''}{sentence}")], _LINE)
    ]


def shown_line(text: str) -> str:
    """Return a line that a test asked to have shown, made safe for a terminal."""
    return f"  {printable(text)}"


def warnings(report: Report) -> list[str]:
    """Return what a reader must know before any number: what the model is, what is partial."""
    lines = []
    if not report.metadata.is_real:
        lines.append(labels.FAKE_ENGINE)
    if report.metadata.is_demo:
        lines.append(
            session.demo_model(
                labels.model_label(report.provenance.engine), labels.storage(report.metadata.quantization)
            )
        )
    if not report.complete:
        lines.append(labels.INCOMPLETE)
    for note in (*run_notes(report), *contamination_notes(report)):
        lines += wrap(note, _LINE)
    return lines


def failure_lines(failures: Sequence[FailureRow], most: int = 10) -> list[str]:
    """Return the responses that could not be made, the first `most` of them."""
    lines = [f"  {session.failure_line(failure)}" for failure in failures[:most]]
    if len(failures) > most:
        lines.append(f"  {session.more_failures(len(failures) - most)}")
    return lines


def decision_lines(report: Report, *, width: int = 80, asked: bool = True) -> list[str]:
    """Return each adapter's decision: one line where the terminal is wide enough, else broken between its parts.

    No verdict is in it unless one is `asked` for.
    """
    named = len(report.decisions) > 1
    lines = []
    for name in report.decisions:
        said = f"{f'{printable(name)}{NBSP}: ' if named else ''}{decision_line(report, name, asked=asked)}"
        lines += [said] if width_of(said) < width else _packed(said.split(_BETWEEN), width - 1)
    return lines


def choice_lines(report: Report) -> list[str]:
    """Return how often each adapter chose the right tool, and understood what was misheard, where that was judged."""
    return [line for sentence in choice_sentences(report) for line in _packed([sentence], _LINE)]


def gate_lines(gate: GateOutcome, min_gain: float, *, require: Require | None = None) -> list[str]:
    """Return the verdict of the run, that of each adapter where there are several, then the reasons; 79 columns.

    `require` is the rule of the run: which adapters had to pass.
    """
    more = [sentence for sentence in (adapters_sentence(gate, require), *reason_sentences(gate)) if sentence]
    details = [line for sentence in more for line in _indented(wrap(sentence, _LINE - 4))]
    first, *others = wrap(gate_sentence(gate, min_gain), _LINE - 2)
    return [first, *(f"  {line}" for line in others), *details]


def regression_lines(report: Report) -> list[str]:
    """Return how the candidate stands against its former self; nothing where that was not asked."""
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
    """Return the noise floor of each metric of an A/A run.

    `cosine` is the mean similarity of the base's responses to its own: what two draws of one model reach.
    """
    lines = [session.noise_line(name, floor) for name, floor in floors.items()]
    if cosine is not None:
        lines.append(session.cosine_line(cosine))
    return [session.NOISE_HEAD, *(f"  {line}" for line in lines)]


def timings_line(timings_s: Mapping[str, float]) -> str:
    """Return how long each part of the run took."""
    parts = [f"{labels.TIMINGS.get(name, name)} {seconds(value)}" for name, value in timings_s.items()]
    return f"Temps : {' | '.join(parts)}"


def folder_line(folder: Path) -> str:
    """Return where the report is."""
    return session.folder(folder)


def _packed(parts: Sequence[str], width: int) -> list[str]:
    """Return parts on as few lines as hold them; lines after the first, and what is broken anywhere, stand back."""
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


LABEL_WIDTH: Final = 22
_WIDTHS: Final = (9, 13, 13, 10, 7)
"""Of the columns of figures: with the spaces between them and a label of `LABEL_WIDTH`, 79."""
MOST_ADAPTERS: Final = 12
"""Of more adapters only the totals are shown, and a terminal ranks none: that takes time by their square."""
_MOST_RANKED: Final = 3
"""Adapters of which every pair is told; of more, only those that follow each other."""


def aggregate_table(report: Report, *, label_width: int = LABEL_WIDTH) -> list[str]:
    """Return prompts, keywords, relevance, gain and cosine of each category, and of all; an A/A run has no gain.

    Of several adapters each has a line under the category's name; the corner says what the means are over. Of more than
    `MOST_ADAPTERS` there are the totals alone.
    """
    gains = not report.noise_floor
    heads = [head if gains or head != labels.FIELDS["gain"] else "" for head in session.TABLE_HEADS]
    several = len(report.by_adapter) > 1
    corner = session.responses_each(report.metadata.samples_per_prompt) if several else ""
    lines = [_cells(corner, heads, label_width)]
    for label, by_adapter in _blocks(report):
        if several:
            lines.append(fit(printable(label), label_width + sum(_WIDTHS)).rstrip())
        lines += [
            _row(
                f"  {shortened(printable(name), label_width - 2)}" if several else printable(label),
                averages,
                label_width,
                gains=gains,
            )
            for name, averages in by_adapter.items()
        ]
    return lines


def choice_sentences(report: Report) -> list[str]:
    """Return how often each adapter chose the right tool, and understood what was misheard, where that was judged."""
    several = len(report.by_adapter) > 1
    return [
        (f"{printable(name)} · " if several else "") + means_line(spec, means.base, means.finetuned)
        for spec in placed("section")
        for name, one in report.by_adapter.items()
        if (means := one.statistics.figure(spec.name)).base is not None and means.finetuned is not None
    ]


def ranking_sentences(ranking: Ranking | None, *, judged: bool) -> list[str]:
    """Return the arms from the highest relevance down, then which adapter is ahead of which; nothing of one adapter.

    Where the run is not `judged` no difference is said to be shown.
    """
    if ranking is None:
        return []
    places = ", ".join(f"{printable(place.name)} {number(place.estimate.mean, 3)}" for place in ranking.arms)
    names = [place.name for place in ranking.arms if place.name != BASE_ARM]
    next_to = set(pairwise(names))
    pairs = [
        pair
        for pair in ranking.pairs
        if BASE_ARM not in {pair.better, pair.worse}
        and (len(names) <= _MOST_RANKED or (pair.better, pair.worse) in next_to)
    ]
    return [
        f"{labels.RANKING} : {places}",
        *(
            f"{labels.shown_sentence(printable(pair.better), printable(pair.worse), shown=pair.shown)} "
            f"({signed(pair.difference.difference)} {bracket(pair.difference.interval, signed)})"
            for pair in (pairs if judged else ())
        ),
    ]


def _blocks(report: Report) -> Iterator[tuple[str, Mapping[str, Averages]]]:
    """Yield each category's label, and the total's, with the averages of each adapter."""
    by_adapter: Mapping[str, AdapterStatistics] = report.by_adapter
    for category, item in report.by_category.items() if len(by_adapter) <= MOST_ADAPTERS else ():
        yield item.label, {name: one.by_category[category].averages for name, one in by_adapter.items()}
    yield labels.TOTAL, {name: one.statistics for name, one in by_adapter.items()}


def _cells(label: str, cells: Sequence[str], label_width: int) -> str:
    figures = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    return " ".join([fit(label, label_width), *figures])


def _row(label: str, averages: Averages, label_width: int, *, gains: bool) -> str:
    keywords, relevance, cosine = (
        brief_figures(BUILT_IN[name].spec, averages.figure(name)) for name in (KEYWORDS, RELEVANCE, COSINE)
    )
    gain = percent(averages.relevance_gain, signed=True) if gains else ""
    prompts = f"{averages.total_tests}/{averages.planned_tests}"
    return _cells(label, (prompts, keywords, relevance, gain, cosine), label_width)
