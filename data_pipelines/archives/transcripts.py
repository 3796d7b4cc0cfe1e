"""Transcripts of Psych-101 and Psych-201 (Binz et al. 2025): experiments told trial by trial, answers marked `<<A>>`.

An item is everything that a person read before an answer: instructions, earlier trials, their own earlier answers
and what came of them.  It is another text for each person and trial, so each is an item of its own.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.archives.records import Record, record_files, records
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import Scale, format_value
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.wording import counted, counted_of

COLUMNS = ("text", "experiment", "participant")
FORM = f"a transcript has {', '.join(COLUMNS)}, and its answers stand in <<double angle brackets>>"
# Of people; other columns of a release (reaction times, marks of a split) are about trials or files.
ATTRIBUTES = (
    "age",
    "gender",
    "sex",
    "education",
    "nationality",
    "first_language",
    "diagnosis",
    "clinical_diagnoses",
)
# An item holds all that came before it, so all trials of a session would grow with the square of its length.
TRIALS_PER_PERSON = 8
LONGEST_ITEM = 128_000
MOST_KEYS = 26
LONGEST_ANSWER = 200
_ANSWER = re.compile(rf"<<([^<>]{{0,{LONGEST_ANSWER}}})>>")
_NUMBER = re.compile(r"[-+]?\d{1,12}(?:\.\d{1,9})?")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One answer of a transcript, and where in its text it begins: all that stands before was read."""

    number: int
    begins: int
    answer: str


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the store of transcripts (JSON lines or Parquet).

    An experiment is a study, its answers one outcome.  Of each person TRIALS_PER_PERSON trials are kept, evenly over
    the session, each with its whole history; the note counts the others.  Keys are nominal levels where the transcript
    names them before its first answer or the person pressed them; answers that are numbers are open.
    Raises InputError for files that lack columns.
    """
    builder = StoreBuilder(
        attributes=ATTRIBUTES, source="Transcripts of experiments", license="not stated", command=command
    )
    counts: collections.Counter[str] = collections.Counter()
    people: set[tuple[str, str]] = set()
    for record in records(record_files(Path(source)), COLUMNS, builder, form=FORM):
        problem = _add(builder, record, counts, people)
        if problem:
            builder.reject("participant", place=record.place, reason=problem)
    builder.notes.append(
        f"{counted_of(counts['kept'], counts['trials'], 'trial')} kept, at most {TRIALS_PER_PERSON} of a person, evenly "
        "over the session; each holds all that came before it."
    )
    if counts["unread"]:
        builder.notes.append(
            f"{counted(counts['unread'], 'mark')} << without an answer of 1 to {LONGEST_ANSWER} characters behind it, and >>: "
            "no trials."
        )
    return builder.write(out, replace=replace)


def _add(
    builder: StoreBuilder, record: Record, counts: collections.Counter[str], people: set[tuple[str, str]]
) -> str | None:
    """Adds a transcript's trials; returns why it is excluded."""
    fields = record.fields
    text, experiment = fields["text"], fields["experiment"]
    if not isinstance(text, str) or not isinstance(experiment, str) or not experiment.strip():
        return "text and experiment must be texts"
    trials = _trials(text)
    if not trials:
        return "no answer stands in <<double angle brackets>>"
    study, person = (
        re.sub(r"[^\w.]+", "_", experiment).strip("_") or "experiment",
        _told(fields["participant"]),
    )
    if person is None:
        return "participant must be a text or a number"
    if (study, person) in people:
        return "the participant of this experiment was there before"
    people.add((study, person))
    scale = _scale(trials, text[: trials[0].begins])
    if isinstance(scale, str):
        return scale
    keys = (
        {label: code for code, label in zip(scale.levels, scale.labels, strict=True)} if scale.labels else {}
    )
    builder.add_study(study, title=experiment)
    builder.add_participant(study, person, {name: _told(fields.get(name)) for name in ATTRIBUTES})
    counts["trials"] += len(trials)
    counts["unread"] += text.count("<<") - len(trials)
    for trial in _spread(trials):
        if trial.begins > LONGEST_ITEM:
            builder.reject(
                "item",
                place=f"{record.place}, answer {trial.number}",
                reason=f"more than {LONGEST_ITEM:,} characters were read before",
            )
            continue
        item = Item(
            study_id=study,
            condition="all",
            outcome="answer",
            stimulus=f"{_shown(text[: trial.begins])}\n\n",
            question="What is this person's next answer?\n",
            answer_format=answer_format(scale),
            scale=scale,
        )
        value = keys[trial.answer] if keys else float(trial.answer)
        counts["kept"] += builder.add_response(
            builder.add_item(item), person, value, sample_id=trial.number, place=record.place
        )
    return None


def _trials(text: str) -> list[Trial]:
    return [
        Trial(number, match.start(), match[1].strip())
        for number, match in enumerate(_ANSWER.finditer(text), start=1)
        if match[1].strip()
    ]


def _scale(trials: Sequence[Trial], told: str) -> Scale | str:
    """An open number where all answers are numbers and not a few whole ones, else the keys; or why there is none.

    `told` is what stands before the first answer.
    """
    answers = {trial.answer for trial in trials}
    if all(map(_NUMBER.fullmatch, answers)):
        return Scale.open_number(origin="observed")
    pressed = sorted(answers)
    # Keys are single capitals where a person pressed such; the instructions name those that were never pressed.
    alike = (
        re.findall(r"(?<![\w'’])[A-Z](?![\w'’])", told)
        if all(re.fullmatch("[A-Z]", a) for a in answers)
        else []
    )
    named = sorted({key for key in alike if key not in ("A", "I")} | set(pressed))
    if not 2 <= len(named) <= MOST_KEYS:
        return f"{len(named)} different answers; 2 to {MOST_KEYS} keys or numbers are read"
    origin = "stated" if answers <= {*alike} else "observed"
    return Scale.of_levels(dict(enumerate(named, start=1)), origin=origin, nominal=True)


def _spread(trials: Sequence[Trial]) -> list[Trial]:
    """Evenly chosen trials, the first and the last among them."""
    if len(trials) <= TRIALS_PER_PERSON:
        return list(trials)
    last = len(trials) - 1
    return [trials[round(i * last / (TRIALS_PER_PERSON - 1))] for i in range(TRIALS_PER_PERSON)]


def _shown(text: str) -> str:
    """The history as a person would read it: answers without their marks, no half line at the end."""
    return _ANSWER.sub(lambda match: match[1], text).rstrip()


def _told(value: object) -> str | None:
    """A value as text, 7 whether a file says 7 or 7.0; None for what is neither a text nor a number."""
    if isinstance(value, float):
        return format_value(value) if value == value and abs(value) < 1e9 else None
    return (
        str(value).strip() or None if isinstance(value, str | int) and not isinstance(value, bool) else None
    )
