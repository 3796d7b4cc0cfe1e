"""Rows below the headline: effects within each outcome, accuracy over people's own, variance between groups."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from evaluation_example import exact_predictions, label, make_world

from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.groups import _adjusted_r2, _r2

RNG = np.random.default_rng(8)


def test_effects_within_an_outcome_are_statsmodels_line(tmp_path):
    world = make_world(tmp_path / "store", studies=5, conditions=5, outcomes=2, n=30)
    noisy = {i: 0.7 * p + 0.3 * RNG.dirichlet(np.ones(p.size)) for i, p in world.truth.items()}
    found = evaluate(exact_predictions(world, noisy), world.store, label(world.store))
    rows = found.table.filter(pl.col("outcome").is_not_null(), pl.col("condition").is_null())
    assert rows.filter(metric="effect_slope").height == 10
    own = found.contrasts.filter(study="s01", outcome="o1")
    line = sm.OLS(own["human"].to_numpy(), sm.add_constant(own["model"].to_numpy())).fit()
    told = dict(rows.filter(study="s01", outcome="o1").select("metric", "value").iter_rows())
    assert told["effect_intercept"] == pytest.approx(line.params[0], abs=1e-10)
    assert told["effect_slope"] == pytest.approx(line.params[1], abs=1e-10)
    assert told["effect_r"] == pytest.approx(np.corrcoef(own["human"], own["model"])[0, 1], abs=1e-10)
    # The pooled slope follows them, under its own row.
    assert found.metric("effect_slope").lo is not None


def test_variance_between_groups_is_the_r_squared_of_a_regression_on_dummies():
    at, sizes = np.linspace(0, 1, 5), [40, 70, 30]
    answers = [RNG.choice(5, size=n, p=RNG.dirichlet(np.ones(5))) for n in sizes]
    dummies = np.repeat(np.eye(3), sizes, axis=0)
    fit = sm.OLS(at[np.concatenate(answers)], dummies).fit()
    shares = np.stack([np.bincount(a, minlength=5) / a.size for a in answers])
    assert _r2(shares, np.array(sizes), at) == pytest.approx(fit.rsquared, abs=1e-10)
    assert _adjusted_r2(shares, np.array(sizes), at) == pytest.approx(fit.rsquared_adj, abs=1e-10)


def test_people_who_answered_twice_are_the_measure_of_accuracy(tmp_path):
    world = make_world(tmp_path / "store", studies=4, conditions=2, outcomes=1, n=20)
    labeled = label(world.store)
    again = labeled.with_columns(
        value=pl.when(pl.col("value") < 7).then(pl.col("value") + 1).otherwise("value")
    )
    found = evaluate(exact_predictions(world, world.truth), world.store, pl.concat([labeled, again]))
    values = {
        name: found.table.filter(
            pl.col("outcome").is_not_null(),
            pl.col("reference").is_null(),
            metric="individual_accuracy_median",
            predictor=name,
        ).sort("study", "condition")
        for name in ("model", "test_retest")
    }
    ratio = values["model"]["value"] / values["test_retest"]["value"]
    per_study = (
        values["model"]
        .with_columns(ratio=ratio)
        .group_by("study")
        .agg(pl.col("ratio").mean())["ratio"]
        .mean()
    )
    assert found.metric("individual_accuracy_normalized").value == pytest.approx(per_study)
    once = evaluate(exact_predictions(world, world.truth), world.store, labeled)
    assert once.metric("individual_accuracy_normalized") is None
