"""Predictions for many and answers of few, as tables, become estimates; answers that were trained on are refused."""

import json

import numpy as np
import polars as pl
import pytest
from evaluation_example import filled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rectify_example import LABELED, ROWS, row
from rectify_example import people as example_people
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.estimation.dsl import dsl
from socsci_jax.estimation.linear import fit, wald
from socsci_jax.estimation.ppi import Sample, ppi
from socsci_jax.rectification.prepare import Settings
from socsci_jax.rectification.rectify import rectify
from socsci_jax.studies.predictions import write_predictions
from socsci_jax.tables import read_table


@pytest.fixture(name="people", scope="module")
def _people():
    return example_people()


def test_every_method_is_what_its_arrays_give(people):
    frame, gold = people
    found = rectify(frame, gold, "y ~ treatment + age")
    X = np.column_stack([np.ones(ROWS), frame["treatment"], frame["age"]])
    y, on = gold["y"].to_numpy(), np.arange(ROWS) < LABELED
    g = frame["prediction"].to_numpy()
    full = np.concatenate([y, np.full(ROWS - LABELED, np.nan)])
    alone = fit(X[on], y)
    expected = {
        "naive": fit(X, g).estimates("HC2"),
        "labels only": wald(alone.coefficients, alone.covariance("HC2"), df=LABELED - 3),
        "DSL": dsl(X, prediction=g, y=full, labeled=on, probability=LABELED / ROWS),
        "PPI++": ppi(Sample(X[on], g[on], y), Sample(X[~on], g[~on]), coefficient=1).estimates,
    }
    assert found.table["method"].unique(maintain_order=True).to_list() == list(expected)
    for method, estimates in expected.items():
        ours = row(found, method, "treatment")
        for name in ("estimate", "se", "lo", "hi", "p"):
            assert ours[name] == pytest.approx(getattr(estimates, name)[1], rel=1e-9), method


def test_the_table_says_how_many_answers_and_predictions_stand_behind_a_row(people):
    found = rectify(*people, "y ~ 1")
    counts = {method: row(found, method, "Intercept") for method in found.table["method"]}
    assert {m: (r["n_labeled"], r["n_predicted"]) for m, r in counts.items()} == {
        "naive": (0, 600), "labels only": (150, 0), "DSL": (150, 600), "PPI++": (150, 600),
    }  # fmt: skip
    assert 0 < counts["PPI++"]["lambda"] <= 1
    assert counts["DSL"]["lambda"] is None


def test_a_given_lambda_is_used(people):
    found = rectify(*people, "y ~ treatment", Settings(lam=0.25))
    assert row(found, "PPI++", "treatment")["lambda"] == 0.25


def test_answers_alone_and_predictions_without_weight_have_the_same_interval(people):
    found = rectify(*people, "y ~ treatment", Settings(lam=0.0))
    alone, together = (row(found, method, "treatment") for method in ("labels only", "PPI++"))
    for name in ("estimate", "se", "lo", "hi", "p"):
        assert together[name] == pytest.approx(alone[name], rel=1e-9)


def test_a_column_of_identifiers_is_no_variable(people):
    with pytest.raises(InputError, match="600 levels"):
        rectify(*people, "y ~ participant_id")


def test_a_prediction_without_a_gold_row_is_unlabeled_and_a_gold_row_without_a_prediction_is_rejected(people):
    frame, gold = people
    found = rectify(frame[20:], gold, "y ~ 1")
    assert found.rejects.height == 20
    assert set(found.rejects["reason"]) == {"there is no prediction for it"}
    assert row(found, "labels only", "Intercept")["n_labeled"] == LABELED - 20


def test_rows_without_a_variable_are_rejected_with_its_name(people):
    frame, gold = people
    holes = frame.with_columns(age=pl.when(pl.int_range(ROWS) < 5).then(None).otherwise("age"))
    found = rectify(holes, gold, "y ~ age")
    assert found.rejects["reason"].to_list() == ["age is missing"] * 5


def test_variables_may_stand_in_the_gold_table(people):
    frame, gold = people
    everybody = frame.select("participant_id", "treatment", "age").join(gold, on="participant_id", how="left")
    found = rectify(frame.select("participant_id", "prediction"), everybody, "y ~ treatment + age")
    assert found.table.equals(rectify(frame, gold, "y ~ treatment + age").table)


