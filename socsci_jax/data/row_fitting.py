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
    left: list[Needs] = []  # reads, slots and comparisons that each row has room for
    free = _FreeRows(left)
    least = int(tokens.min())
    for tree, t, (r, a, c) in zip(order.tolist(), tokens[order].tolist(), needs[order].tolist()):
        room, row = free.take(t, (r, a, c)) or (shape.tokens, len(rows))
        if row == len(rows):
            rows.append([])
            left.append(shape.needs)
        rows[row].append(tree)
        reads, slots, comparisons = left[row]
        left[row] = (reads - r, slots - a, comparisons - c)
        if room - t >= least:
            free.add(room - t, row)
    return rows


Needs = tuple[int, int, int]


class _FreeRows:
    """Rows with free tokens, sorted by these within classes of rows that have room for about as many reads and slots.

    Rows that are full but for their tokens are so passed over together: one by one they would take a time that grows with
    the square of the data.
    """

    def __init__(self, left: list[Needs]):
        self._left = left
        self._rows: dict[Needs, list[tuple[int, int]]] = {}  # class -> (free tokens, row), ascending

    def add(self, room: int, row: int) -> None:
        bisect.insort(self._rows.setdefault(_class(self._left[row]), []), (room, row))

    def take(self, tokens: int, needs: Needs) -> tuple[int, int] | None:
        """Removes and returns the fullest row that can hold this, of several the first; None if none can."""
        r, a, c = _class(needs)
        best: tuple[int, int] | None = None
        for (reads, slots, comparisons), rows in self._rows.items():
            if reads < r or slots < a or comparisons < c:
                continue
            for place in range(bisect.bisect_left(rows, (tokens, 0)), len(rows)):
                if best is not None and rows[place] > best:
                    break
                if _holds(self._left[rows[place][1]], needs):
                    best, found, at = rows[place], rows, place
                    break
        if best is not None:
            del found[at]
        return best


def _class(amounts: Needs) -> Needs:
    """Powers of two that the amounts reach: who is in a lower class than what is needed has less room than that."""
    reads, slots, comparisons = amounts
    return reads.bit_length(), slots.bit_length(), comparisons.bit_length()


def _holds(left: Needs, needs: Needs) -> bool:
    return left[0] >= needs[0] and left[1] >= needs[1] and left[2] >= needs[2]


def round_up(value, multiple: int):
    return -(-value // multiple) * multiple
