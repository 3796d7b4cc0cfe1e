"""Sentences on predicted answers that are not judged, since they are not numbers or not on their scale."""

from __future__ import annotations

import polars as pl

from socsci_jax.evaluation.elsewhere.columns import OUTCOME, find
from socsci_jax.evaluation.elsewhere.long import LongTable
from socsci_jax.evaluation.elsewhere.people import TablePeople
from socsci_jax.wording import counted, first_listed


def texts(frame: pl.DataFrame, long: LongTable, people: TablePeople) -> list[str]:
    """A sentence on questions of a wide table whose predictions are texts."""
    if find(frame, OUTCOME) is not None:
        return []
    names = [name for name in long.attributes if name in people.questions]
    if not names:
        return []
    example = next(iter(frame[names[0]].drop_nulls()), "")
    told = first_listed(list(map(repr, names)))
    return [
        f"Not judged, as the predictions are texts: {told} (the first is {example!r}); give "
        "numbers, or the labels in their order in `scales=`."
    ]


def off_scale(rows: pl.DataFrame, people: TablePeople) -> list[str]:
    """A sentence on predicted answers that are no answers of their scale."""
    sentences = []
    for (study, outcome), own in rows.partition_by(
        "study", "outcome", as_dict=True, maintain_order=True
    ).items():
        scale = people.scales[study, outcome].scale
        allowed = [*map(float, scale.levels), *map(float, scale.alternatives)]
        off = own.filter(~pl.col("value").is_in(allowed))
        if off.height and scale.kind == "levels":
            sentences.append((off.height, own.height, outcome, off["value"][0], allowed))
    if not sentences:
        return []
    n, of, outcome, value, allowed = max(sentences, key=lambda row: row[:2])
    return [
        f"{counted(sum(row[0] for row in sentences), 'predicted answer')} of {rows.height:,} are not on their scale and "
        f"excluded; most are to {outcome!r}: {n:,} of {of:,}, for instance {value:g} on {min(allowed):g} to {max(allowed):g}."
    ]
