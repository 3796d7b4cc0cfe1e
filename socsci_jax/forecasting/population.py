"""Whom a forecast is about: personas, and weights that bring them to a population's margins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.studies.attributes import attribute_text
from socsci_jax.studies.store import StudyStore
from socsci_jax.yaml_reading import read_yaml

# Attribute -> value -> share of the population.
Margins = Mapping[str, Mapping[str, float]]
PERSONAS = 200
_ROUNDS = 1_000
_CLOSE = 1e-6
_SUM = 0.02  # margins are published rounded


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """Personas [P] as texts with their `participant_id`, and a weight for each; weights sum to one."""

    personas: pl.DataFrame
    weights: np.ndarray
    source: str
    margins: Margins = dataclasses.field(default_factory=dict)

    @property
    def effective_size(self) -> float:
        """Kish's effective sample size, (sum of weights)² / sum of squares."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    @property
    def attributes(self) -> list[dict[str, str | None]]:
        """The attributes [P] of each persona, as a prompt shows them."""
        return self.personas.drop("participant_id").to_dicts()

    @property
    def weight_of(self) -> dict[str, float]:
        return dict(zip(self.personas["participant_id"], self.weights.tolist(), strict=True))

    def shares(self) -> pl.DataFrame:
        """Columns attribute, value, unweighted, weighted, margin (null where none was given): what weighting did."""
        rows = []
        for name in self.personas.columns:
            if name == "participant_id":
                continue
            own = pl.DataFrame({"value": self.personas[name], "weighted": self.weights})
            by_value = own.group_by("value").agg(pl.len(), pl.col("weighted").sum()).sort("value")
            for value, count, weighted in by_value.iter_rows():
                margin = self.margins.get(name, {}).get(value) if value is not None else None
                rows.append((name, value, count / own.height, weighted, margin))
        schema = {
            **dict.fromkeys(("attribute", "value"), pl.String),
            **dict.fromkeys(("unweighted", "weighted", "margin"), pl.Float64),
        }
        return pl.DataFrame(rows, schema=schema, orient="row")


def population(
    personas: pl.DataFrame | Sequence[Mapping[str, object]] | StudyStore,
    *,
    margins: Margins | None = None,
    most: int = PERSONAS,
    seed: int = 0,
) -> Population:
    """Personas of a table or of a store's participants, raked to margins where there are any.

    Args:
      personas: a row a person, a column an attribute; `participant_id` and `weight` are no attributes.
      margins: for each attribute the share of each of its values in the population.
      most: with more personas, so many are drawn at random; survey weights are the chance to be drawn.
      seed: of that draw.

    Raises InputError for margins that no weights of these personas can reach.
    """
    if isinstance(personas, StudyStore):
        people = _of_store(personas)
        table, given = people.drop("weight"), people["weight"].to_numpy()
        source = f"participants of {personas.path.name}"
    else:
        frame = personas if isinstance(personas, pl.DataFrame) else pl.DataFrame(list(personas))
        if frame.is_empty():
            raise InputError("there are no personas; give one row a person.")
        table, given, source = _texts(frame), _survey_weights(frame), "a table of personas"
    if table.height > most:
        rng = np.random.default_rng(seed)
        table = table[np.sort(rng.choice(table.height, size=most, replace=False, p=given / given.sum()))]
        given = np.ones(most)
    weights = given / given.sum()
    if margins:
        weights = rake(table, weights, margins)
    return Population(table, weights, source, margins or {})


