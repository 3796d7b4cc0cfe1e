"""SocSci210 as published: 2.9 million answers to 210 survey experiments, one row an answer.

Reads Parquet shards or JSON-lines files in the published columns and writes a study store, in which every text
and every persona is held once.  The column `reasoning`, which was generated from the answers, is never read.
"""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import polars as pl

from data_pipelines.archives.socsci210_files import INTEGERS, TEXTS, batches, release_files, release_folder
from data_pipelines.archives.socsci210_holdouts import published_holdouts, save_splits
from data_pipelines.scales.sentences import TextParts, read_scale, split_text
from socsci_jax.studies.attributes import UNKNOWN_TEXTS
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item, Scale
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
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
    folder = release_folder(Path(source))
    files = release_files(folder)
    builder = StoreBuilder(attributes=SOCSCI210_ATTRIBUTES, source=SOURCE, license=LICENSE, command=command)
    reader = _Reader(builder)
    for file in files:
        for batch in batches(file, builder):
            reader.add(batch, file)
    builder.notes.extend(reader.notes())
    held_out = published_holdouts(folder)
    store = builder.write(out, replace=replace)
    save_splits(store, held_out, replace=replace)
    return store


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
                f"{counted(len(self._unknown), 'item')} ({counted(self._unknown.total(), 'answer')}) without a scale that could be read; "
                "they can be trained on, not evaluated"
            )
        if self._counts["other prompts"]:
            notes.append(
                f"{self._counts['other prompts']} published prompts differ from the one that layout persona_first "
                f"writes (the first at {self._other_prompts[0]})"
            )
        if self._other_personas:
            notes.append(
                f"{counted(len(self._other_personas), 'time')} a participant came back with another persona; the first stands "
                f"(the first such row at {self._other_personas[0]})"
            )
        return notes


def _known(name: str) -> pl.Expr:
    """The attribute as the store keeps it: null where nothing is known."""
    text = pl.col(name).str.strip_chars()
    return pl.when(text.str.to_lowercase().is_in(list(UNKNOWN_TEXTS))).then(None).otherwise(text)


@functools.lru_cache(maxsize=16_384)
def _read_text(text: str) -> tuple[TextParts, Scale]:
    return split_text(text), read_scale(text)
