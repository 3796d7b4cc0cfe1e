"""Two predictors on the same people's answers: every metric of both, and their paired difference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.evaluation.effect_verdicts import state_of
from socsci_jax.evaluation.evaluate import evaluate, label_without_split
from socsci_jax.evaluation.evaluate_files import made_under
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metrics import BY_NAME
from socsci_jax.evaluation.parts import People
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.sentences import number, with_interval
from socsci_jax.evaluation.table import MEAN_OF_PREDICTORS, MODEL
from socsci_jax.evaluation.verdicts import HEADLINE
from socsci_jax.studies.predictions import Predictions, read_predictions
from socsci_jax.studies.seen import correct_parts
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore

_NAMES = {
    "wasserstein": "Wasserstein distance",
    "effect_rmse": "error of effects (RMSE, shares of the scale)",
}
COLUMNS = ("part", "metric", "normalization", "source", "group")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """`table` has a row for each part and metric: values of A and B, A − B with its interval, and the value of the mean
    of both predictions.

    Differences rest on the same answers and the same resamples.  `a` and `b` are the evaluations themselves; `notes`
    say what was moved or excluded because one of them was trained on it.
    """

    table: pl.DataFrame
    a: Evaluation
    b: Evaluation
    answers: int
    excluded: int
    notes: tuple[str, ...] = ()

    def headline(self) -> pl.DataFrame:
        """The headline metrics of each part as text: A, B, A − B with its interval, and the mean of both predictions."""
        rows = []
        for row in self.table.filter(pl.col("metric").is_in(HEADLINE), pl.col("group").is_null()).iter_rows(
            named=True
        ):
            digits = BY_NAME[row["metric"]].digits
            difference = Estimate(row["difference"], row["lo"], row["hi"])
            names = [row["metric"], row["normalization"], row["source"]]
            rows.append(
                {
                    "part": row["part"],
                    "metric": " ".join(name for name in names if name),
                    "A": number(row["a"], digits=digits),
                    "B": number(row["b"], digits=digits),
                    "A − B": with_interval(difference, digits=digits),
                    "mean of both": number(row["mean_of_both"], digits=digits),
                }
            )
        columns = ("part", "metric", "A", "B", "A − B", "mean of both")
        return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))

    def sentences(self) -> list[str]:
        """What was trained on, then which is better by the distance, part by part, or that it cannot be told."""
        sentences = list(self.notes)
        whole = self.table.filter(pl.col("group").is_null())
        rows = whole.filter(metric="wasserstein", normalization="scale")
        if rows.is_empty():  # means were predicted, no distributions
            rows = whole.filter(metric="effect_rmse")
        for row in rows.iter_rows(named=True):
            difference = Estimate(row["difference"], row["lo"], row["hi"])
            if difference.hi is not None and difference.hi < 0:
                words = "A is better than B"
            elif difference.lo is not None and difference.lo > 0:
                words = "B is better than A"
            else:
                words = "which is better cannot be told"
            sentences.append(
                f"{row['part']} ({row['source']}): {words}; A − B = {with_interval(difference)} in {_NAMES[row['metric']]}."
            )
        return sentences + self._of_effects(whole.filter(metric="condition_sensitivity_r"))

    def _of_effects(self, rows: pl.DataFrame) -> list[str]:
        """A warning for each part whose A − B in condition sensitivity is what two predictors give that know nothing of it."""
        return [
            f"{row['part']} ({row['source']}): A − B in condition sensitivity excludes zero, but neither A nor B can be told "
            "from shuffled conditions: nothing can be claimed of it."
            for row in rows.iter_rows(named=True)
            if Estimate(row["difference"], row["lo"], row["hi"]).excludes_zero
            and all(state_of(one, row["part"]) not in ("moves", "against") for one in (self.a, self.b))
        ]


def compare_files(
    a: str | Path,
    b: str | Path,
    store_path: str | Path,
    *,
    split_name: str | None = None,
    seed: int = 0,
    minimum_n: int = 10,
    resample: str | None = None,
) -> Comparison:
    """Compares two predictions files; the split is `split_name`, else the one that both name, else none.

    Raises InputError where they name different splits, or where no answer is predicted by both.
    """
    settings: dict[str, Any] = {"seed": seed, "minimum_n": minimum_n, "resample": resample}
    store = StudyStore(store_path)
    first, second = read_predictions(a, store), read_predictions(b, store)
    named = {str(p.metadata["split"]) for p in (first, second) if p.metadata.get("split") is not None}
    if split_name is None and len(named) > 1:
        raise InputError(
            f"{a} and {b} were made under different splits, {sorted(named)}; name the split to judge under."
        )
    name = split_name or (named.pop() if named else None)
    if name is None:
        return compare(first, second, store, label_without_split(store), **settings)
    split, asked = Split.load(store, name), split_name is not None
    told = [
        note
        for path, one in ((a, first), (b, second))
        for note in made_under(one, split, where=str(path), asked=asked)
    ]
    comparison = compare(first, second, store, split.label(), **settings)
    return dataclasses.replace(comparison, notes=(*dict.fromkeys(told), *comparison.notes))


def compare(
    a: Predictions,
    b: Predictions,
    store: People,
    labeled: pl.DataFrame,
    *,
    seed: int = 0,
    minimum_n: int = 10,
    resample: str | None = None,
) -> Comparison:
    """Judges both on the answers that both predict, as `evaluate` does, and takes the paired difference of every metric."""
    common = _predicted(labeled, a).join(
        _predicted(labeled, b).select("item_id", "participant_id").unique(),
        on=["item_id", "participant_id"],
        how="semi",
    )
    if common.is_empty():
        raise InputError("no answer is predicted by both; predict the same items and people.")
    # What either was trained on is unseen for neither, else the two would be judged on different answers.
    told = [
        one.frame.select("item_id", "participant_id", *({"seen", "unseen"} & set(one.frame.columns)))
        for one in (a, b)
    ]
    notes: tuple[str, ...] = ()
    if any(len(frame.columns) > 2 for frame in told):
        correction = correct_parts(common, pl.concat(told, how="diagonal_relaxed"))
        common, notes = correction.labeled, tuple(correction.sentences)
    first, second = (
        dataclasses.replace(one, frame=one.frame.drop("seen", "unseen", strict=False)) for one in (a, b)
    )
    judged = (
        evaluate(first, store, common, seed=seed, minimum_n=minimum_n, resample=resample, also=[second]),
        evaluate(second, store, common, seed=seed, minimum_n=minimum_n, resample=resample),
    )
    return Comparison(
        table=paired(*judged),
        a=judged[0],
        b=judged[1],
        answers=common.height,
        excluded=labeled.height - common.height,
        notes=notes,
    )


def _predicted(labeled: pl.DataFrame, predictions: Predictions) -> pl.DataFrame:
    frame = predictions.frame.select("item_id", "participant_id").unique()
    whole = frame.filter(pl.col("participant_id").is_null())
    own = labeled.join(frame, on=["item_id", "participant_id"], how="semi", maintain_order="left")
    everybody = labeled.join(whole.select("item_id"), on="item_id", how="semi", maintain_order="left")
    return pl.concat([own, everybody]).unique(maintain_order=True)


def paired(a: Evaluation, b: Evaluation) -> pl.DataFrame:
    """Every metric of the model in both evaluations of the same answers, and the difference with its interval."""
    rows = []
    for key, replicates in a.replicates.items():
        other = b.replicates.get(key)
        if key.predictor != MODEL or other is None:
            continue
        size = min(len(replicates.values), len(other.values))
        metric = BY_NAME[key.metric]
        with np.errstate(invalid="ignore"):  # infinite divergences of both
            less = replicates.values[:size] - other.values[:size]
        difference = replicates.resampling.estimate(
            metric,
            less,
            clusters=replicates.clusters,
            difference=True,
        )
        rows.append(
            {
                "part": key.part,
                "metric": key.metric,
                "normalization": key.normalization,
                "source": key.source,
                "group": key.group,
                "a": float(replicates.values[0]),
                "b": float(other.values[0]),
                "difference": difference.value,
                "lo": difference.lo,
                "hi": difference.hi,
                "resampled": difference.resampled if difference.lo is not None else None,
            }
        )
    of_both = a.table.filter(
        pl.col("reference").is_null(), pl.col("study").is_null(), predictor=MEAN_OF_PREDICTORS
    ).select(*COLUMNS, mean_of_both="value")
    schema = {
        **dict.fromkeys(COLUMNS, pl.String),
        **dict.fromkeys(("a", "b", "difference", "lo", "hi"), pl.Float64),
        "resampled": pl.String,
    }
    table = pl.DataFrame(rows, schema=schema).with_columns(pl.col("a", "b").fill_nan(None))
    return table.join(of_both, on=COLUMNS, how="left", nulls_equal=True, maintain_order="left")
