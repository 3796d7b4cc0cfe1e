"""What an evaluation returns: a tidy table, its values by name, and ways to show and to write it."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.background import Background
from socsci_jax.evaluation.classification import Coding
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metric import DistributionMetric, Metric
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.resampling import ReplicateKey, Replicates
from socsci_jax.evaluation.table import EXACT, MODEL, SAMPLED, SCALE
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class MetricValue(Estimate):
    """One row of the table: a value with its interval, what it rests on (`n`), and what metric it is of."""

    metric: str = ""
    predictor: str = MODEL
    part: str = ""
    n: int = 0

    @property
    def definition(self) -> Metric:
        return BY_NAME[self.metric]

    def __repr__(self) -> str:
        from socsci_jax.evaluation.sentences import with_interval

        shown = with_interval(self, digits=self.definition.digits)
        flag = f"; {self.flag}" if self.flag else ""
        return f"MetricValue({self.metric} {shown}, {self.predictor} on {self.part}, n={self.n}{flag})"


_PLACE = ("metric", "part", "predictor", "reference", "study", "group")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`table` is the evaluation table (table.py); the other tables hold what a reader redraws the plots from.

    All but `table`, `excluded` and `coding` are about items whose levels have an order; `coding` is about the others.
    `condition_means` and `contrasts` have a row each with people's standard errors, `distributions` a row for each item,
    `excluded` the items that are in no average, `reliability` the bins of the reliability diagram, `replicates` the model's
    values in every resample, `background` who the people were and what they read.
    """

    table: pl.DataFrame
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    metadata: Mapping[str, Mapping[str, Any]]
    distributions: pl.DataFrame
    condition_means: pl.DataFrame
    contrasts: pl.DataFrame
    excluded: pl.DataFrame
    reliability: pl.DataFrame
    coding: Coding
    background: Background = dataclasses.field(default_factory=Background)
    replicates: Mapping[ReplicateKey, Replicates] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts with items whose levels have an order, those that were held out first."""
        return tuple(self.counts)

    def source(self, part: str) -> str:
        """EXACT if every item of the part has probabilities, else SAMPLED."""
        return SAMPLED if self.counts[part]["items_without_probabilities"] else EXACT

    @functools.cached_property
    def _means(self) -> dict[tuple[str | None, ...], list[dict[str, Any]]]:
        """The rows that are not of single items, by what they are of: looked at many times."""
        rows_of: dict[tuple[str | None, ...], list[dict[str, Any]]] = collections.defaultdict(list)
        for row in self.table.filter(pl.col("outcome").is_null()).iter_rows(named=True):
            rows_of[tuple(row[name] for name in _PLACE)].append(row)
        return dict(rows_of)

    def metric(
        self,
        name: str,
        *,
        part: str | None = None,
        predictor: str = MODEL,
        reference: str | None = None,
        normalization: str | None = None,
        source: str | None = None,
        study: str | None = None,
        group: str | None = None,
    ) -> MetricValue | None:
        """One value of a part (by default the first), or of one study of it; None if it was not computed.

        With `reference` it is the paired difference, predictor minus reference.  `normalization` ("scale" or
        "observed") and `source` ("exact" or "sampled") are those of the headline by default.  Raises InputError for a
        metric or part that does not exist.
        """
        metric = BY_NAME.get(name)
        if metric is None:
            near = difflib.get_close_matches(name, BY_NAME, n=1)
            raise InputError(
                f"metric {name!r} does not exist; "
                + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(BY_NAME)}.")
            )
        known = (*self.parts, *(p for p in self.coding.parts if p not in self.parts))
        part = part or known[0]
        if part not in known:
            raise InputError(f"part {part!r} does not exist; this evaluation has {', '.join(known)}.")
        if normalization is None and (not isinstance(metric, DistributionMetric) or metric.normalized):
            normalization = SCALE
        rows = [
            row
            for row in self._means.get((name, part, predictor, reference, study, group), ())
            if row["normalization"] in (None, normalization)
        ]
        if source is None and part in self.counts and len({row["source"] for row in rows}) > 1:
            source = self.source(part)
        row = next((row for row in rows if source in (None, row["source"])), None)
        if row is None:
            return None
        kept = ("value", "lo", "hi", "resampled", "flag", "metric", "predictor", "part", "n")
        return MetricValue(**{field: row[field] for field in kept})

    def write(self, folder: str | Path) -> Path:
        """Writes tables and report to a folder; returns the path of the report.  Nothing is left behind on failure."""
        from socsci_jax.evaluation.report.files import write_report

        return write_report(self, folder)

    def summary(self) -> pl.DataFrame:
        """The headline of each part: the metrics that the report opens with, model and baselines as columns."""
        from socsci_jax.evaluation.verdicts import headline_table

        return headline_table(self)

    def __repr__(self) -> str:
        """The parts with what they hold and their distance, or why there is none."""
        from socsci_jax.evaluation.report.summary import unjudged
        from socsci_jax.evaluation.sentences import with_interval

        parts = [
            f"{part}: {counted(self.counts[part]['studies'], 'study')}, "
            + (unjudged(self, part) or f"wasserstein {with_interval(self.metric('wasserstein', part=part))}")
            for part in self.parts
        ]
        parts += [f"{part}: labels without an order" for part in self.coding.parts]
        return f"Evaluation({'; '.join(parts)})"

    def _repr_html_(self) -> str:
        from socsci_jax.evaluation.verdicts import summary_html

        return summary_html(self)


def is_known(value: Estimate | None) -> bool:
    """Whether there is a value at all."""
    return value is not None and value.value is not None and bool(np.isfinite(value.value))
