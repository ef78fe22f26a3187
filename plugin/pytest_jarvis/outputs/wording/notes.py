"""What an engine notes of itself, in French; a note that is not known here stays as the engine wrote it."""

from __future__ import annotations

import re
from typing import Final

_NOTES: Final[tuple[tuple[str, str], ...]] = (
    (
        r"no GPU is used: .*",
        "aucun GPU n'est utilisé : tout est calculé sur le processeur en 32 bits, ce qui est lent pour un grand modèle",
    ),
    (
        r"the weights in 4 bits are also kept dequantised \((?P<size>\d+)MB\), .*",
        "les poids en 4 bits sont aussi gardés déquantifiés ({size} Mo), avec les mêmes valeurs, pour aller plus vite",
    ),
    (
        r"responses do not depend on their batch: .*",
        "les réponses ne dépendent pas de leur lot : mêmes bits pour des témoins dans des lots de deux formes",
    ),
    (
        r"rounding depends on the shape of the batch on this device: probe logits moved by up to (?P<size>\S+) .*",
        "ici l'arrondi dépend de la forme du lot (logits témoins : {size} au plus) : un texte peut changer avec -k",
    ),
    (
        r"base and adapter rows run in separate passes, because (?P<reason>.*)",
        "la base et l'adaptateur passent l'un après l'autre, car : {reason}",
    ),
    (
        r"adapter '(?P<name>[^']*)' changes nothing, and was accepted as asked",
        "l'adaptateur « {name} » ne change rien, et a été accepté comme demandé",
    ),
    (
        r"with adapter '(?P<name>[^']*)' off, the base's logits moved by up to (?P<size>.*)",
        "l'adaptateur « {name} » coupé, les logits de la base ont bougé de {size} au plus",
    ),
    (
        r"the answers are made up by a script: .*",
        "les réponses sont écrites d'avance par un script : ce ne sont pas les mesures d'un modèle",
    ),
)


def french_note(note: str) -> str:
    """Return the engine's note in French, where it is known."""
    for pattern, french in _NOTES:
        if found := re.fullmatch(pattern, note):
            return french.format(**found.groupdict())
    return note
