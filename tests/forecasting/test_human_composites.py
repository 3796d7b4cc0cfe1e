"""Composites of people's answers: who has one, and which answers are in none."""

import polars as pl

from socsci_jax.forecasting.composites import Composite
from socsci_jax.forecasting.human import with_composite_answers


def test_a_composite_of_a_composite_counts_the_answers_of_those_who_lack_a_part_alone():
    answered = {"ann": ("q1", "q2", "q3"), "bob": ("q1", "q2"), "cy": ("q1", "q3")}
    rows = [
        ("s", "plain", outcome, f"{outcome}-plain", person, 50.0, 1.0)
        for person, outcomes in answered.items()
        for outcome in outcomes
    ]
    columns = ["study", "condition", "outcome", "item_id", "participant_id", "at", "weight"]
    answers = pl.DataFrame(rows, schema=columns, orient="row")
    pair, whole = Composite("s", "pair", ("q1", "q2")), Composite("s", "whole", ("pair", "q3"))
    made, lost = with_composite_answers(answers, (pair, whole))
    assert made.filter(outcome="pair")["participant_id"].to_list() == ["ann", "bob"]
    assert made.filter(outcome="whole")["participant_id"].to_list() == ["ann"]
    # Of "pair" the answer of cy to q1; of "whole" the pair of bob and the answer of cy to q3.
    assert [number for why, number in lost.items() if "'pair'" in why] == [1]
    assert [number for why, number in lost.items() if "'whole'" in why] == [2]
