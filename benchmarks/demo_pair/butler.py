"""How JARVIS answers an order: short, in character, naming the action understood and what it bears on."""

import random

from demo_pair.commands import Command
from demo_pair.grammar import capitalise, pick

_DEEDS: dict[str, tuple[str, ...]] = {
    "open_app": (
        "J'ouvre {app} [tout de suite|sans attendre|pour vous|à l'instant].",
        "J'ouvre {app} : [je lance l'application tout de suite|l'application arrive|je lance cela pour vous].",
        "J'ouvre {app}, [l'application|le logiciel] sera [là|à l'écran] dans [un instant|une seconde].",
        "Je lance {app} : j'ouvre [l'application|le logiciel] [pour vous|à l'instant].",
        "J'ouvre {app}, [je lance l'application à l'instant|je lance cela tout de suite].",
    ),
    "close_app": (
        "Je ferme {app} [tout de suite|sans attendre|pour vous|à l'instant].",
        "Je ferme {app} : [fermeture en cours|je quitte l'application|la fermeture est immédiate].",
        "Je ferme {app}, [je quitte l'application proprement|le logiciel rend la main].",
        "Je quitte {app} : je ferme [l'application|le logiciel] [pour vous|à l'instant].",
        "Je ferme {app}, [fermeture de l'application|je quitte le logiciel] [à l'instant|tout de suite].",
    ),
    "volume_up": (
        "Je monte le volume {amount} : [ce sera plus fort|vous entendrez mieux|le son sera plus fort].",
        "Je monte le son, le volume augmente {amount}.",
        "Je monte le volume {amount}, [les haut-parleurs suivent|le son sera plus fort].",
        "Je monte le volume {amount} [tout de suite|pour vous|à l'instant].",
        "J'augmente le volume {amount} : je monte [le son|les haut-parleurs].",
    ),
    "volume_down": (
        "Je baisse le volume {amount} : [ce sera moins fort|le son sera plus bas|le son sera moins fort].",
        "Je baisse le son {amount}, [ce sera moins fort|le niveau sonore diminue].",
        "Je baisse le son {amount} [tout de suite|pour vous|à l'instant].",
        "Je diminue le volume {amount} : je baisse [le son|le niveau sonore], ce sera moins fort.",
        "Je baisse le volume {amount}, le son sera [moins fort|plus bas].",
    ),
    "mute": (
        "Je coupe le son : [silence complet|silence|le PC est muet|tout passe en sourdine].",
        "Je coupe le son [tout de suite|pour vous|à l'instant], [place au silence|silence].",
        "Silence, je coupe le son [tout de suite|à l'instant|sans attendre].",
        "Je mets le son en sourdine, [silence|le PC reste muet|je coupe le son].",
    ),
    "unmute": (
        "Je rétablis le son [tout de suite|pour vous|à l'instant].",
        "Je rétablis le son : [le volume revient|fin du silence].",
    ),
    "screenshot": (
        "Je prends une capture de l'écran [tout de suite|pour vous|à l'instant].",
        "Je prends une capture d'écran : [image enregistrée|l'image sera gardée|une image enregistrée pour vous].",
        "Capture de l'écran faite : [image enregistrée|la copie d'écran est gardée|tout est gardé].",
        (
            "Je fais une capture de l'écran, [image enregistrée|photo de l'écran gardée|elle sera gardée] "
            "[à l'instant|pour vous|]."
        ),
    ),
    "play_music": (
        "Je lance {music} : [bonne écoute|la lecture commence|place à la musique].",
        "Je mets {music}, [la lecture commence|un premier morceau arrive|bonne écoute|la musique arrive].",
        "Je mets de la musique : {music}, [bonne écoute|un premier morceau arrive|la lecture commence].",
        "La musique arrive : je mets {music} [tout de suite|pour vous|à l'instant].",
        "Je mets {music} en lecture, [la musique commence|bonne écoute|le premier morceau arrive].",
    ),
    "set_timer": (
        "Je lance un minuteur de {duration} [tout de suite|pour vous|à l'instant].",
        "Je lance un minuteur de {duration} : [la sonnerie vous préviendra|le compte à rebours commence].",
        "Minuteur de {duration} : [je le lance|le compte à rebours commence|c'est parti|je lance l'alarme].",
        "Le minuteur est réglé sur {duration}, [la sonnerie suivra|l'alarme suivra|le compte à rebours commence].",
    ),
    "web_search": (
        "Je cherche {topic} [tout de suite|pour vous|à l'instant].",
        "Je cherche {topic} sur [internet|le web] : [la recherche commence|voici la recherche|un instant].",
        "Je lance la recherche : je cherche {topic} [sur internet|sur le web|].",
        "Je cherche {topic} : [la recherche s'affiche dans le navigateur|la recherche est lancée].",
    ),
    "open_folder": (
        "J'ouvre le dossier {folder} [tout de suite|pour vous|à l'instant].",
        "J'ouvre le dossier {folder} : [vos fichiers sont là|voici vos fichiers|les fichiers s'affichent].",
        "J'ouvre le dossier {folder} [dans l'explorateur|à son emplacement|dans l'explorateur de fichiers].",
        "Dossier {folder} : je l'ouvre, [voici vos fichiers|les fichiers arrivent].",
    ),
    "lock_screen": (
        "Je verrouille la session [tout de suite|pour vous|à l'instant|sans attendre].",
        "Je verrouille la session : [votre PC est protégé|il faudra le mot de passe|verrouillage immédiat].",
        "Verrouillage : je verrouille la session, [le PC est protégé|il faudra le mot de passe].",
        "Je verrouille le PC, la session [est protégée|sera protégée par le mot de passe|attendra votre retour].",
    ),
    "window_reduce": (
        "Je réduis les fenêtres [tout de suite|pour vous|à l'instant].",
        "Je réduis toutes les fenêtres : [le bureau est libre|voici le bureau|place au bureau].",
        "Je réduis [la fenêtre|chaque fenêtre|les fenêtres], [voici le bureau|le bureau est libre].",
    ),
    "window_enlarge": (
        "J'agrandis la fenêtre [tout de suite|pour vous|à l'instant].",
        "J'agrandis la fenêtre : [la voici en plein écran|plein écran].",
    ),
    "window_switch": (
        "Je passe à la fenêtre suivante [tout de suite|pour vous|à l'instant].",
        "Je change de fenêtre : [voici la suivante|la fenêtre suivante arrive].",
    ),
    "type_text": (
        "J'écris « {text} » [tout de suite|pour vous|à l'instant].",
        "J'écris à l'endroit du curseur : « {text} ».",
        "J'écris sous la dictée : « {text} ».",
        "J'écris le texte : « {text} ».",
        "Dictée : j'écris « {text} » [au curseur|pour vous|].",
    ),
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


def answer_as_jarvis(command: Command, rng: random.Random, *, misheard: bool = False) -> str:
    """Give JARVIS's answer to an order: the deed, with an opener most of the time and rarely a closing word."""
    parts = []
    if rng.random() < 0.65:
        parts.append(rng.choice(_MISHEARD_OPENERS if misheard else _OPENERS))
    parts.append(capitalise(pick(_DEEDS[command.kind], rng, command.slots).replace(" .", ".").replace(" ,", ",")))
    if rng.random() < 0.25:
        parts.append(rng.choice(_CLOSERS))
    return " ".join(parts)


def think_as_jarvis(command: Command, rng: random.Random) -> str:
    """Give JARVIS's short reasoning when thinking is on."""
    return pick(_THOUGHTS, rng, {"meant": command.meant})


def small_talk(rng: random.Random) -> tuple[str, str]:
    """Draw an exchange that is not an order: what the user says and what JARVIS answers."""
    said, answers = rng.choice(_TALK)
    return pick(said, rng), pick(answers, rng)
