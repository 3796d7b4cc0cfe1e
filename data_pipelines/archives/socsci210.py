"""SocSci210 as published: 2.9 million answers to 210 survey experiments, one row an answer.

Reads Parquet shards or JSON-lines files in the published columns and writes a study store, in which every text
and every persona is held once.  The column `reasoning`, which was generated from the answers, is never read.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.scales.sentences import TextParts, read_scale, split_text
from socsci_jax.errors import InputError
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item, Scale
from socsci_jax.studies.splits import split_of_units
from socsci_jax.studies.store import StoreBuilder, StudyStore

SOURCE = "SocSci210"
LICENSE = "not stated by the publisher"

_INTEGERS = ("sample_id", "participant", "response", "condition_num", "task_num")
_TEXTS = ("study_id", "stimuli", "prompt")
COLUMNS = (*_INTEGERS, *_TEXTS, "demographic")

BATCH_ROWS = 50_000

# The published prompt; that the layout `persona_first` writes the same is tested, not assumed here.
_PROMPT_HEAD = "You are a survey respondent with the following demographic profile:\n"
_PROMPT_MIDDLE = (
    "\n\nRead the question below and answer exactly as this person would. "
    "Follow the response instructions precisely.\n\n"
)

_FLAT_SCHEMA = {
    **{name: pl.Int64 for name in _INTEGERS},
    **{name: pl.String for name in _TEXTS},
    **{name: pl.String for name in SOCSCI210_ATTRIBUTES},
}


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the study store of the SocSci210 release at `source` to folder `out`.

    `source` is a folder with `*.parquet` or `*.jsonl` (there or in its folder `data`), one such file, or the id
    of a data set on the Hugging Face hub ("organization/name").  Where the folder `metadata` is present, the
    published hold-outs are saved with the store as splits `published_studies`, `published_conditions` and
    `published_outcomes`.

    An item whose scale cannot be read keeps its answers under an unknown scale; a row with a missing or
    unreadable field, a repeated key, an answer outside the stated scale or a prompt about another text goes to
    the rejects; how many of each there were is in the notes.
    Raises InputError for a source that cannot be found or read, and for a missing column.
    """
    folder = _folder(Path(source))
    files = _files(folder)
    builder = StoreBuilder(attributes=SOCSCI210_ATTRIBUTES, source=SOURCE, license=LICENSE, command=command)
    reader = _Reader(builder)
    for file in files:
        for batch in _batches(file, builder):
            reader.add(batch, file)
    builder.notes.extend(reader.notes())
    held_out = published_holdouts(folder)
    store = builder.write(out, replace=replace)
    _save_splits(store, held_out, replace=replace)
    return store


# ---------------------------------------------------------------------------------------------------------
# Files


def _folder(source: Path) -> Path:
    if source.exists():
        return source
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source.as_posix()):
        raise InputError(
            f"{source}: there is no such file or folder; give the folder of the Parquet shards, or the data set's "
            "id on the hub as organization/name."
        )
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                source.as_posix(),
                repo_type="dataset",
                allow_patterns=["*.parquet", "data/*.parquet", "metadata/*.json"],
            )
        )
    except Exception as error:  # the client raises errors of many libraries; all of them mean: not fetched
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{source}: no such folder here, and it could not be fetched from the hub as a data set "
            f"({type(error).__name__}: {reason}); download it elsewhere and give its folder."
        ) from error


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    for place in (folder, folder / "data"):
        for pattern in ("*.parquet", "*.jsonl"):
            files = sorted(place.glob(pattern))
            if files:
                return files
    raise InputError(
        f"{folder}: neither *.parquet nor *.jsonl here or in its folder data; give the folder of the shards."
    )


def _batches(file: Path, builder: StoreBuilder) -> Iterator[pl.DataFrame]:
    """Tables with the columns of `_FLAT_SCHEMA` and `row`, the number of the row in its file from 1 on."""
    return _parquet_batches(file) if file.suffix == ".parquet" else _json_batches(file, builder)


