"""Prompt layouts: the published prompt verbatim, and nothing but allowed fields."""

import dataclasses
import json

import pytest
from small import SCALE_1_5, small_item

from socsci_jax.errors import InputError
from socsci_jax.studies.layouts import INTERVIEW, LAYOUTS, PERSONA_FIRST, STUDY_FIRST, load_layout
from socsci_jax.studies.prompts import Layout, Turn, persona_text
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item, Scale

ITEM = small_item("s", "c", "taxes", SCALE_1_5)


def test_persona_first_is_the_published_prompt_verbatim(shared_data):
    rows = [json.loads(line) for line in (shared_data / "socsci210" / "9nphm_first34.jsonl").open()]
    assert len(rows) == 34
    for row in rows:
        item = Item(
            study_id=row["study_id"],
            condition=str(row["condition_num"]),
            outcome=str(row["task_num"]),
            stimulus=row["stimuli"],
            question="",
            answer_format="",
            scale=Scale.unknown(),
        )
        attributes = {name: row["demographic"][name] for name in SOCSCI210_ATTRIBUTES}
        assert PERSONA_FIRST.prompt(item=item, attributes=attributes) == row["prompt"]


def test_what_is_not_known_of_a_person_is_left_out():
    assert (
        persona_text({"age": "34", "party_id": None, "household_size": "4"})
        == "- Age: 34\n- Household Size: 4"
    )


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_shared_and_own_make_up_the_prompt(layout):
    attributes = {"age": "34"}
    prompt = layout.prompt(item=ITEM, attributes=attributes)
    by_part = {"item": {"item": ITEM}, "persona": {"attributes": attributes}}
    other = "persona" if layout.shared_by == "item" else "item"
    assert prompt == layout.shared_text(**by_part[layout.shared_by]) + layout.own_text(**by_part[other])
    assert ITEM.text in prompt
    earlier = layout.earlier_texts(item=ITEM, attributes=attributes)
    assert (
        earlier == ("Age?", "34")
        if layout.turns
        else layout.attribute.format(name="Age", value="34") in prompt
    )


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_prefix_and_branch_meet_at_a_line_break(layout):
    """There tokenizers cut anyway, whatever the branch begins with."""
    known = {"item": ITEM, "attributes": {"document": "Words."}}
    assert layout.shared_text(**known).endswith("\n")
    assert not layout.own_text(**known)[0].isspace()


def test_braces_in_a_text_are_only_braces():
    item = Item(**{**vars(ITEM), "stimulus": "A {reasoning} in braces. "})
    assert "A {reasoning} in braces." in STUDY_FIRST.prompt(item=item, attributes={})


def test_a_field_that_is_not_allowed_is_refused():
    with pytest.raises(InputError, match=r"\{reasoning\}.*not allowed"):
        Layout(name="x", shared_by="item", system="", shared="{stimulus}{reasoning}", own="{persona}")


def test_a_prefix_may_hold_only_what_its_prompts_share():
    with pytest.raises(InputError, match="differs between the prompts"):
        Layout(
            name="x",
            shared_by="item",
            system="",
            shared="{persona}{stimulus}",
            own="{question}{answer_format}",
        )


EXAMPLE = Turn(user="Is water wet? Answer from 1 to 5. ", assistant="5")


def test_a_conversation_has_its_turns_in_order():
    layout = dataclasses.replace(INTERVIEW, turns=(EXAMPLE, *INTERVIEW.turns))
    known = {"age": "34", "gender": None, "party_id": "{value}"}
    messages = layout.messages(item=ITEM, attributes=known)
    assert [message["role"] for message in messages] == ["system", *["user", "assistant"] * 3, "user"]
    earlier = ["Is water wet? Answer from 1 to 5.", "5", "Age?", "34", "Party Id?", "{value}"]
    assert [message["content"] for message in messages[1:-1]] == earlier
    assert messages[-1]["content"] == layout.prompt(item=ITEM, attributes=known)


@pytest.mark.parametrize(
    ("layout", "turn", "message"),
    [
        (
            STUDY_FIRST,
            Turn(user="{name}?", assistant="{value}"),
            r"'turn 1' holds \{persona\}, which differs",
        ),
        (
            PERSONA_FIRST,
            Turn(user="{question}", assistant="5"),
            r"'turn 1' holds \{question\}, which differs",
        ),
        (PERSONA_FIRST, Turn(user="{name}?", assistant="5"), r"\{name\} in part 'turn 1' is not allowed"),
        (PERSONA_FIRST, Turn(user="{question}", assistant="{value}"), "in part 'turn 1' is not allowed"),
    ],
)
def test_an_earlier_turn_may_hold_only_what_its_prompts_share(layout, turn, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(layout, turns=(turn,))


@pytest.mark.parametrize("turns", ["x", [1], [{"user": "a"}], [{"user": "a", "assistant": 1}]])
def test_turns_that_are_none_are_refused(turns):
    with pytest.raises(InputError, match="turns must be a list, each with the texts `user` and `assistant`"):
        Layout.from_dict({**STUDY_FIRST.to_dict(), "turns": turns})


def test_how_an_attribute_is_written_belongs_to_the_layout():
    attributes = {"document": "One {line}.\n\nAnother.", "year": None}
    assert persona_text(attributes, attribute="{name}: {value}") == "Document: One {line}.\n\nAnother."
    with pytest.raises(InputError, match=r"'attribute' is '- \{name\}'; it needs \{value\}"):
        Layout.from_dict({**STUDY_FIRST.to_dict(), "attribute": "- {name}"})


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_data(tmp_path, layout):
    path = tmp_path / "layout.json"
    path.write_text(json.dumps(layout.to_dict()))
    assert load_layout(path) == layout


def test_a_name_that_is_no_layout_is_refused():
    with pytest.raises(InputError, match="neither a built-in layout"):
        load_layout("study_frist")


WITH_ALTERNATIVES = Item(
    **{**vars(ITEM), "scale": Scale.of_levels((1, 2), origin="codebook", alternatives={8: "Don't know"})}
)


def test_alternatives_are_named_in_the_prompt_only_where_they_are_offered():
    offered = load_layout("study_first", alternatives="offered")
    sentence = ITEM.answer_format + " If this applies instead, return it: 8 = Don't know."
    assert sentence in offered.prompt(item=WITH_ALTERNATIVES, attributes={})
    assert "Don't know" not in STUDY_FIRST.prompt(item=WITH_ALTERNATIVES, attributes={})


def test_alternatives_are_answers_only_where_they_are_offered():
    assert STUDY_FIRST.answers(WITH_ALTERNATIVES.scale) == (1, 2)
    assert load_layout("study_first", alternatives="offered").answers(WITH_ALTERNATIVES.scale) == (1, 2, 8)
