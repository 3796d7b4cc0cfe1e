"""What the columns of a table are, when the table is all there is: by their names, labels, codes and cells."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.drafting.choice_scales import is_beside, is_ordered, is_refused
from data_pipelines.drafting.demographics import (
    QUANTITIES,
    age_or_birth,
    attribute_of_name,
    attribute_of_text,
)
from data_pipelines.formats.tables import Table
from data_pipelines.gates.personal import is_about_a_person
from socsci_jax.studies.specification_parts import code

# Which element of the survey's flow a randomizer drew: one column of names, or a column an element.
_DRAWN = re.compile(r"^FL_\d+_DO$")
DRAWN_ELEMENT = re.compile(r"^(FL_\d+_DO)_(.+)$")
MOST_LEVELS = 12
# Columns that tell people apart also where a person has several rows.
_PEOPLE = frozenset(
    {
        "id",
        "pid",
        "uid",
        "subject",
        "subject_id",
        "participant",
        "participant_id",
        "respondent",
        "respondent_id",
        "responseid",
        "vpn",
        "vp_nr",
    }
)
# What survey programs write where there is no answer.
_NO_ANSWER = frozenset({"-9", "-77", "-88", "-97", "-98", "-99", "-777", "-888", "-999", "-9999"})
# Integers of a longer range are a quantity unless the file labels them.
MOST_POINTS = 101
# A column whose cells differ more than this is a text or a key, not a choice.
MOST_DISTINCT_SHARE = 0.2

_ARM = re.compile(
    r"^(?:group|gruppe|grupo|groupe|gruppo)$|bedingung|condici[oó]n|condizione|(?:^|[_\W])(?:conditions?|cond|treat(?:ment|ed|s)?|arms?|(?:exp(?:erimental)?|treatment|random(?:ized)?)_?group|"
    r"manip(?:ulation)?|vignette|framing|frame|version|assign(?:ment|ed)?)(?:[_\W]|\d|$)",
    re.IGNORECASE,
)
_ID = re.compile(
    r"(?:^|[_\W])(?:id|pid|rid|uid|caseid|qkey|respondent|participant|subject|subj|response_?id|person|worker_?id|vpn|vp_?nr)$",
    re.IGNORECASE,
)
_WEIGHT = re.compile(
    r"(?:^|[_\W])(?:weight|wt|wgt|weights|pweight|survey_?weight)(?:[_\W]?\w?)$", re.IGNORECASE
)
_RECORD = re.compile(
    r"^(?:start_?date|end_?date|recorded_?date|status|progress|duration.*|finished|user_?language|distribution_?channel|"
    r".*_(?:first|last)[ _]click|.*_page[ _]submit|.*_click[ _]count|.*_DO(?:_.*)?|q_\w+|time_?stamp|wave|date)$",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A column and what it is: arm, element (drawn by a randomizer), attribute, outcome, participant, weight, or left
    out for a `reason`.

    `labels`: text of each code, in the order of the codes; `told` whether the file (not the cells) says them.
    `missing` are codes that the file declares or labels as no answer, `alternatives` those that it labels as one beside
    the scale.  `lo` and `hi` are the ends of observed numbers, `whole` if integers; `offered` if they are ends that
    the file labels.
    """

    name: str
    role: str
    label: str = ""
    attribute: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    told: bool = False
    ordered: bool = True
    missing: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    alternatives: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lo: float | None = None
    hi: float | None = None
    whole: bool = False
    offered: bool = False
    reason: str = ""


def read_columns(table: Table) -> list[Found]:
    """Every column of the table with what it is; at most one is the participant, one the weight."""
    columns: list[Found] = []
    attributes: set[str] = set()
    for name in table.frame.columns:
        one = _read(name, table)
        if one.role in ("participant", "weight") and any(other.role == one.role for other in columns):
            one = dataclasses.replace(one, role="excluded", reason=f"another column is the {one.role}")
        if one.role == "attribute" and one.attribute in attributes:
            one = dataclasses.replace(one, role="excluded", reason=f"another column tells {one.attribute}")
        attributes.add(one.attribute)
        columns.append(one)
    return _without_copies(columns, table)


