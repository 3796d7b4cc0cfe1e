"""Digests by which items, people and studies are recognized, whatever their ids say."""

from __future__ import annotations

import array
import hashlib
import itertools
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax.studies.store import StudyStore

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

STUDIES_AT_A_TIME = 32


def sorted_rows(frame: pl.DataFrame) -> pl.DataFrame:
    names = TRAINED_ON_SCHEMA.names
    complete = frame.with_columns(
        [pl.lit(None).alias(name) for name in names if name not in frame.columns]
    ).select(names)
    return complete.sort([name for name in names if name != "sequences"])


def words_of(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def digest_of(parts: Sequence[str]) -> int:
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "big")


def item_rows(store: StudyStore) -> pl.DataFrame:
    """item_id, study_id, condition, outcome, digest of the words of stimulus and question, number of words."""
    digests, counts = array.array("Q"), array.array("q")
    for stimulus, question, answer_format in store.item_by_id.texts:
        words = words_of(f"{stimulus} {question}") or words_of(answer_format)
        digests.append(digest_of(words))
        counts.append(len(words))
    return store.item_places.select("item_id", "study_id", "condition", "outcome").with_columns(
        digest=pl.Series(np.array(digests), dtype=pl.UInt64),
        words=pl.Series(np.array(counts), dtype=pl.Int64),
    )


def study_rows(store: StudyStore, texts: pl.DataFrame) -> pl.DataFrame:
    """study_id, digest of its attributes and items, sequences: sampled digests of the eight-word sequences of its texts."""
    of_study: dict[str, set[int]] = {}
    studies = store.item_places["study_id"]
    for study, (stimulus, question, _) in zip(studies, store.item_by_id.texts, strict=True):
        of_study.setdefault(study, set()).update(_sequences(words_of(f"{stimulus} {question}")))
    sampled = {
        study: sorted(s for s in all_of if len(all_of) <= FEW_SEQUENCES or s % SEQUENCE_SAMPLE == 0)
        for study, all_of in of_study.items()
    }
    rows = pl.DataFrame(
        {"study_id": list(sampled), "sequences": list(sampled.values())},
        schema={"study_id": pl.String(), "sequences": pl.List(pl.UInt32)},
    )
    return rows.join(shapes_of(store, texts), on="study_id", how="left", maintain_order="left").select(
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


def shapes_of(store: StudyStore, texts: pl.DataFrame) -> pl.DataFrame:
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
        (study, digest_of([*sorted(known.get(study, [])), "", *map(str, digests)]))
        for study, digests in items.iter_rows()
    ]
    return pl.DataFrame(rows, schema={"study_id": pl.String, "digest": pl.UInt64}, orient="row")


def fingerprints_of(store: StudyStore, texts: pl.DataFrame) -> pl.DataFrame:
    """study_id, participant_id, digest: the same for equal personas who gave the same answers to the same items."""
    items = texts.select("item_id", "study_id", text="digest")
    studies = items["study_id"].unique().sort()
    # What people are and answered, written out, takes more than the tables that it is made of: some studies at a time.
    pieces = [
        _fingerprints(store, items.filter(pl.col("study_id").is_in(some.implode())))
        for some in (studies[k : k + STUDIES_AT_A_TIME] for k in range(0, studies.len(), STUDIES_AT_A_TIME))
    ]
    return pl.concat([_fingerprints(store, items.clear()), *pieces])


def _fingerprints(store: StudyStore, items: pl.DataFrame) -> pl.DataFrame:
    """Those of everybody who answered `items` (item_id, study_id, text)."""
    answers = (
        store.responses.select("item_id", "participant_id", "value")
        .join(items, on="item_id")
        .with_columns(answer=pl.format("{}={}", "text", "value"))
        .group_by("study_id", "participant_id")
        .agg(pl.col("answer").sort().str.join("\x1f"))
    )
    # What is not known of a person, and in which order the rest is asked, makes nobody another.
    names = sorted(store.participants["attributes"].struct.fields)
    attributes = pl.col("attributes").struct
    parts = [pl.concat_str(pl.lit(f"{name}="), attributes.field(name)) for name in names]
    personas = store.participants.filter(
        pl.col("study_id").is_in(items["study_id"].unique().implode())
    ).select("study_id", "participant_id", persona=pl.concat_str(parts, separator="\x1f", ignore_nulls=True))
    joined = answers.join(personas, on=["study_id", "participant_id"], how="left").sort(
        "study_id", "participant_id"
    )
    digests = [
        digest_of((persona, answer)) for persona, answer in joined.select("persona", "answer").iter_rows()
    ]
    return joined.select("study_id", "participant_id").with_columns(
        digest=pl.Series(digests, dtype=pl.UInt64)
    )
