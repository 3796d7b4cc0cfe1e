"""Built-in games: what they pay, what is best, and exact measures of how rational predictions are."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_model import random_model
from small import small_tokenizer
from typer.testing import CliRunner

import data_pipelines
import socsci_jax as sj
from data_pipelines.synthetic.games import best_answer
from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.estimation.games import rationality
from socsci_jax.evaluation.games import game_summary, game_table
from socsci_jax.studies.games import DICTATOR, MOVES, RING, ROCK_PAPER_SCISSORS, game_items

RING_PAYOFFS = np.array([[40.0, 5.0], [0.0, 15.0]])  # U, V against X, Y


def predictions(choose) -> pl.DataFrame:
    """An exact predictions table; `choose` gives the probabilities of a game's item."""
    rows = [
        (
            one.item.item_id,
            "0",
            [float(level) for level in one.item.scale.levels],
            list(map(float, choose(one))),
        )
        for one in game_items()
    ]
    return pl.DataFrame(
        rows, schema=["item_id", "participant_id", "levels", "probs"], orient="row"
    ).with_columns(value=pl.lit(None, pl.Float64))


def sure_of_the_best(one):
    return [float(level == best_answer(one)) for level in one.item.scale.levels]


def uniform(one):
    return [1 / len(one.item.scale.levels)] * len(one.item.scale.levels)


def test_the_ring_of_two_by_hand():
    # Believing Y at 0.5, U is worth 22.5 and V 7.5: U is the best reply to the belief, V to the truth.
    found = rationality(
        np.array([0.3, 0.7]), payoffs=RING_PAYOFFS, truth=np.array([0.0, 1.0]), belief=np.array([0.5, 0.5])
    )
    assert found.rational == pytest.approx(0.7)
    assert found.best_reply == pytest.approx(0.3)
    assert found.belief_distance == pytest.approx(0.5)
    assert found.payoff == pytest.approx(0.3 * 5 + 0.7 * 15)
    assert (found.best_payoff, found.by_chance) == (15.0, 0.5)


def test_two_best_options_count_both():
    found = rationality(
        np.array([0.2, 0.3, 0.5]), payoffs=np.array([[1.0], [1.0], [0.0]]), truth=np.array([1.0])
    )
    assert found.rational == pytest.approx(0.5)
    assert np.isnan(found.best_reply)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 1))
def test_measures_are_probabilities_and_payoffs_within_reach(weights, belief):
    action = (np.array(weights[:2]) + 1e-3) / (np.array(weights[:2]) + 1e-3).sum()
    truth = (np.array(weights[2:]) + 1e-3) / (np.array(weights[2:]) + 1e-3).sum()
    found = rationality(action, payoffs=RING_PAYOFFS, truth=truth, belief=np.array([belief, 1 - belief]))
    assert 0 <= found.rational <= 1 + 1e-12 and 0 <= found.best_reply <= 1 + 1e-12
    assert 0 <= found.belief_distance <= 1
    assert found.payoff <= found.best_payoff + 1e-9


@pytest.mark.parametrize("action", [[0.5, 0.6], [1.2, -0.2], [np.nan, 1.0], [1.0]])
def test_what_are_no_probabilities_is_refused(action):
    with pytest.raises(InputError):
        rationality(np.array(action), payoffs=RING_PAYOFFS, truth=np.array([0.0, 1.0]))


def test_every_case_has_one_best_option_and_every_belief_its_action():
    cases = {}
    for one in game_items():
        cases.setdefault((one.game, one.case), set()).add(one.role)
        value = np.array(one.payoffs) @ np.array(one.truth)
        assert (value == value.max()).sum() == 1
        assert len(one.payoffs) == len(one.item.scale.levels)
    assert {frozenset(roles) for (game, _), roles in cases.items() if game == DICTATOR} == {
        frozenset({"action"})
    }
    assert all(roles == {"action", "belief"} for (game, _), roles in cases.items() if game != DICTATOR)
    assert len(game_items()) == 16 + 90 + 4


@pytest.mark.parametrize(
    ("preference", "best"),
    [("equality", "325"), ("common interest", "400"), ("self-interest", "500"), ("altruism", "100")],
)
def test_each_stated_desire_has_its_split(preference, best):
    for one in game_items():
        if one.case.startswith(preference):
            label = dict(zip(one.item.scale.levels, one.item.scale.labels))[int(best_answer(one))]
            assert label.startswith(f"you get {best} dollars")


