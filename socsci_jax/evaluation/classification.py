"""How well labels are predicted: items whose levels are names without an order, as the codes of a codebook are.

Between such answers there is no distance, so nothing here rests on one.  The prediction is the most probable label
(from draws: the most frequent one), and every figure is a function of a matrix of counts [..., L, L]: rows are the
labels that people gave, columns those that a predictor gave to the same documents.  A document is a participant,
and each label that people gave it counts once.

Beside the model stand the label that is most frequent in the training part, a uniform guess, and `coders`: the
label of another coder, where several coded one document.  Intervals resample documents within their study, so they
speak for other documents under the same codebook and not for another codebook.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import scipy.sparse

from socsci_jax.evaluation import intervals
from socsci_jax.evaluation.agreement import METRICS, ZERO, agreement, coincidences
from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.parts import Part
from socsci_jax.studies.schema import EVALUATION_SCHEMA

MODEL, CODERS = "model", "coders"
PREDICTORS = (MODEL, "majority", "uniform", CODERS)

# So many resamples at once: a matrix of all of them and all documents would outgrow a laptop.
RESAMPLES_AT_ONCE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """The figures of all nominal items.

    `frame` holds rows of the evaluation table: one with an outcome is an item (n = labels of people), one with only
    a study the mean over its items (n = items), one with neither the mean over studies (n = studies).  `items` has
    one row per part and item, with the matrix of counts of people's labels (rows) and the model's (columns).
    """

    frame: pl.DataFrame
    counts: Mapping[str, Mapping[str, int]]
    items: pl.DataFrame

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.counts)

    def source(self, part: str) -> str:
        """ "exact" if every item of the part has probabilities, else "sampled"."""
        return "sampled" if self.counts[part]["items_without_probabilities"] else "exact"

    def figure(self, metric: str, *, part: str, predictor: str, item: Mapping | None = None) -> dict | None:
        """One figure (all columns of the table) of a part, or of one item of it: a row of `items`."""
        place = {name: item[name] if item else None for name in ("study", "condition", "outcome")}
        rows = self.frame.filter(
            *(pl.col(name).eq_missing(pl.lit(value, pl.String)) for name, value in place.items()),
            pl.col("metric") == metric,
            pl.col("scope") == part,
            pl.col("predictor") == predictor,
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
    rows += [
        {"metric": f"count_coded_{what}", "convention": "count", "scope": part, "predictor": "all"}
        | {"value": float(number), "n": number}
        for part, numbers in counted.items()
        for what, number in numbers.items()
    ]
    return Coding(
        frame=pl.DataFrame(rows, schema=pl.from_arrow(EVALUATION_SCHEMA.empty_table()).schema),
        counts=counted,
        items=pl.DataFrame([row for part in judged for row in part.items()], schema=_ITEMS),
    )


_ITEMS = {
    **dict.fromkeys(("scope", "item_id", "study", "condition", "outcome"), pl.String),
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


@dataclasses.dataclass(frozen=True)
class _Labels:
    """The labels of one item that have a readable prediction.

    `labels_dl` counts the people's labels of each document, `predicted_d` is the index of the predicted label.
    """

    documents: list[str]
    labels_dl: np.ndarray
    predicted_d: np.ndarray

    @classmethod
    def of(cls, cell: Cell) -> _Labels:
        rows = cell.probs_nl if cell.probs_nl is not None else cell.draws_nl
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

    def by_several(self) -> _Labels:
        """Only the documents that several people labeled."""
        kept = np.flatnonzero(self.labels_dl.sum(axis=1) > 1)
        return _Labels([self.documents[d] for d in kept], self.labels_dl[kept], self.predicted_d[kept])

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


def _resampled_sums(terms_dk: scipy.sparse.csr_array, *, rng: np.random.Generator) -> np.ndarray:
    """Sums over documents [1 + B, K], the first of the sample itself."""
    documents = terms_dk.shape[0]
    sums = [np.asarray(terms_dk.sum(axis=0))[None]]
    for _ in range(0, intervals.RESAMPLES, RESAMPLES_AT_ONCE):
        drawn = intervals.resample_counts(documents, rng=rng, resamples=RESAMPLES_AT_ONCE)[1:]
        sums.append(drawn @ terms_dk)
    return np.vstack(sums)


class _Judged:
    """All figures of one part of the split."""

    def __init__(self, part: Part, most_frequent: Mapping[str, float]):
        self.name = part.name
        self.cells = cells = part.cells
        self.counted_before = part.counts
        self.labels = [_Labels.of(cell) for cell in cells]
        self.by_several = [labels.by_several() for labels in self.labels]
        self.n_c = np.array([labels.n for labels in self.labels])
        self.averaged_c = self.n_c >= part.minimum_n
        self.without_probabilities = sum(cell.probs_nl is None for cell in cells)
        source = "sampled" if self.without_probabilities else "exact"
        self.convention = f"most_probable/{source}/documents resampled"
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
            (metric, predictor): np.full(shape, np.nan) for metric in METRICS for predictor in PREDICTORS
        }
        for c in self.counts_c:
            self._measure(c)

    def _documents(self, labels_c: Sequence[_Labels], cells: Iterable[int]) -> set[tuple[str, str]]:
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
        by_predictor = {MODEL: counts, "uniform": np.repeat(given / levels.size, levels.size, axis=-1)}
        if self.most_frequent[c] is not None:
            by_predictor["majority"] = given * (levels == self.most_frequent[c])
        found = {
            predictor: agreement(matrix, matrix + np.swapaxes(matrix, -1, -2))
            for predictor, matrix in by_predictor.items()
        }
        # Coders are not told apart, so their κ is Scott's π: chance with the shares that all have together.
        found[CODERS] = agreement(among_coders, among_coders)
        for predictor, figures in found.items():
            for metric, values in figures.items():
                self.values[metric, predictor][:, c] = np.where(np.abs(values) < ZERO, 0, values)

    # ---- the table ----

    def rows(self) -> Iterator[dict]:
        for (metric, predictor), values in self.values.items():
            labels_c = self.by_several if predictor == CODERS else self.labels
            yield from self._rows(metric, predictor, values, labels_c)
            if predictor != MODEL:
                paired = self.values[metric, MODEL] - values
                # Nobody is better than their equal by what rounding leaves.
                paired[np.abs(paired) < ZERO] = 0
                yield from self._rows(f"{metric}_difference", f"{MODEL}-{predictor}", paired, labels_c)

    def _rows(
        self, metric: str, predictor: str, values: np.ndarray, labels_c: Sequence[_Labels]
    ) -> Iterator[dict]:
        """One row for each item, then each study, then the part; `labels_c` are those that the values rest on."""
        facts = {"metric": metric, "convention": self.convention, "scope": self.name, "predictor": predictor}

        def row(replicates: np.ndarray, *, cells: Iterable[int], n: int, **place: str) -> dict:
            figure = intervals.estimate(replicates, clusters=len(self._documents(labels_c, cells)))
            return {**facts, **place, **dataclasses.asdict(figure), "n": n}

        for c, cell in enumerate(self.cells):
            place = {
                "study": cell.item.study_id,
                "condition": cell.item.condition,
                "outcome": cell.item.outcome,
            }
            yield row(values[:, c], cells=[c], n=labels_c[c].n, **place)
        used_c = self.averaged_c & np.isfinite(values[0])
        means, undefined = [], np.full(len(values), np.nan)
        for study in self.studies:
            own = np.flatnonzero(used_c & (self.study_c == study))
            mean = values[:, own].mean(axis=1) if own.size else undefined
            yield row(mean, cells=own, n=own.size, study=study)
            if own.size:
                means.append(mean)
        yield row(np.mean(means, axis=0) if means else undefined, cells=np.flatnonzero(used_c), n=len(means))

    def counts(self) -> dict[str, int]:
        """What the averages rest on, and what was left out."""
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

    def items(self) -> Iterator[dict]:
        for c, cell in enumerate(self.cells):
            counts = self.counts_c[c][0] if c in self.counts_c else np.zeros([cell.levels_l.size] * 2)
            names = cell.item.scale.labels or [""] * cell.levels_l.size
            yield {
                "scope": self.name,
                "item_id": cell.item_id,
                "study": cell.item.study_id,
                "condition": cell.item.condition,
                "outcome": cell.item.outcome,
                "n": int(self.n_c[c]),
                "averaged": bool(self.averaged_c[c]),
                "accuracy": figure if np.isfinite(figure := self.values["accuracy", MODEL][0, c]) else None,
                "labels": [f"{level} {name}".strip() for level, name in zip(cell.levels_l.tolist(), names)],
                "counts": counts.tolist(),
            }
