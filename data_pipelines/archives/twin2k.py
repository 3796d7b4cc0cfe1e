"""Twin-2K-500 (Toubia et al. 2025): people who answered some 500 questions, and some of them again two weeks later.

Reads the configuration `wave_split` as released.  A persona is what a person said earlier: the demographic
questions as attributes of their own, and all other questions of waves 1 to 3 with their answers as one text.  The
questions that wave 4 repeated are the items; the earlier answer is the response, the later one the retest.  They are
no part of the persona.  `full_persona` mixes them into it, so it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_pipelines.archives.records import Record, record_files, records
from data_pipelines.archives.twin2k_questions import Asked, asked_in, blocks_of, labels_of, told_by
from data_pipelines.drafting.demographics import attribute_of_text
from socsci_jax.errors import InputError
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

PERSONA, FIRST, AGAIN = "wave1_3_persona_json", "wave4_Q_wave1_3_A", "wave4_Q_wave4_A"
COLUMNS = ("pid", PERSONA, FIRST, AGAIN)
FORM = f"Twin-2K-500's wave_split has a record for each person, with {', '.join(COLUMNS)}"
ANSWERS = "earlier_answers"
_LEAKING = ("persona_text", "persona_json", "persona_summary")
STUDY = "twin2k500"


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the store of `wave_split` (Parquet or JSON lines); people are numbered as they come.

    An answer that its question does not allow is rejected; questions without a scale (texts, several choices) are
    counted.  Raises InputError for files that lack columns, and for those of `full_persona`.
    """
    builder = StoreBuilder(
        attributes=(*SOCSCI210_ATTRIBUTES, ANSWERS),
        verbatim=(ANSWERS,),
        source="Twin-2K-500 (Toubia et al. 2025)",
        license="CC BY 4.0",
        command=command,
    )
    builder.add_study(STUDY, title="Twin-2K-500")
    unscaled: dict[str, str] = {}
    people: set[str] = set()
    for number, record in enumerate(records(_files(Path(source)), COLUMNS, builder, form=FORM), start=1):
        _refuse_leaks(record)
        pid = record.fields["pid"]
        if not isinstance(pid, str | int) or str(pid) in people:
            reason = (
                "the person (pid) was there before"
                if isinstance(pid, str | int)
                else "pid is no text or number"
            )
            builder.reject("participant", place=record.place, reason=reason)
            continue
        people.add(str(pid))
        try:
            blocks = {name: blocks_of(record.fields[name]) for name in (PERSONA, FIRST, AGAIN)}
        except InputError as error:
            builder.reject("participant", place=record.place, reason=str(error).removesuffix("."))
            continue
        _add_person(builder, str(number), record, blocks, unscaled)
    for question, reason in unscaled.items():
        builder.reject("outcome", place=question, reason=reason)
    return builder.write(out, replace=replace)


def _files(source: Path) -> list[Path]:
    """The folder `wave_split` where the whole data set is given: the other configurations hold other columns."""
    return record_files(source / "wave_split" if (source / "wave_split").is_dir() else source)


def _refuse_leaks(record: Record) -> None:
    leaking = [name for name in _LEAKING if name in record.fields]
    if leaking:
        raise InputError(
            f"{record.place}: column {leaking[0]!r} is of the configuration full_persona, whose personas hold the answers "
            "that are to be predicted; give wave_split."
        )


def _add_person(
    builder: StoreBuilder,
    person: str,
    record: Record,
    blocks: dict[str, list[dict[str, Any]]],
    unscaled: dict[str, str],
) -> None:
    answered: dict[tuple[str, str], Asked] = {}
    for asked in asked_in(blocks[FIRST]):
        if asked.answer is not None and answered.setdefault(asked.key, asked) is not asked:
            reason = "the question was there before; its first answer counts"
            builder.reject("response", place=f"{record.place}, {asked.question_id}", reason=reason)
    held = {question for question, _ in answered} | {asked.question_id for asked in asked_in(blocks[AGAIN])}
    attributes, told = _persona(blocks[PERSONA], held)
    builder.add_participant(STUDY, person, {**attributes, ANSWERS: "\n".join(told) or None})
    ids: dict[tuple[str, str], str] = {}
    for asked in answered.values():
        if asked.scale is None:
            unscaled.setdefault(asked.question_id, asked.reason)
            continue
        try:
            item_id = builder.add_item(_item(asked))
        except InputError:
            reason = "the question was there before with another scale"
            builder.reject("response", place=f"{record.place}, {asked.question_id}", reason=reason)
            continue
        row = int(record.place.rsplit(":", 1)[1])
        assert asked.answer is not None
        if builder.add_response(
            item_id, person, asked.answer, sample_id=row, place=f"{record.place}, {asked.question_id}"
        ):
            ids[asked.key] = item_id
    for again in asked_in(blocks[AGAIN]):
        first = answered.get(again.key)
        if again.answer is None or first is None or again.key not in ids:
            continue
        if (again.scale, again.text) != (first.scale, first.text) or not again.allows(again.answer):
            builder.reject(
                "response",
                place=f"{record.place}, {again.question_id}",
                reason="answered again, but the question or its scale is another, or the answer is outside of it",
            )
            continue
        builder.add_retest(ids[again.key], person, again.answer)


def _persona(blocks: list[dict[str, Any]], held: set[str]) -> tuple[dict[str, str], list[str]]:
    """Attributes by the names of SocSci210's, and every other question with its answer, a line each."""
    attributes: dict[str, str] = {}
    told: list[str] = []
    for question, answers in _told(blocks, held):
        name = attribute_of_text(question["QuestionText"], labels_of(question))
        if name is not None and name not in attributes and len(answers) == 1:
            attributes[name] = answers[0][1]
        else:
            told += [f"{words} {answer}" for words, answer in answers]
    return attributes, told


def _told(
    blocks: list[dict[str, Any]], held: set[str]
) -> Iterator[tuple[dict[str, Any], list[tuple[str, str]]]]:
    for block in blocks:
        for question in block["Questions"]:
            if question["QuestionID"] not in held and (answers := told_by(question)):
                yield question, answers


def _item(asked: Asked) -> Item:
    assert asked.scale is not None
    return Item(
        study_id=STUDY,
        condition=asked.block,
        outcome=" ".join(asked.key).strip(),
        stimulus=asked.before,
        question=f"{asked.text}\n",
        answer_format=asked.answer_format,
        scale=asked.scale,
    )
