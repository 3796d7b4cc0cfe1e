"""Which questions and fields tell SocSci210's sixteen attributes of a person.

A question counts where its wording asks for the attribute and its choices (if it has some) speak of it too, so that
the father's education or a question about other people's income is none.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from data_pipelines.formats.qualtrics.questionnaire import Question
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES

# Attributes whose numbers mean themselves.
QUANTITIES = ("age", "birth_year", "household_size")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rule:
    """`asks`: the wording; `labels`: what some choice must say (None: no need); `tags`: names of columns."""

    asks: str
    labels: str | None
    tags: str
    free: bool = False


_RULES = {
    "age": _Rule(
        asks=r"\b(?:your (?:current )?age\b|how old are you|age (?:range|group)|year (?:were you|of (?:your )?birth)|"
        r"your year of birth|in what year were you born)",
        labels=r"\d",
        tags=r"age|age_?(?:group|range|cat\w*)|yob|birth_?year",
        free=True,
    ),
    "gender": _Rule(
        asks=r"\b(?:your (?:gender|sex)\b|gender identity|describes? your gender|are you (?:male|a man)|"
        r"do you identify as|gender do you)",
        labels=r"\b(?:fe)?male\b|\b(?:wo)?m[ae]n\b",
        tags=r"gender|sex|gender_?identity",
        free=True,
    ),
    "ethnicity": _Rule(
        asks=r"\b(?:race|races|racial|ethnic\w*|hispanic|latin[oax]\w*)\b",
        labels=r"\b(?:white|black|african|asian|hispanic|latin\w*|caucasian|yes)\b",
        tags=r"race\w*|ethnicity|ethnic|race_?eth\w*",
    ),
    "education": _Rule(
        asks=r"\b(?:your (?:highest )?(?:level of )?education|highest (?:level|degree)|level of (?:school|education)|"
        r"education (?:level|have you)|schooling)",
        labels=r"\b(?:school|college|degree|bachelor\w*|graduate|diploma)\b",
        tags=r"educ\w*|education",
    ),
    "employment": _Rule(
        asks=r"\b(?:employment status|currently (?:employed|working)|work(?:ing)? for pay|your (?:current )?employment|"
        r"employment situation|are you employed)",
        labels=r"\b(?:employed|unemployed|retired|student|full[- ]?time|part[- ]?time|work\w*|yes)\b",
        tags=r"employ\w*|empstat|work_?status",
    ),
    "marital_status": _Rule(
        asks=r"\b(?:marital status|are you (?:currently )?married|relationship status)",
        labels=r"\b(?:married|single|divorced|widowed|yes)\b",
        tags=r"marital\w*|marstat|relationship_?status",
    ),
    "housing_ownership": _Rule(
        asks=r"\b(?:own(?:s)? (?:or rent|your home|their home)|rent or own|pay(?:ing)? rent|homeowner|"
        r"home,? pay rent|living quarters)",
        labels=r"\b(?:own\w*|rent\w*)\b",
        tags=r"own_?home|home_?own\w*|own_?rent|dwelown\w*|housing",
    ),
    "housing_type": _Rule(
        asks=r"\b(?:type of (?:home|house|housing|building|dwelling|residence)|kind of (?:home|building) do you live)",
        labels=r"\b(?:house|apartment|mobile|building|detached)\b",
        tags=r"housing_?type|dwelling\w*|home_?type",
    ),
    "location": _Rule(
        asks=r"\b(?:(?:which|what) (?:u\.?s\.? )?(?:state|region|country) (?:do|are) you|state do you (?:currently )?"
        r"(?:live|reside)|state of residence|country of residence)",
        labels=r"\b(?:alabama|california|texas|new york|northeast|midwest|south|west|united states)\b",
        tags=r"state|region|us_?state|census_?region",
    ),
    "metro_status": _Rule(
        asks=r"\b(?:area (?:where|in which|that) you (?:currently )?live|describes? (?:the (?:area|place)|where) .{0,30}"
        r"live|urban|rural)\b",
        labels=r"\b(?:urban|rural|city|suburb\w*|town|village|metro\w*)\b",
        tags=r"metro\w*|urban\w*|settype|urbanicity|rural",
    ),
    "income": _Rule(
        asks=r"\b(?:(?:your|household|family|annual|total|personal) (?:\w+ ){0,3}income|how much (?:money )?did you earn)",
        labels=r"\d",
        tags=r"(?:hh|household_?|family_?)?inc(?:ome)?\w*|hhi",
    ),
    "internet_access": _Rule(
        asks=r"\b(?:access to the internet|internet access|internet (?:connection|service) at home|internet at home)",
        labels=r"\b(?:yes|no|internet)\b",
        tags=r"internet(?:_?access)?",
    ),
    "household_size": _Rule(
        asks=r"\b(?:how many (?:people|persons|individuals)\b.{0,60}\b(?:household|home|live with|living with)|"
        r"household size|size of your household)",
        labels=r"\d|\b(?:one|two|three)\b",
        tags=r"hh_?size|household_?size",
        free=True,
    ),
    "party_id": _Rule(
        asks=r"\b(?:republican\b.{0,60}\bdemocrat|democrat\b.{0,60}\brepublican|political party|party (?:identification|"
        r"affiliation|do you))",
        labels=r"\b(?:democrat\w*|republican\w*|independent|labour|conservative)\b",
        tags=r"(?:political_?)?party(?:_?id\w*)?|pid\d*|partisan\w*",
    ),
    "ideology": _Rule(
        asks=r"\b(?:political (?:views?|orientation|ideology|leaning)|liberals? (?:and|or|to) conservatives?|"
        r"conservatives? (?:and|or|to) liberals?|left(?:ist)? (?:and|or|to) right|yourself politically)",
        labels=r"\b(?:liberal|conservative|left|right|moderate|\d)\b",
        tags=r"ideo\w*|libcon\w*|political_?(?:views|ideology|orientation)|politics",
    ),
    "phone_service": _Rule(
        asks=r"\b(?:landline|cell ?phone only|telephone service|phone service)",
        labels=r"\b(?:landline|cell\w*|mobile|phone)\b",
        tags=r"phone_?(?:service|type)",
    ),
}
# The same in German, French, Spanish, Italian, Portuguese and Dutch: what asks, and what some choice must say.
_ELSEWHERE = {
    "age": (r"\b(?:wie alt sind sie|ihr alter|alter\b.{0,20}jahre|quel âge avez|votre âge|cuántos años tiene|su edad|"
            r"quanti anni ha|la sua età|quantos anos (?:você )?tem|sua idade|hoe oud bent|uw leeftijd)", r"\d"),
    "gender": (r"\b(?:ihr geschlecht|welches geschlecht|votre (?:sexe|genre)|su (?:sexo|género)|(?:il suo|sesso) (?:genere|sesso)|"
               r"seu (?:sexo|gênero|género)|uw geslacht)\b",
               r"\b(?:weiblich|männlich|frau|mann|femme|homme|féminin|masculin|mujer|hombre|femenino|masculino|donna|uomo|"
               r"femmina|maschio|mulher|homem|feminino|vrouw|man)\b"),
    "education": (r"\b(?:schulabschluss|bildungsabschluss|niveau d['’](?:études|éducation)|diplôme|nivel (?:de estudios|educativo)|"
                  r"titolo di studio|nível de (?:escolaridade|educação)|escolaridade|opleidingsniveau|hoogste opleiding)\b",
                  r"\b(?:abitur|hauptschul\w*|realschul\w*|universit\w*|hochschul\w*|bac\b|licence|master|universi\w*|"
                  r"secundari\w*|laurea|diploma|ensino|mbo|hbo|wo)\b"),
    "income": (r"\b(?:(?:haushalts|netto|brutto)?einkommen|revenus?\b.{0,30}(?:foyer|ménage|mensuel|annuel)|ingresos|reddito|"
               r"renda (?:familiar|mensal)|inkomen)\b", r"\d"),
    "marital_status": (r"\b(?:familienstand|état civil|situation familiale|estado civil|stato civile|burgerlijke staat)\b",
                       r"\b(?:verheiratet|ledig|mariée?|célibataire|casad[oa]|solter[oa]|sposat[oa]|celibe|solteir[oa]|gehuwd)\b"),
    "household_size": (r"\b(?:wie viele personen\b.{0,40}haushalt|combien de personnes\b.{0,40}(?:foyer|ménage)|"
                       r"cuántas personas\b.{0,40}hogar|quante persone\b.{0,40}(?:famiglia|casa)|"
                       r"quantas pessoas\b.{0,40}(?:casa|domicílio)|hoeveel personen\b.{0,40}huishouden)", r"\d"),
}  # fmt: skip
# Names of columns in these languages.
_NAMES_ELSEWHERE = {
    "age": r"alter|edad|leeftijd|idade|età|âge",
    "gender": r"geschl(?:echt)?|sexe|sexo|sesso|geslacht|g[eé]nero|genre",
    "education": r"bildung\w*|(?:schul|bildungs)?abschluss|estudios|escolaridad|opleiding|istruzione",
    "income": r"(?:haushalts)?einkommen|revenus?|ingresos|reddito|inkomen|renda",
    "marital_status": r"familienstand|estado_?civil|[eé]tat_?civil|stato_?civile",
    "household_size": r"haushaltsgr(?:ö|oe)(?:ß|ss)e",
}
assert set(_RULES) == set(SOCSCI210_ATTRIBUTES)
assert set(_ELSEWHERE) < set(_RULES)
_SOMEBODY_ELSE = re.compile(
    r"\b(?:father|mother|parents?|spouse|partner['’]s|child(?:ren)?['’]?s?|friends?|famil(?:y|ies)['’] |neighbou?rs?|"
    r"candidates?|scenario|imagine|suppose|company|should|government)\b",
    re.IGNORECASE,
)
# "Closer to", "strong": the follow-ups of a party question.
_FOLLOW_UP = re.compile(
    r"\b(?:closer to|call yourself a strong|strong (?:democrat|republican))\b", re.IGNORECASE
)


def attribute_of(question: Question) -> str | None:
    """The attribute that the question asks for, or None."""
    if question.kind not in ("single", "multiple", "entry", "slider"):
        return None
    return attribute_of_text(question.text, [choice.text for choice in question.choices], name=question.tag)


def attribute_of_text(text: str, labels: Sequence[str], *, name: str = "") -> str | None:
    """The attribute that a wording with these choices (none: a free answer) asks for, or None.

    `name` is that of the question or its column.
    """
    if len(text) > 500 or _SOMEBODY_ELSE.search(text) or _FOLLOW_UP.search(text):
        return None
    shown = "\n".join(labels)
    for attribute, rule in _RULES.items():
        tagged = re.fullmatch(rule.tags, name.strip(), re.IGNORECASE)
        asked = re.search(rule.asks, text, re.IGNORECASE | re.DOTALL)
        if not tagged and not asked:
            continue
        if not labels:
            if rule.free:
                return attribute
        elif rule.labels is None or re.search(rule.labels, shown, re.IGNORECASE):
            return attribute
    for attribute, (asks, says) in _ELSEWHERE.items():
        told = re.search(says, shown, re.IGNORECASE) if labels else _RULES[attribute].free
        if told and re.search(asks, text, re.IGNORECASE | re.DOTALL):
            return attribute
    return None


def age_or_birth(attribute: str, numbers: Iterable[float]) -> str:
    """What a question for people's age tells: "birth_year" where its answers are years, of which none is an age."""
    told = list(numbers)
    years = sum(1900 <= number <= 2100 for number in told)
    return "birth_year" if attribute == "age" and years > len(told) / 2 else attribute


def attribute_of_name(name: str) -> str | None:
    """The attribute that a column of panel data is named after, or None."""
    name = name.strip().replace(" ", "_")
    return next(
        (
            attribute
            for attribute, rule in _RULES.items()
            if name.casefold() == attribute
            or re.fullmatch(rule.tags, name, re.IGNORECASE)
            or re.fullmatch(_NAMES_ELSEWHERE.get(attribute, r"\b\B"), name, re.IGNORECASE)
        ),
        None,
    )
