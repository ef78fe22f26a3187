"""The choice of the tool, and misheard commands that were understood."""

from __future__ import annotations

from typing import Final

from pytest_jarvis.metrics.tool_choice import Routing
from pytest_jarvis.render.french.formats import plural, typeset
from pytest_jarvis.render.french.saved_runs import replay_notes
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.tool_choice import UnderstandingInsight, offers_tools
from pytest_jarvis.report.schema import Report

CLEAN_HEADS: Final = ("Entendu", "Voulu")


def run_notes(report: Report) -> list[str]:
    """Return the notes on how the responses came about: replayed, or with tools to call."""
    notes = replay_notes(report)
    if offers_tools(report):
        notes.append(word("routing.tools_offered"))
        if report.metadata.is_demo:
            notes.append(word("routing.demo_untaught"))
    return notes


def chosen_name(key: str) -> str:
    """Return the name of a tool in the matrix, or of the lack of one."""
    return table("routing.names").get(key, key)


def short_name(key: str) -> str:
    """Return the same without the common ending of tools, for the heads of columns."""
    return chosen_name(key).removesuffix("_tool")


def outcome(routing: Routing) -> str:
    """Return the choice of one response: « argument faux : minutes (set_timer_tool) »."""
    sentence = table("routing.reasons")[routing.reason]
    detail = routing.argument or (table("routing.problems")[routing.problem] if routing.problem else None)
    if detail:
        sentence = f"{sentence} : {detail}"
    return typeset(f"{sentence} ({routing.tool})" if routing.tool else sentence)


def reference_sentence(insight: UnderstandingInsight, name: str) -> str | None:
    """Return how many commands lead to no tool even when heard correctly; None for none."""
    counts = [
        f"{plural(count, 'commande')} chez {arm}"
        for count, arm in ((insight.no_reference_base, "la base"), (insight.no_reference_finetuned, name))
        if count
    ]
    if not counts:
        return None
    return typeset(
        f"Même bien dites, elles ne mènent à aucun outil : {', '.join(counts)} ; elles comptent non comprises."
    )
