"""Personas and their weights."""

import numpy as np
import polars as pl
import pytest

from socsci_jax.errors import InputError
from socsci_jax.forecasting.population import population

PEOPLE = [{"gender": g, "age": a} for g in ("Female", "Male") for a in ("young", "old", "old")]
MARGINS = {"gender": {"Female": 0.7, "Male": 0.3}, "age": {"young": 0.5, "old": 0.5}}


def test_raked_personas_have_every_margin():
    found = population(PEOPLE, margins=MARGINS)
    shares = found.shares()
    assert np.allclose(shares["weighted"], shares["margin"], atol=1e-5)
    assert shares["unweighted"].to_list() == pytest.approx([0.5, 0.5, 2 / 3, 1 / 3])


def test_weights_cost_effective_sample_size():
    assert population(PEOPLE).effective_size == pytest.approx(6)
    # Both margins are independent, so a weight is a product: (.35, .175, .175) for women, (.15, .075, .075) for men.
    squares = 0.35**2 + 2 * 0.175**2 + 0.15**2 + 2 * 0.075**2
    assert population(PEOPLE, margins=MARGINS).effective_size == pytest.approx(1 / squares, rel=1e-4)


def test_margins_without_such_a_persona_are_refused():
    with pytest.raises(InputError, match="no persona has 'Other'"):
        population(PEOPLE, margins={"gender": {"Female": 0.5, "Male": 0.4, "Other": 0.1}})


def test_margins_that_no_weights_reach_together_are_refused():
    people = [{"gender": "Female", "age": "young"}, {"gender": "Male", "age": "old"}]
    with pytest.raises(InputError, match="no weights of these personas reach all margins"):
        population(people, margins=MARGINS | {"age": {"young": 0.2, "old": 0.8}})


def test_margins_that_do_not_sum_to_one_are_refused():
    with pytest.raises(InputError, match=r"margins.gender: shares sum to 0.8"):
        population(PEOPLE, margins={"gender": {"Female": 0.5, "Male": 0.3}})


def test_of_many_personas_some_are_drawn_by_their_survey_weights():
    people = pl.DataFrame({"kind": ["rare"] * 500 + ["usual"] * 500, "weight": [0.01] * 500 + [1.0] * 500})
    found = population(people, most=100)
    assert found.personas.height == 100
    assert (found.personas["kind"] == "usual").mean() > 0.9


@pytest.mark.parametrize("weight", ["nan", "-1", "1e308", "inf", "1e-13", "0"])
def test_a_weight_that_sums_to_no_number_is_refused(weight):
    people = pl.DataFrame({"age": ["34", "61"], "weight": [weight, weight]})
    with pytest.raises(InputError, match="a weight is neither 0 nor a number from 1e-12 to 1e"):
        population(people)
