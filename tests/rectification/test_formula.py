"""Formulas: names and operators become a design; nothing in them can be executed."""

import numpy as np
import polars as pl
import pytest

from socsci_jax.errors import InputError
from socsci_jax.rectification.formula import baselines, design, parse_formula


def test_texts_are_categories_and_products_interactions():
    frame = pl.DataFrame(
        {"treatment": [0, 1, 0, 1], "party": ["blue", "green", "red", "red"], "age": [20, 30, 40, 50]}
    )
    built = design(parse_formula("y ~ treatment*C(party) + age"), frame)
    assert built.terms == (
        "Intercept", "treatment", "C(party)[T.green]", "C(party)[T.red]", "age",
        "treatment:C(party)[T.green]", "treatment:C(party)[T.red]",
    )  # fmt: skip
    red = (frame["party"] == "red").to_numpy().astype(float)
    np.testing.assert_array_equal(built.X[:, -1], red * frame["treatment"].to_numpy())


def test_a_number_of_more_than_18_digits_is_a_number():
    frame = pl.DataFrame({"age": pl.Series([20, 30, 10**20], dtype=pl.Int128)})
    np.testing.assert_array_equal(design(parse_formula("y ~ age"), frame).X[:, 1], [20, 30, 1e20])


@pytest.mark.parametrize(
    ("formula", "named"),
    [
        ("y ~ log(age)", "log("),
        ("y ~ __import__('os').system('true')", "__import__("),
        ("y ~ I(age + 1)", "I("),
        ("y ~ age - 1", "-"),
        ("y ~ {age}", "{"),
        ("y ~ `age`", "`"),
        ("y ~ C(age, levels)", "C("),
        ("y ~ age^2", "age^"),
        ("y ~ age | party", "|"),
        ("y ~ 0 + age", "0"),
    ],
)
def test_a_formula_that_could_execute_something_is_refused_by_name(formula, named):
    with pytest.raises(InputError, match="not allowed") as error:
        parse_formula(formula)
    assert f"{named!r}" in str(error.value)


@pytest.mark.parametrize(
    "formula", ["y", "y ~", "y ~ a +", "~ a", "y ~ a b", "y ~ a +* b", "y ~ y", "log(y) ~ a", "y ~ 1:a"]
)
def test_a_formula_that_is_none_is_refused(formula):
    with pytest.raises(InputError, match="Formula"):
        parse_formula(formula)


def test_names_with_dots_and_letters_of_any_language_are_columns():
    frame = pl.DataFrame({"outcome.name": ["a", "b", "C(c)"], "größe": [1.0, 2.0, 4.0]})
    built = design(parse_formula("y ~ outcome.name + größe"), frame)
    assert built.terms == ("Intercept", "outcome.name[T.a]", "outcome.name[T.b]", "größe")


def test_a_constant_column_is_no_variable():
    with pytest.raises(InputError, match="'age' is 20 in all rows"):
        design(parse_formula("y ~ age"), pl.DataFrame({"age": [20, 20]}))


def test_categories_that_are_whole_numbers_are_named_without_a_fraction():
    frame = pl.DataFrame({"wave": [1.0, 2.0, 2.0]})
    assert design(parse_formula("y ~ C(wave)"), frame).terms == ("Intercept", "C(wave)[T.2]")


def test_the_levels_that_others_are_compared_with_are_those_of_the_design():
    frame = pl.DataFrame(
        {
            "told": [True, False, True],
            "year": [2020.0, 2021.0, 2021.0],
            "arm": ["b", "a", "b"],
            "age": [3, 1, 2],
        }
    )
    formula = parse_formula("y ~ C(told) + C(year) + arm + age")
    assert baselines(formula, frame) == {"told": 0, "year": 2020, "arm": "a"}
    assert design(formula, frame).terms == ("Intercept", "C(told)[T.1]", "C(year)[T.2021]", "arm[T.b]", "age")
