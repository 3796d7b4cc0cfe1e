"""Objectives: pairs and distributions are drawn as they say, losses are their formulas, and trees change nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy.stats import wasserstein_distance
from small import small_config, small_item, small_store, small_tokenizer

from socsci_jax.data.branch_targets import Targets
from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.rationales import read_rationales
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.data.targets import target_table
from socsci_jax.errors import InputError
from socsci_jax.models.modules import init
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.training.objectives import Objective, dpo, soft, wasserstein
from socsci_jax.training.step import loss_and_gradients

PAIRS = Targets(kind="pairs", pairs_per_response=2, seed=3)
DISTRIBUTIONS = Targets(kind="distributions", condition_on=("gender",))
COMPARED = [
    (Objective(kind="dpo", sft_share=0.0, beta=0.7), PAIRS),
    (Objective(kind="soft", sft_share=0.3), DISTRIBUTIONS),
    (Objective(kind="wasserstein", sft_share=0.0), DISTRIBUTIONS),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objectives")
    store = small_store(folder / "store", studies=2, people=8)
    return store, Split.load(store, "main"), small_tokenizer(store, folder / "tokenizer")


def responses(*answers: tuple[str, float]) -> pl.DataFrame:
    """Answers (item_id, value) of as many people, each with a prompt of their own."""
    n = len(answers)
    return pl.DataFrame(
        {
            "item_id": [item for item, _ in answers],
            "study_id": ["s"] * n,
            "participant_id": [f"p{i}" for i in range(n)],
            "sample_id": list(range(n)),
            "value": [float(value) for _, value in answers],
            "prefix": [0] * n,
            "rank": list(range(n)),
            "weight": pl.Series([None] * n, dtype=pl.Float64),
        }
    )


def test_the_rejected_answer_is_another_persons_different_answer_to_the_same_item(world):
    store = world[0]
    train = responses(*[("a", v) for v in (1, 1, 2, 3, 3, 3)], *[("b", v) for v in (7, 8)])
    found = target_table(train, store, dataclasses.replace(PAIRS, pairs_per_response=500), merged=True)
    given = {"a": {1.0: 2, 2.0: 1, 3.0: 3}, "b": {7.0: 1, 8.0: 1}}
    for person, asked in enumerate(found.targets):
        item, own = train["item_id"][person], train["value"][person]
        chosen = {float(asked.texts[pair[0]]) for pair in asked.answers}
        rejected = {
            float(asked.texts[pair[1]]): weight / 500 for pair, weight in zip(asked.answers, asked.weight)
        }
        others = {value: count for value, count in given[item].items() if value != own}
        assert chosen == {own}
        assert rejected.keys() == others.keys()
        for value, count in others.items():
            # Every other person is equally likely: five standard errors.
            share = count / sum(others.values())
            assert abs(rejected[value] - share) <= 5 * (share * (1 - share) / 500) ** 0.5


def test_pairs_are_seeded_and_do_not_depend_on_the_order_of_rows(world):
    store = world[0]
    train = responses(*[("a", v % 5) for v in range(40)])

    def drawn(rows, seed):
        found = target_table(rows, store, dataclasses.replace(PAIRS, seed=seed), merged=True)
        return [(asked.texts, asked.answers, asked.weight) for asked in found.targets]

    assert drawn(train, 3) == drawn(train.sample(fraction=1.0, shuffle=True, seed=1), 3)
    assert drawn(train, 3) != drawn(train, 4)


def test_items_that_all_answer_alike_have_no_pairs_and_are_counted(world):
    store = world[0]
    found = target_table(responses(("a", 1), ("a", 1), ("b", 1), ("b", 2)), store, PAIRS, merged=True)
    assert found.refused.rows() == [("a", "nobody gave another answer to this item", 2)]
    assert len(found.targets) == 2


def test_targets_are_histograms_of_people_who_are_alike(world):
    store, split, _ = world
    train = split.training_responses().with_columns(prefix=pl.lit(0), rank=pl.int_range(pl.len()))
    found = target_table(train, store, DISTRIBUTIONS, merged=True)
    genders = dict(
        zip(
            store.participants.select("study_id", "participant_id").iter_rows(),
            store.participants["attributes"].struct.field("gender"),
        )
    )
    people = train.with_columns(
        gender=pl.Series([genders[key] for key in train.select("study_id", "participant_id").iter_rows()])
    )
    for person, asked in list(enumerate(found.targets))[::7]:
        row = people.row(person, named=True)
        alike = people.filter(item_id=row["item_id"], gender=row["gender"])["value"].to_list()
        levels = store.item_by_id[row["item_id"]].scale.levels
        assert asked.texts == tuple(map(str, levels))
        np.testing.assert_allclose(asked.target[0], [alike.count(v) / len(alike) for v in levels])
        assert asked.counts == tuple(float(v == row["value"]) for v in levels)
        np.testing.assert_allclose(sum(asked.gap[0]), 1)


def test_a_rationale_stands_before_the_number_and_responses_without_one_are_counted(world, tmp_path):
    train = responses(("a", 1), ("a", 1), ("b", 2))
    path = tmp_path / "rationales.csv"
    path.write_text("item_id,participant_id,rationale\na,p0,Costs matter.\na,p1,Parks are nice.\n")
    found = target_table(
        train, world[0], Targets(), merged=True, rationales=read_rationales(path, end=" So: ")
    )
    assert [asked.texts for asked in found.targets] == [("Costs matter. So: 1",), ("Parks are nice. So: 1",)]
    assert found.refused.rows() == [("b", "no rationale was supplied for the response", 1)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("item_id,rationale\na,x\n", "column 'participant_id' is missing"),
        ("item_id,participant_id,rationale\na,p,x\na,p,y\n", "item 'a', participant 'p' twice"),
        ("item_id,participant_id,rationale\na,p, \n", "no text for item 'a', participant 'p'"),
    ],
)
def test_a_table_of_rationales_that_is_wrong_is_refused(tmp_path, content, found):
    path = tmp_path / "rationales.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=found):
        read_rationales(path, end="\n")


def test_an_unknown_attribute_is_named(world):
    store, split, _ = world
    train = split.training_responses().with_columns(prefix=pl.lit(0), rank=pl.lit(0))
    with pytest.raises(InputError, match=r"'income' is no attribute .* known are age, gender"):
        target_table(train, store, Targets(kind="distributions", condition_on=("income",)), merged=True)


def random_answers(rng, levels=(5, 3)):
    """Log-probabilities of two comparisons with different numbers of answers, padded to one size."""
    most = max(levels)
    real = np.arange(most) < np.array(levels)[:, None]
    answers = np.where(real, np.log(rng.random((2, most))), 0.0)[None]
    target = np.where(real, rng.random((2, most)), 0.0)
    return answers, real[None], (target / target.sum(-1, keepdims=True))[None]


def test_soft_is_the_cross_entropy_among_allowed_answers():
    answers, real, target = random_answers(np.random.default_rng(0))
    weight = np.array([[2.0, 3.0]])
    wanted = 0.0
    for c, levels in enumerate((5, 3)):
        p = np.exp(answers[0, c, :levels])
        wanted -= weight[0, c] * np.sum(target[0, c, :levels] * np.log(p / p.sum()))
    np.testing.assert_allclose(soft(answers, real, target, weight), wanted, rtol=1e-5)


def test_wasserstein_is_that_of_scipy_on_a_scale_of_range_one():
    answers, real, target = random_answers(np.random.default_rng(1))
    places = [np.array([0, 0.25, 0.5, 0.75, 1]), np.array([0, 0.3, 1])]
    gap = np.zeros((1, 2, 5))
    gap[0, 0, :4], gap[0, 1, :2] = np.diff(places[0]), np.diff(places[1])
    weight = np.array([[2.0, 3.0]])
    wanted = sum(
        weight[0, c]
        * wasserstein_distance(place, place, np.exp(answers[0, c, : len(place)]), target[0, c, : len(place)])
        for c, place in enumerate(places)
    )
    np.testing.assert_allclose(wasserstein(answers, real, target, gap, weight), wanted, rtol=1e-5)


def test_dpo_is_its_formula_and_log_2_at_the_start():
    rng = np.random.default_rng(2)
    answers, reference = -rng.random((1, 4, 2)), -rng.random((1, 4, 2))
    weight = np.array([[1.0, 2.0, 1.0, 0.0]])
    margin = 0.3 * ((answers - reference)[..., 0] - (answers - reference)[..., 1])
    wanted = np.sum(weight * np.log1p(np.exp(-margin)))
    np.testing.assert_allclose(dpo(answers, reference, weight, beta=0.3), wanted, rtol=1e-5)
    np.testing.assert_allclose(dpo(answers, answers, weight, beta=0.3), 4 * np.log(2), rtol=1e-5)


def whole_epoch(world, config, objective, targets, *, branches, sharing, micro_batches=1):
    """Mean loss and gradients over all training responses in one batch, against a reference that differs."""
    store, split, tokenizer = world
    shards = TreeShards(
        build_shards(
            store,
            split,
            split.training_responses(),
            tokenizer=tokenizer,
            layout=STUDY_FIRST,
            root=store.path / "shards",
            sharing=sharing,
            max_tokens=512,
            targets=targets,
        )
    )
    one = BatchPlan(shards.lengths, rows=1, tokens_per_row=512, branches_per_tree=branches, seed=0)
    rows = -(-one.steps(1) // micro_batches) * micro_batches
    plan = BatchPlan(shards.lengths, rows=rows, tokens_per_row=512, branches_per_tree=branches, seed=0)
    own = slice(0, rows // micro_batches)
    batch = PlannedRows(shards, plan, steps=1, micro_batches=micro_batches, own=own)[0]
    # The same for the same pair wherever it stands: a function of what is compared.
    batch["answer_reference"] = -0.1 * (batch["answer_path"] >= 0).sum(-1).astype(np.float32)
    function = jax.jit(
        functools.partial(
            loss_and_gradients, config=config, objective=objective, compute_dtype=jnp.float32, remat="none"
        )
    )
    return function(init(config, key=jax.random.key(0)), batch)


# Fast is the same of sft, in test_training.py.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "targets"),
    COMPARED,
    ids=lambda value: getattr(value, "kind", ""),
)
def test_trees_and_merging_change_no_objective(world, objective, targets):
    """Invariants 1, 4 and 7 for objectives that compare answers: shared, merged and in micro-batches, or each alone."""
    config = small_config(world[2])
    merged = whole_epoch(world, config, objective, targets, branches=4, sharing="all", micro_batches=2)
    alone = whole_epoch(world, config, objective, targets, branches=1, sharing="prefix")
    np.testing.assert_allclose(merged[0], alone[0], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(merged[2]), jax.tree.leaves(alone[2]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(alone[2])) > 1e-3, "nothing was learned"


ALTERNATIVES = Scale.of_levels((1, 2, 3), origin="codebook", alternatives={8: "Don't know"})


@pytest.fixture(scope="module")
def store_with_alternatives(tmp_path_factory):
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0", command="test")
    builder.add_study("s")
    item_id = builder.add_item(small_item("s", "c", "o", ALTERNATIVES))
    for person, value in enumerate((1, 1, 3, 8)):
        builder.add_participant("s", f"p{person}", {})
        builder.add_response(item_id, f"p{person}", value, sample_id=person)
    return builder.write(tmp_path_factory.mktemp("alternatives") / "store")


def targets_of(store, kind: Targets, **settings):
    rows = store.responses.with_columns(study_id=pl.lit("s"), prefix=pl.lit(0), rank=pl.lit(0))
    return target_table(rows, store, kind, merged=True, **settings)


def test_withheld_alternatives_are_not_trained_on_and_are_counted(store_with_alternatives):
    found = targets_of(store_with_alternatives, Targets(), alternatives="withheld")
    assert [(asked.texts, asked.counts) for asked in found.targets] == [(("1", "3"), (2, 1))]
    assert found.refused.select("reason", "responses").rows() == [
        ("answer 8 is an alternative, which is withheld", 1)
    ]


def test_offered_alternatives_are_answers_like_others(store_with_alternatives):
    (asked,) = targets_of(store_with_alternatives, Targets(), alternatives="offered").targets
    assert asked.texts == ("1", "3", "8")


def test_a_histogram_has_a_share_for_each_offered_alternative(store_with_alternatives):
    kind = Targets(kind="distributions")
    (asked,) = targets_of(store_with_alternatives, kind, alternatives="offered").targets
    assert (asked.texts, asked.target[0]) == (("1", "2", "3", "8"), (0.5, 0, 0.25, 0.25))


def test_a_distance_never_runs_through_an_alternative(store_with_alternatives):
    kind = Targets(kind="distributions", in_order=True)
    found = targets_of(store_with_alternatives, kind, alternatives="offered")
    assert (found.targets[0].texts, found.targets[0].gap) == (("1", "2", "3"), ((0.5, 0.5, 0.0),))
    assert found.refused["responses"].to_list() == [1]
