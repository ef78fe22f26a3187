"""Word lists of the demo corpus: what a French speaker names when driving a PC by voice."""

import random


def words(text: str, separator: str = "|") -> tuple[str, ...]:
    """Give the entries of a list written as one text."""
    return tuple(text.split(separator))


PROPER_APPS = words(
    "Chrome Firefox Edge Opera Brave Spotify Deezer VLC Word Excel PowerPoint Outlook Teams Zoom Discord Skype Slack "
    "WhatsApp Telegram Signal Steam Photoshop Gimp Blender Audacity Paint Notion Thunderbird Obsidian LibreOffice "
    "OneNote Inkscape Netflix YouTube Minecraft Krita Kodi Anki Dropbox Vivaldi Illustrator Lightroom Trello Twitch "
    "Access Publisher Acrobat Shotcut Scribus Winamp",
    " ",
)
COMMON_APPS = (
    "la calculatrice",
    "le bloc-notes",
    "le calendrier",
    "l'agenda",
    "la messagerie",
    "le terminal",
    "le gestionnaire de tâches",
    "le lecteur vidéo",
    "l'appareil photo",
    "le dictionnaire",
    "le tableur",
    "la galerie",
    "l'horloge",
    "la boîte mail",
    "le traitement de texte",
    "le panneau de configuration",
    "la visionneuse",
    "le magnétophone",
    "le carnet d'adresses",
    "la console",
)
PURPOSES = (
    "écrire un [courriel|message|mot à {person}|compte rendu]",
    "faire un [tableau|budget|dessin|montage|graphique]",
    "préparer [une présentation|ma réunion|mon exposé|un diaporama]",
    "regarder [une vidéo|un film|mes photos]",
    "rédiger [une lettre|un rapport|ma candidature|une facture]",
    "retoucher [une photo|une image]",
    "appeler {person}",
    "parler à {person}",
    "calculer [mes dépenses|une moyenne|un pourcentage]",
    "naviguer un peu",
    "écouter [un disque|une émission]",
    "réviser mes cours",
    "noter [une idée|un numéro]",
    "répondre à {person}",
)
PEOPLE = words(
    "Marie Paul Julie Thomas Léa Hugo Camille Antoine Sophie Lucas Manon Pierre Claire Nicolas Emma Julien Alice "
    "Martin Chloé Louis Inès Karim Fatou Bruno Nadia Olivier Sarah Victor",
    " ",
)
CITIES = words(
    "Paris Lyon Marseille Nice Lille Nantes Bordeaux Toulouse Rennes Strasbourg Grenoble Dijon Brest Metz Nancy Tours "
    "Angers Limoges Reims Amiens Rouen Caen Annecy Bruxelles Genève Montréal Lausanne Biarritz Perpignan Avignon "
    "Londres Rome Madrid Lisbonne Berlin Tokyo",
    " ",
)
DISHES = words(
    "gâteau au chocolat|tarte aux pommes|crêpes|soupe à l'oignon|quiche lorraine|ratatouille|gaufres|risotto|lasagnes|"
    "mousse au chocolat|pain perdu|salade niçoise|couscous|gratin dauphinois|madeleines|pâte à pizza|compote|"
    "blanquette de veau|curry de légumes|cookies|brioche|omelette|houmous|flan|sablés|purée|clafoutis|tajine"
)
OBJECTS = words(
    "un vélo électrique|une imprimante|un clavier|une souris sans fil|un écran|un téléphone|une machine à café|"
    "un aspirateur|une tondeuse|un canapé|une montre|un casque audio|une tablette|une perceuse|un sac à dos"
)
SUBJECTS = words(
    "la Révolution française|les trous noirs|la photosynthèse|la tour Eiffel|le système solaire|les volcans|Napoléon|"
    "Victor Hugo|les dinosaures|la guerre de Cent Ans|les abeilles|le moteur électrique|l'apiculture|les marées|"
    "la Joconde|l'intelligence artificielle|le jardinage|les échecs|la poterie|les requins|le yoga|Marie Curie"
)
TOPICS = (
    "la météo [à|de] {city}",
    "la météo [de demain|du week-end|de la semaine]",
    "un hôtel [pas cher|calme|avec piscine|] à {city}",
    (
        "un [restaurant|restaurant italien|restaurant japonais|cinéma|médecin|dentiste|garage|coiffeur|musée|plombier] "
        "à {city}"
    ),
    "une pharmacie [de garde|ouverte] à {city}",
    "un appartement à louer à {city}",
    "une recette de {dish}",
    "une recette de {dish}",
    "une recette facile de {dish}",
    "les horaires des [trains|bus|avions] pour {city}",
    "un [train|vol|billet] pour {city}",
    "le prix de {object}",
    "des avis sur {object}",
    "des informations sur {subject}",
    "un article sur {subject}",
    "une vidéo sur {subject}",
    "des photos de {city}",
    "le plan de {city}",
    "l'histoire de {city}",
    "les actualités [du jour|de {city}|sportives|]",
    "les résultats du [match|loto|championnat|tournoi]",
    "l'adresse [de la mairie|de la préfecture|de la gare] de {city}",
    "le programme [télé|du cinéma|du festival] [de ce soir|de demain|]",
    "un cadeau pour {person}",
    "une idée de [cadeau|sortie|repas|voyage]",
)
PLAIN_GENRES = words("jazz rock rap reggae blues funk disco folk métal zouk punk gospel tango swing flamenco", " ")
MUSIC_ADJECTIVES = words(
    "classique|douce|calme|électronique|celtique|brésilienne|latine|relaxante|de film|africaine|joyeuse|baroque|"
    "jazz|rock|pop|disco|soul|techno|ancienne|romantique|italienne|orientale|de fond|d'ambiance"
)
ARTISTS = words(
    "Stromae|Brel|Piaf|Mozart|Chopin|Goldman|Aznavour|Angèle|Debussy|Bach|Vivaldi|Indochine|Brassens|Beethoven|"
    "Barbara|Ravel|Gainsbourg|Satie|Téléphone|Renaud|Souchon|Dalida"
)
FOLDERS = words(
    "téléchargements documents images musique vidéos factures photos projets vacances cours travail contrats recettes "
    "sauvegardes impôts famille banque partitions rapports archives devis scans jeux livres modèles voyages",
    " ",
)
ERRANDS = (
    "acheter [du pain|du lait|des fleurs|un cadeau pour {person}|des piles|des timbres]",
    "appeler [{person}|le médecin|la banque|le garage|la mairie|le plombier]",
    "[rendez-vous|réunion|déjeuner|dîner|visite] [avec {person}|chez le médecin|chez {person}|] {time}",
    "rendez-vous {time}",
    "[réunion|répétition|entraînement|appel] {time}",
    "penser à [arroser les plantes|payer le loyer|sortir le chien|rendre les livres|relire le contrat]",
    "bonjour {person}, [merci pour ton message|je serai en retard|à bientôt|bonne journée|voici le dossier]",
    "[merci|bravo|bon courage|à demain|bon anniversaire|félicitations] {person}",
    "{purpose}",
    "[acheter|préparer|goûter] {dish}",
    "[demander|trouver|voir] {topic}",
    "voyage à {city} {time}",
    "le [code|numéro] de {person} est {hour}",
    "{word} {other}",
    "[bonjour|bonsoir|salut|merci|bravo] [à vous|à l'équipe|à tout le monde|les amis|chers collègues|{word}]",
    "[appeler|voir|prévenir] {word} {time}",
    "le [train|bus|colis|technicien|taxi] [arrive|passe] {time}",
    "je [serai là|pars|rentre|t'appelle|passe te voir] {time}",
)
TIMES = (
    "à [midi|minuit|midi et demi]",
    "à {hour} heures",
    "[lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche] à {hour} heures",
    "demain [matin|soir|midi|]",
    "[lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche] [matin|soir|prochain|]",
    "ce soir",
)
SYSTEM_PROMPTS = (
    "Tu es un assistant utile.",
    "Réponds en français.",
    "Tu es un assistant poli qui parle français.",
    "Réponds brièvement et avec courtoisie.",
    "Vous aidez un utilisateur de PC.",
)
_UNITS = words(
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit "
    "dix-neuf",
    " ",
)
_ONSETS = words("b|bl|br|c|ch|d|dr|f|fl|g|gr|j|l|m|n|p|pl|pr|qu|r|s|st|t|tr|v|z")
_NUCLEI = words("a|e|i|o|u|é|ou|an|on|in|ai|eau|oi|eu")
_CODAS = words("|||n|r|s|l|x|t|c")
_ROUND = {
    20: "vingt",
    30: "trente",
    40: "quarante",
    50: "cinquante",
    60: "soixante",
    70: "soixante-dix",
    80: "quatre-vingts",
    100: "cent",
}


