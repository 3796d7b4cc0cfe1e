"""Simulation: exact distributions are those of brute force, draws are reproducible, mistakes are named."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_model import brute_force, last_hidden_state, random_model
from small import small_item, small_store, small_tokenizer

from socsci_jax.data.prompt_table import tokenize_prompts
from socsci_jax.data.trees import grow_branch
from socsci_jax.data.tries import build_trie
from socsci_jax.errors import InputError
from socsci_jax.simulation import predict as predict_module
from socsci_jax.simulation.chunks import FinishedChunks
from socsci_jax.simulation.exact import exact_distributions
from socsci_jax.simulation.hidden import hidden_states
from socsci_jax.simulation.model import SimulationModel, params_hash
from socsci_jax.simulation.requests import rows_of_requests
from socsci_jax.simulation.sampling import Sampling, nucleus, parse_number, sample_answers
from socsci_jax.simulation.simulate import simulate
from socsci_jax.studies.layouts import INTERVIEW, PERSONA_FIRST, STUDY_FIRST
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import read_predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.studies.trained_on import TrainedOn


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulation")
    store = small_store(folder / "store", people=4)
    return store, Split.load(store, "main"), small_tokenizer(store, folder / "tokenizer")


@pytest.mark.parametrize(
    "layout",
    [STUDY_FIRST, *(pytest.param(layout, marks=pytest.mark.slow) for layout in (PERSONA_FIRST, INTERVIEW))],
    ids=lambda layout: layout.name,
)
def test_exact_distributions_equal_brute_force(world, tmp_path, layout):
    """Invariant 6, on 1 to 5 and on 0 to 100, where answers share digits and "1" is not "10"."""
    store, split, _ = world
    asked = random_model(world)
    simulate(asked, store, split, out=tmp_path / "p.parquet", layout=layout, allow_other_layout=True)
    frame = read_predictions(tmp_path / "p.parquet", store).frame
    for levels in ([1, 2, 3, 4, 5], list(range(101))):
        row = frame.filter(pl.col("levels") == levels).row(0, named=True)
        pair = store.responses.filter(
            (pl.col("item_id") == row["item_id"]) & (pl.col("participant_id") == row["participant_id"])
        ).join(store.items.select("item_id", "study_id"), on="item_id")
        table = tokenize_prompts(Pairs.of_store(store, pair), layout=layout, tokenizer=asked.tokenizer)
        prompt = [*table.prefixes[0].tolist(), *table.prompts[0].tolist()]
        probs, mass = brute_force(asked, prompt, levels)
        np.testing.assert_allclose(row["probs"], probs, atol=1e-5)
        np.testing.assert_allclose(row["mass_on_levels"], mass, rtol=1e-4)
        assert sum(row["probs"]) == pytest.approx(1, abs=1e-9)


def test_every_held_out_person_gets_a_distribution(world, tmp_path):
    store, split, _ = world
    simulate(random_model(world), store, split, out=tmp_path / "p.parquet", layout=STUDY_FIRST)
    predictions = read_predictions(tmp_path / "p.parquet", store)
    held_out = split.label().filter(pl.col("part") != "train")
    keys = ["item_id", "participant_id"]
    assert set(predictions.frame.select(keys).rows()) == set(held_out.select(keys).rows())
    assert predictions.metadata["layout"]["name"] == "study_first"
    assert len(predictions.metadata["model_hash"]) == 64


def test_a_part_can_be_asked_for_alone(world, tmp_path):
    store, split, _ = world
    parts = ["unseen_participants"]
    count = simulate(random_model(world), store, split, out=tmp_path / "p", layout=STUDY_FIRST, parts=parts)
    assert count == split.label().filter(pl.col("part") == "unseen_participants").height
    with pytest.raises(InputError, match="'unseen_people' is not known"):
        simulate(
            random_model(world), store, split, out=tmp_path / "q", layout=STUDY_FIRST, parts=["unseen_people"]
        )


@pytest.mark.slow
def test_a_simulation_that_was_stopped_goes_on_and_ends_with_the_same_bytes(world, tmp_path, monkeypatch):
    store, split, _ = world
    asked = random_model(world)
    settings = {"layout": STUDY_FIRST, "pairs_per_chunk": 4}
    simulate(asked, store, split, out=tmp_path / "whole.parquet", **settings)

    computed = []

    def stops_at_third(*arguments, **settings):
        computed.append(len(computed))
        if len(computed) == 3:
            raise KeyboardInterrupt
        return exact_distributions(*arguments, **settings)

    monkeypatch.setattr(predict_module, "exact_distributions", stops_at_third)
    with pytest.raises(KeyboardInterrupt):
        simulate(asked, store, split, out=tmp_path / "stopped.parquet", **settings)
    assert not (tmp_path / "stopped.parquet").exists()
    simulate(asked, store, split, out=tmp_path / "stopped.parquet", **settings)

    parts = len(computed) - 1
    assert parts > 3, "the first two parts were not computed again, the third was"
    assert (tmp_path / "stopped.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped.parquet", "whole.parquet"]


def test_parts_of_another_model_are_not_taken_over(tmp_path):
    def begun(model: str) -> FinishedChunks:
        parts = FinishedChunks(tmp_path / "out.parquet", {"model_hash": model})
        parts.begin()
        return parts

    begun("one").write(0, pl.DataFrame({"item_id": ["a"]}))
    assert begun("one").numbers() == {0}
    assert begun("two").numbers() == set()
    assert begun("one").numbers() == set(), "a simulation in between discards what there was"


@pytest.mark.slow
def test_eight_devices_predict_as_one_does(world, tmp_path):
    store, split, _ = world
    frames = []
    for sizes in ((1, 1, 1), (2, 2, 2)):
        simulate(
            random_model(world, sizes=sizes), store, split, out=tmp_path / f"{sizes}", layout=STUDY_FIRST
        )
        frames.append(read_predictions(tmp_path / f"{sizes}", store).frame)
    for name in ("probs", "mass_on_levels"):
        one, eight = (np.concatenate([np.ravel(v) for v in frame[name].to_list()]) for frame in frames)
        np.testing.assert_allclose(one, eight, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fed", [range(1, 6), (2, 77)], ids=["all levels fed", "most draws leave what is fed"]
)
def test_draws_follow_the_exact_distribution(world, tmp_path, fed):
    """With temperature 1 and the whole nucleus, the draws of one person are draws from the model."""
    store, split, _ = world
    asked = random_model(world)
    simulate(asked, store, split, out=tmp_path / "exact", layout=STUDY_FIRST)
    exact = read_predictions(tmp_path / "exact", store).frame
    row = exact.sort("mass_on_levels", descending=True).row(0, named=True)
    pair = split.pairs().where(
        (pl.col("item_id") == row["item_id"]) & (pl.col("participant_id") == row["participant_id"])
    )
    table = tokenize_prompts(pair, layout=STUDY_FIRST, tokenizer=asked.tokenizer)
    sampling = Sampling(draws=500, temperature=1.0, top_p=1.0, seed=0)
    tries = [
        build_trie(
            asked.tokenizer.encode_batch([str(n) for n in fed]), end_id=asked.tokenizer.end_of_answer_id
        )
    ]
    (drawn,) = sample_answers(asked, table, keys=["the person"], sampling=sampling, tries=tries)
    for level, prob in zip(row["levels"], row["probs"]):
        expected = prob * row["mass_on_levels"]
        share = sum(value == level for value in drawn) / 500
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / 500) + 2e-3


def writes_numbers(asked: SimulationModel) -> SimulationModel:
    """The model with a head that gives all tokens but digits and the end of an answer a logit of 0."""
    digits = [ids[0] for ids in asked.tokenizer.encode_batch([str(n) for n in range(10)])]
    head = asked.params["lm_head"]["weight"]
    written = jnp.zeros(head.shape[1]).at[jnp.array([*digits, asked.tokenizer.end_of_answer_id])].set(8.0)
    return dataclasses.replace(asked, params={**asked.params, "lm_head": {"weight": head * written}})


def test_draws_do_not_depend_on_what_else_is_asked(world, tmp_path):
    store, split, _ = world
    sampling = Sampling(draws=2, seed=4, max_tokens=4, temperature=1.5)
    asked = writes_numbers(random_model(world))
    simulate(asked, store, split, out=tmp_path / "all", layout=STUDY_FIRST, sampling=sampling)
    parts = ["unseen_conditions"]
    simulate(asked, store, split, out=tmp_path / "some", layout=STUDY_FIRST, parts=parts, sampling=sampling)
    keys = ["item_id", "participant_id", "draw"]
    every, some = (read_predictions(tmp_path / name, store).frame for name in ("all", "some"))
    joined = some.join(every, on=keys, how="left", suffix="_all")
    assert joined["value"].drop_nulls().n_unique() > 1
    assert joined["value"].eq_missing(joined["value_all"]).all()


def test_the_nucleus_holds_the_token_that_crosses_top_p():
    probs = np.array([0.5, 0.3, 0.15, 0.05])
    logits = jnp.log(probs[[2, 0, 3, 1]])[None]
    ids, cumulative, whole = nucleus(logits, temperature=1.0, top_p=0.6, largest=4)
    assert ids[0].tolist() == [1, 3, 0, 2]
    np.testing.assert_allclose(cumulative[0], [0.5, 0.8, 0.8, 0.8], rtol=1e-6)
    assert whole[0]


@pytest.mark.parametrize("top_p", [0.1, 1.0])
def test_at_temperature_0_the_nucleus_is_the_most_probable_token(top_p):
    ids, cumulative, whole = nucleus(
        jnp.asarray([[0.5, 4.0, 2.0], [3.0, 3.0, 0.0]]), temperature=0.0, top_p=top_p, largest=2
    )
    picked = ids[jnp.arange(2), jnp.argmax(cumulative >= 0.99, axis=-1)]
    assert picked.tolist() == [1, 0]
    assert whole.all()


@pytest.mark.parametrize("temperature", [1e-40, 1e-29])
def test_a_temperature_that_no_logit_can_be_divided_by_takes_the_most_probable_token(temperature):
    logits = jnp.asarray([[0.5, 4.0, 2.0], [3e38, -3e38, 1e38]])
    ids, cumulative, _ = nucleus(logits, temperature=temperature, top_p=0.9, largest=3)
    assert ids[:, 0].tolist() == [1, 0] and cumulative[:, 0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "setting",
    [
        {"temperature": float("nan")},
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"draws": 10**9},
        {"max_tokens": 0},
        {"seed": -1},
    ],
)
def test_settings_of_sampling_that_are_none_are_refused(setting):
    with pytest.raises(InputError, match=f"{next(iter(setting))} is"):
        Sampling(**setting)


def test_the_nucleus_says_whether_the_largest_are_enough():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
    assert nucleus(logits, temperature=1.0, top_p=0.7, largest=2)[2][0]
    assert not nucleus(logits, temperature=1.0, top_p=0.9, largest=2)[2][0]


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), (" 7\n", 7), ("-2", -2), ("$1,000", 1000), ("50%", 50), ("2.5", 2.5), ("10.", 10)],
)
def test_a_number_is_read_from_an_answer(text, number):
    assert parse_number(text) == number


@given(st.text(max_size=12))
def test_what_is_not_a_number_is_never_read_as_one(text):
    value = parse_number(text)
    assert value is None or any(c.isdigit() for c in text)


@pytest.mark.parametrize("text", ["", "five", "5 or 6", "1,00", "12 people", "1e5", "--3"])
def test_a_longer_text_is_not_a_number(text):
    assert parse_number(text) is None


def test_a_model_that_writes_rationales_is_sampled_and_its_number_read_after_them(world, tmp_path):
    store, split, _ = world
    asked = random_model(world)
    asked.metadata["recipe"] = {"data": {"rationales": "texts.csv", "rationale_end": " So: "}}
    with pytest.raises(InputError, match="writes a rationale before its number"):
        simulate(asked, store, split, out=tmp_path / "p.parquet", layout=STUDY_FIRST)
    sampling = Sampling(number_after=" So: ")
    assert sampling.number("It costs 3 dollars. So: 5") == 5
    assert sampling.number("So far 3. So: 4. So: 12") == 12
    assert sampling.number("It costs 3") is None
    assert sampling.number("It costs. So: much") is None


def test_another_layout_than_that_of_training_must_be_asked_for(world):
    asked = random_model(world)
    assert asked.choose_layout() == STUDY_FIRST
    with pytest.raises(InputError, match="trained with layout 'study_first', asked to predict with"):
        asked.choose_layout("persona_first")
    assert asked.choose_layout("persona_first", allow_other=True) == PERSONA_FIRST


def test_the_order_of_answers_is_that_of_levels(world, tmp_path):
    store, split, _ = world
    simulate(random_model(world), store, split, out=tmp_path / "p", layout=STUDY_FIRST)
    frame = read_predictions(tmp_path / "p", store).frame
    assert all(list(levels) == sorted(levels) for levels in frame["levels"])
    assert {len(levels) for levels in frame["levels"]} == {5, 101}
    assert all(
        len(p) == len(levels) for p, levels in itertools.islice(zip(frame["probs"], frame["levels"]), 50)
    )


def test_a_long_prefix_is_computed_once_for_many_people():
    people, trie = 100, build_trie([[7], [8]], end_id=1)
    branches = [
        grow_branch(np.arange(50) + 50 * person, trie, np.zeros(len(trie.edge_id)))
        for person in range(people)
    ]
    [rows] = rows_of_requests(
        [np.arange(3000)], np.zeros(people, int), branches, tokens_per_row=4096, sharing="prefix"
    )
    assert len(rows.request) == people
    assert rows.rows.ids.shape == (1, 12_288)


def test_offered_alternatives_are_predicted_with_the_levels(world, tmp_path):
    scale = Scale.of_levels((1, 1.5, 2), origin="codebook", alternatives={8: "Don't know"})
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0", command="test")
    builder.add_study("s")
    item_id = builder.add_item(small_item("s", "c", "o", scale))
    for person in range(4):
        builder.add_participant("s", f"p{person}", {})
        builder.add_response(item_id, f"p{person}", 1.5 if person else 8, sample_id=person)
    store = builder.write(tmp_path / "store")
    split = make_split(store, name="some", seed=0, participants=0.5)
    layout = dataclasses.replace(STUDY_FIRST, alternatives="offered")
    asked = dataclasses.replace(random_model(world), layout=layout)
    simulate(asked, store, split, out=tmp_path / "p.parquet", layout="study_first")
    found = read_predictions(tmp_path / "p.parquet", store)
    assert found.frame["levels"].to_list() == [[1, 1.5, 2, 8]] * 2
    assert found.metadata["layout"]["alternatives"] == "offered"


def test_held_out_studies_that_resemble_what_was_trained_on_are_named(world, tmp_path, caplog):
    """The studies of this store differ in one word of their texts."""
    store, split, _ = world
    trained = TrainedOn.of(store, split.training_responses())
    asked = dataclasses.replace(random_model(world), trained_on=trained)
    simulate(asked, store, split, out=tmp_path / "p.parquet", parts=["unseen_studies"])
    found = read_predictions(tmp_path / "p.parquet", store).metadata["resembling"]
    held = split.units("unseen_studies")["study_id"].to_list()
    assert [study for study, _, _ in found] == held and found[0][1] not in held
    assert f"Held-out study {held[0]} resembles" in caplog.text


# ---- hidden states ----


def test_hidden_states_are_those_of_the_last_token_of_each_prompt_of_nobody(world):
    store, _, _ = world
    asked = random_model(world)
    found = hidden_states(asked, store, layout=STUDY_FIRST)
    closed = {i for i, item in store.item_by_id.items() if item.scale.kind == "levels"}
    assert set(found.by_item) == closed
    assert found.metadata["model_hash"] == params_hash(asked.params)
    for item_id in sorted(closed)[:3]:
        table = tokenize_prompts(
            Pairs.cross(store.item_by_id[item_id], [{}]), layout=STUDY_FIRST, tokenizer=asked.tokenizer
        )
        prompt = [*table.prefixes[0].tolist(), *table.prompts[0].tolist()]
        state = found.by_item[item_id]
        assert state.dtype == np.float16
        np.testing.assert_allclose(state, last_hidden_state(asked, prompt), rtol=1e-3, atol=1e-4)
