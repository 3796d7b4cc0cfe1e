"""Codes that are no places on a scale: which labels say so, and in which languages.

A label counts only as a whole: "Don't know" is no place on a scale, "I don't know anybody there" may be one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from socsci_jax.studies.scale import Number

# Codes that survey houses use for missing answers.  They count only where the scale does not reach them.
USUAL_CODES = frozenset(
    code * sign for code in (66, 77, 88, 96, 97, 98, 99, 777, 888, 997, 998, 999) for sign in (1, -1)
) | frozenset({-7, -8, -9})

# Somebody was asked and gave an answer outside the order.
_ALTERNATIVES = {
    "English": (
        r"(?:i )?(?:do not|don'?t|did not|didn'?t) (?:really )?know(?: enough(?: to say)?)?|no idea|dk|d/k|d\.k\.|dk/na",
        r"(?:i )?(?:(?:would )?prefer|would rather|'?d rather) not(?: to)?(?: (?:say|answer|respond|disclose))?",
        r"refused?(?: to (?:say|answer))?|rf|declined?(?: to (?:say|answer|state))?",
        r"(?:i )?(?:haven'?t|have not) (?:thought (?:much |enough )?about|heard of) (?:it|this|that|them)(?: (?:much|enough))?",
        r"haven'?t thought(?: much)?(?: about (?:it|this))?|never heard of (?:it|this|him|her|them)",
        r"not applicable|does(?: not|n'?t) apply(?: to me)?|inapplicable|no (?:basis to judge|experience)",
        r"(?:i )?(?:can'?t|cannot|can not|unable to) (?:say|choose|judge|rate|decide)",
    ),
    "German": (
        r"(?:ich )?wei(?:ß|ss) (?:ich |es )?nicht|kann ich nicht (?:sagen|beurteilen)|nicht zutreffend",
        r"(?:antwort |angabe )?verweigert|möchte ich nicht (?:sagen|angeben|beantworten)",
    ),
    "French": (
        r"(?:je )?ne sai[st] pas|nsp|sans (?:opinion|objet)|non (?:applicable|concernée?)",
        r"refus(?:e|é)?(?: de r[eé]pondre)?|(?:je )?pr[eé]f[eè]re ne pas (?:r[eé]pondre|dire)",
    ),
    "Spanish": (
        r"no (?:lo )?s[eé]|no sabe|ns|n\.?s\.?/n\.?c\.?|no sabe/no (?:contesta|responde)|no (?:aplica|procede)",
        r"(?:se )?niega(?: a (?:contestar|responder))?|rechaza(?: responder)?|prefiero no (?:contestar|responder|decir(?:lo)?)",
    ),
    "Italian": (
        r"non (?:lo )?so|non sa|non applicabile|rifiut(?:a|ato)|preferisco non (?:rispondere|dirlo)",
    ),
    "Portuguese": (
        r"n[aã]o (?:sei|sabe)|n[aã]o se aplica|recus(?:a|ou)(?: responder)?|prefiro n[aã]o (?:responder|dizer)",
    ),
    "Dutch": (
        r"(?:ik )?weet (?:ik |het )?niet|niet van toepassing|n\.?v\.?t\.?|wil (?:ik )?niet zeggen|ge?weigerd?t?",
    ),
    "Scandinavian": (
        r"vet (?:ej|inte)|ved ikke|vet ikke|ikke relevant|(?:ej|inte) aktuellt|vil ikke svare|vill (?:ej|inte) svara",
    ),
    "Polish, Czech": (r"nie wiem|trudno powiedzieć|nie dotyczy|odmowa(?: odpowiedzi)?|nevím|odmítl",),
    "Turkish": (r"bilmiyorum|fikri(?:m)? yok",),
    "Russian": (r"не знаю|затрудняюсь ответить|отказ(?: от ответа)?|неприменимо",),
    "Chinese, Japanese": (r"不知道|不清楚|拒绝回答|不适用|わからない|分からない|該当しない",),
}
# In the middle of an order these are places on it; at its end they are not.
_UNDECIDED = {
    "English": (r"(?:i'?m |i am )?(?:not sure|unsure|undecided|uncertain)|no opinion",),
    "German": (r"(?:ich bin )?(?:unentschieden|unsicher)|keine meinung",),
    "French, Spanish, Italian": (r"indécise?|indecis[oa]|sin opinión|nessuna opinione",),
    "Dutch, Scandinavian": (r"geen mening|osäker|usikker|ingen åsikt|ingen mening",),
}
# Nothing was answered.
_MISSING = {
    "English": (
        r"(?:system |user )?missing(?: (?:value|data|answer))?|sysmis|nan|null|n/?a\.?|n\.a\.|blank|left blank|unknown",
        r"(?:web )?skip(?:ped)?(?: (?:on|in) (?:web|phone|the web))?|no (?:answer|response|data)(?: given)?|none given",
        r"not (?:answered|asked|ascertained|available|stated|shown|presented|administered|reached|seen)|unanswered",
        r"(?:item )?non-?\s?response|question not asked|break-?off|dropped(?: out)?|inap\.?|iap",
    ),
    "German": (
        r"fehlend(?:er wert)?|fehlt|nicht (?:beantwortet|gefragt|erhoben|gestellt)|übersprungen",
        r"keine (?:antwort|angaben?)|k\.\s?a\.",
    ),
    "French": (r"(?:(?:valeur|donnée) )?manquante?|(?:non|pas de|sans) r[eé]ponse|non (?:demandée?|posée?)",),
    "Spanish": (
        r"(?:valor )?perdido|sin (?:respuesta|datos?)|no (?:contesta|contestó|responde|respondió|preguntad[oa])|n\.?c\.?",
    ),
    "Italian, Portuguese": (
        r"mancante|nessuna risposta|non risponde|senza risposta|n[aã]o respondeu|sem resposta|ausente|n[aã]o perguntado",
    ),
    "Dutch": (r"ontbreekt|ontbrekend|geen antwoord|niet (?:gevraagd|beantwoord)",),
    "Scandinavian": (
        r"saknas|inget svar|ej (?:svar|ställd)|intet svar|ubesvare?t|mangler|ikke (?:stilt|spurgt|spurt)",
    ),
    "Polish, Turkish": (r"brak (?:danych|odpowiedzi)|cevap yok",),
    "Russian": (r"нет (?:ответа|данных)|пропуск",),
    "Chinese, Japanese": (r"缺失|无回答|未回答|無回答|欠損",),
}
# What interviewers' notes add: "DON'T KNOW (DO NOT READ)", "[VOL.] Don't know".
_NOTES = re.compile(
    r"[(\[](?:do not read(?: out)?|dnr|vol\.?|volunteered|spontan|nicht vorlesen|ne pas lire|no leer)[)\]]|^\s*vol\.?:?\s+"
)
_JOINED = r"\s*(?:[/,;&]|\bor\b|\band\b|\boder\b|\bou\b|\bo\b)\s*"


def _whole(*of_languages: Mapping[str, tuple[str, ...]]) -> re.Pattern[str]:
    phrases = "|".join(
        phrase for languages in of_languages for of_language in languages.values() for phrase in of_language
    )
    return re.compile(rf"(?:{phrases})(?:{_JOINED}(?:{phrases}))*", re.IGNORECASE)


# "Don't know / no answer" is one code for both: somebody may have answered it.
_IS_ALTERNATIVE = _whole(_ALTERNATIVES, _MISSING)
_IS_MISSING = _whole(_MISSING)
_IS_ANY = _whole(_ALTERNATIVES, _UNDECIDED, _MISSING)


def _bare(label: str) -> str:
    label = _NOTES.sub(" ", label.casefold().replace("’", "'").replace("`", "'"))
    return " ".join(label.split()).strip(" .!-–—\"'()[]<>*")


def says_missing(label: str) -> bool:
    """True if the whole label says that nothing was answered."""
    return _IS_MISSING.fullmatch(_bare(label)) is not None


def says_alternative(label: str, *, at_the_end: bool) -> bool:
    """True if the whole label is an answer outside the order; `at_the_end` of an order "undecided" is one too."""
    pattern = _IS_ANY if at_the_end else _IS_ALTERNATIVE
    return pattern.fullmatch(_bare(label)) is not None and not says_missing(label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sorted:
    """Codes of a list with what each is; a code is in one of the three."""

    levels: dict[Number, str]
    alternatives: dict[Number, str]
    missing: tuple[Number, ...]


def sort_codes(coded: Mapping[Number, str]) -> Sorted:
    """Tells levels, alternatives and missing codes apart by their labels alone."""
    missing = {code for code, label in coded.items() if says_missing(label)}
    aside = {
        c for c, label in coded.items() if c not in missing and says_alternative(label, at_the_end=False)
    }
    inner = sorted(set(coded) - missing - aside)
    for ends in (inner, inner[::-1]):
        for code in ends:
            if not says_alternative(coded[code], at_the_end=True):
                break
            aside.add(code)
    return Sorted(
        levels={c: label for c, label in coded.items() if c not in missing and c not in aside},
        alternatives={c: coded[c] for c in sorted(aside)},
        missing=tuple(sorted(missing)),
    )
