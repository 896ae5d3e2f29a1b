"""Which language an issue is written in: by its script, and for Latin script by the small words of every sentence.

A wrong guess suppresses the guess of an issue's type, so English is never to be called foreign: where the words of
two languages, or too few of any, are found, nothing is said. The profiles were written for this module.
"""
# ruff: noqa: RUF001  the dotless i is Turkish

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

READ_CHARS: Final = 4000
"""Characters that are looked at; more would not make surer."""
EVIDENCE_MIN: Final = 1.7
"""Small words, each counted by how few languages share it, below which a text is too short to tell."""
DISTINCT_MIN: Final = 2
"""Different small words of the language that a text must hold."""
SHARE_MIN: Final = 0.08
"""Of a text's words that must be small words of the language: else it is names and code."""
LEAD_MIN: Final = 1.8
"""How many times more evidence than any other language the language must have; English is its own rival."""
SCRIPT_SHARE_MIN: Final = 0.4
"""Of a text's letters that must be of a script for its language."""
_COMMON_MIN: Final = 3
"""Letters of a script below which nothing is told."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language's ISO 639-1 code and how sure it is, above 0 and below 1."""

    code: str
    confidence: float


_PROFILES: Final = {
    "en": (
        "the of and to is in it that for not with this on be are as i you have has had but if when from or an "
        "can will "
        "would should by at was were which there what how do does did don' doesn' isn' can' won' it' i' we they "
        "my your "
        "our their them its also than then so no any all some only after before because into about just like "
        "using use "
        "used been being could may might must these those here where who why more most other such very while "
        "without "
        "within between during both each same get got make made want need see add please way work works working "
        "set new"
    ),
    "de": (
        "der das und ist nicht ein eine einen einem einer ich es sie wir ihr mit auf für von dem des zu zum zur "
        "im beim "
        "sich auch nach bei aus wenn dass daß oder wie noch nur kann kein keine keinen wird werden wurde wurden "
        "sind "
        "habe haben hatte hätte wäre sein seit über unter zwischen durch gibt es aber dann hier dort jetzt "
        "schon immer "
        "mehr sehr alle alles diese dieser dieses diesen mir mich uns bitte danke hallo leider funktioniert "
        "möglich "
        "möchte könnte sollte müsste muss soll würde eigentlich dafür dazu damit dabei daher weil ob wo wann "
        "warum "
        "vom ohne gegen bereits wieder etwas mal vielen nichts beide neue neuen neuer fehler fehlt heute er du "
        "man dein deinem "
        "dem trotzdem zwar seite anzeige anzeigen fehlermeldung fehlerhaft hinzufügen einstellungen einstellung "
        "funktion "
        "funktionieren geht lassen lässt möglichkeit angezeigt anwendung benutzer ändern"
    ),
    "fr": (
        "le les des une est pas dans que qui sur avec au aux ce cette ces cet il elle ils je nous vous ne se sont "
        "mais où donc mon mes votre vos notre nos leur leurs comme tout tous toute toutes faire fait être avoir "
        "été "
        "lors lorsque quand même sans bien peut très aussi depuis chez après avant entre l' d' j' n' c' qu' s' "
        "m' ai "
        "cela ça était sera serait peu plusieurs pourrait faut fois afin alors actuellement bonjour merci "
        "problème "
        "lorsqu' puis car ici déjà encore toujours jamais moins rien quelque quelques autre autres du un la de "
        "et pour "
        "sous vers dont ainsi soit pouvoir voir erreur et ou ajouter ajout supprimer modifier afficher affiche "
        "affichage "
        "fonctionne fonctionner fonctionnement mettre mise créer corriger utilisateur utilisateurs semble"
    ),
    "es": (
        "el los las una que en con por para como más pero sus este esta esto estos estas ese esa eso está están "
        "son ser hay cuando donde muy sin sobre también entre hasta desde porque qué cómo cuál puede pueden "
        "puedo tengo "
        "tiene hace hacer hola gracias al del lo le se su yo nos mi ya así si sólo solo todos todas todo cada "
        "otro otra "
        "fue había sido unos unas ahora aquí después antes mismo cual quiero algo nada siempre nunca problema "
        "de la es no y un "
        "funciona funcionar añadir agregar usuario usuarios página archivo mostrar permite permitir"
    ),
    "pt": (
        "os uma que em com por para como mais mas seu sua esse essa isso este isto são ser há quando onde muito "
        "sem "
        "sobre também entre até desde porque não você vocês nós eu ele ela eles pode podem posso tenho tem "
        "fazer olá "
        "obrigado obrigada ao aos à às do da dos das no na nos nas pelo pela já só foi estou está estão meu minha "
        "todos todas todo cada outro outra depois antes agora aqui mesmo qual então ainda nenhum erro de um e o "
        "as "
        "funciona funcionar adicionar usuário usuários página arquivo mostrar permitir tela aplicação"
    ),
    "it": (
        "il lo gli una che di è e per con non sono della delle dei degli del dal dalla nel nella nelle nei sul "
        "sulla "
        "come più ma anche questo questa questi queste quello quella se quando dove molto senza tra fra fino "
        "perché "
        "può possono posso ho hai ha abbiamo hanno fare ciao grazie al alla alle ai si mi ci vi un la le i "
        "così già solo tutti tutte tutto ogni altro altra dopo prima ora qui stesso quale essere stato stata "
        "viene errore "
        "funziona funzionare aggiungere utente utenti pagina possibile mostrare quindi"
    ),
    "nl": (
        "de het een en van is niet dat die met op voor zijn er aan ook maar als bij door naar dan nog wel uit "
        "om wordt "
        "worden werd heb hebben heeft had kan kunnen moet moeten zou zal deze dit wat hoe waar wanneer waarom "
        "geen meer "
        "veel zonder over tussen tot sinds omdat ik je jij hij wij zij ze mijn onze hallo bedankt graag alleen "
        "alle "
        "alles iets niets altijd nooit hier daar nu al weer gebruik werkt mogelijk zoals te in gebruiker pagina "
        "bestand "
        "toevoegen foutmelding werken"
    ),
    "pl": (
        "i w z na nie się jest że do to jak ale po przez dla od za przy o czy co tak ten ta te tego tej tym "
        "który która "
        "które być są był była było może można mam ma mają gdy kiedy gdzie bardzo bez także również oraz lub "
        "już tylko "
        "wszystkie wszystko każdy inny inne teraz tutaj potem przed między dlaczego cześć dziękuję proszę "
        "działa błąd "
        "jeśli żeby więc jednak nawet podczas po pod nad mi mnie"
    ),
    "tr": (
        "bir ve bu da de için ile çok ama daha gibi olarak olan var yok mı mi mu mü ne nasıl neden zaman sonra "
        "önce "
        "kadar göre her şey hiç ben sen biz siz onlar değil evet hayır merhaba teşekkürler lütfen hata oluyor "
        "olduğu olduğunu yapmak çalışmıyor ancak veya ya ki en şu şekilde bunu buna bunun üzerinde içinde"
    ),
    "sv": (
        "och att det är som en ett för på inte med av till den de jag har var kan om när men från eller så vi ska "
        "vill hur vad här där också bara utan efter mycket mer alla detta denna finns får blir fungerar hej tack"
    ),
}
_LETTERS: Final = {
    "de": "äöüß",
    "fr": "éèêàçùûîôœë",
    "es": "ñáíóúé",
    "pt": "ãõçáâêóíé",
    "it": "èòàùì",
    "pl": "ąęłśżźćńó",
    "tr": "ğışçöü",
    "sv": "åäö",
}
_LETTER_EVIDENCE: Final = 0.5
"""Of a word that no profile holds but that is spelt with a language's own letters."""
_FALSE_FRIENDS: Final = frozenset(
    [
        "in",
        "an",
        "no",
        "on",
        "as",
        "so",
        "a",
        "i",
        "do",
        "me",
        "was",
        "of",
        "or",
        "all",
        "had",
        "had",
        "me",
        "man",
        "per",
        "over",
        "in",
        "it",
        "is",
        "no",
        "des",
        "est",
        "am",
    ]
)
"""Also English: they speak for no other language."""

