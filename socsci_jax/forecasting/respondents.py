"""Whole respondents: simulated people who answer all outcomes of one arm, one after another, as rows of a data set."""

from __future__ import annotations

import dataclasses
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.people_tables import Labels, labels_of
from socsci_jax.forecasting.population import Population
from socsci_jax.forecasting.respondent_files import check_out, write_respondents
from socsci_jax.forecasting.respondent_models import check_models, model_statistics, read_model
from socsci_jax.forecasting.respondent_statistics import (
    pair_statistics,
    read_batteries,
    reliability,
    with_scores,
)
from socsci_jax.studies.chains import Chain, Joint
from socsci_jax.studies.scale import Number
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

# Give, for each chain, the joint distribution of its answers; and one respondent's answers, by the key of its random numbers.
Joints = Callable[[Sequence[Chain]], list[Joint]]
Draw = Callable[[Sequence[Chain], Sequence[str]], list[tuple[Number, ...]]]
# Condition -> its outcomes, in the order in which they are asked.
Arms = Mapping[str, tuple[Item, ...]]

PEOPLE = "people"  # source of statistics
# What identifies a row, before the attributes of its persona and its answers.
KEYS = ("respondent_id", "study", "condition", "participant_id")


@dataclasses.dataclass(frozen=True, eq=False)
class Respondents:
    """A simulated data set, and how the answers of its people hang together.

    `rows` has a row a respondent: respondent_id, study, condition, participant_id (of the persona), the persona's attributes,
    a column for each outcome, and one for each battery's mean.  An answer outside a scale's order stands with its code.
    `statistics` is tidy, a row a value (`respondent_statistics.STATISTICS`).
    """

    rows: pl.DataFrame
    statistics: pl.DataFrame
    items: tuple[Item, ...]
    metadata: Mapping[str, object]

    def __repr__(self) -> str:
        return f"Respondents({counted(self.rows.height, 'row')}, {self.statistics.height} statistics)"

    def _repr_html_(self) -> str:
        return self.rows._repr_html_()

    def write(self, path: str | Path) -> Path:
        """Writes the rows (.csv, .parquet, or .sav with labels), NAME_statistics.csv and NAME.json; returns the first."""
        check_out(Path(path), replace=True)
        return write_respondents(self, Path(path))[0]

    @property
    def labels(self) -> Labels:
        """Questions and labels of answers, for a file of SPSS; alternatives are user-defined missing values."""
        labels = labels_of(self.rows, {item.item_id: item for item in self.items})
        there = set(self.rows.columns)
        return Labels(
            columns={name: text for name, text in labels.columns.items() if name in there},
            values={name: texts for name, texts in labels.values.items() if name in there},
            missing={name: codes for name, codes in labels.missing.items() if name in there},
        )


