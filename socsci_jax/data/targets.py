"""What training asks of each prompt: its answers with their counts, preference pairs, or a distribution over levels.

An objective needs more than the answers that were given when it weighs answers against each other; such sets of
answers are comparisons.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import polars as pl

from socsci_jax.data.branch_targets import BranchTargets, Targets, TargetTable, no_rows, refused_rows
from socsci_jax.data.rationales import Rationales
from socsci_jax.data.refusals import refusals, with_attributes
from socsci_jax.studies.prompts import Alternatives
from socsci_jax.studies.scale import Number, Scale, format_value
from socsci_jax.studies.store import StudyStore

ANSWERS = Targets()

# How often an answer was given, or what answers with weights count.
_COUNT = pl.col("weight").fill_null(1.0).sum().alias("count")


def target_table(
    train: pl.DataFrame,
    store: StudyStore,
    targets: Targets,
    *,
    merged: bool,
    alternatives: Alternatives = "withheld",
    rationales: Rationales | None = None,
) -> TargetTable:
    """Targets of the responses `train` (columns of the store, and prefix and rank of each one's prompt).

    With `merged`, responses of equal prompts come into one branch; answers with `rationales` begin with them.
    Alternatives of a scale ("don't know") are answers like others where they are offered, and are refused where they
    are withheld or where targets need an order.
    Raises InputError for an attribute that the store does not have.
    """
    if targets.kind == "nothing":
        return TargetTable(train.select("prefix", "rank").clear(), [], no_rows())
    refused = no_rows()
    if alternatives == "withheld" or targets.in_order:
        why = "is withheld" if alternatives == "withheld" else "has no place in the scale's order"
        train, refused = _without_alternatives(train, store, why=why)
    table = _targets_of(
        train, store, targets, merged=merged, rationales=rationales, alternatives=alternatives
    )
    return dataclasses.replace(table, refused=pl.concat([refused, table.refused]))


def _without_alternatives(
    train: pl.DataFrame, store: StudyStore, *, why: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The responses that are on their scale, and counts of those that are alternatives, with the reason."""
    codes = [(i, float(code)) for i, scale in store.item_by_id.scales.items() for code in scale.alternatives]
    off_scale = pl.DataFrame(codes, schema={"item_id": pl.String, "value": pl.Float64}, orient="row")
    alternative = train.join(off_scale, on=["item_id", "value"], how="semi")
    if alternative.is_empty():
        return train, no_rows()
    counts = alternative.group_by("item_id", "value").len().sort("item_id", "value")
    rows = [
        (i, f"answer {format_value(v)} is an alternative, which {why}", n) for i, v, n in counts.iter_rows()
    ]
    return train.join(off_scale, on=["item_id", "value"], how="anti", maintain_order="left"), refused_rows(
        rows
    )


def _targets_of(
    train: pl.DataFrame,
    store: StudyStore,
    targets: Targets,
    *,
    merged: bool,
    alternatives: Alternatives,
    rationales: Rationales | None,
) -> TargetTable:
    if not merged:
        train = train.with_row_index("response")
    keys = ["prefix", "rank", *([] if merged else ["response"])]
    if targets.kind == "answers":
        return _answers(train, keys, rationales)
    # Two items may read the same and still allow different answers.
    keys.append("item_id")
    if targets.kind == "pairs":
        return _pairs(train, keys, targets)
    return _distributions(train, keys, targets, store, alternatives=alternatives)


def _answers(train: pl.DataFrame, keys: list[str], rationales: Rationales | None) -> TargetTable:
    refused = []
    rationale = []
    if rationales is not None:
        train = train.join(
            rationales.frame, on=["item_id", "participant_id"], how="left", maintain_order="left"
        )
        without = train.filter(pl.col("rationale").is_null())
        refused = refusals(without, "no rationale was supplied for the response")
        train = train.filter(pl.col("rationale").is_not_null())
        rationale = ["rationale"]
    answer = [*keys, "value", *rationale]
    # Millions of rows, sorted and cut where something changes: grouping them would take a third more memory at the peak.
    given = train.select(*answer, count=pl.col("weight").fill_null(1.0)).sort(answer)
    begins = _changes(given, answer)
    counts = np.add.reduceat(given["count"].to_numpy(), begins) if len(begins) else np.zeros(0)
    given = given[begins].drop("count")
    values = given["value"].unique()
    text = pl.col("value").replace_strict(values, pl.Series(map(format_value, values), dtype=pl.String))
    if rationales is not None:
        text = pl.concat_str("rationale", pl.lit(rationales.end), text)
    written = given.select(text).to_series()
    texts = written.unique()
    code = written.cast(pl.Enum(texts)).to_physical().to_numpy()
    begins = _changes(given, keys)
    # Millions of branches have few different targets: each is one object.
    known: dict[tuple[bytes, bytes], BranchTargets] = {}
    targets = []
    for here in map(slice, begins, [*begins[1:], len(code)]):
        key = code[here].tobytes(), counts[here].tobytes()
        if key not in known:
            known[key] = BranchTargets(tuple(texts[code[here]]), tuple(counts[here].tolist()))
        targets.append(known[key])
    return TargetTable(given[begins].select("prefix", "rank"), targets, refused_rows(refused))


def _changes(ordered: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """The rows that differ from the one before in one of these columns; the first is one of them."""
    changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in columns)
    return np.flatnonzero(ordered.select(changed).to_series().to_numpy())


def _pairs(train: pl.DataFrame, keys: list[str], targets: Targets) -> TargetTable:
    """Demographic contrastive pairs (Kolluri et al. 2025): chosen is the person's own answer, rejected a different
    one that another person gave to the same item; the prompt is the person's own."""
    drawn = []
    weighted = train.filter(pl.col("weight").is_not_null())
    refused = refusals(weighted, "its answers are shares of groups, of whom no two people can be paired")
    train = train.filter(pl.col("weight").is_null())
    for (item_id,), answers in train.sort("item_id", "participant_id", "sample_id").group_by(
        "item_id", maintain_order=True
    ):
        values = answers["value"].to_numpy()
        if (values == values[0]).all():
            refused.append((item_id, "nobody gave another answer to this item", len(values)))
            continue
        rng = np.random.default_rng([targets.seed, zlib.crc32(item_id.encode())])
        rejected = np.stack([_others_answers(values, rng) for _ in range(targets.pairs_per_response)], axis=1)
        drawn.append(answers.with_columns(rejected=pl.Series(rejected.tolist(), dtype=pl.List(pl.Float64))))
    if not drawn:
        return TargetTable(train.select("prefix", "rank").clear(), [], refused_rows(refused))
    counted = pl.concat(drawn).explode("rejected").group_by([*keys, "value", "rejected"]).len("count")
    branches = (
        counted.sort([*keys, "value", "rejected"])
        .group_by(keys, maintain_order=True)
        .agg("value", "rejected", "count")
    )
    pairs_of_branch = []
    for chosen, rejected, counts in branches.select("value", "rejected", "count").iter_rows():
        values = tuple(sorted({*chosen, *rejected}))
        given = dict.fromkeys(values, 0.0)
        for value, count in zip(chosen, counts):
            given[value] += count / targets.pairs_per_response
        pairs = tuple((values.index(a), values.index(b)) for a, b in zip(chosen, rejected))
        pairs_of_branch.append(
            BranchTargets(
                tuple(map(format_value, values)),
                tuple(given.values()),
                answers=pairs,
                target=((1.0, 0.0),) * len(pairs),
                gap=((0.0, 0.0),) * len(pairs),
                weight=tuple(counts),
            )
        )
    return TargetTable(branches.select("prefix", "rank"), pairs_of_branch, refused_rows(refused))


def _others_answers(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each answer one of another person that differs from it, every such person being equally likely."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    # Places among those that differ: before the run of equal answers, or after it.
    place = rng.integers(0, len(values) - (last - first))
    return ordered[np.where(place < first, place, place + last - first)]


def _distributions(
    train: pl.DataFrame, keys: list[str], targets: Targets, store: StudyStore, *, alternatives: Alternatives
) -> TargetTable:
    train, alike = with_attributes(train, store, targets.condition_on)
    items = store.item_by_id
    counts = train.group_by("item_id").len("responses").sort("item_id")
    refused = []
    for item_id, responses in counts.iter_rows():
        scale = items[item_id].scale
        if scale.kind != "levels":
            refused.append((item_id, "its scale has no levels to compare", responses))
        elif targets.in_order and scale.nominal:
            refused.append((item_id, "its levels have no order, so there is no distance", responses))
    train = train.filter(~pl.col("item_id").is_in([item_id for item_id, *_ in refused]))
    group = ["item_id", *alike]
    histogram = train.group_by([*group, "value"]).agg(_COUNT).sort([*group, "value"])
    shares: dict[tuple, tuple[float, ...]] = {}
    for key, answers in histogram.group_by(group, maintain_order=True):
        levels = _answers_of(items[key[0]].scale, targets, alternatives)
        given = dict(answers.select("value", "count").iter_rows())
        total = sum(given.values())
        shares[key] = tuple(given.get(level, 0) / total for level in levels)
    branches = (
        train.group_by([*keys, *alike, "value"])
        .agg(_COUNT)
        .sort([*keys, *alike, "value"], nulls_last=True)
        .group_by([*keys, *alike], maintain_order=True)
        .agg("value", "count")
    )
    of_branch = []
    for *key, values, counts in branches.select(*group, "value", "count").iter_rows():
        scale = items[key[0]].scale
        levels = _answers_of(scale, targets, alternatives)
        given = dict(zip(values, counts))
        gaps = (np.diff(scale.levels) / (scale.levels[-1] - scale.levels[0])).tolist()
        gaps = (*gaps, *[0.0] * (len(levels) - len(gaps)))
        of_branch.append(
            BranchTargets(
                tuple(map(format_value, levels)),
                tuple(given.get(level, 0) for level in levels),
                answers=(tuple(range(len(levels))),),
                target=(shares[tuple(key)],),
                gap=(gaps,),
                weight=(sum(counts),),
            )
        )
    return TargetTable(branches.select("prefix", "rank"), of_branch, refused_rows(refused))


def _answers_of(scale: Scale, targets: Targets, alternatives: Alternatives) -> tuple[Number, ...]:
    """Alternatives follow the levels, unless the order of levels is what counts."""
    if alternatives == "withheld" or targets.in_order:
        return scale.levels
    return scale.levels + scale.alternatives