_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019](?=[^\W\d_]))?")
_SCRIPTS: Final = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u3400-\u9fff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
)
_LETTER = re.compile(r"[^\W\d_]")


def _word_weights() -> dict[str, dict[str, float]]:
    """Return for each small word its languages, and how much it speaks for each."""
    languages: dict[str, set[str]] = {}
    for code, words in _PROFILES.items():
        for word in words.split():
            languages.setdefault(word, set()).add(code)
    return {
        word: dict.fromkeys(codes & {"en"} if word in _FALSE_FRIENDS else codes, 1 / len(codes))
        for word, codes in languages.items()
    }


_WEIGHTS: Final = _word_weights()
_LETTER_WEIGHTS: Final = {
    letter: [code for code, letters in _LETTERS.items() if letter in letters]
    for letter in {*"".join(_LETTERS.values())}
}
_SPECIAL = re.compile(f"[{''.join(sorted(_LETTER_WEIGHTS))}]")


def detect_language(text: str) -> Language | None:
    """Return the language of cleaned prose; None where it is too short or too mixed to tell."""
    text = text[:READ_CHARS]
    return _by_script(text) or _by_words(text.lower())


def _by_script(text: str) -> Language | None:
    if text.isascii():
        return None
    letters = len(_LETTER.findall(text))
    counts = {code: len(pattern.findall(text)) for code, pattern in _SCRIPTS}
    counts["ja"] += counts["zh"] if counts["ja"] * 10 >= counts["zh"] else 0
    counts["uk"] = counts["ru"] if counts["uk"] * 50 >= counts["ru"] else 0
    code = max(counts, key=lambda each: counts[each])  # of equals the first: Japanese before Chinese
    share = counts[code] / letters if letters else 0.0
    if counts[code] < _COMMON_MIN or share < SCRIPT_SHARE_MIN:
        return None
    return Language(code, round(min(0.5 + share / 2, 0.99), 2))


def _by_words(text: str) -> Language | None:
    tokens = [token.replace("\u2019", "'") for token in _TOKEN.findall(text)]
    evidence: dict[str, float] = {}
    distinct: Counter[str] = Counter()
    for token, times in Counter(tokens).items():
        for code, weight in _evidence_of(token).items():
            evidence[code] = evidence.get(code, 0.0) + weight * min(times, 3)
            distinct[code] += token in _WEIGHTS
    if not evidence:
        return None
    code = max(evidence, key=lambda each: evidence[each])
    best = evidence.pop(code)
    rival = max(evidence.values(), default=0.0)
    enough = best >= EVIDENCE_MIN and distinct[code] >= DISTINCT_MIN and best >= SHARE_MIN * len(tokens)
    if not enough or best < LEAD_MIN * rival:
        return None
    return Language(code, round(min(best / (best + rival + 0.5), 0.99), 2))


def _evidence_of(token: str) -> dict[str, float]:
    if token in _WEIGHTS:
        return _WEIGHTS[token]
    if token.isascii() or not (special := _SPECIAL.findall(token)):
        return {}
    codes = {code for letter in special for code in _LETTER_WEIGHTS[letter]}
    return dict.fromkeys(codes, _LETTER_EVIDENCE / len(codes))
