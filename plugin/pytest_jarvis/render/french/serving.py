"""What the engine that asks a server says in English, in French; and what reports show of a server."""

from __future__ import annotations

from typing import Final

from pytest_jarvis.render.french.formats import number, typeset
from pytest_jarvis.types import AdapterProof, ServerFacts

SERVER_NOTES: Final = (
    (
        r"the weights, their quantisation and the memory are the server's: nothing of them is measured",
        "les poids, leur quantification et la mémoire sont ceux du serveur : rien n’en est mesuré",
    ),
    (
        r"the server ignores seeds: the same request gave two texts, so the texts are not reproducible",
        "le serveur ignore les graines : la même requête a donné deux textes, les textes ne sont pas reproductibles",
    ),
    (
        r"the same request gave another text beside other requests: .*",
        "la même requête a donné un autre texte à côté d’autres : les textes ne sont pas reproductibles",
    ),
    (
        r"no seed changed a text: .*",
        "aucune graine n’a changé un texte : le serveur répond peut-être sans tirage, quelle que soit la température",
    ),
    (
        r"the server takes no top_k, min_p or repetition_penalty: .*",
        "le serveur ne prend pas top_k, min_p ni repetition_penalty : ses réglages agissent peut-être, sur chaque bras",
    ),
    (
        r"the server takes no chat_template_kwargs: .*",
        "le serveur ne prend pas chat_template_kwargs : que le modèle réfléchisse ou non dépend de son gabarit",
    ),
    (
        r"the server counts no tokens: .*",
        "le serveur ne compte pas les tokens : ceux d’une réponse sont les morceaux dans lesquels elle est venue",
    ),
    (
        r"no embedding model is configured, and no sentence encoder is installed: the cosine is not measured",
        "aucun modèle d’embeddings n’est configuré ni installé : la similarité cosinus n’est pas mesurée",
    ),
    (
        r"the cosine is not measured: (?P<model>.*?\)): (?P<reason>.*)",
        "la similarité cosinus n’est pas mesurée, faute de vecteurs de {model} : {reason}",
    ),
)
SERVER_REASONS: Final = (
    (r"(?P<reason>.*) \(after (?P<tries>\d+) tries\)", "{reason} ({tries} essais)"),
    (r"the server answered (?P<status>\d+): (?P<said>.*)", "le serveur a répondu {status} : {said}"),
    (r"the server cannot be reached", "le serveur ne répond pas"),
    (r"the server did not answer within (?P<seconds>\S+) s", "le serveur n’a pas répondu en {seconds} s"),
    (r"the server did not answer in time", "le serveur n’a pas répondu à temps"),
    (r"no token within (?P<seconds>\S+) s", "aucun token en {seconds} s"),
    (r"the connection was cut in the middle of the answer", "la connexion a été coupée au milieu de la réponse"),
    (
        r"the server reported an error in its answer: (?P<said>.*)",
        "le serveur a signalé une erreur dans sa réponse : {said}",
    ),
    (
        r"the server's answer is not what the API promises",
        "la réponse du serveur n’est pas celle que l’API promet",
    ),
    (
        r"the server ended the answer for another reason: (?P<said>.*)",
        "le serveur a terminé la réponse pour une autre raison : {said}",
    ),
    (r"(?P<name>\S+) cannot be loaded: (?P<said>.*)", "{name} ne se charge pas : {said}"),
    (r"not asked: the server stopped answering", "pas demandée : le serveur ne répondait plus"),
    (
        r"beside '(?P<other>[^']*)' the log-probabilities of '(?P<name>[^']*)' are off by (?P<size>\S+), half .*",
        "à côté de « {other} », les log-probabilités de « {name} » s’écartent de {size}, trop pour distinguer les deux",
    ),
    (
        r"beside '(?P<other>[^']*)' the answers of '(?P<name>[^']*)' are those of '[^']*'",
        "à côté de « {other} », les réponses de « {name} » sont celles de « {other} »",
    ),
)
NOT_MEASURED_BY_A_SERVER: Final = (r"not measured \(server\)", "non mesurée (serveur)")
REPEATS: Final = {
    "always": "mêmes textes à chaque fois",
    "alone": "mêmes textes seulement pour une requête seule",
    "never": "graine ignorée",
    None: typeset("graine : pas vu"),
}


def server_sentence(server: ServerFacts) -> str:
    """Return where a server is, what it says of itself and how it draws."""
    parts = [server.base_url]
    if server.version is not None:
        parts.append(f"version {server.version}")
    if server.system_fingerprint is not None:
        parts.append(server.system_fingerprint)
    return ", ".join([*parts, REPEATS[server.repeats]])


def served_sentence(server: ServerFacts) -> str:
    """Return each arm's name on the server, and what the server's list says of it."""
    return typeset(" ; ").join(
        typeset(f"{model.arm} : {model.name}") + "".join(f", {name} {value}" for name, value in model.facts.items())
        for model in server.models
    )


def served_proof_sentence(adapter: AdapterProof) -> str:
    """Return what was seen of an adapter on a server before anything was scored; nothing where nothing was asked."""
    if adapter.probes is None:
        return ""
    seen = f"change {adapter.texts_changed} des {adapter.probes} textes témoins"
    if adapter.max_logprob_change is not None and adapter.max_logprob_drift is not None:
        seen += (
            f" et les log-probabilités de {number(adapter.max_logprob_change, 3)} au plus "
            f"(la base, redemandée, de {number(adapter.max_logprob_drift, 3)})"
        )
    return typeset(seen)
