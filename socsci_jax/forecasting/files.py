"""A forecast as a folder: tables as Parquet, `effects.csv` for people, and `forecast.json` with all that was learned."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.forecasting.arms import ARMS
from socsci_jax.forecasting.calibration import Calibration
from socsci_jax.forecasting.composites import Composite
from socsci_jax.forecasting.forecast import Forecast
from socsci_jax.forecasting.judging import judgment
from socsci_jax.forecasting.levels import Levels
from socsci_jax.forecasting.report import page
from socsci_jax.forecasting.report.material import Material
from socsci_jax.forecasting.table import PREDICTED
from socsci_jax.foreign_text import write_csv
from socsci_jax.reading import check_kinds, read_json, read_json_object
from socsci_jax.storage import new_folder
from socsci_jax.tables import open_parquet, read_rows, to_polars

VERSION = 2
TABLES = (
    *("effects", "groups", "components", "arms", "ranks", "power", "personas", "population", "predictions"),
    *("variants", "multiverse", "checks", "calibration", "calibration_levels", "past", "past_measures"),
)
REPORT = "report.html"
WRITTEN = (REPORT, "forecast.json", "items.json", "effects.csv", *(f"{name}.parquet" for name in TABLES))
# People per arm of a study that nobody has planned otherwise.
PER_ARM = 300
_AGAIN = "make the forecast again"
# What is read again, and which of its columns say what a row is about.
_PREDICTIONS = dict.fromkeys(("item_id", "participant_id"), pl.String) | dict.fromkeys(
    ("levels", "probs"), pl.List(pl.Float64)
)
_READ: dict[str, Mapping[str, Any]] = {
    "arms": ARMS,
    "effects": PREDICTED | {"abstains": pl.String},
    "predictions": _PREDICTIONS,
    "personas": {"participant_id": pl.String},
    "past_measures": {"measure": pl.String, "value": pl.Float64},
}
_LARGEST = 1e9
_FILLED = ("study", "outcome", "condition", "reference", "item_id", "lo", "hi")
ITEM_TEXTS = ("item_id", "study_id", "condition", "outcome")


@dataclasses.dataclass(frozen=True, eq=False)
class SavedForecast:
    """A forecast as its folder holds it; `record` is forecast.json, `items` what was asked."""

    path: Path
    record: dict[str, Any]
    items: list[dict[str, Any]]

    def table(self, name: str) -> pl.DataFrame:
        """One of TABLES; raises InputError if it is absent, damaged, or lacks columns of its schema."""
        file = self.path / f"{name}.parquet"
        with open_parquet(file, hint=_AGAIN) as opened:
            table = to_polars(read_rows(opened, file, hint=_AGAIN), file, hint=_AGAIN)
        for column, dtype in _READ.get(name, {}).items():
            if table.schema.get(column) != dtype:
                kind = table.schema.get(column, "missing")
                raise InputError(f"{file}: column {column!r} is {kind}, needed {dtype}; {_AGAIN}.")
            if dtype == pl.Float64 and not table[column].drop_nulls().is_between(-_LARGEST, _LARGEST).all():
                raise InputError(f"{file}: column {column!r} holds what is no such number; {_AGAIN}.")
            if column in _FILLED and table[column].null_count():
                raise InputError(f"{file}: column {column!r} has empty cells; {_AGAIN}.")
        return table

    @property
    def calibration(self) -> Calibration:
        with self._whole("learned"):
            return Calibration.of_json(self.record["learned"])

    @property
    def composites(self) -> tuple[Composite, ...]:
        with self._whole("composites"):
            return tuple(Composite.of_json(content) for content in self.record["composites"])

    @property
    def levels(self) -> Levels:
        with self._whole("learned_levels"):
            return Levels.of_json(self.record["learned_levels"])

    @contextlib.contextmanager
    def _whole(self, name: str) -> Iterator[None]:
        """What lacks a key, or has something of another kind under it, is said in a sentence."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{self.path / 'forecast.json'}: {name!r} is not what a forecast writes ({error}); {_AGAIN}."
            ) from error


