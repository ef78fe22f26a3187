"""A comparison of two saved runs as text of 80 columns, as Markdown, or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE
from pytest_jarvis.render.blocks import Block, Table, Text, columns, items
from pytest_jarvis.render.french import saved_runs
from pytest_jarvis.render.french.formats import bracket, number, percent, points, signed
from pytest_jarvis.render.french.metrics import find_spec
from pytest_jarvis.render.french.words import word
from pytest_jarvis.render.markdown import escape_label, escape_sentence, markdown_blocks
from pytest_jarvis.render.text import WIDTH, block_lines, paragraph, section
from pytest_jarvis.report.comparison import ArmComparison, MetricDifference, PromptDifference, RunComparison
from pytest_jarvis.report.schema import Report

_MOST_PROMPTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """Two runs, the names of their files, and their comparison."""

    stored_path: str
    new_path: str
    stored: Report
    new: Report
    comparison: RunComparison


def comparison_text(runs: ComparedRuns) -> str:
    """Return the comparison in at most 80 columns."""
    lines = ["═" * WIDTH, word("saved_runs.comparison"), "═" * WIDTH]
    for label, path, report in _both(runs):
        lines += paragraph(saved_runs.run_line(path, report), indent=" " * 8, first=f"{label} : ".ljust(8))
    lines += paragraph(saved_runs.overlap_sentence(runs.comparison.overlap), indent="")
    for title, blocks in _sections(runs):
        lines += section(title, block_lines(blocks))
    return "\n".join(line.rstrip() for line in lines)


def comparison_markdown(runs: ComparedRuns) -> str:
    """Return the comparison for a pull request."""
    lines = [f"- {label} : {escape_sentence(saved_runs.run_line(path, report))}" for label, path, report in _both(runs)]
    written = [
        f"# {word('saved_runs.comparison')}",
        "\n".join(lines),
        escape_sentence(saved_runs.overlap_sentence(runs.comparison.overlap)),
    ]
    for title, blocks in _sections(runs):
        written += [f"## {escape_label(title)}", *markdown_blocks(blocks)]
    return "\n\n".join(written)


def comparison_document(runs: ComparedRuns) -> dict[str, object]:
    """Return the comparison for JSON, with every prompt."""
    return {
        "stored": _name(runs.stored_path, runs.stored),
        "new": _name(runs.new_path, runs.new),
        **msgspec.to_builtins(runs.comparison),
    }


def _name(path: str, report: Report) -> dict[str, object]:
    return {
        "report": path,
        "timestamp": report.metadata.timestamp,
        "commit": report.provenance.commit,
        "base_model": report.metadata.base_model,
        "adapters": dict(report.metadata.adapters),
    }


def _both(runs: ComparedRuns) -> tuple[tuple[str, str, Report], ...]:
    return (
        (word("saved_runs.before"), runs.stored_path, runs.stored),
        (word("saved_runs.after"), runs.new_path, runs.new),
    )


def _sections(runs: ComparedRuns) -> Iterator[tuple[str, list[Block]]]:
    """Yield the title and the blocks of the changed settings, then of each pair of adapters."""
    found = runs.comparison
    settings = [saved_runs.change_sentence(change) for change in found.changes] or [word("saved_runs.same_settings")]
    yield word("saved_runs.different_settings"), [*items(settings)]
    if not found.overlap.common:
        yield word("saved_runs.conclusion"), [Text(word("saved_runs.no_common_prompt"))]
        return
    for arm in found.arms:
        metrics = tuple(tuple(_metric_cells(runs, one)) for one in arm.metrics)
        yield (
            saved_runs.pair_sentence(arm.stored_adapter, arm.new_adapter),
            [
                Text(saved_runs.interval_rule(found.alpha), "note"),
                Table(columns=columns(saved_runs.METRIC_HEADS, (22, 7, 8, 8, 11, 17)), rows=metrics),
                *_prompt_blocks(arm),
                Text(" ".join(saved_runs.conclusion(found, arm, runs.new))),
            ],
        )


def _prompt_blocks(arm: ArmComparison) -> Iterator[Block]:
    changed = _changed(arm)
    if not changed:
        yield Text(word("saved_runs.nothing_changed"))
        return
    rows = tuple(tuple(_prompt_cells(one)) for one in changed)
    yield Table(columns=columns(saved_runs.PROMPT_HEADS, (19, 15, 16, 13, 7)), rows=rows, most=_MOST_PROMPTS)
    if same := len(arm.prompts) - len(changed):
        yield Text(saved_runs.unchanged_sentence(same))


def _changed(arm: ArmComparison) -> list[PromptDifference]:
    """Return the prompts with a changed score or text, the largest drop first."""
    changed = [
        one for one in arm.prompts if one.texts_changed or any(pair[0] != pair[1] for pair in one.figures.values())
    ]
    return sorted(changed, key=lambda one: (one.p_worse is None, _change(one.figures[RELEVANCE])))


def _change(pair: tuple[float | None, float | None]) -> float:
    return 0.0 if pair[0] is None or pair[1] is None else pair[1] - pair[0]


def _metric_cells(runs: ComparedRuns, one: MetricDifference) -> Sequence[str]:
    spec = find_spec(one.metric)
    label = saved_runs.metric_label(spec, of_base=one.of_base)
    change: Callable[[float], str] = points if spec.unit == "share" else signed
    difference = one.difference
    mark = saved_runs.MARKS[one.proven] if not saved_runs.is_of_other_scale(runs.comparison, one.metric) else ""
    return (
        label if not one.category else f"· {runs.new.category_label(one.category)}",
        str(one.prompts),
        *(
            percent(mean) if spec.unit == "share" else number(mean, 3)
            for mean in (difference.first_mean, difference.second_mean)
        ),
        f"{change(difference.difference)}{mark}",
        bracket(difference.interval, change),
    )


def _prompt_cells(one: PromptDifference) -> Sequence[str]:
    mark = saved_runs.MARKS["drop" if one.p_worse is not None else None]
    return (
        one.prompt_id,
        *(
            " → ".join(write(value) for value in values) + (mark if name == RELEVANCE else "")
            for name, values in one.figures.items()
            for write in (_share if BUILT_IN[name].spec.unit == "share" else number,)
        ),
        f"{one.texts_changed}/{one.texts}",
    )


def _share(value: float | None) -> str:
    return percent(value, 0)
