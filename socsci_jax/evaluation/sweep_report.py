"""How the distance falls with the amount of training data: one table, one plot, and the law between them.

The law is W(n) = a + b n^-c with a, b >= 0, n the number of units trained on: a power law (Hestness et al. 2017,
"Deep Learning Scaling is Predictable, Empirically") above a floor a, below which more data of this kind would not
bring the distance.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.table import CONDITION_POOLED, EXACT, MODEL, OBSERVED, SAMPLED, SCALE, UNIFORM
from socsci_jax.evaluation.verdicts import PREDICTOR_NAMES, number, part_name, with_interval
from socsci_jax.foreign_text import PLAIN_PLOTS, write_csv
from socsci_jax.storage import new_file

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

METRIC = BY_NAME["wasserstein"]
# Distinct for color-blind eyes, and by marker for everybody else.
PREDICTOR_STYLE = {MODEL: ("#0072b2", "o"), UNIFORM: ("#d55e00", "s"), CONDITION_POOLED: ("#009e73", "^")}
STYLE: dict[RcKeyType, Any] = {
    **PLAIN_PLOTS,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "svg.hashsalt": "socsci_jax",
    "figure.constrained_layout.use": True,
}
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
RESAMPLES = 1_000
# Three parameters pass through any three points.
FEWEST_SIZES = 4
# A fall by less, from the fewest to the most data, is what rounding leaves.
LEAST_FALL = 1e-6
# Below the first the law is next to level, beyond the last a step: a fit that ends there has no exponent to tell.
EXPONENTS = np.geomspace(0.02, 5.0, 60)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep; `distances` are the rows of its evaluation table that `distances_of` keeps."""

    share: float
    seed: int
    units: int
    responses: int
    distances: pl.DataFrame


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saturation:
    """The fitted law; where none could be fitted, no numbers and the reason."""

    a: Estimate | None = None
    b: float | None = None
    c: float | None = None
    reason: str | None = None


def distances_of(evaluation: Evaluation) -> pl.DataFrame:
    """W by part, kind and predictor: the mean over studies (study is null), and each study's own."""
    return evaluation.table.filter(
        pl.col("metric") == METRIC.name,
        pl.any_horizontal(_of_kind(*kind) for kind in KINDS),
        pl.col("predictor").is_in(PREDICTORS),
        pl.col("reference").is_null(),
        pl.col("group").is_null(),
        pl.col("condition").is_null(),
    )


def _of_kind(normalization: str, source: str) -> pl.Expr:
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
    found = points[0].distances.filter(pl.col("study").is_null(), pl.col("predictor") == MODEL)
    for part, *kind in found.select("part", "normalization", "source").iter_rows():
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
                _of_kind(*kind),
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