def _read(name: str, table: Table) -> Found:
    """What a column is: what its name says of people and arms comes first, then what its cells hold."""
    missing = table.missing.get(name, frozenset())
    taken = _negative_codes(table, name) - missing - set(map(code, table.value_labels.get(name, {})))
    missing = missing | taken
    cells = [cell for cell in table.frame[name].drop_nulls().to_list() if code(cell) not in missing]
    column = Found(
        name=name,
        role="excluded",
        label=" ".join(table.labels.get(name, "").split()),
        missing=tuple(sorted(missing, key=_by_number)),
        taken=tuple(sorted(taken, key=_by_number)),
    )
    distinct = collections.Counter(map(code, cells))
    if not distinct:
        return dataclasses.replace(column, reason="it is empty")
    return _of_people_or_design(column, table, distinct) or _of_cells(column, table, cells, distinct)


def _is_arm(name: str, distinct: collections.Counter[str]) -> bool:
    return bool(_ARM.search(name)) and 2 <= len(distinct) <= MOST_LEVELS


def _of_people_or_design(column: Found, table: Table, distinct: collections.Counter[str]) -> Found | None:
    """What columns are that tell people apart, were drawn by a randomizer, or are the survey program's; else None."""
    name = column.name
    few = 2 <= len(distinct) <= MOST_LEVELS
    if _ID.search(name) and len(distinct) == table.frame.height:
        return dataclasses.replace(column, role="participant")
    if name.casefold() in _PEOPLE and table.frame[name].null_count() == 0:
        return dataclasses.replace(column, role="several rows")
    if is_about_a_person(name) and not _is_arm(name, distinct):
        return dataclasses.replace(column, reason="it is about who or where a person is")
    if _DRAWN.match(name) and few and not any("|" in text for text in distinct):
        return dataclasses.replace(column, role="arm", labels=_labels(dict.fromkeys(distinct, "")))
    if DRAWN_ELEMENT.match(name) and set(distinct) == {"1"}:
        return dataclasses.replace(column, role="element")
    if _RECORD.match(name):
        return dataclasses.replace(column, reason="the survey program's record")
    return None


def _of_cells(column: Found, table: Table, cells: list, distinct: collections.Counter[str]) -> Found:
    """What columns of answers are: weight, arm, attribute or outcome, by their labels and numbers."""
    name = column.name
    if len(distinct) == 1:
        boxed = len(cells) < table.frame.height
        reason = (
            "one answer or nothing; if it is a box that people ticked, give it levels 0 and 1 and `empty: 0`"
            if boxed
            else "all its cells are alike"
        )
        return dataclasses.replace(column, reason=reason)
    numbers = [number for text in distinct if (number := _number(text)) is not None]
    if _WEIGHT.search(name) and len(numbers) == len(distinct) and min(numbers) >= 0:
        return dataclasses.replace(column, role="weight")
    labeled = {
        code(c): text for c, text in table.value_labels.get(name, {}).items() if code(c) not in column.missing
    }
    told = bool(labeled) and len(set(distinct) - set(labeled)) <= 0.1 * len(distinct)
    labels = _labels(labeled if told else {text: "" for text in distinct})
    if _is_arm(name, distinct):
        return dataclasses.replace(column, role="arm", labels=labels, told=told)
    if labeled and not told and (found := _of_numbers_and_labels(column, distinct, labeled)) is not None:
        return found
    attribute = attribute_of_name(name) or attribute_of_text(
        column.label, [t for t in labels.values() if t], name=name
    )
    several = len(distinct) <= MOST_LEVELS
    if attribute is not None and not told:
        attribute = age_or_birth(attribute, numbers)
    # A number that nobody explains is a code, except where the attribute is one.
    if attribute is not None and (told or several or attribute in (*QUANTITIES, "location")):
        if told:
            refused = [c for c, text in labels.items() if is_refused(text)]
            labels = {c: text for c, text in labels.items() if c not in refused}
            column = _without_answer(column, refused)
        return dataclasses.replace(
            column, role="attribute", attribute=attribute, labels=labels if told else {}, told=told
        )
    if told:
        ordered = is_ordered([*labels.values()])
        return dataclasses.replace(column, role="outcome", labels=labels, told=True, ordered=ordered)
    if len(numbers) == len(distinct):
        whole = all(number.is_integer() for number in numbers)
        return dataclasses.replace(column, role="outcome", lo=min(numbers), hi=max(numbers), whole=whole)
    if several and len(distinct) <= max(2, MOST_DISTINCT_SHARE * len(cells)):
        texts = {str(i): text for i, text in enumerate(sorted(distinct), start=1)}
        return dataclasses.replace(column, role="outcome", labels=texts, ordered=len(texts) == 2)
    return dataclasses.replace(column, reason="free text, which has no scale")


