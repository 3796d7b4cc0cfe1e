"""The public Python interface, as `import socsci_jax as sj` gives it; heavy packages are imported when needed."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socsci_jax.errors import InputError
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.evaluation.result import Evaluation
    from socsci_jax.forecasting.collection import Collection
    from socsci_jax.forecasting.composites import Composite
    from socsci_jax.forecasting.forecast import Forecast
    from socsci_jax.forecasting.population import Margins
    from socsci_jax.simulation.model import SimulationModel
    from socsci_jax.studies.hidden import HiddenStates
    from socsci_jax.studies.pairs import Pairs
    from socsci_jax.studies.schema import Item
    from socsci_jax.studies.specification_parts import Multiverse
    from socsci_jax.studies.variants import StudyVariants, VariantPredictions


def open_store(path: str | Path) -> StudyStore:
    """A study store on disk; its tables are read when they are used.

    Raises InputError if there is none, or if it is damaged or of another schema version.
    """
    return StudyStore(path)


def build_store(kind: str, source: str | Path, out: str | Path, *, replace: bool = False) -> StudyStore:
    """Turns a deposit into a study store; what cannot be read is counted and kept in its `rejects`.

    Args:
      kind: what the deposit is; an unknown one raises an error that lists the known ones.
      source: the deposit's folder or file; for "synthetic" the name of a preset.
      out: folder of the store to write.
      replace: replaces a store that is there.
    """
    import data_pipelines

    command = f"socsci_jax.build_store({kind!r}, {str(source)!r}, {str(out)!r})"
    return data_pipelines.build(kind, str(source), Path(out), command=command, replace=replace)


def split_store(
    store: StudyStore,
    *,
    name: str = "main",
    seed: int = 0,
    studies: float | Sequence[str] | None = None,
    conditions: float | None = None,
    outcomes: float | None = None,
    participants: float | None = None,
    validation: float | None = None,
    replace: bool = False,
) -> Split:
    """Holds out studies, conditions, outcomes and participants by seed, saves the split in the store, and returns it.

    Args:
      store: the store whose answers are divided.
      name: name of the split in the store; recipes and `store.split` find it by this.
      seed: of every draw.
      studies: share of the studies, between 0 and 1, or a list of their ids.
      conditions: share of the conditions within each study that is not itself held out, at least one and never all.
      outcomes: the same of outcomes.
      participants: share of the participants within each study.
      validation: share of the training part's participants by which checkpoints are chosen.
      replace: replaces a split of this name.

    Raises InputError for a share out of range, an unknown study id, or a split that holds out nothing.
    """
    from socsci_jax.studies.split_making import make_split

    split = make_split(
        store,
        name=name,
        seed=seed,
        studies=studies,
        conditions=conditions,
        outcomes=outcomes,
        participants=participants,
        validation=validation,
    )
    split.save(replace=replace)
    return split


def open_model(
    name_or_path: str | Path, *, data: int | None = None, fsdp: int = 1, tensor: int = 1
) -> SimulationModel:
    """A trained model on this process's devices, ready for `predict`.

    Args:
      name_or_path: a run's folder (its best checkpoint in validation, else the newest), a folder or hub id in the Hugging
        Face format or of a `peft` adapter, or a GGUF file.
      data: number of groups of devices that take rows of their own; by default as many as there are.
      fsdp: number of devices over which parameters are cut.
      tensor: number of devices over which every layer is cut.

    Raises InputError if there is no such model, if tokenizer and model do not fit, or if devices do not divide.
    """
    import jax

    from socsci_jax import model_io
    from socsci_jax.models.sharding import make_mesh

    devices = jax.local_devices()
    if data is None:
        if len(devices) % (fsdp * tensor):
            raise InputError(
                f"fsdp={fsdp} x tensor={tensor} does not divide the {counted(len(devices), 'device')}."
            )
        data = len(devices) // (fsdp * tensor)
    if data * fsdp * tensor > len(devices):
        raise InputError(
            f"data={data} x fsdp={fsdp} x tensor={tensor} asks for more than {counted(len(devices), 'device')}."
        )
    mesh = make_mesh(data=data, fsdp=fsdp, tensor=tensor, devices=devices[: data * fsdp * tensor])
    return model_io.open_model(str(name_or_path), mesh=mesh)


def read_predictions(path: str | Path, store: StudyStore) -> Predictions:
    """A predictions table from a file, checked against the store; raises InputError for whatever does not fit."""
    from socsci_jax.studies import predictions

    return predictions.read_predictions(path, store)


def evaluate(
    predictions: Predictions,
    store: StudyStore,
    split: Split | str | None = None,
    *,
    seed: int = 0,
    minimum_n: int = 10,
    also: Sequence[Predictions] = (),
    hidden: HiddenStates | None = None,
) -> Evaluation:
    """Says how far predictions can be trusted, from the store's answers; a pure function, nothing is written.

    Args:
      predictions: of `predict`, or read from a file.
      store: holds the answers.
      split: which answers were held out, by name or itself; without one all answers are one part, "all".
      seed: of everything that is resampled.
      minimum_n: items with fewer human answers are excluded from averages.
      also: other predictors' predictions; the mean of all is one more predictor in every table.
      hidden: of `hidden_states`; a linear probe of them is one more predictor.

    Returns:
      An Evaluation: `summary()` is the table that reports begin with, `metric("wasserstein")` one value with its interval
      (docs/metrics.md lists the names), `table` all of them.
    """
    from socsci_jax.evaluation import evaluate as module

    if isinstance(split, str):
        split = store.split(split)
    labeled = module.label_without_split(store) if split is None else split.label()
    states = None if hidden is None else hidden.by_item
    return module.evaluate(
        predictions, store, labeled, seed=seed, minimum_n=minimum_n, also=also, hidden=states
    )


def train(recipe: str | Path | Mapping[str, Any], **changes: Any) -> Path:
    """Fine-tunes a model as a recipe says, or resumes where an earlier run of it stopped; returns the run's folder.

    Args:
      recipe: a recipe's file, or its keys.
      **changes: keys of the recipe with other values; a block merges: optimizer={"epochs": 2}, output="runs/b".

    Raises InputError, which names every problem, before any step is taken.
    """
    from socsci_jax.training.loop import train as run
    from socsci_jax.training.recipe_files import recipe_with

    return run(recipe_with(recipe, changes))


def export(
    run: str | Path,
    out: str | Path,
    *,
    step: int | None = None,
    dtype: str | None = None,
    adapter: bool = False,
) -> Path:
    """Writes a run's checkpoint as a folder that `transformers` loads (`adapter`: that `peft` loads); returns it."""
    from socsci_jax.export import export_run

    export_run(Path(run), Path(out), step=step, dtype=dtype, adapter=adapter)
    return Path(out)


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
    seed: int = 0,
    allow_unknown: bool = False,
    show_progress: bool = True,
) -> Forecast:
    """What to expect of an experiment that has not been run, with intervals learned from studies the model never saw.

    Args:
      experiment: a study.yaml without data, or its items.
      model: what `open_model` gives.
      calibration: a store of held-out studies that people have answered, or effects collected from one.
      people: whom the experiment is about: personas, or a store's participants.
      margins: for each attribute the share of each value in the population, to which personas are weighted.
      subgroups: attributes by whose values effects are told apart.
      composites: means of several outcomes, besides those of the file.
      exclude: studies of the store that are excluded, such as the experiment itself.
      seed: of all that is drawn.
      allow_unknown: allows a model of which nobody knows what it was trained on.
      show_progress: a bar in a terminal or notebook.

    Studies that the model was trained on are excluded, with a warning that counts them.  Raises InputError if one of the
    others is the experiment, or if there are too few.  What the experiment's file declares under `multiverse` is asked too.
    """
    from socsci_jax.forecasting.collection import collect
    from socsci_jax.forecasting.composites import composites_of
    from socsci_jax.forecasting.forecast import check_experiment, check_not_known
    from socsci_jax.forecasting.forecast import forecast as make
    from socsci_jax.forecasting.population import population
    from socsci_jax.simulation.predict import predict as ask
    from socsci_jax.simulation.variants import predict_variants as ask_variants
    from socsci_jax.studies.specification_files import load_specification
    from socsci_jax.studies.variants import check_variants

    # Whatever can be refused is refused before the first prediction.
    items = items_of(experiment)
    if not isinstance(experiment, str | Path):
        composites = tuple(composites)
    else:
        composites = (*composites_of(load_specification(Path(experiment))), *composites)
    personas = population(people, margins=margins, seed=seed)
    check_experiment(items, personas, subgroups, composites)
    variants = _variants_of(experiment)
    check_variants(variants, personas.personas)
    # Past studies are asked as the experiment is: predictions are worth the same only if they are made alike.
    declared = next((s.declared for s in variants if s.declared.orders or s.declared.persona_formats), None)

    def predict(pairs: Pairs) -> Predictions:
        return ask(model, pairs, show_progress=show_progress)

    def predict_variants(study: StudyVariants, personas: pl.DataFrame) -> VariantPredictions:
        return ask_variants(model, study, personas, seed=seed, show_progress=show_progress)

    if isinstance(calibration, StudyStore):
        check_not_known(items, [i for i in calibration.item_by_id.values() if i.study_id not in exclude])
        calibration = collect(
            predict,
            calibration,
            trained_on=model.trained_on,
            excluded=exclude,
            seed=seed,
            allow_unknown=allow_unknown,
            in_variants=None if declared is None else functools.partial(_in_variants, model, declared, seed),
        )
    return make(
        items,
        predict=predict,
        population=personas,
        collection=calibration,
        subgroups=subgroups,
        variants=variants,
        predict_variants=predict_variants,
        composites=composites,
        seed=seed,
    )


def _in_variants(
    model: SimulationModel, declared: Multiverse, seed: int, pairs: Pairs
) -> list[tuple[StudyVariants, VariantPredictions]]:
    """The studies of the pairs in the orders and persona formats that an experiment declares."""
    from socsci_jax.simulation.variants import predict_variants
    from socsci_jax.studies.variants import varied_past

    return [
        (study, predict_variants(model, study, personas, seed=seed, show_progress=False))
        for study, personas in varied_past(pairs, declared)
    ]


def _variants_of(experiment: str | Path | Sequence[Item]) -> list[StudyVariants]:
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
