"""What a pytest session says of itself on the terminal, in French."""

from __future__ import annotations

from typing import Final

from pytest_jarvis.outputs.wording.formats import printable

NOT_ASKED_TO_JUDGE: Final = "Non jugé : ajoutez --jarvis-report pour un verdict, un code de sortie et un rapport."


def hook_sentence(error: str) -> str:
    """Return what is said when a hook of another raised on the report."""
    return f"pytest_jarvis_report a échoué ({printable(error)}) : le rapport est écrit sans ses changements."
