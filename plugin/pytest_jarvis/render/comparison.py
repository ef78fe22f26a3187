"""Two runs held against each other, as text of 80 columns, as Markdown, or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from pytest_jarvis.metrics.registry import BUILT_IN, RELEVANCE
from pytest_jarvis.render.blocks import columns
from pytest_jarvis.render.french import bracket, comparing, labels, number, percent, points, signed
from pytest_jarvis.render.french.metrics import spec_named
from pytest_jarvis.render.markdown import escaped, escaped_sentence, table_of
from pytest_jarvis.render.text import INDENT, WIDTH, paragraph, section, table
from pytest_jarvis.report.comparison import ArmComparison, MetricDifference, PromptDifference, RunComparison
from pytest_jarvis.report.schema import Report

_MOST_PROMPTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """Two runs with the names of their files, and what changed from the first to the second."""

    stored_path: str
    new_path: str
    stored: Report
    new: Report
    comparison: RunComparison


def comparison_text(runs: ComparedRuns) -> str:
    """Return the comparison as lines of at most 80 columns."""
    found = runs.comparison
    lines = ["═" * WIDTH, comparing.COMPARISON, "═" * WIDTH, *_heads(runs)]
    settings = [comparing.change_sentence(change) for change in found.changes] or [comparing.SAME_SETTINGS]
    lines += section(comparing.DIFFERENT_SETTINGS, _listed(settings))
    for arm in found.arms if found.overlap.common else ():
        lines += section(comparing.pair_sentence(arm.stored_adapter, arm.new_adapter), _arm_lines(runs, arm))
    if not found.overlap.common:
        lines += ["", *paragraph(comparing.NO_COMMON_PROMPT, indent="")]
    return "\n".join(line.rstrip() for line in lines)


def comparison_markdown(runs: ComparedRuns) -> str:
    """Return the comparison for a pull request."""
    found = runs.comparison
    blocks = [
        f"# {comparing.COMPARISON}",
        "\n".join(
            f"- {which} : {escaped_sentence(comparing.run_line(path, report))}" for which, path, report in _both(runs)
        ),
        escaped_sentence(comparing.overlap_sentence(found.overlap)),
        f"## {comparing.DIFFERENT_SETTINGS}",
        "\n".join(f"- {escaped_sentence(comparing.change_sentence(change))}" for change in found.changes)
        or comparing.SAME_SETTINGS,
    ]
    if not found.overlap.common:
        blocks.append(comparing.NO_COMMON_PROMPT)
    for arm in found.arms if found.overlap.common else ():
        blocks.append(f"## {escaped(comparing.pair_sentence(arm.stored_adapter, arm.new_adapter))}")
        blocks.append(comparing.interval_rule(found.alpha))
        blocks.append(table_of(comparing.METRIC_HEADS, [_metric_cells(runs, one) for one in arm.metrics]))
        changed = _changed(arm)
        if changed:
            blocks.append(table_of(comparing.PROMPT_HEADS, [_prompt_cells(one) for one in changed]))
        else:
            blocks.append(comparing.NOTHING_CHANGED)
        blocks.append(" ".join(map(escaped_sentence, comparing.conclusion(found, arm, runs.new))))
    return "\n\n".join(blocks)


def comparison_document(runs: ComparedRuns) -> dict[str, object]:
    """Return the comparison as what JSON holds, every prompt in it."""
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
        (comparing.BEFORE, runs.stored_path, runs.stored),
        (comparing.AFTER, runs.new_path, runs.new),
    )


def _listed(sentences: Sequence[str]) -> list[str]:
    return [line for one in sentences for line in paragraph(one, indent=f"{INDENT}  ", first=f"{INDENT}- ")]


def _heads(runs: ComparedRuns) -> Iterator[str]:
    for which, path, report in _both(runs):
        yield from paragraph(comparing.run_line(path, report), indent=" " * 8, first=f"{which} : ".ljust(8))
    yield from paragraph(comparing.overlap_sentence(runs.comparison.overlap), indent="")


def _arm_lines(runs: ComparedRuns, arm: ArmComparison) -> Iterator[str]:
    yield from paragraph(comparing.interval_rule(runs.comparison.alpha))
    yield ""
    rows = [_metric_cells(runs, one) for one in arm.metrics]
    yield from table(columns(comparing.METRIC_HEADS, (22, 7, 8, 8, 11, 17)), rows)
    yield ""
    yield from _prompt_lines(_changed(arm), len(arm.prompts))
    yield ""
    for sentence in comparing.conclusion(runs.comparison, arm, runs.new):
        yield from paragraph(sentence)


def _prompt_lines(changed: Sequence[PromptDifference], prompts: int) -> Iterator[str]:
    yield f"{INDENT}{comparing.PROMPTS_CHANGED}"
    if not changed:
        yield from paragraph(comparing.NOTHING_CHANGED)
        return
    cells = [_prompt_cells(one) for one in changed[:_MOST_PROMPTS]]
    yield from table(columns(comparing.PROMPT_HEADS, (19, 15, 16, 13, 7)), cells)
    if len(changed) > _MOST_PROMPTS:
        yield from paragraph(labels.more(len(changed) - _MOST_PROMPTS))
    if same := prompts - len(changed):
        yield from paragraph(comparing.unchanged_sentence(same))


def _changed(arm: ArmComparison) -> list[PromptDifference]:
    """Return the prompts of which a score or a text changed, the largest drop first."""
    changed = [
        one for one in arm.prompts if one.texts_changed or any(pair[0] != pair[1] for pair in one.figures.values())
    ]
    return sorted(changed, key=lambda one: (one.p_worse is None, _change(one.figures[RELEVANCE])))


def _change(pair: tuple[float | None, float | None]) -> float:
    return 0.0 if pair[0] is None or pair[1] is None else pair[1] - pair[0]


def _metric_cells(runs: ComparedRuns, one: MetricDifference) -> Sequence[str]:
    spec = spec_named(one.metric)
    label = comparing.metric_label(spec, of_base=one.of_base)
    change: Callable[[float], str] = points if spec.unit == "share" else signed
    difference = one.difference
    mark = comparing.mark_of(one.proven) if not comparing.is_of_other_scale(runs.comparison, one.metric) else ""
    return (
        label if not one.category else f"· {_label(runs.new, one.category)}",
        str(one.prompts),
        *(
            percent(mean) if spec.unit == "share" else number(mean, 3)
            for mean in (difference.first_mean, difference.second_mean)
        ),
        f"{change(difference.difference)}{mark}",
        bracket(difference.interval, change),
    )


def _label(report: Report, category: str) -> str:
    known = report.by_category.get(category)
    return known.label if known else category


def _prompt_cells(one: PromptDifference) -> Sequence[str]:
    mark = comparing.mark_of("drop" if one.p_worse is not None else None)
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
