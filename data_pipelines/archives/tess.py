"""The replication archive of 49 randomized US survey experiments (TESS, and Coppock's replications).

Reads `conditions.csv` (arms), `outcomes.csv` (questions and scales) and `responses.csv.gz` (answers), and, where
it is present, `crosswalk_socsci210.csv`.  The archive has no participant ids: every row is its own participant,
numbered as the rows of `responses.csv.gz` from 1 on.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from data_pipelines.formats.markup import without_markup
from data_pipelines.scales.codebooks import read_codebook, read_range
from data_pipelines.scales.nonresponse import USUAL_CODES
from socsci_jax.errors import InputError
from socsci_jax.reading import panics_as_errors
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import MAX_LEVELS, Scale
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item
from socsci_jax.studies.specification_files import refusal
from socsci_jax.studies.store import StoreBuilder, StudyStore
from socsci_jax.tables import decompressed, unreadable

SOURCE = (
    "Replication archive of 'Predicting results of social science experiments using large language models': "
    "TESS experiments and Coppock's replications"
)
LICENSE = "CC0-1.0"

CONDITIONS, OUTCOMES, RESPONSES = "conditions.csv", "outcomes.csv", "responses.csv.gz"
CROSSWALK = "crosswalk_socsci210.csv"

COLUMNS = {
    CONDITIONS: ("study", "title", "condition.name", "condition.text", "blurb", "Exclude"),
    OUTCOMES: (
        *("study", "title", "outcome.name", "outcome.text", "outcome.scale", "outcome.limits"),
        *("outcome.lower", "outcome.upper", "exclude"),
    ),
    RESPONSES: (
        *("study", "outcome.name", "y", "condition.name", "GENDER", "race_4", "pid_3", "age_5", "EDUC4"),
        *("ideo_3", "outcome.min", "outcome.max"),
    ),
}

ATTRIBUTE_COLUMNS = {
    "gender": "GENDER",
    "ethnicity": "race_4",
    "party_id": "pid_3",
    "age": "age_5",
    "education": "EDUC4",
    "ideology": "ideo_3",
}
ATTRIBUTES = tuple(name for name in SOCSCI210_ATTRIBUTES if name in ATTRIBUTE_COLUMNS)

# Arms whose text in the archive is that of an arm of another experiment, while their siblings are about something
# else.  What these people read is not in the archive, so they are left out as long as the two texts are equal.
MISPLACED_TEXTS = {
    ("McCabeS19", "INSURANCE+GOVERNMENT CUE"): ("Howat1039", "Traits"),
    ("Merolla843", "relaxation_condition"): ("Levendusky741", "Control"),
}

# "Gun Control, ..." is a topic.
_CONTROL_NAME = re.compile(
    r"(?<!gun[ _])(?<![a-z])control(?![a-z])|(?<![a-z])(?:placebo|baseline)(?![a-z])|\bno (?:narrative|prompt)\b",
    re.IGNORECASE,
)
_BLANK_MARK = re.compile(r"\[(?:BLANK )?SPACE\]")
_ANSWER_MARK = re.compile(r"\[?PARTICIPANT_ANSWERS_QUESTION\]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Condition:
    name: str
    stimulus: str
    is_control: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    name: str
    question: str
    scale: Scale


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the study store of the archive in folder `source` to folder `out`.

    An item's stimulus is the text common to all arms (`blurb`) and the arm's own text; its question is the
    outcome's wording, empty where the arm's text holds it; its answer format is written from the codebook's
    scale.  Every row of the responses ends up as a response or in the rejects.
    Raises InputError for a missing file or column.
    """
    source = Path(source)
    tables = _read_all(source)
    builder = StoreBuilder(attributes=ATTRIBUTES, source=SOURCE, license=LICENSE, command=command)
    for study, title in _titles(tables[CONDITIONS], tables[OUTCOMES]).items():
        builder.add_study(study, title=title)
    conditions = _conditions(tables[CONDITIONS], builder)
    outcomes = _outcomes(tables[OUTCOMES], tables[RESPONSES], builder)
    _add_answers(tables[RESPONSES], conditions, outcomes, builder)
    _note_socsci210_ids(source / CROSSWALK, builder)
    return builder.write(out, replace=replace)


