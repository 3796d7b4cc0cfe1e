"""Splits: which studies, conditions, outcomes and participants are held out from training.

A split is a stored table of held-out units with its seed.  One split may hold out units of several kinds at
once; a response then belongs to the first of PARTS that claims it.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax.errors import InputError
from socsci_jax.reading import check_kinds, parse_json_object
from socsci_jax.storage import new_file
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.store import StudyStore
from socsci_jax.tables import read_parquet, to_polars

# In order of precedence: an answer to a held-out condition of a held-out study counts for the study.
PARTS = ("unseen_studies", "unseen_conditions", "unseen_outcomes", "unseen_participants")
# People who are held out to choose a checkpoint by; what chose a checkpoint says nothing about it any more.
VALIDATION = "validation"
TRAIN = "train"

_UNIT_COLUMNS = {
    "unseen_studies": ("study_id",),
    "unseen_conditions": ("study_id", "condition"),
    "unseen_outcomes": ("study_id", "outcome"),
    "unseen_participants": ("study_id", "participant_id"),
    VALIDATION: ("study_id", "participant_id"),
}

SubsetUnit = Literal["participants", "conditions", "studies"]

SPLIT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("part", "study_id", "condition", "outcome", "participant_id")]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subset:
    """A seeded share of the training part's units, `share` in (0, 1].

    With equal seed a smaller share is contained in every larger one.
    """

    of: SubsetUnit
    share: float
    seed: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that name a unit."""
        return _UNIT_COLUMNS[f"unseen_{self.of}"]

    def take(self, train: pl.DataFrame) -> pl.DataFrame:
        """The rows of `train` (as `Split.training_responses` gives them) that belong to the chosen units.

        Participants and conditions are drawn within each study, studies among all.  Of n units floor(n * share + u)
        are taken, with one uniform u in [0, 1) for each study: in expectation exactly the share, so that a study
        of three conditions has one at a share of 0.1 in three draws of ten, and otherwise none.
        Raises InputError if no unit is taken.
        """
        units = train.select(self.columns).unique().sort(self.columns)
        strata = [units] if self.of == "studies" else units.partition_by("study_id", maintain_order=True)
        taken = []
        for stratum in strata:
            rng = generator_for(
                self.seed, "subset", self.of, "" if self.of == "studies" else stratum["study_id"][0]
            )
            order, u = rng.permutation(stratum.height), rng.random()
            taken.append(stratum[order[: int(stratum.height * self.share + u)]])
        chosen = train.join(pl.concat(taken), on=self.columns, how="semi", maintain_order="left")
        if chosen.is_empty():
            raise InputError(
                f"data.subset: a share of {self.share:g} (seed {self.seed}) takes none of the {units.height} "
                f"{self.of} of the training part; take a larger share."
            )
        return chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Held-out units: one row each, with nulls in the columns that do not name the unit."""

    name: str
    seed: int
    store: StudyStore = dataclasses.field(repr=False)
    held_out: pl.DataFrame
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What share of which units was drawn, such as {"conditions": 0.25}; nothing of units that were listed."""
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Name, seed and the number of held-out units of each part."""
        counts = self.held_out.group_by("part").len().sort("part").iter_rows()
        parts = ", ".join(f"{part}: {n}" for part, n in counts)
        return f"Split({self.name!r}, seed {self.seed}; held-out units: {parts or 'none'})"

    def pairs(self, *parts: str) -> Pairs:
        """Distinct pairs of an item and a participant who answered it, with their part, sorted by both.

        Of all held-out parts, or of those named; the validation part is given only if it is named.
        Raises InputError for an unknown part, or if no answer is held out.
        """
        known = (*PARTS, VALIDATION)
        unknown = sorted(set(parts) - set(known))
        if unknown:
            raise InputError(f"part {unknown[0]!r} is not known; known are {', '.join(known)}.")
        labeled = self.label().filter(pl.col("part").is_in(list(parts or PARTS)))
        if labeled.is_empty():
            of = f" of {', '.join(parts)}" if parts else ""
            raise InputError(f"split {self.name!r} of {self.store.path} holds out no answers{of}.")
        columns = ["item_id", "study_id", "participant_id", "part"]
        frame = labeled.select(columns).unique(maintain_order=True).sort("item_id", "participant_id")
        return Pairs.of_store(self.store, frame)

    def save(self, *, replace: bool = False) -> Path:
        """Writes the split into its store; returns the file."""
        path = split_path(self.store, self.name)
        if path.exists() and not replace:
            raise InputError(f"{path} exists already; choose another name or pass `replace=True`.")
        metadata = {
            "name": self.name,
            "seed": self.seed,
            "store_hash": self.store.content_hash,
            "shares": dict(self.shares),
            "notes": self.notes,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        metadata["file_hash"] = _file_hash(self, metadata)
        table = self.held_out.select(SPLIT_SCHEMA.names).to_arrow().cast(SPLIT_SCHEMA)
        with new_file(path) as partial:
            pq.write_table(
                table.replace_schema_metadata({b"socsci_jax": json.dumps(metadata).encode()}), partial
            )
        return path

    @classmethod
    def load(cls, store: StudyStore, name: str) -> Split:
        """Raises InputError if there is no such split, or if it was made for another content of the store."""
        path = split_path(store, name)
        if not path.is_file():
            known = sorted(p.stem for p in path.parent.glob("*.parquet"))
            raise InputError(
                f"{path}: there is no split {name!r}; this store has {known or 'none'}; "
                "make one with `socsci-jax data split`."
            )
        hint = "make the split again with `socsci-jax data split --replace`"
        table = read_parquet(path, SPLIT_SCHEMA, hint=hint, filled=("part",))
        metadata = _split_metadata(path, table.schema, hint=hint)
        if metadata["store_hash"] != store.content_hash:
            raise InputError(
                f"{path}: this split was made for another content of the store (hash {metadata['store_hash'][:12]}, "
                f"now {store.content_hash[:12]}); make it again with `socsci-jax data split --replace`."
            )
        split = cls(
            name=metadata["name"],
            seed=metadata["seed"],
            store=store,
            held_out=to_polars(table, path, hint=hint),
            shares=metadata["shares"],
            notes=tuple(metadata["notes"]),
        )
        if metadata["file_hash"] != _file_hash(split, metadata):
            raise InputError(
                f"{path}: this split is not the one that was written (its hash differs); restore it, or {hint}."
            )
        return split

    @property
    def provenance(self) -> dict[str, Any]:
        """What the metadata of predictions says of the split and the store that they are of."""
        return {
            "split": self.name,
            "split_seed": self.seed,
            "split_shares": dict(self.shares),
            "split_hash": self.content_hash,
            "store_hash": self.store.content_hash,
        }

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(self.held_out.sort(pl.all()).write_csv().encode()).hexdigest()

    def units(self, part: str) -> pl.DataFrame:
        columns = _UNIT_COLUMNS[part]
        return self.held_out.filter(pl.col("part") == part).select(columns)

    def label(self) -> pl.DataFrame:
        """The responses with study_id, condition, outcome and `part`: one of PARTS, "validation" or "train"."""
        responses = self.store.responses.join(
            self.store.item_places.select("item_id", "study_id", "condition", "outcome"),
            on="item_id",
            how="left",
            maintain_order="left",
        ).with_columns(part=pl.lit(TRAIN))
        for part in (VALIDATION, *reversed(PARTS)):
            columns = list(_UNIT_COLUMNS[part])
            units = self.units(part).unique().with_columns(_held=pl.lit(True))
            responses = (
                responses.join(units, on=columns, how="left", maintain_order="left")
                .with_columns(
                    part=pl.when(pl.col("_held").fill_null(False))
                    .then(pl.lit(part))
                    .otherwise(pl.col("part"))
                )
                .drop("_held")
            )
        return responses

    def training_responses(
        self,
        *,
        exclude: Sequence[str] = (),
        subset: Subset | None = None,
        labeled: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """The labeled responses of part "train", or those of a subset of its units.

        `labeled` are the responses as `label` gives them, where somebody has them already.

        Raises InputError if nothing is left to train on, or if a study of `exclude` (ids that training was
        told never to see) is not held out by this split.
        """
        train = (self.label() if labeled is None else labeled).filter(pl.col("part") == TRAIN)
        if train.is_empty():
            raise InputError(
                f"split {self.name!r} of {self.store.path}: nothing is left to train on; hold out less."
            )
        seen = sorted(set(exclude) & set(train["study_id"].unique()))
        if seen:
            raise InputError(
                f"split {self.name!r} of {self.store.path}: study {seen[0]!r} is to be excluded from training but has "
                f"answers in the training part; make a split that holds out all of {len(exclude)} listed studies."
            )
        return train if subset is None else subset.take(train)


def _file_hash(split: Split, metadata: Mapping[str, object]) -> str:
    """Hash of all that a split's file says: one flipped bit trains on whom the split holds out, and Parquet does not notice."""
    told = {key: value for key, value in metadata.items() if key != "file_hash"}
    return hashlib.sha256(f"{json.dumps(told, sort_keys=True)}\n{split.content_hash}".encode()).hexdigest()


def _split_metadata(path: Path, schema: pa.Schema, *, hint: str) -> dict[str, Any]:
    packed = (schema.metadata or {}).get(b"socsci_jax", b"")
    metadata = parse_json_object(packed, where=f"{path}: the metadata under key 'socsci_jax'", hint=hint)
    kinds = {
        "name": str,
        "seed": int,
        "store_hash": str,
        "shares": dict,
        "notes": list,
        "file_hash": str,
    }
    check_kinds(metadata, kinds, where=f"{path}: metadata", hint=hint)
    return metadata


def split_path(store: StudyStore, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(f"split name {name!r}: use letters, digits, '.', '_' and '-' only.")
    return store.path / "splits" / f"{name}.parquet"


def generator_for(seed: int, *words: str) -> np.random.Generator:
    return np.random.default_rng([seed, *b"/".join(word.encode() for word in words)])
