"""Alternatives beside the order of a scale: their shares are kept, and no distance runs through them."""

import numpy as np
import polars as pl
import pytest
from evaluation_example import filled

from socsci_jax.evaluation.alternatives import alternatives_of
from socsci_jax.evaluation.cells import PredictionIndex
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item

SCALE = Scale.of_levels((1, 2, 3), origin="codebook", alternatives={8: "Don't know", 9: "Refused"})
ITEM = Item(
    study_id="s", condition="c", outcome="o", stimulus="", question="?", answer_format="", scale=SCALE
)
ANSWERS = pl.DataFrame({"participant_id": ["a", "b", "c", "d"], "value": [1.0, 3.0, 8.0, 8.0]})
EXACT = pl.DataFrame(
    {
        "item_id": ["i"],
        "participant_id": [None],
        "levels": [[1.0, 2.0, 3.0, 8.0]],
        "probs": [[0.2, 0.1, 0.1, 0.6]],
    }
)
DRAWN = pl.DataFrame(
    {
        "item_id": ["i"] * 4,
        "participant_id": ["a", "b", "c", "d"],
        "draw": [0] * 4,
        "value": [1.0, 9.0, 8.0, 55.0],
    }
)


@pytest.mark.parametrize(
    ("exact", "drawn", "observed", "predicted", "people"),
    [(EXACT, None, [0.5, 0], [0.6, 0], 4), (None, DRAWN, [1 / 3, 0], [1 / 3, 1 / 3], 3)],
    ids=["exact", "drawn"],
)
def test_shares_are_those_of_the_people_who_have_a_prediction(exact, drawn, observed, predicted, people):
    found = alternatives_of(SCALE, ANSWERS, exact=exact, drawn=drawn)
    np.testing.assert_allclose(found.observed_a, observed)
    np.testing.assert_allclose(found.predicted_a, predicted)
    assert found.people == people


def test_a_scale_without_alternatives_has_no_shares():
    scale = Scale.of_levels((1, 2, 3), origin="codebook")
    assert alternatives_of(scale, ANSWERS, exact=EXACT, drawn=None) is None


def test_distributions_are_renormalized_over_the_levels():
    cell = PredictionIndex(Predictions(frame=filled(EXACT))).cell("i", ITEM, ANSWERS)
    np.testing.assert_allclose(cell.probs_nl, [[0.5, 0.25, 0.25]] * 2)
    assert cell.codes_n.tolist() == [0, 2]


def test_answers_beside_the_scale_are_not_counted_as_off_it():
    cell = PredictionIndex(Predictions(frame=filled(DRAWN))).cell("i", ITEM, ANSWERS)
    assert (cell.answers_off_scale, cell.draws, cell.draws_valid) == (0, 1, 1)


def test_a_prediction_that_gives_all_to_alternatives_says_nothing_of_the_levels():
    everything = EXACT.with_columns(probs=pl.Series([[0.0, 0.0, 0.0, 1.0]]))
    assert PredictionIndex(Predictions(frame=filled(everything))).cell("i", ITEM, ANSWERS) is None