def plain_text(text: str | None) -> str:
    """Text as a reader saw it: no markup, no survey-programming marks, tidy white space, tables with " | "."""
    if not text:
        return ""
    return without_markup(_ANSWER_MARK.sub("[The participant answers.]", _BLANK_MARK.sub("", text)))


def _read_all(source: Path) -> dict[str, pl.DataFrame]:
    """The archive's tables; raises InputError that lists every file and column that is absent."""
    tables, problems = {}, []
    for name, columns in COLUMNS.items():
        try:
            tables[name] = _read(source / name)
        except InputError as error:
            problems.append(str(error).removesuffix("."))
            continue
        absent = [column for column in columns if column not in tables[name].columns]
        if absent:
            problems.append(
                f"{source / name}: missing columns {', '.join(map(repr, absent))}; found {tables[name].columns}"
            )
    if problems:
        raise refusal(f"{source} as a TESS archive", problems)
    return tables


def _read(path: Path) -> pl.DataFrame:
    """All columns as text; an empty field is null."""
    if not path.is_file():
        raise InputError(f"{path}: file not found; the archive's folder holds {', '.join(COLUMNS)}.")
    hint = "fetch the file from the archive again"
    content = decompressed(path, hint=hint)
    try:
        with panics_as_errors():
            table = pl.read_csv(content, infer_schema_length=0)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise unreadable(path, error, hint=hint) from error
    return table.with_columns(
        pl.when(pl.col(pl.String).str.strip_chars() == "").then(None).otherwise(pl.col(pl.String)).name.keep()
    )


def _titles(conditions: pl.DataFrame, outcomes: pl.DataFrame) -> dict[str, str]:
    titles: dict[str, str] = {}
    for study, title in pl.concat([t.select("study", "title") for t in (conditions, outcomes)]).iter_rows():
        if study is not None:
            titles[study] = titles.get(study) or plain_text(title)
    return titles


def _conditions(table: pl.DataFrame, builder: StoreBuilder) -> dict[tuple[str, str], _Condition]:
    stimuli: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    own_texts: dict[tuple[str, str], str] = {}
    for row_number, row in enumerate(table.iter_rows(named=True), start=2):
        key = (row["study"], row["condition.name"])
        if None in key:
            _reject_nameless("condition", f"{CONDITIONS}, row {row_number}", key, builder)
            continue
        if row["Exclude"] not in (None, "0"):
            builder.reject(
                "condition",
                place=f"{CONDITIONS}, row {row_number}",
                reason=f"marked Exclude = {row['Exclude']} in the archive",
                record={"study": key[0], "condition": key[1]},
            )
            continue
        own_texts[key] = plain_text(row["condition.text"])
        stimuli[key].add(_joined(plain_text(row["blurb"]), own_texts[key]))
    reasons = {
        key: "several texts stand under this name" for key, texts in stimuli.items() if len(texts) > 1
    } | _misplaced(own_texts, builder)
    for (study, name), reason in reasons.items():
        builder.reject(
            "condition",
            place=f"{CONDITIONS}, study {study}, condition {name!r}",
            reason=reason,
            record={"study": study, "condition": name},
        )
    kept = {key: texts.pop() for key, texts in stimuli.items() if key not in reasons}
    controls = _controls(kept, own_texts)
    return {
        key: _Condition(name=key[1], stimulus=stimulus, is_control=controls[key])
        for key, stimulus in kept.items()
    }


def _reject_nameless(
    kind: str, place: str, key: tuple[str | None, str | None], builder: StoreBuilder
) -> None:
    record = {"study": key[0], kind: key[1]}
    builder.reject(kind, place=place, reason=f"no name of study or {kind}", record=record)


def _joined(blurb: str, own: str) -> str:
    """Both texts, once: some rows repeat the one within the other."""
    parts = [own] if blurb in own else [blurb] if own in blurb else [blurb, own]
    return "".join(f"{part}\n\n" for part in parts if part)


