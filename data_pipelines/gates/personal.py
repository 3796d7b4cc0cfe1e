"""The gate on personal details: nothing in a store may say who a participant is."""

from __future__ import annotations

import collections
import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from data_pipelines.specified.texts import all_texts, shown
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from data_pipelines.specified.deposit import Deposit
    from data_pipelines.specified.study import BuiltStudy

EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")
_IP = re.compile(
    r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F:]{1,9}(?![\w:])"
)
_COORDINATES = re.compile(r"(?<![\d.])-?\d{1,2}\.\d{3,}\s*°?\s*[NS]?\s*[,;/ ]\s*-?\d{1,3}\.\d{3,}")
_PHONE = re.compile(r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{3}\)\s?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w.])")
_PANEL = (
    ("Prolific", re.compile(r"^[0-9a-f]{24}$")),
    ("Mechanical Turk", re.compile(r"^A[A-Z0-9]{11,14}$")),
    ("Qualtrics", re.compile(r"^R_[0-9A-Za-z]{13,17}$")),
    ("a panel", re.compile(r"^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$", re.IGNORECASE)),
)
_BIRTH = re.compile(r"^(?:19|20)\d\d-\d\d-\d\d$|^\d{1,2}[./]\d{1,2}[./](?:19|20)\d\d$")
_FULL_NAME = re.compile(r"^[A-Z][\w'’-]+(?: [A-Z][\w'’.-]*){1,3}$")
_NAMED = re.compile(
    r"(?:^|[_. ])(?:(?:first|last|full|sur|user|recipient(?:first|last))[_ ]?name|name|e[-_ ]?mail|recipientemail|phone"
    r"|telephone|mobile|ip|ip[_ ]?address|ipaddress|(?:street|home|postal)[_ ]?address|address|lat|lon|lng|latitude|longitude"
    r"|locationlatitude|locationlongitude|zip|zip[_ ]?code|post[_ ]?code|postal[_ ]?code|prolific(?:[_ ]?(?:pid|id))?"
    r"|worker[_ ]?id|panel(?:ist)?[_ ]?id|ssn|date[_ ]?of[_ ]?birth|dob|birth[_ ]?date)$",
    re.IGNORECASE,
)
_ENOUGH_PEOPLE = 20


def is_about_a_person(column: str) -> bool:
    """True for a column whose name says that it tells who or where people are."""
    return bool(_NAMED.search(column))


def personal_details(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Attributes, ids and texts that name people, or look as if they did.

    What the deposit's codebooks, questionnaires or tables of texts print was written by the authors for everybody to
    read: people in a vignette may have addresses.
    """
    findings = [*_ids(built), *_attributes(built), *_levels(built)]
    read = {
        (what, match) for text in {given.item.text for given in built.given} for what, match in details(text)
    }
    printed = "\n".join(all_texts(deposit)) if read else ""
    findings += [
        f"a text that people read holds {what}: {shown(match)}"
        for what, match in sorted(read)
        if match not in printed
    ]
    return findings


def details(text: str) -> Iterator[tuple[str, str]]:
    """What in a text looks like an address, a place or a number of a person."""
    for what, pattern in (
        ("an e-mail address", EMAIL),
        ("coordinates", _COORDINATES),
        ("a telephone number", _PHONE),
    ):
        yield from ((what, match[0]) for match in pattern.finditer(text))
    for match in _IP.finditer(text):
        try:
            ipaddress.ip_address(match[0])
        except ValueError:
            continue
        yield "an IP address", match[0]


def without_details(text: str) -> str:
    """The text with what looks like a person's details struck out: for rejects, which keep cells."""
    for _, match in list(details(text)):
        text = text.replace(match, "[removed]")
    return "[removed]" if any(pattern.match(text.strip()) for _, pattern in _PANEL) else text


def _ids(built: BuiltStudy) -> Iterator[str]:
    if not built.study.participant or built.study.number_participants:
        return
    ids = {person for person, _ in built.assigned}
    hint = "; say `number_participants: true`, and the store numbers people instead"
    for panel, pattern in _PANEL:
        count = sum(any(map(pattern.match, person.split("/"))) for person in ids)
        if count > max(1, len(ids) // 10):
            yield f"participants: {counted(count, 'id looks', 'ids look')} like those of {panel}{hint}"
    named = [name for name in built.study.participant if _NAMED.search(name)]
    if named:
        yield f"participants: told apart by the column {named[0]!r}, which names people{hint}"
    addressed = [person for person in ids if any(details(person))]
    if addressed:
        yield f"participants: {counted(len(addressed), 'id is', 'ids are')} addresses{hint}"


def _attributes(built: BuiltStudy) -> Iterator[str]:
    for name, attribute in built.study.attributes.items():
        column = attribute.column or name
        if _NAMED.search(column):
            yield f"attributes.{name}: column {column!r} is about who or where a person is; exclude it"
        texts = [known[name] for known in built.people.known.values() if name in known]
        yield from (
            f"attributes.{name}: {finding}" for finding in _values(texts, free_text=attribute.free_text)
        )


def _levels(built: BuiltStudy) -> Iterator[str]:
    for factor in built.study.factors:
        texts = sorted({arm.levels[factor] for arm in built.arms.values()})
        for text in texts:
            for what, match in details(text):
                yield f"factors.{factor}: level holds {what}: {shown(match)}"


def _values(texts: Sequence[str], *, free_text: bool) -> Iterator[str]:
    """What a column of an attribute's values shows; each kind is named once, with a count and no value.

    That values are free text is no finding where the specification says so.
    """
    distinct = collections.Counter(texts)
    kinds: collections.Counter[str] = collections.Counter()
    for text, count in distinct.items():
        shown = {what for what, _ in details(text)}
        shown |= {f"an id of {panel}" for panel, pattern in _PANEL if pattern.match(text)}
        shown |= {"a date such as a birthday"} if _BIRTH.match(text) else set()
        kinds.update(dict.fromkeys(shown, count))
    yield from (f"{counted(count, 'value holds', 'values hold')} {what}" for what, count in kinds.items())
    if len(texts) < _ENOUGH_PEOPLE or len(distinct) < 0.5 * len(texts):
        return
    names = sum(bool(_FULL_NAME.match(text)) for text in distinct)
    decimals = sum(bool(re.fullmatch(r"-?\d{1,3}\.\d{4,}", text)) for text in distinct)
    if names > 0.5 * len(distinct):
        yield f"{counted(names, 'value looks', 'values look')} like people's names"
    elif decimals > 0.5 * len(distinct):
        yield f"{counted(decimals, 'value looks', 'values look')} like coordinates"
    elif not free_text and sum(len(text) > 40 for text in distinct) > 0.5 * len(distinct):
        yield "most values are free text, and different; such text can say who a person is (`free_text: true` if it is meant)"
