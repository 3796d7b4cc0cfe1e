"""What an experiment that has not been run asks: of its file, or of items made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socsci_jax.studies.schema import Item
    from socsci_jax.studies.variants import StudyVariants


def variants_of(experiment: str | Path | Sequence[Item]) -> list[StudyVariants]:
    """Other ways of asking that the experiment's file declares, by study; none of items alone."""
    if not isinstance(experiment, str | Path):
        return []
    from data_pipelines.specified.experiment import variants_of_experiment
    from socsci_jax.studies.specification_files import load_specification

    path = Path(experiment)
    folder = path if path.is_dir() else path.parent
    return list(variants_of_experiment(load_specification(path), folder).values())


def items_of(experiment: str | Path | Sequence[Item]) -> list[Item]:
    """The items of an experiment: of its file, or as they are given."""
    if not isinstance(experiment, str | Path):
        return list(experiment)
    from data_pipelines.specified.experiment import items_of_experiment
    from socsci_jax.studies.specification_files import load_specification

    path = Path(experiment)
    return items_of_experiment(load_specification(path), path if path.is_dir() else path.parent)
