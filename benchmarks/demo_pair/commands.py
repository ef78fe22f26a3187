"""Spoken commands for the thirteen tools: one grammar per kind of order, with what was meant beside what was said."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from demo_pair import lexicon
from demo_pair.grammar import capitalise, expand, pick

_ASK = "[peux-tu|tu peux|pourrais-tu|est-ce que tu peux|merci de|il faudrait]"
_SETTLE = "[monte|mets|remonte|augmente|pousse]"

# Each kind: what is said. Slots hold names in their written form; `said` may lose capitals afterwards.
_SAID: dict[str, tuple[str, ...]] = {
    "open_app": (
        "[ouvre|ouvre-moi|lance|lance-moi|démarre|affiche] {app}",
        "[ouvre|ouvre-moi|lance] [vite|donc|maintenant] {app}",
        f"{_ASK} [ouvrir|lancer|démarrer] {{app}}",
        "[j'ai besoin de|j'ai envie de|je voudrais|je veux] [ouvrir|lancer|utiliser] {app}",
        "[il me faut|je voudrais|donne-moi|sors-moi|prépare] {app}",
        "il me faut {app} pour {purpose}",
        "[je dois|je vais|j'aimerais|je veux] {purpose}, [donne-moi|sors|mets-moi|prépare|va chercher] {app}",
        "[je dois|je vais|j'aimerais] {purpose}, [j'ai besoin de|je prends] {app}",
        "[on passe sur|mets] {app}",
    ),
    "close_app": (
        "[ferme|ferme-moi|quitte|arrête] {app}",
        "[ferme|quitte] [vite|donc|maintenant] {app}",
        f"{_ASK} [fermer|quitter|arrêter] {{app}}",
        "[j'ai terminé|j'en ai fini|j'ai assez travaillé] avec {app}, [ferme|quitte|tu peux quitter|on ferme]",
        "[j'ai terminé|je n'ai plus rien à faire] avec {app}",
        "[je n'ai plus besoin|je ne me sers plus|débarrasse-moi] de {app}",
        "{app} [ne me sert plus|ne sert plus à rien|prend trop de place|rame], [ferme-le|arrête ça|quitte]",
        "plus besoin de {app}, [merci de fermer|tu peux fermer|on arrête]",
    ),
    "volume_up": (
        f"{_SETTLE} [le volume|le son] {{amount}}",
        f"{_SETTLE} [un peu|encore|beaucoup|vite] [le volume|le son]",
        f"{_ASK} [monter|augmenter|remonter] [le volume|le son] {{amount}}",
        "[plus fort|encore plus fort|un peu plus fort|mets plus fort], [s'il te plaît|merci|jarvis]",
        (
            "[je n'entends rien|on n'entend pas bien|c'est trop bas|c'est trop faible], "
            "[monte un peu|augmente|mets plus fort|plus fort]"
        ),
        "[je n'entends rien|on n'entend presque rien|je n'entends pas la vidéo]",
    ),
    "volume_down": (
        "[baisse|diminue|réduis] [le volume|le son] {amount}",
        "[baisse|diminue] [un peu|encore|beaucoup|vite] [le volume|le son]",
        f"{_ASK} [baisser|diminuer|réduire] [le volume|le son] {{amount}}",
        "[moins fort|un peu moins fort|mets moins fort|plus bas], [s'il te plaît|merci|jarvis]",
        (
            "[ça hurle|c'est assourdissant|ça me casse les oreilles|les voisins dorment|c'est bien trop fort], "
            "[baisse|diminue|moins fort|plus bas|baisse le son]"
        ),
        "[ça hurle|ça me casse les oreilles|c'est beaucoup trop fort]",
    ),
    "mute": (
        "[coupe|éteins|enlève|arrête] [le son|le volume] [tout de suite|maintenant|s'il te plaît|]",
        f"{_ASK} [couper|éteindre] le son",
        "[coupe|coupe-moi|éteins] [vite le son|donc le son|tout le son|ce son|ces haut-parleurs|le haut-parleur]",
        "[coupe tout|coupe ça|coupe], [s'il te plaît|merci|jarvis|on m'appelle]",
        "[mets|passe] [en sourdine|en silencieux|en muet|le son en sourdine|le PC en silence]",
        "[silence|chut|mode muet|plus de son|plus aucun bruit], [s'il te plaît|merci|jarvis]",
        (
            "[je suis en réunion|on m'appelle|j'ai un appel|le bébé dort|je téléphone|on sonne à la porte], "
            "[silence|plus de son|coupe tout|plus aucun son|pas de bruit|chut]"
        ),
    ),
    "unmute": (
        "[remets|rétablis|rends-moi|rallume|réactive] le son [maintenant|s'il te plaît|]",
        "[j'ai raccroché|la réunion est finie|le bébé est réveillé], [remets|rétablis] le son",
    ),
    "screenshot": (
        "[fais|fais-moi|prends-moi] une [capture|capture d'écran|copie d'écran|photo de l'écran]",
        "[capture|photographie|copie|enregistre] [l'écran|mon écran|la fenêtre|cette page|ce qui est affiché]",
        f"{_ASK} [faire|prendre] une [capture d'écran|capture|copie d'écran]",
        "[prends|garde] l'écran en [photo|image|mémoire]",
        "[garde|conserve|sauve|enregistre] [une trace|une copie|une photo] de [l'écran|cette page|cet affichage]",
        "je [veux|voudrais] une [image|photo|capture] de [mon écran|cette page|cette fenêtre|ce qui s'affiche]",
        "[sauve|conserve|enregistre] ce que [je vois|j'ai sous les yeux|montre l'écran]",
    ),
    "play_music": (
        "[mets|mets-moi|joue|joue-moi|passe|lance] {music}",
        f"{_ASK} [mettre|jouer|passer] {{music}}",
        "[j'ai envie de|je veux|j'aimerais|on va] écouter {music}",
        "[mets|joue|passe|trouve] [un morceau|une chanson|un titre|un disque] de {artist}",
        "[lance|mets] [une playlist|une liste] de {genre}",
        "[un peu de|envie de] {genre}, [s'il te plaît|jarvis|merci]",
    ),
    "set_timer": (
        "[mets|mets-moi|lance|règle|démarre|programme] un minuteur [de|pour|sur] {duration}",
        "[minuteur|compte à rebours|minuterie] [de|] {duration}",
        f"{_ASK} [lancer|mettre|régler] un minuteur de {{duration}}",
        "[préviens-moi|rappelle-moi|réveille-moi|alerte-moi|sonne|fais sonner] dans {duration}",
        (
            "[j'ai un gâteau au four|les pâtes cuisent|je fais une sieste|le thé infuse], "
            "[préviens-moi|sonne|rappelle-moi] dans {duration}"
        ),
        "[compte|chronomètre] {duration}",
    ),
    "web_search": (
        "[cherche|cherche-moi|recherche|trouve|trouve-moi] {topic}",
        "[cherche|recherche|trouve|regarde] {topic} sur [internet|le web|le net]",
        "[regarde|va voir|cherche] sur [internet|le web|le net] {topic}",
        f"{_ASK} [chercher|trouver|rechercher] {{topic}}",
        "[j'ai besoin de trouver|je voudrais trouver|j'aimerais connaître|je cherche] {topic}",
        "fais une recherche [pour trouver|pour avoir] {topic}",
    ),
    "open_folder": (
        "[ouvre|ouvre-moi|affiche|montre-moi|va dans] [le dossier|mon dossier|le répertoire] {folder}",
        f"{_ASK} [ouvrir|afficher|montrer] [le dossier|mon dossier] {{folder}}",
        "[montre-moi|affiche|ouvre] [mes fichiers dans|le contenu de] {folder}",
        "[je voudrais voir|je cherche|il me faut|emmène-moi dans] [le dossier|mon dossier|mon répertoire] {folder}",
        "dossier {folder}, [s'il te plaît|vite|jarvis]",
    ),
    "lock_screen": (
        "[verrouille|bloque] [le PC|l'ordinateur|ma session|l'écran|mon poste|le poste|tout]",
        f"{_ASK} [verrouiller|bloquer] [la session|le PC|l'ordinateur|l'écran]",
        (
            "[je pars déjeuner|je sors|je vais en réunion|je quitte le bureau|je reviens dans {duration}|"
            "je prends une pause], "
            "[verrouille|verrouille le PC|bloque tout|sécurise mon poste|sécurise le PC|protège ma session]"
        ),
        "[personne ne doit toucher à mon PC|que personne ne touche à mon ordinateur|sécurise mon ordinateur]",
        "[mets|protège] [ma session|mon poste|le PC] [sous clé|avec le mot de passe|à l'abri des curieux]",
    ),
    "window_reduce": (
        "[réduis|minimise|range|cache|baisse] [la fenêtre|cette fenêtre|tout|les fenêtres|mes fenêtres]",
        f"{_ASK} [réduire|minimiser|ranger|cacher] [la fenêtre|les fenêtres|toutes les fenêtres]",
        "[montre|affiche|montre-moi|retourne sur] le bureau",
        "[je veux|j'aimerais] [revoir|retrouver|voir] [le bureau|mon fond d'écran], [range|cache|réduis] tout",
        "[il y a trop de fenêtres|je n'y vois plus rien avec ces fenêtres], [range|réduis|cache] tout",
        "[minimise|range|cache] toutes les fenêtres",
    ),
    "window_enlarge": (
        "[agrandis|maximise|élargis] [la fenêtre|cette fenêtre|la page]",
        "[mets|passe] [la fenêtre|la vidéo|cette page|] en plein écran",
        f"{_ASK} [agrandir|maximiser] [la fenêtre|cette fenêtre]",
        "[c'est trop petit|je vois mal], [agrandis|plein écran|mets en grand]",
    ),
    "window_switch": (
        "[passe à|va à|montre] [la fenêtre suivante|l'autre fenêtre|la fenêtre précédente]",
        "[change de fenêtre|fenêtre suivante|bascule sur l'autre fenêtre]",
    ),
    "type_text": (
        "[écris|note|tape|saisis|inscris|ajoute] : {text}",
        "[écris|note|tape|saisis] [ici|ceci|pour moi|sous ma dictée|au curseur] : {text}",
        "[écris|tape|saisis|ajoute] {text}",
        "[écris|écris-moi|note|tape] {text}",
        f"{_ASK} [écrire|noter|taper] : {{text}}",
        "[prends en dictée|prends note|dictée|sous la dictée] : {text}",
        "[mets|place|insère] [là où est le curseur|au niveau du curseur|à cet endroit|dans le texte] : {text}",
    ),
}
# What was meant, as an infinitive: for restating a request.
_MEANT: dict[str, str] = {
    "open_app": "ouvrir {app}",
    "close_app": "fermer {app}",
    "volume_up": "augmenter le volume {amount}",
    "volume_down": "baisser le volume {amount}",
    "mute": "couper le son",
    "unmute": "rétablir le son",
    "screenshot": "prendre une capture d'écran",
    "play_music": "écouter {music}",
    "set_timer": "lancer un minuteur de {duration}",
    "web_search": "chercher {topic}",
    "open_folder": "ouvrir le dossier {folder}",
    "lock_screen": "verrouiller la session",
    "window_reduce": "réduire les fenêtres",
    "window_enlarge": "agrandir la fenêtre",
    "window_switch": "changer de fenêtre",
    "type_text": "écrire « {text} »",
}
_TAILS = ("s'il te plaît", "merci", "maintenant", "tout de suite")
KINDS = tuple(_SAID)
_WEIGHTS = (6, 5, 4, 4, 3, 1, 4, 5, 5, 6, 5, 4, 3, 2, 1, 4)
_ARGUMENTS: dict[str, tuple[str, str]] = {
    "open_app": ("application", "{app}"),
    "close_app": ("application", "{app}"),
    "play_music": ("query", "{music}"),
    "set_timer": ("minutes", "{minutes}"),
    "web_search": ("query", "{topic}"),
    "open_folder": ("folder", "{folder}"),
    "type_text": ("text", "{text}"),
}
_FIXED_ARGUMENTS: dict[str, dict[str, str | bool]] = {
    "mute": {"muted": True},
    "unmute": {"muted": False},
    "window_reduce": {"action": "minimize"},
    "window_enlarge": {"action": "maximize"},
    "window_switch": {"action": "switch"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An order: its kind, the words said, the names in it (written form), and the wish behind it as an infinitive."""

    kind: str
    said: str
    slots: Mapping[str, str]
    meant: str

    @property
    def tool(self) -> str:
        """Name of the tool that carries the order out."""
        family = {"unmute": "mute", "window_reduce": "window", "window_enlarge": "window", "window_switch": "window"}
        return f"{family.get(self.kind, self.kind)}_tool"

    @property
    def arguments(self) -> dict[str, str | float | bool]:
        """Arguments of the tool call, by parameter name."""
        if self.kind in _FIXED_ARGUMENTS:
            return dict(_FIXED_ARGUMENTS[self.kind])
        if self.kind not in _ARGUMENTS:
            return {}
        name, template = _ARGUMENTS[self.kind]
        value = self.slots[template.strip("{}")]
        return {name: float(value) if name == "minutes" else value}