def test_a_treatment_that_differs_between_the_tables_is_refused(people):
    frame, gold = people
    turned = gold.join(frame, on="participant_id").select(
        "participant_id", "y", treatment=1 - pl.col("treatment")
    )
    with pytest.raises(InputError, match="'treatment' differs between the tables in 150 rows"):
        rectify(frame, turned, "y ~ treatment")


def test_exact_probabilities_and_draws_are_predictions(people):
    frame, gold = people
    share = 1 / (1 + np.exp(-frame["prediction"].to_numpy() + 3.5))
    keys = frame.select("participant_id", "treatment")
    exact = keys.with_columns(
        levels=pl.lit([1, 5]), probs=pl.Series(np.column_stack([1 - share, share]).tolist())
    )
    mean = keys.with_columns(prediction=pl.Series(1 + 4 * share))
    half = pl.concat(
        [mean.with_columns(draw=pl.lit(d), value=pl.col("prediction") + d - 0.5) for d in (0, 1)]
    )
    found = [rectify(table, gold, "y ~ treatment").table for table in (exact, mean, half.drop("prediction"))]
    texts = exact.with_columns(
        pl.Series(name, [json.dumps(row) for row in exact[name].to_list()]) for name in ("levels", "probs")
    )
    found.append(rectify(texts, gold, "y ~ treatment").table)  # as CSV has them
    for other in found[1:]:
        np.testing.assert_allclose(other["estimate"], found[0]["estimate"], atol=1e-9)


def test_labeling_probabilities_that_vary_are_undone():
    rng = np.random.default_rng(5)
    x = rng.integers(0, 2, 4_000)
    probability = np.where(x == 1, 0.6, 0.1)
    asked = rng.random(4_000) < probability
    ids = [str(i) for i in range(4_000)]
    frame = pl.DataFrame(
        {"participant_id": ids, "prediction": 0.2 + 0.3 * x + 0.1 * rng.normal(size=4_000), "pi": probability}
    )
    gold = pl.DataFrame({"participant_id": ids, "y": np.where(asked, x, np.nan)})
    found = rectify(frame, gold, "y ~ 1", Settings(probability="pi"))
    for method in ("labels only", "DSL", "PPI++"):
        ours = row(found, method, "Intercept")
        assert abs(ours["estimate"] - x.mean()) < 4 * ours["se"] < 0.2, method


def test_weights_below_zero_leave_no_method(people):
    frame, gold = people
    with pytest.raises(InputError, match=r"No method can be used.*weights are 0 or more"):
        rectify(frame.with_columns(w=pl.lit(-1.0)), gold, "y ~ 1", Settings(weights="w"))


def test_what_a_method_cannot_do_is_left_out_and_noted(people):
    frame, gold = people
    found = rectify(frame[:LABELED], gold, "y ~ 1")
    assert "PPI++" not in found.table["method"].to_list()
    assert any(note.startswith("PPI++ is not computed: every row has an answer") for note in found.notes)


def test_a_logit_of_predicted_means_is_refused(people):
    frame, gold = people
    binary = gold.with_columns((pl.col("y") > 3.9).cast(pl.Int8))
    with pytest.raises(InputError, match="between 0 and 1"):
        rectify(frame, binary, "y ~ treatment", Settings(family="logit"))


def test_answers_needed_are_fewer_with_predictions(people):
    needed = rectify(*people, "y ~ 1", Settings(half_width=0.1)).needed.row(0, named=True)
    assert 100 < needed["answers_needed"] < 0.7 * needed["answers_needed_alone"]


@pytest.mark.parametrize(
    "change", ["twice in gold", "twice in predictions", "no key", "text answers", "no answers"]
)
def test_tables_that_cannot_be_joined_are_refused_in_one_sentence(people, change):
    frame, gold = people
    match change:
        case "twice in gold":
            gold = pl.concat([gold, gold[:1]])
        case "twice in predictions":
            frame = pl.concat([frame, frame[:1]])
        case "no key":
            gold = gold.rename({"participant_id": "who"})
        case "text answers":
            gold = gold.with_columns(y=pl.lit("agree"))
        case "no answers":
            gold = gold.with_columns(participant_id=pl.lit("x") + pl.col("participant_id"))
    with pytest.raises(InputError):
        rectify(frame, gold, "y ~ 1")


