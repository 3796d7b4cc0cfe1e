"""Calibration of a part: how often levels are chosen that were given a probability."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.intervals import sum_by
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.metrics.calibration import BINS
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import EXACT, MODEL, row

# From so many probabilities the edges of bins of equal mass are found.
PROBABILITIES_FOR_EDGES = 200_000


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Rows of the table, and the bins of the reliability diagram (part, bins, bin, n, predicted, observed)."""

    rows: list[dict[str, object]]
    bins: pl.DataFrame


def calibration(part: Part) -> Calibration:
    """Calibration errors with their bins; empty where not every item has probabilities."""
    cells = [cell for cell, averaged in zip(part.cells, part.averaged_c, strict=True) if averaged]
    if part.source != EXACT or not cells:
        return Calibration([], pl.DataFrame(schema=_BINS))
    cluster = part.cluster_c[part.averaged_c]
    edges = {
        "width": np.linspace(0, 1, BINS + 1)[1:-1],
        "mass": np.quantile(_some(part, cells), np.linspace(0, 1, BINS + 1)[1:-1]),
    }
    rows, frames = [], []
    for kind, inner in edges.items():
        sums_c = np.stack([_binned(cell.predicted_nl, cell.codes_n, inner) for cell in cells])
        replicates = part.resampling.counts_bs @ sum_by(
            sums_c.reshape(len(cells), -1), cluster, len(part.resampling.names)
        )
        n, p, hit = np.moveaxis(replicates.reshape(-1, 3, BINS), 1, 0)
        with np.errstate(invalid="ignore"):
            error = np.abs(p - hit).sum(axis=1) / n.sum(axis=1)
        metric = BY_NAME[f"calibration_error_{kind}"]
        error = error[:1] if part.resampling.by_participants else error
        estimate = part.resampling.estimate(metric, error, clusters=len(np.unique(cluster)))
        answers = int(part.n_c[part.averaged_c].sum())
        rows.append(row(metric.name, estimate, part=part.name, predictor=MODEL, n=answers, source=EXACT))
        used = n[0] > 0
        frames.append(
            pl.DataFrame(
                {
                    "part": [part.name] * int(used.sum()),
                    "bins": [f"equal {kind}"] * int(used.sum()),
                    "bin": np.flatnonzero(used),
                    "n": n[0][used].astype(np.int64),
                    "predicted": p[0][used] / n[0][used],
                    "observed": hit[0][used] / n[0][used],
                },
                schema=_BINS,
            )
        )
    return Calibration(rows, pl.concat(frames))


_BINS = {
    "part": pl.String,
    "bins": pl.String,
    "bin": pl.Int64,
    "n": pl.Int64,
    "predicted": pl.Float64,
    "observed": pl.Float64,
}


def _some(part: Part, cells: list[Cell]) -> np.ndarray:
    """Probabilities of a seeded choice of people."""
    total = sum(cell.predicted_nl.size for cell in cells)
    share = min(1.0, PROBABILITIES_FOR_EDGES / total)
    rng = part.rng("edges of bins")
    return np.concatenate(
        [cell.predicted_nl[rng.random(len(cell.predicted_nl)) <= share].ravel() for cell in cells]
        or [cells[0].predicted_nl.ravel()]
    )


def _binned(probs_nl: np.ndarray, codes_n: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number, sum of probabilities and number chosen [3, bins]."""
    at = np.searchsorted(edges, probs_nl, side="left")
    chosen = at[np.arange(codes_n.size), codes_n]
    flat = at.ravel()
    return np.stack(
        [
            np.bincount(flat, minlength=BINS),
            np.bincount(flat, weights=probs_nl.ravel(), minlength=BINS),
            np.bincount(chosen, minlength=BINS),
        ]
    )
