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

import array
import dataclasses
import functools
import hashlib
import itertools
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax.errors import InputError
from socsci_jax.reading import read_json_object
from socsci_jax.storage import new_file
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.tables import read_parquet

TRAINED_ON_FILE = "trained_on.parquet"
# Beside an exported model: what a Hugging Face folder has no place for.
METADATA_FILE = "socsci_jax.json"
TRAINED_ON_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),  # study, item or participant
        ("store_hash", pa.string()),
        ("study_id", pa.string()),
        ("condition", pa.string()),
        ("outcome", pa.string()),
        ("participant_id", pa.string()),
        ("digest", pa.uint64()),
        ("sequences", pa.list_(pa.uint32())),
    ]
)
WORDS_OF_SEQUENCE = 8
# One sequence in so many is kept; studies of few words keep all.
SEQUENCE_SAMPLE = 8
FEW_SEQUENCES = 64
# A text of so many words is not written twice by chance; shorter ones tell only if most of a study's are alike.
WORDS_THAT_TELL = 20
RESEMBLES = 0.3

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
        texts = _item_rows(store)
        items = texts.filter(pl.col("item_id").is_in(item_ids.implode())).drop("item_id", "words")
        people = train.select("study_id", "participant_id").unique()
        people = people.join(_fingerprints(store, texts), on=["study_id", "participant_id"], how="left")
        sequences = _study_rows(store, texts).filter(pl.col("study_id").is_in(studies.implode()))
        rows = [
            sequences.with_columns(kind=pl.lit("study")),
            items.with_columns(kind=pl.lit("item")),
            people.with_columns(kind=pl.lit("participant")),
        ]
        frame = pl.concat(rows, how="diagonal").with_columns(store_hash=pl.lit(store.content_hash))
        return cls(_in_order(frame))

    def with_earlier(self, earlier: TrainedOn | None) -> TrainedOn:
        """Together with what the start of training had seen."""
        if earlier is None:
            return self
        return TrainedOn(_in_order(pl.concat([earlier.frame, self.frame], how="diagonal").unique()))

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
        """Hash of all rows."""
        return hashlib.sha256(_in_order(self.frame).write_ndjson().encode()).hexdigest()

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
        words = _words(f"{item.stimulus} {item.question}")
        return len(words) >= WORDS_THAT_TELL and _digest(words) in self._item_digests

    @functools.cached_property
    def _item_digests(self) -> frozenset[int]:
        return frozenset(self._of("item")["digest"])

    def _label(self, store: StudyStore, pairs: pl.DataFrame) -> pl.DataFrame:
        texts = _item_rows(store)
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
        texts = _item_rows(store)
        known = set(self._items(store, texts).filter("knows_study")["item_id"])
        known_studies = set(store.items.filter(pl.col("item_id").is_in(list(known)))["study_id"])
        mine = {study: set(of) for study, of in self._of("study").select("study_id", "sequences").iter_rows()}
        found = []
        theirs = _study_rows(store, texts).filter(
            pl.col("study_id").is_in([s for s in studies if s not in known_studies])
        )
        for study, sequences in theirs.select("study_id", "sequences").iter_rows():
            overlaps = {
                other: len(of & set(sequences)) / max(1, min(len(of), len(sequences)))
                for other, of in mine.items()
            }
            best = max(overlaps, key=overlaps.__getitem__, default=None)
            if best is not None and overlaps[best] >= RESEMBLES:
                found.append(Resemblance(study, best, overlaps[best]))
        return found

    def _of(self, kind: str) -> pl.DataFrame:
        return self.frame.filter(pl.col("kind") == kind)

    def _items(self, store: StudyStore, theirs: pl.DataFrame) -> pl.DataFrame:
        """Of each item of a store, whose `_item_rows` are given: item_id, knows_study, knows_condition, knows_outcome."""
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
        theirs, mine = _fingerprints(store, texts), self._of("participant")
        here = mine.filter(pl.col("store_hash") == store.content_hash)
        ids = here.select(pl.struct("study_id", "participant_id").unique()).to_series()
        by_id = pl.struct("study_id", "participant_id").is_in(ids.implode())
        # In another store people are told by what they are and answered; their ids may be anybody's.
        elsewhere = ~pl.col("study_id").is_in(here["study_id"].unique().implode())
        alike = pl.col("digest").is_in(mine["digest"].unique().implode())
        shapes = _shapes(store, texts).rename({"digest": "shape"})
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


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    names = TRAINED_ON_SCHEMA.names
    complete = frame.with_columns(
        [pl.lit(None).alias(name) for name in names if name not in frame.columns]
    ).select(names)
    return complete.sort([name for name in names if name != "sequences"])


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _digest(parts: Sequence[str]) -> int:
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "big")


