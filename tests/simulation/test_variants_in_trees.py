"""Variants as branches of one tree: as exact as prompts alone, for few tokens; and a balanced assignment of who answers what."""

import dataclasses
from collections import Counter

import polars as pl
import pytest
from small import small_store

from benchmarks.multiverse import largest_difference, people, tiny_model, varied_study
from socsci_jax.errors import InputError
from socsci_jax.simulation.assignment import asking_of, assign
from socsci_jax.simulation.variants import Prompts, predict_variants
from socsci_jax.studies.layouts import PERSONA_FIRST, STUDY_FIRST
from socsci_jax.studies.persona_formats import PERSONA_FORMATS
from socsci_jax.studies.trained_on import TrainedOn

FULL = "{orders: all, persona_formats: [sentences, first_person, reversed], assignment: full}"
BALANCED = "{orders: all, persona_formats: [sentences, first_person, reversed]}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(varied_study(), tmp_path_factory.mktemp("variants"))


def check_against_brute_force(model, study, personas, layout, *, every=1):
    found = predict_variants(model, study, personas, layout=layout, allow_other_layout=True).predictions.frame
    assert found.height == sum(map(len, study.of_item.values())) * personas.height
    worst = largest_difference(model, study, found.gather_every(every), personas, layout=layout)
    assert worst < 1e-6


@pytest.mark.parametrize(
    "layout",
    [STUDY_FIRST, pytest.param(PERSONA_FIRST, marks=pytest.mark.slow)],
    ids=lambda layout: layout.name,
)
def test_variants_in_a_tree_equal_prompts_of_their_own(model, layout):
    study = varied_study(FULL, options=3, topics=("parks",))
    check_against_brute_force(model, study, people(2), layout, every=3)


@pytest.mark.slow
def test_the_full_multiverse_of_ten_items_equals_brute_force(model):
    check_against_brute_force(model, varied_study(FULL), people(2), STUDY_FIRST, every=11)


def planned(model, study, personas, *, layout=STUDY_FIRST, seed=0):
    asking = asking_of(study, personas, seed=seed)
    prompts = Prompts.of(model, asking, layout)
    return assign(asking, cost=lambda rows: prompts.tokens(rows).distinct), prompts


@pytest.mark.parametrize("layout", [STUDY_FIRST, PERSONA_FIRST], ids=lambda layout: layout.name)
def test_the_full_multiverse_computes_little_more_than_its_distinct_tokens(model, layout):
    found, prompts = planned(model, varied_study(FULL), people(20), layout=layout)
    assert found.rows.height == 10 * 24 * 4 * 20
    counts = prompts.tokens(found.rows)
    assert counts.distinct < counts.computed <= 1.15 * counts.distinct


def test_distinct_tokens_are_those_of_a_trie(model):
    """Counted by hand: every beginning of a prompt once; the last token of each is its own, and nodes of answers follow."""
    found, prompts = planned(model, varied_study(FULL, options=3, topics=("parks", "taxes")), people(3))
    table, kinds = prompts.of_rows(found.rows)
    beginnings, ends = set(), set()
    for prefix, prompt, kind in zip(table.pair_prefix, table.pair_prompt, kinds):
        ids = (*table.prefixes[prefix].tolist(), *table.prompts[prompt].tolist())
        beginnings |= {ids[:n] for n in range(1, len(ids))}
        ends.add((ids, kind))
    by_hand = len(beginnings) + sum(1 + prompts.tries[kind].num_nodes for _, kind in ends)
    assert prompts.tokens(found.rows).distinct == by_hand


@pytest.mark.parametrize("number", [1, 2, 7, 60])
def test_a_balanced_assignment_costs_less_than_three_passes(model, number):
    found, prompts = planned(model, varied_study(BALANCED), people(number))
    assert found.cost < 3 * found.one_pass
    assert found.cost == prompts.tokens(found.rows).distinct


def test_a_balanced_assignment_gives_each_variant_a_like_share_and_each_person_two(model):
    found, _ = planned(model, varied_study(BALANCED), people(100))
    rows = found.rows
    of_variant = rows.group_by("item_id", "variant").len()["len"]
    assert rows["variant"].n_unique() > 8
    assert of_variant.max() - of_variant.min() <= 1
    assert set(rows.group_by("item_id", "participant_id").len()["len"]) == {2}
    assert rows.select("item_id", "participant_id", "variant").is_duplicated().sum() == 0
    assert Counter(rows.filter(item_id=rows["item_id"][0])["persona_format"]).keys() == set(PERSONA_FORMATS)


def test_all_arms_are_answered_in_the_same_variants(model):
    found, _ = planned(model, varied_study(BALANCED), people(30))
    study = varied_study(BALANCED)
    arms = {item.item_id: item.condition for item in study.items if item.outcome == "parks"}
    plain, costs = (
        set(found.rows.filter(item_id=item).select("participant_id", "variant").rows()) for item in arms
    )
    assert plain == costs


def test_the_assignment_follows_from_the_seed(model):
    one, again, other = (
        planned(model, varied_study(BALANCED), people(30), seed=seed)[0].rows for seed in (1, 1, 2)
    )
    assert one.equals(again) and not one.equals(other)


def test_swaps_and_hidden_attributes_are_asked_for_less_than_three_passes_too(model):
    declared = "{orders: all, persona_formats: [sentences], swaps: [gender, age], drift: gender}"
    found, _ = planned(model, varied_study(declared), people(60))
    assert found.cost < 3 * found.one_pass
    by_purpose = dict(found.rows.group_by("purpose").agg(pl.col("participant_id").n_unique()).iter_rows())
    assert by_purpose["variant"] == 60
    assert by_purpose["swap"] == by_purpose["base"] == by_purpose["drift"] == 8


def test_a_swap_changes_one_attribute_and_a_hidden_one_is_not_shown(model):
    asking = asking_of(varied_study("{swaps: gender, drift: gender}"), people(10), seed=0)
    for row in asking.checks.iter_rows(named=True):
        own, asked = asking.personas[row["participant_id"]], asking.personas[row["person"]]
        changed = {name for name in own if own[name] != asked[name]}
        assert changed == (set() if row["purpose"] == "base" else {"gender"})
        if row["purpose"] == "drift":
            assert asked["gender"] is None
            assert asking.items[row["asked"]].question == "What is your gender?\n"
            assert asking.items[row["asked"]].scale.labels == ("Female", "Male")


def test_attributes_that_nobody_has_are_refused(model):
    with pytest.raises(
        InputError, match=r"multiverse\.swaps: personas have no attribute 'party'; they have \['age'"
    ):
        predict_variants(model, varied_study("{swaps: party}"), people(4))
    with pytest.raises(InputError, match=r"multiverse\.drift: number of values .* 'household_size' is 30"):
        predict_variants(model, varied_study("{drift: household_size}"), people(30))


def test_what_was_trained_on_is_known_of_variants_too(model, tmp_path):
    """Nothing of this experiment was, so every row says so."""
    store = small_store(tmp_path / "store", studies=1, people=2)
    known = dataclasses.replace(model, trained_on=TrainedOn.of(store, store.responses.join(
        store.items.select("item_id", "study_id"), on="item_id")))  # fmt: skip
    found = predict_variants(known, varied_study("{orders: reversed}", topics=("parks",)), people(2))
    assert set(found.predictions.frame["unseen"]) == {"study"}