def test_what_the_other_player_does_follows_from_the_rounds_that_are_shown():
    beats = {"Rock": "Paper", "Paper": "Scissors", "Scissors": "Rock"}
    for one in game_items():
        if one.game != ROCK_PAPER_SCISSORS or one.role != "belief":
            continue
        rounds = [line.split(": ")[1] for line in one.item.stimulus.splitlines() if line.startswith("Round")]
        own, other = zip(*((part.split(", ")[0][4:], part.split("the other player ")[1]) for part in rounds))
        expected = dict(zip(one.item.scale.labels, one.truth))
        kind = one.case.split(",")[0].split()[0]
        match kind:
            case "always":
                assert len(set(other)) == 1 and expected[other[-1]] == 1
            case "loop":
                assert (
                    other[0] != other[1] and expected[other[1]] == 1
                )  # ten rounds: the second of three comes next
            case "copies":
                assert max(map(other.count, MOVES)) < 6  # nobody who prefers a move
                assert other[1:] == own[:-1] and expected[own[-1]] == 1
            case "counters":
                assert other[1:] == tuple(beats[move] for move in own[:-1]) and expected[beats[own[-1]]] == 1
            case "mostly":
                assert {move: other.count(move) / 10 for move in MOVES} == pytest.approx(expected)


def test_the_other_one_of_the_ring_is_sure_to_choose_y():
    for one in game_items():
        if one.game == RING and one.role == "belief":
            assert dict(zip(one.item.scale.labels, one.truth)) == {"X": 0.0, "Y": 1.0}


def test_a_rational_player_is_rational_and_a_blind_one_is_not():
    best = game_summary(game_table(predictions(sure_of_the_best)))
    assert (best["rational"] == 1).all() and (best["payoff"] == best["best_payoff"]).all()
    assert (best["best_reply"].drop_nulls() == 1).all() and (best["range"] == 0).all()
    blind = game_summary(game_table(predictions(uniform)))
    np.testing.assert_allclose(blind["rational"], blind["by_chance"])
    # Sure of 1 in 3: 2/3 off; 60/20/20: 4/15 off.
    expected = {"mostly Rock": 4 / 15, "always Rock": 2 / 3}
    for situation, distance in expected.items():
        row = blind.filter(pl.col("situation") == situation).row(0, named=True)
        assert row["belief_distance"] == pytest.approx(distance)


def test_who_takes_the_first_option_whatever_it_is_shows_in_the_range():
    first = game_summary(
        game_table(predictions(lambda one: [1.0] + [0.0] * (len(one.item.scale.levels) - 1)))
    )
    assert (first["range"] == 1).all()
    np.testing.assert_allclose(first["rational"], first["by_chance"])


def test_draws_are_shares_and_what_is_no_option_is_counted():
    exact = predictions(sure_of_the_best)
    drawn = pl.concat(
        [
            exact.select("item_id", "participant_id", value=pl.lit(value, pl.Float64) if value else best)
            for value, best in (
                (None, pl.Series([best_answer(one) for one in game_items()])),
                (1.0, None),
                (99.0, None),
                (None, pl.lit(None, pl.Float64)),
            )
        ]
    ).with_columns(levels=pl.lit(None, pl.List(pl.Float64)), probs=pl.lit(None, pl.List(pl.Float64)))
    table = game_table(drawn)
    assert (table["off_scale"] == 0.5).all()
    assert set(table["rational"].to_list()) == {0.5, 1.0}


def test_predictions_without_games_or_without_an_action_are_refused():
    with pytest.raises(InputError, match="none of the built-in games"):
        game_table(predictions(uniform).with_columns(item_id=pl.lit("other")))
    beliefs = [one.item.item_id for one in game_items() if one.role == "belief"]
    with pytest.raises(InputError, match="no action"):
        game_table(predictions(uniform).filter(pl.col("item_id").is_in(beliefs)))


def test_the_games_are_a_store_that_says_what_is_right(tmp_path):
    store = data_pipelines.build("synthetic", "games", tmp_path / "games", command="test")
    assert store.responses.height == len(game_items()) and store.rejects.is_empty()
    again = data_pipelines.build("synthetic", "games", tmp_path / "again", command="test")
    assert again.content_hash == store.content_hash


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    """A random model of the games' words."""
    folder = tmp_path_factory.mktemp("games")
    store = data_pipelines.build("synthetic", "games", folder / "store", command="test")
    opened = random_model((store, None, small_tokenizer(store, folder / "tokenizer")))
    longer = dataclasses.replace(opened.config, max_position_embeddings=1_024)
    return dataclasses.replace(opened, config=longer)


def test_a_model_plays(player, tmp_path, monkeypatch):
    monkeypatch.setattr(sj, "open_model", lambda name: player)
    out = tmp_path / "out.csv"
    result = CliRunner().invoke(app, ["games", "runs/tiny", "-o", str(out)], catch_exceptions=False)
    assert all(text in result.stdout for text in ("self-interest", "mostly Rock", "one shot"))
    table = pl.read_csv(out)
    assert table.height == 16 + 45 + 2
    assert table["rational"].is_between(0, 1).all()


def test_predictions_of_the_games_are_judged_as_the_model_is(player, tmp_path):
    items = [one.item for one in game_items() if one.game == DICTATOR]
    played = sj.predict(player, items, [{}], show_progress=False)
    path, out = played.write(tmp_path / "played.parquet"), tmp_path / "out.parquet"
    CliRunner().invoke(app, ["games", str(path), "-o", str(out)], catch_exceptions=False)
    assert pl.read_parquet(out).equals(game_table(played.frame))
