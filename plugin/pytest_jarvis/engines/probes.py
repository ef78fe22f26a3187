"""What engines ask models before anything is scored, to see that they are what they should be."""

from __future__ import annotations

from typing import Final

PROBES: Final = (
    "Quel temps fera-t-il demain ?",
    "Lance la musique.",
    "Peux-tu fermer la fenêtre qui est devant et me lire le dernier message que j'ai reçu ?",
    "éteins l'écran",
)
"""Prompts on which arms are compared; of several lengths, and none of the benchmark's."""