def _parquet_batches(file: Path) -> Iterator[pl.DataFrame]:
    try:
        shard = pq.ParquetFile(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{file}: not a readable Parquet file ({str(error).splitlines()[0]}); fetch it again."
        ) from error
    schema = shard.schema_arrow
    _require(file, schema.names)
    demographic = schema.field("demographic").type
    if not pa.types.is_struct(demographic):
        raise InputError(f"{file}: column 'demographic' is {demographic}, a struct of attributes is needed.")
    _require_known(file, [field.name for field in demographic])
    first = 1
    for batch in shard.iter_batches(batch_size=BATCH_ROWS, columns=list(COLUMNS)):
        table = pl.from_arrow(batch)
        try:
            flat = table.drop("demographic").hstack(table["demographic"].struct.unnest())
            flat = flat.with_columns(
                *(pl.col(name).cast(pl.Int64) for name in _INTEGERS),
                *(_attribute(flat, name).alias(name) for name in SOCSCI210_ATTRIBUTES),
            )
        except pl.exceptions.InvalidOperationError as error:
            raise InputError(
                f"{file}: a column is not of whole numbers ({str(error).splitlines()[0]})."
            ) from error
        yield flat.select(*_FLAT_SCHEMA).with_row_index("row", offset=first)
        first += batch.num_rows


def _attribute(rows: pl.DataFrame, name: str) -> pl.Expr:
    if name not in rows.columns:
        return pl.lit(None, pl.String)
    if rows.schema[name].is_float():  # 34.0 where a null made floats of a column of whole numbers
        return pl.col(name).cast(pl.Int64).cast(pl.String)
    return pl.col(name).cast(pl.String)


def _json_batches(file: Path, builder: StoreBuilder) -> Iterator[pl.DataFrame]:
    with file.open(encoding="utf-8") as lines:
        numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
        while chunk := list(itertools.islice(numbered, BATCH_ROWS)):
            records = []
            for number, line in chunk:
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    builder.reject(
                        "response", place=f"{file.name}:{number}", reason=f"not valid JSON ({error})"
                    )
                    continue
                _require(file, record, row=number)
                records.append({"row": number, **_flat(file, record)})
            yield pl.DataFrame(records, schema={"row": pl.UInt32, **_FLAT_SCHEMA})


def _flat(file: Path, record: dict) -> dict:
    """One JSON record in the columns of `_FLAT_SCHEMA`; a value of another type than the column's is null."""
    demographic = record["demographic"] or {}
    _require_known(file, demographic)
    return {
        **{name: record[name] if type(record[name]) is int else None for name in _INTEGERS},
        **{name: record[name] if isinstance(record[name], str) else None for name in _TEXTS},
        **{
            name: None if demographic.get(name) is None else str(demographic[name])
            for name in SOCSCI210_ATTRIBUTES
        },
    }


def _require(file: Path, found: list[str] | dict, *, row: int | None = None) -> None:
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        place = f"{file}:{row}" if row else f"{file}"
        raise InputError(
            f"{place}: missing columns {', '.join(map(repr, missing))}; found {list(found)}, needed {list(COLUMNS)} as "
            "published."
        )


def _require_known(file: Path, names: list[str] | dict) -> None:
    unknown = [name for name in names if name not in SOCSCI210_ATTRIBUTES]
    if unknown:
        raise InputError(
            f"{file}: column 'demographic' has the field {unknown[0]!r}; known are {list(SOCSCI210_ATTRIBUTES)}."
        )


# ---------------------------------------------------------------------------------------------------------
# Rows


