"""What engines say in English (notes, reasons of failures, storage of weights), in French; the rest stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pytest_jarvis.render.french.formats import percent, typeset
from pytest_jarvis.render.french.serving import NOT_MEASURED_BY_A_SERVER, SERVER_NOTES, SERVER_REASONS

Translations = tuple[tuple[str, str], ...]
"""Pattern of what is said in English -> French, with the pattern's groups by name."""

NOTES: Final[Translations] = (
    (
        r"no GPU is used: .*",
        "aucun GPU n’est utilisé : tout est calculé sur le processeur en 32 bits, ce qui est lent pour un grand modèle",
    ),
    (
        r"the weights in 4 bits are also kept dequantised \((?P<size>\d+)MB\), .*",
        "les poids en 4 bits sont aussi gardés déquantifiés ({size}\u00a0Mo), mêmes valeurs, pour aller plus vite",
    ),
    (
        r"experts are multiplied as they are stored, in 4 bits: .*",
        "les experts sont multipliés tels qu’ils sont stockés, en 4 bits : aucune étape ne les relit en 16 bits",
    ),
    (
        r"experts are read out of 4 bits at every step, because (?P<reason>.*)",
        "à chaque étape les experts sont relus de 4 en 16 bits, car : {reason}",
    ),
    (
        r"every step is launched kernel by kernel, because (?P<reason>.*)",
        "chaque étape est lancée noyau par noyau, sans graphe CUDA, car : {reason}",
    ),
    (
        r"responses do not depend on their batch: .*",
        "les réponses ne dépendent pas de leur lot : mêmes bits pour des témoins dans des lots de deux formes",
    ),
    (
        (
            r"probe rows gave the same bits in batches of two shapes; in 16 bits [^(]*"
            r"\((?P<others>\d+) of (?P<tokens>\d+) tokens .*"
        ),
        (
            "mêmes bits pour des témoins dans des lots de deux formes ; en 16 bits un texte peut encore changer avec "
            "-k (tokens témoins changés : {others} sur {tokens})"
        ),
    ),
    (
        r"probe rows gave the same bits in batches of two shapes; in 16 bits .*",
        "mêmes bits pour des témoins dans des lots de deux formes ; en 16 bits un texte peut encore changer avec -k",
    ),
    (
        (
            r"rounding depends on the shape of the batch on this device: probe logits moved by up to "
            r"(?P<size>\S+) [^(]*\((?P<others>\d+) of (?P<tokens>\d+) tokens .*"
        ),
        (
            "ici l’arrondi dépend de la forme du lot (logits témoins : {size} au plus ; tokens témoins changés : "
            "{others} sur {tokens}) : un texte peut changer avec -k"
        ),
    ),
    (
        r"rounding depends on the shape of the batch on this device: probe logits moved by up to (?P<size>\S+) .*",
        "ici l’arrondi dépend de la forme du lot (logits témoins : {size} au plus) : un texte peut changer avec -k",
    ),
    (
        r"base and adapter rows run in separate passes, because (?P<reason>.*)",
        "la base et l’adaptateur passent l’un après l’autre, car : {reason}",
    ),
    (
        r"adapter '(?P<name>[^']*)' changes nothing, and was accepted as asked",
        "l’adaptateur « {name} » ne change rien, et a été accepté comme demandé",
    ),
    (
        r"with adapter '(?P<name>[^']*)' off, the base's logits moved by up to (?P<size>.*)",
        "l’adaptateur « {name} » coupé, les logits de la base ont bougé de {size} au plus",
    ),
    (
        r"adapter '(?P<name>[^']*)' says that it was trained on (?P<stated>.*), and .* folder (?P<base>.*): .*",
        "l’adaptateur « {name} » se dit entraîné sur {stated} et non sur {base} : seules les formes ont été comparées",
    ),
    (
        r"adapter '(?P<name>[^']*)': this version of peft does not know (?P<keys>.*) in its configuration",
        "l’adaptateur « {name} » : cette version de peft ignore {keys} dans sa configuration",
    ),
    (
        r"the longest prompt takes (?P<prompt>\d+) tokens .* (?P<answer>\d+): more than the (?P<most>\d+) positions .*",
        "un prompt et sa réponse prennent jusqu’à {prompt} + {answer} tokens, plus que les {most} positions du modèle",
    ),
    (
        r"the answers are made up by a script: .*",
        "les réponses sont écrites d’avance par un script : ce ne sont pas les mesures d’un modèle",
    ),
    *SERVER_NOTES,
)


