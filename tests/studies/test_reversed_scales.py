"""Scales that seem to be turned round are named: by their labels, and by predictions that fit once mirrored."""

import numpy as np
import polars as pl
import pytest

from socsci_jax.studies.reversed_scales import (
    mirrored_outcomes,
    mirrored_sentences,
    opposite_labels,
    opposite_sentences,
)
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item

AGREE = ("Disagree", "", "", "", "Agree")


def item(outcome, labels, *, study="s", nominal=False):
    scale = Scale(
        kind="levels",
        lo=1,
        hi=5,
        levels=(1, 2, 3, 4, 5),
        labels=tuple(labels),
        origin="codebook",
        nominal=nominal,
    )
    return Item(
        study_id=study, condition="c", outcome=outcome, stimulus="", question="q?",
        answer_format="", scale=scale,
    )  # fmt: skip


def opposites(items):
    return opposite_labels((i.study_id, i.outcome, i.scale) for i in items)


def test_the_outcome_whose_labels_run_the_other_way_is_named():
    items = [item("a", AGREE), item("b", [*AGREE[:4], "AGREE"]), item("c", AGREE[::-1])]
    found = opposites(items)
    assert found.rows() == [("s", "c", "Agree", "Disagree", 2)]
    assert (
        "outcome 'c': its labels run from 'Agree' up to 'Disagree', 2 scales of this study run the other way"
        in (opposite_sentences(found)[0])
    )


def test_arms_of_one_outcome_that_run_in_both_directions_are_named():
    assert opposites([item("a", AGREE), item("a", AGREE[::-1])]).height == 2


@pytest.mark.parametrize(
    "other",
    [
        item("b", AGREE[::-1], study="another"),
        item("b", AGREE[::-1], nominal=True),
        item("b", ("Agree", "", "", "", "Neither")),
        item("b", ()),
        item("b", ("Agree", "", "", "", "Agree")),
    ],
)
def test_scales_that_have_no_common_order_are_not_compared(other):
    assert opposites([item("a", AGREE), other]).is_empty()


def distributions(model, human=(0.6, 0.25, 0.1, 0.05, 0.0), *, levels=(1.0, 2.0, 3.0, 4.0, 5.0), n=100):
    rows = {"study": "s", "outcome": "o", "n": n, "levels": [list(levels)] * 2, "human": [list(human)] * 2}
    return pl.DataFrame(rows | {"model": [list(model)] * 2})


def test_predictions_on_a_reversed_scale_are_named():
    found = mirrored_outcomes(distributions((0.0, 0.1, 0.1, 0.3, 0.5)))
    assert found.select("study", "outcome", "n").rows() == [("s", "o", 200)]
    # By hand, from the cumulated shares.
    assert found["distance"].item() == pytest.approx(np.abs([0.6, 0.75, 0.75, 0.5]).sum() / 4)
    assert found["mirrored"].item() == pytest.approx(np.abs([0.1, 0.05, 0.05, 0.0]).sum() / 4)
    assert "outcome 'o': the predictions are 0.65 of the scale's range" in mirrored_sentences(found)[0]


def test_steps_that_differ_have_a_mirror_image_as_well():
    people, levels = (0.7, 0.2, 0.1), (0.0, 1.0, 10.0)
    found = mirrored_outcomes(distributions((0.05, 0.05, 0.9), people, levels=levels))
    assert found.height == 1 and found["mirrored"].item() < 0.2


@pytest.mark.parametrize(
    "changed",
    [
        {"model": (0.6, 0.2, 0.1, 0.05, 0.05)},  # fits
        {"model": (0.2, 0.2, 0.2, 0.2, 0.2)},  # knows nothing
        {"model": (0.0, 0.0, 1.0, 0.0, 0.0)},  # bad, and no better mirrored
        {"model": (0.0, 0.1, 0.1, 0.3, 0.5), "n": 10},  # few answers
        {"model": (1.0, 0.0, 0.0, 0.0, 0.0), "human": (0.5, 0.0, 0.0, 0.0, 0.5)},  # people do not lean
    ],
)
def test_other_predictions_are_not_called_reversed(changed):
    assert mirrored_outcomes(distributions(**changed)).is_empty()
