"""The labels that people gave to the documents of one item, and the predicted ones, as matrices of counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.sparse

from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.metrics.classification import coincidences


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of one item that have a readable prediction.

    `labels_dl` counts the people's labels of each document, `predicted_d` is the index of the predicted label.
    """

    documents: list[str]
    labels_dl: np.ndarray
    predicted_d: np.ndarray

    @classmethod
    def of(cls, cell: Cell) -> Labels:
        rows = cell.predicted_nl
        # Documents none of whose draws could be read have no prediction.
        readable = np.flatnonzero(np.isfinite(rows[:, 0]))
        names, first, document_n = np.unique(
            np.array(cell.people_n, dtype=str)[readable], return_index=True, return_inverse=True
        )
        labels_dl = np.zeros((names.size, cell.levels_l.size))
        np.add.at(labels_dl, (document_n, cell.codes_n[readable]), 1)
        return cls(names.tolist(), labels_dl, rows[readable[first]].argmax(axis=1))

    @property
    def n(self) -> int:
        return int(self.labels_dl.sum())

    def by_several(self) -> Labels:
        """Only the documents that several people labeled."""
        kept = np.flatnonzero(self.labels_dl.sum(axis=1) > 1)
        return Labels([self.documents[d] for d in kept], self.labels_dl[kept], self.predicted_d[kept])

    def counts(self, row_of: Mapping[str, int]) -> scipy.sparse.coo_array:
        """What each document adds to the counts of people's labels (rows) and predicted ones: [documents, L · L]."""
        size = self.labels_dl.shape[1]
        document, label = np.nonzero(self.labels_dl)
        at = label * size + self.predicted_d[document]
        return self._matrix(row_of, document, at, self.labels_dl[document, label])

    def coincidences(self, row_of: Mapping[str, int]) -> scipy.sparse.coo_array:
        """What each document adds to the coincidences of its coders: [documents, L · L]."""
        size = self.labels_dl.shape[1]
        pairs = coincidences(self.labels_dl).reshape(len(self.documents), size * size)
        document, at = np.nonzero(pairs)
        return self._matrix(row_of, document, at, pairs[document, at])

    def _matrix(
        self, row_of: Mapping[str, int], document: np.ndarray, at: np.ndarray, values: np.ndarray
    ) -> scipy.sparse.coo_array:
        rows = np.array([row_of[name] for name in self.documents], dtype=int)[document]
        return scipy.sparse.coo_array((values, (rows, at)), shape=(len(row_of), self.labels_dl.shape[1] ** 2))