def _item_rows(store: StudyStore) -> pl.DataFrame:
    """item_id, study_id, condition, outcome, digest of the words of stimulus and question, number of words."""
    digests, counts = array.array("Q"), array.array("q")
    for stimulus, question, answer_format in store.items.select(
        "stimulus", "question", "answer_format"
    ).iter_rows():
        words = _words(f"{stimulus} {question}") or _words(answer_format)
        digests.append(_digest(words))
        counts.append(len(words))
    return store.items.select("item_id", "study_id", "condition", "outcome").with_columns(
        digest=pl.Series(np.array(digests), dtype=pl.UInt64),
        words=pl.Series(np.array(counts), dtype=pl.Int64),
    )


def _study_rows(store: StudyStore, texts: pl.DataFrame) -> pl.DataFrame:
    """study_id, digest of its attributes and items, sequences: sampled digests of the eight-word sequences of its texts."""
    of_study: dict[str, set[int]] = {}
    for study, stimulus, question in store.items.select("study_id", "stimulus", "question").iter_rows():
        of_study.setdefault(study, set()).update(_sequences(_words(f"{stimulus} {question}")))
    sampled = {
        study: sorted(s for s in all_of if len(all_of) <= FEW_SEQUENCES or s % SEQUENCE_SAMPLE == 0)
        for study, all_of in of_study.items()
    }
    rows = pl.DataFrame(
        {"study_id": list(sampled), "sequences": list(sampled.values())},
        schema={"study_id": pl.String(), "sequences": pl.List(pl.UInt32)},
    )
    return rows.join(_shapes(store, texts), on="study_id", how="left", maintain_order="left").select(
        "study_id", "digest", "sequences"
    )


def _sequences(words: Sequence[str]) -> Iterator[int]:
    """Digests of all sequences of WORDS_OF_SEQUENCE words; of all words where there are fewer."""
    text = memoryview(" ".join(words).encode())
    # Where each word begins, and behind the last one where a next one would.
    starts = [0, *itertools.accumulate(len(word.encode()) + 1 for word in words)]
    first, behind = starts[: max(1, len(words) - WORDS_OF_SEQUENCE + 1)], starts[WORDS_OF_SEQUENCE:]
    for start, end in zip(first, behind or starts[-1:]):
        yield zlib.crc32(text[start : max(0, end - 1)])


def _shapes(store: StudyStore, texts: pl.DataFrame) -> pl.DataFrame:
    """study_id, digest of what its fingerprints are made of: attributes that are known of anybody, and items."""
    names = store.participants["attributes"].struct.fields
    known = {
        study: [name for name, is_known in zip(names, row, strict=True) if is_known]
        for study, *row in store.participants.group_by("study_id")
        .agg(pl.col("attributes").struct.field(name).is_not_null().any() for name in names)
        .iter_rows()
    }
    items = texts.group_by("study_id").agg(pl.col("digest").unique().sort())
    rows = [
        (study, _digest([*sorted(known.get(study, [])), "", *map(str, digests)]))
        for study, digests in items.iter_rows()
    ]
    return pl.DataFrame(rows, schema={"study_id": pl.String, "digest": pl.UInt64}, orient="row")


def _fingerprints(store: StudyStore, texts: pl.DataFrame) -> pl.DataFrame:
    """study_id, participant_id, digest: the same for equal personas who gave the same answers to the same items."""
    items = texts.select("item_id", "study_id", text="digest")
    answers = (
        store.responses.select("item_id", "participant_id", "value")
        .join(items, on="item_id", how="left")
        .with_columns(answer=pl.format("{}={}", "text", "value"))
        .group_by("study_id", "participant_id")
        .agg(pl.col("answer").sort().str.join("\x1f"))
    )
    # What is not known of a person, and in which order the rest is asked, makes nobody another.
    names = sorted(store.participants["attributes"].struct.fields)
    attributes = pl.col("attributes").struct
    parts = [pl.concat_str(pl.lit(f"{name}="), attributes.field(name)) for name in names]
    personas = store.participants.select(
        "study_id", "participant_id", persona=pl.concat_str(parts, separator="\x1f", ignore_nulls=True)
    )
    joined = answers.join(personas, on=["study_id", "participant_id"], how="left").sort(
        "study_id", "participant_id"
    )
    digests = [
        _digest((persona, answer)) for persona, answer in joined.select("persona", "answer").iter_rows()
    ]
    return joined.select("study_id", "participant_id").with_columns(
        digest=pl.Series(digests, dtype=pl.UInt64)
    )
