"""What an experiment that has not been run asks: of its file, or of items made by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socsci_jax.forecasting.composites import Composite
    from socsci_jax.studies.schema import Item
    from socsci_jax.studies.specification import Specification
    from socsci_jax.studies.variants import StudyVariants


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is asked; of items made by hand there are neither other ways of asking them nor composites."""

    items: Sequence[Item]
    variants: Sequence[StudyVariants] = ()
    composites: Sequence[Composite] = ()


def read_experiment(experiment: str | Path | Sequence[Item]) -> Experiment:
    """All that an experiment's file declares, or the items as they are given."""
    if not isinstance(experiment, str | Path):
        return Experiment(experiment)
    from data_pipelines.specified.experiment import items_of_experiment, variants_of_experiment
    from socsci_jax.forecasting.composites import composites_of

    specification, folder = _load(Path(experiment))
    return Experiment(
        items=items_of_experiment(specification, folder),
        variants=list(variants_of_experiment(specification, folder).values()),
        composites=composites_of(specification),
    )


def items_of(experiment: str | Path | Sequence[Item]) -> Sequence[Item]:
    """The items of an experiment alone."""
    if not isinstance(experiment, str | Path):
        return experiment
    from data_pipelines.specified.experiment import items_of_experiment

    return items_of_experiment(*_load(Path(experiment)))


def _load(path: Path) -> tuple[Specification, Path]:
    """A specification, given by its file or its folder, and the folder that its files are in."""
    from socsci_jax.studies.specification_files import load_specification

    return load_specification(path), path if path.is_dir() else path.parent