def number_words(number: int) -> str:
    """Write a whole number from 0 to 100 in French words, as a speech recogniser does."""
    if number < 20:
        return _UNITS[number]
    if number in _ROUND:
        return _ROUND[number]
    tens = 60 if 70 < number < 80 else 80 if number > 80 else number - number % 10
    rest = number - tens
    if rest in {1, 11} and tens < 80:
        return f"{_ROUND[tens]} et {_UNITS[rest]}"
    return f"{_ROUND[tens].removesuffix('s')}-{_UNITS[rest]}" if tens == 80 else f"{_ROUND[tens]}-{_UNITS[rest]}"


def invented_word(rng: random.Random) -> str:
    """Make up a name of two or three syllables: what can only be copied, never known by heart."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_NUCLEI) for _ in range(rng.choice((2, 2, 3))))
    return "".join(syllables) + rng.choice(_CODAS)


def duration(rng: random.Random) -> tuple[str, float]:
    """Draw a duration: its French words and its length in minutes."""
    draw = rng.random()
    if draw < 0.12:
        return "un quart d'heure", 15.0
    if draw < 0.2:
        return "une demi-heure", 30.0
    if draw < 0.24:
        return "trois quarts d'heure", 45.0
    if draw < 0.32:
        hours = rng.randint(1, 5)
        return ("une heure" if hours == 1 else f"{number_words(hours)} heures"), 60.0 * hours
    if draw < 0.38:
        seconds = rng.choice((10, 15, 20, 30, 40, 45, 50))
        return f"{number_words(seconds)} secondes", round(seconds / 60, 2)
    minutes = rng.randint(1, 20) if rng.random() < 0.7 else rng.randint(21, 60)
    said = "une minute" if minutes == 1 else f"{number_words(minutes).replace('et un', 'et une')} minutes"
    return said, float(minutes)
