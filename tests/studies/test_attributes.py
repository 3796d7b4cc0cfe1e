"""Attributes of people: what is not known is null, whatever a file writes there, and is excluded from prompts."""

import polars as pl
import pytest
from small import SCALE_1_5, small_item

from socsci_jax.studies.attributes import FEWEST_PEOPLE, MOST_FORMS, attribute_text, forms_of
from socsci_jax.studies.prompts import persona_text
from socsci_jax.studies.store_builder import StoreBuilder


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "", "  ", "NA", "n/a", "NaN", "NULL", "<NA>", "."])  # fmt: skip
def test_what_is_not_known_is_null(value):
    assert attribute_text(value) is None


@pytest.mark.parametrize(
    ("value", "text"), [(34.0, "34"), (34.5, "34.5"), (34, "34"), (" Female ", "Female"), ("None", "None"), (True, "True")]
)  # fmt: skip
def test_a_known_value_is_written_as_a_person_would(value, text):
    assert attribute_text(value) == text


def test_forms_are_words_that_several_people_share():
    people = [
        {"age": f"{k} years", "gender": "Female", "town": f"t{'x' * k}", "job": None}
        for k in range(MOST_FORMS + 1)
    ]
    people += [{"age": "young", "gender": "Self-described"}] * (FEWEST_PEOPLE - 1)
    schema = dict.fromkeys(("age", "gender", "town", "job"), pl.String)
    assert forms_of(pl.DataFrame(people, schema=schema)) == {"age": ["# years"], "gender": ["Female"]}
    assert forms_of(pl.DataFrame()) == {}


def built(folder, attributes: dict, **settings):
    builder = StoreBuilder(
        attributes=tuple(attributes), source="made up", license="CC0", command="test", **settings
    )
    builder.add_study("s")
    item_id = builder.add_item(small_item("s", "c", "o", SCALE_1_5))
    builder.add_participant("s", "p", attributes)
    builder.add_response(item_id, "p", 3, sample_id=0)
    return builder.write(folder)


def test_unknown_values_are_left_out_of_the_prompt_and_told_in_the_notes(tmp_path):
    store = built(tmp_path / "store", {"age": 34.5, "gender": "NA", "income": float("nan")})
    assert persona_text(store.participants["attributes"][0]) == "- Age: 34.5"
    (note,) = store.manifest["notes"]
    assert "gender: 'NA' (1); income: 'nan' (1)" in note


def test_a_verbatim_attribute_is_kept_as_it_is(tmp_path):
    store = built(tmp_path / "store", {"document": "NA"}, verbatim=("document",))
    assert store.participants["attributes"][0] == {"document": "NA"}
    assert store.manifest["notes"] == []
