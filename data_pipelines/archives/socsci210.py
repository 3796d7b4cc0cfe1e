"""SocSci210 as published: 2.9 million answers to 210 survey experiments, one row an answer.

Reads Parquet shards or JSON-lines files in the published columns and writes a study store, in which every text
and every persona is held once.  The column `reasoning`, which was generated from the answers, is never read.
"""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from data_pipelines.archives.file_parts import parts_folder, read_in_parts
from data_pipelines.archives.socsci210_files import INTEGERS, TEXTS, batches, release_files, release_folder
from data_pipelines.archives.socsci210_holdouts import published_holdouts, save_splits
from data_pipelines.archives.socsci210_parts import (
    SAMPLES_SCHEMA,
    other_personas,
    repeated,
    unknown_scales,
    without_repeated,
)
from data_pipelines.scales.sentences import TextParts, read_scale, split_text
from socsci_jax.storage import check_free
from socsci_jax.studies.attributes import UNKNOWN_TEXTS
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item, Scale
from socsci_jax.studies.store import WRITTEN, StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.studies.store_parts import Part
from socsci_jax.wording import counted

SOURCE = "SocSci210"
LICENSE = "not stated by the publisher"

# The published prompt; that the layout `persona_first` writes the same is tested, not assumed here.
_PROMPT_HEAD = "You are a survey respondent with the following demographic profile:\n"
_PROMPT_MIDDLE = (
    "\n\nRead the question below and answer exactly as this person would. "
    "Follow the response instructions precisely.\n\n"
)


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
    check_free(out, replaces=WRITTEN if replace else None)
    folder = release_folder(Path(source))
    held_out = published_holdouts(folder)
    read = read_in_parts(release_files(folder), parts_folder(out), reader=f"{__name__}:read_file")
    parts = without_repeated([part for part, _ in read])
    builder = _builder(command=command)
    builder.notes.extend(_notes(parts, [counts for _, counts in read]))
    store = builder.write(out, parts=parts, replace=replace)
    save_splits(store, held_out, replace=replace)
    shutil.rmtree(parts_folder(out))
    return store


def _builder(*, command: str) -> StoreBuilder:
    return StoreBuilder(attributes=SOCSCI210_ATTRIBUTES, source=SOURCE, license=LICENSE, command=command)


def read_file(file: Path) -> tuple[Part, dict[str, object]]:
    """One file as a part of the store, with its `samples`; and how many prompts and personas differ, and where first."""
    builder = _builder(command="")
    reader = _Reader(builder)
    for batch in batches(file, builder):
        reader.add(batch, file)
    return {**builder.part(), "samples": reader.samples()}, reader.counts()


class _Reader:
    """Adds batches of rows to a builder and counts what its notes must tell."""

    def __init__(self, builder: StoreBuilder):
        self.builder = builder
        self._samples: dict[str, dict[int, str]] = {}
        self._personas: dict[tuple[str, int], int] = {}
        self._other_prompts: list[str] = []
        self._other_personas: list[str] = []

    def add(self, rows: pl.DataFrame, file: Path) -> None:
        rows = self._complete(rows, file)
        rows = self._with_matching_prompt(rows, file)
        self._add_participants(rows, file)
        self._add_responses(rows, file)

    def _complete(self, rows: pl.DataFrame, file: Path) -> pl.DataFrame:
        """Rows in which every needed field is there; the others are rejected."""
        needed = [*INTEGERS, *TEXTS]
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
                pl.format("- " + name.replace("_", " ").title() + ": {}", _known(name))
                for name in SOCSCI210_ATTRIBUTES
            ],
            separator="\n",
            ignore_nulls=True,
        )
        rebuilt = pl.concat_str([pl.lit(_PROMPT_HEAD), persona, pl.lit(_PROMPT_MIDDLE), pl.col("stimuli")])
        differing = rows.filter(pl.col("prompt") != rebuilt)
        self._other_prompts.extend(f"{file.name}:{row}" for row in differing["row"])
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
            seen = self._samples.setdefault(study, {})
            if sample_id in seen:
                self.builder.reject("response", **repeated(study, sample_id, place))
                continue
            seen[sample_id] = place
            self.builder.add_response(
                items[group], str(participant), response, sample_id=sample_id, place=place
            )

    def _add_item(self, row: dict) -> str:
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
        return self.builder.add_item(item)

    def samples(self) -> pa.Table:
        rows = [(study, *row) for study, of in self._samples.items() for row in of.items()]
        columns = zip(*rows, strict=True) if rows else [(), (), ()]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SAMPLES_SCHEMA, strict=True)]
        return pa.table(arrays, schema=SAMPLES_SCHEMA)

    def counts(self) -> dict[str, object]:
        return {
            name: {"count": len(places), "first": places[:1]}
            for name, places in (("prompts", self._other_prompts), ("personas", self._other_personas))
        }


def _notes(parts: list[Part], counts: list[dict[str, Any]]) -> list[str]:
    notes = []
    items, answers = unknown_scales(parts)
    if items:
        notes.append(
            f"{counted(items, 'item')} ({counted(answers, 'answer')}) without a scale that could be read; "
            "they can be trained on, not evaluated"
        )
    prompts = [of["prompts"] for of in counts]
    if first := _first_place(prompts):
        notes.append(
            f"{sum(of['count'] for of in prompts)} published prompts differ from the one that layout persona_first "
            f"writes (the first at {first})"
        )
    personas = [*(of["personas"] for of in counts), other_personas(parts)]
    if first := _first_place(personas):
        notes.append(
            f"{counted(sum(of['count'] for of in personas), 'time')} a participant came back with another persona; the "
            f"first stands (the first: {first})"
        )
    return notes


def _first_place(counts: list[dict[str, Any]]) -> str | None:
    return next((place for of in counts for place in of["first"]), None)


def _known(name: str) -> pl.Expr:
    """The attribute as the store keeps it: null where nothing is known."""
    text = pl.col(name).str.strip_chars()
    return pl.when(text.str.to_lowercase().is_in(list(UNKNOWN_TEXTS))).then(None).otherwise(text)


@functools.lru_cache(maxsize=16_384)
def _read_text(text: str) -> tuple[TextParts, Scale]:
    return split_text(text), read_scale(text)
