"""Who signed a store off, when, and which content."""

from __future__ import annotations

import dataclasses
import datetime
import json

from socsci_jax.errors import InputError
from socsci_jax.reading import read_json
from socsci_jax.storage import new_file
from socsci_jax.studies.store import StudyStore

SIGNATURES = "signatures.json"
LONGEST_NAME = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """A person's name, the day, and the hashes of what they signed."""

    name: str
    date: str
    content_hash: str
    specification: str

    def is_of(self, store: StudyStore) -> bool:
        """False if the store has been built anew, from other answers or another specification, since."""
        return (self.content_hash, self.specification) == (store.content_hash, specification_hash(store))


def specification_hash(store: StudyStore) -> str:
    return (store.manifest.get("specification") or {}).get("sha256", "")


def signatures(store: StudyStore) -> list[Signature]:
    """Signatures in the order in which they were given; raises InputError for a damaged file."""
    path = store.path / SIGNATURES
    if not path.exists():
        return []
    try:
        return [Signature(**{name: str(entry[name]) for name in _FIELDS}) for entry in read_json(path)]
    except (TypeError, KeyError):
        raise InputError(f"{path}: not a list of signatures; delete it and sign again.") from None


_FIELDS = tuple(field.name for field in dataclasses.fields(Signature))


def sign(store: StudyStore, name: str, *, date: datetime.date | None = None) -> Signature:
    """Adds a signature of the store's present content."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise InputError(f"a signature is the name of who reviewed, of at most {LONGEST_NAME} characters.")
    signature = Signature(
        name=name,
        date=(date or datetime.datetime.now(datetime.UTC).date()).isoformat(),
        content_hash=store.content_hash,
        specification=specification_hash(store),
    )
    every = [dataclasses.asdict(known) for known in [*signatures(store), signature]]
    with new_file(store.path / SIGNATURES) as partial:
        partial.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return signature