def _of_store(store: StudyStore) -> pl.DataFrame:
    people = store.participants
    names = list(store.attributes)
    attributes = people["attributes"].struct.unnest().select(names)
    ids = people.select(
        participant_id=pl.concat_str("study_id", "participant_id", separator="/"),
        weight=pl.col("weight").fill_null(1.0),
    )
    return pl.concat([ids, attributes], how="horizontal")


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    ids = frame["participant_id"] if "participant_id" in frame.columns else pl.Series(range(frame.height))
    if ids.null_count():
        raise InputError(
            "personas: a participant_id is empty; give each person one, or leave the column out."
        )
    if ids.is_duplicated().any():
        raise InputError("personas: a participant_id is given twice; give each person once.")
    columns = {"participant_id": ids.cast(pl.String)}
    for name in frame.columns:
        if name not in ("participant_id", "weight"):
            texts = [attribute_text(value) for value in frame[name].to_list()]
            columns[name] = pl.Series(name, texts, dtype=pl.String)
    return pl.DataFrame(columns)


def _survey_weights(frame: pl.DataFrame) -> np.ndarray:
    if "weight" not in frame.columns:
        return np.ones(frame.height)
    weights = frame["weight"].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    counts = (weights >= bounds.LEAST_WEIGHT) & (weights <= bounds.SURVEY_WEIGHT)
    if not (counts | (weights == 0)).all() or not counts.any():
        raise InputError(
            f"personas: a weight is neither 0 nor a number from {bounds.LEAST_WEIGHT:g} to {bounds.SURVEY_WEIGHT:g}, or all "
            "of them are 0."
        )
    return weights


def read_margins(path: Path) -> dict[str, dict[str, float]]:
    """Margins from YAML: attribute, then each value with its share."""
    margins = read_yaml(path, texts=True, hint="write `gender: {Female: 0.51, Male: 0.49}`")
    if not isinstance(margins, dict) or not all(isinstance(own, dict) for own in margins.values()):
        raise InputError(f"{path}: write `gender: {{Female: 0.51, Male: 0.49}}`, one line an attribute.")
    try:
        return {
            str(name): {str(value): float(share) for value, share in own.items()}
            for name, own in margins.items()
        }
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: a share is not a number ({error}).") from None


def rake(personas: pl.DataFrame, weights: np.ndarray, margins: Margins) -> np.ndarray:
    """Weights [P] nearest to `weights` with which every attribute has its margin.

    Iterative proportional fitting (Deming and Stephan 1940, Annals of Mathematical Statistics 11).  People of whom an
    attribute is not known keep their share of it.
    """
    indicators = [_indicator(personas, name, own) for name, own in margins.items()]
    weights = weights / weights.sum()
    for _ in range(_ROUNDS):
        worst = 0.0
        for member_vp, target_v in indicators:
            current = member_vp @ weights
            wanted = target_v * current.sum()
            worst = max(worst, float(np.abs(current - wanted).max()))
            factor = np.divide(wanted, current, out=np.zeros_like(wanted), where=current > 0)
            known = member_vp.any(axis=0)
            weights = np.where(known, weights * (factor @ member_vp), weights)
        if worst < _CLOSE:
            return weights / weights.sum()
    raise InputError(
        "margins: no weights of these personas reach all margins together; give more personas or fewer margins."
    )


def _indicator(
    personas: pl.DataFrame, name: str, shares: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Who has each value [V, P], and the share [V] that it should have."""
    if name not in personas.columns:
        raise InputError(f"margins: personas have no attribute {name!r}; they have {personas.columns[1:]}.")
    target = np.array(list(shares.values()), float)
    if not (np.isfinite(target) & (target >= 0)).all() or abs(target.sum() - 1) > _SUM:
        raise InputError(f"margins.{name}: shares sum to {target.sum():.3g}; they must sum to 1.")
    values = personas[name].to_list()
    unknown = sorted({value for value in values if value is not None} - set(shares))
    absent = sorted(value for value, share in shares.items() if share > 0 and value not in values)
    if unknown or absent:
        problem = (
            f"personas have {unknown[0]!r}, which has no share"
            if unknown
            else f"no persona has {absent[0]!r}"
        )
        raise InputError(f"margins.{name}: {problem}.")
    member = np.array([[value == own for value in values] for own in shares], dtype=float)
    return member, target / target.sum()