def write_forecast(forecast: Forecast, path: Path, *, per_arm: int = PER_ARM, replace: bool = False) -> Path:
    """Writes the folder, whole or not at all; returns it.  `per_arm` people are planned, in the report's words on power."""
    return write_material(material(forecast, per_arm=per_arm), path, replace=replace)


def material(forecast: Forecast, *, per_arm: int = PER_ARM) -> Material:
    """All that a forecast's folder holds, and what terminal and page say of it."""
    record = {
        "format_version": VERSION,
        "metadata": dict(forecast.metadata),
        "per_arm": per_arm,
        "composites": [dataclasses.asdict(composite) for composite in forecast.composites],
        "learned": forecast.calibration.to_json(),
        "learned_levels": forecast.levels.to_json(),
        "population": {
            "source": forecast.population.source,
            "personas": forecast.population.personas.height,
            "effective_size": forecast.population.effective_size,
            "margins": {name: dict(own) for name, own in forecast.population.margins.items()},
        },
    }
    items = [dataclasses.asdict(item) | {"item_id": item.item_id} for item in forecast.items]
    return Material(tables(forecast), record, items, forecast.calibration)


def write_material(m: Material, path: Path, *, replace: bool = False) -> Path:
    """Writes the folder, whole or not at all; returns it."""
    with new_folder(path, replaces=WRITTEN if replace else None) as folder:
        _write_json(folder / "forecast.json", m.record)
        _write_json(folder / "items.json", m.items)
        write_csv(m.tables["effects"], folder / "effects.csv")
        for name, table in m.tables.items():
            table.write_parquet(folder / f"{name}.parquet")
        (folder / REPORT).write_text(page.render(m), encoding="utf-8")
    return path


def tables(forecast: Forecast) -> dict[str, pl.DataFrame]:
    """Every table of a forecast's folder by name."""
    return {
        "effects": forecast.effects,
        "groups": forecast.groups,
        "components": forecast.components,
        "arms": forecast.arms,
        "ranks": forecast.ranks,
        "power": forecast.power,
        "personas": forecast.population.personas.with_columns(weight=pl.Series(forecast.population.weights)),
        "population": forecast.population.shares(),
        "predictions": forecast.predictions.frame,
        "variants": forecast.multiverse.variants,
        "multiverse": forecast.multiverse.summary,
        "checks": forecast.multiverse.checks,
        "calibration": forecast.collection.effects,
        "calibration_levels": forecast.collection.levels,
        "past": forecast.past,
        "past_measures": judgment(forecast.past),
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, default=str) + "\n", encoding="utf-8")


def read_forecast(path: Path) -> SavedForecast:
    """Reads a forecast's folder; raises InputError if it is none, or of another version."""
    if not (path / "forecast.json").is_file():
        raise InputError(
            f"{path}: no forecast here (forecast.json is missing); `socsci-jax forecast run` makes one."
        )
    record = read_json_object(path / "forecast.json", hint=_AGAIN)
    if record.get("format_version") != VERSION:
        raise InputError(
            f"{path}: a forecast of format {record.get('format_version')}, not {VERSION}; {_AGAIN}."
        )
    kinds = dict.fromkeys(("metadata", "population", "learned", "learned_levels"), dict) | {
        "composites": list
    }
    check_kinds(record, kinds, where=str(path / "forecast.json"), hint=_AGAIN)
    items = read_json_list(path / "items.json")
    for item in items:
        check_kinds(item, dict.fromkeys(ITEM_TEXTS, str), where=str(path / "items.json"), hint=_AGAIN)
    content = SavedForecast(path, record, items)
    _ = content.calibration, content.composites, content.levels
    return content


def read_json_list(path: Path) -> list[dict[str, Any]]:
    content = read_json(path, hint=_AGAIN)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise InputError(f"{path}: no list of items; {_AGAIN}.")
    return content
