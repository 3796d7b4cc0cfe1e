"""How long an evaluation of three million predictions takes, and what a straightforward pandas one takes.

python -m benchmarks.evaluation [--items 6000] [--people 500]

Answers are invented: studies of 6 arms and 10 outcomes on scales of 7 levels, everybody predicted by probabilities of
their own.  The pandas side computes one metric (the Wasserstein distance) with its bootstrap over studies; ours
computes every metric, with intervals, and the baselines of all.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA, Item

LEVELS, ARMS, OUTCOMES = 7, 6, 10


class People:
    """Items and answers in memory, as a store would give them."""

    def __init__(self, *, items: int, people: int, rng: np.random.Generator):
        self.path, self.content_hash = Path("benchmark"), "benchmark"
        scale = Scale.of_levels(range(1, LEVELS + 1), origin="stated")
        made = [
            Item(
                study_id=f"s{k // (ARMS * OUTCOMES):04d}",
                condition=f"c{k % ARMS}",
                outcome=f"o{k // ARMS % OUTCOMES}",
                stimulus=f"Text {k}",
                question="?",
                answer_format="",
                scale=scale,
                is_control=k % ARMS == 0,
            )
            for k in range(items)
        ]
        self.item_by_id = {item.item_id: item for item in made}
        self.item_places = pl.DataFrame(
            [(i, x.study_id, x.condition, x.outcome) for i, x in self.item_by_id.items()],
            schema=["item_id", "study_id", "condition", "outcome"],
            orient="row",
        )
        names = [f"{arm}-{p}" for arm in range(ARMS) for p in range(people)]
        studies = self.item_places["study_id"].unique(maintain_order=True)
        self.participants = pl.DataFrame(
            {"study_id": np.repeat(studies.to_numpy(), len(names)), "participant_id": names * len(studies)}
        ).with_columns(
            weight=pl.lit(None, pl.Float64),
            attributes=pl.struct(
                pl.Series(rng.choice(["f", "m"], size=len(names) * len(studies))).alias("gender"),
                pl.Series(rng.choice(["a", "b", "c", "d"], size=len(names) * len(studies))).alias("region"),
            ),
        )
        arm = self.item_places["condition"].str.slice(1).cast(pl.Int64).to_numpy()
        owner = np.repeat(np.arange(items), people)
        person = np.array(names)[(arm[owner] * people) + np.tile(np.arange(people), items)]
        probs = rng.dirichlet(np.full(LEVELS, 2.0), size=items)
        drawn = (
            (rng.random(owner.size)[:, None] > np.cumsum(probs, axis=1)[owner])
            .sum(axis=1)
            .clip(max=LEVELS - 1)
        )
        ids = self.item_places["item_id"].to_numpy()[owner]
        self.labeled = (
            pl.DataFrame({"item_id": ids, "participant_id": person, "value": drawn + 1.0})
            .join(self.item_places, on="item_id", maintain_order="left")
            .with_columns(part=pl.lit("unseen_studies"))
        )
        self.probs = (probs[owner] * rng.uniform(0.7, 1.3, size=(owner.size, LEVELS))).astype(np.float64)
        self.probs /= self.probs.sum(axis=1, keepdims=True)

    def predictions(self) -> Predictions:
        levels = pl.Series("levels", [list(map(float, range(1, LEVELS + 1)))], dtype=pl.List(pl.Float64))
        frame = self.labeled.select("item_id", "participant_id").with_columns(
            levels=levels.new_from_index(0, self.labeled.height),
            probs=pl.Series(self.probs).arr.to_list(),
        )
        empty = pl.from_arrow(PREDICTIONS_SCHEMA.empty_table())
        missing = [
            pl.lit(None, dtype=empty.schema[n]).alias(n) for n in empty.columns if n not in frame.columns
        ]
        return Predictions(
            frame=frame.with_columns(missing).select(empty.columns).drop("unseen", strict=False)
        )


def with_pandas(people: People, *, resamples: int) -> tuple[float, tuple[float, float]]:
    """W on the scale's range, mean over items within studies, then over studies, with a percentile interval."""
    import pandas as pd
    from scipy.stats import wasserstein_distance

    frame = people.labeled.to_pandas()
    columns = [f"p{k}" for k in range(LEVELS)]
    frame[columns] = people.probs
    at = np.arange(LEVELS) / (LEVELS - 1)

    def one(rows: pd.DataFrame) -> float:
        shares = rows["value"].value_counts(normalize=True).reindex(range(1, LEVELS + 1), fill_value=0)
        return wasserstein_distance(at, at, rows[columns].mean().to_numpy(), shares.to_numpy())

    by_item = frame.groupby(["study_id", "item_id"])[["value", *columns]].apply(one)
    by_study = by_item.groupby("study_id").mean()
    drawn = [by_study.sample(len(by_study), replace=True, random_state=b).mean() for b in range(resamples)]
    return float(by_study.mean()), tuple(np.quantile(drawn, [0.025, 0.975]))


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--items", type=int, default=6_000)
    parser.add_argument("--people", type=int, default=500)
    a = parser.parse_args()
    people = People(items=a.items, people=a.people, rng=np.random.default_rng(0))
    predictions = people.predictions()
    start, processor = time.perf_counter(), time.process_time()
    evaluation = evaluate(predictions, people, people.labeled)
    ours, processor = time.perf_counter() - start, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    w = evaluation.metric("wasserstein")
    print(
        f"{predictions.frame.height:,} predictions, {a.items:,} items: {ours:.1f} s ({processor:.1f} s of processor), {peak:.2f} GiB, {evaluation.table.height:,} rows; W {w}"
    )
    start = time.perf_counter()
    value, interval = with_pandas(people, resamples=1_000)
    theirs = time.perf_counter() - start
    print(f"pandas, W alone: {theirs:.1f} s; W {value:.6f} {interval}")
    row = {
        "predictions": predictions.frame.height,
        "items": a.items,
        "seconds": ours,
        "processor_seconds": processor,
        "peak_gib": peak,
        "rows": evaluation.table.height,
    }
    row |= {"seconds_of_pandas_for_w_alone": theirs, "w": w.value, "w_of_pandas": value}
    save("evaluation", {"rows": [row]})


if __name__ == "__main__":
    main()
