"""A store whose studies tell of a council's plan, under any names: what a model has seen is told from it."""

import dataclasses

from small import GENDERS, SCALE_1_5, small_item

from socsci_jax.studies.store_builder import StoreBuilder

WORDS = "People of the town read in the paper that the council wants to build plan {c}, which costs much money and time."


def build(
    folder,
    *,
    studies=("a", "b"),
    names=lambda person: person,
    words=WORDS,
    seed=0,
    attributes=("age", "gender"),
    outcomes=("taxes", "parks"),
):
    """Studies of three conditions with two outcomes, each answered by six people."""
    builder = StoreBuilder(attributes=attributes, source="made up", license="CC0-1.0", command="test")
    for number, study in enumerate(studies):
        builder.add_study(study)
        for c in range(3):
            for o, outcome in enumerate(outcomes):
                item = dataclasses.replace(
                    small_item(study, f"c{c}", outcome, SCALE_1_5),
                    stimulus=f"Study {number} is about something. " + words.format(c=c) + "\n\n",
                )
                item_id = builder.add_item(item)
                for p in range(6):
                    person = names(f"{c}-{p}")
                    known = {"age": str(20 + p + 10 * c), "gender": GENDERS[p % 2], "party": "none"}
                    builder.add_participant(study, person, {name: known.get(name) for name in attributes})
                    value = 1 + (p * (o + 2) + c + number + seed) % 5
                    builder.add_response(item_id, person, value, sample_id=p)
    return builder.write(folder)
