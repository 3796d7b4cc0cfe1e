"""Scales that seem to be turned round: labels in the opposite order of other outcomes', predictions that fit mirrored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import polars as pl

from socsci_jax.foreign_text import for_terminal
from socsci_jax.studies.scale import Scale
from socsci_jax.wording import counted

# Distances in shares of a scale's range.  What is predicted and its mirror image must differ by far more than models
# that are merely bad do: people lean to one side, the predictions to the other, and mirrored they fit.
LEANING = 0.2
FITS_MIRRORED = 1 / 3
FEWEST_ANSWERS = 30
# So many outcomes are named in an evaluation.
MOST_REVERSED = 5
_LONGEST = 60


def opposite_labels(asked: Iterable[tuple[str, str, Scale]]) -> pl.DataFrame:
    """Outcomes whose labels run against those of as many of their study: study_id, outcome, lowest, highest, others.

    `asked` are studies, outcomes and scales, as often as one likes.  Compared are the labels of the two ends, on scales
    with an order.  Either order may be right; where one label stands for the lowest level here and for the highest there,
    one of the two is easily a fault.
    """
    ends = {
        (study, outcome, *labels) for study, outcome, scale in asked if (labels := _ends(scale)) is not None
    }
    outcomes = Counter((study, low.casefold(), high.casefold()) for study, _, low, high in ends)
    rows = []
    for study, outcome, low, high in sorted(ends):
        others = outcomes[study, high.casefold(), low.casefold()]
        if others and others >= outcomes[study, low.casefold(), high.casefold()]:
            rows.append((study, outcome, low, high, others))
    schema = {name: pl.String for name in ("study_id", "outcome", "lowest", "highest")} | {"others": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _ends(scale: Scale) -> tuple[str, str] | None:
    if not scale.has_order or not scale.labels:
        return None
    low, high = (scale.labels[at].strip() for at in (0, -1))
    return (low, high) if low and high and low.casefold() != high.casefold() else None


def opposite_sentences(table: pl.DataFrame) -> list[str]:
    """A sentence for each outcome of `opposite_labels`."""
    return [
        f"Study {_short(row['study_id'])}, outcome {_short(row['outcome'])}: its labels run from {_short(row['lowest'])} up to "
        f"{_short(row['highest'])}, {counted(row['others'], 'scale of this study runs', 'scales of this study run')} the other way. See whether its answers "
        "are coded so."
        for row in table.iter_rows(named=True)
    ]


def mirrored_outcomes(distributions: pl.DataFrame) -> pl.DataFrame:
    """Outcomes whose predictions fit once they are mirrored: study, outcome, n, distance, mirrored.

    `distributions` has a row an item: study, outcome, n, levels, human and model (shares over the levels).  Distances are
    Wasserstein's over the range of the scale, averaged over the outcome's items by their answers.
    """
    rows = []
    for (study, outcome), of_outcome in distributions.group_by("study", "outcome", maintain_order=True):
        measured = [_distances(*row) for row in of_outcome.select("levels", "human", "model").iter_rows()]
        n = of_outcome["n"].to_numpy()
        if n.sum() < FEWEST_ANSWERS:
            continue
        distance, mirrored, lean = np.average(measured, axis=0, weights=n)
        if lean > LEANING and distance > LEANING and mirrored < FITS_MIRRORED * distance:
            rows.append((study, outcome, int(n.sum()), float(distance), float(mirrored)))
    schema = {
        "study": pl.String,
        "outcome": pl.String,
        "n": pl.Int64,
        "distance": pl.Float64,
        "mirrored": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def mirrored_sentences(table: pl.DataFrame) -> list[str]:
    """A sentence for each outcome of `mirrored_outcomes`."""
    return [
        f"Study {_short(row['study'])}, outcome {_short(row['outcome'])}: the predictions are {row['distance']:.2f} of the scale's "
        f"range from people's answers, and {row['mirrored']:.2f} if they are mirrored. See whether the scale is reversed on one "
        "of the two sides."
        for row in table.iter_rows(named=True)
    ]


def _distances(levels: list[float], human: list[float], model: list[float]) -> tuple[float, float, float]:
    """Of the model, of its mirror image, and of people's own mirror image to people's answers."""
    at, people, predicted = (np.asarray(values, dtype=float) for values in (levels, human, model))
    span = at[-1] - at[0]
    mirror_at = (at[0] + at[-1] - at)[::-1]
    # The levels of both, so that scales whose steps differ have a mirror image as well.
    grid = np.unique(np.concatenate([at, mirror_at]))

    def cumulated(places: np.ndarray, shares: np.ndarray) -> np.ndarray:
        mass = np.zeros(len(grid))
        np.add.at(mass, np.searchsorted(grid, places), shares / shares.sum())
        return np.cumsum(mass)[:-1]

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a - b) @ np.diff(grid) / span)

    own = cumulated(at, people)
    return (
        distance(own, cumulated(at, predicted)),
        distance(own, cumulated(mirror_at, predicted[::-1])),
        distance(own, cumulated(mirror_at, people[::-1])),
    )


def _short(text: str) -> str:
    return repr(for_terminal(text, longest=_LONGEST))
