"""Simulated against human choices of a conjoint: by store and by table, and how alike their effects are."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import data_pipelines
from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Conjoint, amce
from socsci_jax.evaluation.conjoint import Columns, conjoint_table, read_conjoint
from socsci_jax.evaluation.conjoint_agreement import agreement_table
from socsci_jax.evaluation.conjoint_store import (
    profiles_of_store,
    simulated_profiles,
    unused_predictions,
)
from socsci_jax.evaluation.conjoint_tables import conjoint_of_store, conjoint_of_table


def experiment(rng, *, strength=1.0, people=400, first=0) -> Conjoint:
    """Six tasks a person; five levels of each of two attributes, with true effects of a growing size."""
    tasks = people * 6
    a, b = (rng.integers(0, 5, (tasks, 2)) for _ in "ab")
    utility = strength * (0.3 * a - 0.15 * b) + rng.gumbel(size=a.shape)
    choice = (utility == utility.max(axis=1, keepdims=True)).astype(float)
    attributes = {"a": np.char.add("a", a.ravel().astype(str)), "b": np.char.add("b", b.ravel().astype(str))}
    return Conjoint(attributes, choice.ravel(), first + np.repeat(np.arange(people), 12))


@pytest.fixture(scope="module")
def human():
    return experiment(np.random.default_rng(0))


def value(table, estimand):
    return table.filter(pl.col("estimand") == estimand).row(0, named=True)


def test_the_metrics_of_effects_on_amces_by_hand(human):
    simulated = experiment(np.random.default_rng(1), strength=0.5, first=1_000)
    table = agreement_table(human, simulated, resamples=200)
    h, l = (amce(side).estimates for side in (human, simulated))  # noqa: E741
    assert (table["n"] == 8).all() and (table["source"] == "agreement").all()
    assert value(table, "effect_r")["estimate"] == pytest.approx(np.corrcoef(h.estimate, l.estimate)[0, 1])
    error = np.mean((h.estimate - l.estimate) ** 2)
    assert value(table, "effect_rmse")["estimate"] == pytest.approx(np.sqrt(error))
    assert value(table, "effect_rmse_adjusted")["estimate"] == pytest.approx(
        np.sqrt(error - np.mean(h.se**2))
    )
    assert value(table, "effect_slope")["estimate"] == pytest.approx(np.polyfit(l.estimate, h.estimate, 1)[0])
    assert value(table, "effect_rmse_of_no_effect")["estimate"] == pytest.approx(
        np.sqrt(np.mean(h.estimate**2))
    )
    assert value(table, "effect_slope")["lo"] > 1.2  # half as strong
    assert value(table, "effect_r_of_human_halves")["estimate"] == pytest.approx(0.95, abs=0.04)


@pytest.mark.slow
def test_the_interval_of_r_covers_what_more_respondents_would_show():
    rng = np.random.default_rng(2)
    truth = amce(experiment(rng, people=20_000)).estimates.estimate
    noise = 0.05 * np.random.default_rng(9).normal(size=8)  # a simulator that is off by this, exactly
    expected = np.corrcoef(truth, truth + noise)[0, 1]
    covered = 0
    for seed in range(25):
        people = experiment(rng, people=150)
        simulated = people_with(people, truth + noise)
        row = value(agreement_table(people, simulated, resamples=100, seed=seed), "effect_r_adjusted")
        covered += row["lo"] <= expected <= row["hi"]
    assert covered >= 21


def people_with(people, effects):
    """The same profiles, rated exactly as these effects say."""
    of = dict(zip([("a", f"a{i}") for i in range(1, 5)] + [("b", f"b{i}") for i in range(1, 5)], effects))
    rating = sum(
        np.array([of.get((name, level), 0.0) for level in values])
        for name, values in people.attributes.items()
    )
    return Conjoint(people.attributes, rating, people.respondent)


def test_profiles_with_other_levels_cannot_be_compared(human):
    fewer = human.rows(human.attributes["a"] != "a4")
    with pytest.raises(InputError, match="'a4'"):
        agreement_table(human, fewer, resamples=10)


def test_a_table_with_a_simulation_has_all_three_sources(human):
    frame = pl.DataFrame({"who": human.respondent, **human.attributes, "chosen": human.choice})
    columns = Columns(choice="chosen", respondent="who")
    simulated = frame.with_columns(chosen=1 - pl.col("chosen"))
    table = conjoint_of_table(frame, simulated, columns).table
    assert table["source"].unique(maintain_order=True).to_list() == ["human", "simulated", "agreement"]
    assert value(table, "effect_r")["estimate"] == pytest.approx(-1)
    assert table.filter(pl.col("source") == "human").equals(conjoint_table(frame, columns))


@pytest.fixture(scope="module")
def store(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("projoint") / "store"
    return data_pipelines.build("conjoint", str(shared_data / "projoint"), out, command="test")


def predictions(table, probability) -> pl.DataFrame:
    """Exact predictions of every choice; `probability` [N] belongs to the rows of the table of profiles."""
    return (
        table.with_columns(probs=pl.Series(probability), levels=pl.col("level").cast(pl.Float64))
        .group_by("item_id", "participant", maintain_order=True)
        .agg("levels", "probs")
        .rename({"participant": "participant_id"})
        .with_columns(draw=pl.lit(None, pl.Int32), value=pl.lit(None, pl.Float64))
    )


def test_agreement_in_the_repeated_task_is_read_from_a_published_store(store):
    table, columns = profiles_of_store(store)
    people = table.select("participant", "agrees").drop_nulls().unique()
    assert (people.height, people["agrees"].sum()) == (201, 131)  # of those whose sides were swapped
    found = conjoint_table(table, columns)
    assert value(found, "tau")["estimate"] == pytest.approx((1 - np.sqrt(2 * 131 / 201 - 1)) / 2)
    assert found.filter(pl.col("estimand") == "amce_corrected").height == 17


def test_a_simulation_that_chooses_as_people_do_has_their_effects(store):
    table, columns = profiles_of_store(store)
    exact = predictions(table, table["chosen"].to_numpy())
    found = conjoint_of_store(store, exact).table
    assert value(found, "effect_r")["estimate"] == pytest.approx(1)
    assert value(found, "effect_rmse")["estimate"] == pytest.approx(0, abs=1e-12)
    # The same as draws, of which one in four is wrong.
    drawn = pl.concat(
        [
            exact.select(
                "item_id", "participant_id", draw=pl.lit(d, pl.Int32),
                value=pl.col("levels").list.get(pl.col("probs").list.arg_max() if d else pl.col("probs").list.arg_min()),
            )
            for d in range(4)
        ]
    ).with_columns(levels=pl.lit(None, pl.List(pl.Float64)), probs=pl.lit(None, pl.List(pl.Float64)))  # fmt: skip
    shares = simulated_profiles(table, drawn)
    np.testing.assert_allclose(shares["chosen"], 0.25 + 0.5 * table["chosen"])
    found = agreement_table(read_conjoint(table, columns)[0], read_conjoint(shares, columns)[0], resamples=10)
    assert value(found, "effect_slope")["estimate"] == pytest.approx(2)


def test_the_command_compares_a_store_with_predictions(store, tmp_path):
    table, _ = profiles_of_store(store)
    path, out = tmp_path / "p.parquet", tmp_path / "out.csv"
    half = table.height // 2
    predictions(table, np.full(table.height, 0.5))[: half // 2].write_parquet(path)
    arguments = ["conjoint", str(store.path), "--predictions", str(path), "-o", str(out)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "Simulated against human effects" in result.stdout
    written = pl.read_csv(out)
    assert value(written, "effect_rmse")["n"] == 17
    flat = written.filter(pl.col("source") == "simulated", pl.col("estimand") == "amce")
    np.testing.assert_allclose(flat["estimate"], 0, atol=1e-12)


def test_predictions_of_other_items_are_refused(store):
    table, _ = profiles_of_store(store)
    other = predictions(table, table["chosen"].to_numpy()).with_columns(item_id=pl.lit("other"))
    with pytest.raises(InputError, match="none of the conjoint's tasks"):
        simulated_profiles(table, other)


TASKS = pl.DataFrame(
    {
        "item_id": ["i", "i", "j", "j"],
        "level": [1, 2, 1, 2],
        "participant": ["p"] * 4,
        "chosen": [1.0, 0.0, 1.0, 0.0],
    }
)


def test_a_task_of_which_nothing_valid_was_drawn_has_no_choice():
    draws = pl.DataFrame(
        {"item_id": ["i", "i", "i", "j", "k"], "participant_id": ["p"] * 5, "value": [1.0, 1.5, 7.0, None, 1.0]}
    ).with_columns(
        draw=pl.int_range(pl.len(), dtype=pl.Int32),
        levels=pl.lit(None, pl.List(pl.Float64)), probs=pl.lit(None, pl.List(pl.Float64)),
    )  # fmt: skip
    assert simulated_profiles(TASKS, draws)["chosen"].to_list() == [1.0, 0.0, None, None]
    assert unused_predictions(TASKS, draws) == [
        "1 prediction is of no task of this conjoint.",
        "2 of 3 draws are none of a task's profiles and excluded.",
    ]


def test_profiles_in_no_estimate_are_counted_on_either_side(human):
    frame = pl.DataFrame({"who": human.respondent, **human.attributes, "chosen": human.choice})
    columns = Columns(choice="chosen", respondent="who")
    first = pl.int_range(pl.len()) == 0
    simulated = frame.with_columns(chosen=pl.when(first).then(None).otherwise("chosen"))
    found = conjoint_of_table(
        frame.with_columns(a=pl.when(first).then(pl.lit(" ")).otherwise("a")), simulated, columns
    )
    assert found.excluded.select("source", "row", "reason").rows() == [
        ("human", 1, "no level of 'a'"),
        ("simulated", 1, "no choice"),
    ]
    assert "1 of 4,800 human profiles is in no estimate (no level of 'a': 1)." in found.notes