def fit_saturation(
    units_r: np.ndarray,
    w_rs: np.ndarray,
    *,
    share_r: np.ndarray,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Saturation:
    """Least squares for W(n) = a + b n^-c over runs; W of a run is the mean over its studies (NaN: no value).

    `units_r` [R] (as floats) is n, `w_rs` [R, S] the distances, `share_r` [R] tells which runs differ by nothing but their
    seed.  The interval of a is that of the 2.5 and 97.5 % points over resamples, in each of which the studies are
    drawn anew, the same for all runs, and the seeds of each share; there is none below two studies.
    """
    known = np.isfinite(w_rs).any(axis=0)
    w_rs, studies = w_rs[:, known], int(known.sum())
    if studies == 0:
        return Saturation(reason="no run has a distance here")
    sizes = min(len(np.unique(share_r)), len(np.unique(units_r)))
    if sizes < FEWEST_SIZES:
        return Saturation(
            reason=f"its three parameters need at least {FEWEST_SIZES} different amounts of data, here are {sizes}"
        )
    counts_bs = intervals.resample_counts(studies, rng=rng, resamples=resamples)
    w_br = np.stack([intervals.mean_over(counts_bs, w_s) for w_s in w_rs], axis=1)
    run_br = _resampled_seeds(share_r, resamples=resamples, rng=rng)
    fits = [_fit(units_r[run_r], w_r[run_r]) for w_r, run_r in zip(w_br, run_br, strict=True)]
    _, b, c = fits[0]
    if b * (units_r.min() ** -c - units_r.max() ** -c) < LEAST_FALL:
        return Saturation(reason="the distance does not fall with more data")
    if c == EXPONENTS[0]:
        return Saturation(reason="the distance falls too little with more data to say where it levels off")
    if c == EXPONENTS[-1]:
        return Saturation(reason="the distance is level from the second amount of data on")
    a = intervals.estimate(np.array([a for a, _, _ in fits]), clusters=studies, resampled="studies", low=0.0)
    return Saturation(a=a, b=b, c=c)


def _resampled_seeds(share_r: np.ndarray, *, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Which run stands in for each run [1 + B, R]: another seed of its share, or itself; first, all themselves."""
    run_br = np.tile(np.arange(share_r.size), (1 + resamples, 1))
    for share in np.unique(share_r):
        members = np.flatnonzero(share_r == share)
        run_br[1:, members] = rng.choice(members, size=(resamples, members.size))
    return run_br


def _fit(n_r: np.ndarray, w_r: np.ndarray) -> tuple[float, float, float]:
    """a, b, c of the best law; c is an end of EXPONENTS where the best lies there or beyond."""
    x_r = n_r / n_r.max()
    best = int(np.argmin(_profile(EXPONENTS, x_r, w_r)[2]))
    c = EXPONENTS[best]
    if 0 < best < EXPONENTS.size - 1:
        # The best exponent of a grid, then the best between its neighbors.
        found = minimize_scalar(
            lambda log_c: _profile(np.exp([log_c]), x_r, w_r)[2][0],
            bounds=tuple(np.log(EXPONENTS[[best - 1, best + 1]])),
            method="bounded",
            options={"xatol": 1e-6},
        )
        c = float(np.exp(found.x))
    a_c, b_c, _ = _profile(np.array([c]), x_r, w_r)
    return float(a_c[0]), float(b_c[0] * n_r.max() ** c), float(c)


def _profile(c_c: np.ndarray, x_r: np.ndarray, w_r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For given exponents the best a, b >= 0 of w = a + b x^-c, and the sum of squares left [C] each."""
    z_cr = x_r ** -c_c[:, None]
    centered_cr = z_cr - z_cr.mean(axis=1, keepdims=True)
    b_c = np.maximum(0.0, centered_cr @ w_r / (centered_cr**2).sum(axis=1))
    a_c = w_r.mean() - b_c * z_cr.mean(axis=1)
    # Where the floor would lie below zero, the best law has none.
    through_zero = z_cr @ w_r / (z_cr**2).sum(axis=1)
    a_c, b_c = np.where(a_c < 0, 0.0, a_c), np.where(a_c < 0, through_zero, b_c)
    left_cr = w_r - a_c[:, None] - b_c[:, None] * z_cr
    return a_c, b_c, (left_cr**2).sum(axis=1)


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """The headline's distances for a terminal: one row a run and part."""
    rows = table.filter(pl.col("metric") == "wasserstein", _of_kind(*PRIMARY))
    keys = ["part", "share", "seed", "units", "responses"]
    shown: dict[tuple[object, ...], dict[str, str]] = {}
    for row in rows.iter_rows(named=True):
        cells = shown.setdefault(tuple(row[key] for key in keys), {})
        cells[row["predictor"]] = (
            with_interval(_estimate(row)) if row["predictor"] == MODEL else number(row["value"])
        )
    return pl.DataFrame([dict(zip(keys, key, strict=True)) | cells for key, cells in shown.items()]).sort(
        "part", maintain_order=True
    )


def _estimate(row: dict[str, Any]) -> Estimate:
    return Estimate(row["value"], row["lo"], row["hi"])


def law_sentences(table: pl.DataFrame) -> list[str]:
    """One sentence a part: the law of the headline's kind, or why there is none."""
    return [f"{part_name(part)}: {_law_words(law)}" for part, law in _laws(table).items()]


def _laws(table: pl.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Part -> a, b, c -> row, of the headline's kind."""
    laws: dict[str, dict[str, dict[str, Any]]] = {}
    rows = table.filter(pl.col("metric").str.starts_with("saturation_"), _of_kind(*PRIMARY))
    for row in rows.iter_rows(named=True):
        laws.setdefault(row["part"], {})[row["metric"].removeprefix("saturation_")] = row
    return laws


def _law_words(law: dict[str, dict[str, Any]]) -> str:
    if law["a"]["value"] is None:
        return f"no saturation law, because {law['a']['note']}"
    if law["a"]["value"] == 0:
        return (
            f"still falling where the data end, as W(n) = {law['b']['value']:.3g} n^-{law['c']['value']:.3g}; where it "
            "would level off cannot be told from them"
        )
    return (
        f"W(n) = a + b n^-c with a = {with_interval(_estimate(law['a']))}, b = {law['b']['value']:.3g}, "
        f"c = {law['c']['value']:.3g}"
    )


def plot(table: pl.DataFrame) -> Figure:
    """W against the share of the data of the headline's kind: one panel a part, the baselines as lines."""
    rows = table.filter(pl.col("metric") == "wasserstein", _of_kind(*PRIMARY))
    laws = _laws(table)
    parts = rows["part"].unique(maintain_order=True).to_list()
    of = rows["of"][0]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 3.2 * len(parts), 3.6))
        panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
        for axes, part in zip(panels, parts, strict=True):
            _panel(axes, rows.filter(pl.col("part") == part), laws[part])
            axes.set_title(part_name(part))
            axes.set_xlabel(f"share of the training {of}")
        panels[0].set_ylabel(f"{METRIC.title} ({METRIC.direction})")
        panels[0].set_ylim(bottom=0)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, law: dict[str, dict[str, Any]]) -> None:
    model = rows.filter(pl.col("predictor") == MODEL)
    seeds = sorted(model["seed"].unique())
    color, marker = PREDICTOR_STYLE[MODEL]
    for k, seed in enumerate(seeds):
        of_seed = model.filter(pl.col("seed") == seed, pl.col("value").is_not_null())
        # Seeds side by side, so that their intervals do not hide each other.
        beside = 1.04 ** (k - (len(seeds) - 1) / 2)
        x, w, lo, hi = (of_seed[name].cast(pl.Float64).to_numpy() for name in ("share", "value", "lo", "hi"))
        axes.vlines(beside * x, lo, hi, color=color, linewidth=1, alpha=0.6)
        label = PREDICTOR_NAMES[MODEL] if k == 0 else None
        axes.plot(beside * x, w, marker=marker, color=color, markersize=4.5, linestyle="none", label=label)
    for predictor in PREDICTORS[1:]:
        values = rows.filter(pl.col("predictor") == predictor)["value"].drop_nulls()
        if values.len():
            color, _ = PREDICTOR_STYLE[predictor]
            axes.axhline(
                cast(float, values.mean()), color=color, linewidth=1.2, label=PREDICTOR_NAMES[predictor]
            )
    shares = model["share"].unique().sort().to_numpy()
    if law["a"]["value"] is not None:
        a, b, c = (law[name]["value"] for name in "abc")
        along = np.geomspace(shares[0], shares[-1], 200)
        units = along * (model["units"] / model["share"]).mean()
        axes.plot(along, a + b * units**-c, color=PREDICTOR_STYLE[MODEL][0], linewidth=1.2)
        axes.axhline(a, color=PREDICTOR_STYLE[MODEL][0], linewidth=0.8, linestyle=":")
        level = law["a"]["value"] > 0
        said = (
            f"levels off at {with_interval(_estimate(law['a']))}"
            if level
            else "still falling where the data end"
        )
    else:
        said = _law_words(law)
    axes.text(0.03, 0.03, textwrap.fill(said, 40), transform=axes.transAxes, fontsize=7)
    axes.set_xscale("log")
    axes.set_xticks(shares, [f"{share:.3g}" for share in shares])
    axes.minorticks_off()


def write_sweep(table: pl.DataFrame, out: Path) -> None:
    """Writes sweep.csv, sweep.parquet and sweep.png to the folder `out`, each whole or not at all."""

    def write(name: str, content: Callable[[Path], object]) -> None:
        with new_file(out / name) as partial:
            content(partial)

    write("sweep.csv", lambda path: write_csv(table, path))
    write("sweep.parquet", lambda path: pq.write_table(table.to_arrow().cast(SWEEP_SCHEMA), path))
    write(
        "sweep.png",
        lambda path: plot(table).savefig(path, format="png", dpi=200, metadata={"Software": None}),
    )
