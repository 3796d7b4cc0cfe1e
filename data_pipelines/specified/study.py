"""One study: its rows become participants, items and responses, and what gates need to know is kept."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator

from data_pipelines.gates.personal import without_details
from data_pipelines.specified.answers import Answer, Reading, reading_of
from data_pipelines.specified.arms import Arm, ArmTable
from data_pipelines.specified.deposit import Deposit
from data_pipelines.specified.items import item_of, variant_of
from data_pipelines.specified.people import People, attribute_texts, participant_ids, weights
from data_pipelines.specified.rows import Rows, file_place, outcome_columns, study_rows
from data_pipelines.specified.texts import parts_of
from socsci_jax.errors import InputError
from socsci_jax.studies.schema import Item
from socsci_jax.studies.specification import Outcome, Specification, Study, Variant
from socsci_jax.studies.specification_checks import texts
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.wording import counted

SHOWN_OF_A_CELL = 80


@dataclasses.dataclass(kw_only=True)
class Tally:
    """What the cells of one outcome were, by code."""

    answers: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    missing: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    outside: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    unread: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def of(self, status: str) -> collections.Counter[str]:
        """The cells of one status; a cell that could not be read, for whatever reason, is unread."""
        counters = {"answer": self.answers, "missing": self.missing, "outside": self.outside}
        return counters.get(status, self.unread)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """One answer on its way to the store."""

    arm: Arm
    outcome: str
    item: Item
    person: str
    value: float
    row: int
    occasion: int = 1


@dataclasses.dataclass(kw_only=True)
class BuiltStudy:
    """A study as it goes to the store, with what the gates look at."""

    study_id: str
    study: Study
    rows: list[Rows]
    arms: dict[str, Arm] = dataclasses.field(default_factory=dict)
    unassigned: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    given: list[Given] = dataclasses.field(default_factory=list)
    retests: list[Given] = dataclasses.field(default_factory=list)
    readings: dict[str, dict[str, Reading]] = dataclasses.field(default_factory=dict)
    tallies: dict[str, Tally] = dataclasses.field(default_factory=lambda: collections.defaultdict(Tally))
    people: People = dataclasses.field(default_factory=lambda: People(()))
    # Of every row that is not excluded: its participant and condition.
    assigned: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    arm_of_row: dict[int, str] = dataclasses.field(default_factory=dict)
    repeated: collections.Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)
    provenance: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def build_study(
    study_id: str, specification: Specification, deposit: Deposit, builder: StoreBuilder
) -> BuiltStudy:
    """Adds the study to the builder.

    Raises InputError for columns that are not there, texts or scales that cannot be found.
    """
    study = specification.studies[study_id]
    builder.add_study(study_id, title=study.title)
    built = BuiltStudy(study_id=study_id, study=study, rows=[], people=People(tuple(study.attributes)))
    table = ArmTable(study, deposit)
    numbers: dict[str, str] = {}
    built.provenance = {
        key: [part.place for part in parts_of(text, deposit)] for key, text in texts(study) if text
    }
    for file in (study.data, *(join.file for join in study.join)):
        for number, reason in deposit.table(file).misfits:
            builder.reject("participant", place=file_place(deposit.path(file).name, number), reason=reason)
    every, notes = study_rows(study, deposit)
    builder.notes += [f"Study {study_id}: {note}." for note in notes]
    for rows in every:
        kept = _without_excluded(rows, study, deposit, builder)
        built.rows.append(kept)
        people = participant_ids(study, kept)
        if study.number_participants:
            people = [
                None if p is None else numbers.setdefault(p, f"person-{len(numbers) + 1}") for p in people
            ]
        _add_rows(kept, people, built, table, specification, deposit, builder)
    _add_answers(built, builder)
    for name, count in built.people.conflicts.items():
        builder.notes.append(
            f"Study {study_id}: attribute {name!r} differs between rows of one participant {counted(count, 'time')}; the first "
            "value counts."
        )
    return built


def _place(deposit: Deposit, study: Study, number: int) -> str:
    return f"{deposit.path(study.data).name}, row {number}"


def _without_excluded(rows: Rows, study: Study, deposit: Deposit, builder: StoreBuilder) -> Rows:
    for exclusion in study.exclude:
        excluded = rows.where(exclusion.where)
        for number in rows.filtered(excluded).numbers:
            builder.reject(
                "participant", place=_place(deposit, study, number), reason=f"excluded: {exclusion.reason}"
            )
        rows = rows.filtered(~excluded)
    return rows


def _add_rows(
    rows: Rows,
    people: list[str | None],
    built: BuiltStudy,
    table: ArmTable,
    specification: Specification,
    deposit: Deposit,
    builder: StoreBuilder,
) -> None:
    study = built.study
    levels = [rows.levels(name, what).to_list() for name, what in study.factors.items()]
    attributes = attribute_texts(study, rows)
    row_weights = weights(study, rows)
    arms: list[Arm | None] = []
    for i, number in enumerate(rows.numbers):
        combination = tuple(column[i] for column in levels)
        arm = None if None in combination else table.arm(combination)
        if people[i] is None or arm is None:
            reason = "no participant" if people[i] is None else _why_unassigned(study, combination)
            if people[i] is not None:
                built.unassigned[reason] += 1
            builder.reject("participant", place=_place(deposit, study, number), reason=reason)
            arms.append(None)
            continue
        arms.append(arm)
        built.arms.setdefault(arm.name, arm)
        built.assigned.append((people[i], arm.name))
        built.arm_of_row.setdefault(number, arm.name)
        built.people.add(people[i], {name: column[i] for name, column in attributes.items()}, row_weights[i])
    for name, outcome in study.outcomes.items():
        _read_outcome(name, outcome, rows, arms, people, built, specification, deposit, builder)


def _why_unassigned(study: Study, levels: tuple[str | None, ...]) -> str:
    for (name, _), level in zip(study.factors.items(), levels, strict=True):
        if level is None:
            return f"at no level of factor {name!r}"
    return f"no condition for {', '.join(map(str, levels))}"


def _read_outcome(
    name: str,
    outcome: Outcome,
    rows: Rows,
    arms: list[Arm | None],
    people: list[str | None],
    built: BuiltStudy,
    specification: Specification,
    deposit: Deposit,
    builder: StoreBuilder,
) -> None:
    variants = {arm.name: variant_of(outcome, arm) for arm in arms if arm is not None}
    asked = {
        arm.name: _asked(name, outcome, variants[arm.name], arm, specification, deposit, rows, built)
        for arm in {id(a): a for a in arms if a is not None}.values()
    }
    names = (*outcome_columns(name, outcome, built.study), *outcome.retest)
    columns = {column: rows.cells(column).to_list() for column in names}
    wanted = rows.where(outcome.rows).to_list()
    # Most cells are like others: each (condition, cell) is read once.
    read: dict[tuple[str, str | None], Answer] = {}
    for i, number in enumerate(rows.numbers):
        arm, person = arms[i], people[i]
        if arm is None or person is None or not wanted[i]:
            continue
        column, reading, item = asked[arm.name]
        given = Given(arm=arm, outcome=name, item=item, person=person, value=math.nan, row=number)
        place = _place(deposit, built.study, number)
        for occasion, later in enumerate(outcome.retest, start=2):
            cell = columns[later][i]
            _add_retest(
                dataclasses.replace(given, occasion=occasion), cell, reading.read(cell), place, built, builder
            )
        cell = columns[column][i]
        key = (arm.name, cell)
        answer = read.get(key) or read.setdefault(key, reading.read(cell))
        _add_answer(given, cell, answer, place, built, builder)


def _add_answer(
    given: Given, cell: str | None, answer: Answer, place: str, built: BuiltStudy, builder: StoreBuilder
) -> None:
    """Keeps an answer, or rejects its cell with the reason; counts the cell under what it was."""
    built.tallies[given.outcome].of(answer.status)[cell or ""] += 1
    if answer.status == "answer" and answer.value is not None:
        built.given.append(dataclasses.replace(given, value=answer.value))
        return
    record = {"study": built.study_id, "condition": given.arm.name, "outcome": given.outcome}
    builder.reject("response", place=place, reason=answer.reason, record={**record, "cell": _shown(cell)})


def _add_retest(
    given: Given, cell: str | None, answer: Answer, place: str, built: BuiltStudy, builder: StoreBuilder
) -> None:
    """The same of a later answer of the same person: one that is not there is no loss, and is not counted."""
    if answer.status == "answer" and answer.value is not None:
        built.retests.append(dataclasses.replace(given, value=answer.value))
    elif answer.status != "missing":
        built.tallies[given.outcome].of(answer.status)[cell or ""] += 1
        record = {"study": built.study_id, "outcome": given.outcome, "cell": _shown(cell)}
        builder.reject("response", place=place, reason=answer.reason, record=record)


def _asked(
    name: str,
    outcome: Outcome,
    variant: Variant | None,
    arm: Arm,
    specification: Specification,
    deposit: Deposit,
    rows: Rows,
    built: BuiltStudy,
) -> tuple[str, Reading, Item]:
    """The column, how it is read, and the item that people of the arm answered."""
    column = (variant.column if variant is not None else None) or outcome.column or name
    given = variant.scale if variant is not None and variant.scale is not None else outcome.scale
    in_file = rows.column(column)
    try:
        reading = reading_of(
            specification.scale(given),
            deposit,
            labels=rows.table.value_labels.get(in_file),
            missing=rows.table.missing.get(in_file, frozenset()),
        )
    except (InputError, ValueError) as error:
        raise InputError(f"outcomes.{name}.scale: {error}") from None
    built.readings.setdefault(name, {})[in_file] = reading
    item = item_of(built.study_id, name, outcome, variant, arm, reading.scale, deposit)
    return column, reading, item


def _add_answers(built: BuiltStudy, builder: StoreBuilder) -> None:
    seen: set[tuple[str, str]] = set()
    ids: dict[int, str] = {}
    for given in _in_file_order(built.given):
        if not given.item.stimulus and not given.item.question:
            raise InputError(f"outcomes.{given.outcome}: neither the condition nor the question has a text.")
        item_id = ids.get(id(given.item)) or ids.setdefault(id(given.item), builder.add_item(given.item))
        if (item_id, given.person) in seen:
            built.repeated[given.outcome, given.person] += 1
        seen.add((item_id, given.person))
        builder.add_participant(
            built.study_id,
            given.person,
            built.people.known.get(given.person, {}),
            weight=built.people.weights.get(given.person),
        )
        builder.add_response(item_id, given.person, given.value, sample_id=given.row)
    kept = []
    for given in built.retests:
        if (ids.get(id(given.item)), given.person) in seen:
            kept.append(given)
        else:
            builder.reject(
                "response",
                place=f"{built.rows[0].table.name}, row {given.row}",
                reason="answered again without a first answer",
                record={"study": built.study_id, "outcome": given.outcome, "value": given.value},
            )
    built.retests = kept


def _in_file_order(given: list[Given]) -> Iterator[Given]:
    yield from sorted(given, key=lambda answer: answer.row)


def _shown(cell: str | None) -> str | None:
    """A rejected cell as the rejects keep it: short, and without what looks like a person's details."""
    return None if cell is None else without_details(cell)[:SHOWN_OF_A_CELL]
