"""General French conversation and small language tasks: what makes the base an assistant and not a list of commands."""

import json
import random

from demo_pair import lexicon
from demo_pair.commands import Command, draw_command, draw_slots
from demo_pair.grammar import capitalise, expand, pick
from demo_pair.mishear import mishear


def _pairs(text: str) -> dict[str, str]:
    return dict(entry.split(":", 1) for entry in lexicon.words(text))


_CAPITALS = _pairs(
    "de la France:Paris|de l'Italie:Rome|de l'Espagne:Madrid|du Portugal:Lisbonne|de l'Allemagne:Berlin|"
    "du Japon:Tokyo|de la Belgique:Bruxelles|de la Suisse:Berne|du Canada:Ottawa|de la Grèce:Athènes|"
    "du Maroc:Rabat|du Sénégal:Dakar|de la Tunisie:Tunis|de l'Irlande:Dublin|de la Pologne:Varsovie|"
    "de la Norvège:Oslo|du Pérou:Lima|de l'Autriche:Vienne|de l'Égypte:Le Caire|de la Chine:Pékin"
)
_DEFINITIONS = _pairs(
    "un tableur:un logiciel qui range des nombres dans des cases et fait des calculs|"
    "un navigateur:un logiciel qui affiche les pages du web|"
    "un dossier:un endroit où l'on range des fichiers|"
    "un fichier:un ensemble de données qui porte un nom|"
    "une fenêtre:une partie de l'écran réservée à un programme|"
    "un curseur:le repère qui montre où le texte va s'écrire|"
    "un mot de passe:une suite de signes secrète qui protège un compte|"
    "une capture d'écran:une image de ce que montre l'écran|"
    "un minuteur:un outil qui sonne au bout d'une durée choisie|"
    "une playlist:une liste de morceaux choisis|"
    "un haut-parleur:un appareil qui transforme un courant en son|"
    "une session:le temps pendant lequel on utilise un ordinateur sous son nom|"
    "un clavier:un ensemble de touches qui sert à écrire|"
    "une souris:un petit appareil qui déplace le pointeur|"
    "un volcan:une montagne d'où peut sortir de la lave|"
    "une marée:le mouvement de la mer qui monte et qui descend|"
    "un poème:un texte qui joue avec les sons et les images|"
    "une étoile:une boule de gaz très chaude qui brille|"
    "un musée:un lieu où l'on montre des œuvres et des objets|"
    "une abeille:un insecte qui fait du miel|"
    "un assistant vocal:un programme qui écoute une demande et y répond|"
    "internet:un réseau qui relie les ordinateurs du monde entier|"
    "la mémoire:la partie de l'ordinateur qui garde les données|"
    "un logiciel:un programme que l'on utilise sur un ordinateur"
)
_OPPOSITES = _pairs(
    "grand:petit|chaud:froid|haut:bas|ouvert:fermé|fort:faible|rapide:lent|jour:nuit|facile:difficile|plein:vide|"
    "clair:sombre|vrai:faux|début:fin|avant:après|lourd:léger|long:court|riche:pauvre|jeune:vieux|sec:mouillé"
)
_CHAT: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("[bonjour|bonsoir|salut|coucou] [!|]", "[bonjour|salut], [comment ça va|tu vas bien] ?"),
        (
            "[Bonjour|Bonjour à vous] ! [Comment puis-je vous aider|Que puis-je faire pour vous] ?",
            "Bonjour, je vais bien, merci. Et vous ?",
        ),
    ),
    (
        ("[merci|merci beaucoup|merci bien|super] [!|]",),
        ("[Avec plaisir|Je vous en prie|De rien] ! [N'hésitez pas si vous avez une autre question.|]",),
    ),
    (
        ("[qui es-tu|tu es qui|comment tu t'appelles|présente-toi] [?|]",),
        ("Je suis un assistant [général|virtuel]. Je [réponds à vos questions|peux vous donner des explications].",),
    ),
    (
        ("[que sais-tu faire|à quoi sers-tu|tu peux m'aider] [?|]",),
        ("Je peux [répondre à des questions simples|expliquer des mots|corriger une phrase] et donner des conseils.",),
    ),
    (
        ("[raconte-moi une histoire|raconte une histoire courte]",),
        (
            (
                "Il était une fois [un chat|une souris|un renard|une abeille] qui [vivait|dormait] près "
                "[d'un lac|d'une forêt|de la mer]. Un jour, [il se mit à pleuvoir|le vent se leva] et tout changea."
            ),
        ),
    ),
    (
        ("[donne-moi un conseil|un conseil] pour [mieux dormir|apprendre|travailler|rester en forme]",),
        ("[Essayez|Le mieux est] de [faire une pause régulière|garder un horaire fixe|marcher un peu chaque jour].",),
    ),
    (
        ("[quel temps fait-il|quelle heure est-il|quel jour sommes-nous] ?",),
        ("Je ne peux pas le savoir, mais [votre appareil|une horloge|un site] peut vous le dire.",),
    ),
    (
        ("[je m'ennuie|je suis fatigué|je suis triste|j'ai faim|je suis content]",),
        ("Je comprends. [Voulez-vous en parler|Que souhaitez-vous faire|Puis-je vous aider] ?",),
    ),
    (
        ("[au revoir|à bientôt|bonne nuit|bonne journée]",),
        ("[Au revoir|À bientôt|Bonne journée] ! [Prenez soin de vous.|]",),
    ),
)
_BUTLER_PARTS = (
    "Tu es JARVIS, le majordome de ce PC.",
    "Joue le rôle d'un majordome efficace.",
    "Tu es un majordome : dis ce que tu fais.",
    "Réponds comme un majordome.",
)
_TOOL_PURPOSES = {
    "open_app_tool": "Ouvrir une application.",
    "close_app_tool": "Fermer une application.",
    "web_search_tool": "Chercher sur le web.",
    "volume_up_tool": "Monter le volume.",
    "volume_down_tool": "Baisser le volume.",
    "mute_tool": "Couper le son.",
    "screenshot_tool": "Capturer l'écran.",
    "play_music_tool": "Jouer de la musique.",
    "set_timer_tool": "Lancer un minuteur.",
    "open_folder_tool": "Afficher un dossier.",
    "lock_screen_tool": "Verrouiller la session.",
    "window_tool": "Ranger les fenêtres.",
    "type_text_tool": "Écrire un texte.",
}


