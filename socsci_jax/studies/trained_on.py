"""What a model was trained on, kept with the model, so that nothing that it has seen is ever called unseen.

Ids alone do not tell: a deposit may be built twice, split anew, or renamed.  So texts and people are kept as digests:

- a study has its id and the digests of its eight-word sequences (a sample), by which a resembling study is found, and
  the digest of what its participants' fingerprints are made of (attributes and items);
- an item has its study, condition and outcome, and the digest of its words;
- a participant has an id, and a fingerprint: the digest of persona, items and answers.

Under the split that the model was trained with, an answer was trained on exactly where both its item and its
participant were.  Within the store of training ids decide; in another store equal texts and fingerprints decide.  Of a
known study that has other attributes or items there, who has no equal fingerprint may still be a participant of training:
that is not known.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from socsci_jax.errors import InputError
from socsci_jax.reading import read_json_object
from socsci_jax.storage import new_file
from socsci_jax.studies.fingerprints import (
    TRAINED_ON_SCHEMA,
    digest_of,
    fingerprints_of,
    item_rows,
    shapes_of,
    sorted_rows,
    study_rows,
    words_of,
)
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.tables import read_parquet

TRAINED_ON_FILE = "trained_on.parquet"
# Next to an exported model: what a Hugging Face folder has no place for.
METADATA_FILE = "socsci_jax.json"
# A text of so many words is not written twice by chance; shorter ones tell only if most of a study's are alike.
WORDS_THAT_TELL = 20
RESEMBLES = 0.3
ROWS_AT_A_TIME = 65_536

# What of an answer a model had not seen, the largest first; "nothing" if the answer itself was trained on.
UNSEEN = ("study", "condition", "outcome", "participant", "nothing")


@dataclasses.dataclass(frozen=True, eq=False)
class Resemblance:
    """A study that was not trained on by its id, and the training study whose words it shares."""

    study: str
    training: str
    overlap: float


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedOn:
    """Rows of TRAINED_ON_SCHEMA; several stores where a model was trained more than once."""

    frame: pl.DataFrame

    @classmethod
    def of(cls, store: StudyStore, train: pl.DataFrame) -> TrainedOn:
        """What training on the labeled responses `train` of a store sees."""
        item_ids = train["item_id"].unique()
        studies = train["study_id"].unique()
        texts = item_rows(store)
        items = texts.filter(pl.col("item_id").is_in(item_ids.implode())).drop("item_id", "words")
        people = train.select("study_id", "participant_id").unique()
        people = people.join(fingerprints_of(store, texts), on=["study_id", "participant_id"], how="left")
        sequences = study_rows(store, texts).filter(pl.col("study_id").is_in(studies.implode()))
        rows = [
            sequences.with_columns(kind=pl.lit("study")),
            items.with_columns(kind=pl.lit("item")),
            people.with_columns(kind=pl.lit("participant")),
        ]
        frame = pl.concat(rows, how="diagonal").with_columns(store_hash=pl.lit(store.content_hash))
        return cls(sorted_rows(frame))

    def with_earlier(self, earlier: TrainedOn | None) -> TrainedOn:
        """Together with what the start of training had seen."""
        if earlier is None:
            return self
        return TrainedOn(sorted_rows(pl.concat([earlier.frame, self.frame], how="diagonal").unique()))

    def write(self, path: Path) -> None:
        """Writes one Parquet file, whole or not at all."""
        with new_file(path) as partial:
            pq.write_table(self.frame.to_arrow().cast(TRAINED_ON_SCHEMA), partial, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> TrainedOn:
        """Raises InputError if the file is damaged."""
        hint = "without it nobody knows what this model has seen; copy it again from where the model is from"
        table = read_parquet(path, TRAINED_ON_SCHEMA, hint=hint)
        frame = pl.DataFrame(pl.from_arrow(table))
        if not set(frame["kind"].unique()) <= {"study", "item", "participant"}:
            raise InputError(f"{path}: a kind of rows is not known; {hint}.")
        return cls(frame)

    @classmethod
    def of_folder(cls, folder: Path) -> TrainedOn | None:
        """What a model's folder says that it has seen; None where it says nothing, as those of base models.

        Raises InputError where its metadata name what it was trained on, and the file is absent, damaged or another.
        """
        if (folder / METADATA_FILE).is_file():
            metadata = read_json_object(folder / METADATA_FILE, hint="restore the file as it was exported")
            if "trained_on_hash" in metadata:
                return read_trained_on(folder, metadata)
        file = folder / TRAINED_ON_FILE
        return cls.read(file) if file.is_file() else None

    @property
    def digest(self) -> str:
        """Hash of all rows, written as JSON lines some at a time."""
        digest = hashlib.sha256()
        for some in sorted_rows(self.frame).iter_slices(ROWS_AT_A_TIME):
            digest.update(some.write_ndjson().encode())
        return digest.hexdigest()

    def label(self, pairs: Pairs) -> pl.DataFrame:
        """`seen` and `unseen` of each pair, in their order.

        `seen` is true where the answer itself was trained on; `unseen` is the largest thing that was not: one of UNSEEN.
        Both are null where it cannot be told whether the participant was trained on.  Pairs of no store have no answers: a text that was trained on makes them unseen participants.
        """
        if pairs.store is None:
            known = {i for i, item in pairs.items.items() if self._knows_text(item)}
            study = (
                pl.when(pl.col("item_id").is_in(list(known)))
                .then(pl.lit("participant"))
                .otherwise(pl.lit("study"))
            )
            return pairs.frame.select(seen=pl.lit(False), unseen=study)
        return self._label(pairs.store, pairs.frame)

    def _knows_text(self, item: Item) -> bool:
        words = words_of(f"{item.stimulus} {item.question}")
        return len(words) >= WORDS_THAT_TELL and digest_of(words) in self._item_digests

    @functools.cached_property
    def _item_digests(self) -> frozenset[int]:
        return frozenset(self._of("item")["digest"])

    def _label(self, store: StudyStore, pairs: pl.DataFrame) -> pl.DataFrame:
        texts = item_rows(store)
        labeled = pairs.join(self._items(store, texts), on="item_id", how="left", maintain_order="left")
        people = self._people(store, texts).with_columns(answered=pl.lit(True))
        labeled = labeled.join(people, on=["study_id", "participant_id"], how="left", maintain_order="left")
        known = [
            pl.col(name).fill_null(False) for name in ("knows_study", "knows_condition", "knows_outcome")
        ]
        # Who answered nothing was not trained on.
        person = pl.when("answered").then("knows_person").otherwise(pl.lit(False))
        unseen = (
            pl.when(~known[0])
            .then(pl.lit("study"))
            .when(~known[1])
            .then(pl.lit("condition"))
            .when(~known[2])
            .then(pl.lit("outcome"))
            .when(~person)
            .then(pl.lit("participant"))
            .when(person)
            .then(pl.lit("nothing"))
        )
        return labeled.select(unseen=unseen).select(seen=pl.col("unseen") == "nothing", unseen="unseen")

    def resembling(self, store: StudyStore, studies: Sequence[str]) -> list[Resemblance]:
        """Those of `studies` that are not known by text or id, but share much of their words with a training study."""
        texts = item_rows(store)
        known = set(self._items(store, texts).filter("knows_study")["item_id"])
        known_studies = set(store.item_places.filter(pl.col("item_id").is_in(list(known)))["study_id"])
        mine = {study: set(of) for study, of in self._of("study").select("study_id", "sequences").iter_rows()}
        resembling = []
        theirs = study_rows(store, texts).filter(
            pl.col("study_id").is_in([s for s in studies if s not in known_studies])
        )
        for study, sequences in theirs.select("study_id", "sequences").iter_rows():
            overlaps = {
                other: len(of & set(sequences)) / max(1, min(len(of), len(sequences)))
                for other, of in mine.items()
            }
            best = max(overlaps, key=overlaps.__getitem__, default=None)
            if best is not None and overlaps[best] >= RESEMBLES:
                resembling.append(Resemblance(study, best, overlaps[best]))
        return resembling

    def _of(self, kind: str) -> pl.DataFrame:
        return self.frame.filter(pl.col("kind") == kind)

    def _items(self, store: StudyStore, theirs: pl.DataFrame) -> pl.DataFrame:
        """Of each item of a store, whose `item_rows` are given: item_id, knows_study, knows_condition, knows_outcome."""
        mine = self._of("item")
        here = mine.filter(pl.col("store_hash") == store.content_hash)
        text = theirs.with_columns(same_text=pl.col("digest").is_in(mine["digest"].unique().implode()))
        telling = pl.col("same_text") & (pl.col("words") >= WORDS_THAT_TELL)
        study = pl.col("study_id")
        by_text = (telling.any() | (pl.col("same_text").mean() >= 0.5)).over("study_id")
        by_id = study.is_in(here["study_id"].unique().implode())

        def known(*columns: str) -> pl.Expr:
            of = here.select(pl.struct("study_id", *columns).unique()).to_series()
            return pl.struct("study_id", *columns).is_in(of.implode())

        return text.with_columns(is_known=by_id, text_known=by_text).select(
            "item_id",
            knows_study=pl.col("is_known") | pl.col("text_known"),
            knows_condition=pl.when("is_known").then(known("condition")).otherwise("same_text"),
            knows_outcome=pl.when("is_known").then(known("outcome")).otherwise("same_text"),
        )

    def _people(self, store: StudyStore, texts: pl.DataFrame) -> pl.DataFrame:
        """Of each participant of a store: study_id, participant_id, knows_person (null where it cannot be told)."""
        theirs, mine = fingerprints_of(store, texts), self._of("participant")
        here = mine.filter(pl.col("store_hash") == store.content_hash)
        ids = here.select(pl.struct("study_id", "participant_id").unique()).to_series()
        by_id = pl.struct("study_id", "participant_id").is_in(ids.implode())
        # In another store people are recognized by what they are and answered; their ids may be anybody's.
        elsewhere = ~pl.col("study_id").is_in(here["study_id"].unique().implode())
        alike = pl.col("digest").is_in(mine["digest"].unique().implode())
        shapes = shapes_of(store, texts).rename({"digest": "shape"})
        theirs = theirs.join(shapes, on="study_id", how="left", maintain_order="left")
        comparable = pl.col("shape").is_in(self._of("study")["digest"].drop_nulls().unique().implode())
        known = (
            pl.when(by_id | (elsewhere & alike))
            .then(pl.lit(True))
            .when(~elsewhere | comparable)
            .then(pl.lit(False))
        )
        return theirs.select("study_id", "participant_id", knows_person=known)


def read_trained_on(folder: Path, metadata: Mapping[str, object]) -> TrainedOn:
    """What the model of a run or an exported folder has seen, compared with the hash that its metadata names.

    Raises InputError if the file is absent, damaged, or that of another model.
    """
    path = folder / TRAINED_ON_FILE
    trained_on = TrainedOn.read(path)
    if trained_on.digest != metadata.get("trained_on_hash"):
        raise InputError(
            f"{path}: this is what another model was trained on (its hash is not the one that the model names); restore "
            "the file that belongs to this model."
        )
    return trained_on
