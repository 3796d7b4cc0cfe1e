"""How trees of prompts, of any size, are fitted into rows of one length."""

from __future__ import annotations

import bisect

import numpy as np

from socsci_jax.data.trees import RowShape


def shared_with_previous(shared: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Tokens that each chosen one has in common with the one before, given those of neighbors in the whole.

    shared[i] counts the first tokens that i and i - 1 have in common, in an order sorted by tokens; chosen[n] are
    ascending wherever the result is used.  Of sorted sequences, two share what the least of the pairs between
    them share.
    """
    if len(chosen) < 2:
        return np.zeros(len(chosen), np.int64)
    padded = np.append(shared, 0)
    spans = np.stack([chosen[:-1] + 1, chosen[1:] + 1], axis=1)
    # Where a new tree begins the span runs backwards, and its value is not used.
    spans[:, 1] = np.maximum(spans[:, 1], spans[:, 0])
    least = np.minimum.reduceat(padded, spans.reshape(-1))[::2]
    return np.concatenate([[0], least])


def fit_into_rows(
    tokens: np.ndarray, needs: np.ndarray, *, order: np.ndarray, shape: RowShape
) -> list[list[int]]:
    """Trees by row: each in turn goes to the fullest row that can hold it (best fit), else begins a new one.

    tokens[n], needs[n, 3] as `Lengths.branch_needs`.
    """
    rows: list[list[int]] = []
    taken: list[tuple[int, int, int]] = []  # reads, slots and comparisons of each row
    most_reads, most_slots, most_comparisons = shape.needs
    free: list[tuple[int, int]] = []  # (free tokens, row), ascending
    least = int(tokens.min())
    for tree in order.tolist():
        t, (r, a, c) = int(tokens[tree]), needs[tree].tolist()
        place = bisect.bisect_left(free, (t, 0))
        while place < len(free):
            room, row = free[place]
            reads, slots, comparisons = taken[row]
            if reads + r <= most_reads and slots + a <= most_slots and comparisons + c <= most_comparisons:
                del free[place]
                break
            place += 1
        else:
            room, row = shape.tokens, len(rows)
            rows.append([])
            taken.append((0, 0, 0))
        rows[row].append(tree)
        reads, slots, comparisons = taken[row]
        taken[row] = (reads + r, slots + a, comparisons + c)
        if room - t >= least:
            bisect.insort(free, (room - t, row))
    return rows


def round_up(value, multiple: int):
    return -(-value // multiple) * multiple
