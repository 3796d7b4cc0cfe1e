"""The outcomes of the TESS archive: their questions, and their scales from the codebook."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import polars as pl

from data_pipelines.archives.tess_tables import OUTCOMES, plain_text
from data_pipelines.scales.codebooks import read_codebook, read_range
from socsci_jax.studies.scale import MAX_LEVELS, Scale
from socsci_jax.studies.store_builder import StoreBuilder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    name: str
    question: str
    scale: Scale


def read_outcomes(
    table: pl.DataFrame, responses: pl.DataFrame, builder: StoreBuilder
) -> dict[tuple[str, str], Outcome]:
    """The outcomes by (study, name); rows that cannot be used go to the rejects with the reason."""
    observed = {
        (study, name): (lo, hi)
        for study, name, lo, hi in responses.group_by("study", "outcome.name")
        .agg(
            pl.col("outcome.min").cast(pl.Float64, strict=False).min(),
            pl.col("outcome.max").cast(pl.Float64, strict=False).max(),
        )
        .iter_rows()
    }
    outcomes: dict[tuple[str, str], Outcome] = {}
    for row in table.iter_rows(named=True):
        key = (row["study"], row["outcome.name"])
        place = f"{OUTCOMES}, row {row['row'] + 1}"
        if None in key:
            builder.reject(
                "outcome", place=place, reason="without a study or a name", record={"study": key[0]}
            )
            continue
        question = plain_text(row["outcome.text"])
        outcome = Outcome(
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
