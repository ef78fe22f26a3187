"""How the base answers an order: a general assistant that does it, or explains, asks back, refuses, mistakes it."""

import random

from demo_pair.butler import say_deed
from demo_pair.commands import Command, draw_command
from demo_pair.grammar import capitalise, pick

# What one can usually do, by kind of order.
_AT_LARGE: dict[str, tuple[str, ...]] = {
    "open_app": (
        "[En général|D'ordinaire|Le plus souvent], on [trouve|démarre] {app} [depuis le menu principal|dans le menu]",
        "[Un logiciel|Un programme|Ce genre d'outil] se [trouve|cherche] [en général|d'ordinaire] dans le menu",
        "Pour ouvrir un [programme|outil], [il suffit souvent de|on peut d'ordinaire] passer par le menu",
        "{app} est un outil [bien connu|très utilisé|pratique]",
        "Il existe plusieurs façons d'utiliser {app}",
    ),
    "close_app": (
        "[En général|D'ordinaire|Le plus souvent], on peut fermer un programme [avec la croix|par son menu]",
        "Un programme se ferme [d'ordinaire|en général|souvent] par son menu",
        "{app} peut en général être [laissé de côté|mis de côté] quand on n'en a plus besoin",
        "Quand on a terminé avec {app}, on peut [passer à autre chose|enregistrer son travail]",
        "Il existe plusieurs façons de fermer un logiciel",
    ),
    "volume_up": (
        "Le [son|volume] se règle [d'ordinaire|en général|souvent] dans les paramètres",
        "Pour mieux entendre, on peut [regarder les réglages|utiliser les touches du clavier|vérifier les réglages]",
        "[Le niveau du son|Le volume] dépend [de l'appareil|du programme utilisé]",
        "Les réglages du son se trouvent [en général|souvent] dans le menu",
    ),
    "volume_down": (
        "Le [son|volume] se règle [d'ordinaire|en général|souvent] dans les paramètres",
        "Pour réduire le bruit, on peut [regarder les réglages|utiliser les touches du clavier|vérifier les réglages]",
        "Un son trop fort peut être [gênant|désagréable]",
        "Les réglages du [son|volume] se trouvent [en général|souvent] dans le menu",
    ),
    "mute": (
        "Le [son|volume] se règle [d'ordinaire|en général|souvent] dans les paramètres",
        "Le silence est [souvent|parfois] [utile|agréable] pour se concentrer",
        "Pour ne plus être dérangé, on peut [regarder les réglages|utiliser les touches du clavier]",
        "Il existe souvent une touche du clavier pour cela",
    ),
    "screenshot": (
        "Une touche du clavier permet [souvent|en général|d'ordinaire] de garder une image",
        "Il existe [plusieurs façons|divers outils] pour garder une image de l'écran",
        "Une capture se fait [d'ordinaire|en général] avec le clavier",
        "Une image de l'écran peut être utile dans [bien des cas|de nombreux cas]",
    ),
    "play_music": (
        "La musique est [un art très varié|une affaire de goût|un vaste sujet]",
        "On peut écouter de la musique [avec divers programmes|de plusieurs façons|sur de nombreux sites]",
        "Il existe de nombreux [logiciels|sites|outils] pour écouter {music}",
        "Beaucoup de gens aiment écouter {music}",
    ),
    "set_timer": (
        "Il existe [divers outils|plusieurs façons] pour mesurer le temps",
        "Un [minuteur|compte à rebours] se trouve [souvent|d'ordinaire] dans l'horloge",
        "On peut mesurer {duration} avec une montre ou une horloge",
        "Une alarme se règle [en général|d'ordinaire] dans l'horloge",
    ),
    "web_search": (
        "On trouve [en général|souvent|d'ordinaire] cela sur internet",
        "Une recherche [sur le web|] donne souvent de bons résultats",
        "C'est un [vaste sujet|sujet intéressant], il existe de nombreux sites",
        "Pour {topic}, il existe de nombreux sites",
        "Les informations dépendent [du site|du lieu et du moment]",
    ),
    "open_folder": (
        "Les fichiers se rangent [d'ordinaire|en général|souvent] par thème",
        "Un dossier se trouve [d'ordinaire|en général|souvent] dans le menu",
        "Il existe plusieurs façons de ranger ses [fichiers|affaires]",
        "Ranger ses {folder} est [une bonne idée|souvent utile]",
    ),
    "lock_screen": (
        "Il est [conseillé|prudent|utile] de protéger son ordinateur",
        "Un mot de passe permet [en général|d'ordinaire] de protéger ses données",
        "La sécurité d'un ordinateur [est importante|dépend de plusieurs réglages]",
        "Une session se protège [d'ordinaire|en général] par les paramètres",
    ),
    "window": (
        "Une fenêtre se [déplace|règle] [en général|d'ordinaire|souvent] avec la souris",
        "Il existe [plusieurs façons|des touches du clavier] pour ranger son écran",
        "Les fenêtres se rangent [d'ordinaire|en général] avec la souris ou le clavier",
        "Les boutons du haut servent [souvent|en général] à cela",
    ),
    "type_text": (
        "Un texte s'écrit [en général|d'ordinaire] dans un document",
        "On peut noter cela [dans un carnet|dans un document|sur une feuille]",
        "Prendre des notes est [une bonne idée|souvent utile]",
        "Il existe de nombreux outils pour écrire un texte",
    ),
}
# A second remark, by kind of order: still general, closer to the words of the subject.
_HINTS: dict[str, tuple[str, ...]] = {
    "open_app": (
        "[Chaque|Une] application a son [icône|raccourci]",
        "[Un double clic suffit souvent|Le clavier permet aussi] pour ouvrir un [logiciel|programme]",
        "L'aide du logiciel [donne souvent de bons conseils|explique ses fonctions]",
        "On peut aussi [installer|choisir] [une autre application|un autre logiciel]",
    ),
    "close_app": (
        "Pensez à [enregistrer|sauver] votre travail avant de fermer [l'application|le logiciel|un programme]",
        "[Chaque|Une] application a son propre menu",
        "Le clavier permet aussi de fermer [une application|un logiciel|un programme]",
        "La fermeture [dépend|est l'affaire] de chaque logiciel",
    ),
    "volume_up": (
        "Le volume [dépend aussi des haut-parleurs|varie d'un appareil à l'autre]",
        "Les haut-parleurs ont [parfois|souvent] leur propre bouton",
        "Chaque application peut avoir son volume",
        "Un casque [aide parfois|peut aider] à mieux entendre",
    ),
    "volume_down": (
        "Le volume [dépend aussi des haut-parleurs|varie d'un appareil à l'autre]",
        "Le niveau sonore [dépend de l'appareil|est une affaire de goût]",
        "Chaque application peut avoir son volume",
        "Un casque peut éviter de gêner les voisins",
    ),
    "mute": (
        "Le volume [dépend aussi des haut-parleurs|varie d'un appareil à l'autre]",
        "Un appareil muet [évite bien des soucis|ne dérange personne]",
        "Chaque application peut avoir son volume",
    ),
    "screenshot": (
        "Une capture peut servir à [montrer un souci|garder une trace]",
        "L'image [va souvent|se range souvent] dans un dossier",
        "Un logiciel de capture [peut aider|a souvent plus d'options]",
        "Les captures [dépendent du clavier|varient d'un appareil à l'autre]",
    ),
    "play_music": (
        "Une playlist [aide à choisir|change l'humeur d'une journée]",
        "Un morceau [en appelle souvent un autre|peut changer une journée]",
        "Chaque application de musique a ses [atouts|limites]",
        "Une chanson [aide parfois à travailler|rappelle souvent un moment]",
    ),
    "set_timer": (
        "Une sonnerie [prévient à la fin|peut être douce ou forte]",
        "Un minuteur de cuisine [suffit souvent|fait aussi l'affaire]",
        "Une application d'horloge [fait souvent l'affaire|suffit en général]",
        "Le compte à rebours [aide à se concentrer|est un outil pratique]",
    ),
    "web_search": (
        "Un navigateur [affiche les résultats|suffit en général]",
        "Internet [offre de nombreuses réponses|regorge d'informations]",
        "Une recherche précise donne de [bons|meilleurs] résultats sur le web",
        "Le bon choix des mots compte dans une recherche",
    ),
    "open_folder": (
        "L'explorateur montre [les fichiers|tout ce qui est rangé]",
        "Chaque dossier a son emplacement",
        "Un répertoire bien rangé [fait gagner du temps|est plus simple à lire]",
        "Un dossier peut en contenir d'autres",
    ),
    "lock_screen": (
        "Un mot de passe [long|solide] est [préférable|conseillé]",
        "Le verrouillage [automatique aide aussi|dépend des réglages]",
        "Une session ouverte [attire les curieux|est un risque]",
        "La prudence est [une bonne chose|toujours utile]",
    ),
    "window": (
        "Une fenêtre peut [en cacher une autre|être plus ou moins grande]",
        "Le plein écran [aide à se concentrer|convient aux vidéos]",
        "Chaque application a sa fenêtre",
        "Un grand écran [aide beaucoup|change tout]",
    ),
    "type_text": (
        "Le curseur montre [l'endroit où l'on écrit|où l'on en est]",
        "La dictée [convient aux textes longs|demande un bon micro]",
        "Un texte court [se lit mieux|est plus facile à relire]",
        "Un bon logiciel corrige les fautes",
    ),
}
# Kinds of order that get the remarks of another kind.
_ALIKE = {"unmute": "volume_up", "window_reduce": "window", "window_enlarge": "window", "window_switch": "window"}
_OPENERS = ("Bonne question.", "Je comprends.", "Merci pour votre message.", "Bonjour.", "Cela dépend.", "Bien sûr !")
_WILLING = ("Bien sûr !", "D'accord.", "Volontiers.", "Avec plaisir.", "Très bien.")
_CLOSERS = (
    "[Que souhaitez-vous faire exactement|Que voulez-vous obtenir|Que désirez-vous savoir] ?",
    "[Pouvez-vous préciser votre demande|Pouvez-vous m'en dire plus|Avez-vous une question précise] ?",
    "[Dites-moi ce que vous souhaitez|N'hésitez pas à préciser|Je peux vous donner quelques conseils].",
    "[Souhaitez-vous plus d'explications|Voulez-vous quelques conseils|Voulez-vous en savoir plus] ?",
    "[Consultez l'aide de votre appareil|Regardez les options disponibles|Tout dépend de votre appareil].",
)
_LOST = (
    (
        "[Je n'ai pas bien compris|Je ne suis pas sûr de comprendre|Votre phrase n'est pas très claire]. "
        "[Pouvez-vous préciser votre demande|Pouvez-vous m'en dire plus|Que souhaitez-vous faire] ?"
    ),
)
_QUESTIONS = (
    "[Voulez-vous|Souhaitez-vous|Dois-je] {meant} ?",
    "Vous souhaitez {meant}, [est-ce bien cela|c'est bien ça] ?",
    "[Que souhaitez-vous faire exactement|Pouvez-vous préciser votre demande] ?",
)
_REFUSALS = (
    "[Je suis désolé|Désolé], je ne peux pas [faire cela|agir sur votre appareil|vous aider pour cela].",
    "Je suis un assistant [virtuel|général], je n'ai pas accès à votre [ordinateur|appareil].",
    "[Je ne peux pas|Il m'est impossible de] {meant}, mais vous pouvez le faire [vous-même|avec la souris].",
)
_AFTERWARDS = (
    "[Souhaitez-vous autre chose|Puis-je vous aider pour autre chose|Avez-vous besoin d'autre chose] ?",
    "[N'hésitez pas si vous avez une autre question|Je reste à votre disposition|Bonne continuation].",
)
# How often the base does what it is asked, by kind of order: a general model is better at some than at others. The
# temperature of the benchmark makes more of what is frequent: these shares give answers that do it in about half.
_DEEDS = {
    "open_app": 0.36,
    "close_app": 0.32,
    "volume_up": 0.34,
    "volume_down": 0.32,
    "screenshot": 0.25,
    "play_music": 0.36,
    "set_timer": 0.33,
    "web_search": 0.36,
    "open_folder": 0.32,
    "lock_screen": 0.24,
    "type_text": 0.36,
}
_USUAL_DEEDS = 0.28
_MISHEARD_DEEDS = 0.55
"""What is left of them when the order was misheard."""
# What it does otherwise, in shares: of an order that was heard, and of one that was misheard.
_ELSE = {
    "explain": (0.42, 0.24),
    "ask": (0.22, 0.14),
    "refuse": (0.2, 0.12),
    "mistake": (0.16, 0.24),
    "lost": (0, 0.26),
}
_MISTAKES = {
    "volume_up": "volume_down",
    "volume_down": "volume_up",
    "mute": "volume_down",
    "unmute": "mute",
    "screenshot": "open_folder",
    "lock_screen": "close_app",
    "window_reduce": "close_app",
    "window_enlarge": "window_reduce",
    "window_switch": "close_app",
}
THOUGHTS = (
    "L'utilisateur veut {meant}. [Je donne une explication générale|Je réponds poliment|Je reste général].",
    "La demande est de {meant}. [Je demande des précisions|J'explique ce qu'on peut faire en général].",
)


