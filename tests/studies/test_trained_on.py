"""What a model has seen is recognized by ids, texts and people, whatever a store or a split calls them."""

import polars as pl
import pytest
from council_store import WORDS, build

from socsci_jax.errors import InputError
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.seen import correct_parts
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.trained_on import TrainedOn


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store, its split, and what training on it sees: study a without a condition and without some people."""
    store = build(tmp_path_factory.mktemp("trained") / "store")
    split = make_split(store, name="main", seed=1, studies=["b"], conditions=0.34, participants=0.3)
    return store, split, TrainedOn.of(store, split.training_responses())


def labels(trained, store):
    pairs = store.responses.join(store.items.select("item_id", "study_id"), on="item_id", how="left")
    return trained.label(Pairs.of_store(store, pairs))


def test_under_its_own_split_what_is_unseen_is_what_the_split_holds_out(world):
    store, split, trained = world
    told = dict(
        zip(
            ("unseen_studies", "unseen_conditions", "unseen_participants", "train"),
            ("study", "condition", "participant", "nothing"),
        )
    )
    labeled = labels(trained, store)
    assert set(split.label()["part"]) == set(told)
    assert labeled["unseen"].to_list() == [told[part] for part in split.label()["part"]]
    assert labeled["seen"].to_list() == [part == "train" for part in split.label()["part"]]


def test_another_split_of_the_same_store_changes_nothing(world):
    store, _, trained = world
    make_split(store, name="other", seed=5, studies=["a"]).save()
    assert labels(trained, store)["seen"].sum() > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"studies": ("x", "y")},
        {"names": lambda person: f"renamed-{person}"},
        {"studies": ("x", "y"), "names": lambda person: f"renamed-{person}"},
    ],
)
def test_the_same_study_in_another_store_is_known_by_its_words_and_people(world, tmp_path, changes):
    store, _, trained = world
    other = build(tmp_path / "other", **changes)
    assert other.content_hash != store.content_hash
    assert labels(trained, other)["seen"].to_list() == labels(trained, store)["seen"].to_list()


@pytest.mark.parametrize("attributes", [("gender", "age"), ("age", "gender", "unknown of everybody")])
def test_order_of_attributes_and_those_that_nobody_has_make_nobody_another(world, tmp_path, attributes):
    store, _, trained = world
    other = build(tmp_path / "other", attributes=attributes)
    assert labels(trained, other)["seen"].to_list() == labels(trained, store)["seen"].to_list()


@pytest.mark.parametrize(
    "changes",
    [{"attributes": ("age", "gender", "party")}, {"attributes": ()}, {"outcomes": ("taxes",)}],
)
def test_people_of_a_known_study_with_other_columns_or_items_are_not_called_unseen(world, tmp_path, changes):
    _, _, trained = world
    labeled = labels(trained, build(tmp_path / "other", names=lambda person: f"x{person}", **changes))
    assert set(labeled["unseen"]) == {"study", "condition", None}
    assert labeled.filter(pl.col("unseen").is_null())["seen"].null_count() > 0


def test_punctuation_case_and_breaks_do_not_make_a_text_another(world, tmp_path):
    _, _, trained = world
    other = build(
        tmp_path / "other", studies=("x", "y"), words=WORDS.upper().replace("{C}", "{c}").replace(", ", "\n")
    )
    assert labels(trained, other)["seen"].any()


def test_new_texts_and_new_people_are_unseen(world, tmp_path):
    _, _, trained = world
    other = build(
        tmp_path / "other",
        studies=("x",),
        words="Nothing of this was ever written before, not even {c} by anybody.",
    )
    assert set(labels(trained, other)["unseen"]) == {"study"}


def test_other_people_who_read_what_was_trained_on_are_unseen_participants(world, tmp_path):
    _, _, trained = world
    other = build(tmp_path / "other", seed=2)
    assert not labels(trained, other)["seen"].any()
    assert "participant" in set(labels(trained, other)["unseen"])


def test_a_study_with_some_new_words_resembles_its_original(world, tmp_path):
    _, _, trained = world
    other = build(tmp_path / "other", studies=("x",), words=WORDS.replace("the town", "the whole town"))
    (found,) = trained.resembling(other, ["x"])
    assert (found.study, found.training) == ("x", "a") and 0.3 <= found.overlap < 1


def test_what_the_start_had_seen_stays_seen(world, tmp_path):
    store, _, trained = world
    other = build(
        tmp_path / "other",
        studies=("x",),
        words="Altogether other words about {c}, that nobody has read, twenty of them, or even more than twenty, I believe.",
    )
    both = TrainedOn.of(other, make_split(other, name="m", seed=0, participants=0.5).training_responses())
    together = both.with_earlier(trained)
    assert labels(together, store).equals(labels(trained, store))
    assert labels(together, other).equals(labels(both, other))


def test_written_and_read_it_is_the_same(world, tmp_path):
    trained = world[2]
    trained.write(tmp_path / "t.parquet")
    assert TrainedOn.read(tmp_path / "t.parquet").digest == trained.digest
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match="nobody knows what this model has seen"):
        TrainedOn.read(tmp_path / "t.parquet")


def test_nothing_of_the_answers_or_texts_can_be_read_from_it(world):
    frame = world[2].frame
    assert frame.schema["digest"] == pl.UInt64
    assert not any("council" in str(value) for row in frame.iter_rows() for value in row)


def test_what_was_trained_on_is_taken_out_of_every_unseen_part(world):
    store, split, trained = world
    other = make_split(store, name="another", seed=7, studies=["a"])
    labeled = other.label()
    pairs = Pairs.of_store(store, labeled)
    predictions = labeled.select("item_id", "participant_id").with_columns(trained.label(pairs))
    corrected = correct_parts(labeled, predictions)
    true = split.label()["part"].to_list()
    for claimed, found, is_true in zip(labeled["part"], corrected.labeled["part"], true, strict=True):
        assert found == (claimed if claimed == "train" else is_true)
    count = sum(
        part == "train" for part, claimed in zip(true, labeled["part"], strict=True) if claimed != "train"
    )
    assert corrected.sentences[0].startswith(
        f"{count} of {corrected.claimed} answers that the split calls unseen"
    )


def test_under_its_own_split_no_answer_moves(world):
    store, split, trained = world
    labeled = split.label()
    predictions = labeled.select("item_id", "participant_id").with_columns(
        trained.label(Pairs.of_store(store, labeled))
    )
    corrected = correct_parts(labeled, predictions)
    assert corrected.labeled.equals(labeled) and corrected.moved.is_empty() and not corrected.sentences


def test_where_nobody_knows_it_is_said(world):
    _store, split, _ = world
    labeled = split.label()
    predictions = labeled.select("item_id", "participant_id", unseen=pl.lit(None, pl.String))
    corrected = correct_parts(labeled, predictions)
    assert corrected.labeled.equals(labeled)
    assert corrected.sentences[0].startswith("It is not known what the model was trained on")
