"""Effects by subgroup, with intervals where past studies have taught how well effects on subgroups are predicted.

An outcome as one group answers it is an outcome of its own.  Of each attribute a calibration is learned from such outcomes
alone, in the past studies of whose participants the attribute is known: the values need not be those of the experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from socsci_jax.forecasting.arms import predicted_arms
from socsci_jax.forecasting.calibration import FEWEST_STUDIES, Calibration, calibrate
from socsci_jax.forecasting.effects import predicted_effects
from socsci_jax.forecasting.human import means_of_arms, with_human_effects
from socsci_jax.forecasting.intervals import expected_effects
from socsci_jax.forecasting.population import Population
from socsci_jax.forecasting.table import KEY
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.store import StudyStore

# Between the name of an outcome and that of the group that answers it.
_SEPARATOR = "\x1f"
INTERVALS = ("expected", "lo_50", "hi_50", "lo_90", "hi_90", "p_positive")
GROUPS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("attribute", "group", *KEY), pl.String),
    "predicted": pl.Float64,
    **dict.fromkeys(INTERVALS, pl.Float64),
    "abstains": pl.String,  # why there are no values; "" where there are
    "studies": pl.Int64,  # that have taught the intervals; 0 where there are too few for any
    "personas": pl.Int64,
}


def past_effects(
    attribute: str, store: StudyStore, answers: pl.DataFrame, predictions: Predictions, pairs: Pairs
) -> pl.DataFrame:
    """Effects on the groups of an attribute in past studies (table.CALIBRATION), without distances.

    Args:
      attribute: of the store's participants.
      store: whose participants they are.
      answers: of `human.answers_of`.
      predictions: of the pairs.
      pairs: what was predicted, and of whom.
    """
    value_of = pl.col("attributes").struct.field(attribute)
    people = store.participants.select(
        "participant_id", study="study_id", group=value_of if attribute in store.attributes else pl.lit(None)
    ).drop_nulls()
    human = means_of_arms(_of_groups(answers.join(people, on=["study", "participant_id"])))
    group_of = {(study, person): group for person, study, group in people.iter_rows()}
    study_of = {item_id: item.study_id for item_id, item in pairs.items.items()}
    frame = predictions.frame.with_columns(
        study=pl.col("item_id").replace_strict(study_of, return_dtype=pl.String)
    )
    arms = [
        predicted_arms(
            Predictions(frame=own.drop("study")),
            pairs.items,
            groups={
                person: group_of[study, person]
                for person in own["participant_id"].unique()
                if (study, person) in group_of
            },
        )
        for (study,), own in frame.group_by(["study"], maintain_order=True)
    ]
    return with_human_effects(predicted_effects(_of_groups(pl.concat(arms))), human)


def _of_groups(table: pl.DataFrame) -> pl.DataFrame:
    """The outcome of each row becomes that of its group."""
    return table.with_columns(outcome=pl.concat_str("outcome", "group", separator=_SEPARATOR))


def subgroup_effects(
    arms_of: Callable[..., pl.DataFrame],
    with_distance: Callable[[pl.DataFrame], pl.DataFrame],
    population: Population,
    subgroups: Sequence[str],
    *,
    effects: pl.DataFrame,
    calibration: Calibration,
    past: Mapping[str, pl.DataFrame],
) -> pl.DataFrame:
    """Rows of GROUPS for every effect.

    Where at least FEWEST_STUDIES past studies have effects on groups of the attribute (`past`), these alone have taught
    what is expected and how sure it is.  Elsewhere a group's expected effect is everybody's, moved by what calibration
    makes of the predicted difference, without intervals.

    Args:
      arms_of: predicted arms by group, `arms_of(groups=...)`.
      with_distance: fills in the distance of texts.
      population, subgroups: whom the effects are about, and the attributes that tell groups apart.
      effects, calibration: everybody's.
      past: effects on groups in past studies, by attribute.
    """
    by_attribute = [pl.DataFrame(schema=GROUPS)]
    for attribute in subgroups:
        known = population.personas.select("participant_id", attribute).drop_nulls()
        arms = _of_groups(arms_of(groups=dict(known.iter_rows())))
        predicted = with_distance(predicted_effects(arms))
        table = _taught(past.get(attribute))
        if table is None:
            told, studies = _moved(predicted, effects, calibration), 0
        else:
            told, studies = expected_effects(calibrate(table), predicted), table["study"].n_unique()
        personas = arms.group_by("study", "outcome").agg(pl.col("personas").max())
        by_attribute.append(
            told.join(personas, on=["study", "outcome"], how="left", maintain_order="left")
            .with_columns(
                _outcome_and_group(),
                attribute=pl.lit(attribute),
                studies=pl.lit(studies, dtype=pl.Int64),
            )
            .select(pl.col(name).cast(kind) for name, kind in GROUPS.items())
        )
    return pl.concat(by_attribute)


def _taught(past: pl.DataFrame | None) -> pl.DataFrame | None:
    """Past effects on groups that people's answers tell, if there are enough studies of them."""
    if past is None:
        return None
    table = past.drop_nulls(["human", "human_se"])
    return table if table["study"].n_unique() >= FEWEST_STUDIES else None


def _outcome_and_group() -> list[pl.Expr]:
    parts = pl.col("outcome").str.split_exact(_SEPARATOR, 1)
    return [parts.struct.field(f"field_{k}").alias(name) for k, name in enumerate(("outcome", "group"))]


def _moved(predicted: pl.DataFrame, effects: pl.DataFrame, calibration: Calibration) -> pl.DataFrame:
    """Everybody's expected effects, moved by the slope times the predicted difference; no intervals."""
    slopes = pl.Series(calibration.slopes(effects))
    everybody = effects.select(*KEY, "expected", "abstains", slope=slopes, overall="predicted")
    joined = predicted.with_columns(pl.col("outcome").alias("own"), *_outcome_and_group()[:1]).join(
        everybody, on=KEY, how="left", maintain_order="left"
    )
    moved = pl.col("slope") * (pl.col("predicted") - pl.col("overall"))
    return joined.with_columns(
        pl.col("own").alias("outcome"), expected=pl.col("expected") + moved
    ).with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in INTERVALS if name != "expected")