def _misplaced(texts: Mapping[tuple[str, str], str], builder: StoreBuilder) -> dict[tuple[str, str], str]:
    """Reasons to leave out arms that carry another experiment's text; a note for each text that studies share."""
    words = {key: "".join(re.findall(r"\w", text)) for key, text in texts.items()}
    holders = collections.defaultdict(list)
    for key, letters in words.items():
        if letters:
            holders[letters].append(key)
    for keys in holders.values():
        if len({study for study, _ in keys}) > 1:
            arms = ", ".join(f"{study} {name!r}" for study, name in keys)
            builder.notes.append(f"The same condition text stands in several studies: {arms}.")
    return {
        key: f"its text in the archive is that of study {owner[0]}, condition {owner[1]!r}"
        for key, owner in MISPLACED_TEXTS.items()
        if key in words and words[key] == words.get(owner)
    }


def _controls(
    kept: Iterable[tuple[str, str]], own_texts: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], bool | None]:
    """Whether an arm is its study's control: by its name, or because it alone adds no text.

    None for all arms of a study in which no arm, or every arm, looks like one.
    """
    looks = {key: bool(_CONTROL_NAME.search(key[1])) or not own_texts[key] for key in kept}
    seen = collections.defaultdict(set)
    for (study, _), is_control in looks.items():
        seen[study].add(is_control)
    return {key: is_control if len(seen[key[0]]) == 2 else None for key, is_control in looks.items()}


def _outcomes(
    table: pl.DataFrame, responses: pl.DataFrame, builder: StoreBuilder
) -> dict[tuple[str, str], _Outcome]:
    observed = {
        (study, name): (lo, hi)
        for study, name, lo, hi in responses.group_by("study", "outcome.name")
        .agg(
            pl.col("outcome.min").cast(pl.Float64, strict=False).min(),
            pl.col("outcome.max").cast(pl.Float64, strict=False).max(),
        )
        .iter_rows()
    }
    outcomes: dict[tuple[str, str], _Outcome] = {}
    for row_number, row in enumerate(table.iter_rows(named=True), start=2):
        key = (row["study"], row["outcome.name"])
        if None in key:
            _reject_nameless("outcome", f"{OUTCOMES}, row {row_number}", key, builder)
            continue
        question = plain_text(row["outcome.text"])
        place = f"{OUTCOMES}, row {row_number}"
        outcome = _Outcome(
            name=key[1],
            question=f"{question}\n" if question else "",
            scale=_scale(row, observed=observed.get(key, (None, None)), builder=builder, place=place),
        )
        if row["exclude"] not in (None, "0"):
            reason = f"marked exclude = {row['exclude']} in the archive"
        elif outcomes.setdefault(key, outcome) != outcome:
            reason = "another row of this name says something else; the first one counts"
        else:
            continue
        builder.reject(
            "outcome",
            place=place,
            reason=reason,
            record={"study": key[0], "outcome": key[1]},
        )
    return outcomes


def _scale(
    row: Mapping[str, str | None],
    *,
    observed: tuple[float | None, float | None],
    builder: StoreBuilder,
    place: str,
) -> Scale:
    """The codebook's scale; where it says nothing that of the observed ends, where it is not understood none."""
    limits = row["outcome.limits"] or ""
    lo, hi = read_range(limits) or (None, None)
    reading = read_codebook(
        row["outcome.scale"] or "",
        lo=lo,
        hi=hi,
        lower=plain_text(row["outcome.lower"]),
        upper=plain_text(row["outcome.upper"]),
    )
    scale, note = reading.scale, reading.note
    if not note and lo is None and re.search(r"\d", limits):
        note = f"the limits {limits[:60]!r} are no range"
    if note:
        builder.notes.append(f"{place}: the scale is unknown, since {note}.")
        return Scale.unknown()
    if scale.kind == "unknown" and None not in observed and observed[0] < observed[1]:
        return _observed_scale(*observed)
    return scale