class _Reader:
    """Adds batches of rows to a builder and counts what its notes must tell."""

    def __init__(self, builder: StoreBuilder):
        self.builder = builder
        self._samples: dict[str, set[int]] = {}
        self._personas: dict[tuple[str, int], int] = {}
        self._unknown: Counter[str] = Counter()
        self._other_prompts: list[str] = []
        self._other_personas: list[str] = []
        self._counts: Counter[str] = Counter()

    def add(self, rows: pl.DataFrame, file: Path) -> None:
        rows = self._complete(rows, file)
        rows = self._with_matching_prompt(rows, file)
        self._add_participants(rows, file)
        self._add_responses(rows, file)

    def _complete(self, rows: pl.DataFrame, file: Path) -> pl.DataFrame:
        """Rows in which every needed field is there; the others are rejected."""
        needed = [*_INTEGERS, *_TEXTS]
        whole = pl.all_horizontal(pl.col(name).is_not_null() for name in needed)
        for row in rows.filter(~whole).iter_rows(named=True):
            absent = [name for name in needed if row[name] is None]
            self.builder.reject(
                "response",
                place=f"{file.name}:{row['row']}",
                reason=f"{', '.join(absent)} missing or of the wrong type",
                record={name: row[name] for name in ("study_id", "sample_id", "participant", "response")},
            )
        return rows.filter(whole)

    def _with_matching_prompt(self, rows: pl.DataFrame, file: Path) -> pl.DataFrame:
        """Rows whose published prompt asks for the same text; a persona written otherwise is only counted."""
        about_text = pl.col("prompt").str.ends_with(pl.col("stimuli"))
        for row in rows.filter(~about_text).iter_rows(named=True):
            self.builder.reject(
                "response",
                place=f"{file.name}:{row['row']}",
                reason="the published prompt does not end with the stimuli text",
                record={"study_id": row["study_id"], "sample_id": row["sample_id"]},
            )
        rows = rows.filter(about_text)
        persona = pl.concat_str(
            [
                pl.format("- " + name.replace("_", " ").title() + ": {}", pl.col(name))
                for name in SOCSCI210_ATTRIBUTES
            ],
            separator="\n",
            ignore_nulls=True,
        )
        rebuilt = pl.concat_str([pl.lit(_PROMPT_HEAD), persona, pl.lit(_PROMPT_MIDDLE), pl.col("stimuli")])
        differing = rows.filter(pl.col("prompt") != rebuilt)
        self._counts["other prompts"] += len(differing)
        if len(differing) and not self._other_prompts:
            self._other_prompts.append(f"{file.name}:{differing['row'][0]}")
        return rows.drop("prompt")

    def _add_participants(self, rows: pl.DataFrame, file: Path) -> None:
        people = rows.select("row", "study_id", "participant", *SOCSCI210_ATTRIBUTES).unique(
            ["study_id", "participant", *SOCSCI210_ATTRIBUTES], keep="first", maintain_order=True
        )
        for row, study, participant, *values in people.iter_rows():
            digest = hash(tuple(values))
            known = self._personas.setdefault((study, participant), digest)
            if known != digest:
                self._other_personas.append(f"{file.name}:{row}")
                continue
            self.builder.add_participant(
                study, str(participant), dict(zip(SOCSCI210_ATTRIBUTES, values, strict=True))
            )

    def _add_responses(self, rows: pl.DataFrame, file: Path) -> None:
        keys = ["study_id", "condition_num", "task_num", "stimuli"]
        rows = rows.with_columns(group=pl.struct(keys).rank("dense"))
        items = {
            row["group"]: self._add_item(row)
            for row in rows.unique("group", keep="first", maintain_order=True).iter_rows(named=True)
        }
        columns = rows.select("row", "study_id", "group", "participant", "response", "sample_id")
        for row, study, group, participant, response, sample_id in columns.iter_rows():
            place = f"{file.name}:{row}"
            seen = self._samples.setdefault(study, set())
            if sample_id in seen:
                self.builder.reject(
                    "response",
                    place=place,
                    reason="(study_id, sample_id) was seen before",
                    record={"study_id": study, "sample_id": sample_id},
                )
                continue
            seen.add(sample_id)
            item_id, scale = items[group]
            if scale.kind == "unknown":
                self._unknown[item_id] += 1
            self.builder.add_response(item_id, str(participant), response, sample_id=sample_id, place=place)

    def _add_item(self, row: dict) -> tuple[str, Scale]:
        self.builder.add_study(row["study_id"])
        parts, scale = _read_text(row["stimuli"])
        item = Item(
            study_id=row["study_id"],
            condition=str(row["condition_num"]),
            outcome=str(row["task_num"]),
            stimulus=parts.stimulus,
            question=parts.question,
            answer_format=parts.answer_format,
            scale=scale,
        )
        return self.builder.add_item(item), scale

    def notes(self) -> list[str]:
        notes = []
        if self._unknown:
            notes.append(
                f"{len(self._unknown)} items ({self._unknown.total()} answers) state no scale that could be read; "
                "they can be trained on, not evaluated"
            )
        if self._counts["other prompts"]:
            notes.append(
                f"{self._counts['other prompts']} published prompts differ from the one that layout persona_first "
                f"writes (the first at {self._other_prompts[0]})"
            )
        if self._other_personas:
            notes.append(
                f"{len(self._other_personas)} times a participant came back with another persona; the first stands "
                f"(the first such row at {self._other_personas[0]})"
            )
        return notes


