"""How the distance falls with the amount of training data: one table, one plot, and the law between them.

The law is W(n) = a + b n^-c with a, b >= 0, n the number of units trained on: a power law (Hestness et al. 2017,
"Deep Learning Scaling is Predictable, Empirically") above a floor a, below which more data of this kind would not
bring the distance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.saturation import Saturation, fit_saturation
from socsci_jax.evaluation.sentences import number, part_name, with_interval
from socsci_jax.evaluation.table import CONDITION_POOLED, EXACT, MODEL, OBSERVED, SAMPLED, SCALE, UNIFORM

METRIC = BY_NAME["wasserstein"]
PREDICTORS = (MODEL, UNIFORM, CONDITION_POOLED)
# Normalization and source of the headline, and those that are compared with published values.
PRIMARY = (SCALE, EXACT)
KINDS = (PRIMARY, (OBSERVED, SAMPLED))

# A sweep over shares of the training data, one row a value: `of`, share and seed say which subset was trained on,
# units and responses how much that was.  Rows of the saturation law rest on all runs: there share, seed, units and
# responses are null, n counts the runs, and `note` says why a law could not be fitted.
SWEEP_SCHEMA = pa.schema(
    [
        ("of", pa.string()),
        ("share", pa.float64()),
        ("seed", pa.int64()),
        ("units", pa.int64()),
        ("responses", pa.int64()),
        ("part", pa.string()),
        ("predictor", pa.string()),
        ("metric", pa.string()),
        ("normalization", pa.string()),
        ("source", pa.string()),
        ("value", pa.float64()),
        ("lo", pa.float64()),
        ("hi", pa.float64()),
        ("n", pa.int64()),
        ("note", pa.string()),
    ]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep; `distances` are the rows of its evaluation table that `distances_of` keeps."""

    share: float
    seed: int
    units: int
    responses: int
    distances: pl.DataFrame


def distances_of(evaluation: Evaluation) -> pl.DataFrame:
    """W by part, kind and predictor: the mean over studies (study is null), and each study's own."""
    return evaluation.table.filter(
        pl.col("metric") == METRIC.name,
        pl.any_horizontal(of_kind(*kind) for kind in KINDS),
        pl.col("predictor").is_in(PREDICTORS),
        pl.col("reference").is_null(),
        pl.col("group").is_null(),
        pl.col("condition").is_null(),
    )


def of_kind(normalization: str, source: str) -> pl.Expr:
    return (pl.col("normalization") == normalization) & (pl.col("source") == source)


def sweep_table(points: Sequence[Point], *, of: str, seed: int = 0) -> pl.DataFrame:
    """The table of a sweep over shares of `of` (SWEEP_SCHEMA): every run's values, then the law of each part."""
    rows = [
        {
            "of": of,
            "share": point.share,
            "seed": point.seed,
            "units": point.units,
            "responses": point.responses,
            "part": row["part"],
            **{
                name: row[name]
                for name in ("predictor", "metric", "normalization", "source", "value", "lo", "hi", "n")
            },
        }
        for point in points
        for row in point.distances.filter(pl.col("study").is_null()).iter_rows(named=True)
    ]
    judged = points[0].distances.filter(pl.col("study").is_null(), pl.col("predictor") == MODEL)
    for part, *kind in judged.select("part", "normalization", "source").iter_rows():
        law = _law_of_part(points, part, tuple(kind), seed=seed)
        laws = {"a": law.a or Estimate(None), "b": Estimate(law.b), "c": Estimate(law.c)}
        rows += [
            {
                "of": of,
                "part": part,
                "predictor": MODEL,
                "metric": f"saturation_{name}",
                "normalization": kind[0],
                "source": kind[1],
                "value": estimate.value,
                "lo": estimate.lo,
                "hi": estimate.hi,
                "n": len(points),
                "note": law.reason,
            }
            for name, estimate in laws.items()
        ]
    return pl.DataFrame(rows, schema=pl.DataFrame(pl.from_arrow(SWEEP_SCHEMA.empty_table())).schema)


def _law_of_part(points: Sequence[Point], part: str, kind: tuple[str, ...], *, seed: int) -> Saturation:
    by_study = [
        dict(
            point.distances.filter(
                pl.col("part") == part,
                of_kind(*kind),
                pl.col("predictor") == MODEL,
                pl.col("study").is_not_null(),
            )
            .select("study", "value")
            .iter_rows()
        )
        for point in points
    ]
    studies = sorted(by_study[0])
    w_rs = np.array([[values[study] for study in studies] for values in by_study], dtype=float)
    return fit_saturation(
        np.array([point.units for point in points], dtype=float),
        w_rs,
        share_r=np.array([point.share for point in points]),
        rng=np.random.default_rng(seed),
    )


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """The headline's distances for a terminal: one row a run and part."""
    rows = table.filter(pl.col("metric") == "wasserstein", of_kind(*PRIMARY))
    keys = ["part", "share", "seed", "units", "responses"]
    shown: dict[tuple[object, ...], dict[str, str]] = {}
    for row in rows.iter_rows(named=True):
        cells = shown.setdefault(tuple(row[key] for key in keys), {})
        cells[row["predictor"]] = (
            with_interval(estimate_of(row)) if row["predictor"] == MODEL else number(row["value"])
        )
    return pl.DataFrame([dict(zip(keys, key, strict=True)) | cells for key, cells in shown.items()]).sort(
        "part", maintain_order=True
    )


def estimate_of(row: dict[str, Any]) -> Estimate:
    return Estimate(row["value"], row["lo"], row["hi"])


def law_sentences(table: pl.DataFrame) -> list[str]:
    """One sentence a part: the law of the headline's kind, or why there is none."""
    return [f"{part_name(part)}: {law_words(law)}" for part, law in laws_of(table).items()]


def laws_of(table: pl.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Part -> a, b, c -> row, of the headline's kind."""
    laws: dict[str, dict[str, dict[str, Any]]] = {}
    rows = table.filter(pl.col("metric").str.starts_with("saturation_"), of_kind(*PRIMARY))
    for row in rows.iter_rows(named=True):
        laws.setdefault(row["part"], {})[row["metric"].removeprefix("saturation_")] = row
    return laws


def law_words(law: dict[str, dict[str, Any]]) -> str:
    if law["a"]["value"] is None:
        return f"no saturation law, because {law['a']['note']}"
    if law["a"]["value"] == 0:
        return (
            f"still falling where the data end, as W(n) = {law['b']['value']:.3g} n^-{law['c']['value']:.3g}; where it "
            "would level off cannot be told from them"
        )
    return (
        f"W(n) = a + b n^-c with a = {with_interval(estimate_of(law['a']))}, b = {law['b']['value']:.3g}, "
        f"c = {law['c']['value']:.3g}"
    )