def _observed_scale(lo: float, hi: float) -> Scale:
    """Only the data say where the scale ends."""
    if lo != int(lo) or hi != int(hi) or hi - lo >= MAX_LEVELS:
        return Scale.open_number(lo=lo, hi=hi, origin="observed")
    return Scale.of_levels(range(int(lo), int(hi) + 1), origin="observed")


def _add_answers(
    responses: pl.DataFrame,
    conditions: Mapping[tuple[str, str], _Condition],
    outcomes: Mapping[tuple[str, str], _Outcome],
    builder: StoreBuilder,
) -> None:
    cells: dict[tuple[str, str, str], str] = {}
    parsed = responses.with_columns(value=pl.col("y").cast(pl.Float64, strict=False))
    for number, row in enumerate(parsed.iter_rows(named=True), start=1):
        study, condition, outcome = row["study"], row["condition.name"], row["outcome.name"]
        reason = _why_not(row, conditions.get((study, condition)), outcomes.get((study, outcome)))
        if reason:
            builder.reject(
                "response",
                place=f"{RESPONSES}, row {number + 1}",
                reason=reason,
                record={"study": study, "condition": condition, "outcome": outcome, "y": row["y"]},
            )
            continue
        cell = (study, condition, outcome)
        if cell not in cells:
            cells[cell] = builder.add_item(
                _item(study, conditions[study, condition], outcomes[study, outcome])
            )
        kept = builder.add_response(
            cells[cell],
            str(number),
            row["value"],
            sample_id=number,
            place=f"{RESPONSES}, row {number + 1}",
        )
        if kept:
            builder.add_participant(
                study, str(number), {name: row[ATTRIBUTE_COLUMNS[name]] for name in ATTRIBUTES}
            )
    _note_equal_texts(cells, conditions, outcomes, builder)


def _why_not(row: Mapping[str, object], condition: _Condition | None, outcome: _Outcome | None) -> str | None:
    """The reason for which a row of the responses cannot be kept; None if it can."""
    if row["y"] is None:
        return "missing answer"
    if condition is None:
        return f"condition left out or not in {CONDITIONS}"
    if outcome is None:
        return f"outcome left out or not in {OUTCOMES}"
    value = row["value"]
    if value is None:
        return "answer is not a number"
    scale = outcome.scale
    off_scale = not scale.allows(value) and not scale.is_alternative(value)
    if scale.is_missing(value) or (off_scale and value in USUAL_CODES):
        return f"missing answer (code {value:g})"
    if not condition.stimulus and not outcome.question:
        return "neither the condition nor the outcome has a text"
    return None


def _item(study: str, condition: _Condition, outcome: _Outcome) -> Item:
    return Item(
        study_id=study,
        condition=condition.name,
        outcome=outcome.name,
        stimulus=condition.stimulus,
        question=outcome.question,
        answer_format=answer_format(outcome.scale),
        scale=outcome.scale,
        is_control=condition.is_control,
    )


def _note_equal_texts(
    cells: Iterable[tuple[str, str, str]],
    conditions: Mapping[tuple[str, str], _Condition],
    outcomes: Mapping[tuple[str, str], _Outcome],
    builder: StoreBuilder,
) -> None:
    """People who read the same words cannot be told apart by a model, whatever their conditions are called."""
    arms = collections.defaultdict(list)
    for study, condition, outcome in cells:
        arms[
            study, outcome, conditions[study, condition].stimulus + outcomes[study, outcome].question
        ].append(condition)
    for (study, outcome, _), names in arms.items():
        if len(names) > 1:
            builder.notes.append(
                f"Study {study}, outcome {outcome!r}: these conditions have the same text: {', '.join(names)}."
            )


def _note_socsci210_ids(path: Path, builder: StoreBuilder) -> None:
    """The same experiments are in SocSci210 under other ids, which a split across both must know."""
    if not path.is_file():
        return
    rows = _read(path).select("hewitt_study", "socsci210_study_id").iter_rows(named=True)
    pairs = ", ".join(f"{row['hewitt_study']} = {row['socsci210_study_id']}" for row in rows)
    builder.notes.append(f"Studies that SocSci210 holds too, with its ids: {pairs}.")