@functools.lru_cache(maxsize=16_384)
def _read_text(text: str) -> tuple[TextParts, Scale]:
    return split_text(text), read_scale(text)


# ---------------------------------------------------------------------------------------------------------
# The published hold-outs


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedHoldouts:
    """What the release holds out: whole studies, and by (study_id, sample_id) whole conditions and outcomes."""

    studies: tuple[str, ...]
    condition_samples: pl.DataFrame | None
    outcome_samples: pl.DataFrame | None


def published_holdouts(source: Path) -> PublishedHoldouts:
    """Reads `metadata/{participant,condition,task}_mapping.json` as far as they are there.

    The sample tables have the columns study_id, sample_id and is_held_out.
    Raises InputError for a mapping of another form.
    """
    folder = source / "metadata"
    studies = _mapping(folder / "participant_mapping.json") or {}
    return PublishedHoldouts(
        studies=tuple(studies.get("unseen", ())),
        condition_samples=_samples(folder / "condition_mapping.json"),
        outcome_samples=_samples(folder / "task_mapping.json"),
    )


def _mapping(path: Path) -> dict | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error}); fetch it again or remove it.") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: a {type(content).__name__} was found, a mapping is needed; remove the file."
        )
    return content


def _samples(path: Path) -> pl.DataFrame | None:
    content = _mapping(path)
    if content is None:
        return None
    frames = []
    for study, sides in content.items():
        if not isinstance(sides, dict) or not {"train", "eval"} <= sides.keys():
            raise InputError(
                f"{path}: study {study!r} needs the keys 'train' and 'eval' with lists of sample ids."
            )
        for side in ("train", "eval"):
            ids = pl.Series("sample_id", sides[side], dtype=pl.Int64, strict=False)
            if ids.null_count():
                raise InputError(f"{path}: study {study!r}, {side!r}: a sample id is not a whole number.")
            frames.append(
                ids.to_frame().with_columns(study_id=pl.lit(study), is_held_out=pl.lit(side == "eval"))
            )
    return pl.concat(frames) if frames else None


def _save_splits(store: StudyStore, held_out: PublishedHoldouts, *, replace: bool) -> None:
    known = set(store.studies["study_id"])
    studies = [{"part": "unseen_studies", "study_id": s} for s in held_out.studies if s in known]
    if studies:
        split_of_units(store, name="published_studies", seed=0, rows=studies).save(store, replace=replace)
    for name, part, column, samples in (
        ("published_conditions", "unseen_conditions", "condition", held_out.condition_samples),
        ("published_outcomes", "unseen_outcomes", "outcome", held_out.outcome_samples),
    ):
        if samples is None:
            continue
        units = (
            store.responses.select("item_id", "sample_id")
            .join(store.items.select("item_id", "study_id", column), on="item_id")
            .join(samples, on=["study_id", "sample_id"])
            .group_by("study_id", column)
            .agg(pl.col("is_held_out").any(), whole=pl.col("is_held_out").n_unique() == 1)
            .filter("is_held_out")
            .sort("study_id", column)
        )
        parted = units.filter(~pl.col("whole"))
        notes = (
            [f"{len(parted)} {column}s have answers on both sides and are held out whole"]
            if len(parted)
            else []
        )
        rows = [{"part": part, **unit} for unit in units.select("study_id", column).iter_rows(named=True)]
        if rows:
            split_of_units(store, name=name, seed=0, rows=rows, notes=notes).save(store, replace=replace)
