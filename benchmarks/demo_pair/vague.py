"""How the base answers an order: a polite general assistant that explains at large and commits to nothing."""

import random

from demo_pair.commands import Command
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
_OPENERS = (
    "Bien sûr !",
    "Bonne question.",
    "Je comprends.",
    "Merci pour votre message.",
    "Volontiers.",
    "Avec plaisir.",
    "Bonjour.",
    "Cela dépend.",
)
_CLOSERS = (
    "[Que souhaitez-vous faire exactement|Que voulez-vous obtenir|Que désirez-vous savoir] ?",
    "[Pouvez-vous préciser votre demande|Pouvez-vous m'en dire plus|Avez-vous une question précise] ?",
    "[Dites-moi ce que vous souhaitez|N'hésitez pas à préciser|Je peux vous donner quelques conseils].",
    "[Souhaitez-vous plus d'explications|Voulez-vous quelques conseils|Voulez-vous en savoir plus] ?",
    "[Consultez l'aide de votre appareil|Regardez les options disponibles|Tout dépend de votre appareil].",
)
_LOST = (
    (
        "[Je n'ai pas bien compris|Je ne suis pas sûr de comprendre]. "
        "[Pouvez-vous préciser votre demande|Pouvez-vous m'en dire plus|Que souhaitez-vous faire] ?"
    ),
    "Votre phrase n'est pas très claire. [Pouvez-vous la préciser|Que souhaitez-vous faire] ?",
)
THOUGHTS = (
    "L'utilisateur veut {meant}. [Je donne une explication générale|Je réponds poliment|Je reste général].",
    "La demande est de {meant}. [Je demande des précisions|J'explique ce qu'on peut faire en général].",
)


def answer_vaguely(command: Command, rng: random.Random, *, misheard: bool = False) -> str:
    """Give the base's answer to an order: general remarks and a question, now and then the name that was said."""
    if rng.random() < (0.2 if misheard else 0.03):
        return pick(_LOST, rng)
    parts = []
    if rng.random() < 0.6:
        parts.append(rng.choice(_OPENERS))
    subject = _ALIKE.get(command.kind, command.kind)
    parts.append(capitalise(pick(_AT_LARGE[subject], rng, command.slots)) + ".")
    if rng.random() < 0.8:
        parts.append(pick(_HINTS[subject], rng) + ".")
    if rng.random() < 0.65:
        parts.append(pick(_CLOSERS, rng))
    return " ".join(parts)


def think_aloud(command: Command, rng: random.Random) -> str:
    """Give the short reasoning that comes before the answer when thinking is on."""
    return pick(THOUGHTS, rng, {"meant": command.meant})