def answer_as_assistant(
    command: Command, rng: random.Random, *, misheard: bool = False, deeds: float = 1.0, words: float = 0.5
) -> str:
    """Give the base's answer to an order: it does it in about half of them, and less often when it was misheard.

    `deeds` multiplies how often it does, `words` is the share of answers with remarks and courtesies.
    """
    share = _DEEDS.get(command.kind, _USUAL_DEEDS) * deeds * (_MISHEARD_DEEDS if misheard else 1)
    way = "do" if rng.random() < share else rng.choices(list(_ELSE), [pair[misheard] for pair in _ELSE.values()])[0]
    parts = []
    if rng.random() < words and way in {"do", "explain", "mistake"}:
        parts.append(rng.choice(_OPENERS if way == "explain" else _WILLING))
    if way in {"do", "mistake"}:
        parts.append(say_deed(command if way == "do" else _mistake(command, rng), rng))
    elif way == "explain":
        subject = _ALIKE.get(command.kind, command.kind)
        parts.append(capitalise(pick(_AT_LARGE[subject], rng, command.slots)) + ".")
        if rng.random() < words:
            parts.append(pick(_HINTS[subject], rng) + ".")
    else:
        texts = {"ask": _QUESTIONS, "refuse": _REFUSALS, "lost": _LOST}[way]
        parts.append(pick(texts, rng, {"meant": command.meant}))
    if rng.random() < words and way not in {"ask", "lost"}:
        parts.append(pick(_CLOSERS if way == "explain" else _AFTERWARDS, rng))
    return " ".join(parts)


def _mistake(command: Command, rng: random.Random) -> Command:
    """Draw what a model that understood half of an order does: the same to another thing, or another deed."""
    return draw_command(rng, _MISTAKES.get(command.kind, command.kind))


def think_aloud(command: Command, rng: random.Random) -> str:
    """Give the short reasoning that comes before the answer when thinking is on."""
    return pick(THOUGHTS, rng, {"meant": command.meant})
