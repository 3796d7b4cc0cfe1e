"""Agreement on labels without an order: formulas by worked examples, then the evaluation of nominal items."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from evaluation_example import exact_predictions, filled, make_world
from rich.console import Console
from scipy.stats.contingency import crosstab

from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.evaluate_files import label_without_split
from socsci_jax.evaluation.metrics.classification import (
    METRICS,
    accuracy,
    cohen_kappa,
    coincidences,
    krippendorff_alpha,
    macro_f1,
)
from socsci_jax.evaluation.report import labels as coding_report
from socsci_jax.evaluation.report import page as report
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.table import EVALUATION_SCHEMA
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item, Scale
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

PART = "unseen_participants"

# ---- formulas ----


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        # Observed 35/50, by chance (25·30 + 25·20)/50² = 1/2.
        ([[20, 5], [10, 15]], 0.4),
        # The same 60 of 100 observed, with chances 0.54 and 0.46: the two pairs that are often set side by side.
        ([[45, 15], [25, 15]], 0.06 / 0.46),
        ([[25, 35], [5, 35]], 0.14 / 0.54),
        ([[3, 0], [0, 0]], np.nan),
    ],
)
def test_kappa_of_known_tables(counts, kappa):
    assert cohen_kappa(np.array(counts)) == pytest.approx(kappa, nan_ok=True)


def test_macro_f1_of_a_table_by_hand():
    people, model = [0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1]
    counts = crosstab(people, model).count
    # Label 0: 2·2 / (2·2 + 1 + 0) = 0.8; the two others are never right.
    assert macro_f1(counts) == pytest.approx(0.8 / 3)
    assert accuracy(counts) == pytest.approx(2 / 6)


def test_a_label_that_neither_side_gave_has_no_part_in_the_mean():
    counts = np.array([[4, 1], [0, 5]])
    assert macro_f1(np.pad(counts, (0, 1))) == macro_f1(counts)


@pytest.mark.parametrize(
    ("coders", "alpha"),
    [
        (["0100000010", "1110010000"], 0.095),
        (["aabbdcccedda", "babbbccceddd"], 0.692),
        (["123321412...", "1233224125.3", ".3332342251.", "12332441251."], 0.743),
    ],
)
def test_alpha_of_the_examples_that_krippendorff_computes(coders, alpha):
    """Krippendorff 2011, sections A (binary), B (nominal) and C (four coders, labels missing)."""
    names = sorted(set("".join(coders)) - {"."})
    labels_dl = np.array([[unit.count(name) for name in names] for unit in zip(*coders)], float)
    assert krippendorff_alpha(coincidences(labels_dl).sum(axis=0)) == pytest.approx(alpha, abs=5e-4)


def test_a_document_weighs_as_many_labels_as_it_has_in_coincidences():
    labels_dl = np.array([[2, 1, 0], [0, 0, 4], [1, 0, 0]])
    assert coincidences(labels_dl).sum(axis=(1, 2)).tolist() == [3, 4, 0]


def test_figures_are_computed_for_many_tables_at_once():
    tables = np.random.default_rng(0).integers(1, 9, size=(5, 4, 3, 3))
    for metric in (accuracy, macro_f1, cohen_kappa, krippendorff_alpha):
        assert metric(tables)[2, 1] == pytest.approx(metric(tables[2, 1]))


# ---- the evaluation ----

# Labels of each document and the predicted one; counts of labels by predicted label:
#   1: 4 as 1;   2: 2 as 1, 1 as 2;   3: 2 as 3.
DOCUMENTS = {"d1": [1, 1], "d2": [1, 2], "d3": [2], "d4": [2], "d5": [3, 3], "d6": [1]}
PREDICTED = {"d1": 1, "d2": 1, "d3": 2, "d4": 1, "d5": 3, "d6": 1}
TRAINING = {"t1": [2], "t2": [2], "t3": [1]}

EXPECTED = {
    ("accuracy", "model"): 7 / 9,
    ("macro_f1", "model"): (8 / 10 + 2 / 4 + 1) / 3,
    # By chance (4·6 + 3·1 + 2·2) / 81.
    ("cohen_kappa", "model"): (63 - 31) / (81 - 31),
    # 18 labels, 4 of them in pairs that differ; 10, 4 and 4 of each label.
    ("krippendorff_alpha", "model"): 1 - 17 * 4 / (18**2 - 10**2 - 4**2 - 4**2),
    ("accuracy", "majority"): 3 / 9,
    ("cohen_kappa", "majority"): 0,
    ("accuracy", "uniform"): 1 / 3,
    ("cohen_kappa", "uniform"): 0,
    # Three documents with two labels each: 4 of 6 in pairs that agree; 3, 1 and 2 of each label.
    ("accuracy", "coders"): 4 / 6,
    ("cohen_kappa", "coders"): (24 - 14) / (36 - 14),
    ("krippendorff_alpha", "coders"): 1 - 5 * 2 / (36 - 14),
}


def nominal_store(path, *variables: dict[str, list[int]], labels: int = 3) -> StudyStore:
    """One item for each variable: documents by name with their labels, of 1 to `labels`."""
    builder = StoreBuilder(attributes=("document",), source="made up", license="CC0-1.0", command="test")
    builder.add_study("codebook")
    for number, documents in enumerate(variables):
        scale = Scale.of_levels(
            {code: f"Label {code}" for code in range(1, labels + 1)}, origin="codebook", nominal=True
        )
        item = Item(
            study_id="codebook",
            condition="codebook",
            outcome=f"variable {number}",
            stimulus="Codebook. ",
            question="Which? ",
            answer_format="1 to 3.",
            scale=scale,
        )
        item_id = builder.add_item(item)
        for name, codes in documents.items():
            builder.add_participant("codebook", name, {"document": f"Text of {name}"})
            for code in codes:
                builder.add_response(item_id, name, code, sample_id=0)
    return builder.write(path)


def by_document(store: StudyStore) -> pl.DataFrame:
    """Documents whose names begin with t are trained on."""
    return label_without_split(store).with_columns(
        part=pl.when(pl.col("participant_id").str.starts_with("t"))
        .then(pl.lit("train"))
        .otherwise(pl.lit(PART))
    )


def confident(store: StudyStore, code_of: dict[str, int], *, labels: int = 3) -> Predictions:
    """One prediction for each item and document of `code_of`, its code the most probable one."""
    rows = store.responses.select("item_id", "participant_id").unique(maintain_order=True)
    rows = rows.filter(pl.col("participant_id").is_in(list(code_of)))
    probs = [
        np.full(labels, 0.1) + 0.5 * (np.arange(1, labels + 1) == code_of[d]) for d in rows["participant_id"]
    ]
    return Predictions(
        frame=filled(
            rows.with_columns(
                levels=pl.Series([list(range(1, labels + 1))] * rows.height),
                probs=pl.Series([(p / p.sum()).tolist() for p in probs]),
            )
        )
    )


def one_variable(tmp_path, **changes) -> Evaluation:
    store = nominal_store(tmp_path / "store", {**TRAINING, **DOCUMENTS})
    return evaluate(confident(store, PREDICTED), store, by_document(store), minimum_n=2, **changes)


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Evaluation:
    return one_variable(tmp_path_factory.mktemp("labels"))


@pytest.mark.parametrize(("metric", "predictor"), EXPECTED)
def test_figures_of_an_example_computed_by_hand(example, metric, predictor):
    found = example.coding.value(metric, part=PART, predictor=predictor)
    assert found["value"] == pytest.approx(EXPECTED[metric, predictor])
    (item,) = example.coding.items.iter_rows(named=True)
    of_item = example.coding.value(metric, part=PART, predictor=predictor, item=item)
    assert of_item["value"] == found["value"]
    assert of_item["n"] == (6 if predictor == "coders" else 9)


def test_the_figures_are_rows_of_the_evaluation_table(example):
    frame = example.table
    assert frame.columns == EVALUATION_SCHEMA.names
    rows = frame.filter(pl.col("reference").is_null(), metric="accuracy", predictor="model", part=PART)
    assert rows.select("study", "outcome", "n").rows() == [
        ("codebook", "variable 0", 9),
        ("codebook", None, 1),
        (None, None, 1),
    ]
    assert rows["source"].unique().to_list() == ["exact"]
    assert example.coding.counts[PART]["documents_with_several_coders"] == 3
    assert not frame["value"].is_nan().any()


def test_items_without_an_order_have_no_distance_and_no_effect(example):
    assert example.parts == ()
    metrics = set(example.table["metric"])
    assert not [name for name in metrics if name.startswith(("wasserstein", "effect", "individual"))]


def test_items_with_an_order_have_no_agreement(tmp_path):
    world = make_world(tmp_path / "store", studies=2, conditions=2, outcomes=1)
    found = evaluate(exact_predictions(world, world.truth), world.store, label_without_split(world.store))
    assert found.coding.parts == ()
    assert "cohen_kappa" not in set(found.table["metric"])
    assert coding_report.sections(found.coding) == []


def test_the_most_frequent_label_is_that_of_the_training_part(tmp_path):
    """Of the documents to be predicted it is 1, in training 2; without training there is none."""
    store = nominal_store(tmp_path / "store", DOCUMENTS)
    found = evaluate(confident(store, PREDICTED), store, by_document(store), minimum_n=2)
    assert found.coding.value("accuracy", part=PART, predictor="majority")["value"] is None
    assert found.coding.counts[PART]["items_without_training_labels"] == 1
    assert "a uniform guess" in coding_report.verdict(found.coding, PART)[0]


def test_documents_without_a_prediction_count_for_nobody(tmp_path):
    store = nominal_store(tmp_path / "store", {**TRAINING, **DOCUMENTS})
    predicted = {name: code for name, code in PREDICTED.items() if name != "d5"}
    found = evaluate(confident(store, predicted), store, by_document(store), minimum_n=2).coding
    assert found.value("accuracy", part=PART, predictor="model")["value"] == pytest.approx(5 / 7)
    assert found.value("accuracy", part=PART, predictor="majority")["value"] == pytest.approx(3 / 7)
    assert found.counts[PART]["answers_without_prediction"] == 2


def test_the_most_frequent_draw_is_the_prediction(tmp_path):
    store = nominal_store(tmp_path / "store", {**TRAINING, **DOCUMENTS})
    (item_id,) = store.items["item_id"]
    draws = [
        {"item_id": item_id, "participant_id": name, "draw": k, "value": value}
        for name, code in PREDICTED.items()
        for k, value in enumerate([float(code), 17.0, float(code), 1.0])
    ]
    draws += [{"item_id": item_id, "participant_id": "t1", "draw": 0, "value": None}]
    found = evaluate(
        Predictions(frame=filled(pl.DataFrame(draws))), store, by_document(store), minimum_n=1
    ).coding
    row = found.value("accuracy", part=PART, predictor="model")
    assert row["value"] == pytest.approx(7 / 9)
    assert row["source"] == "sampled"
    assert found.counts["train"]["answers_without_readable_draw"] == 1
    assert found.value("accuracy", part="train", predictor="model")["value"] is None


def coin(n: int, *, right: float, labels_each: int = 1, seed: int = 0) -> tuple[dict, dict]:
    """n documents whose labels are predicted with probability `right`."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 4, size=n)
    hit = rng.random(n) < right
    predicted = np.where(hit, codes, codes % 3 + 1)
    names = [f"d{i}" for i in range(n)]
    documents = {name: [int(code)] * labels_each for name, code in zip(names, codes)}
    return documents, dict(zip(names, predicted.tolist()))


