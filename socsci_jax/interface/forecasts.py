"""`forecast` of the public interface: what to expect of an experiment that has not been run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from socsci_jax.interface.experiments import read_experiment
from socsci_jax.studies.store import StudyStore

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.forecasting.collection import Collection, InVariants
    from socsci_jax.forecasting.composites import Composite
    from socsci_jax.forecasting.forecast import Forecast
    from socsci_jax.forecasting.multiverse import PredictVariants
    from socsci_jax.forecasting.population import Margins
    from socsci_jax.simulation.model import SimulationModel
    from socsci_jax.studies.prompts import Layout
    from socsci_jax.studies.schema import Item
    from socsci_jax.studies.variants import StudyVariants


def forecast(
    experiment: str | Path | Sequence[Item],
    model: SimulationModel,
    *,
    calibration: StudyStore | Collection,
    people: pl.DataFrame | Sequence[Mapping[str, object]] | StudyStore,
    margins: Margins | None = None,
    subgroups: Sequence[str] = (),
    composites: Sequence[Composite] = (),
    exclude: Sequence[str] = (),
    past_people: int = 20,
    layout: str | Layout | None = None,
    allow_other_layout: bool = False,
    seed: int = 0,
    allow_unknown: bool = False,
    show_progress: bool = True,
) -> Forecast:
    """Says what to expect of an experiment that has not been run, with intervals learned from studies the model never saw.

    Args:
      experiment: a study.yaml without data, or its items.
      model: what `open_model` gives.
      calibration: a store of held-out studies that people have answered, or effects collected from one.
      people: whom the experiment is about: personas, or a store's participants.
      margins: for each attribute the share of each value in the population, to which personas are weighted.
      subgroups: attributes by whose values effects are told apart.
      composites: means of several outcomes, besides those of the file.
      exclude: studies of the store that are excluded, such as the experiment itself.
      past_people: participants of each past study who are asked its items; fewer cost less.
      layout: the order in which a prompt is written; by default the model's own.
      allow_other_layout: allows a layout that the model was not trained with.
      seed: of all that is drawn.
      allow_unknown: allows a model of which nobody knows what it was trained on.
      show_progress: a bar in a terminal or notebook.

    Returns:
      A Forecast: `effects` (a row for each arm and outcome, with intervals), `groups`, `power` and more, all in percentage
      points of the scale's range.

    Studies that the model was trained on are excluded, with a warning that counts them.  Raises InputError if one of the
    others is the experiment, or if there are too few.  What the experiment's file declares under `multiverse` is asked too.
    """
    from socsci_jax.forecasting.collection import collect
    from socsci_jax.forecasting.forecast import check_experiment, check_not_known
    from socsci_jax.forecasting.forecast import forecast as make
    from socsci_jax.forecasting.population import population
    from socsci_jax.simulation.predict import predict as ask
    from socsci_jax.simulation.variants import predict_variants
    from socsci_jax.studies.variants import check_variants

    # Whatever can be refused is refused before the first prediction.
    asked = read_experiment(experiment)
    composites = (*asked.composites, *composites)
    personas = population(people, margins=margins, seed=seed)
    check_experiment(asked.items, personas, subgroups, composites)
    check_variants(asked.variants, personas.personas)
    layout = model.choose_layout(layout, allow_other=allow_other_layout)
    predict = functools.partial(
        ask, model, layout=layout, allow_other_layout=True, show_progress=show_progress
    )
    in_variants = functools.partial(
        predict_variants, model, layout=layout, allow_other_layout=True, seed=seed, show_progress=False
    )
    if isinstance(calibration, StudyStore):
        check_not_known(
            asked.items, [i for i in calibration.item_by_id.values() if i.study_id not in exclude]
        )
        calibration = collect(
            predict,
            calibration,
            trained_on=model.trained_on,
            excluded=exclude,
            people=past_people,
            seed=seed,
            allow_unknown=allow_unknown,
            in_variants=_past_in_variants(asked.variants, in_variants),
            subgroups=subgroups,
        )
    return make(
        asked.items,
        predict=predict,
        population=personas,
        collection=calibration,
        subgroups=subgroups,
        variants=asked.variants,
        predict_variants=functools.partial(in_variants, show_progress=show_progress),
        composites=composites,
        seed=seed,
    )


def _past_in_variants(experiment: Sequence[StudyVariants], predict: PredictVariants) -> InVariants | None:
    """Asks past studies as the experiment is: predictions are worth the same only if they are made alike."""
    from socsci_jax.studies.variants import varied_past

    vary = (study.declared for study in experiment if study.declared.orders or study.declared.persona_formats)
    declared = next(vary, None)
    if declared is None:
        return None
    return lambda pairs: [(study, predict(study, past)) for study, past in varied_past(pairs, declared)]
