"""Two sections of `report.txt`: the choice of the tool, and misheard commands that were understood."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_jarvis.render.french import DASH, NBSP, labels, percent, typeset
from pytest_jarvis.render.french import routing as wording
from pytest_jarvis.render.french.labels import FIELDS
from pytest_jarvis.render.text.layout import INDENT, paragraph, table
from pytest_jarvis.report.analysis.changes import Flips
from pytest_jarvis.report.analysis.insights import AdapterInsight
from pytest_jarvis.report.analysis.tool_choice import Confusion, RoutingInsight

_SHARE_WIDTHS = (24, 7, 8, 8, 9, 17)
_COUNT_WIDTHS = (44, 12, 12)


def routing(insight: AdapterInsight, *, offered: bool) -> Iterator[str]:
    """Yield the lines of the choice of the tool; none where it was not judged. `offered`: there could be calls."""
    found = insight.routing
    if found is None:
        return
    yield from paragraph(wording.rule(offered=offered))
    yield ""
    yield from shares(found, insight.name)
    yield ""
    yield from _reasons(found, insight.name)
    yield ""
    yield from table(
        (wording.CONFUSION, labels.BASE, insight.name),
        [row for one in found.confusions for row in _confusion_rows(one)],
        _COUNT_WIDTHS,
    )
    yield ""
    yield from paragraph(wording.CONFUSION_NOTE)


def shares(found: RoutingInsight, name: str) -> list[str]:
    """Return the table of right choices: a row per category, then all of them."""
    rows = [(one.label, str(one.prompts), *wording.share_cells(one.share)) for one in found.categories]
    rows.append((labels.TOTAL, str(found.share.prompts), *wording.share_cells(found.share)))
    heads = (wording.SHARE_HEAD, FIELDS["counted"], labels.BASE, name, FIELDS["change"], FIELDS["interval"])
    return table(heads, rows, _SHARE_WIDTHS)


def flip_head(flips: Flips, name: str) -> str:
    """Return how many prompts each arm gets right, by one criterion."""
    counts = f"{labels.BASE} {flips.base_right}/{flips.prompts}, {name} {flips.finetuned_right}/{flips.prompts}"
    return typeset(f"{labels.CRITERIA[flips.criterion]} : {counts}")


def understanding(insight: AdapterInsight) -> Iterator[str]:
    """Yield the lines of misheard commands; none where it was not asked whether they were understood."""
    found = insight.understanding
    if found is None:
        return
    yield from paragraph(wording.UNDERSTOOD_RULE)
    yield ""
    heads = (
        wording.UNDERSTOOD_HEAD,
        FIELDS["counted"],
        labels.BASE,
        insight.name,
        FIELDS["change"],
        FIELDS["interval"],
    )
    rows = [(labels.TOTAL, str(found.share.prompts), *wording.share_cells(found.share))]
    yield from table(heads, rows, _SHARE_WIDTHS)
    yield ""
    for one in found.prompts:
        shares = f"{percent(one.base, 0)} → {percent(one.finetuned, 0)}"
        text = f"{one.row.prompt_id} {one.row.prompt} → {one.row.intended} ({shares})"
        yield from paragraph(text, indent=f"{INDENT}  ", first=f"{INDENT}- ")
    if sentence := wording.reference_sentence(found, insight.name):
        yield ""
        yield from paragraph(sentence)


def _reasons(found: RoutingInsight, name: str) -> list[str]:
    rows = [
        (wording.REASONS[reason], str(base) if base else DASH, str(tuned) if tuned else DASH)
        for reason, (base, tuned) in found.reasons.items()
    ]
    return table((wording.REASON_HEAD, labels.BASE, name), rows, _COUNT_WIDTHS)


def _confusion_rows(one: Confusion) -> Iterator[tuple[str, str, str]]:
    """Yield how often the tool that was wanted was chosen, then what was chosen in its place."""
    totals = (sum(one.base.values()), sum(one.finetuned.values()))
    right = [
        f"{arm.get(one.expected, 0)}/{total}" for arm, total in zip((one.base, one.finetuned), totals, strict=True)
    ]
    yield wording.chosen_name(one.expected), right[0], right[1]
    others = {key: one.base.get(key, 0) + one.finetuned.get(key, 0) for key in (*one.base, *one.finetuned)}
    for key in sorted(others, key=lambda name: -others[name]):
        if key != one.expected:
            base, tuned = (str(arm[key]) if arm.get(key) else DASH for arm in (one.base, one.finetuned))
            yield f"{NBSP}{NBSP}→ {wording.chosen_name(key)}", base, tuned
