"""Variants of the same predictions: how far items, people and effects move with them."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from evaluation_example import exact_predictions, label, make_world
from scipy.stats import wasserstein_distance

from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.metrics import robustness
from socsci_jax.evaluation.robustness import kinds_of
from socsci_jax.plain_tables import evaluate_tables
from socsci_jax.studies.predictions import Predictions, read_predictions

RNG = np.random.default_rng(4)


def test_spread_and_distance_are_numpys_and_scipys():
    levels = np.array([1.0, 2, 5, 9])
    at = (levels - 1) / 8
    probs = RNG.dirichlet(np.ones(4), size=3)
    assert robustness.spread(probs, levels_l=levels) == pytest.approx(np.std(probs @ at, ddof=1))
    pairs = [wasserstein_distance(at, at, p, q) for p, q in itertools.combinations(probs, 2)]
    assert robustness.distance(probs, levels_l=levels) == pytest.approx(np.mean(pairs))


def test_survival_is_one_for_equal_effects_and_zero_on_average_for_noise():
    same = np.repeat(RNG.normal(size=(50, 1)), 4, axis=1)
    assert robustness.survival(robustness.survival_terms(same).sum(axis=0)) == pytest.approx(1)
    noise = RNG.normal(size=(20_000, 4))
    assert abs(robustness.survival(robustness.survival_terms(noise).sum(axis=0))) < 0.02
    # Half of the variance is common to the variants.
    mixed = RNG.normal(size=(20_000, 1)) + RNG.normal(size=(20_000, 4))
    assert robustness.survival(robustness.survival_terms(mixed).sum(axis=0)) == pytest.approx(0.5, abs=0.03)


def test_an_effect_of_zero_has_no_sign():
    assert robustness.same_sign(np.array([[0.1, 0.2], [0.1, -0.1], [0.1, 0.0]])).tolist() == [1, 0, 0]


def test_variants_are_grouped_by_what_they_vary():
    kinds = kinds_of(["base", "order: reversed", "order: shuffled", "wording: formal"])
    assert kinds[None] == ["base", "order: reversed", "order: shuffled", "wording: formal"]
    assert kinds["order"] == ["base", "order: reversed", "order: shuffled"]
    assert kinds["wording"] == ["base", "wording: formal"]
    assert list(kinds_of(["a", "b"])) == [None]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("store") / "store", studies=5, conditions=3, outcomes=1, n=20)


def in_variants(world, **changes) -> Predictions:
    """The truth, and the truth changed, as variants."""
    frames = [
        exact_predictions(world, {i: change(i, p) for i, p in world.truth.items()}).frame.with_columns(
            variant=pl.lit(name.replace("_", ": "))
        )
        for name, change in {"base": lambda i, p: p, **changes}.items()
    ]
    return Predictions(frame=pl.concat(frames))


def test_the_mean_over_variants_is_judged_and_their_differences_are_told(world):
    def uniform(_, p):
        return np.full(p.size, 1 / p.size)

    found = evaluate(in_variants(world, order_uniform=uniform), world.store, label(world.store))
    mean = exact_predictions(world, {i: (p + 1 / p.size) / 2 for i, p in world.truth.items()})
    plain = evaluate(mean, world.store, label(world.store))
    assert found.metric("wasserstein").value == pytest.approx(plain.metric("wasserstein").value, abs=1e-12)
    assert plain.metric("variant_spread") is None
    at = np.linspace(0, 1, 7)
    spread = {i: np.std([p @ at, 0.5], ddof=1) for i, p in world.truth.items()}
    by_study = pl.DataFrame(
        {"study": [world.store.item_by_id[i].study_id for i in spread], "value": list(spread.values())}
    )
    expected = by_study.group_by("study").mean()["value"].mean()
    assert found.metric("variant_spread").value == pytest.approx(expected)
    # Everybody's prediction moves as the item's does, and no effect is left in one of the two variants.
    distance = found.metric("variant_distance").value
    assert found.metric("variant_person_distance").value == pytest.approx(distance)
    assert found.metric("variant_effect_survival").value == pytest.approx(0, abs=1e-9)
    assert found.metric("variant_sign_agreement").value == 0
    assert any("Predicted in 2 variants" in note for note in found.notes)


def test_effects_that_every_variant_has_survive_whatever_moves_the_level(world):
    def shifted(_, p):
        return np.roll(p, 1)

    def same(_, p):
        return p

    found = evaluate(in_variants(world, order_same=same), world.store, label(world.store))
    assert found.metric("variant_effect_survival").value == pytest.approx(1)
    moved = evaluate(
        in_variants(world, order_same=same, wording_shifted=shifted), world.store, label(world.store)
    )
    assert moved.metric("variant_spread", group="order").value == pytest.approx(0, abs=1e-12)
    assert moved.metric("variant_spread", group="wording").value > 0.05


def test_swapped_personas_leave_the_items_mean_and_move_its_people(world):
    """A prediction that depends on the person: each one's own level; swapped, that of a neighbor."""
    base = exact_predictions(world, world.truth).frame.sort("item_id", "participant_id")
    own = pl.Series([np.eye(7)[k % 7].tolist() for k in range(base.height)])
    per_item = base.with_columns(probs=own, variant=pl.lit("base"))
    swapped = per_item.with_columns(
        probs=pl.col("probs").reverse().over("item_id", mapping_strategy="group_to_rows"),
        variant=pl.lit("persona: swapped"),
    )
    found = evaluate(Predictions(frame=pl.concat([per_item, swapped])), world.store, label(world.store))
    assert found.metric("variant_spread").value == pytest.approx(0, abs=1e-12)
    assert found.metric("variant_person_distance").value > 0.1


def test_a_file_with_variants_is_written_read_and_checked_for_rows_given_twice(world, tmp_path):
    predictions = in_variants(world, order_same=lambda i, p: p)
    predictions.write(tmp_path / "p.parquet")
    again = read_predictions(tmp_path / "p.parquet", world.store)
    assert again.frame["variant"].unique().sort().to_list() == ["base", "order: same"]
    exact_predictions(world, world.truth).write(tmp_path / "plain.parquet")
    assert "variant" not in read_predictions(tmp_path / "plain.parquet", world.store).frame.columns


def test_plain_tables_may_have_variants_and_rejects_keep_their_rows(tmp_path):
    people = [(f"p{k}", arm, "q", 1 + (k + (arm == "b")) % 5) for arm in ("a", "b") for k in range(12)]
    names = ["participant_id", "condition", "outcome", "value"]
    human = pl.DataFrame(people, schema=names, orient="row")
    human.write_csv(tmp_path / "human.csv")
    both = pl.concat([human.with_columns(variant=pl.lit(name)) for name in ("base", "order: reversed")])
    both = both.with_columns(pl.col("value").cast(pl.String))
    broken = both.with_row_index().with_columns(
        value=pl.when(pl.col("index") == 30).then(pl.lit("often")).otherwise("value")
    )
    broken.drop("index").write_csv(tmp_path / "answers.csv")
    found = evaluate_tables(tmp_path / "answers.csv", tmp_path / "human.csv")
    assert found.rejected["row"].to_list() == [31]
    assert found.evaluation.metric("variant_spread").value is not None
