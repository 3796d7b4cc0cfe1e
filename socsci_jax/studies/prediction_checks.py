"""Whether the rows of a predictions table fit a study store: ids, duplicates, levels, probabilities."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.studies.scale import Scale, format_value
from socsci_jax.studies.schema import VARIANT
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.trained_on import UNSEEN
from socsci_jax.wording import counted

SUM_TOLERANCE = 1e-4
# What sums of float32 probabilities may exceed one by.
TOLERANCE_OF_MASS = 1e-2


def check_rows(path: Path, frame: pl.DataFrame, store: StudyStore) -> None:
    """Raises InputError for the first row that does not fit the store, or predicts nothing that can be."""
    _check_ids(path, frame, store)
    _check_duplicates(path, frame)
    _check_known_values(path, frame)
    _check_probs(path, frame)
    _check_levels(path, frame, store)


def _first_row(rows: np.ndarray | pl.Series) -> int:
    """Index of the first True."""
    return int(np.argmax(np.asarray(rows)))


def _check_ids(path: Path, frame: pl.DataFrame, store: StudyStore) -> None:
    items = store.item_places.select("item_id", "study_id")
    joined = frame.select("item_id", "participant_id").join(
        items, on="item_id", how="left", maintain_order="left"
    )
    unknown = joined["study_id"].is_null()
    if unknown.any():
        row = _first_row(unknown)
        raise InputError(
            f"{path}, row {row}: item_id {frame['item_id'][row]!r} is not in the store {store.path}, whose ids "
            f"look like {items['item_id'][0]!r}; predict the items of this store."
        )
    people = store.participants.select("study_id", "participant_id").with_columns(known=True)
    joined = joined.join(people, on=["study_id", "participant_id"], how="left", maintain_order="left")
    strangers = joined["known"].is_null() & joined["participant_id"].is_not_null()
    if strangers.any():
        row = _first_row(strangers)
        raise InputError(
            f"{path}, row {row}: participant_id {joined['participant_id'][row]!r} is not a participant of study "
            f"{joined['study_id'][row]!r} in {store.path}; use the store's ids, or null for everybody who "
            "answered the item."
        )


def _check_known_values(path: Path, frame: pl.DataFrame) -> None:
    """Raises InputError for a mass that is no probability, and for words of `unseen` that mean nothing."""
    if "mass_on_levels" in frame.columns:
        mass = frame["mass_on_levels"].cast(pl.Float64)
        odd = (mass.is_not_null() & ~mass.is_between(0, 1 + TOLERANCE_OF_MASS)).fill_null(True)
        if odd.any():
            row = _first_row(odd)
            raise InputError(
                f"{path}, row {row}: mass_on_levels is {mass[row]}; a probability from 0 to 1 is needed."
            )
    if "unseen" in frame.columns:
        odd = frame["unseen"].is_not_null() & ~frame["unseen"].cast(pl.String).is_in(UNSEEN)
        if odd.any():
            row = _first_row(odd)
            raise InputError(
                f"{path}, row {row}: unseen is {frame['unseen'][row]!r:.80}; it is one of {', '.join(UNSEEN)}, or empty."
            )


def _check_duplicates(path: Path, frame: pl.DataFrame) -> None:
    key = ["item_id", "participant_id", "draw", *({VARIANT} & set(frame.columns))]
    again = ~frame.select(pl.struct(key).is_first_distinct()).to_series()
    if again.any():
        item, participant, draw = frame.select(key[:3]).row(_first_row(again))
        raise InputError(
            f"{path}, row {_first_row(again)}: item {item!r}, participant {participant!r}, draw {draw} was given "
            "before; give each once, and number draws from 0."
        )


def _check_probs(path: Path, frame: pl.DataFrame) -> None:
    """Raises InputError for probabilities without levels, of another number, negative, not finite, or not summing to 1."""
    exact = frame["probs"].is_not_null()
    bare = exact & frame["levels"].is_null()
    if bare.any():
        raise _refusal(
            path, frame, bare, "probs without levels; give the level that each probability belongs to."
        )
    lengths = exact & (frame["probs"].list.len() != frame["levels"].list.len())
    if lengths.any():
        row = frame.row(_first_row(lengths), named=True)
        sizes = f"{counted(len(row['probs']), 'prob')} for {counted(len(row['levels']), 'level')}"
        raise _refusal(path, frame, lengths, f"{sizes}; give one for each.")
    probs = frame["probs"].filter(exact)
    owner = np.repeat(np.flatnonzero(exact.to_numpy()), probs.list.len().to_numpy())
    flat = probs.to_arrow().flatten().to_numpy(zero_copy_only=False)
    bad = ~np.isfinite(flat) | (flat < 0)
    if bad.any():
        at = _first_row(bad)
        rows = np.arange(frame.height) == owner[at]
        raise _refusal(path, frame, rows, f"probability {flat[at]} found; all must be 0 or more.")
    total = np.bincount(owner, weights=flat, minlength=frame.height)
    off = exact.to_numpy() & (np.abs(total - 1) > SUM_TOLERANCE)
    if off.any():
        sums = f"the probabilities sum to {total[_first_row(off)]:.6g}"
        raise _refusal(path, frame, off, f"{sums}; they must sum to 1, renormalize them.")


def _check_levels(path: Path, frame: pl.DataFrame, store: StudyStore) -> None:
    """Raises InputError for levels that are not those of the item's scale, or given twice."""
    # Millions of rows share a few lists of levels: each (item, list) is looked at once.
    lists, scales = (
        frame.filter(pl.col("probs").is_not_null()).select("item_id", "levels"),
        store.item_by_id.scales,
    )
    for item_id, levels in lists.unique(maintain_order=True).iter_rows():
        scale = scales[item_id]
        foreign = [
            level
            for level in levels
            if level is None or not (scale.allows(level) or scale.is_alternative(level))
        ]
        if foreign or len(set(levels)) < len(levels):
            rows = (frame["item_id"] == item_id) & (frame["levels"] == pl.Series([levels]))
            named = "None" if not foreign or foreign[0] is None else _show(foreign[0])
            problem = f"level {named}" if foreign else "a level given twice"
            raise _refusal(
                path,
                frame,
                rows.fill_null(False),
                f"{problem} found, but its scale is {_describe(scale)}; use its levels, each once.",
            )


def _refusal(path: Path, frame: pl.DataFrame, rows: np.ndarray | pl.Series, problem: str) -> InputError:
    """What is wrong with the first of these rows."""
    row = _first_row(rows)
    return InputError(f"{path}, row {row} (item {frame['item_id'][row]!r}): {problem}")


def _show(level: float) -> str:
    return format_value(level) if math.isfinite(level) else str(level)


def _describe(scale: Scale) -> str:
    if scale.kind != "levels":
        return f"{scale.kind} ({scale.lo} to {scale.hi})"
    shown = ", ".join(map(_show, scale.levels[:8])) + (", ..." if len(scale.levels) > 8 else "")
    return f"{shown} ({counted(len(scale.levels), 'level')})"
