"""`respondents` of the public interface: whole respondents of an experiment, asked of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from socsci_jax.interface.experiments import items_of
from socsci_jax.studies.store import StudyStore

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.forecasting.population import Margins
    from socsci_jax.forecasting.respondents import Respondents
    from socsci_jax.simulation.model import SimulationModel
    from socsci_jax.studies.chains import Chain, Joint
    from socsci_jax.studies.prompts import Layout
    from socsci_jax.studies.scale import Number
    from socsci_jax.studies.schema import Item


def respondents(
    experiment: str | Path | Sequence[Item],
    model: SimulationModel,
    *,
    people: pl.DataFrame | Sequence[Mapping[str, object]] | StudyStore,
    margins: Margins | None = None,
    per_arm: int = 200,
    outcomes: Sequence[str] = (),
    batteries: Mapping[str, Sequence[str]] | None = None,
    models: Sequence[str] = (),
    exact_pairs: bool = True,
    answers: StudyStore | None = None,
    layout: str | Layout | None = None,
    allow_other_layout: bool = False,
    seed: int = 0,
    beside: Path | None = None,
    show_progress: bool = True,
) -> Respondents:
    """Simulates people who answer all outcomes of an experiment one after another, as rows of a data set.

    Each answer is drawn from its exact distribution given the persona and the answers before it, so that the answers of
    one respondent hang together as the model has them hang together.

    Args:
      experiment: a study.yaml without data, or the items of one study.
      model: what `open_model` gives.
      people: whom the experiment is about: personas, or a store's participants; of more than 200 and `per_arm` so many
        are drawn, and of more than 200 pairs are asked of 200.
      margins: for each attribute the share of each value in the population, to which personas are weighted.
      per_arm: respondents of each arm.
      outcomes: what is asked, in this order; by default all, as the experiment has them.
      batteries: for each battery (a scale of several items) its outcomes, with a minus before those that are
        reverse-coded: {"mood": ["happy", "calm", "-sad"]}.
      models: regressions ("trust ~ condition + age") and paths of mediation ("condition -> mood -> trust") of the rows.
      exact_pairs: whether every pair of outcomes is also asked by itself, for exact correlations; costs a conversation for
        each persona, arm, pair and answer to the first.
      answers: a store in which people answered the same study; their statistics come beside, with source "people".
      layout: the order in which a prompt is written; by default the model's own.
      allow_other_layout: allows a layout that the model was not trained with.
      seed: of all that is drawn.
      beside: a file that will be written; finished work waits next to it, so that the same call resumes where it stopped
        (`simulation.batches.discard_batches` removes it).
      show_progress: a bar in a terminal or notebook.

    Returns:
      Respondents: `rows`, a row a respondent, and `statistics`, a tidy table of correlations (over all people, within and
      between personas), reliabilities, regressions and mediations.

    Raises InputError for outcomes that have no finite set of answers, and for what cannot be asked together.
    """
    from socsci_jax.forecasting.population import PERSONAS, population
    from socsci_jax.forecasting.respondents import respondents as make
    from socsci_jax.progress import progress, reports_to
    from socsci_jax.simulation.chained import conversation_metadata, draw_respondents, joint_distributions
    from socsci_jax.simulation.predict import warn_of_unknown_attributes
    from socsci_jax.studies.pairs import Pairs

    items = items_of(experiment)
    asked = population(people, margins=margins, most=max(PERSONAS, per_arm), seed=seed)
    chosen = model.choose_layout(layout, allow_other=allow_other_layout)
    warn_of_unknown_attributes(model, Pairs.cross(items, asked.personas))

    def joints(chains: Sequence[Chain]) -> list[Joint]:
        with progress("pairs of answers", total=1, shown=show_progress) as bar:
            return joint_distributions(model, chains, layout=chosen, report=reports_to(bar), beside=beside)

    def draw(chains: Sequence[Chain], keys: Sequence[str]) -> list[tuple[Number, ...]]:
        with progress("answers of respondents", total=1, shown=show_progress) as bar:
            return draw_respondents(
                model, chains, keys, seed=seed, layout=chosen, report=reports_to(bar), beside=beside
            )

    return make(
        items,
        joints=joints,
        draw=draw,
        population=asked,
        population_of_pairs=population(people, margins=margins, seed=seed) if exact_pairs else None,
        per_arm=per_arm,
        outcomes=outcomes,
        batteries=batteries,
        models=models,
        exact_pairs=exact_pairs,
        answers=answers,
        seed=seed,
        metadata=conversation_metadata(model, chosen),
    )
