"""The study store: a folder of five Parquet tables and one `store.json`.

Pipelines write one with `StoreBuilder`; everybody else reads it with `StudyStore`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.foreign_text import for_page
from socsci_jax.reading import check_kinds, read_json_object
from socsci_jax.studies.items import PLACE, READ, Items
from socsci_jax.studies.personas import Personas
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import (
    ITEMS_SCHEMA,
    NOTHING_KNOWN,
    REJECTS_SCHEMA,
    RESPONSES_SCHEMA,
    RETESTS_SCHEMA,
    SCHEMA_VERSION,
    STUDIES_SCHEMA,
    participants_schema,
)
from socsci_jax.tables import open_parquet, read_parquet, read_parquet_pieces, to_polars
from socsci_jax.wording import counted

_REBUILD = "build the store again from its deposit"
_MAY_BE_NULL = ("is_control", "factors")  # of an item
if TYPE_CHECKING:
    from socsci_jax.studies.pairs import Pairs
    from socsci_jax.studies.splits import Split

TABLES = ("studies", "items", "participants", "responses", "rejects")
# All that this program writes into a store's folder.
WRITTEN = (
    *("store.json", "truth.parquet", "splits", "shards", *(f"{name}.parquet" for name in TABLES)),
    *("study.yaml", "provenance.json", "retests.parquet", "review", "signatures.json"),
)


class StudyStore:
    """A study store on disk, read on demand; tables are polars data frames."""

    def __init__(self, path: str | Path):
        """Raises InputError if the folder is not a complete store of this schema version."""
        self.path = Path(path)
        manifest = self.path / "store.json"
        if not manifest.is_file():
            raise InputError(
                f"{self.path}: no study store here (store.json is missing); "
                "build one with `socsci-jax data build KIND SOURCE OUT`."
            )
        self.manifest = read_json_object(manifest, hint=_REBUILD)
        if self.manifest.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{manifest}: schema version {self.manifest.get('schema_version')!r} found, this program reads "
                f"{SCHEMA_VERSION}; build the store again from its deposit."
            )
        kinds = {
            "content_hash": str,
            "source": str,
            "license": str,
            "command": str,
            "rows": dict,
            "files": dict,
            "notes": list,
        }
        check_kinds(self.manifest, kinds, where=str(manifest), hint=_REBUILD)
        if self.manifest.get("manifest_hash") != manifest_hash(self.manifest):
            raise InputError(
                f"{manifest}: this file is not as it was written (its hash differs); restore it, or {_REBUILD}."
            )

    def __repr__(self) -> str:
        """Counts of the manifest and names of the splits; no table is read."""
        counts = ", ".join(f"{count} {name}" for name, count in self._counts().items())
        return f"StudyStore({str(self.path)!r}: {counts}; splits: {', '.join(self._splits()) or 'none'})"

    def _repr_html_(self) -> str:
        """The same as a table, for a notebook; names come from a deposit and are escaped."""
        rows = {
            "store": str(self.path),
            "source": self.manifest["source"],
            **{name: f"{count:,}" for name, count in self._counts().items()},
            "splits": ", ".join(self._splits()) or "none",
        }
        cells = "".join(
            f"<tr><th>{escape(k)}</th><td>{escape(for_page(v))}</td></tr>" for k, v in rows.items()
        )
        return f"<table>{cells}</table>"

    def _counts(self) -> dict[str, int]:
        rows = self.manifest["rows"]
        names = {"studies": "studies", "items": "items", "participants": "people", "responses": "responses"}
        return {name: rows[table] for table, name in names.items() if table in rows}

    def _splits(self) -> list[str]:
        return sorted(path.stem for path in (self.path / "splits").glob("*.parquet"))

    @property
    def content_hash(self) -> str:
        return str(self.manifest["content_hash"])

    def check_file(self, name: str) -> Path:
        """The path of one of the store's files, whose bytes are those that were written.

        Raises InputError if they are not: one flipped bit changes an answer, and Parquet does not notice it.
        """
        path = self.path / name
        if name not in self._checked:
            try:
                digest = file_hash(path)
            except FileNotFoundError:
                raise InputError(f"{path}: this file of the study store is missing; {_REBUILD}.") from None
            if digest != self.manifest["files"].get(name):
                raise InputError(
                    f"{path}: this file is not the one that was written with the store (its hash differs); restore it, or "
                    f"{_REBUILD}."
                )
            self._checked.add(name)
        return path

    @functools.cached_property
    def _checked(self) -> set[str]:
        return set()

    def _read(
        self,
        name: str,
        expected: pa.Schema,
        *,
        filled: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        path = self.check_file(f"{name}.parquet")
        table = read_parquet(path, expected, hint=_REBUILD, filled=filled, columns=columns)
        return to_polars(table, path, hint=_REBUILD)

    @functools.cached_property
    def studies(self) -> pl.DataFrame:
        studies = self._read("studies", STUDIES_SCHEMA, filled=("study_id", "title"))
        self._check_distinct("studies", studies, "study_id")
        return studies

    @functools.cached_property
    def items(self) -> pl.DataFrame:
        """All columns, texts and scales among them: of hundreds of thousands of items these take gigabytes."""
        return self._read_items(ITEMS_SCHEMA.names)

    @functools.cached_property
    def item_places(self) -> pl.DataFrame:
        """item_id, study_id, condition, outcome and is_control of the items, without what takes gigabytes."""
        return self._read_items(PLACE)

    def _read_items(self, columns: Sequence[str]) -> pl.DataFrame:
        filled = [name for name in columns if name not in _MAY_BE_NULL]
        items = self._read("items", ITEMS_SCHEMA, filled=filled, columns=columns)
        self._check_distinct("items", items, "item_id")
        self._check_known("items", items, self.studies, ["study_id"])
        return items

    @functools.cached_property
    def participants(self) -> pl.DataFrame:
        with open_parquet(self.check_file("participants.parquet"), hint=_REBUILD) as opened:
            schema = opened.schema_arrow
        attributes = schema.field("attributes").type if "attributes" in schema.names else pa.struct([])
        names = tuple(field.name for field in attributes) if pa.types.is_struct(attributes) else ()
        people = self._read(
            "participants",
            participants_schema(names),
            filled=("study_id", "participant_id", "attributes"),
        )
        self._check_distinct("participants", people, "study_id", "participant_id")
        self._check_weights("participants", people)
        return people

    @functools.cached_property
    def responses(self) -> pl.DataFrame:
        filled = [name for name in RESPONSES_SCHEMA.names if name != "weight"]
        responses = self._read("responses", RESPONSES_SCHEMA, filled=filled)
        self._check_known("responses", responses, self.item_places, ["item_id"])
        given = responses.select("item_id", "participant_id").join(
            self.item_places.select("item_id", "study_id"), on="item_id", how="left", maintain_order="left"
        )
        self._check_known("responses", given, self.participants, ["study_id", "participant_id"])
        if not responses["value"].is_finite().all():
            row = responses["value"].is_finite().to_list().index(False)
            raise InputError(
                f"{self.path / 'responses.parquet'}, row {row}: value is not a number; {_REBUILD}."
            )
        self._check_weights("responses", responses)
        return responses

    @functools.cached_property
    def rejects(self) -> pl.DataFrame:
        return self._read("rejects", REJECTS_SCHEMA)

    @functools.cached_property
    def retests(self) -> pl.DataFrame:
        """Later answers of the same people to the same items; empty where nobody was asked again."""
        if not (self.path / "retests.parquet").exists():
            return pl.DataFrame(pl.from_arrow(RETESTS_SCHEMA.empty_table()))
        return self._read("retests", RETESTS_SCHEMA)

    @functools.cached_property
    def item_by_id(self) -> Items:
        path = self.check_file("items.parquet")
        filled = [name for name in READ if name not in _MAY_BE_NULL]
        pieces = read_parquet_pieces(path, ITEMS_SCHEMA, hint=_REBUILD, columns=READ, filled=filled)
        return Items(self.item_places, pieces, self._scale)

    def _check_distinct(self, name: str, rows: pl.DataFrame, *key: str) -> None:
        again = rows.select(key).is_duplicated()
        if again.any():
            row = again.to_list().index(True)
            raise InputError(
                f"{self.path / f'{name}.parquet'}, row {row}: {' '.join(map(repr, rows.select(key).row(row)))[:120]} is "
                f"there twice; {_REBUILD}."
            )

    def _check_weights(self, name: str, rows: pl.DataFrame) -> None:
        weights = rows["weight"].drop_nulls()
        if not ((weights == 0) | weights.is_between(bounds.LEAST_WEIGHT, bounds.SURVEY_WEIGHT)).all():
            raise InputError(
                f"{self.path / f'{name}.parquet'}: a weight is neither 0 nor a number from {bounds.LEAST_WEIGHT:g} to "
                f"{bounds.SURVEY_WEIGHT:g}; {_REBUILD}."
            )

    def _check_known(self, name: str, rows: pl.DataFrame, known: pl.DataFrame, key: list[str]) -> None:
        """Raises InputError if a row names what the table of `known` does not hold."""
        named = rows.select(key).unique()
        strangers = named.join(known.select(key), on=key, how="anti")
        if not strangers.is_empty():
            raise InputError(
                f"{self.path / f'{name}.parquet'}: {counted(strangers.height, 'time')} a row names an unknown {key[-1]} (one is "
                f"{strangers[key[-1]].sort()[0]!r:.80}); {_REBUILD}."
            )

    def _scale(self, item_id: str, written: dict[str, Any]) -> Scale:
        try:
            return Scale.from_dict(written)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.path / 'items.parquet'}: the scale of item {item_id!r} is none ({error}); {_REBUILD}."
            ) from None

    def pairs(self) -> Pairs:
        """Every item with every participant of its study, whether they answered it or not, sorted by both."""
        from socsci_jax.studies.pairs import Pairs  # which knows stores

        people = self.participants.select("study_id", "participant_id")
        frame = (
            self.item_places.select("item_id", "study_id")
            .join(people, on="study_id")
            .sort("item_id", "participant_id")
        )
        return Pairs.of_store(self, frame)

    def split(self, name: str) -> Split:
        """The split of this name; raises InputError if there is none, or if it was made for another content."""
        from socsci_jax.studies.splits import Split  # which reads stores

        return Split.load(self, name)

    @functools.cached_property
    def personas(self) -> Mapping[tuple[str, str], dict[str, str | None]]:
        """What is known of each (study_id, participant_id): attribute to text, None where it is not known."""
        return Personas(self.participants)

    @functools.cached_property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes known of participants, in the order in which prompts list them."""
        names = self.participants["attributes"].struct.fields
        return tuple(name for name in names if name != NOTHING_KNOWN)


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of what a manifest says besides its own hash."""
    told = {key: value for key, value in manifest.items() if key != "manifest_hash"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
