"""An experiment that has not been run: the items that its specification describes, without any data, and their variants."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.specified.answers import scale_of
from data_pipelines.specified.arms import Arm, ArmTable
from data_pipelines.specified.deposit import Deposit
from data_pipelines.specified.items import item_of, question_of, variant_of
from socsci_jax.errors import InputError
from socsci_jax.studies.schema import Item
from socsci_jax.studies.specification import Specification, Study
from socsci_jax.studies.variants import StudyVariants, variants_of

# A full factorial of more arms is a design to draw from, not a list to ask.
MOST_ARMS = 10_000


def items_of_experiment(specification: Specification, folder: Path = Path()) -> list[Item]:
    """Every outcome in every arm: the declared conditions, or all combinations of levels.

    `folder` holds the files, if the texts stand in any.  Raises InputError for a study without levels, for more than
    MOST_ARMS arms, or for an item without a text.
    """
    deposit = Deposit(folder, specification)
    return [
        item
        for study_id, study in specification.studies.items()
        for item in _items(study_id, study, specification, deposit)
    ]


def variants_of_experiment(specification: Specification, folder: Path = Path()) -> dict[str, StudyVariants]:
    """The multiverse of each study, as its items are asked; without one declared, each item is its only variant.

    Raises InputError as `items_of_experiment`, and for a multiverse that cannot be.
    """
    deposit = Deposit(folder, specification)
    variants = {}
    for study_id, study in specification.studies.items():
        items = list(_items(study_id, study, specification, deposit))
        arms = {arm.name: arm for arm in _arms(study_id, study, deposit)}
        wordings = {
            item.item_id: {
                name: question_of(text, arms[item.condition], deposit)
                for name, text in study.outcomes[item.outcome].wordings.items()
            }
            for item in items
        }
        controls = [name for name, outcome in study.outcomes.items() if outcome.negative_control]
        try:
            variants[study_id] = variants_of(items, study.multiverse, wordings=wordings, controls=controls)
        except InputError as error:
            raise InputError(f"{study_id}, {error}") from None
    return variants


def _items(study_id: str, study: Study, specification: Specification, deposit: Deposit) -> Iterator[Item]:
    for name, outcome in study.outcomes.items():
        for arm in _arms(study_id, study, deposit):
            variant = variant_of(outcome, arm)
            given = variant.scale if variant is not None and variant.scale is not None else outcome.scale
            try:
                scale = scale_of(specification.scale(given), deposit)
            except (InputError, ValueError) as error:
                raise InputError(f"{study_id}, outcomes.{name}.scale: {error}") from None
            item = item_of(study_id, name, outcome, variant, arm, scale, deposit)
            if not item.stimulus and not item.question:
                raise InputError(
                    f"{study_id}, outcomes.{name}: neither the condition nor the question has a text."
                )
            yield item


def _arms(study_id: str, study: Study, deposit: Deposit) -> list[Arm]:
    levels = []
    for name, factor in study.factors.items():
        if not factor.levels:
            raise InputError(
                f"{study_id}, factors.{name}: list its levels; without data nothing else tells them."
            )
        levels.append(tuple(factor.levels))
    count = 1
    for of_factor in levels:
        count *= len(of_factor)
    if count > MOST_ARMS:
        raise InputError(
            f"{study_id}: {count:,} combinations of levels; declare the conditions to be asked, at most {MOST_ARMS:,}."
        )
    table = ArmTable(study, deposit)
    combined = [table.arm(combination) for combination in itertools.product(*levels)]
    arms = {arm.name: arm for arm in combined if arm is not None}
    if not arms:
        raise InputError(f"{study_id}: no combination of levels fits one of its conditions.")
    return list(arms.values())
