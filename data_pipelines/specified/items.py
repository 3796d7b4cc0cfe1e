"""Items of a study: what people of one arm read and answer."""

from __future__ import annotations

from data_pipelines.specified.arms import Arm, fits, text_of
from data_pipelines.specified.deposit import Deposit
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item
from socsci_jax.studies.specification import Outcome, Variant
from socsci_jax.studies.specification_parts import Text


def variant_of(outcome: Outcome, arm: Arm) -> Variant | None:
    """The outcome as people of the arm met it, where that differs."""
    return next((v for v in outcome.variants if fits(v.arms, arm.levels, condition=arm.name)), None)


def item_of(
    study_id: str,
    name: str,
    outcome: Outcome,
    variant: Variant | None,
    arm: Arm,
    scale: Scale,
    deposit: Deposit,
) -> Item:
    """The item that people of the arm answer on `scale`."""
    question = variant.question if variant is not None and variant.question is not None else outcome.question
    told = (
        text_of(outcome.answer_format, deposit, arm.fills) if outcome.answer_format else answer_format(scale)
    )
    return Item(
        study_id=study_id,
        condition=arm.name,
        outcome=name,
        stimulus=arm.stimulus,
        question=question_of(question, arm, deposit),
        answer_format=told,
        scale=scale,
        is_control=arm.control,
        factors=arm.levels,
    )


def question_of(text: Text, arm: Arm, deposit: Deposit) -> str:
    """The question as people of the arm read it, a line of its own."""
    asked = text_of(text, deposit, arm.fills)
    return f"{asked}\n" if asked else ""
