"""Splits: what is held out never reaches training, and resemblance across a split is reported."""

import numpy as np
import polars as pl
import pytest
from small import SCALE_1_5, small_item, small_store

from socsci_jax.errors import InputError
from socsci_jax.studies.near_duplicates import near_duplicate_studies
from socsci_jax.studies.split_making import make_split, split_of_units
from socsci_jax.studies.splits import Split, Subset
from socsci_jax.studies.store_builder import StoreBuilder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("splits") / "store", studies=8, conditions=4)


def test_held_out_units_and_training_are_disjoint(store):
    split = make_split(store, name="x", seed=1, studies=0.25, conditions=0.25, participants=0.3)
    labeled = split.label()
    train = split.training_responses()
    assert labeled.height == store.responses.height
    for part, columns in {
        "unseen_studies": ["study_id"],
        "unseen_conditions": ["study_id", "condition"],
        "unseen_participants": ["study_id", "participant_id"],
    }.items():
        held = labeled.filter(pl.col("part") == part).select(columns).unique()
        assert held.height > 0
        assert train.join(held, on=columns, how="semi").is_empty()


def test_a_quarter_of_the_conditions_is_held_out_in_each_study(store):
    split = make_split(store, name="x", seed=1, conditions=0.25)
    assert split.units("unseen_conditions").group_by("study_id").len()["len"].to_list() == [1] * 8


def test_at_least_one_unit_is_held_out_and_a_single_one_is_kept(store):
    split = make_split(store, name="x", seed=1, outcomes=0.01)
    assert split.units("unseen_outcomes").group_by("study_id").len()["len"].unique().to_list() == [1]


def test_the_seed_decides_the_split(store):
    def draw(seed):
        return make_split(store, name="x", seed=seed, participants=0.5).content_hash

    assert draw(3) == draw(3) != draw(4)


def test_a_split_comes_back_as_it_was_saved(store):
    split = make_split(store, name="saved", seed=5, studies=["s1", "s2"], outcomes=0.25)
    split.save()
    loaded = Split.load(store, "saved")
    assert loaded.seed == 5
    assert loaded.held_out.equals(split.held_out)
    assert loaded.shares == split.shares == {"outcomes": 0.25}  # the studies were listed, not drawn
    assert set(loaded.units("unseen_studies")["study_id"]) == {"s1", "s2"}


def test_training_refuses_a_split_that_does_not_hold_out_what_it_was_told_to_leave(store):
    split = make_split(store, name="x", seed=0, studies=["s1"])
    assert split.training_responses(exclude=["s1"]).height > 0
    with pytest.raises(InputError, match="study 's2' is to be excluded"):
        split.training_responses(exclude=["s1", "s2"])


def test_a_split_of_another_store_content_is_refused(tmp_path):
    first = small_store(tmp_path / "a", seed=0)
    second = small_store(tmp_path / "b", seed=1)
    source = first.path / "splits" / "main.parquet"
    (second.path / "splits" / "main.parquet").write_bytes(source.read_bytes())
    with pytest.raises(InputError, match="made for another content"):
        Split.load(second, "main")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"studies": 1.5}, "between 0 and 1"),
        ({"studies": ["nobody"]}, "none of the 1 study"),
        ({}, "hold out nothing"),
    ],
)
def test_a_split_that_cannot_be_made_is_one_clear_sentence(store, wanted, message):
    with pytest.raises(InputError, match=message):
        make_split(store, name="x", seed=0, **wanted)


def test_a_split_that_leaves_nothing_to_train_on_is_refused(store):
    rows = [{"part": "unseen_studies", "study_id": s} for s in store.studies["study_id"]]
    split = split_of_units(store, name="x", seed=0, rows=rows)
    with pytest.raises(InputError, match="nothing is left to train on"):
        split.training_responses()


def units(frame: pl.DataFrame, subset: Subset) -> set[tuple]:
    return set(frame.select(subset.columns).iter_rows())


@pytest.mark.parametrize("of", ["participants", "conditions", "studies"])
def test_a_smaller_subset_is_contained_in_a_larger_one_and_all_in_the_training_part(store, of):
    split = make_split(store, name="x", seed=1, studies=0.25, conditions=0.25, participants=0.3)
    whole = split.training_responses()
    larger = whole
    for share in (1.0, 0.6, 0.5, 0.25):
        subset = Subset(of=of, share=share, seed=3)
        taken = split.training_responses(subset=subset)
        everything = whole.join(taken, on=subset.columns, how="semi", maintain_order="left")
        assert taken.equals(everything)  # all answers of a unit, in the order of the training part
        assert units(taken, subset) <= units(larger, subset)
        wanted = share * len(units(whole, subset))
        strata = 1 if of == "studies" else whole["study_id"].n_unique()
        assert abs(len(units(taken, subset)) - wanted) <= strata
        larger = taken
    assert split.training_responses(subset=Subset(of=of, share=1.0)).equals(whole)


def test_a_subset_has_its_share_in_expectation(store):
    """Also where no study has its share exactly: half of three conditions."""
    split = make_split(store, name="x", seed=1, conditions=0.25)
    training = split.training_responses()
    subsets = [Subset(of="conditions", share=0.5, seed=seed) for seed in range(200)]
    counts = [len(units(subset.take(training), subset)) for subset in subsets]
    assert len(units(training, subsets[0])) == 24
    assert np.mean(counts) == pytest.approx(12, abs=0.4)


def test_the_seed_decides_the_subset(store):
    split = make_split(store, name="x", seed=1, participants=0.3)

    def draw(seed):
        subset = Subset(of="participants", share=0.5, seed=seed)
        return units(split.training_responses(subset=subset), subset)

    assert draw(3) == draw(3) != draw(4)


def test_a_subset_without_units_is_refused(store):
    split = make_split(store, name="x", seed=1, studies=0.5)
    with pytest.raises(InputError, match=r"share of 0.001 \(seed 0\) takes none of the 4 studies"):
        split.training_responses(subset=Subset(of="studies", share=0.001))


def test_near_duplicate_studies_across_a_split_are_reported(tmp_path):
    builder = StoreBuilder(attributes=("age",), source="x", license="x", command="x")
    stories = {
        "original": "A town of ten thousand people must choose between a new bridge and a new school next year",
        "copy": "A town of ten thousand people must choose between a new bridge and a new school next spring",
        "other": "Doctors in a large hospital compare two treatments for a rare illness of the inner ear",
    }
    for study, text in stories.items():
        builder.add_study(study, title=study)
        builder.add_participant(study, "p", {})
        item = small_item(study, "a", "taxes", SCALE_1_5)
        item_id = builder.add_item(type(item)(**{**vars(item), "stimulus": text + ".\n\n", "question": ""}))
        builder.add_response(item_id, "p", 1, sample_id=0)
    store = builder.write(tmp_path / "store")
    split = make_split(store, name="x", seed=0, studies=["copy"])
    assert [(d.held_out, d.training, d.reason) for d in near_duplicate_studies(store, split)] == [
        ("copy", "original", "shared text")
    ]
