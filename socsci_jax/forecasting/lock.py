"""A forecast that nobody can change unnoticed: a folder with the hash of every file, ready to be deposited before data."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere import silicon_sample
from socsci_jax.forecasting import checklists
from socsci_jax.forecasting.files import WRITTEN, SavedForecast, read_forecast
from socsci_jax.forecasting.tiers import LEVEL, tiers
from socsci_jax.reading import check_kinds, read_json_object
from socsci_jax.storage import new_folder

LOCK = "lock.json"
VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Lock:
    """A locked forecast that is as it was locked."""

    forecast: SavedForecast
    record: dict[str, Any]

    @property
    def hash(self) -> str:
        return str(self.record["hash"])


def lock(
    forecast: Path,
    out: Path,
    *,
    stated: Mapping[str, str] | None = None,
    documents: Mapping[str, str] | None = None,
    ranges: silicon_sample.Ranges | None = None,
    seed: int = 0,
    replace: bool = False,
) -> Lock:
    """Writes a lock of a forecast's folder: all its files, the benchmark's three tiers, both checklists, and `lock.json`.

    Args:
      forecast: folder of `write_forecast`.
      out: folder to write.
      stated: what authors state in both checklists (`checklists.STATED`).
      documents: name -> text of what else shall be deposited with it.
      ranges: least and greatest answers of the benchmark's outcomes, which the tiers then have to keep.
      seed: of T1, where answers are drawn.
      replace: replaces a lock that is there.

    Raises InputError if a tier would not pass the benchmark's rules.
    """
    saved = read_forecast(forecast)
    tables = tiers(saved, seed=seed)
    check_tiers(tables, ranges)
    abstained = saved.table("effects").filter(pl.col("abstains") != "")
    texts = {**checklists.documents(saved, stated), **(documents or {})}
    names = [*WRITTEN, *(f"{tier}.csv" for tier in tables), *texts, LOCK]
    with new_folder(out, replaces=names if replace else None) as folder:
        for name in WRITTEN:
            shutil.copyfile(forecast / name, folder / name)
        for tier, table in tables.items():
            table.write_csv(folder / f"{tier}.csv")
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        files = {path.name: _digest(path) for path in sorted(folder.iterdir())}
        record = {
            "format_version": VERSION,
            "locked": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "software": f"socsci_jax {__version__}",
            "interval_level": LEVEL,
            "abstains": abstained.select("outcome", "condition", "abstains").to_dicts(),
            "settings": saved.record["metadata"],
            "files": files,
        }
        (folder / LOCK).write_text(
            json.dumps(record | {"hash": _hash(record)}, ensure_ascii=False, indent=1) + "\n",
            encoding="utf-8",
        )
    return read_lock(out)


def check_tiers(tables: Mapping[str, pl.DataFrame], ranges: silicon_sample.Ranges | None) -> None:
    """Raises InputError with the first rule of the benchmark that a tier does not keep."""
    for tier, table in tables.items():
        if problems := silicon_sample.problems(table.cast(pl.String), ranges=ranges):
            raise InputError(f"{tier} does not keep the benchmark's rules: {problems[0]}.")


def read_lock(path: Path) -> Lock:
    """Reads a lock and compares every byte with what was locked; raises InputError that names what differs."""
    if not (path / LOCK).is_file():
        raise InputError(f"{path}: no lock here ({LOCK} is missing); `socsci-jax forecast lock` makes one.")
    record = read_json_object(path / LOCK, hint="fetch the lock again from where it was deposited")
    files = record.get("files")
    if not isinstance(files, dict) or _hash({k: v for k, v in record.items() if k != "hash"}) != record.get(
        "hash"
    ):
        raise InputError(f"{path / LOCK}: was changed after it was locked.")
    check_kinds(record, {"locked": str}, where=str(path / LOCK))
    there = {entry.name for entry in path.iterdir()} - {LOCK}
    if differs := sorted(there ^ set(files)):
        problem = "was added" if differs[0] in there else "is missing"
        raise InputError(f"{path / differs[0]}: {problem} after the forecast was locked.")
    for name, digest in files.items():
        if not (path / name).is_file() or _digest(path / name) != digest:
            raise InputError(f"{path / name}: was changed after it was locked ({record.get('locked')}).")
    return Lock(read_forecast(path), record)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(record: Mapping[str, Any]) -> str:
    """Hash of everything, the files by theirs: the one text that has to be published."""
    return hashlib.sha256(json.dumps(record, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
