"""Predictors next to the model: a linear probe of its hidden states, the mean of several predictors, people's second answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from evaluation_example import exact_predictions, make_world
from scipy.stats import wasserstein_distance

from socsci_jax.errors import InputError
from socsci_jax.evaluation.baselines import Baselines
from socsci_jax.evaluation.compare import compare
from socsci_jax.evaluation.evaluate import evaluate, label_without_split
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.evaluation.probe import (
    FEWEST_STUDIES,
    ProbedItem,
    fit_probe,
    quantiles_of_shares,
    shares_of_quantiles,
)
from socsci_jax.evaluation.table import CONDITION_POOLED, MEAN_OF_PREDICTORS, MODEL, PROBE, TEST_RETEST
from socsci_jax.studies.hidden import hidden_file, read_hidden_states, write_hidden_states
from socsci_jax.studies.predictions import write_predictions
from socsci_jax.studies.store import StudyStore

LEVELS = np.arange(1.0, 8.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world") / "store", studies=8, n=60, effect=0.3)


def telling_states(world, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Hidden states in which the true mean stands among noise."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=16)
    return {
        item_id: (shares @ np.arange(shares.size)) * direction + rng.normal(0, 0.3, 16)
        for item_id, shares in world.truth.items()
    }


def split_by_study(world, *, held_out: int = 3) -> pl.DataFrame:
    """Labels in which the last studies are unseen and the others trained on."""
    labeled = label_without_split(world.store)
    unseen = sorted(labeled["study_id"].unique())[-held_out:]
    part = pl.when(pl.col("study_id").is_in(unseen)).then(pl.lit("unseen_studies")).otherwise(pl.lit("train"))
    return labeled.with_columns(part=part)


def uniform_predictions(world):
    return exact_predictions(
        world, {item_id: np.full(q.size, 1 / q.size) for item_id, q in world.truth.items()}
    )


# ---- the probe ----


def test_quantile_functions_keep_the_mean_and_become_shares_again():
    shares = np.array([0.1, 0.0, 0.4, 0.2, 0.0, 0.2, 0.1])
    back = shares_of_quantiles(quantiles_of_shares(shares, LEVELS), LEVELS)
    assert back == pytest.approx(shares, abs=1 / 40)
    between = np.full(40, 0.25)
    assert shares_of_quantiles(between, LEVELS) @ LEVELS == pytest.approx(1 + 6 * 0.25)


def test_a_probe_finds_what_hidden_states_tell_of_unseen_studies(world):
    found = evaluate(
        uniform_predictions(world), world.store, split_by_study(world), hidden=telling_states(world)
    )
    probe, pooled = (
        found.metric("wasserstein", part="unseen_studies", predictor=name).value
        for name in (PROBE, CONDITION_POOLED)
    )
    assert probe < pooled
    assert found.metric("effect_r", part="unseen_studies", predictor=PROBE).value > 0.7
    assert found.metric("condition_sensitivity_r", part="unseen_studies", predictor=PROBE).value > 0.7


@pytest.mark.slow
def test_a_probe_of_noise_says_nothing_of_effects(world):
    rng = np.random.default_rng(3)
    noise = {item_id: rng.normal(size=16) for item_id in world.truth}
    found = evaluate(uniform_predictions(world), world.store, split_by_study(world), hidden=noise)
    r = found.metric("effect_r", part="unseen_studies", predictor=PROBE)
    assert r.lo is None or r.lo < 0.3


def items_to_learn(world, **changed) -> list[ProbedItem]:
    shares = world.truth | changed
    return [
        ProbedItem(item_id, world.store.item_by_id[item_id].study_id, LEVELS, shares[item_id])
        for item_id in world.truth
    ]


@pytest.mark.parametrize("trained", [True, False])
def test_no_answer_of_an_items_own_study_enters_its_cross_fitted_prediction(world, trained):
    hidden = telling_states(world)
    studies = {item_id: world.store.item_by_id[item_id].study_id for item_id in world.truth}
    target = next(iter(world.truth))
    own = [item_id for item_id in world.truth if studies[item_id] == studies[target]]
    turned = {item_id: world.truth[item_id][::-1] for item_id in own}
    one = fit_probe(items_to_learn(world), hidden, studies, trained=trained)
    other = fit_probe(items_to_learn(world, **turned), hidden, studies, trained=trained)
    # The penalty is one choice for all; with the same, nothing of the own study is left.
    assert one.quantiles[target] == pytest.approx(other.quantiles[target], abs=1e-9)
    elsewhere = [item_id for item_id in world.truth if item_id not in own]
    assert any(not np.allclose(one.quantiles[i], other.quantiles[i], atol=1e-6) for i in elsewhere)


def test_answers_of_held_out_studies_do_not_reach_the_probe(world):
    labeled = split_by_study(world)
    held_out = pl.col("part") == "unseen_studies"
    turned = labeled.with_columns(value=pl.when(held_out).then(8 - pl.col("value")).otherwise("value"))
    probes = [
        Baselines.of(answers, world.store, hidden=telling_states(world)).probe
        for answers in (labeled, turned)
    ]
    for item_id in world.truth:
        assert np.array_equal(probes[0].quantiles[item_id], probes[1].quantiles[item_id])


def test_a_ridge_of_few_studies_is_none(world):
    few = [item for item in items_to_learn(world) if item.study < f"s{FEWEST_STUDIES - 1:02d}"]
    assert fit_probe(few, telling_states(world), {}, trained=True) is None


def test_hidden_states_are_read_back_and_belong_to_one_model(tmp_path, world):
    predictions = tmp_path / "predictions.parquet"
    write_predictions(predictions, uniform_predictions(world).frame, metadata={"model_hash": "abc"})
    states = telling_states(world)
    path = hidden_file(predictions)
    assert path.name == "predictions.hidden.parquet"
    write_hidden_states(path, states, metadata={"model_hash": "abc"})
    back = read_hidden_states(path)
    assert back.by_item.keys() == states.keys()
    some = next(iter(states))
    assert back.by_item[some] == pytest.approx(states[some], rel=1e-3)
    found = evaluate_files(predictions, world.store.path, tmp_path / "out")
    assert found.metric("wasserstein", predictor=PROBE).value is not None
    write_hidden_states(path, states, metadata={"model_hash": "of another"})
    found = evaluate_files(predictions, world.store.path, tmp_path / "out")
    assert found.metric("wasserstein", predictor=PROBE) is None
    assert any("another model" in note for note in found.notes)


@pytest.mark.parametrize("damage", ["cut", "infinite", "twice"])
def test_damaged_hidden_states_are_refused(tmp_path, damage):
    path = tmp_path / "x.hidden.parquet"
    states = {"a": np.ones(4), "b": np.ones(4)}
    if damage == "infinite":
        states["a"] = np.array([1, np.inf, 0, 0])
    write_hidden_states(path, states, metadata={})
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "twice":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(InputError, match="simulate --hidden"):
        read_hidden_states(path)


# ---- the mean of several predictors ----


def errs_by(world, error: float):
    """Predictions whose distribution leans to one end."""
    tilted = {}
    for item_id, q in world.truth.items():
        leaning = q * np.exp(error * np.linspace(-1, 1, q.size))
        tilted[item_id] = leaning / leaning.sum()
    return exact_predictions(world, tilted)


def test_the_mean_of_two_predictors_that_err_to_opposite_sides_is_better_than_either(world):
    labeled = label_without_split(world.store)
    a, b = errs_by(world, 1.5), errs_by(world, -1.5)
    found = evaluate(a, world.store, labeled, also=[b])
    mean = found.metric("wasserstein", predictor=MEAN_OF_PREDICTORS).value
    alone = evaluate(b, world.store, labeled).metric("wasserstein").value
    assert mean < min(found.metric("wasserstein").value, alone)
    rows = found.table.filter(predictor=MODEL, reference=MEAN_OF_PREDICTORS, metric="wasserstein")
    assert rows.filter(pl.col("study").is_null())["lo"].null_count() == 0


def test_the_mean_is_that_of_the_distributions(world):
    labeled = label_without_split(world.store)
    a, b = errs_by(world, 1.5), errs_by(world, -0.5)
    found = evaluate(a, world.store, labeled, also=[b])
    item_id = sorted(world.truth)[0]
    item = world.store.item_by_id[item_id]
    q = np.mean([p.frame.filter(pl.col("item_id") == item_id)["probs"][0].to_numpy() for p in (a, b)], axis=0)
    answers = labeled.filter(pl.col("item_id") == item_id)["value"].to_numpy() / 6
    expected = wasserstein_distance(LEVELS / 6, answers, u_weights=q)
    row = found.table.filter(
        pl.col("reference").is_null(), metric="wasserstein", normalization="scale", source="exact",
        predictor=MEAN_OF_PREDICTORS, study=item.study_id, condition=item.condition, outcome=item.outcome,
    )  # fmt: skip
    assert row["value"].item() == pytest.approx(expected, abs=1e-10)


def test_the_mean_is_missing_where_one_does_not_predict_everybody(world):
    labeled = label_without_split(world.store)
    half = errs_by(world, 1.0)
    half = dataclasses.replace(half, frame=half.frame.gather_every(2))
    found = evaluate(errs_by(world, -1.0), world.store, labeled, also=[half])
    everywhere = found.table.filter(predictor=MODEL, metric="wasserstein", source="exact").height
    mean = found.table.filter(predictor=MEAN_OF_PREDICTORS, metric="wasserstein", source="exact").height
    assert mean < everywhere


def test_a_comparison_tells_the_mean_of_both(world):
    labeled = label_without_split(world.store)
    a, b = errs_by(world, 1.5), errs_by(world, -1.5)
    found = compare(a, b, world.store, labeled)
    of_all = found.table.filter(pl.col("group").is_null(), metric="wasserstein", normalization="scale")
    row = of_all.filter(source="exact").row(0, named=True)
    assert row["mean_of_both"] < min(row["a"], row["b"])
    assert "mean of both" in found.headline().columns


# ---- people who were asked again ----


class WithRetests(StudyStore):
    """A store whose people were asked again."""

    def __init__(self, path, again: pl.DataFrame):
        super().__init__(path)
        self._again = again.select("item_id", "participant_id", "occasion", "value")

    @property
    def retests(self) -> pl.DataFrame:
        return self._again


def test_second_answers_of_a_store_are_the_ceiling(tmp_path):
    made = make_world(tmp_path / "store", studies=2, conditions=2, outcomes=1, n=30)
    first = made.store.responses.rename({"value": "first"}).select("item_id", "participant_id", "first")
    rng = np.random.default_rng(0)
    again = first.with_columns(
        value=(pl.col("first") + pl.Series(rng.integers(-1, 2, first.height))).clip(1, 7).cast(pl.Float64),
        occasion=pl.lit(2, pl.Int32),
    )
    store = WithRetests(made.store.path, again)
    found = evaluate(exact_predictions(made, made.truth), store, label_without_split(store))
    error = again.group_by("item_id").agg(e=(pl.col("first") - pl.col("value")).abs().mean() / 6)
    expected = 1 - error["e"].mean()
    assert found.metric("individual_accuracy_draw", predictor=TEST_RETEST).value == pytest.approx(expected)
    normalized = found.metric("individual_accuracy_normalized")
    assert normalized.value is not None
