"""The evaluation on people's answers of real randomized experiments: what predictors without a model come out as."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest

from socsci_jax.evaluation import verdicts
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.plain_tables import evaluate_tables
from socsci_jax.tables import decompressed

STUDIES = 10


@pytest.fixture(scope="module")
def human(shared_data) -> pl.DataFrame:
    """Answers of ten studies with small outcomes, as a long table."""
    content = decompressed(shared_data / "tess_archive" / "responses.csv.gz", hint="")
    frame = pl.read_csv(io.BytesIO(content), infer_schema=False).filter(pl.col("y").is_not_null())
    frame = frame.filter(
        pl.col("outcome.max").cast(pl.Float64) - pl.col("outcome.min").cast(pl.Float64) <= 10
    )
    frame = frame.with_columns(y=pl.col("y").cast(pl.Float64)).filter(pl.col("y") % 1 == 0)
    arms = (
        frame.group_by("study")
        .agg(pl.col("condition.name").n_unique())
        .sort("condition.name", "study", descending=True)
    )
    kept = arms["study"].head(STUDIES)
    return frame.filter(pl.col("study").is_in(kept.to_list())).select(
        "study",
        condition="condition.name",
        outcome="outcome.name",
        value="y",
        participant_id=pl.int_range(pl.len()).cast(pl.String),
    )


def pooled(human: pl.DataFrame) -> pl.DataFrame:
    """The same distribution for every condition of an outcome: all people's answers to it."""
    shares = (
        human.group_by("study", "outcome", "value")
        .len()
        .with_columns(prob=pl.col("len") / pl.col("len").sum().over("study", "outcome"))
    )
    cells = human.select("study", "condition", "outcome").unique()
    return cells.join(shares, on=["study", "outcome"]).select(
        "study", "condition", "outcome", "prob", level="value"
    )


@pytest.fixture(scope="module")
def of_pooled(human, tmp_path_factory) -> Evaluation:
    folder = tmp_path_factory.mktemp("real")
    human.write_parquet(folder / "human.parquet")
    pooled(human).write_parquet(folder / "pooled.parquet")
    return evaluate_tables(folder / "pooled.parquet", folder / "human.parquet").evaluation


def test_answers_pooled_over_conditions_are_near_people_as_computed_independently(human, of_pooled):
    distances: dict[str, list[float]] = {}
    for (study, _), answers in human.group_by("study", "outcome"):
        lo, hi = int(answers["value"].min()), int(answers["value"].max())

        def shares(rows, lo=lo, size=hi - lo + 1):
            return np.bincount(rows["value"].to_numpy().astype(int) - lo, minlength=size) / rows.height

        for _, rows in answers.group_by("condition"):
            if rows.height >= 10:
                w = np.abs(np.cumsum(shares(rows) - shares(answers)))[:-1].sum() / (hi - lo)
                distances.setdefault(study, []).append(w)
    found = of_pooled.metric("wasserstein")
    assert found.value == pytest.approx(
        np.mean([np.mean(of_study) for of_study in distances.values()]), abs=1e-12
    )
    assert found.value < 0.6 * of_pooled.metric("wasserstein", predictor="uniform").value
    assert of_pooled.metric("equivalent_people").value > 10


def test_answers_pooled_over_conditions_are_called_blind_whatever_their_distance(of_pooled):
    kinds = {s.kind: s.text for s in verdicts.verdict(of_pooled, "all")}
    assert "blind to the treatment" in kinds["warning"]
    assert "uniform guess" in kinds["claim"]


def test_larger_pilots_are_nearer_and_all_are_in_the_table(of_pooled):
    w = [of_pooled.metric("wasserstein", predictor=f"pilot_{n}").value for n in (5, 20, 50)]
    assert w[0] > w[1] > w[2]


def test_one_half_of_the_people_knows_the_other_halfs_effects_better_than_nothing(of_pooled):
    half = of_pooled.metric("condition_sensitivity_r", predictor="split_half")
    assert half.value > 0.2
    assert of_pooled.metric("effect_rmse", predictor="no_effect").n == of_pooled.contrasts.height


def test_effects_have_a_row_each_with_peoples_standard_errors(of_pooled):
    contrasts = of_pooled.contrasts
    assert (contrasts["human_se"] > 0).all()
    assert ((contrasts["human_hi"] - contrasts["human_lo"]) / contrasts["human_se"]).round(
        6
    ).unique().to_list() == [3.92]