def respondents(
    items: Sequence[Item],
    *,
    joints: Joints,
    draw: Draw,
    population: Population,
    population_of_pairs: Population | None = None,
    per_arm: int,
    outcomes: Sequence[str] = (),
    batteries: Mapping[str, Sequence[str]] | None = None,
    models: Sequence[str] = (),
    exact_pairs: bool = True,
    answers: StudyStore | None = None,
    seed: int = 0,
    metadata: Mapping[str, object] | None = None,
) -> Respondents:
    """Draws `per_arm` respondents for each arm, and says how their answers hang together.

    Args:
      items: every outcome in every arm of one study.
      joints: gives joint distributions of pairs of answers.
      draw: gives the answers of one respondent to all outcomes of an arm.
      population: personas; each answers in every arm in proportion to its weight.
      population_of_pairs: personas of whom pairs of outcomes are asked by themselves, if fewer.
      per_arm: respondents of each arm, who are other people than those of the next.
      outcomes: what is asked, in this order; by default all, as the items have them.
      batteries: for each battery of outcomes (a scale of several items) their names, a minus before reverse-coded ones.
      models: regressions ("trust ~ condition + age") and paths of mediation ("condition -> mood -> trust").
      exact_pairs: whether pairs of outcomes are asked by themselves, for exact correlations; else these are of the rows.
      answers: what people answered to the same outcomes in the same conditions; their statistics come beside ("people").
      seed: of all that is drawn.
      metadata: what else the data set shall say of itself.

    Raises InputError for what cannot be asked together, and for batteries or models of outcomes that are not there.
    """
    if not 2 <= per_arm <= bounds.DRAWS:
        raise InputError(f"{counted(per_arm, 'respondent')} per arm; ask 2 to {bounds.DRAWS:,}.")
    arms = arms_of(items, outcomes)
    asked = next(iter(arms.values()))
    columns = _columns(asked, population)
    declared = read_batteries(batteries or {}, asked, columns=columns)
    names = [battery.name for battery in declared]
    read = [read_model(text) for text in models]
    check_models(read, asked, batteries=names, columns=[*columns, *names])

    def told(rows: pl.DataFrame, ask: Joints | None) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        pairs = pair_statistics(arms, rows, joints=ask, population=population_of_pairs or population)
        alphas = reliability(declared, arms, rows, pairs, rng=rng)
        return pl.concat([pairs.table, alphas, model_statistics(read, arms, rows, rng=rng)])

    people = None if answers is None else with_scores(answers_of_people(answers, arms), declared, asked)
    rows = draw_rows(arms, draw=draw, population=population, per_arm=per_arm, seed=seed)
    rows = with_scores(rows, declared, asked)
    statistics = [told(rows, joints if exact_pairs else None)]
    if people is not None:
        statistics.append(told(people, None).with_columns(source=pl.lit(PEOPLE)))
    return Respondents(
        rows=rows,
        statistics=pl.concat(statistics),
        items=tuple(item for of_arm in arms.values() for item in of_arm),
        metadata={
            "elicitation": "chained",
            "asked": [item.outcome for item in asked],
            "population": population.source,
            "personas": population.personas.height,
            "per_arm": per_arm,
            "seed": seed,
            "batteries": {battery.name: battery.written for battery in declared},
            "models": list(models),
            "answers": None if answers is None else answers.content_hash,
            **(metadata or {}),
        },
    )


def arms_of(items: Sequence[Item], outcomes: Sequence[str] = ()) -> dict[str, tuple[Item, ...]]:
    """The outcomes of each condition, in the order in which they are asked; raises InputError where they are not the same."""
    studies = sorted({item.study_id for item in items})
    if len(studies) != 1:
        raise InputError(
            f"{counted(len(studies), 'study')} ({', '.join(studies[:5])}); whole respondents answer one: give its items alone."
        )
    asked = list(outcomes) or list(dict.fromkeys(item.outcome for item in items))
    known = {item.outcome for item in items}
    if absent := [name for name in asked if name not in known]:
        raise InputError(f"outcome {absent[0]!r} is not asked; known are {', '.join(sorted(known))}.")
    if len(asked) < 2 or len(set(asked)) < len(asked):
        raise InputError("whole respondents answer two outcomes or more, each once; name them so.")
    arms: dict[str, tuple[Item, ...]] = {}
    for condition in dict.fromkeys(item.condition for item in items):
        own = [item for item in items if item.condition == condition and item.outcome in asked]
        by_name = {item.outcome: item for item in own}
        if len(by_name) < len(own):
            raise InputError(
                f"condition {condition!r}: an outcome has several texts; give each text a condition of its own."
            )
        if lacking := [name for name in asked if name not in by_name]:
            raise InputError(
                f"condition {condition!r} does not ask {lacking[0]!r}; whole respondents of all arms answer the same."
            )
        arms[condition] = tuple(by_name[name] for name in asked)
    for n, outcome in enumerate(asked):
        if len({own[n].scale for own in arms.values()}) > 1:
            raise InputError(
                f"outcome {outcome!r}: its scale differs between conditions; whole respondents need one."
            )
    return arms


