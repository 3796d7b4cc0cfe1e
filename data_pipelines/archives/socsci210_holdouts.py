"""What the SocSci210 release holds out, as splits of its study store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.reading import read_json_object
from socsci_jax.studies.split_making import split_of_units
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted

_HINT = "fetch it again or remove it"


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
    path = folder / "participant_mapping.json"
    studies = (_mapping(path) or {}).get("unseen", [])
    if not isinstance(studies, list) or not all(isinstance(study, str) for study in studies):
        raise InputError(f"{path}: 'unseen' must be a list of study ids; {_HINT}.")
    return PublishedHoldouts(
        studies=tuple(studies),
        condition_samples=_samples(folder / "condition_mapping.json"),
        outcome_samples=_samples(folder / "task_mapping.json"),
    )


def _mapping(path: Path) -> dict | None:
    return read_json_object(path, hint=_HINT) if path.is_file() else None


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
            listed = sides[side]
            if not isinstance(listed, list) or not all(type(i) is int and abs(i) < 2**63 for i in listed):
                raise InputError(f"{path}: study {study!r}, {side!r}: a sample id is not a whole number.")
            ids = pl.Series("sample_id", listed, dtype=pl.Int64)
            frames.append(
                ids.to_frame().with_columns(study_id=pl.lit(study), is_held_out=pl.lit(side == "eval"))
            )
    return pl.concat(frames) if frames else None


def save_splits(store: StudyStore, held_out: PublishedHoldouts, *, replace: bool) -> None:
    """Saves what is held out as splits `published_studies`, `published_conditions` and `published_outcomes`."""
    known = set(store.studies["study_id"])
    studies = [{"part": "unseen_studies", "study_id": s} for s in held_out.studies if s in known]
    if studies:
        split_of_units(store, name="published_studies", seed=0, rows=studies).save(replace=replace)
    for name, part, column, samples in (
        ("published_conditions", "unseen_conditions", "condition", held_out.condition_samples),
        ("published_outcomes", "unseen_outcomes", "outcome", held_out.outcome_samples),
    ):
        if samples is None:
            continue
        units = (
            store.responses.select("item_id", "sample_id")
            .join(store.item_places.select("item_id", "study_id", column), on="item_id")
            .join(samples, on=["study_id", "sample_id"])
            .group_by("study_id", column)
            .agg(pl.col("is_held_out").any(), whole=pl.col("is_held_out").n_unique() == 1)
            .filter("is_held_out")
            .sort("study_id", column)
        )
        parted = units.filter(~pl.col("whole"))
        notes = (
            [
                f"{counted(len(parted), f'{column} has answers on both sides and is', f'{column}s have answers on both sides and are')} held out whole"
            ]
            if len(parted)
            else []
        )
        rows = [{"part": part, **unit} for unit in units.select("study_id", column).iter_rows(named=True)]
        if rows:
            split_of_units(store, name=name, seed=0, rows=rows, notes=notes).save(replace=replace)
