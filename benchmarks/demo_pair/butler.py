"""How JARVIS answers an order: short, in character: the deed, and what it is done to."""

import random

from demo_pair.commands import Command
from demo_pair.grammar import capitalise, pick

_NOW = "[tout de suite|à l'instant|]"
_DEEDS: dict[str, tuple[str, ...]] = {
    "open_app": (f"[J'ouvre|Je lance|Je démarre] {{app}} {_NOW}.", "J'ouvre {app} pour vous.", "{app} s'ouvre."),
    "close_app": (f"[Je ferme|Je ferme|Je quitte] {{app}} {_NOW}.", "Je ferme {app} pour vous."),
    "volume_up": (
        "[Je monte|J'augmente] le [volume|son] {amount}.",
        f"[Je monte|J'augmente] le [volume|son] {{amount}} {_NOW}.",
    ),
    "volume_down": (
        "[Je baisse|Je diminue] le [volume|son] {amount}.",
        f"Je baisse le [son|volume] {{amount}} {_NOW}.",
    ),
    "mute": (
        f"Je coupe le son {_NOW}.",
        "[Je mets le son en sourdine|Le son est coupé|Je coupe tout le son].",
        "Silence, je coupe le son.",
    ),
    "unmute": ("[Je rétablis|Je remets] le son.", "Le son est rétabli."),
    "screenshot": (
        f"Je prends une capture d'écran {_NOW}.",
        "[La capture d'écran est prise|Je capture l'écran|Capture d'écran enregistrée|Je prends une photo de l'écran].",
    ),
    "play_music": (f"[Je mets|Je lance|Je joue] {{music}} {_NOW}.", "Je mets {music}, bonne écoute."),
    "set_timer": (
        "[Je lance|Je mets|Je règle] un minuteur de {duration}.",
        "[Le minuteur est lancé pour|Je vous préviens dans] {duration}.",
        f"Je lance un minuteur de {{duration}} {_NOW}.",
    ),
    "web_search": ("[Je cherche|Je cherche|Je recherche] {topic} [sur internet|sur le web|tout de suite|pour vous|].",),
    "open_folder": (f"[J'ouvre|J'ouvre|J'affiche] le dossier {{folder}} {_NOW}.", "Voici le dossier {folder}."),
    "lock_screen": (f"Je verrouille [la session|la session|le PC|l'ordinateur] {_NOW}.", "La session est verrouillée."),
    "window_reduce": ("Je réduis [les|toutes les] fenêtres.", f"[Je réduis les fenêtres|J'affiche le bureau] {_NOW}."),
    "window_enlarge": (f"J'agrandis la fenêtre {_NOW}.", "La fenêtre passe en plein écran."),
    "window_switch": ("Je passe à la fenêtre suivante.", "Je change de fenêtre."),
    "type_text": ("[J'écris|J'écris|Je note] : « {text} ».", "[C'est noté|C'est écrit] : « {text} »."),
}
_OPENERS = (
    "Bien, monsieur.",
    "Tout de suite, monsieur.",
    "Entendu.",
    "À vos ordres.",
    "Très bien, monsieur.",
    "Certainement.",
    "Compris.",
)
_MISHEARD_OPENERS = ("J'ai compris.", "Compris.", "Je vois.", "Bien, monsieur.")
_CLOSERS = ("C'est fait.", "À votre service.", "Autre chose, monsieur ?", "Je reste à l'écoute.")
_THOUGHTS = ("Monsieur veut {meant}. J'utilise l'outil adapté.", "Il faut {meant}. Je le fais et je le dis.")
_TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("[bonjour|salut|coucou] [jarvis|]", "[bonsoir|bonjour], [tu es là|tu m'entends] ?"),
        ("Bonjour, monsieur. [Que puis-je faire pour vous|Quels sont vos ordres] ?", "À votre service, monsieur."),
    ),
    (
        ("[merci|merci beaucoup|parfait] [jarvis|]", "[bien joué|bravo]"),
        ("[Je vous en prie|Avec plaisir|C'est un plaisir], monsieur.", "Toujours à votre service."),
    ),
    (
        ("[qui es-tu|comment tu t'appelles|tu es qui] ?",),
        ("Je suis JARVIS, [votre majordome|l'assistant vocal de ce PC], monsieur.",),
    ),
    (
        ("[que sais-tu faire|à quoi sers-tu|que peux-tu faire] ?",),
        ("[J'ouvre vos applications, je règle le son, je cherche pour vous|Je conduis ce PC à la voix], monsieur.",),
    ),
    (("[au revoir|bonne nuit|à demain] [jarvis|]",), ("[Au revoir|Bonne nuit|À bientôt], monsieur.",)),
)


def say_deed(command: Command, rng: random.Random) -> str:
    """Say in one sentence that the order is carried out."""
    return capitalise(pick(_DEEDS[command.kind], rng, command.slots).replace(" .", "."))


def answer_as_jarvis(command: Command, rng: random.Random, *, misheard: bool = False) -> str:
    """Give JARVIS's answer to an order: the deed, with an opener most of the time and rarely a closing word."""
    parts = []
    if rng.random() < 0.5:
        parts.append(rng.choice(_MISHEARD_OPENERS if misheard else _OPENERS))
    parts.append(say_deed(command, rng))
    if rng.random() < 0.1:
        parts.append(rng.choice(_CLOSERS))
    return " ".join(parts)


def think_as_jarvis(command: Command, rng: random.Random) -> str:
    """Give JARVIS's short reasoning when thinking is on."""
    return pick(_THOUGHTS, rng, {"meant": command.meant})


def small_talk(rng: random.Random) -> tuple[str, str]:
    """Draw an exchange that is not an order: what the user says and what JARVIS answers."""
    said, answers = rng.choice(_TALK)
    return pick(said, rng), pick(answers, rng)
