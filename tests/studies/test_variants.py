"""Variants of an experiment's items: which orders, wordings and formats there are, and what a specification may say of them."""

import itertools
from collections import Counter

import jsonschema
import pytest
import yaml

from data_pipelines.specified.experiment import variants_of_experiment
from socsci_jax.errors import InputError
from socsci_jax.studies.layouts import INTERVIEW, PERSONA_FIRST, STUDY_FIRST
from socsci_jax.studies.persona_formats import PERSONA_FORMATS
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.specification_files import json_schema, parse_specification, render
from socsci_jax.studies.variants import balanced_product

EXPERIMENT = """
study: council
factors:
  frame:
    levels:
      plain: {text: The council meets on Monday., control: true}
      praise: The council won a prize.
multiverse: {orders: ORDERS, persona_formats: [sentences, first_person, reversed], swaps: gender, drift: [age]}
outcomes:
  trust:
    question: How much do you trust the council?
    wordings: {direct: "Do you trust it, {frame}?"}
    scale: {levels: {1: not, 2: a little, 3: much, 4: fully}}
  weather:
    question: How was the weather?
    negative_control: true
    scale: {lo: 1, hi: 5}
"""


def study(orders="all", text=EXPERIMENT):
    specification = parse_specification(text.replace("ORDERS", str(orders)), where="e.yaml")
    return variants_of_experiment(specification)["council"]


def of_outcome(found, outcome):
    return [found.of_item[item.item_id] for item in found.items if item.outcome == outcome]


def test_all_orders_wordings_and_formats_are_combined_once():
    variants, of_other_arm = of_outcome(study(), "trust")
    assert len(variants) == 24 * 2 * 4 == len({variant.name for variant in variants})
    assert len({(variant.item.item_id, variant.persona_format) for variant in variants}) == 192
    assert [variant.name for variant in variants] == [variant.name for variant in of_other_arm]


def test_the_first_variant_is_the_item_as_it_is_written():
    found = study()
    assert all(found.of_item[item.item_id][0].item == item for item in found.items)


def test_the_first_so_many_variants_are_balanced_over_every_choice():
    variants = of_outcome(study(), "trust")[0][:24]
    for choice, levels in (("order", 24), ("wording", 2), ("persona_format", 4)):
        counts = Counter(getattr(variant, choice) for variant in variants)
        assert len(counts) == levels and len(set(counts.values())) == 1


@pytest.mark.parametrize(("n", "m"), itertools.product((1, 2, 3, 4, 6), (1, 2, 5, 6, 8)))
def test_a_balanced_product_has_every_pair_once(n, m):
    found = balanced_product(range(n), range(m))
    assert sorted(found) == list(itertools.product(range(n), range(m)))


def test_an_order_changes_the_list_and_not_what_a_code_means():
    reverse = next(v for v in of_outcome(study("reversed"), "trust")[0] if v.order == "4 3 2 1")
    assert reverse.item.answer_format == (
        "Only return an integer from 1 to 4, where 4 = fully; 3 = much; 2 = a little; 1 = not, nothing else."
    )
    assert reverse.item.scale.levels == (1, 2, 3, 4)


@pytest.mark.parametrize(("orders", "number"), [("reversed", 2), (5, 5), (700, 24)])
def test_so_many_orders_are_taken_as_are_asked_for_and_exist(orders, number):
    assert len({v.order for v in of_outcome(study(orders), "trust")[0]}) == number


def test_an_outcome_without_labels_has_one_order_and_is_known_as_a_negative_control():
    found = study()
    assert {v.order for v in of_outcome(found, "weather")[0]} == {""}
    assert found.controls == {"weather"}


def test_wordings_are_filled_as_questions_are():
    worded = next(v for v in of_outcome(study(), "trust")[1] if v.wording == "direct")
    assert worded.item.question == "Do you trust it, The council won a prize.?\n"


def test_formats_write_the_same_attributes_otherwise():
    persona = {"age": "34", "party_id": "none"}

    def written(name):
        own = PERSONA_FORMATS[name]
        return own.layout(STUDY_FIRST).own_text(attributes=own.persona(persona)).split("\n\n")[0]

    assert written("list") == "- Age: 34\n- Party Id: none"
    assert written("reversed") == "- Party Id: none\n- Age: 34"
    assert written("sentences") == "Their age is 34. Their party id is none."
    assert written("first_person") == "My age is 34. My party id is none."


def test_a_layout_that_tells_a_persona_in_turns_has_no_sentences():
    with pytest.raises(InputError, match="layout 'interview' tells a persona in turns"):
        PERSONA_FORMATS["sentences"].layout(INTERVIEW)


def test_what_stands_between_attributes_is_stored_only_where_it_differs():
    assert "between" not in PERSONA_FIRST.to_dict()
    other = PERSONA_FORMATS["sentences"].layout(PERSONA_FIRST)
    assert Layout.from_dict(other.to_dict()) == other


# --- what is refused, in one sentence ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ORDERS", "1", "multiverse.orders: write all, reversed, or how many orders, from 2 to 720"),
        ("ORDERS", "some", "multiverse.orders: write all, reversed, or how many orders, from 2 to 720"),
        ("sentences,", "haiku,", "multiverse.persona_formats[0]: input should be 'list', 'sentences'"),
        ("persona_formats", "personas", "multiverse.personas: key is not known; did you mean 'persona_formats'?"),
        ("{frame}?", "{tone}?", "outcomes.trust.wordings.direct: nothing fills {tone}"),
        (
            "    wordings:",
            "    variants: [{arms: {frame: praise}, question: Do you?}]\n    wordings:",
            "outcomes.trust.wordings: some arms have a question of their own",
        ),
        ("{1: not, 2: a little, 3: much, 4: fully}", "[1, 2]", "multiverse.orders: no outcome lists labeled options"),
        (
            "{1: not, 2: a little, 3: much, 4: fully}",
            "{1: a, 2: b, 3: c, 4: d, 5: e, 6: f, 7: g}",
            "outcome 'trust' lists 7 options, which have 5,040 orders; write how many of them to take, up to 720",
        ),
    ],
)  # fmt: skip
def test_a_multiverse_that_cannot_be_is_refused(old, new, said):
    with pytest.raises(InputError) as error:
        study(text=EXPERIMENT.replace(old, new))
    assert said in str(error.value)


def test_the_json_schema_knows_the_multiverse():
    schema = json_schema()
    for orders in ("all", "reversed", 6):
        jsonschema.validate(yaml.safe_load(EXPERIMENT.replace("ORDERS", str(orders))), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(EXPERIMENT.replace("ORDERS", "1")), schema)


def test_a_written_specification_is_read_as_the_same():
    specification = parse_specification(EXPERIMENT.replace("ORDERS", "6"), where="e.yaml")
    assert parse_specification(render(specification), where="r.yaml") == specification