def test_clusters_and_weights_reach_every_method(people):
    frame, gold = people
    frame = frame.with_columns(village=pl.int_range(ROWS) % 40, w=pl.lit(1.0) + (pl.int_range(ROWS) % 3))
    found = rectify(frame, gold, "y ~ treatment", Settings(clusters="village", weights="w"))
    plain = rectify(frame, gold, "y ~ treatment")
    for method in found.table["method"].unique():
        ours, before = row(found, method, "treatment"), row(plain, method, "treatment")
        assert ours["estimate"] != before["estimate"]
        assert ours["se"] != before["se"]


def test_the_command_writes_the_table_and_what_was_excluded(people, tmp_path):
    frame, gold = people
    frame[20:].write_csv(tmp_path / "predictions.csv")
    gold.write_parquet(tmp_path / "gold.parquet")
    arguments = [
        "rectify",
        str(tmp_path / "predictions.csv"),
        str(tmp_path / "gold.parquet"),
        "--formula",
        "y ~ treatment",
    ]
    out = tmp_path / "out.csv"
    arguments += ["--effect", "0.3"]
    result = CliRunner().invoke(app, [*arguments, "-o", str(out)], catch_exceptions=False)
    assert "PPI++" in result.stdout
    written = read_table(out)
    assert written.columns == [
        "method", "term", "estimate", "se", "lo", "hi", "p", "n_labeled", "n_predicted", "lambda",
    ]  # fmt: skip
    np.testing.assert_allclose(
        written["estimate"], rectify(frame[20:], gold, "y ~ treatment").table["estimate"]
    )
    assert read_table(tmp_path / "out_rejects.csv").height == 20
    assert read_table(tmp_path / "out_curve.csv").columns[:3] == ["term", "answers", "half_width"]
    with pytest.raises(InputError, match="exists already"):
        CliRunner().invoke(app, [*arguments, "-o", str(out)], catch_exceptions=False)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: file not found"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is no file"):
        read_table(tmp_path)


def test_a_name_that_is_no_table_is_refused_before_anything_is_computed(tmp_path):
    arguments = [
        "rectify",
        "missing.csv",
        "missing.csv",
        "--formula",
        "y ~ 1",
        "-o",
        str(tmp_path / "out.xlsx"),
    ]
    with pytest.raises(InputError, match=r"written as .csv or .parquet"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_recalibration_saves_what_a_shifted_prediction_costs(people):
    frame, gold = people
    shifted = frame.with_columns(pl.col("prediction") + 3)
    found, plain = (rectify(shifted, gold, "y ~ 1", Settings(splits=splits)) for splits in (3, 0))
    assert row(found, "DSL", "Intercept")["se"] < 0.5 * row(plain, "DSL", "Intercept")["se"]


CELLS = st.one_of(
    st.sampled_from(["", "NA", "nan", "inf", "-1e308", "=1+1", "0", "1", "seen", '"']), st.text(max_size=5)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cell=CELLS, place=st.integers(0, 11), column=st.integers(0, 2), header=st.booleans())
def test_a_damaged_table_gives_a_sentence_or_finite_numbers(tmp_path, cell, place, column, header):
    rng = np.random.default_rng(1)
    rows = [[str(i), str(i % 2), f"{value:.3f}"] for i, value in enumerate(rng.normal(size=12))]
    names = ["participant_id", "treatment", "prediction"]
    if header:
        names[column] = cell
    else:
        rows[place][column] = cell
    text = "\n".join(",".join(row) for row in [names, *rows])
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    gold = pl.DataFrame({"participant_id": range(8), "y": rng.normal(size=8)})
    try:
        found = rectify(read_table(tmp_path / "p.csv"), gold, "y ~ treatment")
    except InputError:
        return
    numbers = found.table.select("estimate", "se", "lo", "hi").to_numpy()
    assert np.isfinite(numbers).all()
    assert (found.table["p"].is_between(0, 1)).all()


def test_predictions_that_offered_alternatives_have_no_mean_and_are_refused(tmp_path):
    asked = {
        "item_id": ["i"],
        "participant_id": ["p"],
        "levels": [[1.0, 2.0, 8.0]],
        "probs": [[0.5, 0.3, 0.2]],
    }
    path = tmp_path / "predictions.parquet"
    write_predictions(path, filled(pl.DataFrame(asked)), metadata={"layout": {"alternatives": "offered"}})
    arguments = ["rectify", str(path), str(path), "--formula", "y ~ 1", "-o", str(tmp_path / "out.csv")]
    with pytest.raises(InputError, match="answers outside the order of scales"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
