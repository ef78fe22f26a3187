"""Notes of engines and runs, and causes of failures: each code in French."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_jarvis.render.french.adapters import chosen_adapter, skipped_adapter
from pytest_jarvis.render.french.formats import plural, typeset
from pytest_jarvis.types import Note, NoteCode, format_value

_FAULT: Final = "prompt « {prompt} », {arm}, réponse {number} : {cause}"
NOTES: Final[Mapping[NoteCode, str]] = {
    "text": "{text}",
    "out_of_memory": "mémoire insuffisante, même pour cette réponse seule",
    "not_finite": "logits non finis (infinis, ou qui ne sont pas des nombres)",
    "cut_in_time": "coupée après {seconds} s, à {tokens} tokens (délai dépassé)",
    "thinking_not_closed": (
        "la réflexion n’était pas finie après {tokens} tokens : augmentez max_new_tokens, ou désactivez la réflexion"
    ),
    "not_recorded": "le rapport relu n’a pas de réponse à ce prompt ; lancez la session sans --jarvis-replay",
    "worker_died": "le processus qui jouait ce test est mort (pytest-xdist)",
    "no_clean_answer": "aucune réponse à la commande correcte « {command} » ({cause})",
    "metric_fault": f"métrique « {{metric}} » : {_FAULT}",
    "hook_fault": f"{{hook}} : {_FAULT}",
    "raised": "a levé {error}",
    "not_a_number": "un nombre fini était attendu, ou None là où elle ne s’applique pas, et non {found}",
    "not_numbers_by_name": "des nombres par nom étaient attendus, et non {found}",
    "not_a_name": "un nom comme « politesse » était attendu, et non {found}",
    "name_taken": "« {name} » est le nom d’une autre métrique",
    "after_tries": "{cause} ({tries} essais)",
    "server_status": "le serveur a répondu {status} : {said}",
    "server_unreachable": "le serveur ne répond pas",
    "server_silent": "le serveur n’a pas répondu en {seconds} s",
    "server_too_slow": "le serveur n’a pas répondu à temps",
    "no_token_in_time": "aucun token en {seconds} s",
    "connection_cut": "la connexion a été coupée au milieu de la réponse",
    "server_error": "le serveur a signalé une erreur dans sa réponse : {said}",
    "server_broke_api": "la réponse du serveur n’est pas celle que l’API promet",
    "server_ended": "le serveur a terminé la réponse pour une autre raison : {said}",
    "server_gone": "pas demandée : le serveur ne répondait plus",
    "encoder_not_loaded": "{name} ne se charge pas : {said}",
    "logprobs_off_beside": (
        "à côté de « {other} », les log-probabilités de « {name} » s’écartent de {size}, trop pour distinguer les deux "
        "({apart})"
    ),
    "answers_of_another": "à côté de « {other} », les réponses de « {name} » sont celles de « {other} »",
    "mixed_not_finite": "dans un lot commun, les logits ne sont pas finis",
    "mixed_logits_differ": "dans un lot commun, les logits diffèrent de {size} de ceux de passages séparés",
    "mixed_adapter_off": (
        "dans un lot commun, l’adaptateur « {name} » s’écarte de {size}, au moins la moitié de son effet ({change})"
    ),
    "mixed_adapter_lost": (
        "dans un lot commun, une ligne de l’adaptateur « {name} » est plus proche de la base que de l’adaptateur"
    ),
    "adapter_replaces_module": (
        "l’adaptateur « {name} » remplace un module de la base qu’un autre adaptateur ne remplace pas"
    ),
    "plain_as_asked": "--jarvis-plain-gpu le demande",
    "several_devices": "le modèle est réparti sur plusieurs appareils",
    "rows_by_lists": "les couches d’un adaptateur choisissent leurs lignes par listes",
    "more_than_keys_and_values": "le modèle garde autre chose que des clés et des valeurs",
    "logits_differ": "les logits diffèrent de {size} de ceux que donne un cache qui grandit",
    "experts_not_exchangeable": "les experts de cette famille ne se remplacent pas",
    "experts_in_another_layout": "les experts de cette famille sont rangés autrement",
    "experts_not_all_4bit": "tous les experts ne sont pas en 4 bits",
    "experts_not_in_blocks": "les lignes des experts ne sont pas des blocs entiers de 64 poids en NF4",
    "products_off": "les produits s’écartent de {size}, et l’arrondi n’explique que {allowed}",
    "scripted": "les réponses sont écrites d’avance par un script : ce ne sont pas les mesures d’un modèle",
    "no_gpu": (
        "aucun GPU n’est utilisé : tout est calculé sur le processeur en 32 bits, ce qui est lent pour un grand modèle"
    ),
    "kept_dequantized": (
        "les poids en 4 bits sont aussi gardés déquantifiés ({megabytes} Mo), mêmes valeurs, pour aller plus vite"
    ),
    "experts_packed": (
        "les experts sont multipliés tels qu’ils sont stockés, en 4 bits : aucune étape ne les relit en 16 bits"
    ),
    "experts_unpacked": "à chaque étape les experts sont relus de 4 en 16 bits, car : {cause}",
    "steps_not_recorded": "chaque étape est lancée noyau par noyau, sans graphe CUDA, car : {cause}",
    "same_bits": "les réponses ne dépendent pas de leur lot : mêmes bits pour des témoins dans des lots de deux formes",
    "same_bits_of_probes": (
        "mêmes bits pour des témoins dans des lots de deux formes ; en 16 bits un texte peut encore changer avec -k"
    ),
    "batch_changes_bits": (
        "ici l’arrondi dépend de la forme du lot (logits témoins : {size} au plus) : un texte peut changer avec -k"
    ),
    "batch_changes_tokens": "tokens témoins qui changent dans un lot plus grand : {others} sur {tokens}",
    "separate_passes": "la base et l’adaptateur passent l’un après l’autre, car : {cause}",
    "longer_than_positions": (
        "un prompt et sa réponse prennent jusqu’à {prompt} + {answer} tokens, plus que les {positions} positions du "
        "modèle"
    ),
    "adapter_inert": "l’adaptateur « {name} » ne change rien, et a été accepté comme demandé",
    "base_moved": "l’adaptateur « {name} » coupé, les logits de la base ont bougé de {size} au plus",
    "adapter_of_other_base": (
        "l’adaptateur « {name} » se dit entraîné sur « {stated} » et non sur « {base} » : seules les formes ont été "
        "comparées"
    ),
    "adapter_keys_unknown": "l’adaptateur « {name} » : cette version de peft ignore {keys} dans sa configuration",
    "server_unmeasured": "les poids, leur quantification et la mémoire sont ceux du serveur : rien n’en est mesuré",
    "seeds_ignored": (
        "le serveur ignore les graines : la même requête a donné deux textes, les textes ne sont pas reproductibles"
    ),
    "seeds_hold_alone": (
        "la même requête a donné un autre texte à côté d’autres : les textes ne sont pas reproductibles"
    ),
    "seeds_unseen": (
        "aucune graine n’a changé un texte : le serveur répond peut-être sans tirage, quelle que soit la température"
    ),
    "no_samplers": (
        "le serveur ne prend pas top_k, min_p ni repetition_penalty : ses réglages agissent peut-être, sur chaque bras"
    ),
    "no_thinking_switch": (
        "le serveur ne prend pas chat_template_kwargs : que le modèle réfléchisse ou non dépend de son gabarit"
    ),
    "no_token_count": (
        "le serveur ne compte pas les tokens : ceux d’une réponse sont les morceaux dans lesquels elle est venue"
    ),
    "no_embedding_model": (
        "aucun modèle d’embeddings n’est configuré ni installé : la similarité cosinus n’est pas mesurée"
    ),
    "cosine_not_measured": "la similarité cosinus n’est pas mesurée, faute de vecteurs de {model} : {cause}",
    "relevance_share": (
        "la pertinence atteint 1 à {percent} % des termes du dictionnaire, et non à 30 % : elle ne se compare qu’à des "
        "rapports faits de même"
    ),
}


def _several_processes(values: Mapping[str, Any]) -> str:
    return (
        f"{values['workers']} processus (pytest-xdist), chacun ses prompts : {plural(values['samples'], 'réponse')} "
        "par prompt et par bras, en un seul tirage, sans arrêt anticipé."
    )


WRITTEN: Final[Mapping[NoteCode, Callable[[Mapping[str, Any]], str]]] = {
    "adapter_chosen": chosen_adapter,
    "adapter_passed_over": skipped_adapter,
    "several_processes": _several_processes,
}
"""Notes whose sentence depends on their values."""


def french_note(note: Note) -> str:
    """Return a note in French; free text as it is, and a question mark for a missing value."""
    if note.code in WRITTEN:
        try:
            return typeset(WRITTEN[note.code](note.values))
        except (LookupError, TypeError, ValueError):  # a report that was changed by hand
            return str(note)
    values = defaultdict(lambda: "?", {name: _shown(value) for name, value in note.values.items()})
    if note.cause is not None:
        values["cause"] = french_note(note.cause)
    sentence = NOTES[note.code].format_map(values)
    return sentence if note.code == "text" else typeset(sentence)


def _shown(value: str | float) -> str:
    return format_value(value).replace(".", ",") if isinstance(value, float) else str(value)
