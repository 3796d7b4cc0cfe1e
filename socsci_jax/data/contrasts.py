"""Contrasts: all arms of an outcome, what people of the training part answered in each, and who is asked about them.

A set holds the arms of one (study, outcome), and of one group of people where statistics are asked for by group.  All its
arms are put to the same people, so that what differs between the predictions of two arms is the arms' doing.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np
import polars as pl

from socsci_jax.data.refusals import Refusal, refusals, with_attributes
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore

# Fewer cannot be cut into two halves.
FEWEST_PERSONAS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastTargets:
    """Which contrasts training shards hold.

    `personas` are so many people of each study's training part, drawn with `seed`, who are asked about every arm.
    `condition_on`: statistics and people by groups that are alike in these attributes.  `in_order`: only of scales whose
    levels have an order, and so means.
    """

    personas: int
    condition_on: tuple[str, ...] = ()
    in_order: bool = True
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class ContrastTable:
    """Human statistics of the arms and the people of each set.

    `cells`, one row per arm of a set: set, arm (counted within the set), item_id, answers, mean and error (standard error of
    the mean) on the scale's range from 0 to 1, histogram (shares of the levels).
    `people`, one row per person of a set: set, person (counted within the set), study_id, participant_id.
    `refused`: item_id, reason and responses that are part of no set.
    """

    cells: pl.DataFrame
    people: pl.DataFrame
    refused: list[Refusal]


def contrast_table(train: pl.DataFrame, store: StudyStore, targets: ContrastTargets) -> ContrastTable:
    """Computes the statistics of all sets from the responses `train` alone.

    The variance of answers is pooled over the arms of a set, so that an arm of few equal answers is not taken for certain:
    error = sqrt(pooled variance / answers of the arm).  Outcomes with a single arm have nothing to contrast, and are
    refused.  Raises InputError for an attribute that the store does not have.
    """
    train, groups = with_attributes(train, store, targets.condition_on)
    items = store.item_by_id
    refused, train = _refuse(train, items, in_order=targets.in_order)
    keys = ["study_id", "outcome", *groups]
    cells, people, number = [], [], 0
    of_study = {
        key: frame.select("study_id", "participant_id").unique().sort(pl.all())
        for key, frame in train.group_by(["study_id", *groups])
    }
    for key, answers in train.sort([*keys, "item_id"], nulls_last=True).group_by(keys, maintain_order=True):
        pool = _drawn(of_study[(key[0], *key[2:])], targets, key=(key[0], *key[2:]))
        for arms in _sets_of_one_scale(answers, items):
            statistics, reason = _statistics(arms, items, people=pool.height)
            if reason is not None:
                refused += refusals(arms, reason)
                continue
            cells += [{"set": number, **cell} for cell in statistics]
            people.append(pool.with_row_index("person").with_columns(set=pl.lit(number, pl.Int64)))
            number += 1
    return ContrastTable(
        cells=pl.DataFrame(cells, schema=_CELLS),
        people=pl.concat(people) if people else pl.DataFrame(schema=_PEOPLE),
        refused=refused,
    )


def arms_by_people(contrasts: ContrastTable) -> pl.DataFrame:
    """Every arm of a set with each of its people: set, cell (number of the arm among all), person, and the ids of both."""
    cells = contrasts.cells.select("set", "item_id").with_row_index("cell").cast({"cell": pl.Int64})
    return cells.join(contrasts.people, on="set", how="inner", maintain_order="left")


_CELLS = {
    "set": pl.Int64,
    "arm": pl.Int64,
    "item_id": pl.String,
    "answers": pl.Int64,
    "mean": pl.Float64,
    "error": pl.Float64,
    "histogram": pl.List(pl.Float64),
}
_PEOPLE = {"person": pl.UInt32, "study_id": pl.String, "participant_id": pl.String, "set": pl.Int64}


def _refuse(
    train: pl.DataFrame, items: Mapping[str, Item], *, in_order: bool
) -> tuple[list[Refusal], pl.DataFrame]:
    """Responses whose items or values cannot be contrasted, with reasons; and the others."""
    refused = []
    for item_id, responses in train.group_by("item_id").len().sort("item_id").iter_rows():
        scale = items[item_id].scale
        if scale.kind != "levels":
            refused.append((item_id, "its scale has no levels to contrast", responses))
        elif in_order and scale.nominal:
            refused.append(
                (item_id, "its levels have no order, so there are no means to contrast", responses)
            )
    train = train.filter(~pl.col("item_id").is_in([item_id for item_id, *_ in refused]))
    weighted = train.filter(pl.col("weight").is_not_null())
    refused += refusals(weighted, "its answers are shares of groups, whose means have no standard error")
    train = train.filter(pl.col("weight").is_null())
    levels = [(i, float(v)) for i in train["item_id"].unique() for v in items[i].scale.levels]
    on_scale = pl.DataFrame(levels, schema={"item_id": pl.String, "value": pl.Float64}, orient="row")
    beside = train.join(on_scale, on=["item_id", "value"], how="anti")
    refused += refusals(beside, "an answer outside the levels has no place among them")
    return refused, train.join(on_scale, on=["item_id", "value"], how="semi", maintain_order="left")


def _sets_of_one_scale(answers: pl.DataFrame, items: Mapping[str, Item]) -> list[pl.DataFrame]:
    """Answers to one outcome, apart by the levels that its arms allow."""
    levels = {item_id: items[item_id].scale.levels for item_id in answers["item_id"].unique()}
    distinct = sorted(set(levels.values()))
    return [
        answers.filter(pl.col("item_id").is_in([i for i, of_item in levels.items() if of_item == one]))
        for one in distinct
    ]


def _statistics(
    answers: pl.DataFrame, items: Mapping[str, Item], *, people: int
) -> tuple[list[dict], str | None]:
    """Statistics of each arm of a set, or why there are none."""
    by_item = {key[0]: frame["value"].to_numpy() for key, frame in answers.group_by("item_id")}
    if len(by_item) < 2:
        return [], "its outcome has no other arm in the training part, so there is nothing to contrast"
    if people < FEWEST_PERSONAS:
        return [], "fewer than two people can be asked about all arms"
    scale = items[next(iter(by_item))].scale
    lo, width = scale.levels[0], scale.levels[-1] - scale.levels[0]
    positions = {item_id: (values - lo) / width for item_id, values in by_item.items()}
    freedom = sum(map(len, positions.values())) - len(positions)
    if freedom < 1:
        return [], "no arm of its outcome has two answers, so there is no standard error"
    variance = sum(float(((x - x.mean()) ** 2).sum()) for x in positions.values()) / freedom
    cells = []
    for arm, item_id in enumerate(sorted(positions)):
        codes = np.searchsorted(np.array(scale.levels, float), by_item[item_id])
        n = len(codes)
        cells.append(
            {
                "arm": arm,
                "item_id": item_id,
                "answers": n,
                "mean": float(positions[item_id].mean()),
                "error": float(np.sqrt(variance / n)),
                "histogram": (np.bincount(codes, minlength=len(scale.levels)) / n).tolist(),
            }
        )
    return cells, None


def _drawn(people: pl.DataFrame, targets: ContrastTargets, *, key: tuple) -> pl.DataFrame:
    """At most `personas` people of a study and group; the same for all its outcomes."""
    rng = np.random.default_rng([targets.seed, zlib.crc32("/".join(map(str, key)).encode())])
    return people[np.sort(rng.permutation(people.height)[: targets.personas])]
