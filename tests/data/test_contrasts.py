"""Contrasts: statistics of the training part alone, and batches of all arms with the same people."""

import numpy as np
import polars as pl
import pytest
from arms import contrast_shards, plan_of, studies_with_arms

from socsci_jax.data.contrasts import ContrastTargets, contrast_table
from socsci_jax.errors import InputError
from socsci_jax.studies.layouts import PERSONA_FIRST, STUDY_FIRST


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return studies_with_arms(tmp_path_factory.mktemp("arms"))


# --- human statistics -------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_training_answers_alone(world):
    store, split, *_ = world
    train = split.training_responses()
    table = contrast_table(train, store, ContrastTargets(personas=5))
    for item_id, answers, mean, error, histogram, number in table.cells.select(
        "item_id", "answers", "mean", "error", "histogram", "set"
    ).iter_rows():
        item = store.item_by_id[item_id]
        levels = np.array(item.scale.levels)
        arms = [i for i in table.cells.filter(set=number)["item_id"]]
        positions = {
            i: (train.filter(item_id=i)["value"].to_numpy() - levels[0]) / (levels[-1] - levels[0])
            for i in arms
        }
        freedom = sum(len(x) - 1 for x in positions.values())
        pooled = sum(((x - x.mean()) ** 2).sum() for x in positions.values()) / freedom
        assert answers == len(positions[item_id])
        np.testing.assert_allclose([mean, error], [positions[item_id].mean(), np.sqrt(pooled / answers)])
        np.testing.assert_allclose(
            np.array(histogram) @ (levels - levels[0]) / (levels[-1] - levels[0]), mean
        )


def test_held_out_answers_do_not_touch_the_statistics(world):
    store, split, *_ = world
    labeled = split.label()
    changed = labeled.with_columns(
        value=pl.when(pl.col("part") == "train").then(pl.col("value")).otherwise(pl.lit(1.0))
    )
    targets = ContrastTargets(personas=5)
    found = [
        contrast_table(split.training_responses(labeled=frame), store, targets)
        for frame in (labeled, changed)
    ]
    assert found[0].cells.equals(found[1].cells) and found[0].people.equals(found[1].people)


def test_outcomes_with_one_arm_and_nominal_scales_are_refused_and_counted(world):
    store, split, *_ = world
    train = split.training_responses()
    refused = pl.DataFrame(
        contrast_table(train, store, ContrastTargets(personas=5)).refused,
        schema=["item_id", "reason", "responses"],
        orient="row",
    ).join(store.items.select("item_id", "study_id", "outcome"), on="item_id")
    alone = refused.filter(pl.col("reason").str.contains("no other arm"))
    assert set(alone.select("study_id", "outcome").iter_rows()) == {("s3", "taxes"), ("s3", "parks")}
    nominal = refused.filter(pl.col("reason").str.contains("no order"))
    assert set(nominal["outcome"]) == {"topic"}
    assert nominal["responses"].sum() == train.filter(outcome="topic").height
    with_nominal = contrast_table(train, store, ContrastTargets(personas=5, in_order=False))
    assert {"topic", "taxes", "parks"} == {store.item_by_id[i].outcome for i in with_nominal.cells["item_id"]}


def test_statistics_of_groups_are_asked_of_people_of_the_group(world):
    store, split, *_ = world
    train = split.training_responses()
    table = contrast_table(train, store, ContrastTargets(personas=50, condition_on=("gender",)))
    gender = {
        key: attributes["gender"]
        for *key, attributes in store.participants.select(
            "study_id", "participant_id", "attributes"
        ).iter_rows()
        for key in [tuple(key)]
    }
    for (number,), people in table.people.group_by("set"):
        [of_group] = {gender[key] for key in people.select("study_id", "participant_id").iter_rows()}
        for item_id, answers in table.cells.filter(set=number).select("item_id", "answers").iter_rows():
            keys = train.filter(item_id=item_id).select("study_id", "participant_id").iter_rows()
            assert answers == sum(gender[key] == of_group for key in keys)


# --- the plan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [STUDY_FIRST, PERSONA_FIRST], ids=lambda layout: layout.name)
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_all_arms_of_an_outcome_stand_in_one_micro_batch_with_the_same_people(world, layout, micro_batches):
    shards = contrast_shards(world, layout=layout)
    plan = plan_of(shards, micro_batches=micro_batches)
    lengths = shards.lengths
    seen = []
    for step in range(plan.steps(1)):
        rows = plan.batch(step)
        size = plan.rows // micro_batches
        for start in range(0, len(rows), size):
            found: dict[int, dict[int, dict[int, int]]] = {}
            for row in rows[start : start + size]:
                c = row.contrasted
                for branch, group, cell, half in zip(row.branch, c.group, c.cell, c.half):
                    found.setdefault(group, {}).setdefault(cell, {})[int(lengths.branch_person[branch])] = (
                        half
                    )
                    seen.append(branch)
            for arms in found.values():
                [number] = {lengths.cell_set[cell] for cell in arms}
                assert set(arms) == set(np.flatnonzero(lengths.cell_set == number))
                people = list(arms.values())
                assert all(of_arm == people[0] for of_arm in people)
                assert {0, 1} == set(people[0].values())
    # In an epoch every person is asked about every arm once.
    assert sorted(seen) == list(range(len(lengths.branch_cell)))


def test_a_step_is_a_function_of_seed_and_number(world):
    shards = contrast_shards(world)
    steps = plan_of(shards).steps(3)

    def branches(plan, step):
        return [row.branch.tolist() for row in plan.batch(step)]

    forward = plan_of(shards)
    in_order = [branches(forward, step) for step in range(steps)]
    assert [branches(plan_of(shards), step) for step in reversed(range(steps))] == in_order[::-1]
    assert [branches(plan_of(shards, seed=1), step) for step in range(steps)] != in_order


def test_rows_hold_what_was_planned_in_one_shape(world):
    shards = contrast_shards(world)
    plan = plan_of(shards)
    for step in range(plan.steps(1)):
        for row in plan.batch(step):
            length = plan.lengths.branch_whole[row.branch] - row.shared
            assert length.sum() <= plan.shape.tokens
            assert (plan.lengths.branch_needs[row.branch].sum(axis=0) <= plan.shape.needs).all()
    assert 0 <= plan.padding_share() < 1


def test_an_outcome_that_no_micro_batch_holds_is_named_with_what_to_change(world):
    with pytest.raises(InputError, match=r"an outcome with 3 arms takes for \d people .* raise batch.rows"):
        plan_of(contrast_shards(world), rows=1, tokens_per_row=256)