def interval(tmp_path, documents: dict, predicted: dict) -> tuple[float, float]:
    store = nominal_store(tmp_path, documents)
    found = evaluate(confident(store, predicted), store, by_document(store))
    row = found.coding.value("accuracy", part=PART, predictor="model")
    return row["lo"], row["hi"]


def test_intervals_are_those_of_a_share_of_documents(tmp_path):
    lo, hi = interval(tmp_path / "store", *coin(400, right=0.7))
    assert hi - lo == pytest.approx(2 * 1.96 * (0.7 * 0.3 / 400) ** 0.5, rel=0.1)


def test_all_labels_of_a_document_are_resampled_together(tmp_path):
    """Two coders who agree say no more than one."""
    once = interval(tmp_path / "once", *coin(100, right=0.7))
    twice = interval(tmp_path / "twice", *coin(100, right=0.7, labels_each=2))
    assert once == pytest.approx(twice)


def test_the_mean_over_variables_resamples_documents_of_all_of_them_together(tmp_path):
    """Two variables with the same labels and predictions: their mean varies as one of them, not by 1/√2 of it."""
    documents, predicted = coin(100, right=0.7)
    store = nominal_store(tmp_path / "store", documents, documents)
    found = evaluate(confident(store, predicted), store, by_document(store)).coding
    mean = found.value("accuracy", part=PART, predictor="model")
    item = found.value("accuracy", part=PART, predictor="model", item=found.items.row(0, named=True))
    assert (mean["lo"], mean["hi"]) == pytest.approx((item["lo"], item["hi"]))


