"""A study.yaml without data describes what will be asked: every outcome in every arm."""

import pytest

from data_pipelines.specified.experiment import items_of_experiment
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_files import parse_specification

EXPERIMENT = """
study: wage
factors:
  frame:
    levels:
      gain: {text: People with the new wage earn more., control: true}
      loss: {text: People without the new wage earn less.}
  sender:
    levels: {mayor: The mayor says so., paper: The paper says so.}
outcomes:
  support:
    question: Do you support the new wage?
    scale: {lo: 1, hi: 5, labels: {1: no, 5: yes}}
  share:
    question: How many others do?
    scale: {number: true, lo: 0, hi: 100}
"""


def test_every_outcome_is_asked_in_every_combination_of_levels():
    items = items_of_experiment(parse_specification(EXPERIMENT, where="e.yaml"))
    assert len(items) == 8 and len({item.item_id for item in items}) == 8
    first = items[0]
    assert first.condition == "gain, mayor" and first.factors == {"frame": "gain", "sender": "mayor"}
    assert first.stimulus == "People with the new wage earn more.\\n\\nThe mayor says so.\\n\\n".replace(
        "\\n", "\n"
    )
    assert first.scale.levels == (1, 2, 3, 4, 5) and first.scale.labels[0] == "no"
    assert {item.is_control for item in items if item.condition.startswith("gain")} == {True}


def test_declared_conditions_are_all_that_is_asked():
    text = EXPERIMENT + "conditions:\n  plain: {factors: {frame: gain, sender: mayor}, text: Read this.}\n"
    items = items_of_experiment(parse_specification(text, where="e.yaml"))
    assert {item.condition for item in items} == {"plain"} and len(items) == 2
    assert items[0].stimulus.startswith("Read this.")


def test_levels_that_only_data_could_tell_are_asked_for():
    text = EXPERIMENT.replace(
        "    levels: {mayor: The mayor says so., paper: The paper says so.}\n", "    column: sender\n"
    )
    with pytest.raises(InputError, match=r"factors\.sender: list its levels"):
        items_of_experiment(parse_specification(text, where="e.yaml"))
