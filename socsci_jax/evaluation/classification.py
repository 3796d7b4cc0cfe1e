"""How well labels are predicted: items whose levels are names without an order, as the codes of a codebook are.

Between such answers there is no distance, so nothing here rests on one.  The prediction is the most probable label
(from draws: the most frequent one), and every metric is a function of a matrix of counts [..., L, L]: rows are the
labels that people gave, columns those that a predictor gave to the same documents.  A document is a participant,
and each label that people gave it counts once.

The model is compared with the label that is most frequent in the training part, a uniform guess, and `coders`: the
label of another coder, where several coded one document.  Intervals resample documents within their study, so they
speak for other documents under the same codebook and not for another codebook.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.labels import Labels
from socsci_jax.evaluation.metrics.classification import METRICS, ZERO
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import EXACT, MODEL, SAMPLED, UNIFORM, row, table_of

CODERS, MAJORITY = "coders", "majority"
PREDICTORS = (MODEL, MAJORITY, UNIFORM, CODERS)

BY_NAME = {metric.name: metric for metric in METRICS}

# So many resamples at once: a matrix of all of them and all documents would outgrow a laptop.
RESAMPLES_AT_ONCE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """The metrics of all nominal items.

    `table` holds rows of the evaluation table: one with an outcome is an item (n = labels of people), one with only
    a study the mean over its items (n = items), one with neither the mean over studies (n = studies).  `items` has
    one row per part and item, with the matrix of counts of people's labels (rows) and the model's (columns).
    """

    table: pl.DataFrame
    counts: Mapping[str, Mapping[str, int]]
    items: pl.DataFrame

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.counts)

    def source(self, part: str) -> str:
        """EXACT if every item of the part has probabilities, else SAMPLED."""
        return SAMPLED if self.counts[part]["items_without_probabilities"] else EXACT

    def value(
        self,
        metric: str,
        *,
        part: str,
        predictor: str,
        reference: str | None = None,
        item: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """One row (all columns of the table) of a part, or of one item of it: a row of `items`."""
        place = {name: item[name] if item else None for name in ("study", "condition", "outcome")}
        rows = self.table.filter(
            *(pl.col(name).eq_missing(pl.lit(value, pl.String)) for name, value in place.items()),
            pl.col("metric") == metric,
            pl.col("part") == part,
            pl.col("predictor") == predictor,
            pl.col("reference").eq_missing(pl.lit(reference, pl.String)),
        )
        return rows.row(0, named=True) if rows.height else None


def judge(parts: Sequence[Part], training: pl.DataFrame) -> Coding:
    """Judges the predictions of nominal items, part by part; `training` are the labels of the training part.

    Items with fewer labels than the part's `minimum_n` enter no average.
    """
    most_frequent = dict(
        training.group_by("item_id", "value")
        .len()
        .sort("item_id", "len", "value", descending=[False, True, False])
        .unique("item_id", keep="first", maintain_order=True)
        .select("item_id", "value")
        .iter_rows()
    )
    judged = [_Judged(part, most_frequent) for part in parts if part.cells]
    counted = {part.name: part.counts() for part in judged}
    rows = [row for part in judged for row in part.rows()]
    return Coding(
        table=table_of(rows),
        counts=counted,
        items=pl.DataFrame([row for part in judged for row in part.items()], schema=_ITEMS),
    )


_ITEMS: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("part", "item_id", "study", "condition", "outcome"), pl.String),
    "n": pl.Int64,
    "averaged": pl.Boolean,
    "accuracy": pl.Float64,
    "labels": pl.List(pl.String),
    "counts": pl.List(pl.List(pl.Float64)),
}


# By `parts.py`, when answers and predictions were brought together.
_COUNTED_BEFORE = (
    "items_below_minimum_n",
    "items_without_prediction",
    "answers_without_prediction",
    "answers_off_scale",
)


def _resampled_sums(terms_dk: scipy.sparse.csr_array, *, rng: np.random.Generator) -> np.ndarray:
    """Sums over documents [1 + B, K], the first of the sample itself."""
    documents = terms_dk.shape[0]
    sums = [np.asarray(terms_dk.sum(axis=0))[None]]
    for _ in range(0, intervals.RESAMPLES, RESAMPLES_AT_ONCE):
        drawn = intervals.resample_counts(documents, rng=rng, resamples=RESAMPLES_AT_ONCE)[1:]
        sums.append(drawn @ terms_dk)
    return np.vstack(sums)


class _Judged:
    """All metrics of one part of the split."""

    def __init__(self, part: Part, most_frequent: Mapping[str, float]):
        self.name = part.name
        self.cells = cells = part.cells
        self.counted_before = part.counts
        self.labels = [Labels.of(cell) for cell in cells]
        self.by_several = [labels.by_several() for labels in self.labels]
        self.n_c = np.array([labels.n for labels in self.labels])
        self.averaged_c = self.n_c >= part.minimum_n
        self.without_probabilities = sum(cell.probs_nl is None for cell in cells)
        self.source = SAMPLED if self.without_probabilities else EXACT
        self.most_frequent = [most_frequent.get(cell.item_id) for cell in cells]
        self.study_c = np.array([cell.item.study_id for cell in cells])
        self.studies = sorted(set(self.study_c.tolist()))
        # Matrices [1 + B, L, L] of each item: the sample, then its resamples.
        self.counts_c: dict[int, np.ndarray] = {}
        self.coincidences_c: dict[int, np.ndarray] = {}
        for study in self.studies:
            self._resample(study, rng=np.random.default_rng([part.seed, *f"{part.name}/{study}".encode()]))
        # (metric, predictor) -> [1 + B, C], NaN where undefined.
        shape = (1 + intervals.RESAMPLES, len(cells))
        self.values = {
            (metric, predictor): np.full(shape, np.nan) for metric in BY_NAME for predictor in PREDICTORS
        }
        for c in self.counts_c:
            self._measure(c)

    def _documents(self, labels_c: Sequence[Labels], cells: Iterable[int]) -> set[tuple[str, str]]:
        """(study, document) of everything that was labeled in some of the items."""
        return {(self.study_c[c], document) for c in cells for document in labels_c[c].documents}

    def _resample(self, study: str, *, rng: np.random.Generator) -> None:
        cells = np.flatnonzero(self.study_c == study).tolist()
        documents = sorted(document for _, document in self._documents(self.labels, cells))
        if not documents:
            return
        row_of = {document: row for row, document in enumerate(documents)}
        terms = [
            matrix
            for c in cells
            for matrix in (self.labels[c].counts(row_of), self.by_several[c].coincidences(row_of))
        ]
        sums = _resampled_sums(scipy.sparse.hstack(terms, format="csr"), rng=rng)
        pieces = np.split(sums, np.cumsum([matrix.shape[1] for matrix in terms])[:-1], axis=1)
        for c, counts, pairs in zip(cells, pieces[::2], pieces[1::2], strict=True):
            shape = (-1, self.cells[c].levels_l.size, self.cells[c].levels_l.size)
            self.counts_c[c], self.coincidences_c[c] = counts.reshape(shape), pairs.reshape(shape)

    def _measure(self, c: int) -> None:
        counts, among_coders = self.counts_c[c], self.coincidences_c[c]
        levels, given = self.cells[c].levels_l, self.counts_c[c].sum(axis=-1, keepdims=True)
        # What a guess is expected to give: exact, nothing is drawn.
        by_predictor = {MODEL: counts, UNIFORM: np.repeat(given / levels.size, levels.size, axis=-1)}
        if self.most_frequent[c] is not None:
            by_predictor[MAJORITY] = given * (levels == self.most_frequent[c])
        pairs = {
            predictor: (matrix, matrix + np.swapaxes(matrix, -1, -2))
            for predictor, matrix in by_predictor.items()
        }
        # Coders are not told apart, so their κ is Scott's π: chance with the shares that all have together.
        pairs[CODERS] = (among_coders, among_coders)
        for predictor, (matrix, coincident) in pairs.items():
            for metric in METRICS:
                values = metric.of(matrix, coincident)
                self.values[metric.name, predictor][:, c] = np.where(np.abs(values) < ZERO, 0, values)

    # ---- the table ----

    def rows(self) -> Iterator[dict[str, object]]:
        for (metric, predictor), values in self.values.items():
            labels_c = self.by_several if predictor == CODERS else self.labels
            yield from self._rows(metric, predictor, None, values, labels_c)
            if predictor != MODEL:
                paired = self.values[metric, MODEL] - values
                # Nobody is better than their equal by what rounding leaves.
                paired[np.abs(paired) < ZERO] = 0
                yield from self._rows(metric, MODEL, predictor, paired, labels_c)

    def _rows(
        self,
        metric: str,
        predictor: str,
        reference: str | None,
        values: np.ndarray,
        labels_c: Sequence[Labels],
    ) -> Iterator[dict[str, object]]:
        """One row for each item, then each study, then the part; `labels_c` are those that the values rest on."""
        low, high = (-np.inf, np.inf) if reference else (BY_NAME[metric].low, BY_NAME[metric].high)

        def one(replicates: np.ndarray, *, cells: Iterable[int], n: int, **place: str) -> dict[str, object]:
            documents = len(self._documents(labels_c, cells))
            estimate = intervals.estimate(
                replicates, clusters=documents, resampled="documents", low=low, high=high
            )
            return row(
                metric,
                estimate,
                part=self.name,
                predictor=predictor,
                reference=reference,
                n=n,
                source=self.source,
                **place,
            )

        for c, cell in enumerate(self.cells):
            place = {
                "study": cell.item.study_id,
                "condition": cell.item.condition,
                "outcome": cell.item.outcome,
            }
            yield one(values[:, c], cells=[c], n=labels_c[c].n, **place)
        used_c = self.averaged_c & np.isfinite(values[0])
        means, undefined = [], np.full(len(values), np.nan)
        for study in self.studies:
            own = np.flatnonzero(used_c & (self.study_c == study))
            mean = values[:, own].mean(axis=1) if own.size else undefined
            yield one(mean, cells=own, n=own.size, study=study)
            if own.size:
                means.append(mean)
        yield one(np.mean(means, axis=0) if means else undefined, cells=np.flatnonzero(used_c), n=len(means))

    def counts(self) -> dict[str, int]:
        """What the averages rest on, and what was excluded."""
        averaged = np.flatnonzero(self.averaged_c)
        return {
            "studies": len(set(self.study_c[averaged].tolist())),
            "items": averaged.size,
            "documents": len(self._documents(self.labels, averaged)),
            "documents_with_several_coders": len(self._documents(self.by_several, averaged)),
            "answers": int(self.n_c[averaged].sum()),
            "answers_without_readable_draw": sum(cell.codes_n.size for cell in self.cells)
            - int(self.n_c.sum()),
            "items_without_probabilities": self.without_probabilities,
            "items_without_training_labels": sum(label is None for label in self.most_frequent),
            **{name: self.counted_before[name] for name in _COUNTED_BEFORE},
        }

    def items(self) -> Iterator[dict[str, object]]:
        for c, cell in enumerate(self.cells):
            counts = self.counts_c[c][0] if c in self.counts_c else np.zeros([cell.levels_l.size] * 2)
            names = cell.item.scale.labels or [""] * cell.levels_l.size
            yield {
                "part": self.name,
                "item_id": cell.item_id,
                "study": cell.item.study_id,
                "condition": cell.item.condition,
                "outcome": cell.item.outcome,
                "n": int(self.n_c[c]),
                "averaged": bool(self.averaged_c[c]),
                "accuracy": value if np.isfinite(value := self.values["accuracy", MODEL][0, c]) else None,
                "labels": [f"{level} {name}".strip() for level, name in zip(cell.levels_l.tolist(), names)],
                "counts": counts.tolist(),
            }
