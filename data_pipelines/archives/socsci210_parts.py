"""What is known of a SocSci210 release only when all of its files were read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from socsci_jax.studies.schema import REJECTS_SCHEMA, RESPONSES_SCHEMA, SOCSCI210_ATTRIBUTES
from socsci_jax.studies.store_parts import Part, columns_of

# The answers of a file that were looked at, whether they are on their scale or not, with file and row.
SAMPLES_SCHEMA = pa.schema([("study_id", pa.string()), ("sample_id", pa.int64()), ("place", pa.string())])
_SAMPLE = ["study_id", "sample_id"]
_PERSON = ["study_id", "participant_id"]


def repeated(study: str, sample_id: int, place: str) -> dict[str, Any]:
    """The reject of an answer whose key was seen before."""
    return {
        "place": place,
        "reason": "(study_id, sample_id) was seen before",
        "record": {"study_id": study, "sample_id": sample_id},
    }


def without_repeated(parts: Sequence[Part]) -> list[Part]:
    """The parts, where answers whose key an earlier part has are among the rejects."""
    samples = [columns_of(part, "samples", _SAMPLE) for part in parts]
    first = pl.concat(samples).select(pl.struct(_SAMPLE).is_first_distinct()).to_series()
    kept: list[Part] = []
    for part, of_part in zip(parts, samples, strict=True):
        again, first = ~first[: of_part.height], first[of_part.height :]
        kept.append(_without(part, again) if again.any() else part)
    return kept


def _without(part: Part, again: pl.Series) -> Part:
    """A part without the answers at the places of `samples` that `again` marks."""
    repetitions = columns_of(part, "samples", SAMPLES_SCHEMA.names).filter(again)
    items = columns_of(part, "items", ["item_id", "study_id"])
    responses = columns_of(part, "responses", RESPONSES_SCHEMA.names).join(
        items, on="item_id", how="left", maintain_order="left"
    )
    kept = responses.join(repetitions, on=_SAMPLE, how="anti", maintain_order="left")
    rejects = columns_of(part, "rejects", REJECTS_SCHEMA.names)
    rejects = rejects.join(repetitions, on="place", how="anti", maintain_order="left")
    more = [
        {"kind": "response", **again, "record": json.dumps(again["record"], ensure_ascii=False)}
        for again in (repeated(*row) for row in repetitions.iter_rows())
    ]
    return {
        **part,
        "responses": kept.select(RESPONSES_SCHEMA.names).to_arrow().cast(RESPONSES_SCHEMA),
        "rejects": pa.concat_tables(
            [rejects.to_arrow().cast(REJECTS_SCHEMA), pa.Table.from_pylist(more, schema=REJECTS_SCHEMA)]
        ),
    }


def unknown_scales(parts: Sequence[Part]) -> tuple[int, int]:
    """Items whose scale could not be read and that have answers, and the number of their answers."""
    counts = []
    for part in parts:
        unknown = columns_of(part, "items", ["item_id", "scale"]).filter(
            pl.col("scale").struct.field("kind") == "unknown"
        )
        answers = columns_of(part, "responses", ["item_id"])
        counts.append(answers.join(unknown, on="item_id", how="semi").group_by("item_id").len())
    by_item = pl.concat(counts).group_by("item_id").agg(pl.col("len").sum())
    return by_item.height, int(by_item["len"].sum())


def other_personas(parts: Sequence[Part]) -> dict[str, Any]:
    """How often a participant has another persona in a later part than in the first, and of which study and participant."""
    people = []
    for number, part in enumerate(parts):
        people_of_part = columns_of(part, "participants", [*_PERSON, "attributes"])
        persona = pl.struct(pl.col("attributes").struct.field(name) for name in SOCSCI210_ATTRIBUTES).hash()
        people.append(people_of_part.select(*_PERSON, persona=persona, part=pl.lit(number)))
    of_all = pl.concat(people).sort("part", maintain_order=True)
    other = of_all.filter(pl.col("persona") != pl.col("persona").first().over(_PERSON))
    first = [
        f"study {study}, participant {person}" for study, person in other.select(_PERSON).head(1).iter_rows()
    ]
    return {"count": other.height, "first": first}