def draw_rows(arms: Arms, *, draw: Draw, population: Population, per_arm: int, seed: int) -> pl.DataFrame:
    """A row a respondent: KEYS, attributes, outcomes; the personas of an arm are in proportion to their weights."""
    personas = population.attributes
    chosen = {
        arm: assign(population.weights, per_arm, np.random.default_rng([seed, zlib.crc32(arm.encode())]))
        for arm in arms
    }
    chains = [Chain(items, personas[p]) for arm, items in arms.items() for p in chosen[arm]]
    ids = [f"{arm}/{n + 1}" for arm in arms for n in range(per_arm)]
    answers = draw(chains, ids)
    places = np.concatenate([chosen[arm] for arm in arms])
    people = population.personas[places]
    first = next(iter(arms.values()))
    keys = pl.DataFrame(
        {
            "respondent_id": ids,
            "study": [first[0].study_id] * len(ids),
            "condition": np.repeat(list(arms), per_arm),
            "participant_id": people["participant_id"],
        }
    )
    answered = pl.DataFrame(
        {item.outcome: _numbers([one[k] for one in answers]) for k, item in enumerate(first)}
    )
    attributes = people.drop("participant_id")
    attributes.columns = _columns(first, population)[len(KEYS) : -len(first)]
    return pl.concat([keys, attributes, answered], how="horizontal")


def _numbers(answers: Sequence[Number]) -> pl.Series:
    whole = all(isinstance(answer, int) for answer in answers)
    return pl.Series(answers, dtype=pl.Int64 if whole else pl.Float64, strict=False)


def _columns(items: Sequence[Item], population: Population) -> list[str]:
    """The columns of the rows: KEYS, attributes, outcomes; an attribute that is named like another column is renamed."""
    outcomes = [item.outcome for item in items]
    if reserved := sorted(set(KEYS) & set(outcomes)):
        raise InputError(f"outcome {reserved[0]!r} has the name of a column of the rows; name it otherwise.")
    attributes = [name for name in population.personas.columns if name != "participant_id"]
    taken = {*KEYS, *outcomes}
    return [*KEYS, *(f"attribute_{name}" if name in taken else name for name in attributes), *outcomes]


def answers_of_people(store: StudyStore, arms: Arms) -> pl.DataFrame:
    """People's own answers to the same outcomes in the same conditions, in the columns of `draw_rows`.

    Raises InputError where the store does not have them.
    """
    first = next(iter(arms.values()))
    study, asked = first[0].study_id, [item.outcome for item in first]
    items = store.item_places.select("item_id", "study_id", "condition", "outcome").filter(
        pl.col("study_id") == study, pl.col("condition").is_in(list(arms)), pl.col("outcome").is_in(asked)
    )
    known = store.responses.join(items, on="item_id", maintain_order="left")
    again = known.height - known.select("condition", "outcome", "participant_id").n_unique()
    if again:
        logger.warning(
            f"{store.path}: {counted(again, 'answer')} of people who had answered the same outcome before; their first counts."
        )
    wide = known.pivot(
        "outcome", index=["condition", "participant_id"], values="value", aggregate_function="first"
    )
    lacking = [name for name in asked if name not in wide.columns]
    lacking += [arm for arm in arms if arm not in wide["condition"].to_list()]
    if lacking:
        raise InputError(
            f"{store.path}: people's answers have no {lacking[0]!r} of study {study!r}; conditions and outcomes are compared "
            "by their names."
        )
    some = wide.filter(pl.any_horizontal(pl.col(asked).is_null())).height
    if some:
        logger.warning(
            f"{store.path}: {some:,} of {counted(wide.height, 'person', 'people')} did not answer all of {', '.join(asked[:10])}; each "
            "statistic is of those who answered what it needs (column n)."
        )
    people = store.participants.filter(study_id=study).select(
        "participant_id", *(pl.col("attributes").struct.field(name) for name in store.attributes)
    )
    keys = wide.with_columns(study=pl.lit(study), respondent_id=pl.col("participant_id"))
    return keys.select(*KEYS, *asked).join(people, on="participant_id", how="left", maintain_order="left")


def assign(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Personas [count] in proportion to their weights [P], in random order.

    Systematic sampling from a random order (Madow 1949): persona p answers ⌊count w_p⌋ or ⌈count w_p⌉ times, on average
    count w_p.
    """
    order = rng.permutation(len(weights))
    reached = np.cumsum(weights[order]) / weights.sum()
    at = (np.arange(count) + rng.random()) / count
    drawn = order[np.minimum(np.searchsorted(reached, at, side="right"), len(order) - 1)]
    return rng.permutation(drawn)