def _of_numbers_and_labels(
    column: Found, distinct: collections.Counter[str], labeled: Mapping[str, str]
) -> Found | None:
    """A column of numbers of which only some have labels: ends and points of a range, and codes beside it.

    None where a cell without a label is not a number.
    """
    refused = [c for c, text in labeled.items() if is_refused(text)]
    beside = {c: text for c, text in _labels(labeled).items() if c not in refused and is_beside(text)}
    points = {c: text for c, text in _labels(labeled).items() if c not in refused and c not in beside}
    column = _without_answer(column, refused)
    others = {*distinct} - {*refused, *beside}
    numbers = [number for text in others if (number := _number(text)) is not None]
    ends = [number for c in points if (number := _number(c)) is not None]
    if not numbers or len(numbers) < len(others) or len(ends) < len(points):
        return None
    offered = len(ends) >= 2 and ends[0] <= min(numbers) and max(numbers) <= ends[-1]
    attribute = attribute_of_name(column.name) or attribute_of_text(column.label, [], name=column.name)
    attribute = age_or_birth(attribute, numbers) if attribute is not None else None
    if attribute in QUANTITIES:
        column = _without_answer(column, beside)
        return dataclasses.replace(column, role="attribute", attribute=attribute, labels=points, told=True)
    if attribute is not None and len(distinct) <= MOST_LEVELS:
        labels = {**points, **beside}
        return dataclasses.replace(column, role="attribute", attribute=attribute, labels=labels, told=offered)
    return dataclasses.replace(
        column,
        role="outcome",
        labels=points,
        alternatives=beside,
        lo=ends[0] if offered else min(numbers),
        hi=ends[-1] if offered else max(numbers),
        whole=all(number.is_integer() for number in numbers),
        offered=offered,
    )


def _without_answer(column: Found, codes: Iterable[str]) -> Found:
    """The column with more codes of no answer."""
    return dataclasses.replace(column, missing=tuple(sorted({*column.missing, *codes}, key=_by_number)))


def _negative_codes(table: Table, name: str) -> frozenset[str]:
    """Codes such as -99 among numbers of which no other is negative."""
    cells = set(map(code, table.frame[name].drop_nulls().to_list()))
    numbers = [number for text in cells - _NO_ANSWER if (number := _number(text)) is not None]
    alone = numbers and len(numbers) == len(cells - _NO_ANSWER) and min(numbers) >= 0
    return frozenset(cells & _NO_ANSWER) if alone else frozenset()


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return {c: labels[c] for c in sorted(labels, key=_by_number)}


def _by_number(text: str) -> tuple[float, str]:
    number = _number(text)
    return (math.inf if number is None else number, text)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _without_copies(columns: Sequence[Found], table: Table) -> list[Found]:
    """Arms of which another column says the same in other codes are excluded: the one with labels or words stays."""
    kept: list[Found] = []
    for one in columns:
        if one.role == "arm":
            twin = next((k for k in kept if k.role == "arm" and _same(k.name, one.name, table)), None)
            if twin is not None:
                stays, goes = (one, twin) if _is_worded(one) and not _is_worded(twin) else (twin, one)
                kept = [k for k in kept if k is not twin]
                reason = f"says the same as {stays.name}"
                kept += [stays, dataclasses.replace(goes, role="excluded", reason=reason)]
                continue
        kept.append(one)
    return kept


def _is_worded(one: Found) -> bool:
    return one.told or any(_number(c) is None for c in one.labels)


def _same(one: str, other: str, table: Table) -> bool:
    pairs = table.frame.select(one, other).unique() if one != other else table.frame.select(one)
    return pairs.height == table.frame[one].n_unique() == table.frame[other].n_unique()