def test_the_same_seed_gives_the_same_table(tmp_path, example):
    assert one_variable(tmp_path, seed=0).table.equals(example.table)
    assert not one_variable(tmp_path / "other", seed=1).table.equals(example.table)


def test_a_variable_with_few_labels_stays_in_the_table_and_enters_no_average(tmp_path):
    documents, predicted = coin(50, right=0.7)
    store = nominal_store(tmp_path / "store", documents, {"d0": [1], "d1": [2]})
    found = evaluate(confident(store, predicted), store, by_document(store))
    assert found.coding.counts[PART]["items"] == 1
    assert found.coding.counts[PART]["items_below_minimum_n"] == 1
    assert found.excluded["outcome"].to_list() == ["variable 1"]
    assert found.coding.items["n"].to_list().count(2) == 1


# ---- what is reported ----


def test_a_model_that_reads_the_documents_is_said_to_do_better(tmp_path):
    documents, predicted = coin(200, right=0.8)
    store = nominal_store(tmp_path / "store", {**TRAINING, **documents})
    found = evaluate(confident(store, predicted), store, by_document(store)).coding
    first, coders = coding_report.verdict(found, PART)
    assert first.startswith("For unseen documents the model does better than always giving the label")
    assert coders.startswith("No document here has labels of several coders")


