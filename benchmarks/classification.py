"""Text classification from random weights compared with a logistic regression, on the same split of the project's own corpus.

The corpus is `data build synthetic documents`: invented letters, three variables, coders that err at known rates.
Both sides learn from every coder's labels of the same letters and are judged by every coder's labels of the others.

python -m benchmarks.classification [--epochs 40] [--seeds 0 1 2]      (needs scikit-learn)
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

import data_pipelines
from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.model_io import open_model
from socsci_jax.quickstart import RECIPE
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import parse_recipe

PART = "unseen_participants"


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks/classification"))
    options.add_argument("--epochs", type=float, default=40)
    options.add_argument("--held-out", type=float, default=0.25, help="share of the letters")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    a = options.parse_args()
    store = _store(a.work)
    results = []
    for seed in a.seeds:
        split = make_split(store, name=f"{a.held_out}-{seed}", seed=seed, participants=a.held_out)
        split.save(replace=True)
        clock = time.perf_counter()
        sides = _ours(a, store, split, seed) + _logistic_regression(store, split)
        for row in sides:
            results.append({"seed": seed, **row})
        print(json.dumps({"seed": seed, "seconds": round(time.perf_counter() - clock)}), file=sys.stderr)
    frame = pl.DataFrame(results)
    means = frame.group_by("predictor", "outcome", maintain_order=True).agg(
        pl.col("accuracy", "macro_f1").mean(), n=pl.col("n").sum()
    )
    table = Table(*means.columns, title=f"{PART}, mean of {len(a.seeds)} splits")
    for row in means.iter_rows():
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    Console(width=100).print(table)
    save("classification-documents", {"results": results})


def _store(work: Path) -> StudyStore:
    path = work / "documents"
    if (path / "store.json").is_file():
        return StudyStore(path)
    return data_pipelines.build("synthetic", "documents", path, command="benchmark")


def _ours(a: argparse.Namespace, store: StudyStore, split: Split, seed: int) -> list[dict]:
    """Accuracy and macro F1 of the most probable label by variable, with those the model is compared with."""
    output = a.work / f"{a.epochs}-{split.name}"
    recipe = RECIPE | {
        "output": str((output / "run").resolve()),
        "seed": seed,
        "data": {"store": str(store.path.resolve()), "split": split.name, "layout": "codebook_first"},
        "optimizer": RECIPE["optimizer"] | {"epochs": a.epochs},
    }
    train(parse_recipe(recipe, where="benchmark"))
    model = open_model(recipe["output"])
    predictions = output / "predictions.parquet"
    if not predictions.is_file():
        simulate(model, store, split, out=predictions, parts=(PART,))
    coding = evaluate_files(predictions, store.path, output / "evaluation", split_name=split.name).coding
    values = coding.table.filter(
        pl.col("outcome").is_not_null(),
        pl.col("reference").is_null(),
        pl.col("metric").is_in(["accuracy", "macro_f1"]),
    ).select("predictor", "outcome", "metric", "value", "n")
    return values.pivot("metric", index=["predictor", "outcome", "n"], values="value").to_dicts()


def _logistic_regression(store: StudyStore, split: Split) -> list[dict]:
    """One regression a variable, of words and pairs of words by tf-idf, as scikit-learn sets it up."""
    documents = store.participants.select(
        "study_id", "participant_id", text=pl.col("attributes").struct.field("document")
    )
    labels = split.label().join(documents, on=["study_id", "participant_id"])
    results = []
    for (outcome,), rows in sorted(labels.group_by("outcome")):
        training, held_out = rows.filter(part="train"), rows.filter(part=PART)
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        model = LogisticRegression(max_iter=1000)
        model.fit(words.fit_transform(training["text"].to_list()), training["value"].to_numpy())
        predicted = model.predict(words.transform(held_out["text"].to_list()))
        truth = held_out["value"].to_numpy()
        results.append(
            {
                "predictor": "logistic regression",
                "outcome": outcome,
                "n": held_out.height,
                "accuracy": float(accuracy_score(truth, predicted)),
                "macro_f1": float(f1_score(truth, predicted, average="macro")),
            }
        )
    return results


if __name__ == "__main__":
    main()
