"""Invented studies: deterministic, with a known truth that their answers follow."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from data_pipelines.scales.sentences import read_scale
from data_pipelines.synthetic.answering import ItemTruth, true_distribution
from data_pipelines.synthetic.designs import SyntheticConfig
from data_pipelines.synthetic.people import ATTRIBUTES, FEATURES
from data_pipelines.synthetic.studies import SMALL, build, item_truths
from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore

# Few studies with many people, so that answers can be held against the truth.
CROWDED = SyntheticConfig(n_studies=3, participants_per_condition=(800, 800), seed=3)
NOBODY_KNOWN = dict.fromkeys(ATTRIBUTES)


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory) -> StudyStore:
    return build(tmp_path_factory.mktemp("demonstration") / "store", command="test")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> StudyStore:
    return build(tmp_path_factory.mktemp("crowded") / "store", config=CROWDED, command="test")


@pytest.fixture(scope="module")
def truth_of_crowded(crowded) -> pl.DataFrame:
    return pl.read_parquet(crowded.path / "truth.parquet")


def histogram(values: np.ndarray, levels: tuple[int, ...]) -> np.ndarray:
    return (values[:, None] == np.asarray(levels)).mean(axis=0)


def wasserstein(p: np.ndarray, q: np.ndarray) -> float:
    """Of two distributions over equally spaced levels, rescaled to [0, 1]."""
    return float(np.abs(np.cumsum(p - q))[:-1].mean())


def answers_by_item(store: StudyStore) -> dict[str, np.ndarray]:
    return {key[0]: rows["value"].to_numpy() for key, rows in store.responses.group_by("item_id")}


def personas_by_item(store: StudyStore) -> dict[str, list[dict]]:
    joined = store.responses.join(store.items.select("item_id", "study_id"), on="item_id").join(
        store.participants, on=["study_id", "participant_id"]
    )
    return {key[0]: rows["attributes"].to_list() for key, rows in joined.group_by("item_id")}


def a_truth(**changes) -> ItemTruth:
    truth = ItemTruth(
        levels=(1, 2, 3, 4, 5),
        intercept=0.3,
        loading=0.8,
        popularity=0.4,
        leaning_f=tuple(0.5 if name == "party" else 0.0 for name in FEATURES),
        cue_effect=0.9,
        cue_party_slope=-1.0,
        descending=False,
        person_sd=0.7,
    )
    return dataclasses.replace(truth, **changes)


def mean_level(truth: ItemTruth, **attributes: str) -> float:
    return float(true_distribution(truth, NOBODY_KNOWN | attributes) @ np.asarray(truth.levels))


# --- the store --------------------------------------------------------------------------------------------------


def test_equal_configurations_give_equal_content(tmp_path):
    first = build(tmp_path / "first", config=SMALL, command="one")
    second = build(tmp_path / "second", config=SMALL, command="another")
    assert first.content_hash == second.content_hash
    assert (
        pl.read_parquet(first.path / "truth.parquet")
        .equals(pl.read_parquet(second.path / "truth.parquet"))
    )  # fmt: skip


def test_another_seed_gives_other_content(tmp_path):
    one = build(tmp_path / "one", config=SMALL, command="test")
    other = build(tmp_path / "other", config=dataclasses.replace(SMALL, seed=1), command="test")
    assert one.content_hash != other.content_hash


def test_every_item_states_its_scale(demonstration):
    for item in demonstration.item_by_id.values():
        assert read_scale(item.text) == dataclasses.replace(item.scale, origin="stated"), item.text


def test_scales_range_from_two_levels_to_a_slider_and_some_are_descending(demonstration):
    numbers = {len(item.scale.levels) for item in demonstration.item_by_id.values()}
    assert {2, 3, 4, 5, 6, 7, 10, 11, 101} <= numbers
    first_labels = {item.scale.labels[0] for item in demonstration.item_by_id.values() if item.scale.labels}
    assert first_labels & {"Strongly support", "Strongly agree"} and "Yes" in first_labels


def test_conditions_of_an_outcome_differ_in_text(demonstration):
    texts = demonstration.items.select("study_id", "outcome", "stimulus")
    assert texts.n_unique() == texts.height


def test_control_reads_no_cue_and_every_arm_names_its_factors(demonstration):
    for (study,), items in demonstration.items.group_by("study_id"):
        arms = [i for i in demonstration.item_by_id.values() if i.study_id == study]
        controls = [i for i in arms if i.is_control]
        shortest = min(len(i.stimulus) for i in arms)
        assert all(len(i.stimulus) == shortest and set(i.factors.values()) == {"none"} for i in controls)
        assert len({tuple(sorted(i.factors)) for i in arms}) == 1, items


def test_designs_are_single_factors_and_complete_crossings(demonstration):
    shapes = set()
    for study in demonstration.studies["study_id"]:
        arms = {
            tuple(i.factors.items()): i.is_control
            for i in demonstration.item_by_id.values()
            if i.study_id == study
        }
        treated = [dict(arm) for arm, is_control in arms.items() if not is_control]
        sizes = tuple(len({arm[name] for arm in treated}) for name in treated[0])
        assert len(treated) == np.prod(sizes)
        shapes.add((sizes, any(arms.values())))
    assert shapes == {((3,), True), ((2, 2), False), ((2, 3), False), ((2, 2), True)}


def test_people_answer_all_outcomes_of_their_own_arm(demonstration):
    joined = demonstration.responses.join(demonstration.items, on="item_id")
    per_person = joined.group_by("study_id", "participant_id").agg(
        pl.col("condition").n_unique().alias("arms"), pl.col("outcome").n_unique().alias("outcomes"), pl.len()
    )
    outcomes = joined.group_by("study_id").agg(pl.col("outcome").n_unique().alias("asked"))
    merged = per_person.join(outcomes, on="study_id")
    assert (merged["arms"] == 1).all()
    assert (merged["outcomes"] == merged["asked"]).all() and (merged["len"] == merged["asked"]).all()
    assert set(outcomes["asked"]) == {1, 2, 3}


def test_impossible_configuration_is_refused():
    with pytest.raises(InputError, match="at least one study"):
        SyntheticConfig(n_studies=2, participants_per_condition=(5, 4))


# --- the demonstration ------------------------------------------------------------------------------------------


def test_demonstration_is_small_enough_to_train_on_a_laptop(demonstration):
    assert 12_000 <= demonstration.responses.height <= 20_000
    words = [len(item.stimulus.split()) for item in demonstration.item_by_id.values()]
    assert min(words) >= 25 and max(words) <= 90


def test_demonstration_rewards_reading_the_condition(demonstration):
    """Stated W: people pooled over conditions are far worse than half the people, uniform is worse still."""
    rng = np.random.default_rng(0)
    answers = answers_by_item(demonstration)
    by_outcome: dict[tuple[str, str], list[str]] = {}
    for item_id in sorted(answers):
        item = demonstration.item_by_id[item_id]
        by_outcome.setdefault((item.study_id, item.outcome), []).append(item_id)
    uniform, pooled, half = [], [], []
    for item_ids in by_outcome.values():
        levels = demonstration.item_by_id[item_ids[0]].scale.levels
        everybody = histogram(np.concatenate([answers[i] for i in item_ids]), levels)
        for item_id in item_ids:
            people = rng.permutation(answers[item_id])
            first, second = (histogram(part, levels) for part in np.array_split(people, 2))
            here = histogram(people, levels)
            uniform.append(wasserstein(np.full(len(levels), 1 / len(levels)), here))
            pooled.append(wasserstein(everybody, here))
            half.append(wasserstein(first, second))
    assert np.mean(pooled) > 1.5 * np.mean(half)
    assert np.mean(uniform) > 2.5 * np.mean(half)


# --- the truth --------------------------------------------------------------------------------------------------


def test_truth_has_one_row_per_item_over_its_levels(crowded, truth_of_crowded):
    assert sorted(truth_of_crowded["item_id"]) == sorted(crowded.items["item_id"])
    for row in truth_of_crowded.iter_rows(named=True):
        item = crowded.item_by_id[row["item_id"]]
        assert (row["study_id"], row["condition"], row["outcome"]) == (
            item.study_id,
            item.condition,
            item.outcome,
        )
        assert tuple(row["levels"]) == item.scale.levels
        assert sum(row["probs"]) == pytest.approx(1.0) and min(row["probs"]) > 0


def test_truth_probs_average_the_oracle_over_those_who_answered(tmp_path):
    store = build(tmp_path / "store", config=SMALL, command="test")
    truths, personas = item_truths(SMALL), personas_by_item(store)
    for row in pl.read_parquet(store.path / "truth.parquet").iter_rows(named=True):
        oracle = [true_distribution(truths[row["item_id"]], person) for person in personas[row["item_id"]]]
        np.testing.assert_allclose(row["probs"], np.mean(oracle, axis=0), atol=1e-12)


def test_mean_position_averages_the_oracle_over_all_people_of_the_study(tmp_path):
    store = build(tmp_path / "store", config=SMALL, command="test")
    truths = item_truths(SMALL)
    people = {key[0]: rows["attributes"].to_list() for key, rows in store.participants.group_by("study_id")}
    for row in pl.read_parquet(store.path / "truth.parquet").iter_rows(named=True):
        levels = np.asarray(row["levels"])
        oracle = np.mean(
            [true_distribution(truths[row["item_id"]], p) for p in people[row["study_id"]]], axis=0
        )
        expected = oracle @ (levels - levels[0]) / (levels[-1] - levels[0])
        assert row["mean_position"] == pytest.approx(expected)


def test_answers_follow_the_truth(crowded, truth_of_crowded):
    answers, z = answers_by_item(crowded), []
    for row in truth_of_crowded.iter_rows(named=True):
        values, probs = answers[row["item_id"]], np.asarray(row["probs"])
        # Personas are fixed and differ, so the variance of a share is at most that of a plain binomial.
        error = np.sqrt(probs * (1 - probs) / len(values))
        z.extend((histogram(values, tuple(row["levels"])) - probs) / error)
    assert np.abs(z).max() < 5
    assert np.sqrt(np.mean(np.square(z))) < 1.3


def test_oracle_equals_simulated_people_with_the_same_persona():
    rng = np.random.default_rng(0)
    truth, n, party = a_truth(), 400_000, 1.0
    attitude = truth.popularity + 0.5 * party + 0.9 - 1.0 * party + rng.normal(scale=0.7, size=n)
    latent = truth.intercept + truth.loading * attitude + rng.logistic(size=n)
    level = 1 + (latent[:, None] > np.log([1 / 4, 2 / 3, 3 / 2, 4])).sum(axis=1)
    oracle = true_distribution(truth, NOBODY_KNOWN | {"party_id": "Republican"})
    np.testing.assert_allclose(oracle, histogram(level, truth.levels), atol=0.004)


def test_cue_moves_the_answer_in_its_own_direction():
    assert mean_level(a_truth(cue_effect=1.0)) > mean_level(a_truth(cue_effect=-1.0)) + 0.5


def test_descending_scale_mirrors_the_distribution():
    np.testing.assert_allclose(
        true_distribution(a_truth(descending=True), NOBODY_KNOWN),
        true_distribution(a_truth(), NOBODY_KNOWN)[::-1],
    )


def test_endorsement_divides_the_parties():
    lean = a_truth(leaning_f=(0.0,) * len(FEATURES))
    assert mean_level(lean, party_id="Democrat") > mean_level(lean, party_id="Republican") + 0.5


def test_unknown_attributes_add_nothing():
    truth = a_truth()
    unknown = true_distribution(truth, NOBODY_KNOWN)
    np.testing.assert_allclose(unknown, true_distribution(truth, NOBODY_KNOWN | {"party_id": "Independent"}))


def test_sliders_prefer_round_numbers():
    probs = true_distribution(a_truth(levels=tuple(range(101))), NOBODY_KNOWN)
    assert probs[70] > 2 * probs[75] > 4 * probs[73]


@pytest.mark.parametrize(("person_sd", "low", "high"), [(0.0, -0.1, 0.1), (2.0, 0.2, 1.0)])
def test_own_deviation_ties_the_answers_of_one_person(tmp_path, person_sd, low, high):
    """Without demographic leanings nothing else can make two answers of one person go together."""
    config = SyntheticConfig(
        n_studies=6, participants_per_condition=(100, 100), person_sd=person_sd, demographics=0.0
    )
    store = build(tmp_path / "store", config=config, command="test")
    signs = {
        item_id: -1.0 if truth.descending != (truth.loading < 0) else 1.0
        for item_id, truth in item_truths(config).items()
    }
    within_arm = pl.col("value").rank() - pl.col("value").rank().mean()
    answers = store.responses.with_columns(
        score=within_arm.over("item_id") * pl.col("item_id").replace_strict(signs),
        study=pl.col("item_id").str.split(".").list.first(),
    )
    pairs = answers.group_by("study", "participant_id").agg("score").filter(pl.col("score").list.len() >= 2)
    r = np.corrcoef([row[:2] for row in pairs["score"].to_list()], rowvar=False)[0, 1]
    assert len(pairs) > 500 and low < r < high