def test_a_model_that_guesses_is_not_to_be_relied_on(tmp_path):
    documents, predicted = coin(200, right=1 / 3)
    store = nominal_store(tmp_path / "store", {**TRAINING, **documents})
    found = evaluate(confident(store, predicted), store, by_document(store)).coding
    assert coding_report.verdict(found, PART)[0].startswith("Do not rely on this model for unseen documents")
    said = coding_report.difference_sentence(found, PART, "majority")
    assert said.startswith("No difference from always giving the label that is most frequent")


def test_the_model_is_set_beside_another_coder(example):
    said = coding_report.verdict(example.coding, PART)[1]
    assert said.startswith("Two coders of one document agree with α = 0.545")
    assert "(3 documents), the model with a coder with α = 0.646" in said


def test_the_page_shows_labels_and_nothing_about_distances(example):
    page = report.render(report.values(example))
    assert "Labels: unseen documents" in page
    assert page.count("<svg") == 2  # agreement, and one confusion matrix
    assert "model: Label 2" in page or "Label 2" in page
    assert "Wasserstein distance" not in page
    assert page == report.render(report.values(example))


def test_items_of_both_kinds_are_evaluated_beside_each_other(tmp_path, example):
    """Nominal items do not shape the baselines of the others: their values stay as they were."""
    world = make_world(tmp_path / "alone", studies=2, conditions=2, outcomes=1, levels=3)
    alone = evaluate(exact_predictions(world, world.truth), world.store, label_without_split(world.store))
    builder = StoreBuilder(
        attributes=("age",), source=world.store.manifest["source"], license="CC0-1.0", command="test"
    )
    for study in world.store.studies["study_id"]:
        builder.add_study(study)
    for person in world.store.participants.iter_rows(named=True):
        builder.add_participant(person["study_id"], person["participant_id"], person["attributes"])
    nominal = Scale.of_levels(range(1, 4), origin="codebook", nominal=True)
    truth = dict(world.truth)
    for item_id, item in world.store.item_by_id.items():
        named = Item(**{**vars(item), "outcome": f"{item.outcome}, named", "scale": nominal})
        named_id = builder.add_item(named)
        builder.add_item(item)
        truth[named_id] = truth[item_id]
        for row in world.store.responses.filter(item_id=item_id).iter_rows(named=True):
            for target in (item_id, named_id):
                builder.add_response(target, row["participant_id"], row["value"], sample_id=row["sample_id"])
    both_store = builder.write(tmp_path / "both")
    both_world = type(world)(both_store, truth)
    both = evaluate(exact_predictions(both_world, truth), both_store, label_without_split(both_store))
    labels = [metric.name for metric in METRICS]
    rest = both.table.filter(~pl.col("metric").is_in(labels))
    rest = rest.filter(~pl.col("metric").str.starts_with("count_coded"))
    assert rest.equals(alone.table)
    assert both.coding.counts["all"]["items"] == len(world.truth)
    page = report.render(report.values(both))
    assert "Labels: all documents" in page
    assert "Wasserstein-1 distance" in page


def test_the_summary_fits_a_terminal_of_eighty_columns(example):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(coding_report.summary_table(example.coding))
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for shown in ("0.778", "unseen documents", "6 documents", "macro F1", " α "):
        assert shown in text
