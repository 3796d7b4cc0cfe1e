"""Whatever a split, a store or a folder is called: what a model was trained on is never averaged as unseen."""

import dataclasses
import functools
import json
import shutil

import polars as pl
import pytest
from council_store import WORDS, build
from small import write_run_metadata

from socsci_jax.errors import InputError
from socsci_jax.evaluation.compare import compare, compare_files
from socsci_jax.evaluation.evaluate import evaluate, label_without_split
from socsci_jax.evaluation.evaluate_files import evaluate_files
from socsci_jax.model_io import _together
from socsci_jax.simulation import two_parts
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import Predictions, read_predictions, write_predictions
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA
from socsci_jax.studies.seen import correct_parts
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.trained_on import METADATA_FILE, TRAINED_ON_FILE, TrainedOn, read_trained_on


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Study a was trained on, but for one of its conditions and some people; study b was not."""
    store = build(tmp_path_factory.mktemp("leakage") / "store")
    split = make_split(store, name="main", seed=1, studies=["b"], conditions=0.34, participants=0.3)
    return store, split, TrainedOn.of(store, split.training_responses())


def predictions_of(store, trained):
    """A prediction for every answer of a store, marked as `simulate` marks it."""
    answers = store.responses.select("item_id", "participant_id").unique(maintain_order=True)
    pairs = Pairs.of_store(
        store, answers.join(store.items.select("item_id", "study_id"), on="item_id", how="left")
    )
    frame = answers.with_columns(
        levels=pl.lit([1.0, 2.0, 3.0, 4.0, 5.0]), probs=pl.lit([0.1, 0.2, 0.4, 0.2, 0.1]), mass_on_levels=1.0
    ).with_columns(trained.label(pairs))
    absent = [pl.lit(None).alias(name) for name in PREDICTIONS_SCHEMA.names if name not in frame.columns]
    return Predictions(frame=frame.with_columns(absent).select(PREDICTIONS_SCHEMA.names))


def unseen_answers(evaluation):
    """Answers that the evaluation averages under an unseen name."""
    return sum(
        counts["answers"]
        for part, counts in evaluation.counts.items()
        if part.startswith("unseen") or part == "all"
    )


def judged(store, trained, labeled):
    return evaluate(predictions_of(store, trained), store, labeled, minimum_n=1)


def true_unseen(store, trained):
    return (~predictions_of(store, trained).frame["seen"]).sum()


def test_another_split_that_calls_the_training_study_unseen(world):
    store, _, trained = world
    evaluation = judged(store, trained, make_split(store, name="o", seed=0, studies=["a"]).label())
    assert "were trained on; they are excluded" in evaluation.notes[0]
    marks = predictions_of(store, trained).frame.join(store.items.select("item_id", "study_id"), on="item_id")
    assert unseen_answers(evaluation) == marks.filter(pl.col("study_id") == "a", ~pl.col("seen")).height > 0
    assert "unseen_studies" not in evaluation.counts


def test_a_replaced_split_of_the_same_name(world):
    store, _, trained = world
    replaced = make_split(store, name="main", seed=9, participants=0.5)
    evaluation = judged(store, trained, replaced.label())
    assert "were trained on" in evaluation.notes[0]


def test_no_split_at_all(world):
    store, _, trained = world
    evaluation = judged(store, trained, label_without_split(store))
    assert "were trained on" in evaluation.notes[0]
    assert unseen_answers(evaluation) == true_unseen(store, trained)


@pytest.mark.parametrize(
    "changes",
    [
        {"studies": ("x", "y")},
        {"names": lambda person: f"renamed {person}"},
        {"studies": ("x", "y"), "names": lambda person: f"renamed {person}"},
        {"studies": ("x", "y"), "words": WORDS.upper().replace("{C}", "{c}")},
    ],
    ids=["another id", "renamed participants", "both", "other letters"],
)
def test_the_same_study_in_another_store(world, tmp_path, changes):
    _, _, trained = world
    other = build(tmp_path / "other", **changes)
    first = other.studies["study_id"].sort()[0]
    split = make_split(other, name="o", seed=0, studies=[first])
    evaluation = judged(other, trained, split.label())
    assert "were trained on; they are excluded" in evaluation.notes[0]
    assert "unseen_studies" not in evaluation.counts


def test_the_folder_of_an_export_and_a_copied_run_say_it(world, tmp_path):
    trained = world[2]
    (tmp_path / "run").mkdir()
    write_run_metadata(tmp_path / "run", trained_on_hash=trained.digest)
    trained.write(tmp_path / "run" / TRAINED_ON_FILE)
    copied = shutil.copytree(tmp_path / "run", tmp_path / "copied")
    assert read_trained_on(copied, {"trained_on_hash": trained.digest}).digest == trained.digest


def test_a_folder_that_lost_what_it_was_trained_on_is_no_start_and_no_base(world, tmp_path):
    _, _, trained = world
    (tmp_path / METADATA_FILE).write_text(json.dumps({"trained_on_hash": trained.digest}))
    with pytest.raises(InputError, match="without it nobody knows what this model has seen"):
        TrainedOn.of_folder(tmp_path)
    trained.write(tmp_path / TRAINED_ON_FILE)
    assert TrainedOn.of_folder(tmp_path).digest == trained.digest


def test_what_another_model_was_trained_on_is_not_taken_for_it(world, tmp_path):
    world[2].write(tmp_path / TRAINED_ON_FILE)
    with pytest.raises(InputError, match="this is what another model was trained on"):
        read_trained_on(tmp_path, {"trained_on_hash": "0" * 64})
    (tmp_path / TRAINED_ON_FILE).unlink()
    with pytest.raises(InputError, match="nobody knows what this model has seen"):
        read_trained_on(tmp_path, {"trained_on_hash": "0" * 64})


def test_an_adapter_over_a_tuned_model_has_seen_what_both_have(world, tmp_path):
    store, _, trained = world
    trained.write(tmp_path / TRAINED_ON_FILE)
    of_b = make_split(store, name="b", seed=0, studies=["a"])
    adapter = TrainedOn.of(store, of_b.training_responses())
    both = _together(adapter, tmp_path)
    evaluation = judged(store, both, make_split(store, name="o", seed=0, studies=["b"]).label())
    assert "were trained on; they are excluded" in evaluation.notes[0]
    assert _together(None, tmp_path) is None  # an adapter of which nobody knows


def test_preference_training_from_a_tuned_start_has_seen_what_its_start_had(world):
    store, _, trained = world
    later = TrainedOn.of(store, make_split(store, name="b", seed=0, studies=["a"]).training_responses())
    evaluation = judged(
        store, later.with_earlier(trained), make_split(store, name="o", seed=0, studies=["a"]).label()
    )
    assert "were trained on; they are excluded" in evaluation.notes[0]


def test_where_it_is_not_known_that_is_the_first_finding(world):
    store, split, trained = world
    predictions = predictions_of(store, trained)
    unknown = dataclasses.replace(
        predictions,
        frame=predictions.frame.with_columns(seen=pl.lit(None, pl.Boolean), unseen=pl.lit(None, pl.String)),
    )
    evaluation = evaluate(unknown, store, split.label(), minimum_n=1)
    assert evaluation.notes[0].startswith("It is not known what the model was trained on")


@pytest.mark.parametrize("columns", [["seen", "unseen"], ["unseen"]])
def test_an_answer_of_which_it_is_not_known_is_in_no_unseen_part(world, columns):
    """Half of the rows tell nothing: what they are about is counted, and judged under no name."""
    store, _, trained = world
    predictions = predictions_of(store, trained)
    told = predictions.frame.height // 2
    half = pl.int_range(pl.len()) < told
    frame = predictions.frame.with_columns(
        pl.when(half).then(name).alias(name) for name in ("seen", "unseen")
    )
    if columns == ["unseen"]:
        frame = frame.drop("seen")
    correction = correct_parts(label_without_split(store), frame)
    known = correct_parts(label_without_split(store), predictions.frame[:told])
    assert correction.excludes_unknown and correction.unknown == predictions.frame.height - told
    assert "it is not known whether" in correction.sentences[-1]
    key = ["item_id", "participant_id"]
    kept = correction.labeled.filter(part="all").select(key)
    assert kept.join(frame.filter(pl.col("unseen").is_null()), on=key).is_empty()
    assert kept.height == known.labeled.join(frame[:told], on=key, how="semi").filter(part="all").height


def test_not_seen_without_what_is_unseen_keeps_the_part_and_is_known(world):
    store, split, trained = world
    frame = predictions_of(store, trained).frame.with_columns(
        seen=pl.lit(False), unseen=pl.lit(None, pl.String)
    )
    correction = correct_parts(split.label(), frame)
    assert correction.labeled.equals(split.label()) and not correction.sentences


def test_predictions_of_another_store_are_refused(world, tmp_path):
    store, _, trained = world
    frame = predictions_of(store, trained).frame
    write_predictions(tmp_path / "p.parquet", frame, metadata={"store_hash": "1" * 64})
    with pytest.raises(InputError, match="made of another content of the study store"):
        read_predictions(tmp_path / "p.parquet", store)


def test_a_split_that_was_replaced_is_judged_under_only_where_it_is_asked_for(world, tmp_path, caplog):
    store, split, trained = world
    split.save(replace=True)
    frame = predictions_of(store, trained).frame
    told = {"store_hash": store.content_hash, "split": "main", "split_hash": "1" * 64}
    write_predictions(tmp_path / "p.parquet", frame, metadata=told)
    judge = functools.partial(
        evaluate_files, tmp_path / "p.parquet", store.path, tmp_path / "out", minimum_n=1
    )
    with pytest.raises(
        InputError, match="'main' was replaced since the predictions were made under it, and holds"
    ):
        judge()
    assert not (tmp_path / "out").exists()
    evaluation = judge(split_name="main")
    assert any("was replaced since the predictions were made" in note for note in evaluation.notes)
    assert "was replaced since" in caplog.text  # which the command line prints first
    with pytest.raises(InputError, match="was replaced since"):
        compare_files(tmp_path / "p.parquet", tmp_path / "p.parquet", store.path, minimum_n=1)


def test_what_one_of_two_predictors_was_trained_on_is_compared_as_unseen_for_neither(world):
    store, _, trained = world
    labeled = make_split(store, name="o", seed=0, studies=["a"]).label()
    known = predictions_of(store, trained)
    fresh = dataclasses.replace(
        known,
        frame=known.frame.with_columns(seen=pl.lit(False), unseen=pl.lit("study")),
    )
    expected = judged(store, trained, labeled)
    for pair in ((known, fresh), (fresh, known)):
        found = compare(*pair, store, labeled, minimum_n=1)
        assert unseen_answers(found.a) == unseen_answers(found.b) == unseen_answers(expected)
        assert "were trained on; they are excluded" in found.sentences()[0]


@pytest.mark.parametrize("columns", [["unseen"], ["seen"]])
def test_one_of_the_two_columns_is_enough_to_exclude_what_was_trained_on(world, columns):
    store, _, trained = world
    predictions = predictions_of(store, trained)
    for frame in (
        predictions.frame.drop(columns),
        predictions.frame.with_columns(pl.lit(None).alias(name) for name in columns),
    ):
        labeled = label_without_split(store)
        evaluation = evaluate(dataclasses.replace(predictions, frame=frame), store, labeled, minimum_n=1)
        assert unseen_answers(evaluation) == true_unseen(store, trained)


def test_one_draw_that_was_trained_on_makes_the_answer_seen(world):
    store, _, trained = world
    frame = predictions_of(store, trained).frame
    other = frame.with_columns(seen=pl.lit(False), unseen=pl.lit("study"))
    for rows in ([frame, other], [other, frame]):
        correction = correct_parts(label_without_split(store), pl.concat(rows))
        assert correction.labeled.filter(part="all").height == true_unseen(store, trained)


def test_a_prediction_for_everybody_says_what_is_unseen_of_every_answer(world):
    store, _, trained = world
    frame = (
        predictions_of(store, trained)
        .frame.unique("item_id")
        .with_columns(
            participant_id=pl.lit(None, pl.String), seen=pl.lit(False), unseen=pl.lit("participant")
        )
    )
    labeled = make_split(store, name="o", seed=0, studies=["a"]).label()
    correction = correct_parts(labeled, frame)
    assert "unseen_studies" not in correction.labeled["part"].to_list() and correction.unknown == 0


def test_what_is_not_known_of_a_persons_own_row_is_not_taken_from_a_row_about_everybody(world):
    store, _, trained = world
    own = predictions_of(store, trained).frame.with_columns(
        seen=pl.lit(None, pl.Boolean), unseen=pl.lit(None, pl.String)
    )
    everybody = own.unique("item_id").with_columns(
        participant_id=pl.lit(None, pl.String), unseen=pl.lit("condition")
    )
    labeled = make_split(store, name="o", seed=0, studies=["a"]).label()
    correction = correct_parts(labeled, pl.concat([own, everybody]))
    assert correction.unknown == correction.claimed > 0


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("study", "nothing", "nothing"),
        ("participant", "outcome", "participant"),
        (None, "nothing", "nothing"),
        (None, "study", None),
        ("study", "study", "study"),
    ],
)
def test_of_two_models_answers_the_smaller_unseen_thing_holds(one, other, both):
    assert two_parts._unseen_by_both(one, other) == two_parts._unseen_by_both(other, one) == both


def test_an_answer_that_one_of_two_models_may_have_seen_is_not_called_unseen():
    assert two_parts._either_saw(None, False) is two_parts._either_saw(False, None) is None
    assert two_parts._either_saw(None, True) and two_parts._either_saw(False, False) is False


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("unseen", "everything", "unseen is 'everything'"),
        ("mass_on_levels", 1e308, "mass_on_levels is 1e\\+308"),
    ],
)
def test_what_a_table_tells_of_itself_is_checked(world, tmp_path, column, value, sentence):
    store, _, trained = world
    frame = predictions_of(store, trained).frame.with_columns(pl.lit(value).alias(column))
    write_predictions(tmp_path / "p.parquet", frame, metadata={})
    with pytest.raises(InputError, match=sentence):
        read_predictions(tmp_path / "p.parquet", store)
