"""Tables of people's answers as survey programs write them: labels, codes that are no answers, people who come back."""

import polars as pl
import pytest

from socsci_jax.forecasting.composites import Composite
from socsci_jax.forecasting.human_tables import arms_of_table

CENTS = {
    "levels": list(range(0, 201, 5)), "labels": [], "alternatives": [98], "alternative_labels": ["no bonus"],
    "missing": [99],
}  # fmt: skip
AGREE = {
    "levels": [1, 2, 3], "labels": ["Disagree", "", "Agree"], "alternatives": [8], "alternative_labels": ["Don't know"],
    "missing": [],
}  # fmt: skip
ITEMS = [{"outcome": "cents", "scale": CENTS}, {"outcome": "agree", "scale": AGREE}]
TURNED = Composite("s", "kept", ("cents",), ("cents",))
ARMS = pl.DataFrame(
    [("s", "cents", "a", True, 0.0, 200.0), ("s", "agree", "a", True, 1.0, 3.0), ("s", "kept", "a", True, 0.0, 200.0)],
    schema=["study", "outcome", "condition", "is_control", "lo", "hi"], orient="row",
)  # fmt: skip


def read(people: list[dict], *, composites=(), in_rows: bool = False):
    table = pl.DataFrame([{"condition": "a"} | person for person in people], infer_schema_length=None)
    if in_rows:
        outcomes = [name for name in table.columns if name in ("cents", "agree")]
        index = [name for name in table.columns if name not in outcomes]
        table = table.cast({name: pl.String for name in outcomes})
        table = table.unpivot(outcomes, index=index, variable_name="outcome")
    arms, excluded = arms_of_table(table, ARMS, composites, ITEMS)
    return {o: (mean, n) for o, mean, n in arms.select("outcome", "human", "n").iter_rows()}, excluded


@pytest.mark.parametrize("in_rows", [False, True])
def test_labels_are_read_as_their_codes(in_rows):
    people = [{"agree": cell} for cell in ("Agree", "agree ", "3", "Disagree", "2", "Don't know", "perhaps")]
    assert read(people, in_rows=in_rows) == (
        {"agree": (70.0, 5)}, {"off their scale": 1, "not a number": 1},
    )  # fmt: skip


@pytest.mark.parametrize("in_rows", [False, True])
def test_codes_of_no_answer_between_the_ends_of_a_scale_are_no_answers(in_rows):
    people = [{"cents": cell} for cell in (0, 100, 98, 99)]
    assert read(people, in_rows=in_rows) == ({"cents": (25.0, 2)}, {"off their scale": 2})


def test_nor_are_they_parts_of_composites():
    found, excluded = read([{"cents": cell} for cell in (0, 100, 98, 99)], composites=[TURNED])
    assert found["kept"] == (75.0, 2)
    assert (
        excluded["in the mean 'kept': of somebody without an answer on the scale to each of its parts"] == 2
    )


def test_of_a_person_who_comes_back_the_first_answer_that_can_be_used_counts():
    people = [("p", 99), ("p", 0), ("p", 200), ("q", 100)]
    found, excluded = read([{"participant_id": who, "cents": cell} for who, cell in people])
    assert found == {"cents": (25.0, 2)}
    assert excluded == {"off their scale": 1, "of somebody who answered before": 1}
