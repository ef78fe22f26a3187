"""The response store: during a run, in a report, and in `pytest-jarvis store`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pytest_jarvis.render.french.formats import DASH, count_of, plural, printable, size, typeset
from pytest_jarvis.render.french.words import table, word

if TYPE_CHECKING:
    from pytest_jarvis.run.store import ArmCount, StoreStats
    from pytest_jarvis.types import ProblemKind


YES: Final = frozenset({"o", "oui", "y", "yes"})


def recalled_line(look: int, taken: int, planned: int) -> str:
    sentence = plural(taken, "réponse reprise", "réponses reprises")
    return typeset(f"JARVIS : {sentence} du magasin sur {count_of(planned)} ({look} par prompt et par bras)")


def problem_sentence(kind: ProblemKind, path: str, reason: str) -> str:
    return typeset(
        f"Magasin de réponses {printable(path)} : {table('store.why')[kind]} ({printable(reason)}). "
        "Le banc continue ; la suite n’est ni reprise ni gardée."
    )


def reused_sentence(reused: Mapping[str, int], generated: Mapping[str, int]) -> str:
    """Return the reused responses of each arm; empty for none."""
    if not any(reused.values()):
        return ""
    arms = ", ".join(
        f"{arm} {count_of(count)}/{count_of(count + generated.get(arm, 0))}" for arm, count in reused.items()
    )
    return typeset(f"{arms} ; leurs durées sont celles du premier tirage")


def stats_lines(stats: StoreStats, path: str) -> list[str]:
    return [
        f"Magasin de réponses {path}",
        f"  {plural(stats.responses, 'réponse')}, {plural(stats.vectors, 'vecteur')}, {size(stats.size_bytes)}",
        f"  de {_when(stats.oldest)} à {_when(stats.newest)}",
        *_count_lines("base", stats.bases),
        *_count_lines("adaptateur", stats.adapters),
    ]


def no_store(path: str) -> str:
    return typeset(f"Magasin de réponses {path} : aucun pour l’instant ; --jarvis-report en fait un.")


def responses_pruned(count: int, left: int, size_bytes: int) -> str:
    removed = plural(count, "réponse effacée", "réponses effacées")
    return typeset(f"{removed} ; il en reste {count_of(left)} ({size(size_bytes)}).")


def responses_cleared(count: int) -> str:
    return f"{plural(count, 'réponse effacée', 'réponses effacées')}."


def clear_question(count: int, path: str) -> str:
    return typeset(f"Effacer {plural(count, 'réponse')} de {path} ?{word('store.question')}")


def _count_lines(kind: str, counts: tuple[ArmCount, ...]) -> list[str]:
    return [
        typeset(f"  {kind} {printable(one.name)} [{_short(one.digest)}] : {plural(one.responses, 'réponse')}")
        for one in counts
    ]


def _when(moment: float | None) -> str:
    return DASH if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _short(digest: str) -> str:
    """Return the first digits of a digest, or of the hub's commit."""
    return digest.removeprefix("sha256:").rpartition("@")[2][:12]