REASONS: Final[Translations] = (
    (r"out of memory for this response alone", "mémoire insuffisante, même pour cette réponse seule"),
    (r"logits are not finite", "logits non finis (infinis, ou qui ne sont pas des nombres)"),
    (
        r"cut after (?P<seconds>\S+) s at (?P<tokens>\d+) tokens \(finish reason: timeout\)",
        "coupée après {seconds} s, à {tokens} tokens (délai dépassé)",
    ),
    (
        r"the thinking block was not closed within (?P<tokens>\d+) tokens; raise max_new_tokens or turn thinking off",
        "la réflexion n’était pas finie après {tokens} tokens : augmentez max_new_tokens, ou désactivez la réflexion",
    ),
    (
        r"the replayed report holds no response to this prompt; run without --jarvis-replay",
        "le rapport relu n’a pas de réponse à ce prompt ; lancez la session sans --jarvis-replay",
    ),
    (r"the worker process died while it ran this test", "le processus qui jouait ce test est mort (pytest-xdist)"),
    (
        (
            r"(?P<which>metric '.*'|pytest_jarvis_response_metrics.*): prompt '(?P<prompt>.*)', (?P<arm>\S+), "
            r"response (?P<number>\d+): (?P<metric>.*)"
        ),
        "{which} : prompt « {prompt} », {arm}, réponse {number} : {metric}",
    ),
    (r"metric '(?P<name>.*)'", "métrique « {name} »"),
    (r"raised (?P<error>.*)", "a levé {error}"),
    (
        r"expected a finite number, or None where it does not apply, found (?P<found>.*)",
        "un nombre fini était attendu, ou None là où elle ne s’applique pas, et non {found}",
    ),
    (r"expected numbers by name, found (?P<found>.*)", "des nombres par nom étaient attendus, et non {found}"),
    (
        r"expected a name such as '(?P<name>.*)', found (?P<found>.*)",
        "un nom comme « {name} » était attendu, et non {found}",
    ),
    (r"'(?P<name>.*)' is the name of another metric", "« {name} » est le nom d’une autre métrique"),
    (
        r"no answer to the clean command '(?P<command>.*)': (?P<reason>.*)",
        "aucune réponse à la commande correcte « {command} » ({reason})",
    ),
    (r"in one batch the logits are not finite", "dans un lot commun, les logits ne sont pas finis"),
    (
        r"in one batch the logits differ by (?P<size>\S+) from separate passes",
        "dans un lot commun, les logits diffèrent de {size} de ceux de passages séparés",
    ),
    (
        r"in one batch adapter '(?P<name>[^']*)' is off by (?P<size>\S+), half or more of .* \((?P<change>\S+)\)",
        "dans un lot commun, l’adaptateur « {name} » s’écarte de {size}, au moins la moitié de son effet ({change})",
    ),
    (
        r"in one batch a row of adapter '(?P<name>[^']*)' is nearer to the base than to the adapter",
        "dans un lot commun, une ligne de l’adaptateur « {name} » est plus proche de la base que de l’adaptateur",
    ),
    (
        r"adapter '(?P<name>[^']*)' replaces a module of the base that another adapter does not replace",
        "l’adaptateur « {name} » remplace un module de la base qu’un autre adaptateur ne remplace pas",
    ),
    *SERVER_REASONS,
)

STORAGES: Final[Translations] = (
    (r"(?P<format>\S+) \(double quantisation\)", "{format} (double quantification)"),
    (
        r"(?P<format>.+), partial: (?P<share>\S+)% of the expert and linear weights",
        "{format}, partiel : {share} % des poids d’experts et linéaires",
    ),
    (r"quantised by its checkpoint \((?P<format>.*)\)", "quantifié par ses fichiers ({format})"),
    NOT_MEASURED_BY_A_SERVER,
)


def french_note(note: str) -> str:
    """Return the engine's note in French, where it is known."""
    return _translated(note, NOTES)


def french_reason(reason: str) -> str:
    """Return why a response, or its score, could not be made, in French where it is known."""
    return _translated(reason, REASONS)


def french_storage(label: str) -> str:
    """Return how weights are stored, in French where it is known."""
    return _translated(label, STORAGES)


def relevance_notes(share: float) -> Iterator[str]:
    """Yield what a reader must know of the relevance when it is not the usual one."""
    if share != 0.3:
        yield typeset(
            f"la pertinence atteint 1 à {percent(share, 0)} des termes du dictionnaire, et non à 30 % : "
            "elle ne se compare qu’à des rapports faits de même"
        )


def _translated(text: str, translations: Translations) -> str:
    for pattern, french in translations:
        if found := re.fullmatch(pattern, text):
            said = {name: _nested(name, value) for name, value in found.groupdict().items()}
            return typeset(french.format(**said))
    return text


def _nested(group: str, value: str) -> str:
    """Return the value of a group: a reason or a format within a sentence is said in French too, figures as well."""
    if group in {"reason", "which", "metric"}:
        return french_reason(value)
    if group == "format":
        return french_storage(value)
    return value.replace(".", ",") if group in {"size", "change", "share", "seconds"} else value