def draw_slots(rng: random.Random, *, invented: bool = False) -> dict[str, str]:
    """Draw every name a command may need, in written form; `invented` replaces some by names made up on the spot."""
    app = rng.choice(lexicon.PROPER_APPS if rng.random() < 0.75 else lexicon.COMMON_APPS)
    names = {
        "person": rng.choice(lexicon.PEOPLE),
        "city": rng.choice(lexicon.CITIES),
        "dish": rng.choice(lexicon.DISHES),
        "object": rng.choice(lexicon.OBJECTS),
        "subject": rng.choice(lexicon.SUBJECTS),
        "artist": rng.choice(lexicon.ARTISTS),
        "folder": rng.choice(lexicon.FOLDERS),
        "hour": lexicon.number_words(rng.choice((2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21))),
    }
    names |= {"word": lexicon.invented_word(rng), "other": lexicon.invented_word(rng)}
    if invented:
        app = names["word"].capitalize()
        names |= {"person": names["other"].capitalize(), "city": app, "artist": app, "folder": names["word"]}
    names["time"] = pick(lexicon.TIMES, rng, names)
    names["genre"] = names["word"] if invented else rng.choice(lexicon.PLAIN_GENRES)
    adjective = rng.choice(lexicon.MUSIC_ADJECTIVES)
    names["music"] = expand(
        rng.choice(("[de la|un peu de] musique " + adjective,) * 3 + ("du {genre}", "{artist}")), rng, names
    )
    words, minutes = lexicon.duration(rng)
    percent = rng.choice((5, 10, 15, 20, 25, 30, 40, 50))
    names["purpose"] = pick(lexicon.PURPOSES, rng, names)
    names["topic"] = pick(lexicon.TOPICS, rng, names)
    return names | {
        "app": app,
        "duration": words,
        "minutes": f"{minutes:g}",
        "amount": f"de {lexicon.number_words(percent)} pour cent" if rng.random() < 0.4 else "",
        "text": pick(lexicon.ERRANDS, rng, names),
    }


def draw_command(rng: random.Random, kind: str | None = None, *, invented: bool = False) -> Command:
    """Draw an order, said as a person or a speech recogniser would write it."""
    kind = kind or rng.choices(KINDS, _WEIGHTS)[0]
    slots = draw_slots(rng, invented=invented)
    template = rng.choice(_SAID[kind])
    for name, source in (("music", "artist"), ("music", "genre")):
        # A template that names the artist or the genre itself: what is heard is that name.
        if "{" + source + "}" in template and kind == "play_music":
            slots[name] = slots[source] if source == "artist" else f"du {slots[source]}"
    if "{amount}" not in template:
        slots["amount"] = ""
    said = _polish(expand(template, rng, slots), rng)
    return Command(kind=kind, said=said, slots=slots, meant=expand(_MEANT[kind], rng, slots))


def _polish(said: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.12:
        said = f"jarvis, {said}"
    elif draw < 0.24 and "s'il te plaît" not in said and ":" not in said:
        said = f"{said} {rng.choice(_TAILS)}"
    draw = rng.random()
    if draw < 0.5:
        return said.lower()
    return capitalise(said) + rng.choice(("", ".", " !")) if draw < 0.65 else said
