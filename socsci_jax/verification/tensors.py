"""One tensor of each side, bit against bit."""

from __future__ import annotations

import dataclasses

import numpy as np

# Values compared at a time: what is made in between stays small compared with the tensor itself.
PIECE = 1 << 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorDifference:
    """A tensor that both sides have, but not with equal bits; pairs are (A, B).

    Of equal shapes `differing` counts the values that differ (in bits where the dtypes are equal), and `largest` is
    their largest absolute difference, of float32 and all narrower dtypes exact; it is at `index`, where the sides
    hold `values`.  NaN on one side counts as the largest of all.
    """

    name: str
    dtypes: tuple[str, str]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    differing: int | None = None
    largest: float | None = None
    index: tuple[int, ...] | None = None
    values: tuple[float, float] | None = None


def tensor_difference(name: str, a: np.ndarray, b: np.ndarray) -> TensorDifference | None:
    """None if dtype, shape and every bit are equal."""
    difference = TensorDifference(name=name, dtypes=(a.dtype.name, b.dtype.name), shapes=(a.shape, b.shape))
    if a.shape != b.shape:
        return difference
    differing, largest = 0, None  # (rank, difference, place, values)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for start in range(0, a.size, PIECE):
        x, y = flat_a[start : start + PIECE], flat_b[start : start + PIECE]
        at = np.flatnonzero(_unequal(x, y))
        if at.size == 0:
            continue
        differing += at.size
        x, y = x[at].astype(np.float64), y[at].astype(np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.abs(x - y)
        gap[np.isnan(x) & np.isnan(y)] = 0.0
        rank = np.where(np.isnan(gap), np.inf, gap)
        i = int(rank.argmax())
        if largest is None or rank[i] > largest[0]:
            largest = (rank[i], float(gap[i]), start + int(at[i]), (float(x[i]), float(y[i])))
    if largest is None:
        same = a.dtype == b.dtype
        return None if same else dataclasses.replace(difference, differing=0, largest=0.0)
    _, gap, place, values = largest
    index = tuple(int(i) for i in np.unravel_index(place, a.shape))
    return dataclasses.replace(difference, differing=differing, largest=gap, index=index, values=values)


def _unequal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where bits differ; of different dtypes where values do."""
    if x.dtype == y.dtype:
        bits = np.dtype(f"u{x.dtype.itemsize}")
        return x.view(bits) != y.view(bits)
    x, y = x.astype(np.float64), y.astype(np.float64)
    return (x != y) & ~(np.isnan(x) & np.isnan(y))
