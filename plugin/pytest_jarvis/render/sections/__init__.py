"""The sections of a report, the same for `report.txt`, `summary.md` and the page.

verdict      the gate, advice, thresholds, adapters side by side, regression, noise floor
figures      metrics in all and by category, tool choice, changed prompts, lengths
provenance   what was compared, how, and what failed
"""

from collections.abc import Iterable

from pytest_jarvis.render.blocks import Block, Section, each_adapter
from pytest_jarvis.render.french import explanations, labels
from pytest_jarvis.render.french.explanations import contamination_notes
from pytest_jarvis.render.french.words import table
from pytest_jarvis.render.sections import figures, provenance, verdict
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.schema import Report


def cautions(report: Report) -> list[str]:
    """Return what a reader must know before any number, as sentences."""
    return [*labels.cautions(report), *explanations.run_notes(report), *contamination_notes(report)]


def sections(report: Report, insights: Insights) -> tuple[Section, ...]:
    """Return the sections of a report that are not empty, in order; pure."""
    gains = not report.noise_floor
    found: list[tuple[str, Iterable[Block], bool]] = [
        ("identity", provenance.identity(report, insights), True),
        ("verdict", verdict.verdict(report, insights), True),
        ("explanation", each_adapter(insights, lambda one: verdict.explanation(report, one)), False),
        ("recommendations", each_adapter(insights, lambda one: verdict.recommendations(report, one)), True),
        ("thresholds", verdict.thresholds(report), True),
        ("adapters", verdict.adapters(report, insights), True),
        ("regression", verdict.regression(report), True),
        ("noise", verdict.noise(report), True),
        ("statistics", figures.statistics(report, insights), False),
        ("controls", figures.controls(report), True),
        ("categories", figures.categories(report, insights, gains=gains), True),
        ("added", figures.custom_metrics(report, insights), True),
        ("tools", figures.tool_choice(report, insights), True),
        ("improvements", figures.improvements(report, insights) if gains else (), False),
        ("weaknesses", figures.weaknesses(report, insights) if gains else (), True),
        ("regressions", each_adapter(insights, lambda one: figures.regressions(report, insights, one)), True),
        ("flips", figures.flips(insights), False),
        ("responses", figures.responses(insights), False),
        ("failures", provenance.failures(report, insights), True),
        ("provenance", provenance.provenance(report), False),
    ]
    whole = ((key, tuple(blocks), brief) for key, blocks, brief in found)
    return tuple(
        Section(key=key, title=table("labels.sections")[key], blocks=own, brief=brief)
        for key, own, brief in whole
        if own
    )
