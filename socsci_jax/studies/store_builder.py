"""Building a study store: studies, people, items and answers are added one by one, and written at once."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.storage import check_free, new_folder
from socsci_jax.studies.attributes import UNKNOWN_TEXTS, attribute_text
from socsci_jax.studies.response_columns import ResponseColumns
from socsci_jax.studies.schema import (
    ITEMS_SCHEMA,
    REJECTS_SCHEMA,
    RESPONSES_SCHEMA,
    RETESTS_SCHEMA,
    SCHEMA_VERSION,
    STUDIES_SCHEMA,
    Item,
    participants_schema,
)
from socsci_jax.studies.store import WRITTEN, StudyStore, file_hash, manifest_hash
from socsci_jax.studies.store_parts import UNKNOWN_SCHEMA, MergedParts, Part, write_tables
from socsci_jax.wording import counted

SOFTWARE = f"socsci_jax {__version__}"
# Rows that are made from Python objects together, and no more.
ROWS_AT_A_TIME = 16_384


@dataclasses.dataclass
class StoreBuilder:
    """Collects studies, items, people and answers; nothing is written before `write`.

    An answer that its scale does not allow goes to the rejects with the reason and is counted there.
    `attributes` fixes names and order of what is known of participants; values such as "NA" are null there and
    counted in the notes, unless the attribute is `verbatim` (a document may read "NA").  `metadata` are added to the manifest, `files`
    (name -> content) are written next to the tables.  With `keeps_unanswered` items and participants without any answer stay:
    what has not been asked yet; else items that nobody answered are rejected.
    """

    attributes: tuple[str, ...]
    source: str
    license: str
    command: str
    verbatim: tuple[str, ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)
    keeps_unanswered: bool = False
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._studies: dict[str, dict[str, Any]] = {}
        self._items: dict[str, Item] = {}
        self._participants: dict[tuple[str, str], tuple[float | None, tuple[str | None, ...]]] = {}
        self._responses = ResponseColumns()
        # Millions of people share few values: each is held once.
        self._attribute_texts: dict[str, str] = {}
        self._retests: list[tuple[str, str, int, float]] = []
        self._rejects: list[dict[str, Any]] = []
        self._unknown: list[dict[str, str]] = []

    def add_study(
        self, study_id: str, *, title: str = "", source: str | None = None, license: str | None = None
    ) -> None:
        self._studies[study_id] = {
            "study_id": study_id,
            "title": title,
            "source": self.source if source is None else source,
            "license": self.license if license is None else license,
        }

    def add_item(self, item: Item) -> str:
        """Returns the item's id; adding an equal item again changes nothing."""
        item_id = item.item_id
        known = self._items.setdefault(item_id, item)
        if known.scale != item.scale:
            raise InputError(
                f"item {item_id} (condition {item.condition!r}, outcome {item.outcome!r}): the same text was given "
                f"two scales, {known.scale} and {item.scale}."
            )
        return item_id

    def add_participant(
        self,
        study_id: str,
        participant_id: str,
        attributes: Mapping[str, object],
        *,
        weight: float | None = None,
    ) -> None:
        unknown = [name for name in attributes if name not in self.attributes]
        if unknown:
            raise InputError(
                f"participant {participant_id} of study {study_id}: attribute {unknown[0]!r} is not one of "
                f"{list(self.attributes)}."
            )
        if (study_id, participant_id) not in self._participants:
            values = {name: self._attribute(name, attributes.get(name)) for name in self.attributes}
            self._participants[study_id, participant_id] = (weight, tuple(values.values()))
            for name, value in values.items():
                if value is None and attributes.get(name) is not None:
                    self._unknown.append(
                        {
                            "study_id": study_id,
                            "participant_id": participant_id,
                            "attribute": name,
                            "value": str(attributes[name]).strip(),
                        }
                    )

    def _attribute(self, name: str, value: object) -> str | None:
        if name in self.verbatim:
            return None if value is None else str(value)
        text = attribute_text(value)
        return None if text is None else self._attribute_texts.setdefault(text, text)

    def add_response(
        self,
        item_id: str,
        participant_id: str,
        value: float,
        *,
        sample_id: int,
        weight: float | None = None,
        place: str = "",
    ) -> bool:
        """Keeps an answer that is on the item's scale or one of its alternatives.

        `weight` is what it counts relative to other answers to the item, where that is not its participant's weight.
        Returns False, and rejects the answer, for a missing code and for what the scale does not allow.
        """
        item = self._items[item_id]
        if not item.scale.allows(value) and not item.scale.is_alternative(value):
            lo, hi = ("any" if end is None else f"{end:g}" for end in (item.scale.lo, item.scale.hi))
            is_missing = item.scale.is_missing(value)
            self.reject(
                "response",
                place=place or f"study {item.study_id}, sample {sample_id}",
                reason=f"missing answer (code {value:g})" if is_missing else "answer outside its scale",
                record={
                    "item_id": item_id,
                    "participant_id": participant_id,
                    "value": value,
                    "allowed": f"{lo} to {hi}",
                },
            )
            return False
        self._responses.append(item_id, participant_id, float(value), sample_id, weight)
        return True

    def add_retest(self, item_id: str, participant_id: str, value: float, *, occasion: int = 2) -> None:
        """Keeps a participant's later answer to an item that they answered before; `occasion` counts from 2."""
        self._retests.append((item_id, participant_id, occasion, float(value)))

    def reject(self, kind: str, *, place: str, reason: str, record: Mapping[str, Any] | None = None) -> None:
        self._rejects.append(
            {
                "kind": kind,
                "place": place,
                "reason": reason,
                "record": json.dumps(dict(record or {}), ensure_ascii=False, default=str),
            }
        )

    def part(self) -> Part:
        """All that was added, as tables."""
        return {
            "studies": pa.Table.from_pylist(list(self._studies.values()), schema=STUDIES_SCHEMA),
            "items": self._items_table(),
            "participants": self._participants_table(),
            "responses": self._responses.table(),
            "rejects": pa.Table.from_pylist(self._rejects, schema=REJECTS_SCHEMA),
            "unknown": pa.Table.from_pylist(self._unknown, schema=UNKNOWN_SCHEMA),
        }

    def write(self, out: str | Path, *, parts: Sequence[Part] = (), replace: bool = False) -> StudyStore:
        """Writes the store next to its final place and moves it there whole, so that no half store is left.

        `parts` were collected by other builders and stand before what this one holds.
        """
        out = Path(out)
        replaces = WRITTEN if replace and (out / "store.json").is_file() else None
        check_free(out, replaces=replaces)
        merged = MergedParts(
            [*parts, self.part()], source=self.source, keeps_unanswered=self.keeps_unanswered
        )
        schemas = {
            "studies": STUDIES_SCHEMA,
            "items": ITEMS_SCHEMA,
            "participants": participants_schema(self.attributes),
            "responses": RESPONSES_SCHEMA,
            "rejects": REJECTS_SCHEMA,
        }
        # Splits and signatures say which content they were made for, and stay.
        with new_folder(out, replaces=replaces, keeps=("splits", "signatures.json")) as partial:
            content_hash, rows = write_tables(partial, schemas, merged.batches)
            for name, content in self.files.items():
                (partial / name).write_bytes(content)
            written = [*(f"{name}.parquet" for name in schemas), *self.files]
            if self._retests:
                columns = zip(RETESTS_SCHEMA.names, zip(*self._retests, strict=True), strict=True)
                retests = pa.table({name: list(cells) for name, cells in columns}, schema=RETESTS_SCHEMA)
                pq.write_table(retests, partial / "retests.parquet", compression="zstd")
                written.append("retests.parquet")
            manifest = {
                "schema_version": SCHEMA_VERSION,
                "source": self.source,
                "license": self.license,
                "command": self.command,
                "software": SOFTWARE,
                "content_hash": content_hash,
                "rows": rows,
                "notes": [
                    *self.notes,
                    *_unanswering_notes(merged.unanswering_people()),
                    *_unknown_notes(merged.unknown_values()),
                ],
                **self.metadata,
                "files": {name: file_hash(partial / name) for name in written},
            }
            manifest["manifest_hash"] = manifest_hash(manifest)
            (partial / "store.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        return StudyStore(out)

    def _items_table(self) -> pa.Table:
        rows = iter(self._items.items())
        batches = []
        while some := list(itertools.islice(rows, ROWS_AT_A_TIME)):
            batches.append(
                pa.RecordBatch.from_pylist(
                    [_item_row(item_id, item) for item_id, item in some], schema=ITEMS_SCHEMA
                )
            )
        return pa.Table.from_batches(batches, schema=ITEMS_SCHEMA)

    def _participants_table(self) -> pa.Table:
        schema = participants_schema(self.attributes)
        people, rows = self._participants.keys(), self._participants.values()
        columns = [
            pa.array([values[i] for _, values in rows], pa.string()) for i in range(len(self.attributes))
        ] or [pa.nulls(len(rows), pa.string())]
        return pa.table(
            [
                pa.array([study for study, _ in people], pa.string()),
                pa.array([person for _, person in people], pa.string()),
                pa.array([weight for weight, _ in rows], pa.float64()),
                pa.StructArray.from_arrays(columns, fields=list(schema.field("attributes").type)),
            ],
            schema=schema,
        )


def _unanswering_notes(people: int) -> list[str]:
    return (
        [f"{counted(people, 'participant')} without an answer that was kept, not in the store"]
        if people
        else []
    )


def _unknown_notes(values: Mapping[str, Mapping[str, int]]) -> list[str]:
    if not values:
        return []
    listed = "; ".join(
        f"{name}: {', '.join(f'{value!r} ({count:,})' for value, count in counts.items())}"
        for name, counts in values.items()
    )
    texts = ", ".join(map(repr, sorted(UNKNOWN_TEXTS)))
    return [f"Values that mean that nothing is known ({texts}, in any case) were excluded: {listed}."]


def _item_row(item_id: str, item: Item) -> dict[str, Any]:
    plain = [name for name in ITEMS_SCHEMA.names if name not in ("item_id", "scale", "factors")]
    return {
        "item_id": item_id,
        **{name: getattr(item, name) for name in plain},
        "scale": item.scale.to_dict(),
        "factors": list(item.factors.items()),
    }
