"""A scale: its levels, integers or not, and the codes outside it that are no places on it."""

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import rehash

from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import alternatives_sentence, answer_format
from socsci_jax.studies.scale import MAX_LEVELS, Scale, format_value
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

DONT_KNOW = {8: "Don't know", 9: "Not applicable"}
HALF_STEPS = Scale.of_levels({1: "Low", 1.5: "", 2: "High"}, origin="codebook")


def test_integral_levels_are_integers_and_others_stay():
    scale = Scale.of_levels((1.0, 1.5, 2.0), origin="codebook")
    assert scale.levels == (1, 1.5, 2)
    assert [type(level) for level in scale.levels] == [int, float, int]


@pytest.mark.parametrize(
    ("value", "text"), [(1.5, "1.5"), (2.0, "2"), (-3, "-3"), (1e-7, "0.0000001"), (1e15, "1" + "0" * 15)]
)
def test_a_value_is_written_as_a_person_would(value, text):
    assert format_value(value) == text


@given(st.floats(-1e15, 1e15))
def test_what_is_written_is_read_as_the_same_number(value):
    assert float(format_value(value)) == value


def test_levels_that_are_not_integers_are_listed_in_the_answer_format():
    assert answer_format(HALF_STEPS, style="range") == "Only return one of 1, 1.5 or 2, nothing else."


def test_codes_beside_a_scale_are_no_places_on_it():
    scale = Scale.open_number(lo=0, hi=100, origin="codebook", alternatives={98: "Don't know"}, missing=(99,))
    assert [scale.allows(value) for value in (97, 98, 99)] == [True, False, False]
    assert scale.is_alternative(98) and scale.is_missing(99)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alternatives": {2: "Don't know"}}, "code 2 stands for two"),
        ({"alternatives": DONT_KNOW, "missing": (8,)}, "code 8 stands for two"),
        ({"alternatives": {8: ""}}, "needs a label"),
        ({"missing": range(5, 200)}, "at most 100"),
        ({"missing": (float("nan"),)}, "must be numbers"),
        ({"missing": (float("inf"),)}, "must be numbers"),
    ],
)
def test_a_code_has_one_meaning(wrong, message):
    with pytest.raises(ValueError, match=message):
        Scale.of_levels((1, 2), origin="codebook", **wrong)


@pytest.mark.parametrize("levels", [range(10**12), tuple(range(MAX_LEVELS + 1))])
def test_more_levels_than_a_choice_has_are_refused_at_once(levels):
    with pytest.raises(ValueError, match="levels"):
        Scale.of_levels(levels, origin="stated")


def test_a_scale_survives_its_row():
    scale = Scale.of_levels(
        {1: "a", 1.5: "", 2: "b"}, origin="codebook", alternatives=DONT_KNOW, missing=(-99,)
    )
    assert Scale.from_dict(scale.to_dict()) == scale


def test_alternatives_are_told_in_one_sentence_unless_the_text_tells_them():
    beside = {"levels": (1, 2), "alternatives": DONT_KNOW}
    assert alternatives_sentence(Scale.of_levels(origin="codebook", **beside)) == (
        " If one of these applies instead, return it: 8 = Don't know; 9 = Not applicable."
    )
    assert alternatives_sentence(Scale.of_levels(origin="stated", **beside)) == ""


def built(folder, scale: Scale, values) -> StudyStore:
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0", command="test")
    builder.add_study("s")
    item = Item(
        study_id="s",
        condition="c",
        outcome="o",
        stimulus="A text. ",
        question="How much? ",
        answer_format=answer_format(scale),
        scale=scale,
    )
    item_id = builder.add_item(item)
    for person, value in enumerate(values):
        builder.add_participant("s", str(person), {})
        builder.add_response(item_id, str(person), value, sample_id=person)
    return builder.write(folder)


def test_a_store_keeps_alternatives_and_rejects_missing_codes(tmp_path):
    scale = Scale.of_levels((1, 1.5, 2), origin="codebook", alternatives=DONT_KNOW, missing=(-99,))
    store = built(tmp_path / "store", scale, (1, 1.5, 8, -99, 7))
    assert store.responses["value"].to_list() == [1, 1.5, 8]
    assert store.rejects["reason"].to_list() == ["missing answer (code -99)", "answer outside its scale"]
    assert next(iter(store.item_by_id.values())).scale == scale


def test_a_store_whose_scale_is_none_is_refused_with_the_item(tmp_path):
    path = built(tmp_path / "store", HALF_STEPS, (1, 2)).path
    table = pq.read_table(path / "items.parquet")
    row = table.to_pylist()[0]
    row["scale"]["levels"] = [float(v) for v in range(MAX_LEVELS + 1)]
    pq.write_table(pa.Table.from_pylist([row], schema=table.schema), path / "items.parquet")
    rehash(path)
    with pytest.raises(InputError, match=r"items.parquet: the scale of item 's\..*open number"):
        _ = StudyStore(path).item_by_id


def test_the_items_table_holds_levels_as_float64(tmp_path):
    items = built(tmp_path / "store", HALF_STEPS, (1, 2)).items
    assert items["scale"].struct.field("levels").dtype == pl.List(pl.Float64)


def test_codes_that_lie_far_apart_are_named_and_never_walked_between():
    scale = Scale.of_levels({1: "no", 10**15: "yes"}, origin="codebook")
    assert answer_format(scale, style="range") == "Only return one of 1 or 1000000000000000, nothing else."
    assert answer_format(Scale.of_levels((0, 10**14, 2 * 10**14), origin="codebook"), style="range") == (
        "Only return a multiple of 100000000000000 between 0 and 200000000000000, nothing else."
    )
