"""`summary.md`: the report for a reviewer in GitHub's Markdown, where nothing a model wrote becomes markup."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pytest_jarvis.inputs.config import FILES
from pytest_jarvis.render import OutputFormat
from pytest_jarvis.render.blocks import Block, Change, Changes, Digest, Facts, Item, Items, Part, Section, Table, Text
from pytest_jarvis.render.french import labels, saved_runs
from pytest_jarvis.render.french.formats import printable, typeset
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.render.sections import cautions, sections
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.schema import Report

MOST_CHARACTERS: Final = 60_000
STEP_SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"

_MOST_ROWS = 40
_MOST_UNFOLDED = 20  # Rows of a table that is not folded.
_MOST_ITEMS = 20
_MOST_CASES_EACH = 2  # With several adapters.
_MOST_LABEL = 80
_MOST_TEXT = 400
_MARKUP = re.compile(r"([\\`*_\[\]<>|~$#&@]|:(?=/)|(?<=www)\.)", re.IGNORECASE)
"""Characters that begin markup inside a line, or make an address a link."""
_TICKS = re.compile("`+")


def render_markdown(report: Report, insights: Insights) -> str:
    """Return `summary.md`: the brief sections, then what was compared in small print; under 60,000 characters."""
    shown = [one for one in sections(report, insights) if one.brief]
    identity = [one for one in shown if one.key == "identity"]
    blocks = [
        f"# {word('labels.title')} : {escape_label(table('labels.gate_short')[report.gate.verdict])}",
        *(f"> {escape_sentence(note)}" for note in (*cautions(report), *saved_runs.drop_notes(report))),
        *(text for one in shown if one.key != "identity" for text in _section(one)),
        *(text for one in identity for text in markdown_blocks(one.blocks)),
    ]
    return _cut("\n\n".join(typeset(block) for block in blocks) + "\n")


def append_step_summary(text: str, file: Path) -> None:
    """Append a summary to a file; OSError as `open`."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{text}\n")


def escape_label(text: str) -> str:
    """Return a short text on one line, its markup escaped."""
    shown = printable(text)
    shown = shown if len(shown) <= _MOST_LABEL else f"{shown[: _MOST_LABEL - 1]}…"
    return _MARKUP.sub(r"\\\1", shown)


def escape_sentence(text: str) -> str:
    """Return a sentence that may quote a name, its markup escaped."""
    return _MARKUP.sub(r"\\\1", printable(text))


def code(text: str) -> str:
    """Return a text as inline code: neither markup, nor a link, nor a mention."""
    shown = printable(text).strip()
    shown = shown if len(shown) <= _MOST_TEXT else f"{shown[: _MOST_TEXT - 1]}…"
    if not shown:
        return word("labels.empty_response")
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in (shown[0], shown[-1]) else f"{fence}{shown}{fence}"


def _table_of(heads: Sequence[str], rows: Sequence[Sequence[str]], *, totals: int = 0) -> str:
    """Return an escaped table, the first column to the left; of many rows the first, and the last `totals`."""
    left = len(rows) - max(_MOST_ROWS, totals)
    kept = [*rows[: len(rows) - left - totals], *rows[len(rows) - totals :]] if left > 0 else rows
    lines = [heads, *kept]
    body = [f"| {' | '.join('<br>'.join(map(escape_label, cell.split(chr(10)))) for cell in row)} |" for row in lines]
    body.insert(1, f"| {' | '.join(['---', *['---:'] * (len(heads) - 1)])} |")
    return "\n".join([*body, "", word("labels.more_entries", count=left)] if left > 0 else body)


def _cut(text: str) -> str:
    if len(text) < MOST_CHARACTERS:
        return text
    end = text.rfind("\n", 0, MOST_CHARACTERS - 200)
    return f"{text[:end]}\n\n{word('labels.shortened')}\n"


def _section(section: Section) -> Iterator[str]:
    if section.key != "verdict":
        yield f"## {section.title}"
    yield from markdown_blocks(section.blocks)


def markdown_blocks(blocks: Iterable[Block], *, most: int = 5) -> Iterator[str]:
    """Yield each block as Markdown; of changes the first `most`."""
    for block in blocks:
        match block:
            case Text(text, tone):
                yield f"**{escape_sentence(text)}**" if tone in {"strong", "bad"} else escape_sentence(text)
            case Items():
                left = len(block.items) - _MOST_ITEMS
                lines = [escape_sentence(block.head)] if block.head else []
                lines += [_item(item) for item in block.items[:_MOST_ITEMS]]
                yield "\n".join([*lines, f"- {word('labels.more_entries', count=left)}"] if left > 0 else lines)
            case Table():
                yield from _table(block)
            case Facts(rows):
                pairs = (
                    (name, labels.short_digest(value) if isinstance(value, Digest) else value) for name, value in rows
                )
                yield f"<sub>{' · '.join(f'{name} {escape_sentence(value)}' for name, value in pairs if value)}</sub>"
            case Changes(changes):
                yield "\n".join(_change(change) for change in changes[:most])
            case Part():
                inside = list(markdown_blocks(block.blocks, most=_MOST_CASES_EACH))
                yield from [f"### {escape_label(block.name)}", *inside] if inside else []


def _item(item: Item) -> str:
    return f"- **{escape_label(item.case)}** {code(item.text)}" if item.case else f"- {escape_sentence(item.text)}"


def _table(block: Table) -> Iterator[str]:
    places = [place for place, column in enumerate(block.columns) if column.width]
    if not places:
        return
    heads = [block.columns[place].head for place in places]
    table = _table_of(heads, [[str(row[place]) for place in places] for row in block.rows], totals=block.totals)
    folded = len(block.rows) > _MOST_UNFOLDED
    yield f"<details><summary>{escape_label(heads[0])}</summary>\n\n{table}\n\n</details>" if folded else table


def _change(change: Change) -> str:
    row = change.row
    scores = f"{change.scores} ({escape_label(change.change)})"
    return "\n".join(
        [
            f"- **{escape_label(change.case)}** ({escape_label(change.category)}) : {code(row.prompt)} – {scores}",
            f"  - {word('labels.base')} : {code(row.base_model_response or '')}",
            f"  - {escape_label(row.adapter)} : {code(row.finetuned_response or '')}",
        ]
    )


FORMAT = OutputFormat(file=FILES["markdown"], render="pytest_jarvis.render.markdown:render_markdown")
