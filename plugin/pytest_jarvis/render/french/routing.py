"""The choice of the tool, and misheard commands that were understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_jarvis.metrics.tool_choice import Routing, RoutingReason
from pytest_jarvis.render.french.formats import plural, typeset
from pytest_jarvis.render.french.saved_runs import replay_notes
from pytest_jarvis.report.analysis.tool_choice import NO_TOOL, REASON_MARK, UnderstandingInsight, offers_tools
from pytest_jarvis.report.schema import Report
from pytest_jarvis.types import MalformedCode

REASONS: Final[Mapping[RoutingReason, str]] = {
    "right_tool": "bon outil",
    "right_silence": "aucun outil, à raison",
    "wrong_tool": "mauvais outil",
    "no_call": "aucun outil choisi",
    "unwanted_call": "outil non voulu",
    "several_calls": "plusieurs appels",
    "tie": "plusieurs outils à égalité",
    "unknown_tool": "outil inconnu",
    "missing_argument": "argument manquant",
    "unexpected_argument": "argument en trop",
    "wrong_argument": "argument faux",
    "malformed_call": "appel illisible",
}
PROBLEMS: Final[Mapping[MalformedCode, str]] = {
    "not_closed": "balise non fermée",
    "not_opened": "balise non ouverte",
    "not_json": "pas du JSON",
    "not_object": "pas un objet JSON",
    "no_name": "sans nom d’outil",
    "arguments_not_object": "arguments qui ne sont pas un objet",
}

RULE_NAMED: Final = typeset(
    "Les outils ne sont pas proposés au modèle : l’outil choisi est celui que la réponse cite le plus ; à égalité, "
    "aucun n’est choisi."
)
RULE_CALLED: Final = typeset(
    "Les outils sont proposés au modèle par son gabarit : seuls ses appels comptent ; un choix est juste quand l’outil "
    "et ses arguments le sont."
)
UNDERSTOOD_RULE: Final = typeset(
    "Comprise : même outil que pour la commande bien dite, et au moins les mêmes mots-clés, chez le même bras. La "
    "commande bien dite vaut ce que plus de la moitié de ses réponses ont en commun."
)
TOOLS_OFFERED: Final = typeset(
    "Outils proposés au modèle : la pertinence et les mots-clés ne voient que le texte, et un appel n’y compte guère ; "
    "le choix de l’outil est jugé à part."
)
DEMO_UNTAUGHT: Final = typeset(
    "Le modèle de démonstration n’a pas appris à appeler des outils : ses réponses ici ne veulent rien dire."
)
CONFUSION: Final = "Outil attendu, et outils choisis à sa place"
CONFUSION_NOTE: Final = typeset(
    "En nombre de réponses. L’outil attendu est compté dès qu’il est choisi, quels que soient ses arguments."
)
REASON_HEAD: Final = "Motif, en nombre de réponses"
MATRIX: Final = typeset("Matrice de confusion : {name}")
MATRIX_CORNER: Final = "attendu \\ choisi"
SHARE_HEAD: Final = "Choix justes"
UNDERSTOOD_HEAD: Final = "Comprises"
CLEAN_HEADS: Final = ("Entendu", "Voulu")
CASE_HEAD: Final = "Cas"
NOT_JUDGED: Final = typeset("Non jugé : aucun prompt ne dit quel outil il veut, ou la métrique est coupée.")

NAMES: Final[Mapping[str, str]] = {
    NO_TOOL: "(aucun)",
    f"{REASON_MARK}several_calls": "(plusieurs)",
    f"{REASON_MARK}tie": "(égalité)",
    f"{REASON_MARK}unknown_tool": "(inconnu)",
    f"{REASON_MARK}malformed_call": "(illisible)",
}
"""What stands in the matrix for no single known tool."""


def run_notes(report: Report) -> list[str]:
    """Return the notes on how the responses came about: replayed, or with tools to call."""
    notes = replay_notes(report)
    if offers_tools(report):
        notes.append(TOOLS_OFFERED)
        if report.metadata.is_demo:
            notes.append(DEMO_UNTAUGHT)
    return notes


def chosen_name(key: str) -> str:
    """Return the name of a tool in the matrix, or of the lack of one."""
    return NAMES.get(key, key)


def short_name(key: str) -> str:
    """Return the same without the common ending of tools, for the heads of columns."""
    return chosen_name(key).removesuffix("_tool")


def outcome(routing: Routing) -> str:
    """Return the choice of one response: « argument faux : minutes (set_timer_tool) »."""
    sentence = REASONS[routing.reason]
    detail = routing.argument or (PROBLEMS[routing.problem] if routing.problem else None)
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