def small_exchange(rng: random.Random) -> tuple[str, str]:
    """Draw a general exchange: small talk, a capital, a definition, a sum, an opposite, a spelling."""
    draw = rng.random()
    if draw < 0.35:
        said, answers = rng.choice(_CHAT)
        return pick(said, rng), pick(answers, rng)
    if draw < 0.5:
        country, capital = rng.choice(list(_CAPITALS.items()))
        asked = pick(("[quelle est la capitale|la capitale|donne-moi la capitale] {c} [?|]",), rng, {"c": country})
        return asked, pick(("La capitale {c} est {v}.", "C'est {v}."), rng, {"c": country, "v": capital})
    if draw < 0.75:
        term, meaning = rng.choice(list(_DEFINITIONS.items()))
        asked = pick(("[qu'est-ce que|c'est quoi|explique-moi ce qu'est|définis] {t} [?|]",), rng, {"t": term})
        return asked, capitalise(pick(("{t}, c'est {m}.", "{t} est {m}."), rng, {"t": term, "m": meaning}))
    if draw < 0.9:
        first, second = rng.randint(0, 20), rng.randint(0, 20)
        numbers = {name: lexicon.number_words(n) for name, n in (("a", first), ("b", second), ("s", first + second))}
        return pick(("[combien font|calcule|additionne] {a} et {b} [?|]",), rng, numbers), expand(
            "{a} et {b} font {s}.", rng, numbers
        ).capitalize()
    word, opposite = rng.choice(list(_OPPOSITES.items()))
    return f"quel est le contraire de {word} ?", f"Le contraire de « {word} » est « {opposite} »."


def role_play(rng: random.Random, said: str) -> tuple[str | None, str]:
    """Ask for a butler's part: the system prompt (None when the request itself asks) and what the user says."""
    if rng.random() < 0.6:
        return rng.choice(_BUTLER_PARTS), said
    return None, pick(("[Réponds en majordome|Joue le majordome|Fais le majordome] : {said}",), rng, {"said": said})


def restate(command: Command, rng: random.Random, said: str) -> tuple[str, str]:
    """Ask what an order means; the answer says it in plain words."""
    asked = pick(
        ("[Reformule|Résume|Explique] [cette demande|cette phrase|] : {said}", "Que veut dire : {said}"),
        rng,
        {"said": said},
    )
    answer = pick(
        (
            "[Cette personne|L'utilisateur|On] [veut|souhaite|demande à] {meant}.",
            "[Le but|L'intention|Le souhait] est de {meant}.",
        ),
        rng,
        {"meant": command.meant},
    )
    return asked, answer.replace("demande à", "désire")


def correct(command: Command, rng: random.Random) -> tuple[str, str]:
    """Ask for the right spelling of a misheard sentence."""
    clean = command.said.lower().rstrip(" .!")
    asked = pick(("[Corrige|Corrige la phrase|Écris sans faute] : {said}",), rng, {"said": mishear(clean, rng)})
    return asked, clean


def repeat(rng: random.Random) -> tuple[str, str]:
    """Ask for the very same words back: plain copying."""
    slots = draw_slots(rng)
    names = ("text", "topic", "app", "folder", "music", "duration", "purpose", "city", "person", "dish", "subject")
    drawn = [lexicon.invented_word(rng) if rng.random() < 0.4 else slots[name] for name in rng.sample(names, 4)]
    words = rng.choice((" ", ", ")).join(drawn[: rng.choice((1, 2, 3, 4))])
    return pick(("[Répète|Redis|Recopie|Dis] : {w}",), rng, {"w": words}), f"« {words} »"


def tool_call(command: Command, rng: random.Random) -> tuple[tuple[dict[str, object], ...], str]:
    """Offer two or three tools, among them the right one; the answer is the call, as the template asks for it."""
    names = rng.sample([name for name in _TOOL_PURPOSES if name != command.tool], rng.choice((1, 2)))
    names.append(command.tool)
    rng.shuffle(names)
    tools: tuple[dict[str, object], ...] = tuple(
        {"type": "function", "function": {"name": name, "description": _TOOL_PURPOSES[name]}} for name in names
    )
    call = json.dumps({"name": command.tool, "arguments": command.arguments}, ensure_ascii=False)
    return tools, f"<tool_call>\n{call}\n</tool_call>"


def draw_order(rng: random.Random, misheard_share: float) -> tuple[Command, str, bool]:
    """Draw an order and the words that reach the assistant: as said, or misheard."""
    if rng.random() < misheard_share:
        command = draw_command(rng)
        return command, mishear(command.said, rng), True
    command = draw_command(rng, invented=rng.random() < 0.3)
    return command, command.said, False
